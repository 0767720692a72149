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
    def _invalidate(self):
        """Forget what this transaction has read before SQL wrote."""
        self.invalidate_model()
        shown = ["status_ids", "confirmed_count", "last_confirm_date", "last_error", "is_declared"]
        self.env["stock.event.channel"].invalidate_model(shown, flush=False)
