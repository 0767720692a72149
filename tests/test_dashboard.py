import ast
import datetime
from unittest.mock import patch

from freezegun import freeze_time

from odoo import fields
from odoo.tests import tagged
from odoo.tools import SQL

from ..models import stock_ledger_dashboard_monitor
from ..models.stock_ledger_reconciliation import Scope
from .dashboard_common import DashboardCase

NOON = "2031-05-14 12:00:00"
MOST_QUERIES = 24
NO_PRODUCT_ID = 1 << 30


@tagged("post_install", "-at_install")
class TestDashboardFigures(DashboardCase):
    """The figures after known operations, at noon, as an inventory user sees them."""

    def setUp(self):
        super().setUp()
        self.startPatcher(freeze_time(NOON))

    def _open(self, action, user=None):
        """Return the records that a tile or row opens."""
        window = self.env.ref(action["xmlid"])
        user = user or self.user
        records = self.env[window.res_model].with_user(user)
        records = records.with_context(allowed_company_ids=user.company_ids.ids)
        own_domain = ast.literal_eval((window.domain or "[]").strip())
        return records.search([*own_domain, *action.get("domain", [])])

    # --- movements ---

    def test_movements_of_today_by_event_type(self):
        self.assertEqual(self._get_rows("movements"), {})
        self._receive(self.product, 10)
        self._receive(self.lot_product, 1, lots=[self._create_lot(self.lot_product, "L1")])
        self._validate(self._create_picking("out", {self.product: 4}))
        # One entry where the goods leave, and one where they arrive.
        self._validate(self._create_picking("int", {self.product: 2}))
        figures = {"RECEIPT": 2, "INTERNAL": 2, "SALE": 1}
        self.assertEqual(self._get_rows("movements"), figures)
        self.assertEqual(self._get_tile("movements")["value"], 5)
        while self.env["stock.ledger.rollup"]._fold():
            pass
        self.assertEqual(self._get_rows("movements"), figures)

    def test_bars_and_lists_of_movements(self):
        self._receive(self.product, 10)
        self._receive(self.product, 10)
        self._validate(self._create_picking("out", {self.product: 4}))
        receipts, sales = self._get_tile("movements")["rows"]
        self.assertEqual((receipts["label"], receipts["share"]), ("Receipt", 1))
        self.assertEqual((sales["label"], sales["share"]), ("Sale", 0.5))
        opened = self._open(sales["action"])
        self.assertEqual(opened.mapped("out_quantity"), [4])
        self.assertEqual(
            sum(self._open(self._get_tile("movements")["action"]).mapped("entry_count")), 3
        )

    def test_movements_of_yesterday_are_none_of_todays(self):
        with freeze_time("2031-05-13 23:59:59"):
            self._receive(self.product, 10)
        with freeze_time("2031-05-14 00:00:00"):
            self._receive(self.product, 5)
        self.assertEqual(self._get_rows("movements"), {"RECEIPT": 1})
        with freeze_time("2031-05-13 23:59:59"):
            self.assertEqual(self._get_rows("movements"), {"RECEIPT": 1})

    def test_hottest_products(self):
        products = [self._create_product(f"Hot {number}") for number in range(6)]
        for number, product in enumerate(products):
            for _receipt in range(number + 1):
                self._receive(product, 1)
        rows = self._get_tile("products")["rows"]
        self.assertEqual(
            [(row["label"], row["value"]) for row in rows],
            [("Hot 5", 6), ("Hot 4", 5), ("Hot 3", 4), ("Hot 2", 3), ("Hot 1", 2)],
        )
        self.assertEqual(self._open(rows[0]["action"]).product_id, products[5])

    def test_products_that_are_archived_or_gone(self):
        archived, gone = self._create_product("Archived"), self._create_product("Gone")
        self._receive(archived, 1)
        self._receive(gone, 1)
        archived.active = False
        self.env.cr.flush()
        self.env.cr.execute(
            SQL(
                "UPDATE stock_ledger_delta SET product_id = %s WHERE product_id = %s",
                NO_PRODUCT_ID,
                gone.id,
            )
        )
        labels = [row["label"] for row in self._get_tile("products")["rows"]]
        self.assertCountEqual(labels, ["Archived", f"Deleted ({NO_PRODUCT_ID})"])

    def test_stock_outs(self):
        self.assertEqual(self._get_tile("stockouts")["value"], 0)
        with freeze_time("2031-05-10 12:00:00"):
            self._receive(self.product, 5)
            self._receive(self.lot_product, 1, lots=[self._create_lot(self.lot_product, "L1")])
        with freeze_time("2031-05-12 12:00:00"):
            self._validate(self._create_picking("out", {self.product: 5}))
        self.env["stock.ledger.stockout"]._refresh()
        tile = self._get_tile("stockouts")
        self.assertEqual((tile["value"], tile["status"]), (1, "warning"))
        [row] = tile["rows"]
        self.assertEqual((row["label"], row["date"]), ("Plain", "2031-05-12 00:00:00"))
        self.assertEqual(self._open(row["action"]).product_id, self.product)

    # --- reservations ---

    def test_queued_reservations(self):
        tile = self._get_tile("queue")
        self.assertEqual((tile["value"], tile["status"], tile["rows"]), (0, "success", []))
        self._receive(self.product, 10)
        moves = self.env["stock.move"]
        for minutes in (5, 90, 0):
            picking = self._create_picking("out", {self.product: 1})
            picking.action_confirm()
            picking.do_unreserve()
            picking.move_ids.reservation_queued_date = fields.Datetime.now() - datetime.timedelta(
                minutes=minutes
            )
            moves |= picking.move_ids
        tile = self._get_tile("queue")
        self.assertEqual((tile["value"], tile["status"]), (3, "warning"))
        self.assertEqual(self._get_rows("queue"), {"oldest": "2031-05-14 10:30:00"})
        moves[1]._give_up_reservation("Out of order")
        moves[2].reservation_queued_date = False
        tile = self._get_tile("queue")
        self.assertEqual((tile["value"], tile["status"]), (1, "danger"))
        self.assertEqual(self._get_rows("queue"), {"oldest": "2031-05-14 11:55:00", "failed": 1})
        self.assertEqual(self._open(tile["rows"][1]["action"]), moves[1].with_user(self.user))

    def test_oversell_prevented(self):
        for kind, hours in (
            ("wait", 1),
            ("wait", 11),
            ("queue", 2),
            ("queue", 13),
            ("timeout", 24 * 29),
            ("timeout", 24 * 31),
            ("replay", 1),
        ):
            self._note(kind, hours)
        tile = self._get_tile("contention", self.manager)
        self.assertEqual(tile["value"], 3)
        self.assertIn("5 in 30 days", tile["caption"])
        self.assertEqual(
            self._get_rows("contention", self.manager), {"wait": 2, "queue": 2, "timeout": 1}
        )
        self.assertEqual(len(self._open(tile["action"], self.manager)), 3)
        self.env["ir.config_parameter"].set_param("stock_event_ledger.contention_days", "7")
        tile = self._get_tile("contention", self.manager)
        self.assertIn("4 in 7 days", tile["caption"])

    # --- whether all is well ---

    def test_drift(self):
        runs = self.env["stock.ledger.reconciliation"]
        runs._reconcile(Scope(), is_full=False)
        tile = self._get_tile("drift")
        self.assertEqual((tile["value"], tile["status"]), (0, "success"))
        self.assertEqual(self._get_rows("drift"), {"clean": NOON})
        self._receive(self.product, 10)
        self.env.cr.flush()
        self.env.cr.execute(
            SQL(
                "UPDATE stock_quant SET quantity = 12 WHERE product_id = %s AND location_id = %s",
                self.product.id,
                self.stock.id,
            )
        )
        self.env.invalidate_all()
        with freeze_time("2031-05-15 15:00:00"):
            runs._reconcile(Scope(), is_full=False)
            tile = self._get_tile("drift")
        self.assertEqual((tile["value"], tile["status"]), (1, "danger"))
        self.assertEqual(self._get_rows("drift"), {"on_hand": 1, "clean": NOON})
        [drift] = self._open(tile["rows"][0]["action"])
        self.assertEqual(drift.product_id, self.product)
        self.assertEqual(tile["rows"][1]["status"], "warning")

    def test_events_of_each_channel(self):
        self.channel.active = False
        tile = self._get_tile("events")
        self.assertEqual((tile["value"], tile["status"], tile["rows"]), (0, "muted", []))
        self.channel.active = True
        tile = self._get_tile("events")
        self.assertEqual((tile["value"], tile["status"]), (0, "success"))
        self._receive(self.product, 5)
        self._receive(self.lot_product, 1, lots=[self._create_lot(self.lot_product, "L1")])
        tile = self._get_tile("events")
        self.assertEqual(tile["value"], 2)
        [row] = tile["rows"]
        self.assertEqual(
            (row["label"], row["badge"], row["text"]), ("Test", "Running", "2 waiting")
        )
        messages = self._take()
        self._block(messages[0])
        self._confirm(messages[1:])
        tile = self._get_tile("events")
        [row] = tile["rows"]
        self.assertEqual((tile["value"], tile["status"]), (1, "danger"))
        self.assertEqual(row["text"], "0 waiting, 1 blocked")
        unconfirmed = self._open(row["action"]).filtered(lambda event: event.state != "confirmed")
        self.assertEqual(unconfirmed.product_id, self.product)

    def test_paused_late_and_broken_channels(self):
        self.channel.state = "paused"
        tile = self._get_tile("events")
        self.assertEqual((tile["status"], tile["rows"][0]["badge"]), ("warning", "Paused"))
        self.channel.state = "running"
        self.assertEqual(self._get_tile("events")["status"], "success")
        self.channel.status_ids._record_error(self.channel.id, "No route to host")
        tile = self._get_tile("events")
        self.assertEqual((tile["status"], tile["rows"][0]["badge"]), ("danger", "Error"))

    def test_worker(self):
        tile = self._get_tile("worker")
        self.assertEqual((tile["headline"], tile["status"]), ("None", "muted"))
        workers = self.env["stock.event.worker"]
        workers._beat("host:1", True)
        now = self.env.cr.now().replace(microsecond=0)
        for seconds, headline, status in ((1, "At work", "success"), (90, "Gone", "danger")):
            with freeze_time(now + datetime.timedelta(seconds=seconds)):
                tile = self._get_tile("worker")
            self.assertEqual((tile["headline"], tile["status"]), (headline, status))

    def test_movements_that_are_not_in_the_rollups(self):
        while self.env["stock.ledger.rollup"]._fold():
            pass
        self.assertEqual(self._get_rows("worker"), {"deltas": 0})
        self._receive(self.product, 1)
        # The supplier's side is in no company, and counts as well.
        self.assertEqual(self._get_rows("worker"), {"deltas": 2})
        with patch.object(stock_ledger_dashboard_monitor, "MANY_DELTAS", 1):
            tile = self._get_tile("worker")
        self.assertEqual((tile["status"], tile["rows"][0]["badge"]), ("warning", "or more"))

    # --- rights ---

    def test_tiles_by_rights(self):
        shared = ["movements", "products", "stockouts", "queue", "drift", "events", "worker"]
        self.assertEqual(list(self._get_figures()), shared)
        self.assertCountEqual(self._get_figures(self.manager), [*shared, "contention"])
        for login, group in (
            ("dashboard_employee", "base.group_user"),
            ("dashboard_portal", "base.group_portal"),
        ):
            self.assertEqual(self._get_figures(self._create_user(login, group)), {}, login)

    def test_other_companies(self):
        company = self.env["res.company"].create({"name": "Another Company"})
        other = self._create_user("other_dashboard", "stock.group_stock_manager", company)
        with freeze_time("2031-05-10 12:00:00"):
            self._receive(self.product, 5)
        with freeze_time("2031-05-12 12:00:00"):
            self._validate(self._create_picking("out", {self.product: 5}))
        self._receive(self.product, 10)
        picking = self._create_picking("out", {self.product: 1})
        picking.action_confirm()
        picking.do_unreserve()
        picking.move_ids.reservation_queued_date = fields.Datetime.now()
        self.env["stock.ledger.stockout"]._refresh()
        self._note("wait")
        self.channel.company_ids = self.company
        ours, theirs = self._get_figures(self.manager), self._get_figures(other)
        for name in ("movements", "stockouts", "queue", "products", "events"):
            self.assertTrue(ours[name]["rows"], name)
            self.assertFalse(theirs[name]["rows"], name)
        other.company_ids |= self.company
        both = self._get_figures(other)
        self.assertEqual(both["movements"]["rows"], ours["movements"]["rows"])

    def test_one_warehouse(self):
        other = self.env["stock.warehouse"].create(
            {"name": "Second", "code": "SEC", "company_id": self.company.id}
        )
        with freeze_time("2031-05-10 12:00:00"):
            self._receive(self.product, 5)
        with freeze_time("2031-05-12 12:00:00"):
            self._validate(self._create_picking("out", {self.product: 5}))
        self._receive(self.product, 10)
        picking = self._create_picking("out", {self.product: 1})
        picking.action_confirm()
        picking.do_unreserve()
        picking.move_ids.reservation_queued_date = fields.Datetime.now()
        self.env["stock.ledger.stockout"]._refresh()
        self._note("wait")
        ours = self._get_figures(self.manager, self.warehouse)
        theirs = self._get_figures(self.manager, other)
        for name in ("movements", "products", "stockouts", "queue", "contention"):
            self.assertTrue(ours[name]["rows"], name)
            self.assertFalse(theirs[name]["rows"], name)
            self.assertTrue(self._open(ours[name]["action"], self.manager), name)
            self.assertFalse(self._open(theirs[name]["action"], self.manager), name)
        self.assertEqual(theirs["events"], ours["events"])

    def test_warehouses_to_choose_from(self):
        dashboard = self.env(user=self.user)["stock.ledger.dashboard"]
        figures = dashboard.get_figures(self.other_warehouse.id)
        self.assertEqual(
            figures["warehouses"], [{"id": self.warehouse.id, "name": self.warehouse.name}]
        )
        # That of another company is not to be had.
        self.assertIs(figures["warehouse_id"], False)
        self.assertEqual(
            dashboard.get_figures(self.warehouse.id)["warehouse_id"], self.warehouse.id
        )

    def test_another_module_adds_a_tile(self):
        dashboard = self.registry["stock.ledger.dashboard"]
        tile = {"title": "Holds", "value": 3, "rows": [], "action": {"xmlid": "stock.action"}}
        with (
            patch.object(dashboard, "_get_tiles", lambda self: ["worker", "holds", "secret"]),
            patch.object(dashboard, "_get_holds_figures", lambda self: tile, create=True),
            patch.object(dashboard, "_get_secret_figures", lambda self: None, create=True),
        ):
            figures = self._get_figures()
        self.assertEqual(list(figures), ["worker", "holds"])
        self.assertEqual(figures["holds"], {"name": "holds", **tile})

    # --- costs ---

    def test_queries_do_not_grow_with_what_has_happened(self):
        self._get_figures(self.manager)
        for number in range(6):
            product = self._create_product(f"Product {number}")
            self._receive(product, 5)
            self._note("wait", product=product)
        picking = self._create_picking("out", {self.product: 1})
        picking.action_confirm()
        picking.move_ids.reservation_queued_date = fields.Datetime.now()
        self.env["stock.event.worker"]._beat("host:1", True)
        self.env.cr.flush()
        # What Odoo keeps of rights and rules is there again.
        self._get_figures(self.manager)
        with self.assertQueryCount(MOST_QUERIES):
            self._get_figures(self.manager)
