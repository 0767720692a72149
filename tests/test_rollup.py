import datetime
import itertools
from contextlib import closing

from dateutil.relativedelta import relativedelta
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odoo.tools import SQL, mute_logger

from .common import LedgerCase
from .rollup_common import get_period_differences, get_reported_stock_at, get_stock_at

EPOCH = datetime.datetime(2023, 1, 1)
MINUTES = 60 * 24 * 500
# Moments that are likely to be mistaken: around the ends of periods, and the same twice.
DATES = st.one_of(
    st.integers(0, MINUTES).map(lambda minutes: EPOCH + datetime.timedelta(minutes=minutes)),
    st.tuples(
        st.integers(0, 15), st.sampled_from([1, 8, 12, 16, 24, 28]), st.sampled_from([-1, 0, 1])
    ).map(lambda when: EPOCH + relativedelta(months=when[0], day=when[1], seconds=when[2])),
)
ENTRY = st.tuples(
    st.integers(0, 2),
    st.sampled_from([-3, -0.25, 1, 2.5, 10]),
    st.sampled_from(["RECEIPT", "SALE", "INTERNAL"]),
    DATES,
)
# A batch of entries, and how many deltas are folded after it.
BATCHES = st.lists(
    st.tuples(st.lists(ENTRY, min_size=1, max_size=8), st.sampled_from([0, 1, 3, 1000])),
    min_size=1,
    max_size=6,
)


