from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import SQL

from .stock_ledger_self_check import CLEAN_HOURS, MANY_DELTAS
from .stock_move import QUEUED_STATES

# What the dashboards were last told of, by database, as long as this process lives.
TOLD = {}


class StockLedgerDashboard(models.AbstractModel):
    """Whether all is well, and telling open dashboards when figures have changed."""

    _inherit = "stock.ledger.dashboard"

    # --- whether all is well ---

    @api.model
    def _get_drift_figures(self):
        drifts = self.env["stock.ledger.drift"]
        if not drifts.has_access("read"):
            return None
        counts = drifts._read_group(self._narrow([("state", "=", "open")]), ["kind"], ["__count"])
        count = sum(kind_count for _kind, kind_count in counts)
        labels = dict(drifts._fields["kind"]._description_selection(self.env))
        action = {
            "xmlid": "stock_event_ledger.stock_ledger_drift_action",
            "domain": self._narrow([]),
        }
        rows = [
            {
                "key": kind,
                "label": labels[kind],
                "value": kind_count,
                "action": {**action, "domain": self._narrow([("kind", "=", kind)])},
            }
            for kind, kind_count in counts
        ]
        clean_date = self.env["stock.ledger.reconciliation"]._get_last_clean().started_date
        limit = fields.Datetime.now() - timedelta(hours=CLEAN_HOURS)
        is_recent = bool(clean_date and clean_date >= limit)
        clean_row = {
            "key": "clean",
            "label": self.env._("Last clean run"),
            "status": None if is_recent else "warning",
            "action": {"xmlid": "stock_event_ledger.stock_ledger_reconciliation_action"},
        }
        if clean_date:
            clean_row["date"] = fields.Datetime.to_string(clean_date)
        else:
            clean_row["text"] = self.env._("none yet")
        return {
            "title": self.env._("Drift"),
            "value": count,
            "caption": self.env._("figures of ledger, quants and move lines that do not agree"),
            "status": "danger" if count else "success" if is_recent else "warning",
            "rows": [*self._add_shares(rows), clean_row],
            "action": action,
        }

    @api.model
    def _get_events_figures(self):
        channels = self.env["stock.event.channel"]
        if not channels.has_access("read"):
            return None
        channels = channels.search_fetch(
            [("active", "=", True)], ["name", "state", "lag_alert_seconds"]
        )
        rows = [self._prepare_channel_row(channel) for channel in channels]
        statuses = [row["status"] for row in rows]
        status = next((s for s in ("danger", "warning", "success") if s in statuses), "muted")
        return {
            "title": self.env._("Events"),
            "value": sum(channel.pending_count + channel.blocked_count for channel in channels),
            "caption": self.env._("that RabbitMQ has not confirmed yet"),
            "status": status,
            "rows": rows,
            "empty": self.env._(
                "No channel is active: nothing is published. Set one up, test it and activate it."
            ),
            "action": {"xmlid": "stock_event_ledger.stock_event_channel_action"},
        }

    @api.model
    def _prepare_channel_row(self, channel):
        is_late = channel.lag_alert_seconds and channel.lag_seconds > channel.lag_alert_seconds
        is_paused = channel.state == "paused"
        if channel.blocked_count or channel.last_error:
            status = "danger"
        else:
            status = "warning" if is_late or is_paused else "success"
        texts = [self.env._("%s waiting", channel.pending_count)]
        if channel.blocked_count:
            texts.append(self.env._("%s blocked", channel.blocked_count))
        states = dict(channel._fields["state"]._description_selection(self.env))
        return {
            "key": channel.id,
            "label": channel.name,
            "badge": self.env._("Error") if channel.last_error else states[channel.state],
            "status": status,
            "text": ", ".join(texts),
            "seconds": channel.lag_seconds,
            "action": {
                "xmlid": "stock_event_ledger.stock_event_outbox_action",
                "domain": [("channel_id", "=", channel.id)],
            },
        }

    @api.model
    def _get_worker_figures(self):
        workers = self.env["stock.event.worker"]
        if not workers.has_access("read"):
            return None
        last = workers.search_fetch(
            [], ["name", "heartbeat_date"], order="heartbeat_date DESC", limit=1
        )
        deltas = self.env["stock.ledger.delta"].search_count([], limit=MANY_DELTAS + 1)
        is_behind = deltas > MANY_DELTAS
        if not last:
            headline = self.env._("None")
            caption = self.env._("Scheduled actions do its work, within seconds or minutes.")
        elif last.is_gone:
            headline = self.env._("Gone")
            caption = self.env._("Start it again. Scheduled actions do its work meanwhile.")
        else:
            headline, caption = self.env._("At work"), last.name
        status = "danger" if last.is_gone else "success" if last else "muted"
        rows = [
            {
                "key": "deltas",
                "label": self.env._("Movements not in the rollups yet"),
                "value": min(deltas, MANY_DELTAS),
                "status": "warning" if is_behind else None,
            }
        ]
        if is_behind:
            rows[0]["badge"] = self.env._("or more")
        if last:
            date = fields.Datetime.to_string(last.heartbeat_date)
            rows.insert(0, {"key": "beat", "label": self.env._("Last heard of"), "date": date})
        return {
            "title": self.env._("Worker"),
            "headline": headline,
            "caption": caption,
            "status": "warning" if is_behind and status != "danger" else status,
            "rows": rows,
            "action": {"xmlid": "stock_event_ledger.stock_event_worker_action"},
        }

    # --- telling open dashboards ---

    @api.model
    def _notify_changes(self, _limit=None):
        """Have open dashboards load their figures again, if there are others than last time.

        The worker calls this every few seconds: one message for all that happened meanwhile.
        What is compared is what has changed since, and not the figures of each user.

        :return: 0, since there is never more to do at once
        """
        [state] = self.env.execute_query(self._query_state())
        if state != TOLD.get(self.env.cr.dbname):
            # Odoo subscribes a user's websocket to the groups that the user is in.
            self.env.ref("stock.group_stock_user")._bus_send("stock_event_ledger/dashboard", {})
            TOLD[self.env.cr.dbname] = state
        return 0

    @api.model
    def _query_state(self):
        return SQL(
            "SELECT %s",
            SQL(", ").join(SQL("(%s)", query) for query in self._get_state_queries()),
        )

    @api.model
    def _get_state_queries(self):
        """Return queries of one number each, one of which differs when figures do.

        Each reads a few rows, whatever history there is. Modules add those of their tiles.
        """
        return [
            # A movement counts once, whether it was folded in between or not.
            SQL(
                """SELECT (SELECT COALESCE(SUM(entry_count), 0) FROM stock_ledger_month_location
                            WHERE date = %(month)s)
                          + (SELECT COUNT(*) FROM stock_ledger_delta
                              WHERE quantity <> 0 AND effective_date >= %(month)s)""",
                month=fields.Date.today().replace(day=1),
            ),
            SQL(
                """SELECT COUNT(*) FROM stock_move
                    WHERE reservation_queued_date IS NOT NULL AND state IN %s""",
                QUEUED_STATES,
            ),
            SQL("SELECT MAX(id) FROM stock_contention"),
            SQL("SELECT MAX(id) FROM stock_ledger_reconciliation"),
            SQL("SELECT COUNT(*) FROM stock_ledger_drift WHERE state = 'open'"),
            SQL("SELECT COUNT(*) FROM stock_ledger_stockout WHERE last_day IS NULL"),
            SQL("SELECT SUM(confirmed_count) FROM stock_event_channel_status"),
            SQL("SELECT COUNT(*) FROM stock_event_channel_status WHERE last_error IS NOT NULL"),
            SQL("SELECT COUNT(*) FROM stock_event_outbox WHERE state = 'blocked'"),
        ]
