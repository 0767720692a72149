from datetime import timedelta

from freezegun import freeze_time

from odoo import fields

from ..exceptions import IdempotencyConflict, InvalidInput
from ..integration import OPERATIONS
from .drift import find_drifts
from .hold_common import HoldCase


class TestHoldCalls(HoldCase):
    """Holds as integrators make, extend, convert and release them."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.product.default_code = "HOLD-ME"
        cls.calls = cls.env["stock.integration"].with_user(cls.integrator)
        cls.number = 0

    def _call(self, operation, **body):
        type(self).number += 1
        result = getattr(self.calls, operation)(f"key {self.number}", **body)
        # What is promised to integrators.
        OPERATIONS[operation].output.model_validate(result)
        return result

    def _reserve(self, *quantities, **body):
        lines = [
            {"sku": "HOLD-ME", "warehouse": "LWH", "quantity": quantity} for quantity in quantities
        ]
        return self._call("reserve", lines=lines, **body)

    def _get_holds(self, result):
        ids = [hold["id"] for line in result["lines"] for hold in line.get("holds", ())]
        return self.env["stock.hold"].browse(ids)

    def _get_codes(self, result):
        return [line.get("error", {}).get("code") for line in result["lines"]]

    def test_the_life_of_a_basket(self):
        with freeze_time("2026-05-04 10:00:00"):
            result = self._reserve(
                2, 3, reference="Basket 1", expires_in_seconds=600, partner_id=self.customer.id
            )
            self.assertEqual((result["status"], result["transfers"]), ("done", []))
            holds = self._get_holds(result)
            self.assertEqual(
                result["lines"][0],
                {
                    "line": 0,
                    "status": "done",
                    "holds": [
                        {
                            "id": holds[0].id,
                            "name": holds[0].name,
                            "reference": "Basket 1",
                            "product_id": self.product.id,
                            "warehouse_id": self.warehouse.id,
                            "quantity": 2,
                            "state": "active",
                            "expires_at": "2026-05-04T10:10:00Z",
                        }
                    ],
                },
            )
            self.assertEqual(holds.user_id, self.integrator)
            self.assertEqual(set(holds.mapped("origin")), {f"reserve key {self.number}"})
            entries = self._get_entries([("move_id", "in", holds.move_ids.ids)])
            self.assertEqual(set(entries.mapped("origin")), {f"reserve key {self.number}"})
            result = self._call(
                "extend", holds=[{"reference": "Basket 1"}], expires_at="2026-05-04T12:00:00+01:00"
            )
            self.assertEqual(result["status"], "done")
            self.assertEqual(
                [hold["expires_at"] for hold in result["lines"][0]["holds"]],
                ["2026-05-04T11:00:00Z"] * 2,
            )
            result = self._call("release", holds=[{"hold_id": holds[0].id}])
            self.assertEqual(result["lines"][0]["holds"][0]["state"], "released")
            result = self._call("convert", holds=[{"reference": "Basket 1"}], origin="Order 1")
            [transfer] = result["transfers"]
            self.assertEqual((result["status"], transfer["state"]), ("done", "assigned"))
            [hold] = result["lines"][0]["holds"]
            self.assertEqual((hold["id"], hold["state"]), (holds[1].id, "converted"))
        picking = self.env["stock.picking"].browse(transfer["id"])
        self.assertEqual((picking.origin, picking.partner_id), ("Order 1", self.customer))
        self.assertEqual(self._get_figures(), (10, 3, 3))
        self.assertEqual(find_drifts(self.env), {})

    def test_the_same_call_holds_once(self):
        lines = [{"product_id": self.product.id, "warehouse_id": self.warehouse.id, "quantity": 2}]
        first = self.calls.reserve("once", lines)
        self.assertEqual(self.calls.reserve("once", lines), first)
        self.assertEqual(self._get_figures(), (10, 2, 2))
        with self.assertRaises(IdempotencyConflict):
            self.calls.reserve("once", [{**lines[0], "quantity": 3}])

    def test_lines_that_are_refused(self):
        lot = self._create_lot(self.lot_product, "LOT")
        self._receive(self.lot_product, 2, lots=lot)
        good = {"sku": "HOLD-ME", "warehouse": "LWH", "quantity": 6}
        by_lot = {**good, "sku": None, "product_id": self.lot_product.id, "quantity": 1}
        del by_lot["sku"]
        result = self._call(
            "reserve",
            lines=[
                good,
                good,
                {**good, "sku": "NO-SUCH"},
                {**good, "warehouse": "NONE"},
                {**good, "lot": "LOT"},
                {**by_lot, "lot": "NO-SUCH"},
                {**by_lot, "lot": "LOT"},
                {**by_lot, "quantity": 0.001},
            ],
        )
        self.assertEqual(result["status"], "partial")
        self.assertEqual(
            self._get_codes(result),
            [
                None,
                "not_available",
                "unknown_product",
                "unknown_warehouse",
                "lot_not_allowed",
                "unknown_lot",
                None,
                "below_rounding",
            ],
        )
        self.assertEqual(result["lines"][1]["error"]["available"], 4)
        self.assertEqual(result["lines"][6]["holds"][0]["lot"], "LOT")
        self.assertEqual(self._get_figures(), (10, 6, 6))
        self.assertEqual(self._reserve(5)["status"], "refused")

    def test_bodies_that_are_wrong(self):
        line = {"sku": "HOLD-ME", "warehouse": "LWH", "quantity": 1}
        hold = {"hold_id": 1}
        for member, operation, body in (
            ("lines", "reserve", {}),
            ("lines", "reserve", {"lines": []}),
            (r"lines\[0\]", "reserve", {"lines": [{**line, "warehouse_id": 1}]}),
            (r"lines\[0\]", "reserve", {"lines": [{"sku": "HOLD-ME", "quantity": 1}]}),
            (r"lines\[0\].quantity", "reserve", {"lines": [{**line, "quantity": 0}]}),
            ("expires_in_seconds", "reserve", {"lines": [line], "expires_in_seconds": 0}),
            ("expires_in_seconds", "reserve", {"lines": [line], "expires_in_seconds": 10**6}),
            ("expires_at", "reserve", {"lines": [line], "expires_at": "2020-01-01"}),
            ("partner_id", "reserve", {"lines": [line], "partner_id": 2**31 - 1}),
            ("holds", "release", {}),
            (r"holds\[0\]", "release", {"holds": [{}]}),
            (r"holds\[0\]", "convert", {"holds": [{**hold, "reference": "x"}]}),
            ("ship", "convert", {"holds": [hold], "ship": "yes"}),
            (
                "body",
                "extend",
                {"holds": [hold], "expires_at": "2099-01-01", "expires_in_seconds": 1},
            ),
        ):
            with self.subTest(member, **body), self.assertRaisesRegex(InvalidInput, member):
                self._call(operation, **body)
        self.assertEqual(self._get_figures(), (10, 0, 0))

    def test_holds_at_their_end(self):
        now = fields.Datetime.now()
        holds = self._get_holds(self._reserve(1, 1, 1, expires_in_seconds=600))
        expired, released, converted = ([{"hold_id": hold.id}] for hold in holds)
        self._call("release", holds=released)
        result = self._call("convert", holds=converted, ship=True, partner_id=self.customer.id)
        self.assertEqual(result["transfers"][0]["state"], "done")
        with freeze_time(now + timedelta(minutes=11)):
            every = [*expired, *released, *converted, {"hold_id": 2**31 - 1}]
            every.append({"reference": "No such"})
            for operation in ("extend", "convert"):
                result = self._call(operation, holds=every)
                self.assertEqual((result["status"], result["transfers"]), ("refused", []))
                self.assertEqual(
                    self._get_codes(result), [*["hold_ended"] * 3, *["unknown_hold"] * 2]
                )
            # What is no longer held is as good as released.
            result = self._call("release", holds=every)
            self.assertEqual(
                self._get_codes(result), [None, None, "hold_ended", *["unknown_hold"] * 2]
            )
        self.assertEqual(self._get_figures(), (9, 0, 0))

    def test_converting_what_others_have_taken(self):
        holds = self._get_holds(self._reserve(4, 6))
        holds[0].move_ids._do_unreserve()
        others = self._hold(3)
        lines = [{"hold_id": hold.id} for hold in holds]
        result = self._call("convert", holds=lines)
        self.assertEqual((result["status"], len(result["transfers"])), ("partial", 1))
        self.assertEqual(self._get_codes(result), ["not_available", None])
        self.assertEqual(result["lines"][0]["holds"][0]["state"], "short")
        self.assertEqual(result["lines"][0]["error"]["available"], 1)
        others.action_release()
        result = self._call("convert", holds=lines[:1])
        self.assertEqual((result["status"], result["transfers"][0]["state"]), ("done", "assigned"))
        self.assertEqual(self._get_figures(), (10, 10, 10))

    def test_others_holds_are_not_there(self):
        other = self._hold(1, reference="Basket 1")
        for line in ({"hold_id": other.id}, {"reference": "Basket 1"}):
            for operation in ("release", "extend", "convert"):
                result = self._call(operation, holds=[line])
                self.assertEqual(self._get_codes(result), ["unknown_hold"])
        self.assertEqual(other.state, "active")

    def test_availability_counts_holds(self):
        self._reserve(4)
        [row] = self.calls.get_availability(skus=["HOLD-ME"], warehouses=["LWH"])["availability"]
        self.assertEqual((row["physical"], row["reserved"], row["available"]), (10, 4, 6))
