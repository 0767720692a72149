from odoo.tests import new_test_user

from ..models.stock_ledger_reconciliation import Scope
from .common import LedgerCase

ANNOUNCEMENTS = ("DRIFT_FOUND", "DRIFT_CLEARED")


class ReconciliationCase(LedgerCase):
    """Faults as SQL makes them, and what a reconciliation says of them."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.runs = cls.env["stock.ledger.reconciliation"]
        cls.drifts = cls.env["stock.ledger.drift"]
        cls.manager = new_test_user(
            cls.env, "reconciliation_manager", groups="stock.group_stock_manager"
        )
        cls._fold_all()

    @classmethod
    def _fold_all(cls):
        cls.env["stock.ledger.entry"]._flush_buffer()
        while cls.env["stock.ledger.rollup"]._fold():
            pass

    def _reconcile(self, is_full=True, **scope):
        run = self.runs._reconcile(Scope(**scope), is_full)
        self.assertNotEqual(run.state, "failed", run.error)
        return run

    def _get_open(self, kind=None):
        drifts = self.drifts.search([("state", "=", "open")])
        return drifts.filtered(lambda drift: drift.kind == kind) if kind else drifts

    def _get_new_entries(self, since):
        """Return the entries that change stock."""
        entries = super()._get_new_entries(since)
        return entries.filtered(lambda entry: entry.event_type not in ANNOUNCEMENTS)

    def _execute(self, query, *params):
        """Change something past Odoo."""
        self.env["stock.ledger.entry"]._flush_buffer()
        self.env.flush_all()
        self.env.cr.execute(query, params or None)
        self.env.invalidate_all()

    def _execute_on_ledger(self, query, *params):
        """Change the ledger as a superuser of the database does, without its triggers."""
        self._execute("ALTER TABLE stock_ledger_entry DISABLE TRIGGER USER")
        self._execute(query, *params)
        self._execute("ALTER TABLE stock_ledger_entry ENABLE TRIGGER USER")

    def _correct(self, drifts, way, reason="Found by the auditor"):
        """Correct as an inventory manager, by the wizard."""
        wizard = (
            self.env["stock.ledger.correction"]
            .with_user(self.manager)
            .create({"drift_ids": drifts.ids, "way": way, "reason": reason})
        )
        wizard.action_correct()
        self.env["stock.ledger.entry"]._flush_buffer()
        self.env.invalidate_all()

    def _get_quants(self, product, location=None):
        return self.env["stock.quant"].search(
            [("product_id", "=", product.id), ("location_id", "=", (location or self.stock).id)]
        )

    def assertClean(self, is_full=True):
        run = self._reconcile(is_full)
        drifts = self._get_open()
        self.assertFalse(drifts, drifts.read(["kind", "rollup", "figure", "difference"]))
        self.assertEqual((run.state, run.drift_count), ("clean", 0))
        return run
