from datetime import timedelta

from odoo import fields
from odoo.tests import Form

from ..exceptions import IdempotencyConflict, InvalidInput
from .integration_common import IntegrationCase

LINE = {"sku": "PLAIN", "quantity": 2}


class TestIntegrationCall(IntegrationCase):
    """Each call is done once, and on record."""

    def test_the_same_call_is_done_once(self):
        first = self._call("receive", LINE, idempotency_key="k")
        for line in (LINE, {"quantity": 2.0, "sku": "PLAIN"}, {**LINE, "lot": None}):
            self.assertEqual(self._call("receive", line, idempotency_key="k"), first)
        self.assertEqual(self._get_on_hand(self.product), 2)
        self.assertEqual(len(self._get_calls()), 1)
        self._call("receive", LINE, idempotency_key="other")
        self.assertEqual(self._get_on_hand(self.product), 4)

    def test_a_key_is_not_for_another_call(self):
        self._call("receive", LINE, idempotency_key="k")
        others = [
            ("receive", {**LINE, "quantity": 3}, {}),
            ("receive", LINE, {"origin": "x"}),
            ("return_goods", LINE, {}),
        ]
        for operation, line, options in others:
            with (
                self.subTest(operation=operation, line=line, options=options),
                self.enter_registry_test_mode(),
                self.assertRaises(IdempotencyConflict),
            ):
                self._call(operation, line, idempotency_key="k", **options)
        self.assertEqual(self._get_on_hand(self.product), 2)

    def test_keys_are_the_users_own(self):
        self._call("receive", LINE, idempotency_key="k")
        self.env["stock.integration"].with_user(self.user).receive(
            "k", [{"sku": "PLAIN", "quantity": 9}], warehouse=self.code
        )
        self.assertEqual(self._get_on_hand(self.product), 11)

    def test_what_was_refused_stays_refused(self):
        first = self._call("issue", LINE, idempotency_key="k")
        self.assertCodes(first, ["not_available"])
        self._call("receive", LINE)
        self.assertEqual(self._call("issue", LINE, idempotency_key="k"), first)
        self.assertDone(self._call("issue", LINE, idempotency_key="again"))

    def test_what_was_wrong_leaves_the_key(self):
        with self.enter_registry_test_mode(), self.assertRaises(InvalidInput):
            self._call("receive", LINE, warehouse="NO", idempotency_key="k")
        self.assertDone(self._call("receive", LINE, idempotency_key="k"))

    def test_a_write_needs_a_key(self):
        for key in (None, "", 7):
            with (
                self.enter_registry_test_mode(),
                self.assertRaises(InvalidInput) as caught,
            ):
                self._call("receive", LINE, idempotency_key=key)
            self.assertEqual(caught.exception.problems[0]["member"], "idempotency_key")

    def test_a_call_on_record(self):
        result = self._call("receive", LINE, {"sku": "NO", "quantity": 1}, idempotency_key="k")
        call = self._get_calls()
        self.assertEqual(
            (call.operation, call.idempotency_key, call.state, call.protocol, call.line_count),
            ("receive", "k", "partial", "rpc", 2),
        )
        self.assertEqual(call.company_id, self.warehouse.company_id)
        self.assertEqual(call.error, f"1: {result['lines'][1]['error']['message']}")
        self.assertIn('"PLAIN"', call.body)
        self.assertEqual((call.transfer_count, call.move_count), (1, 1))
        pickings = self.env["stock.picking"].search(call.action_view_transfers()["domain"])
        self.assertEqual(pickings.ids, [transfer["id"] for transfer in result["transfers"]])
        moves = self.env["stock.move"].search(call.action_view_moves()["domain"])
        self.assertEqual(moves, pickings.move_ids)
        self.assertEqual(moves.origin, "receive k")
        self.assertEqual(call.display_name, "receive k")
        with Form(call) as form:
            self.assertEqual(form.idempotency_key, "k")

    def test_old_calls_are_deleted(self):
        self._call("receive", LINE, idempotency_key="old")
        self._call("receive", LINE, idempotency_key="new")
        calls = self.env["stock.integration.call"]
        self.env.cr.execute(
            "UPDATE stock_integration_call SET date = %s WHERE idempotency_key = 'old'",
            [fields.Datetime.now() - timedelta(days=31)],
        )
        parameters = self.env["ir.config_parameter"]
        parameters.set_param("stock_event_ledger.integration_call_days", "40")
        calls._gc_old()
        self.assertEqual(len(self._get_calls()), 2)
        parameters.set_param("stock_event_ledger.integration_call_days", False)
        calls._gc_old()
        self.assertEqual(self._get_calls().mapped("idempotency_key"), ["new"])

    def test_reads_are_not_on_record(self):
        self.service.get_availability(skus=["PLAIN"])
        self.assertFalse(self._get_calls())
