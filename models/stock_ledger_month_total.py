from odoo import models

from ..fields import HistoricalMany2one


class StockLedgerMonthTotal(models.Model):
    """Movements by month, of all event types: a fraction of the months by event type."""

    _name = "stock.ledger.month.total"
    _inherit = ["stock.ledger.period"]
    _description = "Stock Ledger Month, All Event Types"
    _log_access = False
    _period = "month"

    product_id = HistoricalMany2one("product.product", required=True, readonly=True)

    # Serves all products of some months, and one product month by month.
    _key_uniq = models.UniqueIndex("(date, product_id, location_id)")
