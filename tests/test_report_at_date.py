import datetime
import itertools
import xmlrpc.client
from contextlib import closing

from freezegun import freeze_time
from hypothesis import HealthCheck, given, settings

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, new_test_user

from .common import LedgerCase
from .rollup_common import get_stock_at
from .test_rollup import BATCHES, EPOCH

KEY = ("product_id", "location_id", "lot_id", "package_id", "owner_id", "company_id")


class TestReportAtDate(LedgerCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.report = cls.env["stock.ledger.report.at_date"].with_user(cls.user)
        lot = cls._create_lot(cls.lot_product, "AT DATE")
        package = cls.env["stock.package"].create({"name": "At Date"})
        owner = cls.env["res.partner"].create({"name": "Owner at Date"})
        cls.keys = [
            {"product_id": cls.product.id, "location_id": cls.stock.id},
            {"product_id": cls.product.id, "location_id": cls.shelf.id, "owner_id": owner.id},
            {
                "product_id": cls.lot_product.id,
                "location_id": cls.stock.id,
                "lot_id": lot.id,
                "package_id": package.id,
            },
        ]

    def _append(self, *entries):
        """Append entries of (number of the key, quantity, event type, effective date), and
        the other side of each, which is no stock."""
        empty = {"lot_id": None, "package_id": None, "owner_id": None}
        self.env["stock.ledger.entry"]._append(
            [
                {
                    **empty,
                    **self.keys[key],
                    **place,
                    "operating_company_id": self.env.company.id,
                    "event_type": event_type,
                    "quantity": quantity * sign,
                    "reserved_quantity": 0,
                    "effective_date": date,
                }
                for key, quantity, event_type, date in entries
                for sign, place in (
                    (1, {"company_id": self.env.company.id}),
                    (-1, {"location_id": self.customers.id, "company_id": None}),
                )
            ]
        )

    def _at(self, at=False, compare_at=False, **context):
        return self.report.with_context(
            stock_ledger_at=at, stock_ledger_compare_at=compare_at, **context
        )

    def _get_expected(self, at, compare_at):
        """Return the figures of the stock keys in stock, from the ledger."""
        then, before = get_stock_at(self.env, at), get_stock_at(self.env, compare_at)
        places = self.env["stock.location"].search([("usage", "in", ("internal", "transit"))])
        return {
            key: (then.get(key, 0), before.get(key, 0), then.get(key, 0) - before.get(key, 0))
            for key in then.keys() | before.keys()
            if key[1] in places.ids
        }

    def _get_figures(self, rows):
        return {
            tuple(row[name].id or None for name in KEY): (
                row.quantity,
                row.compare_quantity,
                row.difference_quantity,
            )
            for row in rows
        }

    def _check(self, at, compare_at):
        report = self._at(fields.Datetime.to_string(at), fields.Datetime.to_string(compare_at))
        rows = report.search([])
        expected = self._get_expected(at, compare_at)
        self.assertEqual(self._get_figures(rows), expected, f"{at} and {compare_at}")
        self.assertEqual(len(set(rows.ids)), len(rows))
        # A row that is read after it was found is the same one.
        rows.invalidate_recordset()
        for row in rows[:3]:
            self.assertEqual(self._get_figures(report.browse(row.id)), self._get_figures(row))
        [(quantity, difference)] = report._read_group(
            [], [], ["quantity:sum", "difference_quantity:sum"]
        )
        self.assertEqual(quantity or 0, sum(figures[0] for figures in expected.values()))
        self.assertEqual(difference or 0, sum(figures[2] for figures in expected.values()))

    @settings(
        max_examples=12,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(batches=BATCHES)
    def test_random_history(self, batches):
        with closing(self.env.cr.savepoint()):
            for entries, limit in batches:
                self._append(*entries)
                if limit:
                    self.env["stock.ledger.rollup"]._fold(limit)
            dates = sorted({entry[3] for entries, _limit in batches for entry in entries})
            borders = [EPOCH + datetime.timedelta(days=days, seconds=-1) for days in (31, 274)]
            for at, compare_at in itertools.pairwise([*dates[:4], *borders, dates[-1]]):
                self._check(at, compare_at)

    def test_without_date_to_compare_with(self):
        self._append((0, 5, "RECEIPT", EPOCH))
        [row] = self._at("2024-01-01 00:00:00").search([])
        self.assertEqual((row.quantity, row.compare_quantity, row.difference_quantity), (5, 0, 5))
        self.assertFalse(self._at("2022-12-31 23:59:59").search([]))

    def test_cache_is_of_one_date(self):
        march, april = datetime.datetime(2024, 3, 10), datetime.datetime(2024, 4, 10)
        self._append((0, 5, "RECEIPT", datetime.datetime(2024, 2, 1)), (0, 2, "RECEIPT", april))
        self._append((0, 1, "RECEIPT", march))
        row = self._at("2024-03-09").search([])
        later = self._at("2024-04-30").browse(row.id)
        self.assertEqual((row.quantity, row.quantity), (5, 5))
        self.assertTrue(all(figure in (5, 8) for figure in later.mapped("quantity")))
        self.assertEqual(self._at("2024-04-30").search([]).quantity, 8)
        self.assertEqual(row.quantity, 5)

    def test_dates(self):
        at = datetime.datetime(2024, 3, 31, 22, 30)
        self._append((0, 5, "RECEIPT", at))

        def get_quantity(value, **context):
            return sum(self._at(value, **context).search([]).mapped("quantity"))

        self.assertEqual(get_quantity("2024-03-31 22:29:59"), 0)
        self.assertEqual(get_quantity("2024-03-31 22:30:00"), 5)
        self.assertEqual(get_quantity(at), 5)
        self.assertEqual(get_quantity("2024-03-31"), 5)
        self.assertEqual(get_quantity(at.date()), 5)
        self.assertEqual(get_quantity("2024-03-31", tz="Europe/Brussels"), 0)
        self.assertEqual(get_quantity("2024-04-01", tz="Europe/Brussels"), 5)
        self.assertEqual(get_quantity("2024-03-30", tz="America/New_York"), 0)
        self.assertEqual(get_quantity("2024-03-31", tz="America/New_York"), 5)
        with freeze_time(at - datetime.timedelta(seconds=1)):
            self.assertEqual(get_quantity(False), 0)
        with freeze_time(at):
            self.assertEqual(get_quantity(False), 5)

    def test_wrong_dates_are_refused(self):
        for value in ("31/03/2024", "yesterday", 5, ["2024-03-31"], "9999-12-31", "2024-02-30"):
            with self.assertRaisesRegex(UserError, "YYYY-MM-DD HH:MM:SS"):
                self._at(value).search_count([])
            with self.assertRaises(UserError):
                self._at("2024-03-31", value).search_count([])

    def test_remote_call(self):
        """What a client gets by the ORM's own calls, with the dates in the context."""
        self._append((0, 5, "RECEIPT", EPOCH), (2, 3, "RECEIPT", EPOCH))
        context = {"stock_ledger_at": "2023-01-31"}
        report = self.report.with_context(**context)
        groups = report.formatted_read_group([], ["product_id"], ["quantity:sum"])
        self.assertEqual(
            {row["product_id"][0]: row["quantity:sum"] for row in groups},
            {
                self.product.id: 5,
                self.lot_product.id: 3,
            },
        )
        rows = report.search_read([], [*KEY, "quantity", "warehouse_id", "product_uom_id"])
        self.assertEqual(len(rows), 2)
        xmlrpc.client.dumps((rows, groups))

    def test_equals_odoo(self):
        self._receive(self.product, 10)
        picking = self._receive(self.product, 5, destination=self.shelf)
        picking.move_ids.date = EPOCH
        self._count(self.product, self.stock, 4)
        for at in ("2023-02-01 00:00:00", "2022-12-31 00:00:00", False):
            self.product.invalidate_recordset()
            product = self.product.with_context(to_date=at, warehouse_id=self.warehouse.id)
            rows = self._at(at).search([("product_id", "=", self.product.id)])
            self.assertEqual(sum(rows.mapped("quantity")), product.qty_available, at)

    def test_drill_down(self):
        first = self._receive(self.product, 10)
        second = self._receive(self.product, 5)
        third = self._receive(self.product, 2)
        for picking, month in ((first, 1), (second, 3), (third, 5)):
            picking.move_ids.date = datetime.datetime(2024, month, 10, 12)
        for compare_at, transfers, change in (
            (False, first | second, 15),
            ("2024-02-01", second, 5),
        ):
            row = self._at("2024-04-01", compare_at).search([])
            action = row.action_view_entries()
            entries = self.env[action["res_model"]].with_user(self.user).search(action["domain"])
            self.assertEqual(sum(entries.mapped("quantity")), change)
            self.assertEqual(set(entries.mapped("location_id")), {self.stock})
            action = row.action_view_transfers()
            found = self.env[action["res_model"]].with_user(self.user).search(action["domain"])
            self.assertEqual(found, transfers)

    def test_archived_products_and_deleted_lots_are_shown(self):
        self._append((0, 5, "RECEIPT", EPOCH))
        self.product.active = False
        self.assertTrue(self._at("2023-02-01").search([]))
        lot = self._create_lot(self.lot_product, "GONE")
        self.keys[2]["lot_id"] = lot.id
        self._append((2, 1, "RECEIPT", EPOCH))
        lot.unlink()
        rows = self._at("2023-02-01").search([("product_id", "=", self.lot_product.id)])
        [row] = rows.web_read({"lot_id": {"fields": {"display_name": {}}}, "quantity": {}})
        self.assertEqual(row["quantity"], 1)

    def test_other_companies_are_hidden(self):
        company = self.env["res.company"].create({"name": "Hidden at Date"})
        warehouse = self.env["stock.warehouse"].search([("company_id", "=", company.id)], limit=1)
        self.env.user.company_ids |= company
        self._count(self.product, warehouse.lot_stock_id, 5)
        self._receive(self.product, 3)
        self.assertEqual(self._at().search([]).mapped("quantity"), [3])

    def test_access(self):
        for group in ("base.group_user", "base.group_portal"):
            user = new_test_user(
                self.env, f"at_date_{group}", groups=group, context={"no_reset_password": True}
            )
            with self.assertRaises(AccessError):
                self.report.with_user(user).search([])
            with self.assertRaises(AccessError):
                self.env["stock.ledger.at.date"].with_user(user).create({})

    def test_wizard(self):
        self._append((0, 5, "RECEIPT", EPOCH), (2, 3, "RECEIPT", EPOCH))
        wizards = self.env["stock.ledger.at.date"].with_user(self.user)
        wizards = wizards.with_context(tz="Europe/Brussels")
        with freeze_time("2024-05-31 22:30:00"):
            wizard = Form(wizards).save().with_context(tz="Europe/Brussels")
        self.assertEqual(wizard.date, datetime.datetime(2024, 5, 31, 22, 30))
        self.assertEqual(wizard.compare_date, datetime.datetime(2024, 5, 31, 22))
        wizard.product_ids = self.product
        wizard.warehouse_ids = self.warehouse
        action = wizard.action_open()
        self.assertRegex(
            action["name"],
            r"^Stock at 06/01/2024 12:30:00.AM compared with 06/01/2024 12:00:00.AM$",
        )
        report = self.report.with_context(**action["context"])
        self.assertEqual(report.search(action["domain"]).compare_quantity, 5)
        wizard.compare_date = False
        action = wizard.action_open()
        self.assertRegex(action["name"], r"^Stock at 06/01/2024 12:30:00.AM$")
        report = self.report.with_context(**action["context"])
        self.assertEqual(report.search(action["domain"]).compare_quantity, 0)
        wizard.compare_date = wizard.date
        with self.assertRaisesRegex(UserError, "choose one before"):
            wizard.action_open()
