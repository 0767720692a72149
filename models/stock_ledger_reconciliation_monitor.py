from odoo import SUPERUSER_ID, api, fields, models

from .stock_ledger_reconciliation import DEFAULT_KEEP_DAYS


class StockLedgerReconciliation(models.Model):
    """Reconciling by itself, and telling somebody what was found."""

    _inherit = "stock.ledger.reconciliation"

    @api.model
    def _cron_reconcile(self, is_full):
        """Compare everything, and then do what the policies say; nothing while another runs.

        :param bool is_full: whether the ledger is added up
        """
        if not self._claim_turn():
            return
        cron = self.env["ir.cron"]
        self._reconcile(is_full=is_full)
        drifts = self.env["stock.ledger.drift"]._get_automatic()
        cron._commit_progress(1, remaining=len(drifts))
        drifts._correct_by_policy(lambda: cron._commit_progress(1))

    # --- what is kept

    @api.autovacuum
    def _gc_old(self):
        """Delete old runs and what they found, unless it is still open."""
        limit = fields.Datetime.subtract(fields.Datetime.now(), days=self._get_keep_days())
        drifts = self.env["stock.ledger.drift"]
        drifts.search([("state", "!=", "open"), ("run_id.started_date", "<", limit)]).unlink()
        self.env.flush_all()
        query = drifts._search([])
        self.search(
            [
                ("started_date", "<", limit),
                ("id", "!=", self._get_last_clean().id),
                ("id", "not in", query.subselect("run_id")),
                ("id", "not in", query.subselect("first_run_id")),
            ]
        ).unlink()

    @api.model
    def _get_keep_days(self):
        # sudo: a setting of the addon, which its users cannot read themselves.
        parameters = self.env["ir.config_parameter"].sudo()
        days = parameters.get_param("stock_event_ledger.reconciliation_keep_days") or ""
        return max(int(days), 1) if days.isdecimal() else DEFAULT_KEEP_DAYS

    @api.model
    def _get_last_clean(self):
        """Return the last run over everything that found nothing."""
        return self.search_fetch(
            [("state", "=", "clean"), ("scope", "=", False)], ["started_date"], limit=1
        )

    # --- alerts

    def _update_alert(self):
        """Tell the responsible user of new trouble once, and take it back when it is over."""
        self.ensure_one()
        if self.env["stock.event.channel"]._is_neutralized():
            return
        drifts = self.env["stock.ledger.drift"]
        alerts = self._get_open_alerts()
        is_new = drifts.search_count([("first_run_id", "=", self.id)], limit=1)
        if not alerts and (is_new or self.state == "failed"):
            self._schedule_alert()
        elif self.state == "clean" and not drifts.search_count([("state", "=", "open")], limit=1):
            alerts.action_feedback(self.env._("This is over."))

    @api.model
    def _get_open_alerts(self):
        return self.env["mail.activity"].search(
            [("res_model", "=", self._name), ("automated", "=", True)]
        )

    def _schedule_alert(self):
        if self.state == "failed":
            summary = self.env._("The reconciliation of the stock ledger failed")
        else:
            summary = self.env._("%s stock figures do not agree", self.drift_count)
        return self.activity_schedule(
            "mail.mail_activity_data_warning",
            summary=summary,
            note=self.env._(
                "Look at the drifts under Inventory > Stock Ledger > Reconciliation, and "
                "correct them."
            ),
            user_id=self._get_responsible_user_id(),
        )

    @api.model
    def _get_responsible_user_id(self):
        parameters = self.env["ir.config_parameter"].sudo()
        user_id = parameters.get_param("stock_event_ledger.reconciliation_user_id") or ""
        user = self.env["res.users"].browse(int(user_id) if user_id.isdecimal() else []).exists()
        return (user or self.env.ref("base.user_admin")).id or SUPERUSER_ID
