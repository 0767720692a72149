import json

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError
from odoo.tools import SQL

STATES = [
    ("received", "Received"),
    ("done", "Done"),
    ("rejected", "Rejected"),
    ("failed", "Failed"),
]


class StockCommand(models.Model):
    """The inbox: one message of a partner that asks Odoo to do something.

    It is stored, committed and acknowledged before anything is done about it. What it does,
    its state and its reply are then one transaction, so that it is done once however often
    the message comes: ``source`` and ``message_id`` tell a repeat. A row has these states:

    - received: to be run, in the order of receipt of its queue;
    - done: it has had its effect, or part of it where its result says so;
    - rejected: it has had none, and ``reason`` says why;
    - failed: it could not be run, not by its sender's fault; someone retries or rejects it.
    """

    _name = "stock.command"
    _inherit = ["stock.retention.mixin"]
    _description = "Stock Command"
    _order = "id desc"
    _rec_name = "message_id"
    _log_access = False
    # Longer than any broker redelivers, or a partner repeats.
    _keep_parameter = "command_days"

    queue_id = fields.Many2one("stock.command.queue", readonly=True, ondelete="set null")
    channel_id = fields.Many2one(related="queue_id.channel_id")
    company_id = fields.Many2one(
        "res.company", readonly=True, help="Company of the user that runs it"
    )
    source = fields.Char(required=True, readonly=True, help="Channel and queue")
    message_id = fields.Char("Message ID", readonly=True)
    operation = fields.Char(readonly=True, help="The message's type")
    correlation_id = fields.Char("Correlation ID", readonly=True)
    reply_to = fields.Char(readonly=True, help="The queue that the sender wants the reply in")
    payload = fields.Text(readonly=True)
    payload_pretty = fields.Text("Body", compute="_compute_payload_pretty")
    # Of the others the message id is not known, or not good for anything.
    is_valid = fields.Boolean(
        "Well-Formed", readonly=True, required=True, help="It could be read as a command."
    )
    state = fields.Selection(STATES, required=True, readonly=True)
    reason = fields.Text(
        readonly=True, help="Why it, or some of its lines, were refused, or what failed"
    )
    result = fields.Json(readonly=True)
    result_pretty = fields.Text("What Was Done", compute="_compute_result_pretty")
    user_id = fields.Many2one("res.users", "Run As", readonly=True)
    received_date = fields.Datetime("Received", required=True, readonly=True)
    finished_date = fields.Datetime("Finished", readonly=True)
    attempts = fields.Integer(required=True, readonly=True, help="How often it was begun to be run")
    retry_date = fields.Datetime("Next Try", readonly=True)
    repeat_count = fields.Integer(
        "Repeats", required=True, readonly=True, help="How often it came again"
    )

    transfer_count = fields.Integer("Transfers", compute="_compute_effect_counts")
    entry_count = fields.Integer("Ledger Entries", compute="_compute_effect_counts")

    # What is not well-formed is stored each time that it comes.
    _once = models.UniqueIndex("(source, message_id) WHERE is_valid")
    _queue_idx = models.Index("(queue_id, id) WHERE state = 'received'")
    _failed_idx = models.Index("(queue_id) WHERE state = 'failed'")
    _finished_idx = models.Index("(finished_date) WHERE state IN ('done', 'rejected')")
    _message_idx = models.Index("(message_id)")

    @api.depends("payload")
    def _compute_payload_pretty(self):
        for command in self:
            try:
                value = json.loads(command.payload or "")
                command.payload_pretty = json.dumps(value, indent=2, ensure_ascii=False)
            except (ValueError, RecursionError):
                command.payload_pretty = command.payload

    @api.depends("result")
    def _compute_result_pretty(self):
        for command in self:
            result = command.result
            command.result_pretty = result and json.dumps(result, indent=2, ensure_ascii=False)

    # --- what it caused

    @api.depends("result")
    def _compute_effect_counts(self):
        causes = dict(
            self.env["stock.ledger.entry.cause"]._read_group(
                [("causation_id", "in", self.filtered("is_valid").mapped("message_id"))],
                ["causation_id"],
                ["__count"],
            )
        )
        for command in self:
            command.transfer_count = len(command._get_transfer_ids())
            command.entry_count = causes.get(command.message_id, 0)

    @api.readonly
    def action_open_entries(self):
        """Open the ledger entries that the commands have led to."""
        domain = [("cause_ids.causation_id", "in", self.mapped("message_id"))]
        return self.env["stock.ledger.entry"]._prepare_entries_action(domain)

    @api.readonly
    def action_open_transfers(self):
        """Open the transfers that the commands have made."""
        action = self.env["ir.actions.act_window"]._for_xml_id("stock.action_picking_tree_all")
        domain = [("id", "in", self._get_transfer_ids())]
        return {**action, "domain": domain, "context": {}}

    def _get_transfer_ids(self):
        return [
            transfer["id"]
            for command in self
            for transfer in (command.result or {}).get("transfers", ())
        ]

    # --- by hand

    def action_retry(self):
        """Run failed commands again, with the next ones of their queues.

        :raises AccessError: unless the user may configure queues
        :raises UserError: when one of them has not failed
        """
        self._check_may_decide()
        self._write_state("received", reason=False, attempts=0, retry_date=False)
        cron = self.env.ref("stock_event_ledger.cron_commands", raise_if_not_found=False)
        if cron:
            # sudo: whoever may retry commands need not be allowed to run scheduled actions.
            cron.sudo()._trigger()

    def action_reject(self):
        """Give failed commands up, and tell their senders so.

        :raises AccessError: unless the user may configure queues
        :raises UserError: when one of them has not failed
        """
        self._check_may_decide()
        for command in self:
            reason = {
                "code": "given_up",
                "message": self.env._("The command could not be run: %s", command.reason),
            }
            command._finish("rejected", [reason])

    def _check_may_decide(self):
        if not self.env["stock.command.queue"].has_access("write"):
            raise AccessError(
                self.env._("Retrying a command takes the right to configure event channels.")
            )
        self.check_access("read")
        if any(command.state != "failed" for command in self):
            raise UserError(self.env._("Only a command that has failed is retried or rejected."))

    def _write_state(self, state, **vals):
        # sudo: nobody has the right to write commands; callers have checked theirs.
        self.sudo().write({"state": state, **vals})

    # --- what was finished

    @api.model
    def _query_old(self, before):
        return SQL("state IN ('done', 'rejected') AND finished_date < %s", before)
