from odoo import api, fields, models
from odoo.fields import Domain

from ..cause import StockKey
from ..fields import HistoricalMany2one
from .stock_ledger_reconciliation import KINDS

# What makes a drift the same one in the next run.
IDENTITY = (
    *("kind", "rollup", "figure", *StockKey._fields, "warehouse_id", "period_date"),
    *("event_type", "channel_id"),
)
WAYS = [
    ("ledger", "The ledger follows the quants"),
    ("quants", "The quants follow the ledger"),
    ("lines", "Reservations follow the move lines"),
    ("rollup", "Rollups are made again from the ledger"),
]


class StockLedgerDrift(models.Model):
    """Two figures that have to agree, and do not. Open for as long as runs find it."""

    _name = "stock.ledger.drift"
    _description = "Stock Drift"
    _inherit = ["stock.historical.mixin"]
    _order = "state desc, id desc"

    state = fields.Selection(
        [("open", "Open"), ("corrected", "Corrected"), ("gone", "Gone")],
        default="open",
        required=True,
        readonly=True,
        help="Gone: a later run has not found it again, and nobody has corrected it here.",
    )
    kind = fields.Selection(KINDS, required=True, readonly=True)
    identity = fields.Char(required=True, readonly=True)
    first_run_id = fields.Many2one(
        "stock.ledger.reconciliation",
        "Exists Since",
        required=True,
        readonly=True,
        ondelete="restrict",
        help="The first run that has found it",
    )
    run_id = fields.Many2one(
        "stock.ledger.reconciliation",
        "Last Seen",
        required=True,
        readonly=True,
        index=True,
        ondelete="restrict",
        help="The last run that has found it, whose figures these are",
    )

    # --- where
    product_id = HistoricalMany2one("product.product", readonly=True)
    location_id = HistoricalMany2one("stock.location", readonly=True)
    lot_id = HistoricalMany2one("stock.lot", string="Lot/Serial Number", readonly=True)
    package_id = HistoricalMany2one("stock.package", readonly=True)
    owner_id = HistoricalMany2one("res.partner", readonly=True)
    company_id = HistoricalMany2one("res.company", readonly=True)
    warehouse_id = HistoricalMany2one("stock.warehouse", readonly=True)
    channel_id = HistoricalMany2one("stock.event.channel", readonly=True)
    rollup = fields.Selection(
        lambda self: [
            (rollup._name, rollup._description)
            for rollup in self.env["stock.ledger.rollup"]._get_rollups()
        ],
        readonly=True,
    )
    figure = fields.Selection(
        [
            ("on_hand", "On hand"),
            ("reserved", "Reserved"),
            ("date", "Date of the last movement"),
            ("in", "In"),
            ("out", "Out"),
            ("entries", "Number of entries"),
            ("chain", "Next period"),
            ("entry", "Events without a ledger entry"),
            ("sequence", "Events missing between numbers"),
        ],
        readonly=True,
    )
    period_date = fields.Date("Period", readonly=True)
    event_type = fields.Selection(
        lambda self: self.env["stock.ledger.entry"]._get_event_types(), readonly=True
    )

    # --- each side's figure, to the digit
    ledger_quantity = fields.Float("Ledger", digits=0, readonly=True)
    quant_quantity = fields.Float("Quants", digits=0, readonly=True)
    line_quantity = fields.Float("Move Lines", digits=0, readonly=True)
    rollup_quantity = fields.Float("Rolled Up", digits=0, readonly=True)
    difference = fields.Float(
        digits=0,
        readonly=True,
        help="How much more the quants or the rollup have than the ledger or the move lines",
    )

    # --- what it may have come from, as it was when it was found
    cause = fields.Selection(
        [
            ("entry_missing", "An entry of a movement is missing"),
            ("entry_doubled", "An entry of a movement is there twice"),
            ("ledger", "The ledger was changed by SQL: the balances know better"),
            ("quant_deleted", "The quants were deleted by SQL"),
            ("code", "The quants were written by code that the ledger does not see"),
            ("sql", "The quants were changed by SQL"),
            ("orphan", "Reserved for nobody: the move line is gone"),
            ("lost", "A move line's reservation was taken off the quants"),
            ("rollup", "The rollup was changed by SQL, or entries went past its queue"),
            ("outbox", "The outbox or the ledger was changed by SQL"),
        ],
        "Likely Cause",
        readonly=True,
    )
    last_entry_id = HistoricalMany2one("stock.ledger.entry", readonly=True)
    suspect_move_id = HistoricalMany2one(
        "stock.move", readonly=True, help="The movement whose entries do not add up to zero"
    )
    quant_count = fields.Integer(
        "Rows of Quants", readonly=True, help="Rows of the stock key; several are merged in time"
    )
    quant_write_date = fields.Datetime("Quants Changed On", readonly=True)
    quant_write_uid = HistoricalMany2one("res.users", string="Quants Changed By", readonly=True)
    line_write_date = fields.Datetime("Move Lines Changed On", readonly=True)
    line_write_uid = HistoricalMany2one("res.users", string="Move Lines Changed By", readonly=True)

    # --- what it is now
    entry_ids = fields.Many2many(
        "stock.ledger.entry", string="Last Entries", compute="_compute_records"
    )
    quant_ids = fields.Many2many("stock.quant", string="Current Quants", compute="_compute_records")
    move_line_ids = fields.Many2many(
        "stock.move.line", string="Open Move Lines", compute="_compute_records"
    )

    # --- what was done about it
    way = fields.Selection(WAYS, "Correction", readonly=True)
    reason = fields.Char(readonly=True)
    corrected_date = fields.Datetime("Corrected On", readonly=True)
    corrected_uid = HistoricalMany2one("res.users", string="Corrected By", readonly=True)
    correction_entry_id = HistoricalMany2one("stock.ledger.entry", readonly=True)
    correction_move_id = HistoricalMany2one("stock.move", string="Adjustment", readonly=True)

    _open_uniq = models.UniqueIndex("(identity) WHERE state = 'open'")

    @api.depends("kind", "product_id")
    def _compute_display_name(self):
        for drift in self:
            drift.display_name = self.env._("Drift %s", drift.id)

    def _compute_records(self):
        lines, runs = self.env["stock.move.line"], self.env["stock.ledger.reconciliation"]
        for drift in self:
            domain = drift._get_key_domain()
            drift.entry_ids = self.env["stock.ledger.entry"].search(domain, limit=10)
            drift.quant_ids = self.env["stock.quant"].search(domain) if drift.location_id else False
            drift.move_line_ids = lines.search(
                runs._get_open_lines_domain([drift._get_key()])
                + [(name, "=", drift[name].id) for name in ("lot_id", "package_id", "owner_id")]
            )

    def _get_key(self):
        """Return the StockKey."""
        self.ensure_one()
        return StockKey(*(self[name].id or None for name in StockKey._fields))

    def _get_key_domain(self):
        """Return the domain of the drift's entries and quants."""
        self.ensure_one()
        if not self.location_id:
            return Domain("product_id", "=", self.product_id.id)
        key = self._get_key()._asdict()
        return Domain.AND([Domain(name, "=", value or False) for name, value in key.items()])

    # --- recording

    @api.model
    def _record(self, run, finding, scope):
        """Keep what a run has found, and close what it should have found again.

        :param run: the stock.ledger.reconciliation
        :param Finding finding: what it has found
        :param Scope scope: what it has compared
        """
        known = {drift.identity: drift for drift in self.search([("state", "=", "open")])}
        new, vals_by_identity = [], {}
        for vals in finding.drifts:
            vals = self._complete(vals)
            vals_by_identity[vals["identity"]] = vals
        self._explain(vals_by_identity.values())
        for identity, vals in vals_by_identity.items():
            if identity in known:
                known[identity].write({**vals, "run_id": run.id})
            else:
                new.append({**vals, "run_id": run.id, "first_run_id": run.id})
        self.create(new)._announce_found()
        missing = self.browse(
            drift.id for identity, drift in known.items() if identity not in vals_by_identity
        )
        gone = missing._filter_scope(scope)
        gone = gone.filtered(lambda drift: drift.kind in finding.proven_kinds)
        gone.state = "gone"
        gone._announce_cleared()

    @api.model
    def _complete(self, vals):
        if vals.get("location_id"):
            location = self.env["stock.location"].browse(vals["location_id"]).exists()
            vals["warehouse_id"] = location.warehouse_id.id
        vals["identity"] = " ".join(str(vals.get(name) or "-") for name in IDENTITY)
        return vals

    def _filter_scope(self, scope):
        """Return the drifts that a run over the scope compares.

        :param Scope scope: what is compared
        """

        def is_in(ids, record):
            return not ids or record.id in ids

        return self.filtered(
            lambda drift: (
                is_in(scope.product_ids, drift.product_id)
                and is_in(scope.warehouse_ids, drift.warehouse_id)
                and (not drift.company_id or is_in(scope.company_ids, drift.company_id))
            )
        )

    # --- correcting

    def action_correct(self):
        """Open the wizard that corrects these drifts.

        :return: a window action
        """
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "stock_event_ledger.stock_ledger_correction_action"
        )
        return {**action, "context": {"default_drift_ids": self.ids}}

    def action_view_entries(self):
        """Open the ledger entries of the drift's stock.

        :return: a window action
        """
        return self.env["stock.ledger.entry"]._prepare_entries_action(self._get_key_domain())
