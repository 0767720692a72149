import json
import uuid
from unittest.mock import patch

import pika

from odoo.tests import new_test_user, tagged

from ..relay import inbox
from .event_common import EventCase


@tagged("post_install", "-at_install")
class CommandCase(EventCase):
    """A queue of commands of a partner of its own, beside the test's channel."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with cls.committing() as env:
            # The database is that of all classes of the process.
            login = f"partner-{uuid.uuid4().hex[:8]}"
            cls.user_id = new_test_user(
                env, login, groups="stock_event_ledger.group_integration"
            ).id

    def setUp(self):
        super().setUp()
        self.commands = f"{self.queue}.commands"
        with self.committing() as env:
            self.queue_id = (
                env["stock.command.queue"]
                .create(
                    {
                        "channel_id": self.channel_id,
                        "name": self.commands,
                        "user_id": self.user_id,
                    }
                )
                .id
            )
            self.warehouse_code = env["stock.warehouse"].browse(self.warehouse_id).code
        for queue in (self.commands, f"{self.commands}.dead"):
            self.addCleanup(self.broker.queue_delete, queue)
        # Deleted with its channel, commands of broken tests included.
        self.addCleanup(self.forget_commands)
        self.sku = f"sku-{uuid.uuid4().hex[:8]}"
        self.product_id = self.create_product(self.sku)
        self.declare()

    def declare(self):
        """Have the addon declare the queue, as it does before it consumes it."""
        inbox.take_in_bounded(self.dbname, lambda _count: float("inf"))
        # From here on, what is published is in the queue when that returns.
        self.broker.confirm_delivery()

    def forget_commands(self):
        with self.committing() as env:
            env["stock.command"].search([]).unlink()

    # --- the partner

    def send(self, body=None, operation="receive", message_id=None, **properties):
        """Send a command to the queue.

        :return: its message id
        """
        message_id = message_id or str(uuid.uuid4())
        if body is None:
            body = self.get_body()
        self.publish(self.encode(body), message_id=message_id, type=operation, **properties)
        return message_id

    def encode(self, body):
        return json.dumps(body).encode()

    def publish(self, body, **properties):
        """Send any message to the queue."""
        properties = {"delivery_mode": 2, **properties}
        self.broker.basic_publish("", self.commands, body, pika.BasicProperties(**properties))

    def get_body(self, quantity=1, **members):
        """Return the body of a receipt."""
        return {
            "warehouse": self.warehouse_code,
            "lines": [{"sku": self.sku, "quantity": quantity}],
            **members,
        }

    # --- what became of it

    def wait_until(self, condition, what):
        """Wait for a condition, and keep the connection to the broker meanwhile."""

        def is_met():
            self.broker.connection.process_data_events()
            return condition()

        return super().wait_until(is_met, what)

    def take_in(self, is_consumed=True):
        """Do what the scheduled action does. Return how many commands were run.

        :param bool is_consumed: whether it is expected to empty the queue
        """
        counts = []

        def on_progress(count):
            counts.append(count)
            return float("inf")

        def is_empty():
            with patch.object(inbox, "QUIET_SECONDS", 0.3):
                inbox.take_in_bounded(self.dbname, on_progress)
            return not is_consumed or not self.count_ready()

        self.wait_until(is_empty, "empty queue")
        return sum(counts)

    def count_ready(self):
        """Return how many messages in the queue nobody has been given."""
        return self.broker.queue_declare(self.commands, passive=True).method.message_count

    def read_commands(self, *names):
        """Return the test's commands in the order of receipt, each a dictionary."""
        names = names or ("message_id", "state", "reason", "attempts", "repeat_count")
        with self.committing() as env:
            return (
                env["stock.command"]
                .search([("queue_id", "=", self.queue_id)], order="id")
                .read(names, load=None)
            )

    def get_states(self):
        return [command["state"] for command in self.read_commands()]

    def get_on_hand(self):
        with self.committing() as env:
            quants = env["stock.quant"].search(
                [("product_id", "=", self.product_id), ("location_id.usage", "=", "internal")]
            )
            return sum(quants.mapped("quantity"))

    def receive_replies(self):
        """Return the replies that have come to this test's queue, as pairs."""
        self.relay()
        return [
            (properties, body)
            for properties, body in self.receive()
            if properties.type.startswith("command.")
        ]
