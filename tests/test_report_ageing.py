import datetime
from collections import defaultdict
from contextlib import closing

from freezegun import freeze_time
from hypothesis import given

from odoo.exceptions import AccessError, ValidationError
from odoo.tests import new_test_user

from .history_common import RANDOM, HistoryCase

NOW = "2024-05-20 10:00:00"
TODAY = datetime.date(2024, 5, 20)
# Three months before the current one.
FIRST_DAY = datetime.date(2024, 2, 1)
HISTORY_START = datetime.date(2023, 12, 1)
ONE_DAY = datetime.timedelta(days=1)
DEMAND = ("SALE", "CONSUMPTION")
CLASSES = [(30, "1"), (90, "2"), (180, "3"), (365, "4"), (10**6, "5")]


@freeze_time(NOW)
class TestReportAgeing(HistoryCase):
    """The report and the stock-outs are what a walk through the ledger tells."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stockout = cls.env["stock.ledger.stockout"]

    def _get_entries_by_place(self):
        """Return the entries in stock by product and warehouse, read one by one."""
        by_place = defaultdict(list)
        for entry in self._get_entries([("product_id", "in", self.products.ids)]):
            if entry.location_id.usage in ("internal", "transit"):
                by_place[entry.product_id, entry.location_id.warehouse_id].append(entry)
        return by_place

    @property
    def products(self):
        return self.product | self.lot_product

    def _get_level(self, entries, day):
        return sum(entry.quantity for entry in entries if entry.effective_date.date() <= day)

    def _get_expected_stockouts(self, entries, first_day):
        """Return the (first day, last day) of each run without stock, walking day by day.

        :param date first_day: those that began before are left out
        """
        runs, start, day = [], None, HISTORY_START - ONE_DAY
        had_stock = False
        while day < TODAY:
            has_stock = self._get_level(entries, day) > 0
            if had_stock and not has_stock:
                start = day
            if has_stock and start:
                runs.append((start, day - ONE_DAY))
                start = None
            had_stock = has_stock
            day += ONE_DAY
        if start:
            runs.append((start, False))
        return [run for run in runs if run[0] >= first_day]

    def _get_expected(self, entries):
        moved = [e.effective_date for e in entries if e.event_type not in ("INTERNAL", "OPENING")]
        last = max(moved, default=False)
        idle = (TODAY - last.date()).days if last else None
        demand = -sum(
            e.quantity
            for e in entries
            if e.event_type in DEMAND and e.effective_date.date() >= FIRST_DAY
        )
        daily = demand / ((TODAY - FIRST_DAY).days + 1)
        physical = sum(e.quantity for e in entries)
        available = physical - sum(e.reserved_quantity for e in entries)
        runs = self._get_expected_stockouts(entries, HISTORY_START)
        return {
            "physical_quantity": physical,
            "available_quantity": available,
            "last_movement_date": last,
            "idle_days": idle or 0,
            "age_class": next((c for days, c in CLASSES if idle <= days), None) if last else "6",
            "daily_demand": daily,
            "cover_days": available / daily if daily > 0 else 0,
            "turnover": daily * 365 / physical if physical > 0 else 0,
            "stockout_count": sum(first >= FIRST_DAY for first, _last in runs),
            "stockout_days": sum(
                max(((last or TODAY - ONE_DAY) - max(first, FIRST_DAY)).days + 1, 0)
                for first, last in runs
            ),
        }

    def _get_rows(self, user=None):
        self.env.invalidate_all()
        report = self.env["stock.ledger.report.ageing"].with_user(user or self.user)
        return report.search([("product_id", "in", self.products.ids)])

    def _check_report(self):
        by_place = self._get_entries_by_place()
        rows = self._get_rows()
        places = {(row.product_id, row.warehouse_id): row for row in rows}
        self.assertEqual(places.keys(), by_place.keys())
        self.assertEqual(len(rows), len(places))
        for place, entries in by_place.items():
            for name, value in self._get_expected(entries).items():
                if isinstance(value, float):
                    self.assertAlmostEqual(places[place][name], value, 6, name)
                else:
                    self.assertEqual(places[place][name], value, name)

    def _check_stockouts(self):
        self.env.invalidate_all()
        for (product, warehouse), entries in self._get_entries_by_place().items():
            found = self.stockout.search(
                [("product_id", "=", product.id), ("warehouse_id", "=", warehouse.id)],
                order="first_day",
            )
            self.assertEqual(
                [(row.first_day, row.last_day) for row in found],
                self._get_expected_stockouts(entries, HISTORY_START),
            )
            for row in found:
                last = row.last_day or TODAY - ONE_DAY
                self.assertEqual(row.day_count, (last - row.first_day).days + 1)

    @RANDOM
    @given(batches=HistoryCase._draw_entries(HISTORY_START, 170))
    def test_random_history(self, batches):
        with closing(self.env.cr.savepoint()):
            self._append_batches(batches)
            self.stockout._refresh()
            self._check_stockouts()
            self._check_report()
            self._fold_all()
            self._check_report()

    @RANDOM
    @given(
        before=HistoryCase._draw_entries(HISTORY_START, 170),
        after=HistoryCase._draw_entries(FIRST_DAY, 108),
    )
    def test_backdated_movements_come_with_the_next_run(self, before, after):
        with closing(self.env.cr.savepoint()):
            self._append_batches(before)
            self.stockout._refresh()
            if not self.stockout.search_count([]):
                # Without any the next run is a first one again.
                return
            self._append_batches(after)
            self.stockout._refresh()
            self._check_stockouts()
            self._check_report()
            rows = self._get_versions()
            self.stockout._refresh()
            self.assertEqual(self._get_versions(), rows)

    def _get_versions(self):
        self.env.cr.execute("SELECT ctid::text, id FROM stock_ledger_stockout ORDER BY id")
        return self.env.cr.fetchall()

    # --- stock-outs ---

    def _get_runs(self):
        self.stockout._refresh()
        self.env.invalidate_all()
        return [
            (str(row.first_day), str(row.last_day or ""), row.day_count)
            for row in self.stockout.search([("product_id", "=", self.product.id)], order="id")
        ]

    def _move(self, quantity, date):
        event_type = "RECEIPT" if quantity > 0 else "SALE"
        self._append((0, quantity, event_type, datetime.datetime.fromisoformat(date)))

    def test_a_day_counts_by_its_end(self):
        self._move(5, "2024-04-01 08:00:00")
        self._move(-5, "2024-04-02 08:00:00")
        self._move(5, "2024-04-02 23:59:59")
        self.assertEqual(self._get_runs(), [])
        self._move(-5, "2024-04-03 23:59:59")
        self._move(1, "2024-04-05 00:00:00")
        self.assertEqual(self._get_runs(), [("2024-04-03", "2024-04-04", 2)])

    def test_today_is_not_over(self):
        self._move(5, "2024-04-01 08:00:00")
        self._move(-5, "2024-05-20 08:00:00")
        self.assertEqual(self._get_runs(), [])
        with freeze_time("2024-05-21 00:10:00"):
            self.assertEqual(self._get_runs(), [("2024-05-20", "", 1)])
        with freeze_time("2024-05-23 00:10:00"):
            self.assertEqual(self._get_runs(), [("2024-05-20", "", 3)])

    def test_what_was_never_there_is_not_out(self):
        self._move(-5, "2024-04-01 08:00:00")
        self.assertEqual(self._get_runs(), [])

    def test_stock_moves_inside_the_warehouse(self):
        date = datetime.datetime(2024, 4, 1)
        self._append((0, 5, "RECEIPT", date))
        self._append((0, -5, "INTERNAL", date + ONE_DAY), (1, 5, "INTERNAL", date + ONE_DAY))
        self.assertEqual(self._get_runs(), [])

    def test_stockout_that_began_before_the_period(self):
        self._move(5, "2024-01-01 08:00:00")
        self._move(-5, "2024-01-10 08:00:00")
        self.assertEqual(self._get_runs(), [("2024-01-10", "", 131)])
        [row] = self._get_rows()
        self.assertEqual((row.stockout_count, row.stockout_days), (0, 109))
        self._move(5, "2024-02-03 08:00:00")
        self.assertEqual(self._get_runs(), [("2024-01-10", "2024-02-02", 24)])
        [row] = self._get_rows()
        self.assertEqual((row.stockout_count, row.stockout_days), (0, 2))
        # Not looked for any more: it stays as it was found, but ends with the period.
        self._move(1, "2024-01-20 08:00:00")
        self.assertEqual(self._get_runs(), [("2024-01-10", "2024-01-31", 22)])

    def test_scheduled_action(self):
        self._move(5, "2024-04-01 08:00:00")
        self._move(-5, "2024-04-02 08:00:00")
        with self.enter_registry_test_mode():
            self.env.ref("stock_event_ledger.cron_stockout").method_direct_trigger()
        self.assertEqual(self.stockout.search_count([("product_id", "=", self.product.id)]), 1)

    # --- the report ---

    def test_months_of_demand_are_an_option(self):
        self._move(50, "2024-01-01 08:00:00")
        self._move(-20, "2024-04-01 08:00:00")
        self._move(-20, "2024-01-31 23:59:59")
        [row] = self._get_rows()
        self.assertAlmostEqual(row.daily_demand, 20 / 110)
        self.env["res.config.settings"].create({"stock_demand_months": 4}).execute()
        [row] = self._get_rows()
        self.assertAlmostEqual(row.daily_demand, 40 / 141)
        with self.assertRaises(ValidationError):
            self.env["res.config.settings"].create({"stock_demand_months": 0})

    def test_correction_is_no_demand(self):
        self._move(50, "2024-01-01 08:00:00")
        self._move(-20, "2024-03-01 08:00:00")
        date = datetime.datetime(2024, 3, 1, 8)
        self._append((0, 20, "SALE", date), (0, -20, "SALE", date + ONE_DAY))
        [row] = self._get_rows()
        self.assertAlmostEqual(row.daily_demand, 20 / 110)

    def test_filters_and_groups(self):
        self._move(50, "2023-01-01 08:00:00")
        report = self.env["stock.ledger.report.ageing"].with_user(self.user)
        domain = [("product_id", "=", self.product.id)]
        [(age, physical)] = report._read_group(domain, ["age_class"], ["physical_quantity:sum"])
        self.assertEqual((age, physical), ("5", 50))
        for condition, count in (
            (("idle_days", ">", 90), 1),
            (("physical_quantity", "<=", 0), 0),
            (("stockout_count", ">", 0), 0),
            (("daily_demand", "=", 0), 1),
        ):
            self.assertEqual(report.search_count([*domain, condition]), count, condition)
        for model in ("stock.ledger.report.ageing", "stock.ledger.stockout"):
            views = [[False, kind] for kind in ("list", "pivot", "graph", "search")]
            self.env[model].with_user(self.user).get_views(views)

    def test_drill_down(self):
        receipt = self._receive(self.product, 10)
        self._receive(self.product, 10, destination=self.other_warehouse.lot_stock_id)
        row = self._get_rows().filtered(lambda row: row.warehouse_id == self.warehouse)
        action = row.action_view_entries()
        entries = self.env[action["res_model"]].search(action["domain"])
        self.assertEqual(sum(entries.mapped("quantity")), 10)
        action = row.action_view_transfers()
        self.assertEqual(self.env[action["res_model"]].search(action["domain"]), receipt)

    # --- access ---

    def test_other_companies_are_hidden(self):
        company = self.env["res.company"].create({"name": "Hidden Company"})
        warehouse = self.env["stock.warehouse"].search([("company_id", "=", company.id)], limit=1)
        self.env.user.company_ids |= company
        self._count(self.product, warehouse.lot_stock_id, 5)
        with freeze_time("2024-05-22"):
            self._count(self.product, warehouse.lot_stock_id, 0)
        with freeze_time("2024-05-25"):
            self.env["stock.ledger.entry"]._flush_buffer()
            self.stockout._refresh()
            for model in ("stock.ledger.report.ageing", "stock.ledger.stockout"):
                domain = [("warehouse_id", "=", warehouse.id)]
                self.assertTrue(self.env[model].sudo().search(domain), model)
                self.assertFalse(self.env[model].with_user(self.user).search(domain), model)

    def test_others_read_nothing(self):
        for login, group in (
            ("ageing_portal", "base.group_portal"),
            ("ageing_user", "base.group_user"),
        ):
            user = new_test_user(self.env, login, groups=group, context={"no_reset_password": True})
            for model in ("stock.ledger.report.ageing", "stock.ledger.stockout"):
                with self.assertRaises(AccessError):
                    self.env[model].with_user(user).search([])
        for model in ("stock.ledger.report.ageing", "stock.ledger.stockout"):
            with self.assertRaises(AccessError):
                self.env[model].with_user(self.user).check_access("write")
