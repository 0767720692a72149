import xmlrpc.client
from contextlib import closing

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odoo.exceptions import AccessError
from odoo.tests import Form, new_test_user
from odoo.tools import SQL

from .common import LedgerCase
from .rollup_common import KEY

ODOO_FIELDS = {
    "qty_available": "physical_quantity",
    "free_qty": "available_quantity",
    "incoming_qty": "incoming_quantity",
    "outgoing_qty": "outgoing_quantity",
    "virtual_available": "forecast_quantity",
}
MEASURES = [f"{name}:sum" for name in ODOO_FIELDS.values()]
# Where goods leave, where they go next and, where that is not the end, at last.
ROUTES = st.sampled_from(
    [
        ("suppliers", "stock", None),
        ("suppliers", "entrance", "stock"),
        ("entrance", "stock", None),
        ("stock", "shelf", None),
        ("stock", "customers", None),
        ("shelf", "exit", "customers"),
        ("exit", "customers", None),
        ("customers", "stock", None),
        ("stock", "other_stock", None),
        ("stock", "transit", "other_stock"),
        ("transit", "other_stock", None),
        ("stock", "transit", None),
        ("suppliers", "customers", None),
    ]
)
# A transfer of one of the products, how far it gets, and how many deltas are folded then.
TRANSFERS = st.lists(
    st.tuples(
        ROUTES,
        st.integers(0, 1),
        st.sampled_from([1, 2.5, 10]),
        st.sampled_from(["draft", "confirmed", "assigned", "done", "done"]),
        st.sampled_from([0, 0, 2, 1000]),
    ),
    min_size=2,
    max_size=7,
)


