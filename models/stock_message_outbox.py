import json
from datetime import UTC

import pika

from odoo import api, fields, models
from odoo.exceptions import AccessError
from odoo.tools import SQL

from ..broker import Message, cut_routing_key, new_uuid
from ..fields import to_array

# The longest time between two tries of a message that the broker has no queue for.
LONGEST_RETRY_SECONDS = 300


class StockMessageOutbox(models.Model):
    """What is sent to a broker beside events: replies to commands, commands to others.

    A row is written in the transaction that the message is about, published by the relay
    after its commit, at least once and always with the same id, and kept for a while. Those
    of one partition key are delivered in the order in which they were written: one that
    cannot be delivered is blocked, is tried again by itself, and holds those behind it.
    """

    _name = "stock.message.outbox"
    _inherit = ["stock.retention.mixin"]
    _description = "Stock Message"
    _order = "id desc"
    _rec_name = "message_type"
    _log_access = False
    _keep_parameter = "event_keep_days"

    channel_id = fields.Many2one(
        "stock.event.channel", required=True, readonly=True, ondelete="cascade"
    )
    company_id = fields.Many2one("res.company", readonly=True)
    created_date = fields.Datetime(
        "Created", required=True, readonly=True, default=fields.Datetime.now
    )
    message_id = fields.Char("Message ID", required=True, readonly=True, index=True)
    message_type = fields.Char("Type", required=True, readonly=True)
    exchange = fields.Char(
        readonly=True, help="None: the default exchange, which leads to the queue of that name"
    )
    routing_key = fields.Char(required=True, readonly=True)
    reply_to = fields.Char(readonly=True, help="The queue that an answer is asked for in")
    correlation_id = fields.Char("Correlation ID", readonly=True)
    causation_id = fields.Char(
        "Causation ID", readonly=True, index="btree_not_null", help="The message it answers"
    )
    headers = fields.Json(readonly=True)
    body = fields.Text(required=True, readonly=True)
    body_pretty = fields.Text("Content", compute="_compute_body_pretty")
    is_mandatory = fields.Boolean(
        "Mandatory",
        readonly=True,
        help="It waits until there is a queue that takes it. Otherwise nobody has to listen.",
    )
    partition_key = fields.Char(
        readonly=True, help="Messages with the same one are delivered in order."
    )
    state = fields.Selection(
        [
            ("pending", "Pending"),
            ("blocked", "Blocked"),
            ("confirmed", "Confirmed"),
            ("cancelled", "Given Up"),
        ],
        required=True,
        readonly=True,
        default="pending",
    )
    attempts = fields.Integer("Failed Attempts", required=True, readonly=True, default=0)
    error = fields.Char(readonly=True)
    retry_date = fields.Datetime("Next Try", readonly=True)
    confirmed_date = fields.Datetime("Confirmed", readonly=True)

    _pending_idx = models.Index("(channel_id, id) WHERE state = 'pending'")
    _blocked_idx = models.Index("(channel_id, partition_key, id) WHERE state = 'blocked'")
    _settled_idx = models.Index("(created_date) WHERE state IN ('confirmed', 'cancelled')")

    @api.depends("body")
    def _compute_body_pretty(self):
        for message in self:
            message.body_pretty = json.dumps(json.loads(message.body), indent=2, ensure_ascii=False)

    # --- writing

    @api.model
    def _send(
        self,
        channel,
        message_type,
        body,
        routing_key,
        exchange="",
        is_mandatory=True,
        partition_key=None,
        reply_to=None,
        correlation_id=None,
        causation_id=None,
        message_id=None,
        company=None,
    ):
        """Queue a message: it is published if and when this transaction commits.

        In the broker's default exchange, which ``exchange`` names if it is empty, the
        routing key is the name of a queue.

        :param channel: the stock.event.channel through whose connection it goes
        :param str message_type: such as command.accepted; the CloudEvents type is made of it
        :param dict body: what becomes the JSON body
        :param str routing_key: cut where it is longer than AMQP allows
        :param bool is_mandatory: whether it waits for a queue that takes it
        :param str partition_key: those with the same one are delivered in order
        :param str message_id: a UUID of the caller's own, else a new one
        :param company: the res.company whose users may see it, else the current one
        :return: the row
        """
        message_id = message_id or new_uuid()
        # sudo: whose work leads to a message need not be allowed to read those of others.
        message = (
            self.sudo()
            .create(
                {
                    "channel_id": channel.id,
                    "company_id": (company or self.env.company).id,
                    "message_id": message_id,
                    "message_type": message_type,
                    "exchange": exchange,
                    "routing_key": cut_routing_key(routing_key),
                    "reply_to": reply_to,
                    "correlation_id": correlation_id,
                    "causation_id": causation_id,
                    "headers": self._prepare_headers(message_id, message_type),
                    "body": json.dumps(body, ensure_ascii=False),
                    "is_mandatory": is_mandatory,
                    "partition_key": partition_key,
                }
            )
            .with_env(self.env)
        )
        self._wake()
        return message

    @api.model
    def _prepare_headers(self, message_id, message_type):
        """Return the CloudEvents attributes of a message, in binary mode."""
        uuid = self.env["stock.event.channel"]._get_database_uuid()
        now = fields.Datetime.now()
        return {
            "cloudEvents_specversion": "1.0",
            "cloudEvents_id": message_id,
            "cloudEvents_type": f"com.odoo.inventory.{message_type}.v1",
            "cloudEvents_source": f"/odoo/{uuid}/inventory",
            "cloudEvents_time": f"{now.isoformat()}Z",
        }

    @api.model
    def _wake(self):
        """Have the relay look when this transaction has committed."""
        outbox = self.env["stock.event.outbox"]
        outbox._wake_relay()
        outbox._ring_after_commit()

    # --- by hand

    def action_retry(self):
        """Send blocked and given up messages again, with the same ids.

        :raises AccessError: unless the user may change channels
        """
        self._check_may_change()
        self._send_again(("blocked", "cancelled"))

    def action_cancel(self):
        """Give blocked messages up, and send what waits behind them.

        :raises AccessError: unless the user may change channels
        """
        self._check_may_change()
        # sudo: the right to configure the channels, just checked, is what it takes.
        blocked = self.sudo().filtered(lambda message: message.state == "blocked")
        blocked.write({"state": "cancelled", "retry_date": False})
        self._wake()

    def _send_again(self, states):
        """Make messages pending that are in one of these states."""
        # sudo: nobody has the right to write messages; callers have checked theirs.
        messages = self.sudo().filtered(lambda message: message.state in states)
        messages.write({"state": "pending", "retry_date": False, "confirmed_date": False})
        self._wake()

    def _check_may_change(self):
        if not self.env["stock.event.channel"].has_access("write"):
            raise AccessError(
                self.env._("Retrying a message takes the right to configure event channels.")
            )
        self.check_access("read")

    # --- relaying

    @api.model
    def _has_pending(self, channel_id):
        """Return whether a channel has messages that can be sent now."""
        return bool(
            self.env.execute_query(
                SQL(
                    """SELECT FROM stock_message_outbox
                        WHERE channel_id = %(channel_id)s AND state = 'blocked'
                          AND retry_date <= now() AT TIME ZONE 'UTC'
                        UNION ALL
                       (%(pending)s)
                        LIMIT 1""",
                    channel_id=channel_id,
                    pending=SQL("SELECT FROM (%s) p", self._query_pending(channel_id, 1, ())),
                )
            )
        )

    @api.model
    def _take(self, channel_id, limit, in_flight=()):
        """Return the next messages of a channel: what the relay asks of each outbox.

        :param int channel_id: the channel
        :param int limit: most rows to look at
        :param in_flight: ids of the rows whose messages are on their way
        :return: list of Message in sending order, and the number of rows looked at
        """
        self.env.cr.execute(
            SQL(
                """UPDATE stock_message_outbox SET state = 'pending', retry_date = NULL
                    WHERE channel_id = %s AND state = 'blocked'
                      AND retry_date <= now() AT TIME ZONE 'UTC'""",
                channel_id,
            )
        )
        rows = self.env.execute_query(self._query_pending(channel_id, limit, in_flight))
        messages = self.browse([row_id for [row_id] in rows])
        messages.invalidate_recordset()
        return [message._prepare_message() for message in messages], len(messages)

    @api.model
    def _query_pending(self, channel_id, limit, in_flight):
        return SQL(
            """SELECT o.id FROM stock_message_outbox o
                WHERE o.channel_id = %(channel_id)s AND o.state = 'pending'
                  AND o.id <> ALL(%(in_flight)s::int[])
                  AND NOT EXISTS (
                      SELECT FROM stock_message_outbox b
                       WHERE b.channel_id = o.channel_id AND b.state = 'blocked'
                         AND b.partition_key = o.partition_key AND b.id < o.id)
                ORDER BY o.id LIMIT %(limit)s""",
            channel_id=channel_id,
            in_flight=to_array(in_flight),
            limit=limit,
        )

    def _prepare_message(self):
        """Return what the publisher sends."""
        self.ensure_one()
        return Message(
            token=self.id,
            key=self.partition_key or self.message_id,
            exchange=self.exchange or "",
            routing_key=self.routing_key,
            properties=pika.BasicProperties(
                message_id=self.message_id,
                type=self.message_type,
                content_type="application/json",
                delivery_mode=2,
                timestamp=int(self.created_date.replace(tzinfo=UTC).timestamp()),
                app_id="odoo",
                correlation_id=self.correlation_id or None,
                reply_to=self.reply_to or None,
                headers=self.headers,
            ),
            body=self.body.encode(),
            mandatory=self.is_mandatory,
        )

    @api.model
    def _settle(self, channel_id, batch):
        """Note what the broker confirmed; try the rest again later.

        :param int channel_id: the channel
        :param Batch batch: what became of the messages, by outbox id
        """
        self.env.cr.execute(
            SQL(
                """UPDATE stock_message_outbox
                      SET state = 'confirmed', error = NULL,
                          confirmed_date = clock_timestamp() AT TIME ZONE 'UTC'
                    WHERE channel_id = %s AND id = ANY(%s::int[])""",
                channel_id,
                to_array(batch.confirmed),
            )
        )
        reasons = {**batch.returned, **batch.refused}
        self.env.cr.execute(
            SQL(
                """UPDATE stock_message_outbox o
                      SET state = 'blocked', error = v.reason, attempts = o.attempts + 1,
                          retry_date = now() AT TIME ZONE 'UTC' + LEAST(
                              power(2, LEAST(o.attempts, 10)), %s
                          ) * (0.5 + random() / 2) * INTERVAL '1 second'
                     FROM UNNEST(%s::int[], %s::text[]) AS v (id, reason)
                    WHERE o.id = v.id""",
                LONGEST_RETRY_SECONDS,
                list(reasons),
                list(reasons.values()),
            )
        )

    # --- what was sent

    @api.model
    def _query_old(self, before):
        return SQL("state IN ('confirmed', 'cancelled') AND created_date < %s", before)
