from odoo import fields, models


class StockLedgerMonthLocation(models.Model):
    """Movements by month, of all products: as few as there are locations."""

    _name = "stock.ledger.month.location"
    _inherit = ["stock.ledger.period"]
    _description = "Stock Ledger Month, All Products"
    _log_access = False
    _period = "month"

    event_type = fields.Selection(
        lambda self: self.env["stock.ledger.entry"]._get_event_types(),
        required=True,
        readonly=True,
    )

    _key_uniq = models.UniqueIndex("(date, location_id, event_type)")
