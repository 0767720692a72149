#!/usr/bin/env python3
"""A web shop's own availability table, kept from Odoo's stock events alone.

It shows how to consume the events: an own durable queue, idempotent by message id, a
check that no event of a product was missed, and an acknowledgement only after what the
event did is on disk. Needs Python 3.10 and pika; nothing of Odoo.
"""

import argparse
import json
import logging
import os
import random
import signal
import sqlite3
import sys
import time

import pika

ROUTING_KEY = "stock.#"
# Quorum queues drop, or dead-letter, a message that was delivered this often without
# an acknowledgement. It has to be more than the crashes one is willing to survive.
DELIVERY_LIMIT = 100
IDLE_SECONDS = 0.05
LONGEST_BATCH_SECONDS = 0.2
DIGITS = 6

_logger = logging.getLogger("storefront")

SCHEMA = """
CREATE TABLE IF NOT EXISTS availability (
    key TEXT PRIMARY KEY, company_id INTEGER, warehouse_id INTEGER,
    product_id INTEGER NOT NULL, sku TEXT, warehouse_code TEXT,
    on_hand REAL NOT NULL, reserved REAL NOT NULL, sequence INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen (message_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS joined (key TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
COUNTERS = (
    *("events", "skipped", "duplicates", "replays_ignored"),
    *("gaps", "joined_late", "mismatches", "rejected"),
)


class Store:
    """The availability table, and what is needed to keep it right."""

    def __init__(self, path):
        self.db = sqlite3.connect(path, isolation_level=None, timeout=30)
        self.db.row_factory = sqlite3.Row
        # Readers do not wait for the writer; FULL: a commit survives a power failure.
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.executescript(SCHEMA)

    def apply_all(self, messages):
        """Apply messages in one transaction.

        :param messages: list of (message id, body as bytes)
        """
        self.db.execute("BEGIN IMMEDIATE")
        try:
            for message_id, body in messages:
                self.count(self.apply(message_id, body))
            self.db.execute("COMMIT")
        except BaseException:
            self.db.execute("ROLLBACK")
            raise

    def apply(self, message_id, body):
        """Apply one message, once. Return what to count it as."""
        event = parse(body)
        if event is None or not message_id:
            return "rejected"
        key = "{company_id}/{warehouse_id}/{product_id}".format_map(event)
        if self.is_from_before(key, event):
            return "replays_ignored"
        if not self.remember(message_id, event):
            return "duplicates"
        row = self.db.execute("SELECT * FROM availability WHERE key = ?", (key,)).fetchone()
        before = self.check_sequence(key, event, row)
        on_hand = round(before[0] + event["quantity"], DIGITS)
        reserved = round(before[1] + event["reserved_quantity"], DIGITS)
        if (on_hand, reserved) != (event["on_hand_after"], event["reserved_after"]):
            self.count("mismatches")
        self.db.execute(
            "INSERT OR REPLACE INTO availability VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                key,
                event["company_id"],
                event["warehouse_id"],
                event["product_id"],
                event["sku"],
                event["warehouse_code"],
                on_hand,
                reserved,
                max(event["sequence"], row["sequence"] if row else 0),
            ),
        )
        # A GAP stands for an event that somebody skipped, and counts like it.
        return "skipped" if event["event_type"] == "GAP" else "events"

    def is_from_before(self, key, event):
        """Tell whether a replay's change is in the figures of the first event already.

        It has no number where the channel never published it, or did so long ago.
        """
        if event["sequence"] is None:
            return True
        joined = self.db.execute(
            "SELECT 1 FROM joined WHERE key = ? AND sequence > ?", (key, event["sequence"])
        )
        return joined.fetchone() is not None

    def remember(self, message_id, event):
        """Remember an event. Return whether it is new.

        A GAP may come after the event that it stands for, which a queue did take.
        """
        ids = {message_id, event.get("skipped_event_id") or message_id}
        insert = "INSERT OR IGNORE INTO seen VALUES (?)"
        return all([self.db.execute(insert, (known,)).rowcount for known in ids])

    def check_sequence(self, key, event, row):
        """Count the numbers that are missing. Return on hand and reserved before."""
        if row is None:
            # The first event of a product tells what there was before.
            if event["sequence"] > 1:
                self.count("joined_late")
                self.db.execute("INSERT INTO joined VALUES (?, ?)", (key, event["sequence"]))
            return (
                event["on_hand_after"] - event["quantity"],
                event["reserved_after"] - event["reserved_quantity"],
            )
        missing = event["sequence"] - row["sequence"] - 1
        # A number below the last one was missing, and has arrived after all.
        self.count("gaps", missing if missing >= 0 else -1)
        return row["on_hand"], row["reserved"]

    def count(self, name, number=1):
        """Add to a counter."""
        if number:
            self.db.execute(
                "INSERT INTO counter VALUES (?, ?) ON CONFLICT (name) "
                "DO UPDATE SET value = value + excluded.value",
                (name, number),
            )

    def totals(self):
        """Return the counters and the table, as a dictionary."""
        counters = dict.fromkeys(COUNTERS, 0)
        self.db.execute("BEGIN")
        counters.update(self.db.execute("SELECT name, value FROM counter").fetchall())
        rows = self.db.execute("SELECT * FROM availability ORDER BY key").fetchall()
        self.db.execute("COMMIT")
        names = ("company_id", "warehouse_id", "product_id", "on_hand", "reserved")
        return {
            **counters,
            "products": len({row["product_id"] for row in rows}),
            "on_hand": round(sum(row["on_hand"] for row in rows), DIGITS),
            "reserved": round(sum(row["reserved"] for row in rows), DIGITS),
            "stock": [{name: row[name] for name in names} for row in rows],
        }


def parse(body):
    """Return an event as a dictionary, or None if it is none.

    What cannot be read today cannot be read tomorrow: it is counted and acknowledged,
    for a message that is always put back would stop the queue.
    """
    try:
        event = json.loads(body)
        event["quantity"] + event["reserved_quantity"] + event["product_id"]
        if event["sequence"] is not None or not event["replay"]:
            event["sequence"] + event["on_hand_after"] + event["reserved_after"]
        for name in ("event_type", "company_id", "warehouse_id", "sku", "warehouse_code"):
            event.setdefault(name, None)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return event


class Consumer:
    """Reads the queue, for as long as it runs, whatever happens to the broker."""

    def __init__(self, store, url, exchange, queue, prefetch):
        self.store = store
        self.exchange = exchange
        self.queue = queue
        self.prefetch = prefetch
        self.stopping = False
        self.parameters = pika.URLParameters(url)
        self.parameters.heartbeat = 30
        self.parameters.socket_timeout = self.parameters.stack_timeout = 10

    def stop(self, *_args):
        """End after the batch that is under way."""
        self.stopping = True

    def run(self):
        """Consume until stopped; reconnect after longer and longer waits."""
        failures = 0
        while not self.stopping:
            started = time.monotonic()
            try:
                self.consume()
            except (pika.exceptions.AMQPError, OSError) as error:
                failures = 1 if time.monotonic() - started > 60 else failures + 1
                delay = min(0.5 * 2**failures, 30) * random.uniform(0.5, 1)
                _logger.warning("broker: %r; again in %.1f s", error, delay)
                self.sleep(delay)

    def sleep(self, seconds):
        end = time.monotonic() + seconds
        while not self.stopping and time.monotonic() < end:
            time.sleep(0.1)

    def consume(self):
        """Connect, declare the queue and consume it."""
        connection = pika.BlockingConnection(self.parameters)
        try:
            channel = connection.channel()
            self.declare(channel)
            channel.basic_qos(prefetch_count=self.prefetch)
            _logger.info("consuming %s", self.queue)
            self.consume_batches(channel)
        finally:
            if connection.is_open:
                connection.close()

    def declare(self, channel):
        """Declare the queue: durable, replicated, one active consumer at a time.

        With several consumers at once, two events of a product could be worked on at
        the same time, and finish in the wrong order. A second storefront waits, and
        takes over.
        """
        channel.exchange_declare(self.exchange, exchange_type="topic", durable=True)
        channel.queue_declare(
            self.queue,
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                "x-single-active-consumer": True,
                "x-delivery-limit": DELIVERY_LIMIT,
            },
        )
        channel.queue_bind(self.queue, self.exchange, routing_key=ROUTING_KEY)

    def consume_batches(self, channel):
        batch, started, last_tag = [], 0, 0
        for method, properties, body in channel.consume(
            self.queue, inactivity_timeout=IDLE_SECONDS
        ):
            if method is not None:
                started = started if batch else time.monotonic()
                batch.append((properties.message_id, body))
                last_tag = method.delivery_tag
            is_complete = (
                method is None
                or self.stopping
                or len(batch) >= max(self.prefetch // 2, 1)
                or time.monotonic() - started > LONGEST_BATCH_SECONDS
            )
            if batch and is_complete:
                self.store.apply_all(batch)
                # After the commit: a crash in between brings the messages again, and
                # their ids are remembered.
                channel.basic_ack(last_tag, multiple=True)
                batch = []
            if self.stopping and not batch:
                return


def print_table(totals):
    """Print the availability as a table."""
    line = "{:>8} {:>10} {:>8} {:>12} {:>12} {:>12}"
    print(line.format("company", "warehouse", "product", "on hand", "reserved", "free"))
    for row in totals["stock"]:
        print(
            line.format(
                str(row["company_id"] or "-"),
                str(row["warehouse_id"] or "transit"),
                str(row["product_id"]),
                f"{row['on_hand']:g}",
                f"{row['reserved']:g}",
                f"{round(row['on_hand'] - row['reserved'], DIGITS):g}",
            )
        )
    print_counters(totals)


def print_counters(totals):
    """Print the counters in one line."""
    names = (*COUNTERS, "products", "on_hand", "reserved")
    print(", ".join(f"{name} {totals[name]:g}" for name in names))


def main():
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--amqp-url", default=os.environ.get("AMQP_URL"))
    parser.add_argument("--database", default="storefront.db", help="SQLite file")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="consume until SIGTERM or Ctrl-C")
    run.add_argument("--exchange", default="odoo.inventory")
    run.add_argument("--queue", default="storefront")
    run.add_argument("--prefetch", type=int, default=200)
    commands.add_parser("show", help="print the availability table")
    totals = commands.add_parser("totals", help="print the counters and sums")
    totals.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    store = Store(arguments.database)
    if arguments.command == "run":
        if not arguments.amqp_url:
            sys.exit("Name the broker: --amqp-url or AMQP_URL")
        consumer = Consumer(
            store,
            arguments.amqp_url,
            arguments.exchange,
            arguments.queue,
            arguments.prefetch,
        )
        signal.signal(signal.SIGTERM, consumer.stop)
        signal.signal(signal.SIGINT, consumer.stop)
        consumer.run()
    elif arguments.command == "show":
        print_table(store.totals())
    elif arguments.json:
        print(json.dumps(store.totals()))
    else:
        print_counters(store.totals())


if __name__ == "__main__":
    main()
