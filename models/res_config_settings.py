from markupsafe import Markup

from odoo import api, fields, models
from odoo.exceptions import ValidationError

from .stock_event_outbox import DEFAULT_KEEP_DAYS
from .stock_hold import DEFAULT_LONGEST_DAYS, DEFAULT_MINUTES
from .stock_ledger_reconciliation import DEFAULT_KEEP_DAYS as DEFAULT_KEEP_RUN_DAYS
from .stock_ledger_stockout import DEFAULT_DEMAND_MONTHS

MAX_LOCK_TIMEOUT_SECONDS = 60
# Calls per minute.
DEFAULT_INTEGRATION_RATE = 600


class ResConfigSettings(models.TransientModel):
    _inherit = "res.config.settings"

    stock_lock_timeout_seconds = fields.Float(
        string="Wait for Stock",
        default=10,
        config_parameter="stock_event_ledger.lock_timeout_seconds",
    )
    stock_event_keep_days = fields.Integer(
        string="Keep Confirmed Events",
        default=DEFAULT_KEEP_DAYS,
        config_parameter="stock_event_ledger.event_keep_days",
    )
    stock_past_from_ledger = fields.Boolean(
        string="Past Stock from the Ledger", config_parameter="stock_event_ledger.past_stock"
    )
    stock_demand_months = fields.Integer(
        string="Period of Demand",
        default=DEFAULT_DEMAND_MONTHS,
        config_parameter="stock_event_ledger.demand_months",
    )
    stock_hold_default_minutes = fields.Integer(
        string="Holds Expire after",
        default=DEFAULT_MINUTES,
        config_parameter="stock_event_ledger.hold_default_minutes",
    )
    stock_hold_longest_days = fields.Integer(
        string="Longest Hold",
        default=DEFAULT_LONGEST_DAYS,
        config_parameter="stock_event_ledger.hold_longest_days",
    )

    stock_reconciliation_user_id = fields.Many2one(
        "res.users",
        string="Responsible for Drifts",
        config_parameter="stock_event_ledger.reconciliation_user_id",
    )
    stock_reconciliation_keep_days = fields.Integer(
        string="Keep Reconciliations",
        default=DEFAULT_KEEP_RUN_DAYS,
        config_parameter="stock_event_ledger.reconciliation_keep_days",
    )
    stock_drift_policy_on_hand = fields.Selection(
        [("ledger", "The ledger follows the quants"), ("quants", "The quants follow the ledger")],
        string="On Hand Drifts",
        config_parameter="stock_event_ledger.drift_policy_on_hand",
    )
    stock_drift_policy_reserved = fields.Selection(
        [
            ("lines", "Reservations follow the move lines"),
            ("ledger", "The ledger follows the quants"),
        ],
        string="Reserved Drifts",
        config_parameter="stock_event_ledger.drift_policy_reserved",
    )
    stock_drift_policy_reservation = fields.Selection(
        [("lines", "Reservations follow the move lines")],
        string="Reservation Drifts",
        config_parameter="stock_event_ledger.drift_policy_reservation",
    )
    stock_drift_policy_rollup = fields.Selection(
        [("rollup", "Rollups are made again from the ledger")],
        string="Rollup Drifts",
        config_parameter="stock_event_ledger.drift_policy_rollup",
    )
    stock_integration_rate = fields.Integer(
        string="Calls of Integrations",
        default=DEFAULT_INTEGRATION_RATE,
        config_parameter="stock_event_ledger.integration_rate",
    )
    stock_ledger_checks = fields.Html(
        "Self-Check", compute="_compute_stock_ledger_checks", sanitize=False
    )

    @api.depends_context("uid")
    def _compute_stock_ledger_checks(self):
        # sudo: who may change settings may know whether all works, in all companies.
        checks = self.env["stock.ledger.self.check"].sudo()._get_checks()
        rows = Markup("").join(
            Markup('<tr><td class="%s">%s</td><td>%s</td><td>%s</td></tr>')
            % (
                "text-success" if check.is_ok else "text-danger fw-bold",
                self.env._("OK") if check.is_ok else self.env._("Warning"),
                check.name,
                check.text,
            )
            for check in checks
        )
        self.stock_ledger_checks = Markup('<table class="table table-sm">%s</table>') % rows

    @api.constrains("stock_lock_timeout_seconds")
    def _check_stock_lock_timeout_seconds(self):
        # Every app's settings are saved with this one: what somebody has set as a system
        # parameter must not keep others from saving theirs.
        stored = self.default_get(["stock_lock_timeout_seconds"])["stock_lock_timeout_seconds"]
        for settings in self:
            seconds = settings.stock_lock_timeout_seconds
            if seconds != stored and not 0 < seconds <= MAX_LOCK_TIMEOUT_SECONDS:
                raise ValidationError(
                    self.env._(
                        "Operations can wait for stock more than 0 seconds and at most %s seconds.",
                        MAX_LOCK_TIMEOUT_SECONDS,
                    )
                )

    @api.constrains("stock_event_keep_days")
    def _check_stock_event_keep_days(self):
        for settings in self:
            if settings.stock_event_keep_days < 1:
                raise ValidationError(self.env._("Confirmed events are kept for one day at least."))

    @api.constrains("stock_reconciliation_keep_days")
    def _check_stock_reconciliation_keep_days(self):
        for settings in self:
            if settings.stock_reconciliation_keep_days < 1:
                raise ValidationError(self.env._("Reconciliations are kept for one day at least."))

    @api.constrains("stock_demand_months")
    def _check_stock_demand_months(self):
        for settings in self:
            if settings.stock_demand_months < 1:
                raise ValidationError(self.env._("Demand is that of one month at least."))

    @api.constrains("stock_hold_default_minutes", "stock_hold_longest_days")
    def _check_stock_hold(self):
        for settings in self:
            if min(settings.stock_hold_default_minutes, settings.stock_hold_longest_days) < 1:
                raise ValidationError(
                    self.env._("Holds last for one minute, and the longest for one day, at least.")
                )

    @api.constrains("stock_integration_rate")
    def _check_stock_integration_rate(self):
        for settings in self:
            if settings.stock_integration_rate < 1:
                raise ValidationError(
                    self.env._("Integrations may make one call per minute at least.")
                )
