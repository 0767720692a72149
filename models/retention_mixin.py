from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import SQL

GC_BATCH = 10_000
KEEP_DAYS = 30
# PostgreSQL and Python both know the date that is so long ago.
MOST_DAYS = 36_500


class StockRetentionMixin(models.AbstractModel):
    """Rows that are deleted some days after they were of any use.

    How many days, a system parameter tells, ``stock_event_ledger.<_keep_parameter>``.
    """

    _name = "stock.retention.mixin"
    _description = "Rows That Are Kept for Some Days"

    _keep_parameter = None

    @api.model
    def _get_keep_days(self):
        """Return for how many days rows are kept."""
        # sudo: how long is no secret to those who see the rows; parameters are for administrators.
        parameters = self.env["ir.config_parameter"].sudo()
        days = parameters.get_param(f"stock_event_ledger.{self._keep_parameter}", KEEP_DAYS)
        try:
            return min(max(int(days), 1), MOST_DAYS)
        except ValueError:
            return KEEP_DAYS

    @api.model
    def _query_old(self, before):
        """Return the condition of the rows that have been of no use since before a moment.

        :param datetime before: the moment, in UTC
        """
        raise NotImplementedError

    @api.autovacuum
    def _gc_old(self):
        """Delete what is older than the days to keep, a batch at a time.

        :return: number of deleted rows, and whether there may be more: Odoo calls again
        """
        if self._abstract:
            return 0, 0
        before = fields.Datetime.now() - timedelta(days=self._get_keep_days())
        table = SQL.identifier(self._table)
        self.flush_model()
        self.env.cr.execute(
            SQL(
                "DELETE FROM %s WHERE id IN (SELECT id FROM %s WHERE %s LIMIT %s)",
                table,
                table,
                self._query_old(before),
                GC_BATCH,
            )
        )
        deleted = self.env.cr.rowcount
        self.invalidate_model(flush=False)
        return deleted, int(deleted == GC_BATCH)
