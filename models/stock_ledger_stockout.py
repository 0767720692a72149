import datetime

from dateutil.relativedelta import relativedelta

from odoo import api, fields, models
from odoo.tools import SQL

from ..fields import HistoricalMany2one

DEFAULT_DEMAND_MONTHS = 3


class StockLedgerStockout(models.Model):
    """Days on end when a warehouse had nothing of a product that it had before.

    A day counts when the on-hand quantity is zero or less at its end, in UTC. What the
    ledger tells of the days since the period of demand began is computed again each
    time, so that backdated movements come with the next run; what happened before that
    stays as it was found.
    """

    _name = "stock.ledger.stockout"
    _inherit = ["stock.historical.mixin"]
    _description = "Stock-out"
    _order = "first_day desc, id desc"
    _rec_name = "product_id"
    _log_access = False

    product_id = HistoricalMany2one("product.product", required=True, readonly=True)
    product_categ_id = fields.Many2one(related="product_id.categ_id", string="Product Category")
    warehouse_id = HistoricalMany2one("stock.warehouse", required=True, readonly=True)
    company_id = HistoricalMany2one("res.company", required=True, readonly=True)
    first_day = fields.Date(
        required=True, readonly=True, help="First day that ended without stock, in UTC"
    )
    last_day = fields.Date(readonly=True, help="Empty while it lasts")
    day_count = fields.Integer(
        "Days", required=True, readonly=True, help="Until yesterday, if it lasts"
    )

    _key_uniq = models.UniqueIndex("(product_id, warehouse_id, first_day)")
    # Serves those that last.
    _lasting_idx = models.Index("(first_day) WHERE last_day IS NULL")

    # --- the period that demand and stock-outs are counted in ---

    @api.model
    def _get_first_day(self):
        """Return the first day of the period: of the month so many months ago, in UTC."""
        # sudo: how the figures are made is no secret to those who see them.
        parameters = self.env["ir.config_parameter"].sudo()
        months = parameters.get_param("stock_event_ledger.demand_months", DEFAULT_DEMAND_MONTHS)
        try:
            months = max(int(months), 1)
        except ValueError:
            months = DEFAULT_DEMAND_MONTHS
        return fields.Date.today().replace(day=1) - relativedelta(months=months)

    # --- finding them ---

    @api.model
    def _refresh(self, _limit=None):
        """Compute the period again and write what differs; one session at a time.

        The first time the period begins with the ledger.

        :return: 0, since there is never more to do at once
        """
        [[locked]] = self.env.execute_query(
            SQL(
                "SELECT pg_try_advisory_xact_lock(hashtext(%s), hashtext(%s))",
                "stock_event_ledger.refresh",
                self._table,
            )
        )
        if not locked:
            return 0
        self.env["stock.ledger.entry"]._flush_buffer()
        first_day = self._get_first_day()
        if not self.search_count([], limit=1):
            [[oldest]] = self.env.execute_query(self._query_oldest())
            first_day = min(first_day, oldest or first_day)
        self.env.cr.execute(self._query_refresh(first_day, fields.Date.today()))
        self.invalidate_model()
        return 0

    @api.model
    def _query_oldest(self):
        return SQL(
            """SELECT LEAST((SELECT MIN(date) FROM stock_ledger_day),
                            (SELECT MIN(effective_date)::date FROM stock_ledger_delta))"""
        )

    @api.model
    def _query_refresh(self, first_day, today):
        """Return the statement that makes the table right from a day until yesterday.

        What has lasted since before that has its day before ``first_day`` for a start
        here, and is known from the table or not at all.
        """
        before = first_day - datetime.timedelta(days=1)
        return SQL(
            """
            WITH place AS (%(places)s),
            change AS (%(changes)s),
            level AS (%(levels)s),
            found AS (%(found)s),
            compared AS (%(compared)s),
            gone AS (
                DELETE FROM stock_ledger_stockout stockout USING compared
                 WHERE stockout.id = compared.id AND compared.product_id IS NULL
                   AND stockout.first_day > %(before)s),
            changed AS (
                UPDATE stock_ledger_stockout stockout
                   SET last_day = compared.last_day, day_count = %(day_count)s
                  FROM compared
                 WHERE stockout.id = compared.id
                   AND (compared.product_id IS NOT NULL OR stockout.first_day <= %(before)s)
                   AND (stockout.last_day IS DISTINCT FROM compared.last_day
                        OR stockout.day_count <> %(day_count)s))
            INSERT INTO stock_ledger_stockout AS stockout (
                product_id, warehouse_id, company_id, first_day, last_day, day_count)
            SELECT product_id, warehouse_id, company_id, first_day, last_day, %(day_count)s
              FROM compared
             WHERE id IS NULL AND first_day > %(before)s
                ON CONFLICT DO NOTHING
            """,
            before=before,
            places=self._query_places(),
            changes=self._query_changes(first_day),
            levels=self._query_levels(before),
            found=self._query_found(today),
            compared=self._query_compared(before),
            day_count=SQL(
                "COALESCE(compared.last_day + 1, %s) - compared.first_day",
                today,
            ),
        )

    @api.model
    def _query_places(self):
        """Locations, and the warehouses that their stock counts for."""
        return SQL(
            """
            SELECT location.id, warehouse_id, warehouse.company_id
              FROM stock_location location
              JOIN stock_warehouse warehouse ON warehouse.id = warehouse_id
             WHERE usage IN ('internal', 'transit')
            """
        )

    @api.model
    def _query_changes(self, first_day):
        """Net changes by product, warehouse and day."""
        return SQL(
            """
            SELECT product_id, warehouse_id, date, SUM(quantity) AS quantity
              FROM (SELECT product_id, location_id, date, in_quantity - out_quantity AS quantity
                      FROM stock_ledger_day WHERE date >= %(first_day)s
                     UNION ALL
                    SELECT product_id, location_id, effective_date::date, quantity
                      FROM stock_ledger_delta
                     WHERE effective_date >= %(first_day)s AND quantity <> 0) AS figures
              JOIN place ON place.id = location_id
             GROUP BY 1, 2, 3
            """,
            first_day=first_day,
        )

    @api.model
    def _query_levels(self, before):
        """What there was at the end of the day before the period, and of each day with
        changes: what there is now, less all changes after it."""
        return SQL(
            """
            SELECT product_id, warehouse_id, company_id, date,
                   SUM(quantity) OVER (PARTITION BY product_id, warehouse_id)
                   - COALESCE(SUM(change) OVER (
                       PARTITION BY product_id, warehouse_id ORDER BY date DESC
                       ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS quantity
              FROM (SELECT product_id, warehouse_id, company_id, %(before)s::date AS date,
                           SUM(quantity) AS quantity, 0 AS change
                      FROM (SELECT product_id, location_id, quantity FROM stock_ledger_balance
                             UNION ALL
                            SELECT product_id, location_id, quantity FROM stock_ledger_delta
                           ) AS stock
                      JOIN place ON place.id = location_id
                     GROUP BY 1, 2, 3
                     UNION ALL
                    SELECT product_id, warehouse_id, NULL, date, 0, quantity FROM change
                   ) AS figures
            """,
            before=before,
        )

    @api.model
    def _query_found(self, today):
        """The runs of days without stock."""
        by_date = SQL("(PARTITION BY product_id, warehouse_id ORDER BY date)")
        return SQL(
            """
            SELECT * FROM (
                SELECT product_id, warehouse_id, is_out, date AS first_day,
                       LEAD(date) OVER %(by_date)s - 1 AS last_day,
                       MAX(company_id) OVER (PARTITION BY product_id, warehouse_id) AS company_id
                  FROM (SELECT product_id, warehouse_id, company_id, date, quantity <= 0 AS is_out,
                               LAG(quantity <= 0) OVER %(by_date)s AS was_out
                          FROM level WHERE date < %(today)s) AS days
                 WHERE is_out IS DISTINCT FROM was_out) AS turns
             WHERE is_out
            """,
            by_date=by_date,
            today=today,
        )

    @api.model
    def _query_compared(self, before):
        """Those in the table, those found, or both in one row; the former without a product
        end, at the latest, before the period."""
        return SQL(
            """
            SELECT known.id, found.product_id, found.warehouse_id, found.company_id,
                   COALESCE(known.first_day, found.first_day) AS first_day,
                   CASE WHEN found.product_id IS NULL THEN %(before)s ELSE found.last_day END
                       AS last_day
              FROM found
              FULL JOIN (SELECT * FROM stock_ledger_stockout
                          WHERE last_day IS NULL OR last_day >= %(before)s) AS known
                ON known.product_id = found.product_id
               AND known.warehouse_id = found.warehouse_id
               AND GREATEST(known.first_day, %(before)s) = found.first_day
            """,
            before=before,
        )
