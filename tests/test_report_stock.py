import xmlrpc.client

from odoo.tests import Form

from .common import LedgerCase


class TestReportStock(LedgerCase):
    def _get_rows(self):
        report = self.env["stock.ledger.report.stock"].with_user(self.user)
        return {
            row.warehouse_id: (
                row.physical_quantity,
                row.reserved_quantity,
                row.available_quantity,
            )
            for row in report.search([("product_id", "=", self.product.id)])
        }

    def test_physical_reserved_available(self):
        self._receive(self.product, 10)
        self._receive(self.product, 5, destination=self.shelf)
        self._create_picking("out", {self.product: 4}).action_confirm()
        self.assertEqual(self._get_rows(), {self.warehouse: (15, 4, 11)})

    def test_same_before_and_after_folding(self):
        self._receive(self.product, 10)
        before = self._get_rows()
        self.assertTrue(self.env["stock.ledger.delta"].search_count([]))
        while self.env["stock.ledger.balance"]._fold(7):
            self.assertEqual(self._get_rows(), before)
        self.assertFalse(self.env["stock.ledger.delta"].search_count([]))
        self.assertLedgerBalanced()
        self._receive(self.product, 2)
        self.assertEqual(self._get_rows(), {self.warehouse: (12, 0, 12)})
        self.env["stock.ledger.balance"]._fold()
        self.assertEqual(self._get_rows(), {self.warehouse: (12, 0, 12)})
        self.assertLedgerBalanced()

    def test_transit_has_no_warehouse(self):
        transit = self.warehouse.company_id.internal_transit_location_id
        transit.active = True
        self._receive(self.product, 10)
        picking = self._create_picking("int", {self.product: 3}, destination=transit)
        picking.action_confirm()
        self._validate(picking)
        self.assertEqual(
            self._get_rows(),
            {
                self.warehouse: (7, 0, 7),
                self.env["stock.warehouse"]: (3, 0, 3),
            },
        )

    def test_equals_odoo(self):
        self._receive(self.product, 10)
        self._count(self.product, self.shelf, 2)
        self._create_picking("out", {self.product: 4}).action_confirm()
        product = self.product.with_context(warehouse_id=self.warehouse.id)
        product.invalidate_recordset()
        self.assertEqual(
            self._get_rows()[self.warehouse],
            (
                product.qty_available,
                product.qty_available - product.free_qty,
                product.free_qty,
            ),
        )

    def test_rows_keep_their_ids(self):
        self._receive(self.product, 10)
        self.env["stock.ledger.entry"]._flush_buffer()
        self.env["stock.ledger.balance"]._fold()
        report = self.env["stock.ledger.report.stock"]
        row = report.search([("product_id", "=", self.product.id)])
        self._receive(self.serial_product, 1, lots=[self._create_lot(self.serial_product, "R1")])
        self._receive(self.product, 1)
        self._receive(self.product, 1, destination=self.shelf)
        for _fold in range(2):
            self.assertEqual(row.product_id, self.product)
            self.assertEqual(row.physical_quantity, 12)
            self.env["stock.ledger.balance"]._fold()
            row.invalidate_recordset()

    def test_ids_fit_into_xml_rpc(self):
        self._receive(self.product, 10)
        report = self.env["stock.ledger.report.stock"]
        for _fold in range(2):
            row = report.search([("product_id", "=", self.product.id)])
            xmlrpc.client.dumps((row.read(["physical_quantity", "product_id"]),))
            self.assertEqual(report.browse(row.id).product_id, self.product)
            self.env["stock.ledger.balance"]._fold()

    def test_groups_and_drill_down(self):
        self._receive(self.product, 10)
        report = self.env["stock.ledger.report.stock"].with_user(self.user)
        [(warehouse, physical)] = report._read_group(
            [("product_id", "=", self.product.id)],
            ["warehouse_id"],
            ["physical_quantity:sum"],
        )
        self.assertEqual((warehouse, physical), (self.warehouse, 10))
        row = report.search([("product_id", "=", self.product.id)])
        action = row.action_view_entries()
        entries = self.env[action["res_model"]].search(action["domain"])
        self.assertEqual(sum(entries.mapped("quantity")), 10)

    def test_views_open(self):
        self._receive(self.product, 10)
        for model in ("stock.ledger.report.stock", "stock.ledger.entry"):
            records = self.env[model].with_user(self.user)
            Form(records.search([], limit=1))
            records.get_views([[False, "list"], [False, "pivot"], [False, "graph"]])

    def test_other_companies_are_hidden(self):
        company = self.env["res.company"].create({"name": "Hidden Company"})
        warehouse = self.env["stock.warehouse"].search([("company_id", "=", company.id)], limit=1)
        self.env.user.company_ids |= company
        self._count(self.product, warehouse.lot_stock_id, 5)
        self.assertNotIn(warehouse, self._get_rows())
