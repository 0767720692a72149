"""The broker's side of the suite ``events``: a queue, a consumer, and plain publishing."""

import contextlib
import itertools
import json
import subprocess
import threading
import time

import pika

from broker.publisher import WINDOW

from .server import TOOLS

PREFETCH = 1000
# Of the memory that the broker may use: so little that it blocks whoever publishes.
BLOCKING_WATERMARK, USUAL_WATERMARK = "0.000001", "0.4"


class Broker:
    """An exchange with one queue, of the kinds that the addon declares."""

    def __init__(self, url, name):
        self.url = url
        self.name = name

    @contextlib.contextmanager
    def open(self):
        """Declare exchange and queue; delete them in the end."""
        connection, channel = self.connect()
        # Only the asynchronous connection inside it tells.
        self.version = connection._impl.server_properties["version"]
        channel.exchange_declare(self.name, exchange_type="topic", durable=True)
        self._declare_queue(channel)
        connection.close()
        try:
            yield self
        finally:
            connection, channel = self.connect()
            channel.queue_delete(self.name)
            channel.exchange_delete(self.name)
            connection.close()

    def connect(self):
        """Return a connection and a channel of it."""
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        return connection, connection.channel()

    def _declare_queue(self, channel):
        arguments = {"x-queue-type": "quorum"}
        channel.queue_declare(self.name, durable=True, arguments=arguments)
        channel.queue_bind(self.name, self.name, "#")

    def empty(self):
        """Forget all messages. A new queue has no past, which a purged one has."""
        connection, channel = self.connect()
        channel.queue_delete(self.name)
        self._declare_queue(channel)
        connection.close()

    def read(self, count):
        """Return the first messages of the queue: (routing key, properties, body)."""
        connection, channel = self.connect()
        messages = []
        for _message in range(count):
            method, properties, body = channel.basic_get(self.name)
            messages.append((method.routing_key, properties, body))
        connection.close()
        return messages

    @contextlib.contextmanager
    def blocked(self):
        """Have the broker believe that it has no memory left, while the block lasts."""
        self._set_watermark(BLOCKING_WATERMARK)
        try:
            yield
        finally:
            self._set_watermark(USUAL_WATERMARK)

    @staticmethod
    def _set_watermark(watermark):
        command = [TOOLS / "rabbitmqctl", "--quiet", "set_vm_memory_high_watermark", watermark]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


class Consumer(threading.Thread):
    """Notes when messages arrive, while its ``with`` block lasts."""

    def __init__(self, broker):
        super().__init__(name="consumer", daemon=True)
        self._connection, self._channel = broker.connect()
        self._queue = broker.name
        # Nanoseconds of the monotonic clock, which all processes of a machine share.
        self._arrived = []

    def __enter__(self):
        self._channel.basic_qos(prefetch_count=PREFETCH)
        self._channel.basic_consume(self._queue, self._on_message)
        self.start()
        return self

    def __exit__(self, *_exc_info):
        self._connection.add_callback_threadsafe(self._channel.stop_consuming)
        self.join()
        self._connection.close()

    def run(self):
        """Consume."""
        self._channel.start_consuming()

    def _on_message(self, channel, method, _properties, body):
        self._arrived.append((time.monotonic_ns(), body))
        channel.basic_ack(method.delivery_tag)

    def get_arrivals(self):
        """Return the first arrival of each event, in order: {product: [nanoseconds]}."""
        arrivals, seen = {}, set()
        for arrived, body in list(self._arrived):
            event = json.loads(body)
            if event["event_id"] not in seen:
                seen.add(event["event_id"])
                arrivals.setdefault(event["product_id"], []).append(arrived)
        return arrivals


class PlainPublisher:
    """pika alone: messages with confirms, as many in flight as the relay has at most."""

    def __init__(self, broker, messages, count):
        self._broker = broker
        self._messages = messages
        self._count = count
        self._sent = 0
        self._in_flight = {}

    def run(self):
        """Publish the messages over and over; return how many were confirmed per second."""
        self._connection = pika.SelectConnection(
            pika.URLParameters(self._broker.url),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._on_open),
            on_close_callback=lambda connection, _reason: connection.ioloop.stop(),
        )
        self._connection.ioloop.start()
        return self._count / self._seconds

    def _on_open(self, channel):
        self._channel = channel
        channel.confirm_delivery(self._on_confirm, callback=self._on_ready)

    def _on_ready(self, _frame):
        self._started = time.monotonic()
        self._send()

    def _send(self):
        while self._sent < self._count and len(self._in_flight) < WINDOW:
            routing_key, properties, body = self._messages[self._sent % len(self._messages)]
            self._channel.basic_publish(
                self._broker.name, routing_key, body, properties, mandatory=True
            )
            self._sent += 1
            self._in_flight[self._sent] = True

    def _on_confirm(self, frame):
        if not isinstance(frame.method, pika.spec.Basic.Ack):
            raise SystemExit("RabbitMQ refuses a message of plain pika")
        tag = frame.method.delivery_tag
        tags = [tag]
        if frame.method.multiple:
            # They were given in ascending order, and a dictionary keeps it.
            tags = list(itertools.takewhile(lambda sent: sent <= tag, self._in_flight))
        for confirmed in tags:
            del self._in_flight[confirmed]
        self._send()
        if not self._in_flight:
            self._connection.close()
            self._seconds = time.monotonic() - self._started
