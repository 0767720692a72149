import json

from odoo import api, fields, models
from odoo.exceptions import AccessError, LockError, UserError
from odoo.tools import SQL

from ..broker import parse_command
from ..exceptions import CallBusy, IdempotencyConflict, InvalidInput
from ..locking import restartable
from ..relay.inbox import take_in_bounded

# After so many tries, which take two minutes, a command has failed.
MOST_ATTEMPTS = 8
LONGEST_RETRY_SECONDS = 60
# These refusals pass by themselves.
PASSING = (CallBusy, LockError)
# What programs are told of a refusal; the first that fits.
CODES = ((InvalidInput, "invalid"), (IdempotencyConflict, "conflict"), (AccessError, "forbidden"))


class StockCommand(models.Model):
    """What the worker, ``relay/inbox.py``, does with the inbox."""

    _inherit = "stock.command"

    # --- storing

    @api.model
    def _store(self, queue_id, deliveries):
        """Store messages as they came. To be committed before they are acknowledged.

        One that is no command is stored as rejected. One that came before is not stored
        again; if it was finished, its sender may have missed the reply, which is sent again.

        :param int queue_id: the stock.command.queue
        :param deliveries: list of Delivery
        """
        queue = self.env["stock.command.queue"].browse(queue_id)
        source = f"{queue.channel_id.code}/{queue.name}"
        for delivery in deliveries:
            command = parse_command(delivery.properties, delivery.body)
            vals = {
                "queue_id": queue.id,
                "company_id": queue.user_id.company_id.id,
                "source": source,
                "message_id": command.message_id,
                "operation": command.operation,
                "correlation_id": command.correlation_id,
                "reply_to": command.reply_to,
                "payload": command.payload,
                "is_valid": not command.problem,
                "state": "received",
                "received_date": fields.Datetime.now(),
                "attempts": 0,
                "repeat_count": 0,
            }
            if command.problem:
                self._store_rejected(vals, "malformed", command.problem)
            elif not self._insert(vals):
                self._store_repeat(vals)

    @api.model
    def _insert(self, vals):
        """Insert a row, unless it is there already, or is being inserted.

        :return: the row, empty if it is there
        """
        rows = self.env.execute_query(
            SQL(
                "INSERT INTO stock_command (%s) VALUES (%s) ON CONFLICT DO NOTHING RETURNING id",
                SQL(", ").join(SQL.identifier(column) for column in vals),
                SQL(", ").join(SQL("%s", value) for value in vals.values()),
            )
        )
        return self.browse(row_id for [row_id] in rows)

    @api.model
    def _store_rejected(self, vals, code, message):
        command = self._insert({**vals, "is_valid": False})
        command._finish("rejected", [{"code": code, "message": message}])

    @api.model
    def _store_repeat(self, vals):
        """Note that a message came again, or refuse another one with its id."""
        first = self.search(
            [
                ("source", "=", vals["source"]),
                ("message_id", "=", vals["message_id"]),
                ("is_valid", "=", True),
            ]
        )
        if (first.operation, first.payload) != (vals["operation"], vals["payload"]):
            message = self.env._(
                "The message id was used for another command before. Use a new one for each."
            )
            self._store_rejected(vals, "conflict", message)
            return
        first.repeat_count += 1
        first.reply_ids._send_again(("confirmed",))

    # --- running

    @api.model
    def _claim_next(self, queue_ids):
        """Return the next command to run, and count that it is begun.

        Commands of a queue are run in the order of receipt: one that waits for its next try
        holds those behind it, for two minutes at most. To be committed before it is run, so
        that one which takes the worker down with it is not begun for ever.

        :param list queue_ids: the queues that are consumed
        """
        rows = self.env.execute_query(self._query_claim_next(queue_ids))
        for command_id, attempts in rows:
            command = self.browse(command_id)
            if attempts <= MOST_ATTEMPTS:
                return command
            command.invalidate_recordset()
            command._write_state(
                "failed", reason=self.env._("The worker ended in the midst of it, each time.")
            )
        return self.browse()

    @api.model
    def _query_claim_next(self, queue_ids):
        return SQL(
            """UPDATE stock_command SET attempts = attempts + 1
                WHERE id = (
                      SELECT head.id
                        FROM UNNEST(%s::int[]) AS q (id)
                       CROSS JOIN LATERAL (
                             SELECT id, retry_date FROM stock_command
                              WHERE queue_id = q.id AND state = 'received'
                              ORDER BY id LIMIT 1) head
                       WHERE head.retry_date IS NULL
                          OR head.retry_date <= clock_timestamp() AT TIME ZONE 'UTC'
                       ORDER BY head.id LIMIT 1)
            RETURNING id, attempts""",
            list(queue_ids),
        )

    def _run(self):
        """Do what the command asks for, and note and answer it, in this transaction.

        Nothing is written before the effect: whoever decides on stock may begin the
        transaction again to get its locks. Two that run the same command at once both
        write its row in the end, which PostgreSQL lets only one of them do.

        :raises UserError: when it is refused; then nothing was done
        """
        self.ensure_one()
        if self.state != "received":
            return
        user = self.queue_id.user_id
        message_id = self.message_id
        service = self.env(user=user.id, context={"lang": user.lang, "tz": user.tz})[
            "stock.integration"
        ]
        body = json.loads(self.payload)
        operation = self.operation
        with (
            restartable(),
            self.env["stock.ledger.entry"]._caused_by(message_id, self.correlation_id),
        ):
            result = service._execute(operation, body, message_id, protocol="amqp")
        # Deciding on stock may have begun the transaction again, and then another one may
        # have run the command since; the key of the call has kept it from being done twice.
        if self.state != "received":
            return
        state = "rejected" if result.get("status") == "refused" else "done"
        self._finish(state, self._get_line_reasons(result), result, user)

    @api.model
    def _get_line_reasons(self, result):
        return [
            {"line": line["line"], **line["error"]}
            for line in result.get("lines", ())
            if line.get("error")
        ]

    @api.model
    def _is_refusal(self, error):
        """Return whether the sender has to change something: trying again would not help."""
        return isinstance(error, UserError) and not isinstance(error, PASSING)

    @api.model
    def _get_reasons(self, error):
        """Return why a command was refused, for programs and people.

        :param UserError error: what was raised
        :return: list of dictionaries: ``code``, ``message`` and, of wrong input, ``member``
        """
        code = next((code for kind, code in CODES if isinstance(error, kind)), "refused")
        problems = getattr(error, "problems", None) or [{"message": str(error)}]
        return [{"code": code, **problem} for problem in problems]

    # --- its end

    def _reject(self, error):
        """Note and answer that the command was refused, after its transaction was undone.

        :param UserError error: why
        """
        self.ensure_one()
        if self.state == "received":
            self._finish("rejected", self._get_reasons(error))

    def _postpone(self, error):
        """Try the command again later, or give up when that was tried often enough.

        :param Exception error: what happened, and is not its sender's fault
        """
        self.ensure_one()
        if self.state != "received":
            return
        reason = str(error).strip() or type(error).__name__
        if not isinstance(error, UserError):
            reason = f"{type(error).__name__}: {reason}"
        if self.attempts >= MOST_ATTEMPTS:
            self._write_state("failed", reason=reason, retry_date=False)
        else:
            delay = min(2 ** max(self.attempts - 1, 0), LONGEST_RETRY_SECONDS)
            retry_date = fields.Datetime.add(fields.Datetime.now(), seconds=delay)
            self._write_state("received", reason=reason, retry_date=retry_date)

    def _finish(self, state, reasons, result=None, user=None):
        """Note what became of the command, count it and queue its reply."""
        self.ensure_one()
        lines = [self._describe_reason(reason) for reason in reasons]
        self._write_state(
            state,
            reason="\n".join(lines) or False,
            result=result,
            retry_date=False,
            finished_date=fields.Datetime.now(),
            **({"user_id": user.id} if user else {}),
        )
        self.queue_id._count(state)
        self._reply(list(reasons))

    @api.model
    def _describe_reason(self, reason):
        place = reason.get("member")
        if "line" in reason:
            place = self.env._("Line %s", reason["line"])
        return f"{place}: {reason['message']}" if place else reason["message"]

    # --- the scheduled action

    @api.model
    def _cron_take_in(self):
        """Take in and run commands, for a bounded time, where no worker does."""
        if not self.env["stock.event.outbox"]._may_relay():
            return
        if self.env["stock.command.queue"]._get_consumed():
            cron = self.env["ir.cron"]
            take_in_bounded(self.env.cr.dbname, lambda count: cron._commit_progress(count))
