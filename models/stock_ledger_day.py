from odoo import fields, models

from ..fields import HistoricalMany2one


class StockLedgerDay(models.Model):
    """Movements by day."""

    _name = "stock.ledger.day"
    _inherit = ["stock.ledger.period"]
    _description = "Stock Ledger Day"
    _log_access = False
    _period = "day"

    product_id = HistoricalMany2one("product.product", required=True, readonly=True)
    event_type = fields.Selection(
        lambda self: self.env["stock.ledger.entry"]._get_event_types(),
        required=True,
        readonly=True,
    )

    # Serves all products of some days, and one product day by day.
    _key_uniq = models.UniqueIndex("(date, product_id, location_id, event_type)")
