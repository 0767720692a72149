import datetime
import gzip
import hashlib
import io
import logging

import psycopg2
from dateutil.relativedelta import relativedelta

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from ..fields import HistoricalMany2one

_logger = logging.getLogger(__name__)

# The current month and the one before stay as they are: that is where corrections go.
MIN_AGE_MONTHS = 2
# Whoever has it runs this module's code: it cannot come by RPC or from a server action.
ARCHIVING = object()


def get_month(date):
    """Return the first day of a date's month."""
    return datetime.date(date.year, date.month, 1)


class StockLedgerArchive(models.Model):
    """A month of the ledger that is, or will be, a file and opening entries.

    It covers all entries that are effective in its month or earlier. One transaction
    writes them to the file, deletes them, and gives each stock key that has something
    left an OPENING entry, so that the ledger goes on adding up to the stock. The rollups
    hold what was archived and stay as they are.
    """

    _name = "stock.ledger.archive"
    _inherit = ["stock.historical.mixin", "stock.append.only.mixin"]
    _description = "Stock Ledger Archive"
    _order = "month desc"
    _rec_name = "month"
    _log_access = False
    _refusal = "An archive of the stock ledger that is done stays"
    _refusal_hint = "It holds entries that the ledger has no more."

    month = fields.Date(required=True, readonly=True, help="First day of the month, in UTC")
    state = fields.Selection(
        [
            ("queued", "Queued"),
            ("writing", "Being Written"),
            ("done", "Done"),
            ("failed", "Failed"),
        ],
        required=True,
        readonly=True,
        default="queued",
    )
    user_id = HistoricalMany2one("res.users", string="Requested By", required=True, readonly=True)
    requested_date = fields.Datetime(
        "Requested", required=True, readonly=True, default=fields.Datetime.now
    )
    done_date = fields.Datetime("Archived", readonly=True)
    last_entry_id = fields.Integer(readonly=True, help="The highest id that may be in the file")
    entry_count = fields.Integer(
        "Entries", readonly=True, help="Entries that are in the file, and in the ledger no more"
    )
    opening_count = fields.Integer(
        "Opening Entries", readonly=True, help="Entries that took their place, one per stock key"
    )
    attachment_id = fields.Many2one(
        "ir.attachment", string="File", readonly=True, ondelete="restrict"
    )
    checksum = fields.Char("SHA-256", readonly=True, help="Of the file, as sha256sum prints it")
    company_ids = fields.Many2many(
        "res.company", readonly=True, help="Companies whose entries are in the file"
    )
    size_before = fields.Float(
        "Ledger Before (MB)",
        digits=(16, 1),
        readonly=True,
        help="What the ledger's entries needed with their indexes, estimated",
    )
    size_after = fields.Float(
        "Ledger After (MB)",
        digits=(16, 1),
        readonly=True,
        help="What those that remain need, estimated. PostgreSQL keeps the difference and fills "
        "it with new entries. It returns it to the system only when a database "
        "administrator runs VACUUM FULL on stock_ledger_entry, which locks the ledger meanwhile.",
    )
    error = fields.Char(readonly=True)

    _month_uniq = models.UniqueIndex("(month)")
    _accounted = models.Constraint(
        """CHECK (state <> 'done' OR (attachment_id IS NOT NULL AND checksum IS NOT NULL
                  AND entry_count IS NOT NULL AND last_entry_id IS NOT NULL))""",
        "An archive that is done has its file.",
    )

    def init(self):
        """Make the triggers: what is done stays, and being written ends with the transaction.

        The ledger lets the entries of an archive go while it is being written. No other
        session ever sees that state.
        """
        self.env.cr.execute(self._query_finished_trigger())
        return super().init()

    @api.model
    def _query_changeable(self):
        return SQL("OLD.state <> 'done'")

    @api.model
    def _query_finished_trigger(self):
        return SQL(
            """
            CREATE OR REPLACE FUNCTION stock_ledger_archive_refuse_unfinished()
            RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF EXISTS (SELECT FROM stock_ledger_archive
                            WHERE id = NEW.id AND state = 'writing') THEN
                    RAISE EXCEPTION USING
                        MESSAGE = 'An archive of the stock ledger is not finished.',
                        ERRCODE = 'restrict_violation';
                END IF;
                RETURN NULL;
            END $$;
            DROP TRIGGER IF EXISTS stock_ledger_archive_finished ON stock_ledger_archive;
            CREATE CONSTRAINT TRIGGER stock_ledger_archive_finished
                AFTER INSERT OR UPDATE ON stock_ledger_archive
                DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW WHEN (NEW.state = 'writing')
                EXECUTE FUNCTION stock_ledger_archive_refuse_unfinished();
            ALTER TABLE stock_ledger_archive
                ENABLE ALWAYS TRIGGER stock_ledger_archive_finished
            """
        )

    @api.depends("month")
    def _compute_display_name(self):
        for archive in self:
            archive.display_name = self.env._("Archive %s", f"{archive.month:%Y-%m}")

    @api.model_create_multi
    def create(self, vals_list):
        self._check_archiving()
        return super().create(vals_list)

    def write(self, vals):
        self._check_archiving()
        return super().write(vals)

    @api.ondelete(at_uninstall=False)
    def _unlink_archiving(self):
        self._check_archiving()

    def _check_archiving(self):
        if self.env.context.get("stock_event_ledger_archiving") is not ARCHIVING:
            raise UserError(
                self.env._("The ledger is archived with the wizard, and its archives stay.")
            )

    def _as_archiving(self):
        # sudo: nobody has the right to write archives. What comes here was requested by
        # a manager in the wizard, or is a request that a manager takes back or repeats.
        return self.sudo().with_context(stock_event_ledger_archiving=ARCHIVING)

    # --- what is archived

    @api.model
    def _get_open_from(self):
        """Return the beginning of the first month that is not archived, in UTC, or None."""
        [[month]] = self.env.execute_query(
            SQL("SELECT MAX(month) FROM stock_ledger_archive WHERE state = 'done'")
        )
        return month and datetime.datetime(month.year, month.month, 1) + relativedelta(months=1)

    @api.model
    def _is_archived(self, at):
        """Tell whether the ledger cannot tell any more what there was at a moment.

        The ends of archived months are in the closing balances.

        :param datetime at: in UTC; what is effective at that very moment counts
        """
        open_from = self._get_open_from()
        if not open_from or at >= open_from:
            return False
        following = at.replace(microsecond=0) + datetime.timedelta(seconds=1)
        return following != datetime.datetime(following.year, following.month, 1)

    @api.model
    def _check_servable(self, at):
        """Refuse a moment inside an archived month.

        :param datetime at: in UTC
        :raises UserError: when it is in an archived month, and not the end of one
        """
        if self._is_archived(at):
            raise UserError(
                self.env._(
                    "The ledger is archived up to the end of a later month: stock can be told "
                    "for any moment from %(first)s (UTC) on, and before that for the last "
                    "second of each month.",
                    first=self._get_open_from(),
                )
            )

    @api.model
    def _check_movable(self, date_from):
        """Refuse to change the effective date of movements whose entries are archived.

        :param datetime date_from: the earliest of their dates, in UTC
        :raises UserError: when it is archived
        """
        open_from = self._get_open_from()
        if open_from and date_from < open_from:
            raise UserError(
                self.env._(
                    "The ledger is archived until %(first)s (UTC): the date of movements before "
                    "that cannot be changed any more.",
                    first=open_from,
                )
            )

    # --- requests

    def action_download(self):
        """Download the file.

        :return: an action that opens its address
        """
        self.ensure_one()
        return {
            "type": "ir.actions.act_url",
            "url": f"/web/content/{self.attachment_id.id}?download=true",
            "target": "download",
        }

    def action_retry(self):
        """Queue again what failed.

        :raises AccessError: unless the user manages stock
        """
        self._check_may_archive()
        self.filtered(lambda archive: archive.state == "failed")._as_archiving().write(
            {"state": "queued", "error": False}
        )
        self._trigger()

    def action_cancel(self):
        """Take back what is not archived yet.

        :raises AccessError: unless the user manages stock
        """
        self._check_may_archive()
        self.filtered(lambda archive: archive.state != "done")._as_archiving().unlink()

    @api.model
    def _check_may_archive(self):
        self.env["stock.ledger.archive.wizard"].check_access("create")

    @api.model
    def _trigger(self):
        # sudo: it only starts earlier what would start anyway.
        self.env.ref("stock_event_ledger.cron_archive").sudo()._trigger()

    # --- archiving

    @api.model
    def _cron_archive(self):
        """Archive what was requested, one month after the other, each in a transaction."""
        cron = self.env["ir.cron"]
        pending = [("state", "in", ("queued", "failed"))]
        while archive := self.search(pending, order="month", limit=1):
            if archive.state == "failed":
                # The months after it have to wait until somebody decides.
                break
            archive._try_archive()
            if not cron._commit_progress(1, remaining=self.search_count(pending)):
                break

    def _try_archive(self):
        """Archive one month, or else note why not."""
        self.ensure_one()
        try:
            with self.env.cr.savepoint():
                self._as_archiving()._archive()
        except psycopg2.OperationalError:
            # A lost server or a conflict: next time.
            raise
        except Exception as error:
            _logger.exception("%s failed", self.display_name)
            self._as_archiving().write({"state": "failed", "error": str(error)})

    def _archive(self):
        """Write the file, replace the entries by opening entries, and put it on record.

        Whatever others commit meanwhile is not in this transaction's snapshot: it stays
        in the ledger, and goes into the next archive.
        """
        self.env["stock.ledger.backfill"]._check_not_under_way()
        self._check_events_sent()
        total_count, megabytes, last_entry_id, company_ids = self._get_extent()
        self.write({"state": "writing", "last_entry_id": last_entry_id})
        self.flush_recordset()
        dumped_count, content = self._dump()
        entry_count, opening_count = self._replace_entries()
        if dumped_count != entry_count:
            raise UserError(self.env._("The file and the ledger differ in their entries."))
        attachment = self.env["ir.attachment"].create(
            {
                "name": f"stock_ledger_{self.month:%Y-%m}.csv.gz",
                "raw": content,
                "mimetype": "application/gzip",
                "res_model": self._name,
                "res_id": self.id,
            }
        )
        self.write(
            {
                "state": "done",
                "done_date": fields.Datetime.now(),
                "entry_count": entry_count,
                "opening_count": opening_count,
                "attachment_id": attachment.id,
                "checksum": hashlib.sha256(content).hexdigest(),
                "company_ids": company_ids,
                "size_before": total_count * megabytes,
                "size_after": (total_count - entry_count + opening_count) * megabytes,
            }
        )
        self.flush_recordset()

    def _get_end(self):
        """Return the end of the month, in UTC: what is effective before that is archived."""
        return datetime.datetime(self.month.year, self.month.month, 1) + relativedelta(months=1)

    def _check_events_sent(self):
        [[is_awaited]] = self.env.execute_query(self._query_is_awaited(self._get_end()))
        if is_awaited:
            raise UserError(
                self.env._(
                    "Events of movements in or before %s are still to be sent. Wait for them, or "
                    "skip what is blocked.",
                    f"{self.month:%Y-%m}",
                )
            )

    @api.model
    def _query_is_awaited(self, end):
        """Return the query of whether a channel still has to send events from before."""
        return SQL(
            """SELECT EXISTS (
                   SELECT FROM stock_event_outbox o JOIN stock_ledger_entry e ON e.id = o.entry_id
                    WHERE o.state <> 'confirmed' AND e.effective_date < %s)""",
            end,
        )

    def _get_extent(self):
        """Return how many entries there are and what one needs (MB), the highest id of those
        that go and the ids of their companies."""
        [extent] = self.env.execute_query(
            SQL(
                """
                SELECT COUNT(*),
                       -- Indexes need in proportion to what the table does.
                       COALESCE(AVG(pg_column_size(entry.*)) FILTER (WHERE is_old), 0) / 1e6
                       * pg_total_relation_size('stock_ledger_entry')
                       / GREATEST(pg_relation_size('stock_ledger_entry'), 1),
                       COALESCE(MAX(id) FILTER (WHERE is_old), 0),
                       ARRAY(SELECT id FROM res_company WHERE id = ANY(
                           ARRAY_AGG(DISTINCT COALESCE(company_id, operating_company_id))
                               FILTER (WHERE is_old)))
                  FROM stock_ledger_entry entry,
                       LATERAL (SELECT effective_date < %s AS is_old) AS age
                """,
                self._get_end(),
            )
        )
        return extent

    def _query_entries(self):
        return SQL(
            "stock_ledger_entry WHERE effective_date < %s AND id <= %s",
            self._get_end(),
            self.last_entry_id,
        )

    def _dump(self):
        """Return how many entries there are, and their gzipped CSV in the order of ids."""
        content = io.BytesIO()
        # Without the time, so that the same entries make the same file.
        with gzip.GzipFile("", "wb", fileobj=content, mtime=0) as file:
            query = SQL(
                "COPY (SELECT * FROM %s ORDER BY id) TO STDOUT WITH (FORMAT csv, HEADER)",
                self._query_entries(),
            )
            self.env.cr.copy_expert(self.env.cr.mogrify(query).decode(), file)
        return self.env.cr.rowcount, content.getvalue()

    def _replace_entries(self):
        """Replace the entries by opening entries, which the rollups hold already.

        :return: how many entries, and how many opening entries
        """
        [(entry_count, opening_ids)] = self.env.execute_query(self._query_replace())
        self.env.cr.execute(SQL("DELETE FROM stock_ledger_delta WHERE id = ANY(%s)", opening_ids))
        # Events that were sent, or sent again, and have nothing left to tell; and causes.
        for table in ("stock_event_outbox", "stock_ledger_entry_cause"):
            self.env.cr.execute(self._query_forget(table))
        models_changed = (
            *("stock.ledger.entry", "stock.ledger.delta"),
            *("stock.event.outbox", "stock.ledger.entry.cause"),
        )
        for model in models_changed:
            self.env[model].invalidate_model(flush=False)
        return entry_count, len(opening_ids)

    def _query_forget(self, table):
        """Return the deletion of the rows about entries that are no longer there."""
        return SQL(
            """DELETE FROM %s o
                WHERE entry_id <= %s
                  AND NOT EXISTS (SELECT FROM stock_ledger_entry e WHERE e.id = o.entry_id)""",
            SQL.identifier(table),
            self.last_entry_id,
        )

    def _query_replace(self):
        return SQL(
            """
            WITH gone AS (DELETE FROM %(entries)s RETURNING *),
            opening AS (
                INSERT INTO stock_ledger_entry (
                    product_id, location_id, lot_id, package_id, owner_id, company_id,
                    operating_company_id, warehouse_id, event_type, quantity,
                    reserved_quantity, effective_date, recorded_date, reference, user_id)
                SELECT gone.product_id, gone.location_id, gone.lot_id, gone.package_id,
                       gone.owner_id, gone.company_id, gone.company_id, location.warehouse_id,
                       'OPENING', SUM(gone.quantity), SUM(gone.reserved_quantity),
                       %(end)s - interval '1 second', clock_timestamp() AT TIME ZONE 'UTC',
                       %(reference)s, %(user_id)s
                  FROM gone LEFT JOIN stock_location location ON location.id = gone.location_id
                 GROUP BY 1, 2, 3, 4, 5, 6, location.warehouse_id
                HAVING SUM(gone.quantity) <> 0 OR SUM(gone.reserved_quantity) <> 0
             RETURNING id)
            SELECT (SELECT COUNT(*) FROM gone), ARRAY(SELECT id FROM opening)
            """,
            entries=self._query_entries(),
            end=self._get_end(),
            reference=self.display_name,
            user_id=self.user_id.id,
        )
