import datetime

from odoo import api, models
from odoo.tools import SQL

from ..fields import to_array

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

        What they change for low stock thresholds is decided first.

        :param int limit: how many deltas at most; those aside that belong to their
            transactions, where there are thresholds
        :return: how many were folded; 0 also when another session is folding
        """
        thresholds = self.env["stock.ledger.threshold"]
        thresholds.flush_model()
        [[locked, has_thresholds]] = self.env.execute_query(self._query_try_lock())
        if not locked:
            return 0
        self._disable_jit()
        batch = thresholds._decide(limit) if has_thresholds else self._query_batch(limit)
        return self._fold_batch(batch) if batch else 0

    @api.model
    def _query_try_lock(self):
        return SQL(
            """SELECT pg_try_advisory_xact_lock(%s),
                      EXISTS (SELECT FROM stock_ledger_threshold WHERE active)""",
            self._query_lock_key(),
        )

    @api.model
    def _disable_jit(self):
        """Compiling queries of so many parts takes longer than to run them."""
        self.env.cr.execute(SQL("SET LOCAL jit = off"))

    @api.model
    def _query_batch(self, limit, more_ids=()):
        """Return the query of the ids of the oldest deltas.

        :param int limit: how many at most
        :param more_ids: others to fold with them
        """
        oldest = SQL("SELECT id FROM stock_ledger_delta ORDER BY id LIMIT %s", limit)
        if not more_ids:
            return oldest
        return SQL("(%s) UNION ALL SELECT UNNEST(%s::int[])", oldest, to_array(more_ids))

    @api.model
    def _fold_batch(self, batch):
        """Fold some deltas, under the lock.

        :param SQL batch: the query of their ids
        :return: how many there were
        """
        [[folded]] = self.env.execute_query(self._query_fold_deltas(batch))
        self._invalidate_rollups()
        return folded

    @api.model
    def _query_lock_key(self):
        return SQL("hashtext(%s), hashtext(%s)", "stock_event_ledger.fold", "stock_ledger_balance")

    @api.model
    def _query_fold_deltas(self, batch):
        gone = SQL("DELETE FROM stock_ledger_delta WHERE id IN (%s) RETURNING *", batch)
        ctes = [("gone", gone)]
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
        # Thresholds are left alone until there are figures to decide by.
        self._disable_jit()
        while self._fold_batch(self._query_batch(FOLD_BATCH)):
            pass
        since = self.env["stock.ledger.archive"]._get_open_from() or datetime.datetime.min
        for rollup in self._get_rollups():
            rollup._forget(since)
            ctes = rollup._query_fold(rollup._query_remaining(since))
            self.env.cr.execute(SQL("%s SELECT", self._query_with(ctes)))
        self._invalidate_rollups()
        self.env["stock.ledger.threshold"]._reconsider()

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
