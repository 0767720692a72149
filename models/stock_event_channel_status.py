from odoo import api, fields, models
from odoo.tools import SQL


class StockEventChannelStatus(models.Model):
    """What became of a channel's events, written by the relay with each batch.

    Apart from the channel itself: whoever edits that must not conflict with the relay,
    which under load writes several times a second.
    """

    _name = "stock.event.channel.status"
    _description = "Stock Event Channel Status"
    _log_access = False

    channel_id = fields.Many2one(
        "stock.event.channel", required=True, readonly=True, ondelete="cascade"
    )
    confirmed_count = fields.Integer(readonly=True)
    last_confirm_date = fields.Datetime(readonly=True)
    last_error = fields.Char(readonly=True)
    error_date = fields.Datetime(readonly=True)
    is_declared = fields.Boolean(readonly=True)
    # Whether what the channel gets, its activation or filter, was changed, and when the
    # relay first saw it.
    was_changed = fields.Boolean(readonly=True)
    change_seen_date = fields.Datetime(readonly=True)
    # The activity of each alert that is open, by the alert's name.
    alerts = fields.Json(readonly=True)

    _unique_channel = models.UniqueIndex("(channel_id)")

    @api.model
    def _record_confirms(self, channel_id, count):
        """Count confirmed events; they end an outage."""
        self.env.cr.execute(
            SQL(
                """INSERT INTO stock_event_channel_status AS s (
                       channel_id, confirmed_count, last_confirm_date)
                   VALUES (%s, %s, now() AT TIME ZONE 'UTC')
                       ON CONFLICT (channel_id) DO UPDATE
                      SET confirmed_count =
                              COALESCE(s.confirmed_count, 0) + EXCLUDED.confirmed_count,
                          last_confirm_date = EXCLUDED.last_confirm_date,
                          last_error = NULL, error_date = NULL""",
                channel_id,
                count,
            )
        )
        self._invalidate()

    @api.model
    def _record_error(self, channel_id, error):
        """Show why a channel does not publish; None when it does again."""
        self.env.cr.execute(
            SQL(
                """INSERT INTO stock_event_channel_status AS s (
                       channel_id, last_error, error_date)
                   VALUES (%(id)s, %(error)s,
                           CASE WHEN %(error)s IS NOT NULL THEN now() AT TIME ZONE 'UTC' END)
                       ON CONFLICT (channel_id) DO UPDATE
                      SET last_error = EXCLUDED.last_error,
                          error_date = CASE WHEN s.last_error IS NULL
                                            THEN EXCLUDED.error_date
                                            WHEN EXCLUDED.last_error IS NOT NULL
                                            THEN s.error_date END""",
                error=error,
                id=channel_id,
            )
        )
        self._invalidate()

    @api.model
    def _record_declared(self, channel_ids, is_declared):
        """Note whether the broker has what channels declare."""
        self.env.cr.execute(
            SQL(
                """INSERT INTO stock_event_channel_status AS s (channel_id, is_declared)
                   SELECT UNNEST(%s::int[]), %s
                       ON CONFLICT (channel_id) DO UPDATE SET is_declared = EXCLUDED.is_declared""",
                list(channel_ids),
                is_declared,
            )
        )
        self._invalidate()

    @api.model
    def _record_change(self, channel_ids):
        """Note that what channels get changes with this transaction."""
        self.env.cr.execute(
            SQL(
                """INSERT INTO stock_event_channel_status AS s (channel_id, was_changed)
                   SELECT UNNEST(%s::int[]), TRUE
                       ON CONFLICT (channel_id) DO UPDATE SET was_changed = TRUE""",
                list(channel_ids),
            )
        )
        self._invalidate()

    @api.model
    def _is_changing(self, channel_id):
        """Return whether there may still be transactions that do not know of a change.

        They began before it was seen, and what they commit the channel misses. When the
        last of them has ended, the figures that were remembered meanwhile are forgotten.
        """
        rows = self.env.execute_query(
            SQL(
                """SELECT was_changed, NOT EXISTS (
                              SELECT FROM pg_stat_activity
                               WHERE datname = current_database() AND pid <> pg_backend_pid()
                                 AND xact_start AT TIME ZONE 'UTC' <= s.change_seen_date)
                     FROM stock_event_channel_status s
                    WHERE channel_id = %s AND (was_changed OR change_seen_date IS NOT NULL)""",
                channel_id,
            )
        )
        if not rows:
            return False
        [[was_changed, have_all_ended]] = rows
        if was_changed:
            seen_date = SQL("clock_timestamp() AT TIME ZONE 'UTC'")
        elif have_all_ended:
            seen_date = SQL("NULL")
            self.env["stock.event.key"]._forget_figures(channel_id)
        else:
            return True
        self.env.cr.execute(
            SQL(
                """UPDATE stock_event_channel_status
                      SET was_changed = FALSE, change_seen_date = %s
                    WHERE channel_id = %s""",
                seen_date,
                channel_id,
            )
        )
        return was_changed

    @api.model
    def _invalidate(self):
        """Forget what this transaction has read before SQL wrote."""
        self.invalidate_model()
        shown = ["status_ids", "confirmed_count", "last_confirm_date", "last_error", "is_declared"]
        self.env["stock.event.channel"].invalidate_model(shown, flush=False)
