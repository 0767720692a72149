from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.fields import Domain

# Beyond that a table is the better way to hand history over.
MOST_EVENTS = 1_000_000


class StockEventReplay(models.TransientModel):
    """Sends a channel's events again, marked as a replay.

    What the channel has published, and still remembers, goes with the id and number that
    it had; older movements go without a number and figures. Events of new movements are
    not held up.
    """

    _name = "stock.event.replay"
    _description = "Replay Stock Events"

    channel_id = fields.Many2one("stock.event.channel", required=True)
    date_from = fields.Datetime("Recorded From", required=True)
    date_to = fields.Datetime(
        "Recorded Until", required=True, default=lambda self: fields.Datetime.now()
    )
    warehouse_ids = fields.Many2many("stock.warehouse", help="None: all of them, and transit")
    product_ids = fields.Many2many("product.product", help="None: all of them")
    event_count = fields.Integer("Events", compute="_compute_counts")
    numbered_count = fields.Integer(
        "With Their Number",
        compute="_compute_counts",
        help="Published through this channel before, and still remembered",
    )

    archived_until = fields.Datetime(
        compute="_compute_archived_until",
        help="Movements before that are in the ledger's archives",
    )

    @api.depends("date_from")
    def _compute_archived_until(self):
        open_from = self.env["stock.ledger.archive"]._get_open_from()
        for replay in self:
            is_concerned = open_from and replay.date_from and replay.date_from < open_from
            replay.archived_until = is_concerned and open_from

    @api.depends("channel_id", "date_from", "date_to", "warehouse_ids", "product_ids")
    def _compute_counts(self):
        outbox = self.env["stock.event.outbox"]
        for replay in self:
            counts = (0, 0)
            if replay.channel_id and replay.date_from and replay.date_to:
                counts = outbox._count_replayable(
                    replay.channel_id._origin or replay.channel_id, replay._query_entries()
                )
            replay.event_count, replay.numbered_count = counts

    def _query_entries(self):
        """Return the query of the entries' ids: of those, those that the user may see."""
        self.ensure_one()
        domain = Domain("recorded_date", ">=", self.date_from)
        domain &= Domain("recorded_date", "<=", self.date_to)
        if self.warehouse_ids:
            domain &= Domain("warehouse_id", "in", self.warehouse_ids.ids)
        if self.product_ids:
            domain &= Domain("product_id", "in", self.product_ids.ids)
        if products := self.channel_id._get_product_domain():
            domain &= Domain("product_id", "any", products)
        return self.env["stock.ledger.entry"]._search(domain).select()

    def action_replay(self):
        """Queue the events, and say how many.

        :raises AccessError: unless the user may change channels
        :raises UserError: when there are none, too many, or the channel is inactive
        """
        self.ensure_one()
        self.channel_id.check_access("write")
        if not self.channel_id.active:
            raise UserError(self.env._("The channel does not publish: activate it first."))
        if not self.event_count and self.archived_until:
            raise UserError(
                self.env._(
                    "There is no event to send again: movements until %s (UTC) are archived, and "
                    "their events cannot be sent any more. Read them from the archives' files.",
                    self.archived_until,
                )
            )
        if not self.event_count:
            raise UserError(self.env._("There is no event to send again. Choose another period."))
        if self.event_count > MOST_EVENTS:
            raise UserError(
                self.env._("At most %s events at a time: choose a shorter period.", MOST_EVENTS)
            )
        # sudo: nobody writes events by hand; the entries are those that the user sees.
        outbox = self.env["stock.event.outbox"].sudo()
        count = outbox._replay(self.channel_id, self._query_entries())
        self.channel_id.message_post(
            body=self.env._(
                "%(count)s events are sent again: those recorded from %(start)s to %(end)s (UTC).",
                count=count,
                start=self.date_from,
                end=self.date_to,
            )
        )
        notification = self.channel_id._prepare_notification(
            "success", self.env._("%s events are being sent again.", count)
        )
        notification["params"]["next"] = {"type": "ir.actions.act_window_close"}
        return notification
