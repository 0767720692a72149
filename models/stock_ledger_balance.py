from odoo import api, fields, models
from odoo.tools import SQL

from ..fields import HistoricalMany2one

FOLD_BATCH = 10_000


class StockLedgerBalance(models.Model):
    """What the ledger adds up to per stock key, as of the last fold.

    The current figure of anything is its balances plus its unfolded deltas, read in
    one statement; folding moves amounts from the one to the other in one transaction.
    """

    _name = "stock.ledger.balance"
    _description = "Stock Ledger Balance"
    _log_access = False

    product_id = HistoricalMany2one("product.product", required=True, readonly=True)
    location_id = HistoricalMany2one("stock.location", required=True, readonly=True)
    lot_id = HistoricalMany2one("stock.lot", readonly=True)
    package_id = HistoricalMany2one("stock.package", readonly=True)
    owner_id = HistoricalMany2one("res.partner", readonly=True)
    company_id = HistoricalMany2one("res.company", readonly=True)
    quantity = fields.Float(digits="Product Unit", required=True, readonly=True)
    reserved_quantity = fields.Float(digits="Product Unit", required=True, readonly=True)

    # An expression index, because the parts of a key that are empty must be equal,
    # and NULLS NOT DISTINCT asks for PostgreSQL 15.
    _key_uniq = models.UniqueIndex(
        "(product_id, location_id, (COALESCE(lot_id, 0)), (COALESCE(package_id, 0)), "
        "(COALESCE(owner_id, 0)), (COALESCE(company_id, 0)))"
    )

    @api.model
    def _fold(self, limit=FOLD_BATCH):
        """Add the oldest deltas to the balances and delete them, in one statement.

        :param int limit: how many deltas at most
        :return: how many were folded; 0 also when another session is folding
        """
        [[locked]] = self.env.execute_query(
            SQL(
                "SELECT pg_try_advisory_xact_lock(hashtext(%s), hashtext(%s))",
                "stock_event_ledger.fold",
                self._table,
            )
        )
        if not locked:
            return 0
        [[folded]] = self.env.execute_query(self._query_fold(limit))
        self.invalidate_model()
        return folded

    @api.model
    def _query_fold(self, limit):
        return SQL(
            """
            WITH gone AS (
                DELETE FROM stock_ledger_delta
                 WHERE id IN (SELECT id FROM stock_ledger_delta ORDER BY id LIMIT %s)
             RETURNING *
            ), total AS (
                SELECT product_id, location_id, lot_id, package_id, owner_id,
                       company_id, SUM(quantity) AS quantity,
                       SUM(reserved_quantity) AS reserved_quantity
                  FROM gone GROUP BY 1, 2, 3, 4, 5, 6
            ), folded AS (
                INSERT INTO stock_ledger_balance AS balance (
                    product_id, location_id, lot_id, package_id, owner_id, company_id,
                    quantity, reserved_quantity)
                SELECT * FROM total
                    ON CONFLICT (product_id, location_id, COALESCE(lot_id, 0),
                                 COALESCE(package_id, 0), COALESCE(owner_id, 0),
                                 COALESCE(company_id, 0))
                    DO UPDATE SET
                        quantity = balance.quantity + EXCLUDED.quantity,
                        reserved_quantity =
                            balance.reserved_quantity + EXCLUDED.reserved_quantity
            )
            SELECT COUNT(*) FROM gone
            """,
            limit,
        )

    @api.model
    def _cron_fold(self):
        """Fold what there is, batch by batch, where no worker does it."""
        cron = self.env["ir.cron"]
        while folded := self._fold():
            [[remaining]] = self.env.execute_query(SQL("SELECT COUNT(*) FROM stock_ledger_delta"))
            if not cron._commit_progress(folded, remaining=remaining):
                break
