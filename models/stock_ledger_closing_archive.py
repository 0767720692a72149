from odoo import api, models
from odoo.tools import SQL

from .stock_ledger_closing import ALL_KEYS


class StockLedgerClosing(models.Model):
    """What archiving the ledger leaves of stock at a date: the ends of months."""

    _inherit = "stock.ledger.closing"

    @api.model
    def _query_stock_at(self, at, where=ALL_KEYS):
        """Refuse what cannot be told any more.

        :raises UserError: when the moment is inside an archived month
        """
        self.env["stock.ledger.archive"]._check_servable(at)
        return super()._query_stock_at(at, where)

    @api.model
    def _is_stock_known_at(self, at):
        archive = self.env["stock.ledger.archive"]
        return super()._is_stock_known_at(at) and not archive._is_archived(at)

    @api.model
    def _forget(self, since):
        self.env.cr.execute(SQL("DELETE FROM stock_ledger_closing WHERE date >= %s", since))
        self.env.cr.execute(
            SQL("UPDATE stock_ledger_closing SET next_date = NULL WHERE next_date >= %s", since)
        )
