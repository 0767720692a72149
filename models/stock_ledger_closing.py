import datetime

from dateutil.relativedelta import relativedelta

from odoo import api, fields, models
from odoo.tools import SQL

from ..fields import HistoricalMany2one

KEY = SQL("product_id, location_id, lot_id, package_id, owner_id, company_id")


def _same_key(left, right):
    """Return the condition that two tables' rows are of the same stock key."""
    conditions = [
        SQL("%s = %s", SQL.identifier(left, column), SQL.identifier(right, column))
        for column in ("product_id", "location_id")
    ]
    conditions += [
        SQL(
            "COALESCE(%s, 0) = COALESCE(%s, 0)",
            SQL.identifier(left, column),
            SQL.identifier(right, column),
        )
        for column in ("lot_id", "package_id", "owner_id", "company_id")
    ]
    return SQL(" AND ").join(conditions)


class StockLedgerClosing(models.Model):
    """What each stock key had on hand at the end of a month in which it moved.

    It holds until the end of the last month before the next one. A movement that is
    backdated changes the closings of its month and of all later ones.
    """

    _name = "stock.ledger.closing"
    _inherit = ["stock.ledger.rollup"]
    _description = "Stock Ledger Closing Balance"
    _log_access = False

    product_id = HistoricalMany2one("product.product", required=True, readonly=True)
    location_id = HistoricalMany2one("stock.location", required=True, readonly=True)
    lot_id = HistoricalMany2one("stock.lot", readonly=True)
    package_id = HistoricalMany2one("stock.package", readonly=True)
    owner_id = HistoricalMany2one("res.partner", readonly=True)
    company_id = HistoricalMany2one("res.company", readonly=True)
    month = fields.Date(required=True, readonly=True, help="First day of the month, in UTC")
    next_month = fields.Date(readonly=True, help="The next one in which the stock key moved")
    quantity = fields.Float(digits="Product Unit", required=True, readonly=True)

    _key_uniq = models.UniqueIndex(
        "(product_id, location_id, (COALESCE(lot_id, 0)), (COALESCE(package_id, 0)), "
        "(COALESCE(owner_id, 0)), (COALESCE(company_id, 0)), month)"
    )
    # Serves all that was there at the beginning of a month, however long ago.
    _valid_idx = models.Index("USING gist (daterange(month, next_month, '(]'))")

    @api.model
    def _query_fold(self, source):
        return [
            ("closing_net", self._query_net(source)),
            ("closing_key", self._query_keys()),
            ("closing_latest", self._query_update_latest()),
            ("closing_rest", self._query_rest()),
            ("closing_known", self._query_known()),
            ("closing_new", self._query_new()),
            ("closing_updated", self._query_update()),
            ("closing_inserted", self._query_insert()),
        ]

    @api.model
    def _query_net(self, source):
        """Changes by key and month."""
        return SQL(
            """
            SELECT %s, date_trunc('month', effective_date)::date AS month,
                   SUM(quantity) AS amount
              FROM %s
             WHERE quantity <> 0
             GROUP BY 1, 2, 3, 4, 5, 6, 7
            """,
            KEY,
            source,
        )

    @api.model
    def _query_keys(self):
        """The keys that change, and the first month in which they do."""
        return SQL(
            """
            SELECT %s, MIN(month) AS month, COUNT(*) AS month_count, SUM(amount) AS amount
              FROM closing_net GROUP BY 1, 2, 3, 4, 5, 6
            """,
            KEY,
        )

    @api.model
    def _query_update_latest(self):
        """The quick way for what is usual: only the latest closing changes."""
        return SQL(
            """
            UPDATE stock_ledger_closing closing
               SET quantity = closing.quantity + key.amount
              FROM closing_key key
             WHERE %s AND closing.month = key.month
               AND closing.next_month IS NULL AND key.month_count = 1
         RETURNING closing.*
            """,
            _same_key("closing", "key"),
        )

    @api.model
    def _query_rest(self):
        """The changes that are left, of keys that are left."""
        return SQL(
            """
            SELECT * FROM closing_net net
             WHERE NOT EXISTS (SELECT FROM closing_latest latest WHERE %s)
            """,
            _same_key("net", "latest"),
        )

    @api.model
    def _query_known(self):
        """The closings that the changes fall on, those after them, and the one before."""
        columns = SQL("id, month, quantity")
        same_key = _same_key("closing", "key")
        return SQL(
            """
            SELECT key.product_id, key.location_id, key.lot_id, key.package_id, key.owner_id,
                   key.company_id, known.*
              FROM closing_key key
             CROSS JOIN LATERAL (
                 (SELECT %(columns)s FROM stock_ledger_closing closing
                   WHERE %(same_key)s AND month < key.month
                   ORDER BY month DESC LIMIT 1)
                  UNION ALL
                 (SELECT %(columns)s FROM stock_ledger_closing closing
                   WHERE %(same_key)s AND month >= key.month)
             ) AS known
             WHERE NOT EXISTS (SELECT FROM closing_latest latest WHERE %(same_as_latest)s)
            """,
            columns=columns,
            same_key=same_key,
            same_as_latest=_same_key("key", "latest"),
        )

    @api.model
    def _query_new(self):
        """The closings as they are to be; those that there are have their id."""
        return SQL(
            """
            SELECT %(key)s, month, id,
                   SUM(amount) OVER by_month AS quantity, LEAD(month) OVER by_month AS next_month
              FROM (SELECT %(key)s, month, MAX(id) AS id, SUM(amount) AS amount
                      FROM (SELECT %(key)s, month, NULL::integer AS id, amount FROM closing_rest
                             UNION ALL
                            SELECT %(key)s, month, id,
                                   quantity - LAG(quantity, 1, 0.0) OVER by_month
                              FROM closing_known
                            WINDOW by_month AS (PARTITION BY %(key)s ORDER BY month)) AS amounts
                     GROUP BY %(key)s, month) AS months
            WINDOW by_month AS (PARTITION BY %(key)s ORDER BY month)
            """,
            key=KEY,
        )

    @api.model
    def _query_update(self):
        return SQL(
            """
            UPDATE stock_ledger_closing closing
               SET quantity = new.quantity, next_month = new.next_month
              FROM closing_new new
             WHERE new.id = closing.id
               AND (new.quantity <> closing.quantity
                    OR new.next_month IS DISTINCT FROM closing.next_month)
            """
        )

    @api.model
    def _query_insert(self):
        return SQL(
            """
            INSERT INTO stock_ledger_closing (%(key)s, month, next_month, quantity)
            SELECT %(key)s, month, next_month, quantity FROM closing_new WHERE id IS NULL
            """,
            key=KEY,
        )

    # --- stock at a date ---

    @api.model
    def _query_stock_at(self, at):
        """Return the query of what each stock key had on hand at a moment.

        From the nearest beginning of a month, forwards or backwards. Its rows are to be
        added up: a stock key may have several.

        :param datetime at: in UTC; what is effective at that very moment counts
        :return: SQL with the columns of a stock key, and quantity
        """
        boundary = self._get_nearest_boundary(at)
        forwards = at >= boundary
        return SQL(
            """
            SELECT %(key)s, quantity FROM stock_ledger_closing
             WHERE daterange(month, next_month, '(]') @> %(boundary)s::date AND quantity <> 0
             UNION ALL
            SELECT %(key)s, quantity FROM stock_ledger_delta
             WHERE effective_date < %(boundary)s AND quantity <> 0
             UNION ALL
            SELECT %(key)s, %(quantity)s FROM stock_ledger_entry
             WHERE %(between)s AND quantity <> 0
            """,
            key=KEY,
            boundary=boundary,
            quantity=SQL("quantity") if forwards else SQL("-quantity"),
            between=SQL("effective_date >= %s AND effective_date <= %s", boundary, at)
            if forwards
            else SQL("effective_date > %s AND effective_date < %s", at, boundary),
        )

    @api.model
    def _get_nearest_boundary(self, at):
        """Return the beginning of a month that is nearest to a moment, in UTC."""
        this_month = datetime.datetime(at.year, at.month, 1)
        next_month = this_month + relativedelta(months=1)
        return this_month if at - this_month < next_month - at else next_month
