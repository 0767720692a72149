from odoo.tests import tagged

from .reconciliation_common import ReconciliationCase
from .tour_common import TourCase


@tagged("post_install", "-at_install")
class TestChain(TourCase, ReconciliationCase):
    """What happens to a product, from its receipt to its count, in a real browser."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.chained = cls._create_product("Chained Product")
        cls.receipt, cls.first, cls.second = (
            cls._create_picking(kind, {cls.chained: quantity}, origin=f"Chain {name}")
            for kind, quantity, name in (
                ("in", 10, "Receipt"),
                ("out", 7, "One"),
                ("out", 5, "Two"),
            )
        )

    def test_chain(self):
        """Two deliveries want 12 of 10: the second one takes what it lacks from the first."""
        since = self._get_last_entry_id()
        self.start_tour(
            "/odoo",
            "stock_event_ledger_chain",
            login=self.manager.login,
            timeout=180,
        )
        self.env.invalidate_all()
        self.assertEqual(
            [picking.state for picking in (self.receipt, self.first, self.second)],
            ["done", "assigned", "done"],
        )
        quant = self._get_quants(self.chained)
        self.assertEqual((quant.quantity, quant.reserved_quantity), (9, 7))
        entries = self._get_new_entries(since).filtered_domain(
            [("product_id", "=", self.chained.id), ("location_id", "=", self.stock.id)]
        )
        self.assertEqual(
            [(e.event_type, e.quantity, e.reserved_quantity) for e in entries],
            [
                ("RECEIPT", 10, 0),
                ("RESERVE", 0, 7),
                ("RESERVE", 0, 3),
                ("UNRESERVE", 0, -7),
                ("RESERVE", 0, 2),
                ("RESERVE", 0, 5),
                ("SALE", -5, -5),
                ("CUSTOMER_RETURN", 5, 0),
                ("RESERVE", 0, 2),
                ("ADJUSTMENT", -1, 0),
            ],
        )
        self.assertEqual(entries.user_id, self.manager)
        self.assertLedgerBalanced()
        self.assertClean()
