import datetime

from dateutil.relativedelta import relativedelta
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from .common import LedgerCase

RANDOM = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


class HistoryCase(LedgerCase):
    """Ledger entries as if they were made over months."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["stock.event.channel"].search([]).active = False
        # In the transaction: another test's clean-up may collect files of uncommitted rows.
        cls.env["ir.config_parameter"].set_param("ir_attachment.location", "db")
        cls.rollup = cls.env["stock.ledger.rollup"]
        other = cls.other_warehouse.lot_stock_id
        lot = cls._create_lot(cls.lot_product, "OLD")
        cls.keys = [
            {"product_id": cls.product.id, "location_id": cls.stock.id, "lot_id": None},
            {"product_id": cls.product.id, "location_id": cls.shelf.id, "lot_id": None},
            {"product_id": cls.product.id, "location_id": other.id, "lot_id": None},
            {"product_id": cls.lot_product.id, "location_id": cls.stock.id, "lot_id": lot.id},
            {"product_id": cls.product.id, "location_id": cls.customers.id, "lot_id": None},
        ]

    @staticmethod
    def _draw_entries(first_day, day_count, quantities=(-3, -0.25, 1, 2.5)):
        """Return a strategy of batches of entries, and how many deltas to fold after each."""
        first = datetime.datetime(first_day.year, first_day.month, first_day.day)
        date = st.one_of(
            st.integers(0, 60 * 24 * day_count - 1).map(
                lambda minutes: first + datetime.timedelta(minutes=minutes)
            ),
            # Moments that are likely to be mistaken: the ends of months.
            st.tuples(st.integers(1, day_count // 31), st.sampled_from([-1, 0])).map(
                lambda when: first + relativedelta(months=when[0], day=1, seconds=when[1])
            ),
        )
        entry = st.tuples(
            st.integers(0, 4),
            st.sampled_from(quantities),
            st.sampled_from(["RECEIPT", "SALE", "CONSUMPTION", "INTERNAL"]),
            date,
            st.sampled_from([0, 0, 1]),
        )
        batch = st.lists(entry, min_size=1, max_size=12)
        return st.lists(st.tuples(batch, st.sampled_from([0, 3, 1000])), min_size=1, max_size=4)

    def _append(self, *entries):
        """Append entries of (number of the key, quantity, event type, effective date[,
        reserved quantity])."""
        company = self.env.company.id
        return self.env["stock.ledger.entry"]._append(
            [
                {
                    **self.keys[key],
                    "company_id": None if key == 4 else company,
                    "operating_company_id": company,
                    "event_type": event_type,
                    "quantity": quantity,
                    "reserved_quantity": reserved[0] if reserved else 0,
                    "effective_date": date,
                }
                for key, quantity, event_type, date, *reserved in entries
            ]
        )

    def _append_batches(self, batches):
        for entries, limit in batches:
            self._append(*entries)
            if limit:
                self.rollup._fold(limit)

    def _fold_all(self):
        while self.rollup._fold():
            pass
