import json
from collections import defaultdict

from odoo.tests import BaseCase, tagged

from ..faults.verdict import Delivery, Event, judge_deliveries, judge_ledger


@tagged("post_install", "-at_install")
class TestEventVerdict(BaseCase):
    """The judge of the tests that break things sees each kind of failure."""

    def setUp(self):
        super().setUp()
        self.events = [
            Event(f"event {number}", number, product_id, 2)
            for number, product_id in enumerate((7, 7, 8, 7), 1)
        ]
        self.deliveries = self._deliver(self.events)

    def _deliver(self, events):
        numbers = defaultdict(int)
        deliveries = []
        for event in events:
            numbers[event.product_id] += 1
            deliveries.append(self._make_delivery(event, numbers[event.product_id]))
        return deliveries

    def _make_delivery(self, event, sequence, **changes):
        body = {
            "event_id": event.event_id,
            "event_type": "RECEIPT",
            "company_id": 1,
            "warehouse_id": 1,
            "product_id": event.product_id,
            "quantity": event.quantity,
            "on_hand_after": 2 * sequence,
            "sequence": sequence,
            **changes,
        }
        return Delivery(body["event_id"], sequence, json.dumps(body).encode())

    def assertVerdict(self, verdict, **counts):
        found = {
            name: len(getattr(verdict, name)) for name in verdict.FAILURES if getattr(verdict, name)
        }
        self.assertEqual(found, counts)
        self.assertEqual(verdict.is_good, not counts)

    def _judge(self):
        return judge_deliveries(self.events, self.deliveries)

    def test_good(self):
        verdict = self._judge()
        self.assertVerdict(verdict)
        self.assertEqual((verdict.events, verdict.duplicates), (4, 0))

    def test_lost(self):
        self.deliveries.pop()
        self.assertVerdict(self._judge(), lost=1)

    def test_phantom(self):
        self.events.pop()
        self.assertVerdict(self._judge(), phantom=1)

    def test_gap_in_the_numbers(self):
        del self.deliveries[1]
        self.assertVerdict(self._judge(), lost=1, gaps=1)

    def test_order(self):
        first, second, *rest = self.deliveries
        self.deliveries = [second, first, *rest]
        self.assertVerdict(self._judge(), order=1)

    def test_number_given_twice(self):
        self.deliveries[1] = self._make_delivery(self.events[1], 1)
        self.assertVerdict(self._judge(), order=1, gaps=1)

    def test_repeats(self):
        self.deliveries += self.deliveries[:2]
        verdict = self._judge()
        self.assertVerdict(verdict)
        self.assertEqual(verdict.duplicates, 2)

    def test_altered_repeat(self):
        self.deliveries.append(self._make_delivery(self.events[0], 1, sku="other"))
        self.assertVerdict(self._judge(), altered=1)

    def test_altered_quantity(self):
        self.deliveries[3] = self._make_delivery(self.events[3], 3, quantity=3, on_hand_after=7)
        self.assertVerdict(self._judge(), altered=1)

    def test_figures(self):
        self.deliveries[1] = self._make_delivery(self.events[1], 2, on_hand_after=5)
        self.assertVerdict(self._judge(), figures=2)

    def test_skipped_event(self):
        gap = {"event_type": "GAP", "event_id": "gap", "skipped_event_id": "event 2"}
        self.deliveries[1] = self._make_delivery(self.events[1], 2, **gap)
        self.assertVerdict(self._judge())
        gap["skipped_event_id"] = "nothing"
        self.deliveries[1] = self._make_delivery(self.events[1], 2, **gap)
        self.assertVerdict(self._judge(), lost=1, phantom=1)

    # --- the writers' logs

    def _make_log(self, outcome=None, expected=((7, 3),), **intent):
        lines = [{"transaction": "t", "entries": [(1, 7, 1), (2, 7, 2)], "expected": expected}]
        lines[0].update(intent)
        if outcome:
            lines.append({"transaction": "t", "outcome": outcome})
        return [lines]

    def test_ledger_has_what_was_committed(self):
        both = {1: (7, 1), 2: (7, 2)}
        self.assertVerdict(judge_ledger(self._make_log("committed"), both))
        self.assertVerdict(judge_ledger(self._make_log("committed"), {}), lost=2, phantom=1)
        self.assertVerdict(judge_ledger(self._make_log("rolled back"), {}))
        self.assertVerdict(judge_ledger(self._make_log("rolled back"), both), phantom=2)
        self.assertVerdict(judge_ledger([], both), phantom=2)

    def test_ledger_has_what_is_unknown_as_a_whole_or_not_at_all(self):
        both = {1: (7, 1), 2: (7, 2)}
        self.assertVerdict(judge_ledger(self._make_log(), both))
        self.assertVerdict(judge_ledger(self._make_log(), {}))
        self.assertVerdict(judge_ledger(self._make_log(), {1: (7, 1)}), lost=1, phantom=1)
        log = self._make_log(outcome_by_kill="committed")
        self.assertVerdict(judge_ledger(log, {}), lost=2, phantom=1)

    def test_ledger_has_nothing_of_a_rolled_back_savepoint(self):
        both = {1: (7, 1), 2: (7, 2)}
        log = self._make_log("committed", expected=[(7, 1)])
        self.assertVerdict(judge_ledger(log, both), phantom=1)
