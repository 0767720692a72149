from datetime import timedelta

from odoo import api, fields, models

from .stock_event_channel_monitor import ERROR_SECONDS, MANY_ATTEMPTS
from .stock_event_metrics import counter, gauge


class StockEventChannel(models.Model):
    """A channel's responsible user is also told of trouble with its commands."""

    _inherit = "stock.event.channel"

    command_queue_ids = fields.One2many(
        "stock.command.queue", "channel_id", "Command Queues", context={"active_test": False}
    )

    def _get_alerts(self, is_worker_missed):
        alerts = super()._get_alerts(is_worker_missed)
        queues = self.command_queue_ids.filtered("active")
        limit = fields.Datetime.now() - timedelta(seconds=ERROR_SECONDS)
        troubles = [
            f"{queue.name}: {trouble}" for queue in queues if (trouble := queue._get_trouble(limit))
        ]
        if troubles and self.state == "running":
            alerts["commands_error"] = self.env._(
                "Commands are not consumed: %s", "; ".join(troubles)
            )
        if failed := sum(self.command_queue_ids.mapped("failed_count")):
            alerts["commands_failed"] = self.env._(
                "%s commands could not be run. Retry or reject them under Stock Ledger > "
                "Integration > Commands.",
                failed,
            )
        if stuck := self._count_stuck_messages():
            alerts["messages"] = self.env._(
                "%s replies or commands to partners could not be delivered, and are tried again. "
                "See Stock Ledger > Integration > Messages.",
                stuck,
            )
        return alerts

    def _count_stuck_messages(self):
        """Return how many messages need somebody: their queue has been missing for a while."""
        return self.env["stock.message.outbox"].search_count(
            [
                ("channel_id", "=", self.id),
                ("state", "=", "blocked"),
                ("attempts", ">=", MANY_ATTEMPTS),
            ]
        )


class StockCommandQueue(models.Model):
    """What is wrong with a queue."""

    _inherit = "stock.command.queue"

    def _get_trouble(self, limit):
        """Return why the queue is not consumed, if it is not.

        :param datetime limit: errors that began later may pass by themselves
        """
        self.ensure_one()
        if not self._has_able_user():
            return self.env._("its user is archived or no integration user any more")
        return self.last_error if self.last_error and self.error_date < limit else None


class StockEventMetrics(models.AbstractModel):
    """Commands, for Prometheus."""

    _inherit = "stock.event.metrics"

    @api.model
    def _collect(self):
        return [*super()._collect(), *self._collect_commands()]

    @api.model
    def _collect_commands(self):
        # As many as there are partners, those that are not consumed too.
        queues = self.env["stock.command.queue"].search([("active", "in", (True, False))])
        labels = ("channel", "queue")
        names = {queue: (queue.channel_id.code, queue.name) for queue in queues}
        yield gauge(
            "command_queue_up",
            "1 if the queue was consumed when that was last looked at, else 0.",
            {names[queue]: queue.is_consuming for queue in queues},
            labels,
        )
        yield gauge(
            "commands",
            "Commands that are to be run, or have failed and wait for somebody.",
            {
                (*names[queue], state): queue[f"{state}_count"]
                for queue in queues
                for state in ("received", "failed")
            },
            (*labels, "state"),
        )
        yield counter(
            "finished_commands",
            "Commands that were done or rejected.",
            {
                (*names[queue], state): queue[f"{state}_count"]
                for queue in queues
                for state in ("done", "rejected")
            },
            (*labels, "state"),
        )
        messages = self.env["stock.message.outbox"]
        counts = messages._read_group(
            [("state", "in", ("pending", "blocked"))], ["channel_id", "state"], ["__count"]
        )
        yield gauge(
            "messages",
            "Replies and other messages that the broker has not confirmed.",
            {(channel.code, state): count for channel, state, count in counts},
            ("channel", "state"),
        )
