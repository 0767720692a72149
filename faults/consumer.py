"""A consumer that acknowledges what it has recorded, and nothing else."""

import contextlib
import sqlite3
import threading
import time

import pika

from .verdict import Delivery

MOST_AT_ONCE = 200
RETRY_SECONDS = 0.5


class Consumer:
    """Records each delivery of a durable quorum queue in SQLite, before its ack.

    Connects again for ever, to the next address each time. ``stop`` ends it.
    """

    def __init__(self, addresses, queue, bindings, path):
        """
        :param list addresses: of pika's ConnectionParameters
        :param str queue: declared and bound by it
        :param list bindings: (exchange, routing key) of each
        :param str path: the SQLite file
        """
        self.queue = queue
        self._addresses = addresses
        self._bindings = bindings
        self._path = path
        self._is_stopping = False
        self._is_ready = threading.Event()
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS delivery"
                " (id INTEGER PRIMARY KEY, message_id TEXT, sequence INTEGER, body BLOB)"
            )
        self._thread = threading.Thread(target=self._run, name="consumer", daemon=True)

    def start(self, timeout_seconds=120):
        """Start, and wait until the queue is there."""
        self._thread.start()
        if not self._is_ready.wait(timeout_seconds):
            raise AssertionError("the consumer's queue could not be declared")

    def stop(self):
        """End after what is being recorded."""
        self._is_stopping = True
        self._thread.join()

    def read(self):
        """Return the deliveries, in the order of arrival."""
        with contextlib.closing(sqlite3.connect(self._path)) as database:
            rows = database.execute("SELECT message_id, sequence, body FROM delivery ORDER BY id")
            return [Delivery(*row) for row in rows]

    def count(self):
        """Return how many different events were recorded."""
        with contextlib.closing(sqlite3.connect(self._path)) as database:
            rows = database.execute("SELECT COUNT(DISTINCT message_id) FROM delivery")
            return rows.fetchone()[0]

    def _run(self):
        turn = 0
        with contextlib.closing(sqlite3.connect(self._path)) as database:
            while not self._is_stopping:
                parameters = self._addresses[turn % len(self._addresses)]
                turn += 1
                try:
                    self._consume(parameters, database)
                except (pika.exceptions.AMQPError, OSError):
                    time.sleep(RETRY_SECONDS)

    def _consume(self, parameters, database):
        connection = pika.BlockingConnection(parameters)
        try:
            channel = connection.channel()
            self._declare(channel)
            channel.basic_qos(prefetch_count=MOST_AT_ONCE)
            self._is_ready.set()
            unrecorded = []
            for method, properties, body in channel.consume(self.queue, inactivity_timeout=0.05):
                if method:
                    sequence = int(properties.headers["cloudEvents_sequence"])
                    unrecorded.append((properties.message_id, sequence, body))
                    last_tag = method.delivery_tag
                if unrecorded and (not method or len(unrecorded) >= MOST_AT_ONCE):
                    self._record(database, unrecorded)
                    channel.basic_ack(last_tag, multiple=True)
                    unrecorded = []
                if self._is_stopping:
                    break
        finally:
            with contextlib.suppress(pika.exceptions.AMQPError, OSError):
                connection.close()

    def _declare(self, channel):
        # Once: what a scenario unbinds stays unbound.
        if not self._is_ready.is_set():
            channel.queue_declare(
                self.queue,
                durable=True,
                arguments={"x-queue-type": "quorum", "x-delivery-limit": 1000},
            )
            for exchange, routing_key in self._bindings:
                channel.queue_bind(self.queue, exchange, routing_key)

    def _record(self, database, rows):
        with database:
            database.executemany(
                "INSERT INTO delivery (message_id, sequence, body) VALUES (?, ?, ?)", rows
            )
