from datetime import timedelta

from odoo import fields

from ..exceptions import InvalidInput
from ..integration import OPERATIONS
from .integration_common import IntegrationCase

FIGURES = ("physical", "reserved", "available", "incoming", "outgoing", "forecast")


class TestIntegrationAvailability(IntegrationCase):
    """The six figures, which are Odoo's own."""

    def _ask(self, **question):
        answer = self.service.get_availability(**question)
        OPERATIONS["get_availability"].output.model_validate(answer)
        return answer

    def _get_figures(self, product, warehouse=None, **question):
        answer = self._ask(
            product_ids=product.ids, warehouse_ids=(warehouse or self.warehouse).ids, **question
        )
        [row] = answer["availability"]
        return tuple(row[name] for name in FIGURES)

    def test_figures(self):
        self._receive(self.product, 10)
        self._receive(self.product, 2, destination=self.shelf)
        self._create_picking("in", {self.product: 7}).action_confirm()
        self._create_picking("out", {self.product: 3}).action_confirm()
        self.env["stock.ledger.rollup"]._fold()
        self._receive(self.product, 1)
        self.assertEqual(self._get_figures(self.product), (13, 3, 10, 7, 3, 17))
        self.assertEqual(self._get_figures(self.product, self.other_warehouse), (0,) * 6)

    def test_figures_are_those_of_odoo(self):
        self._receive(self.product, 10)
        self._create_picking("out", {self.product: 4}).action_confirm()
        self._create_picking("in", {self.product: 5}).action_confirm()
        self._create_picking(
            "int", {self.product: 2}, destination=self.other_warehouse.lot_stock_id
        ).action_confirm()
        self._create_picking("int", {self.product: 1}).action_confirm()
        for warehouse in (self.warehouse, self.other_warehouse):
            product = self.product.with_context(warehouse_id=warehouse.id)
            figures = dict(zip(FIGURES, self._get_figures(product, warehouse), strict=True))
            self.assertEqual(figures["physical"], product.qty_available)
            self.assertEqual(figures["available"], product.free_qty)
            self.assertEqual(figures["incoming"], product.incoming_qty)
            self.assertEqual(figures["outgoing"], product.outgoing_qty)
            self.assertEqual(figures["forecast"], product.virtual_available)

    def test_forecast_at_a_date(self):
        now = fields.Datetime.now()
        for days, kind, quantity in ((-3, "in", 1), (5, "in", 10), (20, "out", 4)):
            picking = self._create_picking(kind, {self.product: quantity})
            picking.action_confirm()
            picking.move_ids.date = now + timedelta(days)

        def get_forecast(days):
            date = fields.Date.to_string(now + timedelta(days))
            return self._get_figures(self.product, date=date)[5]

        self.assertEqual([get_forecast(days) for days in (1, 5, 10, 20)], [1, 11, 11, 7])
        self.assertEqual(self._get_figures(self.product)[5], 7)
        moment = (now + timedelta(5, -60)).isoformat(timespec="seconds") + "Z"
        self.assertEqual(self._get_figures(self.product, date=moment)[5], 1)
        with self.assertRaises(InvalidInput) as caught:
            get_forecast(-2)
        self.assertEqual(caught.exception.problems[0]["member"], "date")

    def test_products_by_any_name(self):
        self.product.barcode = "4006381333931"
        answer = self._ask(
            skus=["PLAIN", "LOT", "nothing"],
            barcodes=["4006381333931", "none"],
            product_ids=[self.serial_product.id, 2**31 - 1],
            warehouses=[self.code],
        )
        products = [row["product_id"] for row in answer["availability"]]
        expected = self.product | self.lot_product | self.serial_product
        self.assertEqual(products, sorted(expected.ids))
        self.assertEqual(
            answer["unknown"],
            [{"sku": "nothing"}, {"barcode": "none"}, {"product_id": 2**31 - 1}],
        )
        row = answer["availability"][0]
        self.assertEqual(
            (row["sku"], row["barcode"], row["uom"], row["warehouse"]),
            ("PLAIN", "4006381333931", "Units", self.code),
        )

    def test_products_of_one_name_are_all_told(self):
        twin = self._create_product("Twin", default_code="PLAIN")
        answer = self._ask(skus=["PLAIN"], warehouses=[self.code])
        self.assertEqual(
            [row["product_id"] for row in answer["availability"]], [self.product.id, twin.id]
        )

    def test_what_has_no_stock_is_unknown(self):
        service = self.env["product.product"].create(
            {"name": "Service", "type": "service", "default_code": "SERVICE"}
        )
        archived = self._create_product("Archived", default_code="ARCHIVED", active=False)
        answer = self._ask(product_ids=[service.id, archived.id])
        self.assertEqual(answer["availability"], [])
        self.assertEqual(len(answer["unknown"]), 2)

    def test_all_warehouses_unless_some_are_named(self):
        self._receive(self.product, 3)
        rows = self._ask(skus=["PLAIN"])["availability"]
        warehouses = self.env["stock.warehouse"].search(
            [("company_id", "=", self.partner_user.company_id.id)]
        )
        self.assertEqual([row["warehouse_id"] for row in rows], sorted(warehouses.ids))
        self.assertEqual(self._ask(skus=["PLAIN"]), self._ask(skus=["PLAIN"]))

    def test_many_products(self):
        products = self.env["product.product"].create(
            [
                {"name": f"P{n}", "default_code": f"P{n}", "type": "consu", "is_storable": True}
                for n in range(300)
            ]
        )
        skus = products.mapped("default_code")
        self.env.flush_all()
        self._ask(skus=skus, warehouses=[self.code])
        # However many there are.
        self.env.invalidate_all()
        with self.assertQueryCount(8):
            answer = self._ask(skus=skus, warehouses=[self.code])
        self.assertEqual(len(answer["availability"]), 300)
