from odoo import fields, models

from ..broker import ACCEPTED, REJECTED
from ..broker.command import REPLY_WORDS, SCHEMA_VERSION


class StockMessageOutbox(models.Model):
    """Replies know the command that they answer."""

    _inherit = "stock.message.outbox"

    command_id = fields.Many2one(
        "stock.command", readonly=True, ondelete="set null", index="btree_not_null"
    )


class StockCommand(models.Model):
    """What the sender of a command is told."""

    _inherit = "stock.command"

    reply_ids = fields.One2many("stock.message.outbox", "command_id", "Replies", readonly=True)
    reply_state = fields.Selection(
        [("pending", "Pending"), ("blocked", "Blocked"), ("confirmed", "Sent")],
        "Reply",
        compute="_compute_reply_state",
    )

    def _compute_reply_state(self):
        for command in self:
            states = set(command.reply_ids.mapped("state"))
            command.reply_state = next(
                (state for state in ("blocked", "pending", "confirmed") if state in states), False
            )

    def _reply(self, reasons):
        """Queue the reply: to whoever listens at the exchange, and to the sender's queue.

        Nobody has to listen: an answer that no queue takes has been given all the same.

        :param list reasons: why the command, or some of its lines, were refused
        """
        channel = self.queue_id.channel_id
        # To answer a reply, by whatever mistake it came here, could go on for ever.
        if not channel or self.operation in REPLY_WORDS:
            return
        message_type = REJECTED if self.state == "rejected" else ACCEPTED
        destinations = [(channel.exchange, f"{message_type}.{self.queue_id.name}")]
        if self.reply_to:
            destinations.append(("", self.reply_to))
        for exchange, routing_key in destinations:
            message = self.env["stock.message.outbox"]._send(
                channel,
                message_type,
                self._prepare_reply(message_type, reasons),
                routing_key,
                exchange=exchange,
                is_mandatory=False,
                correlation_id=self.correlation_id or self.message_id or None,
                causation_id=self.message_id or None,
                company=self.company_id,
            )
            # sudo: nobody has the right to write messages; this one was just written.
            message.sudo().command_id = self

    def _prepare_reply(self, message_type, reasons):
        """Return the body of the reply."""
        return {
            "reply_type": message_type,
            "schema_version": SCHEMA_VERSION,
            "command_id": self.message_id or None,
            "operation": self.operation or None,
            "correlation_id": self.correlation_id or self.message_id or None,
            "result": self.result or None,
            "reasons": reasons,
            "finished_at": fields.Datetime.to_string(self.finished_date).replace(" ", "T") + "Z",
        }