class TestRollup(LedgerCase):
    """Rollups and deltas together are the ledger, whatever the order of dates and folds."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.rollup = cls.env["stock.ledger.rollup"]
        cls.keys = [
            {"product_id": cls.product.id, "location_id": cls.stock.id, "lot_id": None},
            {"product_id": cls.product.id, "location_id": cls.shelf.id, "lot_id": None},
            {
                "product_id": cls.lot_product.id,
                "location_id": cls.stock.id,
                "lot_id": cls._create_lot(cls.lot_product, "ROLLED").id,
            },
        ]

    def _append(self, *entries):
        """Append entries of (number of the key, quantity, event type, effective date)."""
        self.env["stock.ledger.entry"]._append(
            [
                {
                    **self.keys[key],
                    "company_id": self.env.company.id,
                    "operating_company_id": self.env.company.id,
                    "event_type": event_type,
                    "quantity": quantity,
                    "reserved_quantity": 0,
                    "effective_date": date,
                }
                for key, quantity, event_type, date in entries
            ]
        )

    def _fold_all(self):
        while self.rollup._fold():
            pass

    def _check(self, dates):
        for period in ("day", "month", "month.total", "month.location"):
            self.assertFalse(get_period_differences(self.env, period))
        for date, shift in itertools.product(dates, (-1, 0, 1)):
            at = date + datetime.timedelta(seconds=shift)
            self.assertEqual(
                get_reported_stock_at(self.env, at), get_stock_at(self.env, at), f"at {at}"
            )

    def _check_chain(self):
        """Each closing is the one before and its period's changes, and holds until the next."""
        wrong = self.env.execute_query(
            SQL(
                """
                SELECT id FROM (
                    SELECT closing.*, LEAD(date) OVER by_date AS following,
                           LAG(quantity, 1, 0.0) OVER by_date
                           + COALESCE((
                               SELECT SUM(quantity) FROM stock_ledger_entry entry
                                WHERE entry.product_id = closing.product_id
                                  AND entry.location_id = closing.location_id
                                  AND entry.lot_id IS NOT DISTINCT FROM closing.lot_id
                                  AND entry.effective_date >= date
                                  AND entry.effective_date < (
                                      SELECT MIN(start)
                                        FROM generate_series(0, 31) AS number,
                                             CAST(date + 1 + number AS date) AS start
                                       WHERE EXTRACT(day FROM start) IN (1, 8, 16, 24))), 0)
                               AS expected
                      FROM stock_ledger_closing closing
                     WHERE product_id = ANY(%s)
                    WINDOW by_date AS (
                        PARTITION BY product_id, location_id, lot_id ORDER BY date)) AS chain
                 WHERE quantity <> expected OR next_date IS DISTINCT FROM following
                """,
                [key["product_id"] for key in self.keys],
            )
        )
        self.assertFalse(wrong)

    @settings(
        max_examples=60,
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
                    self.rollup._fold(limit)
            dates = {entry[3] for entries, _limit in batches for entry in entries}
            self._check(dates)
            self._fold_all()
            self._check(dates)
            self._check_chain()

    def test_backdated_movement_changes_all_later_closings(self):
        january, march, may = (datetime.datetime(2024, month, 10) for month in (1, 3, 5))
        self._append((0, 5, "RECEIPT", january), (0, 5, "RECEIPT", may))
        self._fold_all()
        self._append((0, -2, "SALE", march))
        self._fold_all()
        closings = self.env["stock.ledger.closing"].search(
            [("product_id", "=", self.product.id)], order="date"
        )
        self.assertEqual(closings.mapped("quantity"), [5, 3, 8])
        self.assertEqual(
            closings.mapped("next_date"),
            [datetime.date(2024, 3, 8), datetime.date(2024, 5, 8), False],
        )

    def test_reservations_are_no_movements(self):
        self._receive(self.product, 10)
        self._create_picking("out", {self.product: 4}).action_confirm()
        self.env["stock.ledger.entry"]._flush_buffer()
        self._fold_all()
        balance = self.env["stock.ledger.balance"].search(
            [("product_id", "=", self.product.id), ("location_id", "=", self.stock.id)]
        )
        self.assertEqual((balance.quantity, balance.reserved_quantity), (10, 4))
        days = self.env["stock.ledger.day"].search([("product_id", "=", self.product.id)])
        self.assertEqual(set(days.mapped("event_type")), {"RECEIPT"})

    def test_last_movement_is_not_one_inside_a_warehouse(self):
        first, second = datetime.datetime(2024, 1, 10, 9), datetime.datetime(2024, 2, 10, 9)
        self._append((0, 5, "RECEIPT", first), (0, -1, "INTERNAL", second))
        self._fold_all()
        domain = [("product_id", "=", self.product.id)]
        balance = self.env["stock.ledger.balance"].search(domain)
        self.assertEqual(balance.last_movement_date, first)
        # An earlier one that is recorded later does not change it.
        self._append((0, -1, "SALE", first - datetime.timedelta(days=1)))
        self._fold_all()
        self.assertEqual(balance.last_movement_date, first)

    def test_rebuild_mends_what_is_wrong(self):
        dates = [EPOCH + datetime.timedelta(days=20 * number) for number in range(9)]
        self._append(*((number % 3, 2, "RECEIPT", date) for number, date in enumerate(dates)))
        self.rollup._fold(5)
        self.env.cr.execute("UPDATE stock_ledger_closing SET quantity = quantity + 1")
        self.env.cr.execute("UPDATE stock_ledger_month SET in_quantity = in_quantity + 1")
        self.env.cr.execute("DELETE FROM stock_ledger_balance")
        self.assertTrue(get_period_differences(self.env, "month"))
        self.rollup._rebuild()
        self.assertFalse(self.env["stock.ledger.delta"].search_count([]))
        self._check(dates)
        self._check_chain()
        for key in self.keys:
            domain = [(name, "=", value or False) for name, value in key.items()]
            balance = self.env["stock.ledger.balance"].search(domain)
            self.assertEqual(balance.quantity, 6)

    @mute_logger("odoo.sql_db")
    def test_one_session_folds_at_a_time(self):
        self._append((0, 5, "RECEIPT", EPOCH))
        with closing(self.registry.cursor()) as other:
            other.execute(SQL("SELECT pg_advisory_xact_lock(%s)", self.rollup._query_lock_key()))
            self.assertFalse(self.rollup._fold())
        self.assertTrue(self.rollup._fold())
