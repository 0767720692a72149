import ast
import csv
import io
import json

from lxml import etree

from odoo.http import Request
from odoo.tests import HttpCase, new_test_user, tagged

from .common import LedgerCase
from .tour_common import TourCase


class TestLedgerList(LedgerCase):
    """How ledger entries are listed and found, as an inventory user."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.entries = cls.env["stock.ledger.entry"].with_user(cls.user)

    def _get_views(self):
        action = self.env.ref("stock_event_ledger.action_stock_ledger_entry")
        views = [(False, "list"), (False, "kanban"), (False, "search")]
        self.assertEqual(action.view_mode.split(",")[:2], ["list", "kanban"])
        return self.entries.get_views(views, {"toolbar": False})["views"]

    def _get_specification(self, view_type):
        arch = etree.fromstring(self._get_views()[view_type]["arch"])
        names = {node.get("name") for node in arch.iter("field")}
        return {
            name: {"fields": {"display_name": {}}} if self.entries._fields[name].relational else {}
            for name in names
        }

    def test_a_page_takes_few_queries(self):
        products = [self._create_product(f"Listed {number}") for number in range(40)]
        for product in products:
            self._receive(product, 2, origin=f"Order of {product.name}")
        self.env["stock.ledger.entry"]._flush_buffer()
        self.env.flush_all()
        ids = [product.id for product in products]
        for view_type in ("list", "kanban"):
            specification = self._get_specification(view_type)
            self.assertIn("product_id", specification)
            self.env.invalidate_all()
            with self.assertQueryCount(40):
                page = self.entries.web_search_read(
                    [("product_id", "in", ids)], specification, limit=80
                )
            self.assertEqual(page["length"], 80)

    def _find(self, text, operator="ilike"):
        return self.entries.search([("search_text", operator, text)])

    def test_scanning_a_barcode(self):
        self.product.barcode = "5901234123457"
        self.product.default_code = "SKU-59"
        self._receive(self.product, 1)
        self._receive(self._create_product("Box 5901234123457"), 1)
        for text in ("5901234123457", " 5901234123457 ", "SKU-59"):
            self.assertEqual(self._find(text).product_id, self.product)
        self.product.active = False
        self.assertEqual(self._find("5901234123457").product_id, self.product)
        self.assertFalse(self._find("5901234123458"))

    def test_scanning_a_lot(self):
        lots = [self._create_lot(self.lot_product, name) for name in ("LOT/7", "LOT/77")]
        self._receive(self.lot_product, 5, lots=lots)
        self.assertEqual(self._find("LOT/7").lot_id, lots[0])
        self.assertEqual(self._find("lot/").lot_id, lots[0] | lots[1])

    def test_typing_a_name(self):
        self._receive(self.product, 1)
        self.product.name = "Extraordinary"
        self.assertEqual(self._find("extraord").product_id, self.product)
        self.assertFalse(self._find("no such thing"))
        self.assertFalse(self._find("", "="))

    def _get_filters(self):
        """Return the domains of the search view's fields and filters, by name."""
        arch = etree.fromstring(self._get_views()["search"]["arch"])
        return {
            node.get("string") or node.get("name"): node.get("filter_domain") or node.get("domain")
            for node in arch.iter("field", "filter")
        }

    def _search_by(self, name, value=None):
        domain = self._get_filters()[name].replace("self", repr(value))
        return self.entries.search(ast.literal_eval(domain))

    def test_search_by_transfer_contact_and_source(self):
        receipt = self._receive(self.product, 10, origin="PO-LIST")
        receipt.partner_id = self.env["res.partner"].create({"name": "Listing Supplier"})
        self._receive(self.product, 2)
        for name, value in (
            ("Transfer", receipt.name),
            ("Contact", "listing sup"),
            ("Reference", "PO-LIST"),
            ("Reference", receipt.name),
        ):
            self.assertEqual(self._search_by(name, value).picking_id, receipt, name)
        self.assertEqual(self.entries.search([("origin", "ilike", "po-li")]).picking_id, receipt)

    def test_filters_and_favourites(self):
        self._receive(self.product, 10)
        self._validate(self._create_picking("out", {self.product: 1}))
        self._count(self.product, self.stock, 7)
        mine = [("product_id", "=", self.product.id)]
        for name, kinds in (
            ("Receipts", {"RECEIPT"}),
            ("Sales", {"SALE"}),
            ("Adjustments and Scrap", {"ADJUSTMENT"}),
            ("Recorded Today", {"RECEIPT", "SALE", "ADJUSTMENT"}),
            ("Recorded This Week", {"RECEIPT", "SALE", "ADJUSTMENT"}),
            ("Recorded in the Last 30 Days", {"RECEIPT", "SALE", "ADJUSTMENT"}),
        ):
            found = self._search_by(name).filtered_domain(mine)
            self.assertEqual(set(found.mapped("event_type")) - {"RESERVE"}, kinds, name)
        action = self.env.ref("stock_event_ledger.action_stock_ledger_entry")
        favourites = (
            self.env["ir.filters"]
            .with_user(self.user)
            .get_filters("stock.ledger.entry", action_id=action.id)
        )
        found = {
            favourite["name"]: self.entries.search(
                ast.literal_eval(favourite["domain"])
            ).filtered_domain(mine)
            for favourite in favourites
        }
        self.assertEqual(found["Receipts Today"].mapped("quantity"), [10])
        self.assertEqual(found["Deliveries Today"].mapped("quantity"), [-1])
        self.assertEqual(found["Adjustments This Month"].mapped("quantity"), [-2])


