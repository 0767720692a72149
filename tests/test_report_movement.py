import datetime
from collections import defaultdict
from contextlib import closing

from dateutil.relativedelta import relativedelta
from freezegun import freeze_time
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odoo.exceptions import AccessError
from odoo.tests import new_test_user
from odoo.tools import SQL

from .common import LedgerCase

BORDERS = [datetime.date(2024, month, 1) for month in (1, 2, 3)]
DATES = st.tuples(st.sampled_from(BORDERS), st.sampled_from([-1, 0, 14])).map(
    lambda when: when[0] + datetime.timedelta(days=when[1])
)
ENTRY = st.tuples(
    st.integers(0, 3),
    st.sampled_from([-3, -0.25, 1, 2.5]),
    st.sampled_from(["RECEIPT", "SALE", "INTERNAL"]),
    DATES,
)
CONDITIONS = st.one_of(
    st.tuples(st.just("date"), st.sampled_from([">=", ">", "<", "<=", "=", "!="]), DATES),
    st.tuples(st.just("date.month_number"), st.just("="), st.integers(1, 3)),
    st.tuples(st.just("date.day_of_month"), st.just("="), st.sampled_from([1, 15])),
    st.tuples(st.just("event_type"), st.just("="), st.sampled_from(["RECEIPT", "SALE"])),
    st.tuples(st.just("in_quantity"), st.just(">"), st.just(0)),
    st.tuples(st.just("product_id.name"), st.just("ilike"), st.just("lot")),
)
GROUPINGS = st.lists(
    st.sampled_from(
        [
            "date:day",
            "date:week",
            "date:month",
            "date:quarter",
            "date:year",
            "date:month_number",
            "date:day_of_month",
            "product_id",
            "product_id.categ_id",
            "product_categ_id",
            "product_uom_id",
            "warehouse_id",
            "location_id",
            "event_type",
            "company_id",
        ]
    ),
    max_size=2,
    unique=True,
)
PERIODS = {
    "day": lambda date: date,
    "week": lambda date: date - datetime.timedelta(days=(date.weekday() + 1) % 7),
    "month": lambda date: date.replace(day=1),
    "quarter": lambda date: date.replace(month=(date.month - 1) // 3 * 3 + 1, day=1),
    "year": lambda date: date.replace(month=1, day=1),
    "month_number": lambda date: date.month,
    "day_of_month": lambda date: date.day,
}
COMPARISONS = {
    ">=": lambda left, right: left >= right,
    ">": lambda left, right: left > right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
}
MEASURES = ("in_quantity:sum", "out_quantity:sum", "net_quantity:sum", "entry_count:sum")


class TestReportMovement(LedgerCase):
    """The figures are the ledger's, by whatever they are grouped and filtered."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.report = cls.env["stock.ledger.report.movement"].with_user(cls.user)
        category = cls.env["product.category"].create({"name": "Moved"})
        cls.lot_product.categ_id = category
        cls.lot_product.uom_id = cls.env.ref("uom.product_uom_kgm")
        cls.keys = [
            (cls.product, cls.stock),
            (cls.product, cls.shelf),
            (cls.lot_product, cls.other_warehouse.lot_stock_id),
            (cls.product, cls.customers),
        ]
        cls.mine = ("product_id", "in", (cls.product | cls.lot_product).ids)
        places = [location.id for _product, location in cls.keys]
        cls.everything_here = ("location_id", "in", places)

    def _append(self, *entries):
        """Append entries of (number of the key, quantity, event type, effective date)."""
        self.env["stock.ledger.entry"]._append(
            [
                {
                    "product_id": self.keys[key][0].id,
                    "location_id": self.keys[key][1].id,
                    "company_id": self.keys[key][1].company_id.id or None,
                    "operating_company_id": self.env.company.id,
                    "event_type": event_type,
                    "quantity": quantity,
                    "reserved_quantity": 0,
                    "effective_date": datetime.datetime.combine(date, datetime.time(23, 59)),
                }
                for key, quantity, event_type, date in entries
            ]
        )

    def _get_movements(self):
        """Return the entries in our own locations as dictionaries: the obvious way."""
        return [
            {
                "date": entry.effective_date.date(),
                "product_id": entry.product_id,
                "product_categ_id": entry.product_id.categ_id,
                "product_id.categ_id": entry.product_id.categ_id,
                "product_id.name": entry.product_id.name,
                "product_uom_id": entry.product_id.uom_id,
                "warehouse_id": entry.location_id.warehouse_id,
                "location_id": entry.location_id,
                "event_type": entry.event_type,
                "company_id": entry.location_id.company_id,
                "quantity": entry.quantity,
            }
            for entry in self._get_entries([self.mine])
            if entry.location_id.usage in ("internal", "transit") and entry.quantity
        ]

    def _is_meant(self, movement, condition):
        name, operator, value = condition
        if name == "in_quantity":
            return movement["quantity"] > 0
        if operator == "ilike":
            return value in movement[name].lower()
        name, _dot, period = name.partition(".")
        actual = movement[name]
        return COMPARISONS[operator](PERIODS[period](actual) if period else actual, value)

    def _get_group(self, movement, groupby):
        parts = (spec.partition(":") for spec in groupby)
        return tuple(
            PERIODS[period](movement[name]) if period else movement[name]
            for name, _colon, period in parts
        )

    def _add_up(self, movements, conditions, groupby):
        figures = defaultdict(lambda: [0, 0, 0, 0, 0])
        for movement in movements:
            if all(self._is_meant(movement, condition) for condition in conditions):
                quantity = movement["quantity"]
                amounts = (max(quantity, 0), max(-quantity, 0), quantity, 1, 1)
                group = figures[self._get_group(movement, groupby)]
                group[:] = map(sum, zip(group, amounts, strict=True))
        return dict(figures)

    def _read(self, conditions, groupby):
        rows = self.report._read_group([self.mine, *conditions], groupby, [*MEASURES, "__count"])
        size = len(groupby)
        return {tuple(row[:size]): list(row[size:]) for row in rows if row[size:][-1]}

    @settings(
        max_examples=80,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        entries=st.lists(ENTRY, min_size=1, max_size=12),
        limit=st.sampled_from([0, 3, 1000]),
        conditions=st.lists(CONDITIONS, max_size=2),
        groupby=GROUPINGS,
        all_products=st.booleans(),
    )
    def test_equals_the_ledger(self, entries, limit, conditions, groupby, all_products):
        self.mine = self.everything_here if all_products else type(self).mine
        # A row has all of a day's entries: only those are told apart by their quantity
        # that were not folded.
        conditions = [c for c in conditions if c[0] != "in_quantity" or not limit]
        with closing(self.env.cr.savepoint()):
            self._append(*entries)
            if limit:
                self.env["stock.ledger.rollup"]._fold(limit)
            movements = self._get_movements()
            expected = self._add_up(movements, conditions, groupby)
            self.assertEqual(self._read(conditions, groupby), expected)
            sets = [groupby[:size] for size in range(len(groupby) + 1)]
            results = self.report._read_grouping_sets(
                [self.mine, *conditions], sets, MEASURES, order=",".join(groupby)
            )
            for specs, rows in zip(sets, results, strict=True):
                size = len(specs)
                self.assertEqual(
                    {row[:size]: list(row[size:]) for row in rows if row[size:][-1]},
                    {
                        group: figures[:4]
                        for group, figures in self._add_up(movements, conditions, specs).items()
                    },
                )

    # --- months ---

    def _reads_months(self, *domain, groupby=(), aggregates=MEASURES):
        """Return whether months are read: only if they are wrong does it show."""
        groups = self.report._read_group([self.mine, *domain], groupby, aggregates)
        with closing(self.env.cr.savepoint()):
            for name in ("month", "month_total", "month_location"):
                self.env.cr.execute(
                    SQL(
                        "UPDATE %s SET in_quantity = in_quantity + 1",
                        SQL.identifier(f"stock_ledger_{name}"),
                    )
                )
            wrong = self.report._read_group([self.mine, *domain], groupby, aggregates)
        return groups != wrong

    @freeze_time("2024-03-20 12:00:00")
    def test_whole_months_are_read_as_such(self):
        self._append((0, 5, "RECEIPT", BORDERS[1]), (0, 5, "RECEIPT", BORDERS[2]))
        self.env["stock.ledger.rollup"]._fold()
        for date in ("2024-02-01", "today =1d -11m"):
            self.assertTrue(self._reads_months(("date", ">=", date), groupby=["date:month"]))
        self.assertTrue(self._reads_months(groupby=["date:quarter", "product_categ_id"]))
        self.assertTrue(self._reads_months(("date", "<=", "2024-02-29"), groupby=["date:year"]))
        self.assertFalse(self._reads_months(("date", ">=", "2024-02-02"), groupby=["date:year"]))
        self.assertFalse(self._reads_months(("date", "<=", "2024-03-01"), groupby=["date:year"]))
        self.mine = self.everything_here
        self.assertTrue(self._reads_months(groupby=["warehouse_id", "event_type"]))
        self.assertFalse(self._reads_months(("date", "=", "2024-02-01")))
        self.assertFalse(self._reads_months(("in_quantity", ">", 1)))
        self.assertFalse(self._reads_months(groupby=["date:week"]))
        self.assertFalse(self._reads_months(aggregates=["in_quantity:max"]))

    def test_clients_cannot_ask_for_months(self):
        self._append((0, 5, "RECEIPT", BORDERS[1] + relativedelta(days=4)))
        self.env["stock.ledger.rollup"]._fold()
        report = self.report.with_context(stock_event_ledger_monthly=[["date"]])
        self.assertEqual(report.search([self.mine]).date, datetime.date(2024, 2, 5))

    # --- as the web client asks ---

    def test_pivot(self):
        self._append((0, 5, "RECEIPT", BORDERS[1]), (2, -2, "SALE", BORDERS[2]))
        [[total], by_product] = self.report.formatted_read_grouping_sets(
            [self.mine], [[], ["product_id"]], [*MEASURES, "__count"]
        )
        self.assertEqual([total[name] for name in MEASURES], [5, 2, 3, 2])
        for group in by_product:
            product = self.product if group["net_quantity:sum"] == 5 else self.lot_product
            self.assertEqual(group["product_id"], (product.id, product.display_name))
            rows = self.report.search([self.mine, *group["__extra_domain"]])
            self.assertEqual(rows.product_id, product)

    def test_list_by_month(self):
        self._append(*((0, 5, "RECEIPT", date) for date in BORDERS for _entry in range(2)))
        result = self.report.web_read_group([self.mine], ["date:month"], MEASURES)
        self.assertEqual(result["length"], 3)
        self.assertEqual(
            [(group["in_quantity:sum"], group["__count"]) for group in result["groups"]],
            [(10, 2)] * 3,
        )

    def test_deleted_product_keeps_its_history(self):
        product = self._create_product("Passing")
        self.keys = [(product, self.stock)]
        self._append((0, 5, "RECEIPT", BORDERS[0]), (0, -5, "SALE", BORDERS[1]))
        product.unlink()
        domain = [("product_id", "=", product.id)]
        [group] = self.report.formatted_read_group(domain, ["product_id"], MEASURES)
        self.assertEqual(group["product_id"], (product.id, f"Deleted ({product.id})"))
        self.assertEqual(group["in_quantity:sum"], 5)
        rows = self.report.search(domain)
        [values, _other] = rows.web_read({"product_id": {"fields": {"display_name": {}}}})
        self.assertFalse(values["product_id"])

    def test_reservations_are_no_movements(self):
        self._receive(self.product, 10)
        self._create_picking("out", {self.product: 4}).action_confirm()
        rows = self.report.search([self.mine])
        self.assertEqual(
            [(row.event_type, row.location_id, row.in_quantity) for row in rows],
            [("RECEIPT", self.stock, 10)],
        )

    def test_drill_down(self):
        receipt = self._receive(self.product, 10)
        self._receive(self.product, 1, destination=self.shelf)
        for _fold in range(2):
            row = self.report.search([self.mine, ("location_id", "=", self.stock.id)])
            action = row.action_view_entries()
            entries = self.env[action["res_model"]].with_user(self.user).search(action["domain"])
            self.assertEqual((entries.quantity, entries.location_id), (10, self.stock))
            action = row.action_view_transfers()
            transfers = self.env[action["res_model"]].with_user(self.user).search(action["domain"])
            self.assertEqual(transfers, receipt)
            self.env["stock.ledger.rollup"]._fold()

    def test_drill_down_of_a_day(self):
        dates = [BORDERS[1] + datetime.timedelta(days=days) for days in (-1, 0, 0, 1)]
        self._append(*((0, 2, "RECEIPT", date) for date in dates))
        self.env["stock.ledger.rollup"]._fold()
        row = self.report.search([self.mine, ("date", "=", BORDERS[1])])
        action = row.action_view_entries()
        entries = self.env[action["res_model"]].search(action["domain"])
        self.assertEqual(entries.mapped("quantity"), [2, 2])
        self.assertEqual(set(entries.mapped("effective_date")), {entries[0].effective_date})

    # --- who sees what ---

    def test_other_companies_are_hidden(self):
        company = self.env["res.company"].create({"name": "Hidden Company"})
        warehouse = self.env["stock.warehouse"].search([("company_id", "=", company.id)], limit=1)
        self.keys = [(self.product, warehouse.lot_stock_id)]
        for _fold in range(2):
            self._append((0, 5, "RECEIPT", BORDERS[0]))
            self.assertFalse(self.report.search([self.mine]))
            self.assertFalse(self.report._read_group([self.mine], ["date:month"]))
            self.assertTrue(self.report.sudo().search([self.mine]))
            self.env["stock.ledger.rollup"]._fold()

    def test_others_are_refused(self):
        for group in ("base.group_user", "base.group_portal"):
            user = new_test_user(self.env, group, groups=group)
            with self.assertRaises(AccessError):
                self.report.with_user(user).search([])
            with self.assertRaises(AccessError):
                self.report.with_user(user)._read_group([], ["date:month"])
