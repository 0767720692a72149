from odoo import api, fields, models

from ..models.stock_ledger_drift import WAYS
from ..models.stock_ledger_drift_correction import WAYS_BY_KIND


class StockLedgerCorrection(models.TransientModel):
    """Corrects drifts, with a reason that stays with them."""

    _name = "stock.ledger.correction"
    _description = "Correct Stock Drifts"

    drift_ids = fields.Many2many("stock.ledger.drift", required=True)
    way = fields.Selection(
        WAYS,
        "Correction",
        compute="_compute_way",
        store=True,
        readonly=False,
        required=True,
        precompute=True,
    )
    reason = fields.Char(required=True)

    @api.depends("drift_ids")
    def _compute_way(self):
        for correction in self:
            kinds = set(correction.drift_ids.mapped("kind"))
            ways = [way for way, _label in WAYS if all(way in WAYS_BY_KIND[k] for k in kinds)]
            correction.way = ways[0] if ways else False

    def action_correct(self):
        """Correct the drifts, all of them or none.

        :raises UserError: when one cannot be corrected so, has changed, or its stock is busy
        """
        self.ensure_one()
        self.drift_ids.check_access("read")
        self.drift_ids._correct(self.way, self.reason)
        return {"type": "ir.actions.act_window_close"}