@tagged("post_install", "-at_install")
class TestLedgerExport(HttpCase, LedgerCase):
    """The list's export, through Odoo's own controller."""

    def _export(self, kind, ids, names):
        data = {
            "model": "stock.ledger.entry",
            "fields": [{"name": name, "label": name, "type": "char"} for name in names],
            "ids": ids,
            "domain": [],
            "groupby": [],
            "import_compat": False,
            "context": {},
        }
        csrf_token = Request.csrf_token(self)
        response = self.url_open(
            f"/web/export/{kind}", {"data": json.dumps(data), "csrf_token": csrf_token}
        )
        response.raise_for_status()
        return response.content

    def test_export(self):
        self.env.ref("base.group_allow_export").user_ids |= self.user
        receipt = self._receive(self.product, 10.5, origin="PO, with a comma")
        gone = self._create_picking("out", {self.product: 4})
        gone.action_confirm()
        self.env["stock.ledger.entry"]._flush_buffer()
        gone_name = gone.name
        gone.action_cancel()
        gone.unlink()
        entries = self._get_entries([("product_id", "=", self.product.id)])
        self.authenticate(self.user.login, self.user.login)
        names = [
            "event_type",
            "product_id",
            "location_id",
            "quantity",
            "reserved_quantity",
            "reference",
            "origin",
            "picking_id",
            "user_id",
        ]
        content = self._export("csv", entries.ids, names)
        header, *rows = csv.reader(io.StringIO(content.decode("utf-8-sig")))
        self.assertEqual(header, names)
        self.assertEqual(len(rows), len(entries))
        by_kind = {(row[0], row[2]): row for row in rows}
        row = by_kind["Receipt", "LWH/Stock"]
        self.assertEqual(row[1], "Plain")
        self.assertEqual(row[3:5], ["10.5", "0.0"])
        self.assertEqual(row[5:8], [receipt.name, "PO, with a comma", receipt.name])
        # The transfer was deleted since: what the entry tells of it stays.
        row = by_kind["Reserve", "LWH/Stock"]
        self.assertEqual((row[4], row[5], row[7]), ("4.0", gone_name, ""))
        self.assertEqual(self._export("xlsx", entries.ids, names)[:2], b"PK")


class ListToursCase(TourCase, LedgerCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.login = "list_stock_user"
        user = new_test_user(
            cls.env,
            cls.login,
            groups="stock.group_stock_user,base.group_allow_export",
            context={"no_reset_password": True},
        )
        user.group_ids |= cls.env.ref("stock.group_production_lot")
        cls.listed = cls._create_product("Listed Product", barcode="4006381333931")
        cls._receive(cls.listed, 10)
        cls._validate(cls._create_picking("out", {cls.listed: 2}))
        cls.tracked = cls._create_product("Lot Product", tracking="lot")
        cls.lot = cls._create_lot(cls.tracked, "LOT-LIST-1")
        cls._receive(cls.tracked, 4, lots=[cls.lot])
        cls._create_picking("out", {cls.listed: 3}).action_confirm()
        cls.env["stock.ledger.entry"]._flush_buffer()


class TestLedgerListTours(ListToursCase):
    """The list and the buttons that lead to it, in a real browser, as an inventory user."""

    def _start(self, path, name):
        self.start_tour(f"/odoo/{path}", f"stock_event_ledger_{name}", login=self.login)

    def test_search_filter_and_favourites(self):
        self._start("action-stock_event_ledger.action_stock_ledger_entry", "list")

    def test_export_dialog(self):
        self._start("action-stock_event_ledger.action_stock_ledger_entry", "export")

    def test_product_buttons(self):
        self._start(f"product.product/{self.listed.id}", "product_buttons")

    def test_template_buttons(self):
        self._start(f"product.template/{self.listed.product_tmpl_id.id}", "product_buttons")

    def test_lot_buttons(self):
        # The form's buttons are there in Odoo's own list of lots.
        action = self.env.ref("stock.action_production_lot_form")
        self._start(f"action-{action.id}/{self.lot.id}", "lot_buttons")

    def test_location_buttons(self):
        self._start(f"stock.location/{self.stock.id}", "location_buttons")

    def test_product_list(self):
        action = self.env.ref("stock.stock_product_normal_action", raise_if_not_found=False)
        path = f"action-{action.id}" if action else "product.product"
        self._start(f"{path}?view_type=list", "product_list")


class TestLedgerListSmall(ListToursCase):
    """On a phone."""

    browser_size = "390x844"
    touch_enabled = True

    def test_cards(self):
        self.start_tour(
            "/odoo/action-stock_event_ledger.action_stock_ledger_entry",
            "stock_event_ledger_list_small",
            login=self.login,
        )
