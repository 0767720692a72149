import datetime
from contextlib import closing

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odoo import fields
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, new_test_user

from .card_common import EPOCH, CardCase

# Hours, so that several movements are at the same moment and at the ends of the period.
HOURS = 24 * 100
ENTRY = st.tuples(
    st.integers(0, 4),
    st.sampled_from([-3, -0.25, 1, 2.5, 10]),
    st.sampled_from(["RECEIPT", "SALE", "INTERNAL"]),
    st.one_of(st.integers(0, HOURS), st.sampled_from([0, 24 * 31, HOURS])),
)
BATCHES = st.lists(
    st.tuples(st.lists(ENTRY, min_size=1, max_size=10), st.sampled_from([0, 3, 1000])),
    min_size=1,
    max_size=4,
)


class TestStockCard(CardCase):
    # --- figures ---

    def _get_expected(self, start, end, locations):
        """Return the card's balances by adding up the ledger, entry by entry."""
        entries = self.env["stock.ledger.entry"].search(
            [("product_id", "=", self.card_product.id), ("location_id", "in", locations.ids)],
            order="effective_date, id",
        )
        before = sum(entries.filtered(lambda e: e.effective_date < start).mapped("quantity"))
        balances, balance = [before], before
        for entry in entries.filtered(lambda e: start <= e.effective_date <= end):
            balance += entry.quantity
            balances.append(balance)
        return [*balances, balance]

    @settings(
        max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(batches=BATCHES, first=st.integers(0, HOURS), hours=st.integers(0, HOURS))
    def test_random_history(self, batches, first, hours):
        locations = [self.stock, self.shelf, self.other_warehouse.lot_stock_id, self.customers]
        transit = self.env.company.internal_transit_location_id
        locations.append(transit)
        start = EPOCH + datetime.timedelta(hours=first)
        end = start + datetime.timedelta(hours=hours)
        warehouse = self.warehouse
        scopes = [
            ({}, self.stock | self.shelf | self.other_warehouse.lot_stock_id | transit),
            ({"warehouse": warehouse}, self.stock | self.shelf),
            ({"location": self.shelf}, self.shelf),
            ({"location": self.stock}, self.stock | self.shelf),
        ]
        with closing(self.env.cr.savepoint()):
            for entries, limit in batches:
                self._append(
                    *(
                        (locations[place], quantity, kind, EPOCH + datetime.timedelta(hours=hour))
                        for place, quantity, kind, hour in entries
                    )
                )
                if limit:
                    self.env["stock.ledger.rollup"]._fold(limit)
            for scope, places in scopes:
                card = self._get_rows(start, end, **scope)
                rows = card.search([])
                expected = self._get_expected(start, end, places)
                self.assertEqual(rows.mapped("balance_quantity"), expected)
                totals = card.get_totals()
                self.assertEqual(totals["opening"], expected[0])
                self.assertEqual(totals["closing"], expected[-1])
                self.assertEqual(
                    totals["opening"] + totals["in"] - totals["out"], totals["closing"]
                )

    def test_card_of_operations(self):
        self._receive(self.card_product, 10, origin="PO7")
        delivery = self._create_picking("out", {self.card_product: 4})
        delivery.action_confirm()
        self._validate(delivery)
        now = fields.Datetime.now()
        card = self._get_rows(now - datetime.timedelta(1), now + datetime.timedelta(1))
        rows = card.search([])
        self.assertEqual(
            self._get_figures(rows),
            [
                ("OPENING_BALANCE", 0, 0, 0),
                ("RECEIPT", 10, 0, 10),
                ("SALE", 0, 4, 6),
                ("CLOSING_BALANCE", 0, 0, 6),
            ],
        )
        self.assertEqual(rows[1].origin, "PO7")
        self.assertEqual(rows[2].picking_id, delivery)
        self.assertEqual(rows[2].reference, delivery.name)
        self.assertEqual(card.get_totals()["closing"], self.card_product.qty_available)

    def test_backdated_movement_changes_the_opening(self):
        self._append((self.stock, 5, "RECEIPT", EPOCH))
        start = EPOCH + datetime.timedelta(40)
        card = self._get_rows(start, start + datetime.timedelta(1))
        self.assertEqual(card.get_totals()["opening"], 5)
        self._append((self.stock, -2, "SALE", EPOCH + datetime.timedelta(1)))
        self.assertEqual(card.get_totals()["opening"], 3)
        self.assertEqual(card.get_totals()["closing"], 3)

    def test_lots(self):
        lots = [self._create_lot(self.lot_product, name) for name in ("L1", "L2")]
        self._receive(self.lot_product, 3, lots=lots)
        now = fields.Datetime.now()
        card = self._get_rows(
            now - datetime.timedelta(1), now + datetime.timedelta(1), self.lot_product
        )
        rows = card.search([("event_type", "=", "RECEIPT")])
        self.assertEqual(set(rows.lot_id), set(lots))
        self.assertEqual(rows.mapped("balance_quantity"), [3, 6])

    def test_reservations_are_no_movements(self):
        self._receive(self.card_product, 10)
        self._create_picking("out", {self.card_product: 4}).action_confirm()
        now = fields.Datetime.now()
        card = self._get_rows(now - datetime.timedelta(1), now + datetime.timedelta(1))
        self.assertEqual(len(card.search([])), 3)

    # --- pages and order ---

    def test_pages_and_order(self):
        same = [(self.stock, 1, "RECEIPT", EPOCH + datetime.timedelta(1))] * 7
        self._append(*same)
        card = self._get_rows(EPOCH, EPOCH + datetime.timedelta(2))
        expected = [0, 1, 2, 3, 4, 5, 6, 7, 7]
        for order, balances in (
            (None, expected),
            ("effective_date ASC", expected),
            ("effective_date DESC", expected[::-1]),
            # RECEIPT, OPENING_BALANCE, CLOSING_BALANCE
            ("event_type DESC", [1, 2, 3, 4, 5, 6, 7, 0, 7]),
        ):
            pages = [card.search([], offset=page, limit=3, order=order) for page in (0, 3, 6)]
            found = [balance for page in pages for balance in page.mapped("balance_quantity")]
            self.assertEqual(found, balances, order)
        self.assertEqual(card.search_count([]), 9)

    def test_filtered_rows_keep_their_balance(self):
        self._append(
            (self.stock, 5, "RECEIPT", EPOCH),
            (self.stock, -2, "SALE", EPOCH),
            (self.stock, 4, "RECEIPT", EPOCH),
        )
        card = self._get_rows(EPOCH, EPOCH)
        rows = card.search([("event_type", "=", "RECEIPT")])
        self.assertEqual(rows.mapped("balance_quantity"), [5, 7])
        # Read by id, as a client does.
        self.assertEqual(
            card.browse(rows[1].id).read(["balance_quantity"])[0]["balance_quantity"], 7
        )

    def test_cards_in_one_transaction(self):
        self._append((self.stock, 5, "RECEIPT", EPOCH), (self.shelf, 2, "RECEIPT", EPOCH))
        whole, shelf = (
            self._get_rows(EPOCH, EPOCH, **scope).search([])
            for scope in ({}, {"location": self.shelf})
        )
        self.assertEqual(whole.mapped("balance_quantity"), [0, 5, 7, 7])
        self.assertEqual(shelf.mapped("balance_quantity"), [0, 2, 2])

    def test_groups(self):
        self._append((self.stock, 5, "RECEIPT", EPOCH), (self.stock, -2, "SALE", EPOCH))
        groups = self._get_rows(EPOCH, EPOCH)._read_group(
            [("in_quantity", ">", 0)], ["event_type"], ["in_quantity:sum"]
        )
        self.assertEqual(groups, [("RECEIPT", 5)])

    # --- access ---

    def test_card_must_be_chosen(self):
        with self.assertRaisesRegex(UserError, "choose it"):
            self.rows.search([])
        with self.assertRaisesRegex(UserError, "period"):
            self.rows.with_context(stock_ledger_product_id=self.card_product.id).search([])
        with self.assertRaisesRegex(UserError, "period"):
            self._get_rows(EPOCH, EPOCH - datetime.timedelta(1)).get_totals()
        with self.assertRaisesRegex(ValidationError, "ends before"):
            self._create_card(date_to=EPOCH - datetime.timedelta(1))

    def test_only_inventory_users(self):
        self._append((self.stock, 5, "RECEIPT", EPOCH))
        internal = new_test_user(self.env, "card_internal", context={"no_reset_password": True})
        portal = new_test_user(
            self.env, "card_portal", "base.group_portal", context={"no_reset_password": True}
        )
        self.assertEqual(len(self._get_rows(EPOCH, EPOCH).search([])), 3)
        for user in (internal, portal):
            with self.assertRaises(AccessError):
                self._get_rows(EPOCH, EPOCH).with_user(user).search([])
            with self.assertRaises(AccessError):
                self._create_card(user)

    def test_others_cards_are_theirs(self):
        card = self._create_card()
        other = new_test_user(
            self.env,
            "card_other",
            "stock.group_stock_user",
            context={"no_reset_password": True},
        )
        with self.assertRaises(AccessError):
            card.with_user(other)._export_workbook()

    def test_balance_is_that_of_ones_companies(self):
        company = self.env["res.company"].create({"name": "Other Card Company"})
        warehouse = self.env["stock.warehouse"].search([("company_id", "=", company.id)], limit=1)
        self._append(
            (warehouse.lot_stock_id, 100, "RECEIPT", EPOCH),
            (self.stock, 5, "RECEIPT", EPOCH + datetime.timedelta(hours=1)),
            (warehouse.lot_stock_id, 100, "RECEIPT", EPOCH + datetime.timedelta(hours=2)),
            (self.stock, 2, "RECEIPT", EPOCH + datetime.timedelta(hours=3)),
        )
        end = EPOCH + datetime.timedelta(hours=4)
        start = EPOCH + datetime.timedelta(hours=1)
        own = self._get_rows(start, end)
        self.assertEqual(own.search([]).mapped("balance_quantity"), [0, 5, 7, 7])
        with self.assertRaises(AccessError):
            self._get_rows(start, end, location=warehouse.lot_stock_id).search([])
        self.user.company_ids |= company
        both = own.with_context(allowed_company_ids=[self.env.company.id, company.id])
        self.assertEqual(both.search([]).mapped("balance_quantity"), [100, 105, 205, 207, 207])
        one = own.with_context(allowed_company_ids=[company.id])
        self.assertEqual(one.search([]).mapped("balance_quantity"), [100, 200, 200])

    # --- actions ---

    def test_drill_down(self):
        picking = self._receive(self.card_product, 10)
        self._append((self.stock, 3, "OPENING", EPOCH))
        now = fields.Datetime.now()
        card = self._get_rows(
            now - datetime.timedelta(1), now + datetime.timedelta(1), warehouse=self.warehouse
        )
        opening, receipt, closing_row = card.search([])
        action = receipt.action_open_document()
        self.assertEqual((action["res_model"], action["res_id"]), ("stock.picking", picking.id))
        for row, quantity in ((opening, 3), (closing_row, 13)):
            action = row.action_open_document()
            entries = self.env[action["res_model"]].search(action["domain"])
            self.assertEqual(sum(entries.mapped("quantity")), quantity)
        [line] = self._get_rows(EPOCH, EPOCH).search([("event_type", "=", "OPENING")])
        action = line.action_open_document()
        self.assertEqual((action["res_model"], action["res_id"]), ("stock.ledger.entry", line.id))

    def test_files_of_the_card_on_the_screen(self):
        rows = self._get_rows(EPOCH, EPOCH + datetime.timedelta(1), warehouse=self.warehouse)
        for action in (rows.action_print(), rows.action_export()):
            self.assertIn(action["type"], ("ir.actions.report", "ir.actions.act_url"))
        card = (
            self.env["stock.ledger.card"].with_user(self.user).search([], limit=1, order="id desc")
        )
        self.assertEqual(
            card._prepare_card_context(),
            {
                **card._prepare_card_context(),
                **{
                    key: value
                    for key, value in rows.env.context.items()
                    if key.startswith("stock_ledger_")
                },
            },
        )
        self.assertEqual(card.company_ids, self.env.company)

    def test_from_the_product(self):
        for record in (self.card_product, self.card_product.product_tmpl_id):
            action = record.with_user(self.user).action_view_stock_card()
            model = self.env[action["res_model"]].with_user(self.user)
            form = Form(model.with_context(**action["context"]))
            self.assertEqual(form.product_id, self.card_product)
            card = form.save()
            # The month of the user, who is ahead of UTC or behind.
            self.assertLessEqual(card.date_from, card.date_to)
            action = card.action_open()
            rows = self.env[action["res_model"]].with_user(self.user)
            self.assertEqual(len(rows.with_context(**action["context"]).search([])), 2)

    def test_month_begins_where_the_user_is(self):
        card = self.env["stock.ledger.card"].with_context(tz="Asia/Tokyo")
        begin = card.default_get(["date_from"])["date_from"]
        self.assertEqual((begin + datetime.timedelta(hours=9)).strftime("%d %H:%M"), "01 00:00")

    def test_archived_product(self):
        self._append((self.stock, 5, "RECEIPT", EPOCH))
        self.card_product.active = False
        self.assertEqual(self._create_card()._get_rows().get_totals()["closing"], 5)

    def test_views_open(self):
        card = self._get_rows(EPOCH, EPOCH)
        # The client asks for views without the context that says which card.
        self.rows.get_views(
            [[False, "list"], [False, "pivot"], [False, "graph"], [False, "search"]]
        )
        values = card.web_search_read([], {"location_id": {"fields": {"display_name": {}}}})
        self.assertEqual(values["length"], 2)

    def test_deleted_user_hides_nothing(self):
        user = new_test_user(self.env, "card_leaver", context={"no_reset_password": True})
        self._append((self.stock, 5, "RECEIPT", EPOCH, {"user_id": user.id}))
        user.unlink()
        card = self._create_card()
        self.assertEqual([row[9] for row in card._get_printed_rows()], ["0.00", "5.00", "5.00"])
        self.assertTrue(card._export_workbook())
