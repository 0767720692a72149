import datetime

from dateutil.relativedelta import relativedelta

from odoo import api, fields, models
from odoo.tools import SQL

from ..fields import HistoricalMany2one

KEY = SQL("product_id, location_id, lot_id, package_id, owner_id, company_id")
ALL_KEYS = SQL("TRUE")
# The days of a month on which a period begins. More of them make stock at a date quicker, for
# fewer entries lie between it and the nearest closing balances, and these more.
PERIOD_DAYS = (1, 8, 16, 24)


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
    """What each stock key had on hand at the end of a period in which it moved.

    Periods are quarters of months. A closing holds until the end of the last period
    before the next one in which the key moved. A movement that is backdated changes the
    closings of its period and of all later ones.
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
    date = fields.Date(required=True, readonly=True, help="First day of the period, in UTC")
    next_date = fields.Date(readonly=True, help="First day of the next period in which it moved")
    quantity = fields.Float(digits="Product Unit", required=True, readonly=True)

    _key_uniq = models.UniqueIndex(
        "(product_id, location_id, (COALESCE(lot_id, 0)), (COALESCE(package_id, 0)), "
        "(COALESCE(owner_id, 0)), (COALESCE(company_id, 0)), date)"
    )
    # Serves all that was there at the beginning of a period, however long ago.
    _valid_idx = models.Index("USING gist (daterange(date, next_date, '(]'))")

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
        """Changes by key and period."""
        return SQL(
            """
            SELECT %(key)s, %(date)s AS date, SUM(quantity) AS amount
              FROM %(source)s
             WHERE quantity <> 0
             GROUP BY 1, 2, 3, 4, 5, 6, 7
            """,
            key=KEY,
            date=self._query_date(),
            source=source,
        )

    @api.model
    def _query_date(self):
        """Return the first day of the period of an ``effective_date``."""
        return SQL(
            """date_trunc('month', effective_date)::date - 1 + (%(days)s)[
                   width_bucket(EXTRACT(day FROM effective_date)::integer, %(days)s)]""",
            days=list(PERIOD_DAYS),
        )

    @api.model
    def _query_keys(self):
        """The keys that change, and the first period in which they do."""
        return SQL(
            """
            SELECT %s, MIN(date) AS date, COUNT(*) AS date_count, SUM(amount) AS amount
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
             WHERE %s AND closing.date = key.date
               AND closing.next_date IS NULL AND key.date_count = 1
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
        columns = SQL("id, date, quantity")
        same_key = _same_key("closing", "key")
        return SQL(
            """
            SELECT key.product_id, key.location_id, key.lot_id, key.package_id, key.owner_id,
                   key.company_id, known.*
              FROM closing_key key
             CROSS JOIN LATERAL (
                 (SELECT %(columns)s FROM stock_ledger_closing closing
                   WHERE %(same_key)s AND date < key.date
                   ORDER BY date DESC LIMIT 1)
                  UNION ALL
                 (SELECT %(columns)s FROM stock_ledger_closing closing
                   WHERE %(same_key)s AND date >= key.date)
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
            SELECT %(key)s, date, id,
                   SUM(amount) OVER by_date AS quantity, LEAD(date) OVER by_date AS next_date
              FROM (SELECT %(key)s, date, MAX(id) AS id, SUM(amount) AS amount
                      FROM (SELECT %(key)s, date, NULL::integer AS id, amount FROM closing_rest
                             UNION ALL
                            SELECT %(key)s, date, id,
                                   quantity - LAG(quantity, 1, 0.0) OVER by_date
                              FROM closing_known
                            WINDOW by_date AS (PARTITION BY %(key)s ORDER BY date)) AS amounts
                     GROUP BY %(key)s, date) AS dates
            WINDOW by_date AS (PARTITION BY %(key)s ORDER BY date)
            """,
            key=KEY,
        )

    @api.model
    def _query_update(self):
        return SQL(
            """
            UPDATE stock_ledger_closing closing
               SET quantity = new.quantity, next_date = new.next_date
              FROM closing_new new
             WHERE new.id = closing.id
               AND (new.quantity <> closing.quantity
                    OR new.next_date IS DISTINCT FROM closing.next_date)
            """
        )

    @api.model
    def _query_insert(self):
        return SQL(
            """
            INSERT INTO stock_ledger_closing (%(key)s, date, next_date, quantity)
            SELECT %(key)s, date, next_date, quantity FROM closing_new WHERE id IS NULL
             ORDER BY date, product_id, location_id
            """,
            key=KEY,
        )

    # --- stock at a date ---

    @api.model
    def _query_stock_at(self, at, where=ALL_KEYS):
        """Return the query of what each stock key had on hand at a moment.

        From the nearest beginning of a period, forwards or backwards. Its rows are to be
        added up: a stock key may have several. The greatest id among them is the key's
        alone: that of its closing, or else minus that of its first entry.

        :param datetime at: in UTC; what is effective at that very moment counts
        :param SQL where: which rows, by the columns of a stock key; it costs much less
            here than afterwards
        :return: SQL with the columns id, those of a stock key, and quantity
        """
        boundary = self._get_nearest_boundary(at)
        forwards = at >= boundary
        return SQL(
            """
            SELECT id, %(key)s, quantity FROM stock_ledger_closing
             WHERE daterange(date, next_date, '(]') @> %(boundary)s::date AND quantity <> 0
               AND %(where)s
             UNION ALL
            SELECT -id, %(key)s, quantity FROM stock_ledger_delta
             WHERE effective_date < %(boundary)s AND quantity <> 0 AND %(where)s
             UNION ALL
            SELECT -id, %(key)s, %(quantity)s FROM stock_ledger_entry
             WHERE %(between)s AND quantity <> 0 AND %(where)s
            """,
            key=KEY,
            boundary=boundary,
            quantity=SQL("quantity") if forwards else SQL("-quantity"),
            between=SQL("effective_date >= %s AND effective_date <= %s", boundary, at)
            if forwards
            else SQL("effective_date > %s AND effective_date < %s", at, boundary),
            where=where,
        )

    @api.model
    def _get_nearest_boundary(self, at):
        """Return the beginning of a period that is nearest to a moment, in UTC."""
        month = datetime.datetime(at.year, at.month, 1)
        boundaries = [month.replace(day=day) for day in PERIOD_DAYS]
        boundaries.append(month + relativedelta(months=1))
        return min(boundaries, key=lambda boundary: abs(boundary - at))

    @api.model
    def _is_stock_known_at(self, at):
        """Tell whether the ledger covers a moment: not, if it was opened later.

        :param datetime at: in UTC
        """
        first = self.env.execute_query(
            SQL("SELECT event_type, effective_date FROM stock_ledger_entry ORDER BY id LIMIT 1")
        )
        return not first or first[0][0] != "OPENING" or first[0][1] <= at
