import os
import re
import signal
import tempfile

from odoo.tests import tagged

from ..broker import event_uuid
from .event_common import EventCase


@tagged("post_install", "-at_install")
class TestEventWorker(EventCase):
    def setUp(self):
        super().setUp()
        self.bind()
        descriptor, self.log = tempfile.mkstemp(suffix=".log")
        os.close(descriptor)
        self.addCleanup(os.remove, self.log)
        self.received = []
        self.addCleanup(self._forget_workers)

    def _forget_workers(self):
        with self.committing() as env:
            env["stock.event.worker"].search([]).unlink()

    def _read_log(self):
        with open(self.log, encoding="utf-8") as log:
            return log.read()

    def _has_received(self, count):
        self.received += self.receive_events()
        return len({event["event_id"] for event in self.received}) >= count

    def _get_expected_ids(self, entry_ids):
        with self.committing() as env:
            uuid = env["stock.event.channel"]._get_database_uuid()
            return {
                event_uuid(entry.recorded_date, uuid, entry.id)
                for entry in self._read_entries(env, entry_ids)
            }

    def _read_entries(self, env, entry_ids):
        return env["stock.ledger.entry"].browse(entry_ids)

    def assertInOrder(self, events):
        """Check each product's first deliveries: 1, 2, 3 ... with figures that add up."""
        seen, numbers, on_hand = set(), {}, {}
        for event in events:
            if event["event_id"] in seen:
                continue
            seen.add(event["event_id"])
            product_id = event["product_id"]
            numbers[product_id] = numbers.get(product_id, 0) + 1
            on_hand[product_id] = on_hand.get(product_id, 0) + event["quantity"]
            self.assertEqual(event["sequence"], numbers[product_id])
            self.assertEqual(event["on_hand_after"], on_hand[product_id])

    def test_publish_as_it_happens_and_end_on_request(self):
        worker = self.start_worker(self.log)
        product_id = self.create_product()
        self.append((product_id, "RECEIPT", 2))
        self.wait_until(lambda: self._has_received(1), "first event")
        self.append((product_id, "RECEIPT", 3))
        self.wait_until(lambda: self._has_received(2), "second event")
        self.assertInOrder(self.received)
        self.wait_until(self._is_folded, "folding")
        self.assertEqual(self.end(worker, signal.SIGTERM), 0)
        self.assertEqual(self.read_outbox(), [])
        log = self._read_log()
        self.assertIn("Stock event worker stopped", log)
        self.assertNotRegex(log, r" (WARNING|ERROR|CRITICAL) (?!\? )")

    def test_its_heartbeat_is_seen_until_it_ends_in_order(self):
        worker = self.start_worker(self.log)
        self.wait_until(lambda: self._get_workers() == [True], "heartbeat of the leader")
        standby = self.start_worker(self.log)
        self.wait_until(lambda: self._get_workers() == [True, False], "heartbeat of the standby")
        self.assertEqual(self.end(standby, signal.SIGTERM), 0)
        self.assertEqual(self._get_workers(), [True])
        self.end(worker, signal.SIGKILL)
        self.assertEqual(self._get_workers(), [True], "it is missed")

    def _get_workers(self):
        with self.committing() as env:
            return env["stock.event.worker"].search([]).mapped("is_leader")

    def test_it_alerts_the_responsible_user(self):
        product_id = self.create_product()
        self.broker.queue_unbind(self.queue, self.exchange, "stock.#")
        self.append((product_id, "RECEIPT", 1))
        worker = self.start_worker(self.log)
        self.wait_until(self._has_activity, "activity")
        self.broker.queue_bind(self.queue, self.exchange, "stock.#")
        with self.committing() as env:
            env["stock.event.outbox"].search([("state", "=", "blocked")]).action_retry()
        self.wait_until(lambda: self._has_received(1), "the event")
        self.wait_until(lambda: not self._has_activity(), "the end of the activity")
        self.end(worker)

    def _has_activity(self):
        with self.committing() as env:
            return bool(self.get_channel(env).activity_ids)

    def _is_folded(self):
        with self.committing() as env:
            return not env["stock.ledger.delta"].search_count([])

    def test_killed_workers_lose_and_invent_nothing(self):
        products = [self.create_product() for _number in range(20)]
        entry_ids = []
        for _kill in range(4):
            worker = self.start_worker(self.log)
            before = len(self.received)
            entry_ids += self.append(*[(p, "RECEIPT", 1) for p in products] * 20)
            self.wait_until(
                lambda before=before: self._has_received(1) and len(self.received) > before,
                "events before the kill",
            )
            self.end(worker, signal.SIGKILL)
            # A relay that dies after it has given numbers, and never sends.
            with self.committing() as env:
                env["stock.event.outbox"]._take(self.channel_id, 50)
        worker = self.start_worker(self.log)
        self.wait_until(lambda: not self.read_outbox(), "drained outbox")
        self.end(worker)
        self.received += self.receive_events()
        self.assertEqual(
            {event["event_id"] for event in self.received},
            self._get_expected_ids(entry_ids),
        )
        self.assertInOrder(self.received)
        bodies = {}
        for event in self.received:
            self.assertEqual(bodies.setdefault(event["event_id"], event), event)

    def test_a_confirmed_event_that_was_not_settled_is_sent_again(self):
        product_id = self.create_product()
        self.append((product_id, "RECEIPT", 1), (product_id, "RECEIPT", 1))
        with self.committing() as env:
            messages, _looked_at = env["stock.event.outbox"]._take(self.channel_id, 10)
        # What a relay does that dies between the broker's confirm and its own commit.
        for message in messages:
            self.broker.basic_publish(
                self.exchange, message.routing_key, message.body, message.properties
            )
        self.assertEqual(self.relay(), 2)
        first, second, first_again, second_again = self.receive()
        self.assertEqual(first, first_again)
        self.assertEqual(second, second_again)

    def test_a_lost_database_connection_is_replaced(self):
        worker = self.start_worker(self.log)
        product_id = self.create_product()
        self.append((product_id, "RECEIPT", 1))
        self.wait_until(lambda: self._has_received(1), "first event")
        with self.committing() as env:
            env.cr.execute(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = current_database()
                      AND application_name LIKE 'stock_event_%%'"""
            )
        self.append((product_id, "RECEIPT", 1))
        self.wait_until(lambda: self._has_received(2), "event after the loss")
        self.end(worker)
        self.assertInOrder(self.received)
        log = self._read_log()
        self.assertEqual(len(re.findall("database connection failed", log)), 1)
        self.assertNotRegex(log, r" (ERROR|CRITICAL) ")

    def test_a_second_worker_takes_over(self):
        first = self.start_worker(self.log)
        product_id = self.create_product()
        self.append((product_id, "RECEIPT", 1))
        self.wait_until(lambda: self._has_received(1), "event of the first worker")
        second = self.start_worker(self.log)
        self.append((product_id, "RECEIPT", 1))
        self.wait_until(lambda: self._has_received(2), "still the first worker")
        self.end(first, signal.SIGKILL)
        self.append((product_id, "RECEIPT", 1))
        self.wait_until(lambda: self._has_received(3), "event of the second worker")
        self.end(second)
        self.assertInOrder(self.received)
