import json

from psycopg2 import IntegrityError

from odoo.tools import mute_logger

from .channel_common import ChannelCase
from .reconciliation_common import ANNOUNCEMENTS, ReconciliationCase


class TestReconciliationEvents(ReconciliationCase, ChannelCase):
    """What channels are told of drifts, in the order of the stock's other events."""

    def setUp(self):
        super().setUp()
        self._receive(self.product, 10)
        self._confirm(self._take())

    def _change_quant(self, by=5):
        quant = self._get_quants(self.product)
        self._execute("UPDATE stock_quant SET quantity = quantity + %s WHERE id = %s", by, quant.id)

    def _get_told(self):
        """Return what the channel has been told since the last time, and confirm it."""
        messages = self._take()
        self._confirm(messages)
        return [json.loads(message.body) for message in messages]

    def test_found_and_gone(self):
        self._change_quant()
        self._reconcile()
        drift = self._get_open()
        [found] = self._get_told()
        self.assertEqual(
            (found["event_type"], found["product_id"], found["warehouse_id"], found["sequence"]),
            ("DRIFT_FOUND", self.product.id, self.warehouse.id, 2),
        )
        self.assertEqual(
            (found["quantity"], found["reserved_quantity"], found["on_hand_after"]), (0, 0, 10)
        )
        self.assertEqual(
            (found["reference"]["transfer"], found["reference"]["origin"]),
            (drift.display_name, "on_hand 5.0"),
        )
        self._change_quant(by=1)
        self._reconcile()
        self.assertFalse(self._get_told(), "it is known")
        self._change_quant(by=-6)
        self._reconcile()
        [cleared] = self._get_told()
        self.assertEqual(
            (cleared["event_type"], cleared["sequence"], cleared["reference"]["origin"]),
            ("DRIFT_CLEARED", 3, "on_hand 6.0"),
        )
        self.assertEqual(cleared["corrects_event_id"], found["event_id"])
        self._reconcile()
        self.assertFalse(self._get_told())

    def test_corrected(self):
        self._change_quant()
        self._reconcile()
        self._get_told()
        self._correct(self._get_open(), "ledger")
        told = self._get_told()
        self.assertEqual(
            [(event["event_type"], event["on_hand_after"]) for event in told],
            [("CORRECTION", 15), ("DRIFT_CLEARED", 15)],
        )
        self.assertClean()
        self.assertFalse(self._get_told())

    def test_it_does_not_hide_the_cause(self):
        self._change_quant()
        for _run in range(2):
            self._reconcile()
            self.assertEqual(self._get_open().cause, "sql")
            self._fold_all()
        self.assertNotIn(self._get_open().last_entry_id.event_type, ANNOUNCEMENTS)

    def test_what_is_derived_is_no_matter_of_consumers(self):
        self._fold_all()
        self._execute("UPDATE stock_ledger_day SET in_quantity = in_quantity + 1")
        self._reconcile()
        self.assertTrue(self._get_open("rollup"))
        self._correct(self._get_open(), "rollup")
        self.assertFalse(self._get_told())

    def test_an_announcement_changes_nothing(self):
        query = """INSERT INTO stock_ledger_entry (
                       product_id, location_id, event_type, quantity, reserved_quantity,
                       effective_date, recorded_date)
                   SELECT %s, %s, %s, %s, 0, now(), now()"""
        for event_type, quantity in (("DRIFT_FOUND", 1), ("RECEIPT", 0)):
            with (
                self.subTest(event_type=event_type),
                mute_logger("odoo.sql_db"),
                self.assertRaises(IntegrityError),
                self.env.cr.savepoint(),
            ):
                self._execute(query, self.product.id, self.stock.id, event_type, quantity)
