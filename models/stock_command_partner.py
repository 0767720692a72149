import json

from odoo import api, models

from ..broker.command import REPLY_WORDS

REFUSAL = "rejected"


class StockMessageOutbox(models.Model):
    _inherit = "stock.message.outbox"

    # Serves what was sent about a shipment.
    _correlation_idx = models.Index("(correlation_id) WHERE correlation_id IS NOT NULL")


class StockCommand(models.Model):
    """A partner's replies to what it was told about shipments come by its queue as well.

    Other replies are no commands, and are refused.
    """

    _inherit = "stock.command"

    # Serves what a partner has sent about a shipment.
    _correlation_idx = models.Index("(correlation_id) WHERE correlation_id IS NOT NULL")

    @api.model
    def _store_rejected(self, vals, code, message):
        if not self._is_awaited(vals):
            return super()._store_rejected(vals, code, message)
        # One that came before is there already, and has been heard.
        return self._insert({**vals, "is_valid": True})

    @api.model
    def _is_awaited(self, vals):
        """Tell whether a message is a reply to something that was sent about a shipment."""
        if vals["operation"] not in REPLY_WORDS or not vals["message_id"]:
            return False
        return bool(self._find_shipment(vals["correlation_id"], vals["queue_id"]))

    @api.model
    def _find_shipment(self, uid, queue_id):
        # sudo: the inbox is nobody's; the queue is the one that the partner answers by.
        return (
            self.env["stock.partner.shipment"]
            .sudo()
            .search([("uid", "=", uid), ("partner_warehouse_id.queue_id", "=", queue_id)], limit=1)
        )

    def _run(self):
        if self.operation in REPLY_WORDS and self.state == "received":
            return self._take_reply()
        return super()._run()

    def _take_reply(self):
        """Have the shipment that it is about show what the partner has refused."""
        shipment = self._find_shipment(self.correlation_id, self.queue_id.id)
        try:
            reply = json.loads(self.payload)
        except ValueError:
            reply = {}
        if self.operation == REFUSAL and isinstance(reply, dict):
            reasons = [reason for reason in reply.get("reasons") or () if "message" in reason]
            shipment._reject(
                reply.get("command_id"),
                # Reasons of lines name the product, which says more than the line's number.
                "\n".join(
                    reason["message"] if "line" in reason else self._describe_reason(reason)
                    for reason in reasons
                )
                or self.env._("The partner gave no reason."),
            )
        self._finish("done", ())
