from odoo import fields, models

from ..fields import HistoricalMany2one


class StockLedgerMonth(models.Model):
    """Movements by month: what makes years of history cheap."""

    _name = "stock.ledger.month"
    _inherit = ["stock.ledger.period"]
    _description = "Stock Ledger Month"
    _log_access = False
    _period = "month"

    product_id = HistoricalMany2one("product.product", required=True, readonly=True)
    event_type = fields.Selection(
        lambda self: self.env["stock.ledger.entry"]._get_event_types(),
        required=True,
        readonly=True,
    )

    # Serves all products of some months, and one product month by month.
    _key_uniq = models.UniqueIndex("(date, product_id, location_id, event_type)")
    # Serves the demand of all products in the last months.
    _demand_idx = models.Index("(date) WHERE event_type IN ('SALE', 'CONSUMPTION')")
