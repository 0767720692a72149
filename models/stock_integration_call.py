import hashlib
import json
import time
from typing import Any, NamedTuple

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from ..exceptions import IdempotencyConflict
from ..fields import HistoricalMany2one
from ..integration import Operation, get_known_part
from ..waiting import CALL_LOCK_CLASS, get_lock_number

PROTOCOLS = [("rpc", "XML-RPC or JSON-2"), ("rest", "REST"), ("amqp", "RabbitMQ")]
STATES = [
    ("done", "Done"),
    ("partial", "Partly Done"),
    ("refused", "Refused"),
    ("failed", "Failed"),
]
# What is kept of the body of a call that failed, and of why, in characters.
MOST_BODY = 20_000
MOST_ERROR = 2_000


class Call(NamedTuple):
    """A write as it was called; ``body`` is not checked, and ``started`` is monotonic."""

    definition: Operation
    body: Any
    key: Any
    protocol: str
    started: float


class StockIntegrationCall(models.Model):
    """A write that an integrator called: for the audit, and so that it is done once.

    A call that failed as a whole did nothing, and its key may be used again.
    """

    _name = "stock.integration.call"
    _description = "Stock Integration Call"
    _inherit = ["stock.historical.mixin", "stock.retention.mixin"]
    _order = "id desc"
    _rec_name = "operation"
    _log_access = False
    _keep_parameter = "integration_call_days"

    date = fields.Datetime("Called", required=True, readonly=True, index=True)
    user_id = HistoricalMany2one("res.users", required=True, readonly=True)
    company_id = HistoricalMany2one(
        "res.company", readonly=True, help="Company of the warehouse, else of the user"
    )
    operation = fields.Char(required=True, readonly=True)
    idempotency_key = fields.Char(
        readonly=True,
        index="btree_not_null",
        help="The caller's name of the call. Called again with the same name, it does nothing "
        "and is answered with the first result.",
    )
    protocol = fields.Selection(PROTOCOLS, required=True, readonly=True)
    state = fields.Selection(
        STATES,
        required=True,
        readonly=True,
        help="Done: all of its lines.\n"
        "Partly Done: some of its lines were refused.\n"
        "Refused: all of its lines were.\n"
        "Failed: the call was wrong, not allowed or refused as a whole. It did nothing, and "
        "its key may be used again.",
    )
    line_count = fields.Integer("Lines", readonly=True)
    duration = fields.Float(
        "Duration (s)", digits=(16, 3), readonly=True, help="With the time that it waited"
    )
    error = fields.Text(readonly=True, help="Why the call, or some of its lines, were not done")
    body = fields.Text(readonly=True, help="What the caller sent")
    result = fields.Text(readonly=True, help="What the caller was answered with")
    fingerprint = fields.Char(readonly=True, help="SHA-256 of the operation and the body")
    transfer_count = fields.Integer("Transfers", compute="_compute_counts")
    move_count = fields.Integer("Stock Moves", compute="_compute_counts")

    # What failed did nothing, and leaves the key free.
    _key_uniq = models.UniqueIndex("(user_id, idempotency_key) WHERE state <> 'failed'")

    @api.depends("operation", "idempotency_key")
    def _compute_display_name(self):
        for call in self:
            call.display_name = " ".join(filter(None, (call.operation, call.idempotency_key)))

    @api.depends("result")
    def _compute_counts(self):
        for call in self:
            call.transfer_count = len(call._get_transfer_ids())
            call.move_count = len(call._get_move_ids())

    # --- each once

    @api.model
    def _get_key_number(self, key):
        return get_lock_number((self.env.uid, key))

    @api.model
    def _lock_key(self, key):
        """Keep others from calling something with this key until the transaction ends.

        :return: whether nobody else does
        """
        [[locked]] = self.env.execute_query(
            SQL(
                "SELECT pg_try_advisory_xact_lock(%s, %s)",
                CALL_LOCK_CLASS,
                self._get_key_number(key),
            )
        )
        return locked

    @api.model
    def _find_first(self, key):
        """Return the user's call with this key that was done, if there was one."""
        # sudo: that it was called is for the caller to know, whatever page may be read.
        return self.sudo().search(
            [
                ("user_id", "=", self.env.uid),
                ("idempotency_key", "=", key),
                ("state", "!=", "failed"),
            ]
        )

    def _get_first_result(self, definition, data):
        """Return what the call was answered with the first time.

        :raises IdempotencyConflict: when it was another one
        """
        self.ensure_one()
        if self.fingerprint != self._get_fingerprint(definition, data):
            raise IdempotencyConflict(
                self.env._(
                    "The key was used for another call on %(date)s UTC (%(operation)s). "
                    "Use a new key for each call.",
                    date=fields.Datetime.to_string(self.date),
                    operation=self.operation,
                )
            )
        return json.loads(self.result)

    @api.model
    def _get_fingerprint(self, definition, data):
        body = json.dumps([definition.name, self._get_body(data)], sort_keys=True)
        return hashlib.sha256(body.encode()).hexdigest()

    @api.model
    def _get_body(self, data):
        """Return a checked body as it was sent, with equal quantities written alike."""
        return data.model_dump(mode="json", exclude_none=True)

    # --- the audit

    @api.model
    def _note(self, call, data, result, company):
        """Keep a call that was done, in its transaction.

        :param Call call: the call
        :param data: its checked body
        :param dict result: its answer
        :param company: whose stock it was about
        """
        lines = result.get("lines", ())
        refused = [line for line in lines if line.get("error")]
        self._insert(
            call,
            {
                "company_id": company.id,
                "idempotency_key": call.key,
                "state": result["status"],
                "line_count": len(lines),
                "error": "\n".join(
                    f"{line['line']}: {line['error']['message']}" for line in refused
                )
                or None,
                "body": json.dumps(self._get_body(data), indent=2, ensure_ascii=False),
                "result": json.dumps(result, indent=2, ensure_ascii=False),
                "fingerprint": self._get_fingerprint(call.definition, data),
            },
        )

    @api.model
    def _note_failure(self, call, error):
        """Keep a call that failed, in a transaction of its own: the caller's is rolled back.

        :param Call call: the call
        :param error: the exception
        """
        # What other exceptions say may be more than is meant to be read.
        message = str(error) if isinstance(error, UserError) else type(error).__name__
        body = get_known_part(call.definition, call.body)
        lines = body.get("lines")
        with self.pool.cursor() as cr:
            self.with_env(self.env(cr=cr))._insert(
                call,
                {
                    "company_id": self.env.user.company_id.id,
                    # A wrong key may be anything.
                    "idempotency_key": ascii(call.key)[1:-1][:256]
                    if isinstance(call.key, str)
                    else None,
                    "state": "failed",
                    "line_count": len(lines) if isinstance(lines, list) else 0,
                    "error": message[:MOST_ERROR],
                    "body": json.dumps(body, indent=2)[:MOST_BODY],
                },
            )

    @api.model
    def _insert(self, call, vals):
        """Insert a call, by SQL: whoever calls has no right to enter calls.

        Where the key was used since the snapshot, PostgreSQL makes this a conflict, and Odoo
        does the request again.
        """
        vals = {
            "date": fields.Datetime.now(),
            "user_id": self.env.uid,
            "operation": call.definition.name,
            "protocol": call.protocol,
            "duration": round(time.monotonic() - call.started, 3),
            **vals,
        }
        self.env.cr.execute(
            SQL(
                "INSERT INTO stock_integration_call (%s) VALUES (%s) ON CONFLICT DO NOTHING",
                SQL(", ").join(SQL.identifier(column) for column in vals),
                SQL(", ").join(SQL("%s", value) for value in vals.values()),
            )
        )

    @api.model
    def _query_old(self, before):
        return SQL("date < %s", before)

    # --- what calls did

    def _get_results(self):
        return [json.loads(result) for result in self.mapped("result") if result]

    def _get_transfer_ids(self):
        return [
            transfer["id"]
            for result in self._get_results()
            for transfer in result.get("transfers", ())
        ]

    def _get_move_ids(self):
        return [
            move_id
            for result in self._get_results()
            for line in result.get("lines", ())
            for move_id in line.get("move_ids", ())
        ]

    @api.readonly
    def action_view_transfers(self):
        """Open the transfers that these calls made.

        :return: a window action
        """
        action = self.env["ir.actions.act_window"]._for_xml_id("stock.action_picking_tree_all")
        return {
            **action,
            "name": self.env._("Transfers"),
            "domain": [("id", "in", self._get_transfer_ids())],
            "context": {},
        }

    @api.readonly
    def action_view_moves(self):
        """Open the stock moves that these calls made.

        :return: a window action
        """
        action = self.env["ir.actions.act_window"]._for_xml_id("stock.stock_move_action")
        return {**action, "domain": [("id", "in", self._get_move_ids())], "context": {}}
