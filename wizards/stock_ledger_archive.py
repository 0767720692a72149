import datetime

from dateutil.relativedelta import relativedelta

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from ..models.stock_ledger_archive import MIN_AGE_MONTHS, get_month


class StockLedgerArchiveWizard(models.TransientModel):
    """Queues the months of the ledger up to the end of one to be archived."""

    _name = "stock.ledger.archive.wizard"
    _description = "Archive the Ledger"

    month = fields.Date(
        "Up to the End of",
        required=True,
        default=lambda self: self._get_last_month(),
        help="Any day of the last month to archive. Months are those of UTC.",
    )
    last_day = fields.Date(compute="_compute_counts")
    entry_count = fields.Integer("Entries", compute="_compute_counts")
    key_count = fields.Integer(
        "Stock Keys",
        compute="_compute_counts",
        help="Combinations of product, location, lot, package and owner with such entries",
    )
    month_count = fields.Integer("Months", compute="_compute_counts")

    @api.model
    def _get_last_month(self):
        """Return the last month that may be archived, by its first day."""
        return get_month(fields.Date.today()) - relativedelta(months=MIN_AGE_MONTHS)

    @api.depends("month")
    def _compute_counts(self):
        for wizard in self:
            end = wizard._get_end()
            wizard.last_day = end and end - datetime.timedelta(days=1)
            wizard.month_count = end and len(wizard._get_months(end))
            counts = (0, 0)
            if wizard.month_count:
                [counts] = self.env.execute_query(wizard._query_counts(end))
            wizard.entry_count, wizard.key_count = counts

    def _get_end(self):
        return self.month and get_month(self.month) + relativedelta(months=1)

    def _query_counts(self, end):
        return SQL(
            """SELECT COALESCE(SUM(entry_count), 0)::bigint, COUNT(*)
                 FROM (SELECT COUNT(*) AS entry_count FROM stock_ledger_entry
                        WHERE effective_date < %s
                        GROUP BY product_id, location_id, lot_id, package_id, owner_id,
                                 company_id) AS keys""",
            end,
        )

    def _get_months(self, end):
        """Return the months with entries that are not archived yet, oldest first."""
        rows = self.env.execute_query(
            SQL(
                """SELECT DISTINCT date_trunc('month', effective_date)::date
                     FROM stock_ledger_entry
                    WHERE effective_date < %s AND effective_date >= %s
                    ORDER BY 1""",
                end,
                self.env["stock.ledger.archive"]._get_open_from() or datetime.datetime.min,
            )
        )
        return [month for [month] in rows]

    def action_archive(self):
        """Queue one archive per month that has entries, from the oldest to the chosen one.

        :return: the action of the archives
        :raises UserError: when the month is too recent, nothing is left to archive, history
            is being entered, or an event of the entries is still to be sent
        """
        self.ensure_one()
        archive = self.env["stock.ledger.archive"]
        months = self._get_months(self._get_end())
        self._check(months)
        # sudo: the queue of all, also of those that this manager may not read.
        queued = archive.sudo().search([("month", "in", months)]).mapped("month")
        archive._as_archiving().create(
            [{"month": month, "user_id": self.env.uid} for month in months if month not in queued]
        )
        archive._trigger()
        return self.env["ir.actions.act_window"]._for_xml_id(
            "stock_event_ledger.action_stock_ledger_archive"
        )

    def _check(self, months):
        last_month = self._get_last_month()
        if get_month(self.month) > last_month:
            raise UserError(
                self.env._(
                    "The current month and the one before stay in the ledger: archive up to the "
                    "end of %s at most.",
                    f"{last_month:%Y-%m}",
                )
            )
        if not months:
            raise UserError(
                self.env._("There is nothing to archive: the ledger has no entries up to then.")
            )
        self.env["stock.ledger.backfill"]._check_not_under_way()
        query = self.env["stock.ledger.archive"]._query_is_awaited(self._get_end())
        [[is_awaited]] = self.env.execute_query(query)
        if is_awaited:
            raise UserError(
                self.env._(
                    "Events of these movements are still to be sent. Wait for them, or skip what "
                    "is blocked."
                )
            )
