from odoo import fields, models

from ..fields import HistoricalMany2one


class StockLedgerDelta(models.Model):
    """A committed change of stock that the balances do not hold yet.

    Fed by a trigger on the ledger, emptied by ``stock.ledger.balance._fold``.
    """

    _name = "stock.ledger.delta"
    _description = "Stock Ledger Delta"
    _log_access = False

    product_id = HistoricalMany2one("product.product", required=True)
    location_id = HistoricalMany2one("stock.location", required=True)
    lot_id = HistoricalMany2one("stock.lot")
    package_id = HistoricalMany2one("stock.package")
    owner_id = HistoricalMany2one("res.partner")
    company_id = HistoricalMany2one("res.company")
    quantity = fields.Float(digits="Product Unit", required=True)
    reserved_quantity = fields.Float(digits="Product Unit", required=True)
