from odoo import models

from ..fields import HistoricalMany2one
from .stock_ledger_drift_cause import REAL_SIDES


class StockLedgerDrift(models.Model):
    """Telling the channels that stock is in doubt, and that it is not any more.

    Both are ledger entries that change nothing: they have their place and number among
    the events of their stock, and stay on record.
    """

    _inherit = "stock.ledger.drift"

    found_entry_id = HistoricalMany2one(
        "stock.ledger.entry", readonly=True, help="The entry whose event tells of the drift"
    )

    def _announce_found(self):
        """Enter that these drifts were found, those of what is derived from the ledger aside."""
        drifts = self.filtered(lambda drift: drift.kind in REAL_SIDES)
        for drift, entry_id in zip(drifts, drifts._announce("DRIFT_FOUND"), strict=True):
            drift.found_entry_id = entry_id

    def _announce_cleared(self):
        """Enter that drifts that were announced are over."""
        self.filtered("found_entry_id")._announce("DRIFT_CLEARED")

    def _announce(self, event_type):
        # What has led to it comes before it.
        self.env["stock.ledger.entry"]._flush_buffer()
        return self.env["stock.ledger.entry"]._append(
            [
                drift._prepare_entry_vals(
                    f"{drift.kind} {drift.difference}",
                    event_type=event_type,
                    corrects_entry_id=drift.found_entry_id.id or None,
                )
                for drift in self
            ]
        )
