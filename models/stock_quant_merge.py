from psycopg2 import OperationalError

from odoo import api, models
from odoo.tools import SQL

MERGE_BATCH = 200


class StockQuant(models.Model):
    """Rows of one stock key become one again, as if none had ever been inserted.

    Where a row is busy, an operation that only adds to the stock, or takes what was
    reserved for it, inserts another one.
    """

    _inherit = "stock.quant"

    @api.model
    def _merge_quants(self):
        """Record what core's merge changes: it sets a negative sum of reservations to zero."""
        # Core merges the rows that it reads in the database. Everything else too: core
        # would take a conflict in flushing for one in merging, and go on regardless.
        self.env.flush_all()
        self.env["stock.ledger.entry"]._flush_buffer()
        states = {quant.id: quant._get_ledger_state() for quant in self._get_negatively_reserved()}
        result = super()._merge_quants()
        self._record_changes_by_sql(states)
        return result

    def _get_negatively_reserved(self):
        """Return the quants whose merge makes a negative sum of reservations zero."""
        rows = self.env.execute_query(
            SQL(
                """SELECT ARRAY_AGG(id)
                     FROM stock_quant
                    WHERE %s
                    GROUP BY product_id, location_id, lot_id, package_id, owner_id, company_id
                   HAVING COUNT(*) > 1 AND SUM(reserved_quantity) < 0""",
                SQL(
                    "location_id = ANY(%s) AND product_id = ANY(%s)",
                    self.location_id.ids,
                    self.product_id.ids,
                )
                if self.ids
                else SQL("TRUE"),
            )
        )
        return self.browse([quant_id for [ids] in rows for quant_id in ids])

    @api.model
    def _merge_duplicates(self, limit=MERGE_BATCH):
        """Merge the rows that share a stock key, where nobody is using them.

        :param int limit: how many products and locations at most, a transaction each
        :return: how many were merged
        """
        rows = self.env.execute_query(
            SQL(
                """SELECT ARRAY_AGG(quant_id)
                     FROM (SELECT product_id, location_id, UNNEST(ARRAY_AGG(id)) AS quant_id
                             FROM stock_quant
                            GROUP BY product_id, location_id, lot_id, package_id, owner_id,
                                     company_id
                           HAVING COUNT(*) > 1) AS duplicate
                    GROUP BY product_id, location_id
                    LIMIT %s""",
                limit,
            )
        )
        return sum(self._merge_free_duplicates(quant_ids) for [quant_ids] in rows)

    @api.model
    def _merge_free_duplicates(self, quant_ids):
        with self.pool.cursor() as cr:
            quants = self.with_env(self.env(cr=cr)).browse(quant_ids).exists()
            try:
                if not quants or not quants._try_lock_stock_keys():
                    return False
                quants._merge_quants()
                cr.flush()
                return True
            except OperationalError:
                cr.rollback()
                return False

    @api.model
    def _cron_merge_duplicates(self):
        """Merge duplicates where no worker does it."""
        merged = self._merge_duplicates()
        self.env["ir.cron"]._commit_progress(merged)
