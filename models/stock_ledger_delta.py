from odoo import fields, models
from odoo.tools import SQL

from ..fields import BigInteger, HistoricalMany2one


class StockLedgerDelta(models.Model):
    """A ledger entry that the rollups do not hold yet. It has the entry's id.

    Fed by a trigger on the ledger, emptied by ``stock.ledger.rollup._fold``. It repeats
    what the rollups are made of: joined to the ledger by id, a query that is planned
    while the queue looks long would read all of the ledger.
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
    event_type = fields.Char(required=True)
    quantity = fields.Float(digits="Product Unit", required=True)
    reserved_quantity = fields.Float(digits="Product Unit", required=True)
    effective_date = fields.Datetime(required=True)
    transaction_number = BigInteger(
        help="PostgreSQL's number of the transaction; missing from before there were thresholds"
    )

    def init(self):
        """Have the table vacuumed for what passes through it, not for what it holds."""
        self.env.cr.execute(
            SQL(
                """ALTER TABLE %s SET (autovacuum_vacuum_scale_factor = 0,
                                       autovacuum_vacuum_threshold = 5000)""",
                SQL.identifier(self._table),
            )
        )
