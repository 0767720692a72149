import json
import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

import pika

from odoo import SUPERUSER_ID, api
from odoo.modules.registry import Registry
from odoo.tests import TransactionCase, tagged
from odoo.tools import config

from ..relay.relay import run_bounded
from .database_copy import copy_database

SOURCE_QUANTITY = {"RECEIPT": 1, "CUSTOMER_RETURN": 1, "SALE": -1, "SCRAP": -1}
DEADLINE_SECONDS = 180


@tagged("post_install", "-at_install")
class EventCase(TransactionCase):
    """A database to commit to, an exchange and a queue of its own for each test."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.amqp_url = os.environ["AMQP_URL"]
        cls.dbname = copy_database(cls.env.cr.dbname)
        with cls.committing() as env:
            env["stock.event.channel"].search([]).active = False
            cls.warehouse_id = env["stock.warehouse"].search([], limit=1).id

    def setUp(self):
        super().setUp()
        parts = urlsplit(self.amqp_url)
        self.set_password(unquote(parts.password or "guest"))
        name = f"test.{uuid.uuid4().hex[:12]}"
        self.exchange, self.queue = name, name
        connection = pika.BlockingConnection(pika.URLParameters(self.amqp_url))
        self.addCleanup(connection.close)
        self.broker = connection.channel()
        self.broker.exchange_declare(name, exchange_type="topic", durable=True)
        self.addCleanup(self.broker.exchange_delete, name)
        with self.committing() as env:
            channel = env["stock.event.channel"].create(
                {
                    "name": name,
                    "code": name.replace(".", "_"),
                    "exchange": name,
                    "queue_ids": [],
                }
            )
            channel._configure_from_url(self.amqp_url)
            self.channel_id = channel.id
        self.addCleanup(self.delete_channel)

    def set_password(self, password):
        """Set the password that the channels of this process and its children use."""
        name = "STOCK_EVENT_LEDGER_AMQP_PASSWORD"
        before = os.environ.get(name)
        os.environ[name] = password

        def restore():
            os.environ.pop(name, None)
            if before is not None:
                os.environ[name] = before

        self.addCleanup(restore)

    def delete_channel(self):
        with self.committing() as env:
            self.get_channel(env).unlink()

    # --- the database

    @classmethod
    @contextmanager
    def committing(cls):
        """An environment of the copied database; what it does is committed."""
        with Registry(cls.dbname).cursor() as cr:
            yield api.Environment(cr, SUPERUSER_ID, {})

    def get_channel(self, env):
        return env["stock.event.channel"].browse(self.channel_id)

    def create_product(self, name="Thing"):
        with self.committing() as env:
            return (
                env["product.product"]
                .create({"name": name, "default_code": name, "is_storable": True})
                .id
            )

    def prepare_entry(self, env, product_id, event_type="RECEIPT", quantity=1, **vals):
        """Return the values of a ledger entry in the warehouse's stock."""
        warehouse = env["stock.warehouse"].browse(self.warehouse_id)
        return {
            "product_id": product_id,
            "location_id": warehouse.lot_stock_id.id,
            "company_id": warehouse.company_id.id,
            "operating_company_id": warehouse.company_id.id,
            "warehouse_id": warehouse.id,
            "event_type": event_type,
            "quantity": SOURCE_QUANTITY.get(event_type, 0) * quantity,
            "reserved_quantity": 0,
            "effective_date": "2026-01-02 03:04:05",
            "user_id": SUPERUSER_ID,
            **vals,
        }

    def append(self, *entries):
        """Commit ledger entries, each (product id, event type[, quantity])."""
        with self.committing() as env:
            return env["stock.ledger.entry"]._append(
                [self.prepare_entry(env, *entry) for entry in entries]
            )

    def read_outbox(self):
        """Return what this test's channel has not had confirmed."""
        with self.committing() as env:
            return (
                env["stock.event.outbox"]
                .search([("channel_id", "=", self.channel_id), ("state", "!=", "confirmed")])
                .read(["product_id", "state", "error", "sequence", "attempts"])
            )

    def wait_until(self, condition, what):
        """Wait for a condition; the deadline only ends a test that is broken."""
        end = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            self.assertLess(time.monotonic(), end, f"timed out: {what}")
            time.sleep(0.05)

    # --- the broker

    def bind(self, routing_key="stock.#", **arguments):
        """Make this test's queue, once, and bind it."""
        self.broker.queue_declare(self.queue, durable=True, arguments=arguments or None)
        self.addCleanup(self.broker.queue_delete, self.queue)
        self.broker.queue_bind(self.queue, self.exchange, routing_key)

    def receive(self):
        """Return the messages in the queue, as (properties, body) pairs."""
        messages = []
        while True:
            method, properties, body = self.broker.basic_get(self.queue, auto_ack=True)
            if method is None:
                return messages
            messages.append((properties, json.loads(body)))

    def receive_events(self):
        return [body for _properties, body in self.receive()]

    # --- relays

    def relay(self):
        """Do what the scheduled action does. Return how many events were confirmed."""
        counts = []

        def on_progress(count, _more):
            counts.append(count)
            return float("inf")

        run_bounded(self.dbname, on_progress)
        return sum(counts)

    def start_worker(self, log):
        """Start a real worker process.

        :param log: path of the file that gets its output
        """
        command = [
            sys.executable,
            "-c",
            "from odoo.cli.command import main; main()",
            "--addons-path=" + ",".join(config["addons_path"]),
            "stock_event_worker",
            f"--config={config['config']}",
            f"--database={self.dbname}",
        ]
        with open(log, "ab") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        self.addCleanup(self.end, process, signal.SIGKILL)
        return process

    def end(self, process, number=signal.SIGTERM):
        """Send a process a signal, and return its exit code once it has ended."""
        if process.poll() is None:
            process.send_signal(number)
        return process.wait(DEADLINE_SECONDS)
