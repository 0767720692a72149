from datetime import timedelta

from odoo import SUPERUSER_ID, api, fields, models
from odoo.tools import SQL, html_escape
from odoo.tools.misc import format_duration

from ..relay.leader import has_worker

RATE_SECONDS = 60
# An error that lasts so long is no passing one.
ERROR_SECONDS = 60
# An event that the broker refuses is tried again by itself; from so many times on,
# somebody should look at it.
MANY_ATTEMPTS = 5


class StockEventChannel(models.Model):
    """How a channel is doing, and telling somebody when it is not well."""

    _inherit = "stock.event.channel"

    status_ids = fields.One2many("stock.event.channel.status", "channel_id", readonly=True)
    confirmed_count = fields.Integer("Confirmed Events", related="status_ids.confirmed_count")
    last_confirm_date = fields.Datetime(related="status_ids.last_confirm_date")
    last_error = fields.Char(related="status_ids.last_error")
    is_declared = fields.Boolean("Declared", related="status_ids.is_declared")
    pending_count = fields.Integer(compute="_compute_outbox_counts")
    blocked_count = fields.Integer("Blocked Keys", compute="_compute_outbox_counts")
    lag_seconds = fields.Integer(
        "Lag (seconds)",
        compute="_compute_lag_seconds",
        help="Age of the oldest event that the broker has not confirmed",
    )
    rate = fields.Float(
        "Events per Second", compute="_compute_rate", help="Confirmed within the last minute"
    )
    worker = fields.Char(compute="_compute_worker", help="Who empties the outbox at this moment")
    worker_heartbeat_date = fields.Datetime("Heartbeat", compute="_compute_worker")
    lag_alert_seconds = fields.Integer(
        "Alert for Lag",
        default=300,
        help="The responsible user gets an activity when the lag is longer. 0: never",
    )

    _valid_lag_alert = models.Constraint(
        "CHECK (lag_alert_seconds >= 0)", "The lag that an alert is for cannot be negative."
    )

    def _compute_outbox_counts(self):
        counts = self._count_unconfirmed()
        for channel in self:
            channel.blocked_count = counts.get((channel.id, "blocked"), 0)
            channel.pending_count = counts.get((channel.id, "pending"), 0) + counts.get(
                (channel.id, "waiting"), 0
            )

    def _count_unconfirmed(self):
        """Return how many events are not confirmed, by channel id and state."""
        groups = self.env["stock.event.outbox"]._read_group(
            [("channel_id", "in", self.ids), ("state", "!=", "confirmed")],
            ["channel_id", "state"],
            ["__count"],
        )
        return {(channel.id, state): count for channel, state, count in groups}

    def _compute_lag_seconds(self):
        lags = dict(self.env.execute_query(self._query_lags()))
        for channel in self:
            channel.lag_seconds = max(lags.get(channel.id) or 0, 0)

    def _query_lags(self):
        """Return the query of the seconds since the oldest unconfirmed event.

        Of those without a number the one with the lowest id is taken for the oldest;
        those with one are a batch at most, and what waits is younger than what blocks it.
        """
        candidates = SQL(" UNION ALL ").join(
            SQL(
                """(SELECT o.entry_id FROM stock_event_outbox o
                     WHERE o.channel_id = c.id AND %s
                     ORDER BY o.id LIMIT %s)""",
                condition,
                limit,
            )
            for condition, limit in (
                (SQL("o.state = 'pending' AND NOT o.is_replay AND o.sequence IS NULL"), 1),
                (SQL("o.state = 'pending' AND NOT o.is_replay AND o.sequence > 0"), 1),
                (SQL("o.state = 'blocked'"), 1),
            )
        )
        return SQL(
            """SELECT c.id, EXTRACT(
                          EPOCH FROM clock_timestamp() AT TIME ZONE 'UTC' - MIN(e.recorded_date)
                      )::int
                 FROM stock_event_channel c
                CROSS JOIN LATERAL (%s) o
                 JOIN stock_ledger_entry e ON e.id = o.entry_id
                WHERE c.id = ANY(%s)
                GROUP BY c.id""",
            candidates,
            self.ids,
        )

    def _compute_rate(self):
        since = fields.Datetime.now() - timedelta(seconds=RATE_SECONDS)
        groups = self.env["stock.event.outbox"]._read_group(
            [
                ("channel_id", "in", self.ids),
                ("state", "=", "confirmed"),
                ("confirmed_date", ">", since),
            ],
            ["channel_id"],
            ["__count"],
        )
        counts = {channel.id: count for channel, count in groups}
        for channel in self:
            channel.rate = counts.get(channel.id, 0) / RATE_SECONDS

    def _compute_worker(self):
        # From what the worker has written, and not from its lock: Odoo may read pages on a
        # replica of the database, which knows the primary's rows, but not its locks.
        leader = self.env["stock.event.worker"].search(
            [("is_leader", "=", True)], order="heartbeat_date DESC", limit=1
        )
        self.worker = not leader.is_gone and leader.name
        self.worker_heartbeat_date = leader.heartbeat_date

    # --- alerts

    @api.model
    def _check_alerts(self, _limit=None):
        """Give the responsible users an activity for what needs attention, once, and take
        it back when that is over.

        :return: 0, since there is never more to do at once
        """
        if self._is_neutralized():
            return 0
        channels = self.search([("database_uuid", "=", self._get_database_uuid())])
        is_worker_missed = self.env["stock.event.worker"]._is_missed()
        for channel in channels:
            channel._update_alerts(channel._get_alerts(is_worker_missed))
        return 0

    def _get_alerts(self, is_worker_missed):
        """Return what is wrong with a channel.

        :param bool is_worker_missed: whether a worker has vanished
        :return: dictionary of texts by name
        """
        self.ensure_one()
        alerts = {}
        if is_worker_missed:
            alerts["worker"] = self.env._(
                "The worker has not been heard of for more than a minute, and did not end in "
                "order. Scheduled actions do its work meanwhile. Start it again, or forget it "
                "under Stock Ledger > Events > Workers."
            )
        if self.state == "running":
            if self.lag_alert_seconds and self.lag_seconds > self.lag_alert_seconds:
                alerts["lag"] = self.env._(
                    "Events have been waiting for %s (hours:minutes).",
                    format_duration(self.lag_seconds / 3600),
                )
            status = self.status_ids
            limit = fields.Datetime.now() - timedelta(seconds=ERROR_SECONDS)
            if status.last_error and status.error_date and status.error_date < limit:
                alerts["error"] = self.env._("Nothing is published: %s", status.last_error)
        if blocked := self._count_stuck():
            alerts["blocked"] = self.env._(
                "Of %s products in a warehouse an event could not be delivered, and those "
                "behind it wait. Retry or skip it.",
                blocked,
            )
        return alerts

    def _count_stuck(self):
        """Return how many keys are blocked by an event that needs somebody."""
        return self.env["stock.event.outbox"].search_count(
            [
                ("channel_id", "=", self.id),
                ("state", "=", "blocked"),
                "|",
                ("retry_date", "=", False),
                ("attempts", ">=", MANY_ATTEMPTS),
            ]
        )

    def _update_alerts(self, alerts):
        """Schedule activities for new alerts, and end those of alerts that are over."""
        self.ensure_one()
        status = self.status_ids
        before = dict(status.alerts or {})
        after = {}
        for name, text in alerts.items():
            after[name] = before.pop(name, None) or self._schedule_alert(text).id
        activities = self.env["mail.activity"].browse(before.values()).exists()
        if activities:
            activities.action_feedback(self.env._("This is over."))
        if after != (status.alerts or {}):
            status = status or status.create({"channel_id": self.id})
            status.alerts = after

    def _schedule_alert(self, text):
        return self.activity_schedule(
            "mail.mail_activity_data_warning",
            summary=self.env._("Stock events: %s", self.name),
            note=html_escape(text),
            user_id=self.user_id.id or self.env.ref("base.user_admin").id or SUPERUSER_ID,
        )

    @api.model
    def _cron_check_alerts(self):
        """Check all channels, unless a worker does."""
        if not has_worker(self.env.cr):
            self._check_alerts()
