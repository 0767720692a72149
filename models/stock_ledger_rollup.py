import datetime

from odoo import api, models
from odoo.tools import SQL

# Many deltas at once are of fewer stock keys.
FOLD_BATCH = 50_000
# Percent of a page that inserts fill.
FILL_FACTOR = 80


class StockLedgerRollup(models.AbstractModel):
    """A table of what the ledger adds up to, as of the last fold.

    The current figure of anything is what a rollup has plus the unfolded deltas, read in
    one statement; folding moves amounts from the one to the other in one statement too,
    so that each delta counts once at any moment. One session folds at a time.
    """

    _name = "stock.ledger.rollup"
    _description = "Stock Ledger Rollup"
    _log_access = False

    def init(self):
        """Leave room on each page, so that updates stay there and need no index entries."""
        if not self._abstract:
            table = SQL.identifier(self._table)
            self.env.cr.execute(SQL("ALTER TABLE %s SET (fillfactor = %s)", table, FILL_FACTOR))

    @api.model
    def _get_rollups(self):
        """Return the models that deltas are folded into."""
        return [
            self.env["stock.ledger.balance"],
            self.env["stock.ledger.day"],
            self.env["stock.ledger.month"],
            self.env["stock.ledger.month.total"],
            self.env["stock.ledger.month.location"],
            self.env["stock.ledger.closing"],
        ]

    @api.model
    def _query_fold(self, source):
        """Return the CTEs that add entries to this rollup, as a list of (name, SQL).

        Names are unique over all rollups.

        :param SQL source: a table with the columns of ``stock.ledger.delta``
        """
        raise NotImplementedError

    @api.model
    def _fold(self, limit=FOLD_BATCH):
        """Add the oldest deltas to the rollups and delete them, in one statement.

        :param int limit: how many deltas at most
        :return: how many were folded; 0 also when another session is folding
        """
        [[locked]] = self.env.execute_query(
            SQL("SELECT pg_try_advisory_xact_lock(%s)", self._query_lock_key())
        )
        if not locked:
            return 0
        # Compiling a query of so many parts takes longer than to run it.
        self.env.cr.execute(SQL("SET LOCAL jit = off"))
        [[folded]] = self.env.execute_query(self._query_fold_deltas(limit))
        self._invalidate_rollups()
        return folded

    @api.model
    def _query_lock_key(self):
        return SQL("hashtext(%s), hashtext(%s)", "stock_event_ledger.fold", "stock_ledger_balance")

    @api.model
    def _query_fold_deltas(self, limit):
        ctes = [
            (
                "gone",
                SQL(
                    """DELETE FROM stock_ledger_delta
                        WHERE id IN (SELECT id FROM stock_ledger_delta ORDER BY id LIMIT %s)
                    RETURNING *""",
                    limit,
                ),
            )
        ]
        for rollup in self._get_rollups():
            ctes += rollup._query_fold(SQL.identifier("gone"))
        return SQL("%s SELECT COUNT(*) FROM gone", self._query_with(ctes))

    @api.model
    def _query_with(self, ctes):
        return SQL(
            "WITH %s",
            SQL(", ").join(SQL("%s AS (%s)", SQL.identifier(name), query) for name, query in ctes),
        )

    @api.model
    def _invalidate_rollups(self):
        for rollup in self._get_rollups():
            rollup.invalidate_model()
        self.env["stock.ledger.delta"].invalidate_model()

    @api.model
    def _cron_fold(self):
        """Fold what there is, batch by batch, where no worker does it."""
        cron = self.env["ir.cron"]
        while folded := self._fold():
            [[remaining]] = self.env.execute_query(SQL("SELECT COUNT(*) FROM stock_ledger_delta"))
            if not cron._commit_progress(folded, remaining=remaining):
                break

    @api.model
    def _rebuild(self):
        """Make the rollups again from the ledger, what is archived aside.

        Nobody has to wait: the transaction's snapshot holds each entry with its delta,
        if that was not folded yet, and entries that others commit meanwhile bring their
        own. A fold that committed after the snapshot makes this fail, and Odoo repeats it.
        """
        self.env.execute_query(SQL("SELECT pg_advisory_xact_lock(%s)", self._query_lock_key()))
        # What is archived is not made again, and must not lose what is still on its way.
        while self._fold():
            pass
        since = self.env["stock.ledger.archive"]._get_open_from() or datetime.datetime.min
        for rollup in self._get_rollups():
            rollup._forget(since)
            ctes = rollup._query_fold(rollup._query_remaining(since))
            self.env.cr.execute(SQL("%s SELECT", self._query_with(ctes)))
        self._invalidate_rollups()

    @api.model
    def _forget(self, since):
        """Delete what the ledger tells from a moment on.

        :param datetime since: the beginning of a month, in UTC
        """
        raise NotImplementedError

    @api.model
    def _query_remaining(self, since):
        """Return the entries to add to this rollup after ``_forget``, as for a fold."""
        return SQL("(SELECT * FROM stock_ledger_entry WHERE effective_date >= %s) entry", since)
