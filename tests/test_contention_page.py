import ast
from datetime import timedelta
from unittest.mock import patch

from odoo import fields
from odoo.exceptions import AccessError
from odoo.fields import Command
from odoo.tests import new_test_user, tagged
from odoo.tools import SQL

from odoo.addons.stock_event_ledger.models import retention_mixin

from .common import LedgerCase
from .tour_common import TourCase


class ContentionCase(LedgerCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.manager = new_test_user(
            cls.env,
            "contention_manager",
            groups="stock.group_stock_manager",
            context={"no_reset_password": True},
        )
        cls.contention = cls.env["stock.contention"]
        cls.env.cr.execute(SQL("DELETE FROM stock_contention"))

    def _note(self, kind="wait", product=None, location=None, user=None, **kwargs):
        """Note one meeting and return its row, as the superuser sees it."""
        stocks = [((product or self.product).id, (location or self.stock).id)]
        self.contention.with_user(user or self.env.user)._note(kind, stocks, **kwargs)
        return self.contention.search([], limit=1)

    def _make_older(self, rows, **age):
        self.env.cr.execute(
            SQL(
                "UPDATE stock_contention SET date = date - %s WHERE id = ANY(%s)",
                timedelta(**age),
                rows.ids,
            )
        )
        rows.invalidate_recordset()


@tagged("post_install", "-at_install")
class TestContention(ContentionCase):
    """Rows about operations that met."""

    # --- writing ---

    def test_noted(self):
        picking = self._create_picking("out", {self.product: 3})
        row = self._note(
            "timeout",
            seconds=10.5,
            holder="Mitchell Admin since 14:03:10",
            move=picking.move_ids,
            user=self.user,
        )
        self.assertEqual(row.kind, "timeout")
        self.assertEqual(row.product_id, self.product)
        self.assertEqual(row.location_id, self.stock)
        self.assertEqual(row.warehouse_id, self.warehouse)
        self.assertEqual(row.company_id, self.warehouse.company_id)
        self.assertEqual(row.user_id, self.user)
        self.assertEqual(row.seconds, 10.5)
        self.assertEqual(row.holder, "Mitchell Admin since 14:03:10")
        self.assertEqual(row.move_id, picking.move_ids)
        self.assertEqual(row.reference, picking.name)
        self.assertLess(abs(fields.Datetime.now() - row.date), timedelta(minutes=1))

    def test_noted_with_nothing_else_known(self):
        row = self._note("replay", location=self.suppliers)
        self.assertFalse(row.warehouse_id or row.company_id or row.move_id)
        self.assertFalse(row.holder or row.reference or row.seconds)
        self.assertEqual(row.user_id, self.env.user)

    def test_a_row_per_stock_in_one_statement_that_flushes_nothing(self):
        stocks = [
            (self.product.id, self.stock.id),
            (self.lot_product.id, self.shelf.id),
            (self.product.id, self.stock.id),
        ]
        self.env.flush_all()
        self.shelf.barcode = "Not flushed"
        with self.assertQueryCount(1, flush=False):
            self.contention._note("queue", iter(stocks))
        self.assertTrue(self.env.transaction.field_dirty)
        self.assertCountEqual(
            [(row.product_id.id, row.location_id.id) for row in self.contention.search([])],
            stocks[:2],
        )
        with self.assertQueryCount(0):
            self.contention._note("queue", [])

    # --- rights ---

    def test_rights(self):
        row = self._note(user=self.user)
        self.assertEqual(row.with_user(self.manager).kind, "wait")
        with self.assertRaises(AccessError):
            row.with_user(self.user).read(["kind"])
        with self.assertRaises(AccessError):
            self.contention.with_user(self.user).search([])
        for user in (self.user, self.manager):
            rows = row.with_user(user)
            values = {"kind": "wait", "product_id": self.product.id, "location_id": self.stock.id}
            with self.assertRaises(AccessError):
                rows.create({**values, "date": fields.Datetime.now()})
            with self.assertRaises(AccessError):
                rows.write({"kind": "queue"})
            with self.assertRaises(AccessError):
                rows.unlink()

    def test_multi_company(self):
        company = self.env["res.company"].create({"name": "Second Company"})
        warehouse = self.env["stock.warehouse"].search([("company_id", "=", company.id)], limit=1)
        other_manager = new_test_user(
            self.env,
            "other_contention_manager",
            groups="stock.group_stock_manager",
            company_id=company.id,
            company_ids=[Command.set(company.ids)],
            context={"no_reset_password": True},
        )
        ours = self._note()
        theirs = self._note(location=warehouse.lot_stock_id)
        shared = self._note(location=self.suppliers)
        self.assertEqual(
            self.contention.with_user(self.manager).search([]).sudo(),
            shared | ours,
        )
        self.assertEqual(
            self.contention.with_user(other_manager).search([]).sudo(),
            shared | theirs,
        )

    # --- reading ---

    def test_figures_by_product(self):
        self._note(seconds=1.5)
        self._note(seconds=4)
        self._note("queue", product=self.lot_product)
        self.assertEqual(
            self.contention._read_group(
                [],
                ["product_id"],
                ["__count", "seconds:sum", "longest_seconds:max"],
                order="__count DESC",
            ),
            [(self.product, 2, 5.5, 4.0), (self.lot_product, 1, 0.0, 0.0)],
        )
        description = self.contention.fields_get(["seconds", "longest_seconds"])
        self.assertEqual(description["seconds"]["aggregator"], "sum")
        self.assertEqual(description["longest_seconds"]["aggregator"], "max")

    def test_hours_have_labels_of_their_own(self):
        morning, evening = self._note(), self._note()
        for row, hour in ((morning, 9), (evening, 21)):
            self.env.cr.execute(
                SQL(
                    "UPDATE stock_contention SET date = %s WHERE id = %s",
                    f"2026-01-15 {hour:02}:30:00",
                    row.id,
                )
            )
        groups = self.contention.with_context(tz="UTC", lang="en_US").formatted_read_group(
            [], ["date:hour"], ["__count"]
        )
        self.assertEqual(
            [group["date:hour"] for group in groups],
            [
                ("2026-01-15 09:00:00", "15 Jan 09:00"),
                ("2026-01-15 21:00:00", "15 Jan 21:00"),
            ],
        )
        groups = self.contention.with_context(tz="Asia/Tokyo").formatted_read_group(
            [], ["date:hour"], ["__count"]
        )
        self.assertEqual(groups[0]["date:hour"][1], "15 Jan 18:00")
        self.assertEqual(
            self.contention.search(groups[0]["__extra_domain"]),
            morning,
        )

    def test_what_was_deleted_since(self):
        product = self._create_product("Short-lived")
        location = self.env["stock.location"].create(
            {"name": "Short-lived", "location_id": self.stock.id}
        )
        picking = self._create_picking("out", {product: 1})
        reference = picking.name
        row = self._note(product=product, location=location, move=picking.move_ids)
        action = row.action_open_reference()
        self.assertEqual((action["res_model"], action["res_id"]), ("stock.picking", picking.id))
        picking.unlink()
        location.unlink()
        product.unlink()
        self.env.invalidate_all()
        names = {"fields": {"display_name": {}}}
        rows = row.with_user(self.manager)
        [values] = rows.web_read(
            {"product_id": names, "location_id": names, "move_id": names, "reference": {}}
        )
        self.assertEqual(values["reference"], reference)
        self.assertFalse(values["product_id"] or values["location_id"] or values["move_id"])
        self.assertFalse(rows.action_open_reference())
        [group] = rows.formatted_read_group([], ["product_id", "kind"], ["__count"])
        self.assertEqual(group["product_id"], (product.id, f"Deleted ({product.id})"))
        self.assertEqual(rows.search(group["__extra_domain"]), rows)
        [group] = rows.web_read_group([], ["location_id"], ["seconds:sum"])["groups"]
        self.assertEqual(group["location_id"][1], f"Deleted ({location.id})")
        self.assertEqual(row.export_data(["product_id", "reference"])["datas"], [["", reference]])

    # --- queued reservations ---

    def test_queued_reservations_are_the_queue_and_what_failed_in_it(self):
        moves = self.env["stock.move"]
        for _number in range(4):
            picking = self._create_picking("out", {self.product: 3})
            picking.action_confirm()
            moves |= picking.move_ids
        queued, failed, done_with, _free = moves
        queued.reservation_queued_date = fields.Datetime.now()
        failed.reservation_queue_error = "Failed"
        done_with.reservation_queue_error = "Failed"
        done_with._action_cancel()
        action = self.env.ref("stock_event_ledger.action_stock_move_queued")
        domain = ast.literal_eval(action.domain.strip())
        self.assertEqual(moves.filtered_domain(domain), queued | failed)
        self.assertEqual(
            moves.search([("id", "in", moves.ids), *domain]),
            moves.search([("id", "in", (queued | failed).ids)]),
        )
        self.assertEqual(
            moves.filtered_domain(moves._get_reservation_queue_domain()),
            queued,
        )

    # --- retention ---

    def test_vacuum_keeps_what_is_younger(self):
        younger, older = self._note(), self._note()
        self._make_older(younger, days=29)
        self._make_older(older, days=31)
        self.assertEqual(self.contention._gc_old(), (1, 0))
        self.assertEqual(self.contention.search([]), younger)
        parameters = self.env["ir.config_parameter"]
        for value in ("100000000000", "forever", "30"):
            parameters.set_param("stock_event_ledger.contention_days", value)
            self.assertEqual(self.contention._gc_old(), (0, 0), value)
        parameters.set_param("stock_event_ledger.contention_days", "28")
        self.assertEqual(self.contention._gc_old(), (1, 0))
        self.assertFalse(self.contention.search([]))

    def test_vacuum_in_batches(self):
        rows = self.contention.union(*(self._note() for _number in range(3)))
        self._make_older(rows, days=40)
        with patch.object(retention_mixin, "GC_BATCH", 2):
            self.assertEqual(self.contention._gc_old(), (2, 1))
            self.assertEqual(self.contention.search_count([]), 1)
            self.assertEqual(self.contention._gc_old(), (1, 0))


@tagged("post_install", "-at_install")
class TestContentionPage(TourCase, ContentionCase):
    """The page, in a real browser, as an inventory manager."""

    def test_page(self):
        hot = self._create_product("Hot Product")
        picking = self._create_picking("out", {hot: 3})
        picking.action_confirm()
        picking.move_ids.reservation_queued_date = fields.Datetime.now()
        for seconds in (0.5, 2):
            self._note(product=hot, seconds=seconds, holder="Somebody", move=picking.move_ids)
        self._note("queue", product=hot)
        gone = self._create_product("Gone")
        self._note(product=gone)
        gone.unlink()
        self.start_tour("/odoo", "stock_event_ledger_contention", login=self.manager.login)
