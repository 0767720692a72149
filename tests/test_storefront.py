import json
import os
import signal
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta

import pika

from odoo.tests import tagged

from ..broker import Envelope, event_uuid, gap_event_uuid
from .event_common import EventCase

STOREFRONT = os.path.join(
    os.path.dirname(os.path.dirname(__file__)), "examples", "storefront", "storefront.py"
)


@tagged("post_install", "-at_install")
class TestStorefront(EventCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.database = os.path.join(folder.name, "shop.db")
        self.entry_id = 0
        self.figures = {}
        self.addCleanup(self.broker.queue_delete, self.queue)

    def _run(self, *arguments, **kwargs):
        command = [sys.executable, STOREFRONT, "--database", self.database, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, **kwargs).stdout

    def _start(self):
        process = subprocess.Popen(
            [
                *(sys.executable, STOREFRONT, "--amqp-url", self.amqp_url),
                *("--database", self.database, "run"),
                *("--exchange", self.exchange, "--queue", self.queue),
            ],
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(self.end, process, signal.SIGKILL)
        return process

    def _get_totals(self):
        return json.loads(self._run("totals", "--json"))

    def _make_message(self, product_id, quantity, reserved=0):
        """Return the next message of a product, in one warehouse."""
        self.entry_id += 1
        sequence, on_hand, held = self.figures.get(product_id, (0, 0, 0))
        figures = sequence + 1, on_hand + quantity, held + reserved
        self.figures[product_id] = figures
        recorded = datetime(2026, 1, 2) + timedelta(seconds=self.entry_id)
        body = {
            "event_id": event_uuid(recorded, self.queue, self.entry_id),
            "event_type": "RECEIPT",
            "schema_version": 1,
            "company_id": 1,
            "warehouse_id": 2,
            "warehouse_code": "WH",
            "product_id": product_id,
            "sku": "ABC",
            "quantity": quantity,
            "reserved_quantity": reserved,
            "sequence": figures[0],
            "on_hand_after": figures[1],
            "reserved_after": figures[2],
            "recorded_at": recorded.isoformat() + ".000Z",
            "correlation_id": None,
            "replay": False,
        }
        return Envelope(self.queue).build_message(self.entry_id, body)

    def _publish(self, *messages):
        for message in messages:
            self.broker.basic_publish(
                self.exchange, message.routing_key, message.body, message.properties
            )

    def _wait_for(self, **expected):
        def arrived():
            totals = self._get_totals()
            return all(totals[name] == value for name, value in expected.items())

        self.wait_until(arrived, f"totals {expected}")
        return self._get_totals()

    def _start_and_wait(self):
        process = self._start()
        self.wait_until(lambda: self._publish_probe(), "the storefront's queue")
        self._wait_for(rejected=1)
        return process

    def _publish_probe(self):
        """Publish what is no event; return whether a queue is bound for it."""
        channel = self.broker.connection.channel()
        channel.confirm_delivery()
        try:
            channel.basic_publish(self.exchange, "stock.probe", b"", mandatory=True)
            return True
        except pika.exceptions.UnroutableError:
            return False
        finally:
            channel.close()

    def test_table_is_rebuilt_from_events_and_repeats_are_ignored(self):
        process = self._start_and_wait()
        messages = [self._make_message(1, 10), self._make_message(1, -3, 2)]
        messages.append(self._make_message(2, 0.5))
        self._publish(*messages, *messages)
        totals = self._wait_for(events=3, duplicates=3)
        self.assertEqual(
            totals["stock"],
            [
                {
                    "company_id": 1,
                    "warehouse_id": 2,
                    "product_id": product_id,
                    "on_hand": on_hand,
                    "reserved": reserved,
                }
                for product_id, on_hand, reserved in ((1, 7, 2), (2, 0.5, 0))
            ],
        )
        self.assertEqual(
            [totals[n] for n in ("gaps", "products", "on_hand", "reserved")],
            [0, 2, 7.5, 2],
        )
        self.assertEqual((totals["mismatches"], totals["joined_late"]), (0, 0))
        self.assertIn("7", self._run("show"))
        self.assertEqual(self.end(process, signal.SIGTERM), 0)

    def test_a_missing_event_is_noticed(self):
        self._start_and_wait()
        first, lost, third = (self._make_message(1, 1) for _number in range(3))
        self._publish(first, third)
        totals = self._wait_for(events=2)
        self.assertEqual((totals["gaps"], totals["mismatches"]), (1, 1))
        self._publish(lost)
        totals = self._wait_for(events=3)
        self.assertEqual((totals["gaps"], totals["on_hand"]), (0, 3))

    def test_stock_from_before_the_first_event_is_taken_over(self):
        self._start_and_wait()
        self._make_message(1, 100)
        self._publish(self._make_message(1, 5))
        totals = self._wait_for(events=1)
        self.assertEqual((totals["on_hand"], totals["gaps"], totals["joined_late"]), (105, 0, 1))

    def _repeat(self, message, **vals):
        """Return a message with other values in its body."""
        body = {**json.loads(message.body), **vals}
        return Envelope(self.queue).build_message(message.token, body)

    def _skip(self, message):
        """Return the GAP in a message's place."""
        body = json.loads(message.body)
        recorded = datetime.fromisoformat(body["recorded_at"][:-1])
        return self._repeat(
            message,
            event_id=gap_event_uuid(recorded, self.queue, message.token),
            event_type="GAP",
            skipped_event_id=body["event_id"],
            skipped_event_type=body["event_type"],
        )

    def test_a_gap_counts_in_place_of_the_event_that_was_skipped(self):
        self._start_and_wait()
        first, skipped, arrived, last = (self._make_message(1, n) for n in (1, 2, 4, 8))
        self._publish(first, self._skip(skipped), arrived, self._skip(arrived), last)
        totals = self._wait_for(events=3, skipped=1, duplicates=1)
        self.assertEqual(
            [totals[n] for n in ("on_hand", "gaps", "mismatches", "rejected")], [15, 0, 0, 1]
        )

    def test_a_replay_changes_nothing_that_is_known(self):
        self._start_and_wait()
        before, first, second = (self._make_message(1, n) for n in (100, 5, 1))
        self._publish(first, second)
        self._wait_for(events=2, joined_late=1)
        unnumbered = {"sequence": None, "on_hand_after": None, "reserved_after": None}
        self._publish(
            self._repeat(second, replay=True),
            self._repeat(first, replay=True, **unnumbered),
            self._repeat(before, replay=True),
        )
        totals = self._wait_for(duplicates=1, replays_ignored=2)
        self.assertEqual(
            [totals[n] for n in ("on_hand", "gaps", "mismatches", "events")], [106, 0, 0, 2]
        )

    def test_a_replay_fills_a_gap(self):
        self._start_and_wait()
        first, lost, third = (self._make_message(1, 1) for _number in range(3))
        self._publish(first, third)
        self._wait_for(events=2, gaps=1)
        self._publish(self._repeat(lost, replay=True))
        totals = self._wait_for(events=3)
        self.assertEqual((totals["gaps"], totals["on_hand"]), (0, 3))

    def test_what_is_no_event_does_not_stop_the_queue(self):
        self._start_and_wait()
        for body in (b"no json", b"[]", b'{"sequence": "one"}'):
            self.broker.basic_publish(self.exchange, "stock.any.wh", body)
        self._publish(self._make_message(1, 5))
        self._wait_for(events=1, rejected=4)

    def test_kills_and_restarts_lose_and_double_nothing(self):
        process = self._start_and_wait()
        for _kill in range(4):
            batch = [self._make_message(number % 7, 1) for number in range(300)]
            self._publish(*batch)
            self.wait_until(lambda: self._get_totals()["events"], "some events")
            self.end(process, signal.SIGKILL)
            process = self._start()
        totals = self._wait_for(events=1200)
        self.assertEqual(
            [totals[n] for n in ("on_hand", "gaps", "mismatches", "joined_late")],
            [1200, 0, 0, 0],
        )
        self.assertEqual(self.end(process, signal.SIGTERM), 0)
