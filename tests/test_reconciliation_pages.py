from odoo.tests import tagged

from .reconciliation_common import ReconciliationCase
from .tour_common import TourCase


@tagged("post_install", "-at_install")
class TestReconciliationPages(TourCase, ReconciliationCase):
    """The pages, in a real browser, as an inventory manager."""

    def test_reconcile_and_correct(self):
        product = self._create_product("Drifting Product")
        self._receive(product, 10)
        delivery = self._create_picking("out", {product: 4})
        delivery.action_confirm()
        self._execute(
            "UPDATE stock_quant SET quantity = 12 WHERE product_id = %s AND location_id = %s",
            product.id,
            self.stock.id,
        )
        self.start_tour("/odoo", "stock_event_ledger_reconciliation", login=self.manager.login)
        self.env.invalidate_all()
        drift = self.drifts.search([("product_id", "=", product.id)])
        self.assertEqual(
            (drift.state, drift.way, drift.reason, drift.corrected_uid),
            ("corrected", "quants", "Counted again", self.manager),
        )
        self.assertEqual(self._get_quants(product).quantity, 10)
        self.assertClean()