class TestReportStock(LedgerCase):
    def _get_report(self):
        return self.env["stock.ledger.report.stock"].with_user(self.user)

    def _get_rows(self):
        return {
            warehouse: amounts
            for warehouse, *amounts in self._get_report()._read_group(
                [("product_id", "=", self.product.id)],
                ["warehouse_id"],
                ["physical_quantity:sum", "reserved_quantity:sum", "available_quantity:sum"],
            )
        }

    def test_physical_reserved_available(self):
        self._receive(self.product, 10)
        self._receive(self.product, 5, destination=self.shelf)
        self._create_picking("out", {self.product: 4}).action_confirm()
        self.assertEqual(self._get_rows(), {self.warehouse: [15, 4, 11]})

    def test_same_before_and_after_folding(self):
        self._receive(self.product, 10)
        before = self._get_rows()
        self.assertTrue(self.env["stock.ledger.delta"].search_count([]))
        while self.env["stock.ledger.balance"]._fold(7):
            self.assertEqual(self._get_rows(), before)
        self.assertFalse(self.env["stock.ledger.delta"].search_count([]))
        self.assertLedgerBalanced()
        self._receive(self.product, 2)
        self.assertEqual(self._get_rows(), {self.warehouse: [12, 0, 12]})
        self.env["stock.ledger.balance"]._fold()
        self.assertEqual(self._get_rows(), {self.warehouse: [12, 0, 12]})
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
                self.warehouse: [7, 0, 7],
                self.env["stock.warehouse"]: [3, 0, 3],
            },
        )

    # --- equal to Odoo ---

    def _get_odoo_figures(self, product, **context):
        # Odoo's figures do not follow from each change of a move in the same transaction.
        self.env.invalidate_all()
        product = product.with_user(self.user).with_context(**context)
        return [product[name] for name in ODOO_FIELDS]

    def _get_figures(self, *domain):
        [figures] = self._get_report()._read_group(domain, [], MEASURES)
        return [figure or 0 for figure in figures]

    def _get_planned_inside(self):
        return self._get_report()._read_group([], ["warehouse_id"], ["internal_quantity:sum"])

    def _check_odoo(self):
        for product in (self.product, self.lot_product):
            mine = ("product_id", "=", product.id)
            for warehouse in self.warehouse | self.other_warehouse:
                self.assertEqual(
                    self._get_figures(mine, ("warehouse_id", "=", warehouse.id)),
                    self._get_odoo_figures(product, warehouse_id=warehouse.id),
                )
            # Between two warehouses is neither incoming nor outgoing when Odoo sees both.
            physical, free, incoming, outgoing, forecast = self._get_figures(
                mine, ("warehouse_id", "!=", False)
            )
            odoo = self._get_odoo_figures(product)
            self.assertEqual([physical, free, forecast], [odoo[0], odoo[1], odoo[4]])
            self.assertEqual(incoming - outgoing, odoo[2] - odoo[3])
        self.assertFalse(any(amount for _warehouse, amount in self._get_planned_inside()))

    def _check_quants(self):
        """Each stock key of ours once, with what its quants have."""
        quants = self.env.execute_query(
            SQL(
                """SELECT %s, SUM(quantity), SUM(reserved_quantity) FROM stock_quant
                    WHERE location_id IN (SELECT id FROM stock_location
                                           WHERE usage IN ('internal', 'transit'))
                    GROUP BY 1, 2, 3, 4, 5, 6
                   HAVING SUM(quantity) <> 0 OR SUM(reserved_quantity) <> 0""",
                KEY,
            )
        )
        names = KEY.code.split(", ")
        rows = [
            (
                *(row[name].id or None for name in names),
                row.physical_quantity,
                row.reserved_quantity,
            )
            for row in self.env["stock.ledger.report.stock"].search([])
            if row.physical_quantity or row.reserved_quantity
        ]
        self.assertCountEqual(rows, quants)

    def _move(self, route, product, quantity, state):
        source, destination, final = (name and self.places[name] for name in route)
        picking = self._create_picking(
            "int", {product: quantity}, source=source, destination=destination
        )
        picking.move_ids.location_final_id = final
        if state != "draft":
            picking.action_confirm()
        if state == "confirmed":
            picking.do_unreserve()
        if state == "done":
            picking.move_ids.quantity = quantity
            lines = picking.move_line_ids
            lines.filtered(
                lambda line: line.tracking == "lot" and not line.lot_id
            ).lot_id = self.lot
            self._validate(picking)
        return picking

    def _create_places(self):
        transit = self.env.company.internal_transit_location_id
        transit.active = True
        self.lot = self._create_lot(self.lot_product, "REPORTED")
        self.places = {
            "suppliers": self.suppliers,
            "customers": self.customers,
            "stock": self.stock,
            "shelf": self.shelf,
            "entrance": self.warehouse.wh_input_stock_loc_id,
            "exit": self.warehouse.wh_output_stock_loc_id,
            "other_stock": self.other_warehouse.lot_stock_id,
            "transit": transit,
        }
        for place in self.places.values():
            place.active = True

    @settings(
        max_examples=12,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(transfers=TRANSFERS)
    def test_random_transfers_equal_odoo(self, transfers):
        with closing(self.env.cr.savepoint()):
            self._create_places()
            for route, number, quantity, state, limit in transfers:
                product = (self.product, self.lot_product)[number]
                self._move(route, product, quantity, state)
                if limit:
                    self.env["stock.ledger.rollup"]._fold(limit)
            self._check_odoo()
            self._check_quants()

    def test_planned_inside_a_warehouse(self):
        self._create_places()
        self._receive(self.product, 10)
        self._move(("stock", "shelf", None), self.product, 4, "confirmed")
        self._move(("suppliers", "entrance", "stock"), self.product, 3, "confirmed")
        self._move(("shelf", "exit", "customers"), self.product, 2, "confirmed")
        rows = {
            row.location_id: (
                row.physical_quantity,
                row.incoming_quantity,
                row.outgoing_quantity,
                row.internal_quantity,
                row.forecast_quantity,
            )
            for row in self._get_report().search([("product_id", "=", self.product.id)])
        }
        self.assertEqual(
            rows,
            {
                self.stock: (10, 0, 0, -4, 6),
                self.shelf: (0, 0, 2, 4, 2),
                self.places["entrance"]: (0, 3, 0, 0, 3),
            },
        )

    def test_unit_of_measure_and_archived_product(self):
        self._receive(self.product, 2, uom=self.env.ref("uom.product_uom_dozen"))
        self._create_picking(
            "in", {self.product: 1}, uom=self.env.ref("uom.product_uom_dozen")
        ).action_confirm()
        self.product.active = False
        figures = self._get_figures(("product_id", "=", self.product.id))
        self.assertEqual(figures, [24, 24, 12, 0, 36])
        self.assertEqual(figures, self._get_odoo_figures(self.product))

    def test_goods_that_are_not_stored_are_not_stock(self):
        goods = self._create_product("Not stored", is_storable=False)
        self._create_picking("in", {goods: 5}).action_confirm()
        self.assertFalse(self._get_report().search([("product_id", "=", goods.id)]))

    def test_planned_is_on_the_row_without_a_lot(self):
        lots = [self._create_lot(self.lot_product, name) for name in ("A", "B")]
        self._receive(self.lot_product, 5, lots=lots)
        self._create_picking("out", {self.lot_product: 4}).action_confirm()
        rows = self._get_report().search([("product_id", "=", self.lot_product.id)])
        self.assertEqual(
            {row.lot_id: (row.physical_quantity, row.outgoing_quantity) for row in rows},
            {lots[0]: (5, 0), lots[1]: (5, 0), lots[0].browse(): (0, 4)},
        )

    # --- rows ---

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
            self.assertEqual(row.physical_quantity, 11)
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

    def _open(self, action):
        return self.env[action["res_model"]].with_user(self.user).search(action["domain"])

    def test_drill_down(self):
        receipt = self._receive(self.product, 10)
        self._receive(self.product, 5, destination=self.shelf)
        delivery = self._create_picking("out", {self.product: 4})
        delivery.action_confirm()
        delivery.do_unreserve()
        row = self._get_report().search(
            [("product_id", "=", self.product.id), ("location_id", "=", self.stock.id)]
        )
        self.assertEqual(sum(self._open(row.action_view_entries()).mapped("quantity")), 10)
        self.assertEqual(self._open(row.action_view_planned_moves()), delivery.move_ids)
        self.assertEqual(self._open(row.action_view_transfers()), receipt | delivery)

    def test_drill_down_to_what_is_planned(self):
        self._create_places()
        for route in (
            ("suppliers", "entrance", "stock"),
            ("stock", "shelf", None),
            ("shelf", "exit", "customers"),
            ("stock", "transit", "other_stock"),
            ("transit", "stock", None),
        ):
            self._move(route, self.product, 2, "confirmed")
        rows = self._get_report().search([("product_id", "=", self.product.id)])
        self.assertEqual(len(rows), 5)
        for row in rows:
            moves = self._open(row.action_view_planned_moves())
            leaving = moves.filtered(lambda move, row=row: move.location_id == row.location_id)
            self.assertEqual(
                sum((moves - leaving).mapped("product_qty")) - sum(leaving.mapped("product_qty")),
                row.forecast_quantity,
                row.location_id.display_name,
            )

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

    def test_others_are_refused(self):
        for group in ("base.group_user", "base.group_portal"):
            user = new_test_user(self.env, group, groups=group)
            with self.assertRaises(AccessError):
                self._get_report().with_user(user).search([])
