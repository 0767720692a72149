from odoo import api, models
from odoo.tools import SQL


class StockLedgerClosing(models.Model):
    """What archiving the ledger leaves of stock at a date: the ends of months."""

    _inherit = "stock.ledger.closing"

    @api.model
    def _query_stock_at(self, at):
        """Refuse what cannot be told any more.

        :raises UserError: when the moment is inside an archived month
        """
        self.env["stock.ledger.archive"]._check_servable(at)
        return super()._query_stock_at(at)

    @api.model
    def _forget(self, since):
        self.env.cr.execute(SQL("DELETE FROM stock_ledger_closing WHERE month >= %s", since))
        self.env.cr.execute(
            SQL("UPDATE stock_ledger_closing SET next_month = NULL WHERE next_month >= %s", since)
        )
