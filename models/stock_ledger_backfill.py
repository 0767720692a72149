import logging
import time
from datetime import timedelta

from psycopg2 import OperationalError

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError
from odoo.tools import SQL
from odoo.tools.misc import split_every

from .stock_ledger_rollup import FOLD_BATCH

_logger = logging.getLogger(__name__)

# Done move lines that one transaction enters.
BATCH = 20_000
# How long to wait for another session to fold what was entered.
FOLD_WAIT_SECONDS = 0.2


class StockLedgerBackfill(models.Model):
    """Enters the done move lines from before the ledger as its history.

    There is one, for the whole database. A scheduled action does it product by product,
    in short transactions that lock nothing that others use: a product that was done has
    its history, and any batch may be interrupted, or done again, without harm.
    """

    _name = "stock.ledger.backfill"
    _description = "History of the Stock Ledger"

    name = fields.Char(required=True, readonly=True, translate=True)
    state = fields.Selection(
        [
            ("draft", "Not Started"),
            ("running", "Running"),
            ("paused", "Paused"),
            ("failed", "Failed"),
            ("done", "Done"),
        ],
        required=True,
        readonly=True,
        default="draft",
    )
    user_id = fields.Many2one("res.users", "Started By", readonly=True)
    started_date = fields.Datetime("Started", readonly=True)
    ended_date = fields.Datetime("Ended", readonly=True)
    opening_date = fields.Datetime(
        "Ledger Began", readonly=True, help="Movements until then are history."
    )
    opening_entry_id = fields.Integer(readonly=True, help="The last entry of that moment")
    history_date = fields.Datetime(
        "History Begins",
        readonly=True,
        help="Right before the first movement. What history cannot explain was there then.",
    )
    line_count = fields.Integer("Move Lines", readonly=True, help="Done before the ledger began")
    done_count = fields.Integer("Move Lines Read", readonly=True)
    last_line_id = fields.Integer(readonly=True, help="The newest move line when it was started")
    cursor_product_id = fields.Integer(readonly=True, help="Product of the last line read")
    cursor_line_id = fields.Integer(readonly=True, help="The last line read")
    work_seconds = fields.Float(readonly=True)
    message = fields.Text(readonly=True)
    progress = fields.Float("Progress (%)", compute="_compute_progress")
    rate = fields.Integer("Move Lines per Second", compute="_compute_progress")
    remaining_minutes = fields.Float("Minutes Left", compute="_compute_progress", digits=(16, 1))
    unexplained_count = fields.Integer(
        "Unexplained",
        compute="_compute_unexplained_count",
        help="Stock keys of whose opening history leaves something",
    )

    @api.depends("state", "line_count", "done_count", "work_seconds")
    def _compute_progress(self):
        for backfill in self:
            done, total = backfill.done_count, backfill.line_count
            is_done = backfill.state == "done"
            rate = done / backfill.work_seconds if backfill.work_seconds else 0
            backfill.progress = 100 if is_done else 100 * done / total if total else 0
            backfill.rate = rate
            backfill.remaining_minutes = (total - done) / rate / 60 if rate and not is_done else 0

    @api.depends("state")
    def _compute_unexplained_count(self):
        report = self.env["stock.ledger.report.opening"]
        for backfill in self:
            backfill.unexplained_count = backfill.state == "done" and report.search_count([])

    # --- what a manager does

    def action_start(self):
        """Begin to enter history, or look once more for what was not entered yet.

        :raises AccessError: unless the user manages the inventory of all companies
        :raises UserError: when it has begun and not ended, or the ledger has archives
        """
        self._change_state(
            ("draft", "done"),
            "running",
            user_id=self.env.uid,
            started_date=fields.Datetime.now(),
            ended_date=False,
            history_date=False,
            done_count=0,
            work_seconds=0,
            cursor_product_id=0,
            cursor_line_id=0,
            message=False,
        )

    def action_pause(self):
        """Stop after the batch that is under way, if that is about to end, or undo it.

        :raises AccessError: unless the user manages the inventory of all companies
        :raises UserError: when it is not running
        """
        self._change_state(("running",), "paused")

    def action_resume(self):
        """Go on where it stopped.

        :raises AccessError: unless the user manages the inventory of all companies
        :raises UserError: when it is not paused and has not failed, or the ledger has archives
        """
        self._change_state(("paused", "failed"), "running", message=False)

    def _change_state(self, from_states, state, **vals):
        self.ensure_one()
        self._check_may_run()
        if state == "running" and self.env["stock.ledger.archive"]._get_open_from():
            raise UserError(
                self.env._(
                    "Months of the ledger are archived, and with them what it began with: "
                    "history cannot be entered any more."
                )
            )
        if self.state not in from_states:
            raise UserError(self.env._("That is not possible any more. Reload the page."))
        # sudo: nobody writes the progress by hand; whether the user may was checked.
        self.sudo().write({"state": state, **vals})
        if state == "running":
            self.env.ref("stock_event_ledger.cron_backfill").sudo()._trigger()

    def _check_may_run(self):
        """Refuse those who do not manage the inventory of all companies.

        The ledger has one opening and one history, of all companies together.
        """
        # sudo: a user who may not see all companies must not pass for one who may.
        others = (
            self.env["res.company"]
            .sudo()
            .search_count([("id", "not in", self.env.user.company_ids.ids)])
        )
        if others or not self.env.user.has_group("stock.group_stock_manager"):
            raise AccessError(
                self.env._(
                    "History is entered for all companies at once: an inventory manager "
                    "with access to all of them has to do it."
                )
            )

    @api.model
    def _check_not_under_way(self):
        """Refuse to archive what history is still compared with.

        :raises UserError: when it has begun and not ended
        """
        # sudo: whether it is under way is no secret to those who archive.
        if self.sudo().search_count([("state", "not in", ("draft", "done"))]):
            raise UserError(
                self.env._(
                    "History is being entered: nothing can be archived until that has ended."
                )
            )

    def action_view_unexplained(self):
        """Open what history does not explain.

        :return: a window action
        """
        return self.env["ir.actions.act_window"]._for_xml_id(
            "stock_event_ledger.action_stock_ledger_report_opening"
        )

    # --- what the scheduled action does

    @api.model
    def _cron_backfill(self):
        """Enter history batch by batch, as long as it is wanted."""
        cron = self.env["ir.cron"]
        while backfill := self.search([("state", "=", "running")], limit=1):
            processed = backfill._work()
            remaining = 0
            if backfill.state == "running":
                remaining = max(backfill.line_count - backfill.done_count, 1)
            if not cron._commit_progress(processed, remaining=remaining):
                break

    def _work(self, limit=BATCH):
        """Do one step, in the transaction of the caller, who commits.

        :param int limit: how many move lines at most
        :return: how many were read
        """
        started = time.monotonic()
        # To compile these statements takes longer than to execute them.
        self.env.cr.execute(SQL("SET LOCAL jit = off"))
        try:
            with self.env.cr.savepoint():
                processed = self._do_step(limit)
                self.done_count += processed
                self.work_seconds += time.monotonic() - started
        except OperationalError as error:
            # Somebody has paused it, or folded: the next transaction sees that.
            _logger.info("A batch of history is done again: %s", error)
            return 0
        except Exception as error:
            _logger.exception("Entering history failed")
            self.write({"state": "failed", "message": str(error)})
            return 0
        return processed

    def _do_step(self, limit):
        if not self.history_date:
            self._prepare()
            return 0
        if self._has_much_to_fold():
            # Or else the queue would grow with all of history.
            if not self.env["stock.ledger.rollup"]._fold():
                time.sleep(FOLD_WAIT_SECONDS)
            return 0
        [(count, product_id, line_id)] = self.env.execute_query(self._query_next_batch(limit))
        if not count:
            self._finish()
            return 0
        self.env["stock.ledger.entry"]._append_history(
            self._query_batch(product_id, line_id), self.history_date, self.user_id.id
        )
        self.write({"cursor_product_id": product_id, "cursor_line_id": line_id})
        return count

    def _has_much_to_fold(self):
        [[count]] = self.env.execute_query(
            SQL(
                "SELECT COUNT(*) FROM (SELECT FROM stock_ledger_delta LIMIT %s) AS delta",
                FOLD_BATCH,
            )
        )
        return count == FOLD_BATCH

    def _prepare(self):
        """Find out what history there is, and have the opening be effective before it."""
        [[opening_date, entry_id, last_line_id]] = self.env.execute_query(self._query_opening())
        self.write(
            {
                "opening_date": opening_date,
                # What was entered since is no longer what it began with.
                "opening_entry_id": self.opening_entry_id or entry_id,
                "last_line_id": last_line_id,
            }
        )
        [[line_count, first_date]] = self.env.execute_query(
            SQL(
                """SELECT COUNT(*), MIN(move.date)
                     FROM (%s) AS line JOIN stock_move move ON move.id = line.move_id""",
                self._query_lines(),
            )
        )
        history_date = min(first_date or opening_date, opening_date) - timedelta(seconds=1)
        self.write({"line_count": line_count, "history_date": history_date})
        self.env["stock.ledger.entry"]._date_opening(self.history_date, self.user_id.id)

    def _finish(self):
        """Follow the moves that got another date while their history was being entered.

        Whoever changed it did not see the history, nor did that see the change.
        """
        moves = self.env["stock.move"].search(
            [("state", "=", "done"), ("write_date", ">=", self.started_date)]
        )
        for batch in split_every(1000, moves.ids, moves.browse):
            self.env["stock.ledger.entry"]._change_effective_date(batch)
        self.write({"state": "done", "ended_date": fields.Datetime.now()})

    # --- move lines

    @api.model
    def _query_opening(self):
        """Return the query of when the ledger began, its last entry of then, and the last
        move line of now."""
        return SQL(
            """
            SELECT COALESCE(MIN(recorded_date), now() AT TIME ZONE 'UTC'), MAX(id),
                   (SELECT MAX(id) FROM stock_move_line)
              FROM stock_ledger_entry
             WHERE event_type = 'OPENING'
            """
        )

    def _query_lines(self):
        """Return the query of the lines that were done before the ledger began.

        Odoo dates a line when it is done. One that was dated back since is found to have
        been recorded.
        """
        return SQL(
            """
            SELECT line.*
              FROM stock_move_line line
              JOIN product_product product ON product.id = line.product_id
              JOIN product_template template ON template.id = product.product_tmpl_id
             WHERE line.state = 'done' AND template.is_storable
               AND line.id <= %s AND line.date <= %s
            """,
            self.last_line_id,
            self.opening_date,
        )

    def _query_next(self):
        """Return the query of the lines that were not read yet."""
        return SQL(
            "%s AND (line.product_id, line.id) > (%s, %s)",
            self._query_lines(),
            self.cursor_product_id,
            self.cursor_line_id,
        )

    def _query_next_batch(self, limit):
        """Return the query of how many lines are next, and of the last of them."""
        return SQL(
            """
            SELECT COUNT(*), MAX(product_id), (ARRAY_AGG(id ORDER BY product_id DESC, id DESC))[1]
              FROM (SELECT product_id, id FROM (%s) AS next
                     ORDER BY product_id, id LIMIT %s) AS batch
            """,
            self._query_next(),
            limit,
        )

    def _query_batch(self, product_id, line_id):
        """Return the query of the next lines up to one."""
        return SQL(
            "%s AND (line.product_id, line.id) <= (%s, %s)",
            self._query_next(),
            product_id,
            line_id,
        )
