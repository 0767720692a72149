from odoo import api, fields, models
from odoo.tools import SQL

from ..fields import HistoricalMany2one

# In the order of the rollups' indexes.
DIMENSIONS = ("product_id", "location_id", "event_type")


class StockLedgerPeriod(models.AbstractModel):
    """What came in and went out per location in a period, by product, event type or both.

    Periods are those of UTC, as in Odoo's own stock reports. In and out are told by the
    entries' sign: a reversal of a receipt goes out.
    """

    _name = "stock.ledger.period"
    _inherit = ["stock.ledger.rollup"]
    _description = "Stock Ledger Period"
    _log_access = False
    # Which period: the field of PostgreSQL's date_trunc.
    _period = None

    date = fields.Date(required=True, readonly=True, help="First day of the period")
    location_id = HistoricalMany2one("stock.location", required=True, readonly=True)
    in_quantity = fields.Float(digits="Product Unit", required=True, readonly=True)
    out_quantity = fields.Float(digits="Product Unit", required=True, readonly=True)
    entry_count = fields.Integer(required=True, readonly=True)

    @api.model
    def _query_dimensions(self):
        """Return the columns by which a period's movements are added up."""
        names = [name for name in DIMENSIONS if name in self._fields]
        return SQL(", ").join(map(SQL.identifier, names))

    @api.model
    def _query_fold(self, source):
        query = SQL(
            """
            INSERT INTO %(table)s AS period (
                date, %(dimensions)s, in_quantity, out_quantity, entry_count)
            %(periods)s
                ON CONFLICT (date, %(dimensions)s)
                DO UPDATE SET
                    in_quantity = period.in_quantity + EXCLUDED.in_quantity,
                    out_quantity = period.out_quantity + EXCLUDED.out_quantity,
                    entry_count = period.entry_count + EXCLUDED.entry_count
            """,
            table=SQL.identifier(self._table),
            dimensions=self._query_dimensions(),
            periods=self._query_periods(source),
        )
        return [(f"period_{self._table}", query)]

    @api.model
    def _forget(self, since):
        self.env.cr.execute(
            SQL("DELETE FROM %s WHERE date >= %s", SQL.identifier(self._table), since)
        )

    @api.model
    def _query_periods(self, source):
        """Return the query of a source's figures by period, in this rollup's columns.

        In the order of the index, which is filled faster so, and in which reports find what
        belongs together on the same pages.

        :param SQL source: a table with the columns of ``stock.ledger.delta``
        """
        return SQL(
            """
            SELECT date_trunc(%(period)s, effective_date)::date AS date, %(dimensions)s,
                   SUM(GREATEST(quantity, 0)) AS in_quantity,
                   SUM(GREATEST(-quantity, 0)) AS out_quantity, COUNT(*) AS entry_count
              FROM %(source)s
             WHERE quantity <> 0
             GROUP BY 1, %(dimensions)s
             ORDER BY 1, %(dimensions)s
            """,
            period=self._period,
            dimensions=self._query_dimensions(),
            source=source,
        )
