import logging
import time
from collections import Counter
from typing import NamedTuple

import psycopg2

from odoo import api, fields, models
from odoo.exceptions import ConcurrencyError, UserError
from odoo.tools import SQL, format_datetime

_logger = logging.getLogger(__name__)

KINDS = [
    ("on_hand", "On hand: ledger and quants"),
    ("reserved", "Reserved: ledger and quants"),
    ("reservation", "Reserved: quants and move lines"),
    ("rollup", "Rollup and ledger"),
    ("unbalanced", "Movements that do not add up to zero"),
    ("event", "Events and their numbers"),
]
DEFAULT_KEEP_DAYS = 90


class Scope(NamedTuple):
    """What is compared; nothing named: all of it. Shared locations are in every company."""

    company_ids: tuple = ()
    product_ids: tuple = ()
    warehouse_ids: tuple = ()


EVERYTHING = Scope()


class Finding:
    """What one reconciliation has found."""

    def __init__(self):
        self.key_count = 0
        self.entry_count = 0
        # The values of stock.ledger.drift, and how many there are, some of which may be
        # too many to be kept one by one.
        self.drifts = []
        self.counts = Counter()
        # The kinds that were compared entirely: what was not found again is gone.
        self.proven_kinds = set()

    def add(self, drifts, count=None):
        """Add drifts of one kind.

        :param list drifts: dictionaries of the values of stock.ledger.drift
        :param int count: how many there are, if more than these
        """
        for vals in drifts:
            self.counts[vals["kind"]] += 1
        if drifts and count and count > len(drifts):
            self.counts[drifts[0]["kind"]] += count - len(drifts)
            self.proven_kinds.discard(drifts[0]["kind"])
        self.drifts += drifts


class StockLedgerReconciliation(models.Model):
    """One comparison of the ledger with the quants, the move lines, the rollups and the outbox.

    All of it in one transaction, whose snapshot shows each movement whole or not at all:
    a difference is a fact, and not a movement that was under way.
    """

    _name = "stock.ledger.reconciliation"
    _description = "Stock Reconciliation"
    _inherit = ["mail.thread", "mail.activity.mixin"]
    _order = "id desc"

    started_date = fields.Datetime("Started", required=True, readonly=True)
    duration_seconds = fields.Float("Duration (s)", readonly=True, aggregator="avg")
    is_full = fields.Boolean(
        "Full",
        readonly=True,
        help="The ledger itself was added up. Otherwise its balances were compared with the "
        "quants, and the ledger where they differ.",
    )
    scope = fields.Char(readonly=True, help="What was compared; empty: everything")
    company_ids = fields.Many2many(
        "res.company", readonly=True, help="Of these companies only; none: of all of them"
    )
    user_id = fields.Many2one("res.users", "Run By", required=True, readonly=True)
    state = fields.Selection(
        [("clean", "Clean"), ("drift", "Drift"), ("failed", "Failed")],
        required=True,
        readonly=True,
    )
    error = fields.Char(readonly=True)
    key_count = fields.Integer("Stock Keys", readonly=True, aggregator="max")
    entry_count = fields.Integer("Ledger Entries", readonly=True, aggregator="max")
    drift_count = fields.Integer("Drifts", readonly=True, aggregator="max")
    on_hand_count = fields.Integer("On Hand", readonly=True, aggregator="max")
    reserved_count = fields.Integer("Reserved", readonly=True, aggregator="max")
    reservation_count = fields.Integer("Reservations", readonly=True, aggregator="max")
    rollup_count = fields.Integer("Rollups", readonly=True, aggregator="max")
    unbalanced_count = fields.Integer("Unbalanced", readonly=True, aggregator="max")
    event_count = fields.Integer("Events", readonly=True, aggregator="max")

    @api.depends("started_date")
    def _compute_display_name(self):
        for run in self:
            run.display_name = format_datetime(self.env, run.started_date)

    @api.model
    def _reconcile(self, scope=EVERYTHING, is_full=True):
        """Compare, in this transaction's snapshot, and keep what was found.

        :param Scope scope: what to compare
        :param bool is_full: whether the ledger is added up; otherwise its balances are
        :return: the run
        :raises UserError: when another one is under way
        """
        if not self._claim_turn():
            raise UserError(self.env._("Another reconciliation is under way."))
        self.env.flush_all()
        self.env["stock.ledger.entry"]._flush_buffer()
        started = time.monotonic()
        run = self.create(self._prepare_run_vals(scope, is_full))
        try:
            with self.env.cr.savepoint():
                finding = self._find(scope, is_full)
                self.env["stock.ledger.drift"]._record(run, finding, scope)
        except psycopg2.OperationalError:
            # A conflict, or a lost server: whoever began the transaction repeats it.
            raise
        except psycopg2.errors.UniqueViolation as error:
            # Another run has ended after this transaction's snapshot.
            raise ConcurrencyError(str(error)) from error
        except Exception as error:
            _logger.exception("The reconciliation of the stock ledger failed")
            run.write({"state": "failed", "error": str(error)})
        else:
            run.write(run._prepare_result_vals(finding))
        run.duration_seconds = time.monotonic() - started
        run._update_alert()
        return run

    @api.model
    def _claim_turn(self):
        """Keep other runs out until the transaction ends.

        :return: whether none was under way
        """
        query = SQL("SELECT pg_try_advisory_xact_lock(hashtext(%s), 0)", self._name)
        [[is_free]] = self.env.execute_query(query)
        return is_free

    @api.model
    def _prepare_run_vals(self, scope, is_full):
        return {
            "started_date": fields.Datetime.now(),
            "is_full": is_full,
            "scope": self._get_scope_name(scope),
            "company_ids": scope.company_ids,
            "user_id": self.env.uid,
            "state": "clean",
        }

    @api.model
    def _get_scope_name(self, scope):
        records = (
            *self.env["res.company"].browse(scope.company_ids),
            *self.env["stock.warehouse"].browse(scope.warehouse_ids),
            *self.env["product.product"].browse(scope.product_ids),
        )
        return ", ".join(record.display_name for record in records)

    def _prepare_result_vals(self, finding):
        return {
            "state": "drift" if finding.counts else "clean",
            "key_count": finding.key_count,
            "entry_count": finding.entry_count,
            "drift_count": sum(finding.counts.values()),
            **{f"{kind}_count": finding.counts[kind] for kind, _label in KINDS},
        }

    def action_view_drifts(self):
        """Open the drifts that are open, or were found by this run.

        :return: a window action
        """
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "stock_event_ledger.stock_ledger_drift_action"
        )
        domain = [("first_run_id", "<=", self.id), ("run_id", ">=", self.id)]
        return {**action, "domain": domain, "context": {}}
