from odoo import SUPERUSER_ID, api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.tools import SQL

from .stock_event_queue import MOST_BYTES


class StockCommandQueue(models.Model):
    """A queue on a channel's broker whose messages are commands to Odoo.

    Each has a user, in whose name and with whose rights its commands run: a partner gets a
    queue and a user of its own, and where brokers are shared a virtual host, which is a
    channel of its own. Commands are consumed and run while the channel publishes.
    """

    _name = "stock.command.queue"
    _description = "Command Queue"
    _order = "name, id"

    channel_id = fields.Many2one(
        "stock.event.channel", required=True, ondelete="cascade", index=True
    )
    name = fields.Char(
        "Queue",
        required=True,
        default="odoo.inventory.commands",
        help="What cannot be stored goes to the queue of this name with .dead at its end.",
    )
    active = fields.Boolean(
        "Consume", default=True, help="Commands of an inactive queue stay on the broker."
    )
    user_id = fields.Many2one(
        "res.users",
        "Runs As",
        required=True,
        ondelete="restrict",
        domain=lambda self: [("all_group_ids", "in", self._get_integration_group().ids)],
        help="Commands are run in this user's name, companies and rights: an integration user",
    )
    is_consuming = fields.Boolean("Consuming", readonly=True, copy=False)
    last_error = fields.Char(readonly=True, copy=False)
    error_date = fields.Datetime(readonly=True, copy=False)
    done_count = fields.Integer("Done", readonly=True, copy=False)
    rejected_count = fields.Integer("Rejected", readonly=True, copy=False)
    failed_count = fields.Integer("Failed", compute="_compute_counts")
    received_count = fields.Integer("To Do", compute="_compute_counts")

    _unique_name = models.UniqueIndex(
        "(channel_id, name)", "The channel consumes a queue of this name already."
    )

    @api.model
    def _get_integration_group(self):
        return self.env.ref("stock_event_ledger.group_integration")

    def _compute_counts(self):
        groups = self.env["stock.command"]._read_group(
            [("queue_id", "in", self.ids), ("state", "in", ("received", "failed"))],
            ["queue_id", "state"],
            ["__count"],
        )
        counts = {(queue.id, state): count for queue, state, count in groups}
        for queue in self:
            queue.failed_count = counts.get((queue.id, "failed"), 0)
            queue.received_count = counts.get((queue.id, "received"), 0)

    @api.constrains("name")
    def _check_name(self):
        for queue in self:
            # With the suffix of the queue for dead letters.
            if len(queue.name.encode()) > MOST_BYTES - 10:
                raise ValidationError(self.env._("The name of a queue of commands is too long."))

    @api.constrains("user_id")
    def _check_user(self):
        group = self._get_integration_group()
        for queue in self:
            if not queue._has_able_user():
                raise ValidationError(
                    self.env._(
                        "Commands run in the name of a user of the group %(group)s, and %(user)s "
                        "is none. Choose another one, or add this one to the group.",
                        group=group.name,
                        user=queue.user_id.name,
                    )
                )

    def _has_able_user(self):
        """Return whether the queue's user may run commands."""
        self.ensure_one()
        # sudo: whoever configures a queue may not see all users' groups.
        user = self.user_id.sudo()
        return (
            user.active
            and user.id != SUPERUSER_ID
            and self._get_integration_group() in user.all_group_ids
        )

    @api.ondelete(at_uninstall=False)
    def _unlink_except_unfinished(self):
        for queue in self:
            if queue.received_count or queue.failed_count:
                raise UserError(
                    self.env._(
                        "The queue %s has commands that are not finished. Let them be run, or "
                        "reject them, and then delete it.",
                        queue.name,
                    )
                )

    @api.readonly
    def action_open_commands(self):
        """Open the commands that came by these queues."""
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "stock_event_ledger.stock_command_action"
        )
        return {**action, "domain": [("queue_id", "in", self.ids)], "context": {}}

    # --- for the worker

    @api.model
    def _get_consumed(self):
        """Return the queues to consume now: (name, whether to declare, Target) by id.

        A neutralized database or a copy consumes nothing: what it took, the original
        would never get.
        """
        channels = self.env["stock.event.channel"]
        targets = channels._get_targets()
        queues = self.search([("channel_id", "in", list(targets))], order="id")
        return {
            queue.id: (
                queue.name,
                queue.channel_id.declares_topology,
                targets[queue.channel_id.id],
            )
            for queue in queues
            if queue._has_able_user()
        }

    @api.model
    def _record_status(self, queue_id, is_consuming, error=None):
        """Show whether a queue is consumed, and if not, why."""
        self.env.cr.execute(
            SQL(
                """UPDATE stock_command_queue
                      SET is_consuming = %(is_consuming)s, last_error = %(error)s,
                          error_date = CASE WHEN %(error)s IS NULL THEN NULL
                                            ELSE COALESCE(error_date, now() AT TIME ZONE 'UTC')
                                       END
                    WHERE id = %(id)s""",
                is_consuming=is_consuming,
                error=error,
                id=queue_id,
            )
        )
        self.invalidate_model(["is_consuming", "last_error", "error_date"], flush=False)

    def _count(self, state):
        """Count a command that is finished.

        :param str state: done or rejected
        """
        column = SQL.identifier(f"{state}_count")
        self.env.cr.execute(
            SQL(
                "UPDATE stock_command_queue SET %s = COALESCE(%s, 0) + 1 WHERE id = %s",
                column,
                column,
                self.id,
            )
        )
        self.invalidate_recordset([f"{state}_count"], flush=False)
