from odoo.tests import tagged

from ..hooks import uninstall_hook
from .common import LedgerCase


@tagged("post_install", "-at_install")
class TestInstall(LedgerCase):
    def _empty_ledger(self):
        """Bring the database to where an installation finds it."""
        self.env["stock.ledger.entry"]._flush_buffer()
        self.env.cr.execute(
            """ALTER TABLE stock_ledger_entry DISABLE TRIGGER USER;
            DELETE FROM stock_ledger_entry;
            ALTER TABLE stock_ledger_entry ENABLE TRIGGER USER;
            DELETE FROM stock_ledger_delta;
            DELETE FROM stock_ledger_balance"""
        )

    def test_opening_entries(self):
        self._receive(self.product, 10)
        self._create_picking("out", {self.product: 4}).action_confirm()
        lot = self._create_lot(self.lot_product, "OPEN")
        self._receive(self.lot_product, 2, lots=lot)
        self._empty_ledger()
        self.assertTrue(self._get_differences())
        self.env["stock.ledger.entry"]._append_opening()
        self.assertLedgerBalanced()
        entry = self._get_entries(
            [("product_id", "=", self.product.id), ("location_id", "=", self.stock.id)]
        )
        self.assertEntries(entry, [("OPENING", self.stock, 10, 4)])
        self.assertEqual(entry.warehouse_id, self.warehouse)
        self._receive(self.product, 1)
        self.assertLedgerBalanced()

    def test_opening_merges_duplicate_quants(self):
        values = {"product_id": self.product.id, "location_id": self.stock.id}
        self.env["stock.quant"].create([{**values, "quantity": 5}, {**values, "quantity": -2}])
        self._empty_ledger()
        self.env["stock.ledger.entry"]._append_opening()
        entry = self._get_entries([("product_id", "=", self.product.id)])
        self.assertEntries(entry, [("OPENING", self.stock, 3, 0)])
        self.assertLedgerBalanced()

    def test_uninstall_leaves_no_function(self):
        uninstall_hook(self.env)
        self.env.cr.execute("SELECT proname FROM pg_proc WHERE proname LIKE 'stock_ledger%'")
        self.assertEqual(self.env.cr.fetchall(), [])
