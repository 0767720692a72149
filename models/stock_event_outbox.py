from odoo import api, fields, models, modules
from odoo.exceptions import AccessError
from odoo.http import request
from odoo.tools import SQL, config, float_round, str2bool

from ..broker import Envelope, event_uuid
from ..broker.envelope import SCHEMA_VERSION
from ..fields import HistoricalMany2one
from ..relay.leader import NOTIFY_CHANNEL
from ..relay.relay import run_bounded

NACK_RETRY_SECONDS = 30


class StockEventOutbox(models.Model):
    """The events that a channel has not had confirmed yet.

    A row is written with its ledger entry, numbered by the relay, and deleted when the
    broker has confirmed the message. The relay is ``relay/relay.py``; this model holds
    what it does with the tables. Rows have these states:

    - pending: to be sent;
    - blocked: could not be delivered; it stops its key until someone retries it, or
      until its retry date;
    - waiting: behind a blocked row of its key.
    """

    _name = "stock.event.outbox"
    _description = "Stock Event Outbox"
    _order = "id"
    _rec_name = "entry_id"
    _log_access = False

    channel_id = HistoricalMany2one("stock.event.channel", required=True, readonly=True)
    entry_id = HistoricalMany2one("stock.ledger.entry", required=True, readonly=True)
    company_id = HistoricalMany2one("res.company", readonly=True)
    warehouse_id = HistoricalMany2one("stock.warehouse", readonly=True)
    product_id = HistoricalMany2one("product.product", required=True, readonly=True)
    sequence = fields.Integer(readonly=True, help="Number of the event in its key")
    on_hand_after = fields.Float(digits="Product Unit", readonly=True)
    reserved_after = fields.Float(digits="Product Unit", readonly=True)
    state = fields.Selection(
        [("pending", "Pending"), ("waiting", "Waiting"), ("blocked", "Blocked")],
        required=True,
        readonly=True,
    )
    attempts = fields.Integer(required=True, readonly=True)
    error = fields.Char(readonly=True)
    retry_date = fields.Datetime("Next Try", readonly=True)
    event_type = fields.Selection(related="entry_id.event_type")
    quantity = fields.Float(related="entry_id.quantity")
    reserved_quantity = fields.Float(related="entry_id.reserved_quantity")
    reference = fields.Char(related="entry_id.reference")
    recorded_date = fields.Datetime(related="entry_id.recorded_date")

    # The relay's reading order. A numbered row comes before those that are not, even
    # if its id is higher: ids do not commit in order, numbers are given in order.
    _pending_idx = models.Index("(channel_id, sequence, id) WHERE state = 'pending'")
    _key_idx = models.Index("(channel_id, product_id)")
    _blocked_idx = models.Index("(channel_id) WHERE state = 'blocked'")

    # --- writing, in the transaction that changes stock

    @api.model
    def _enqueue(self, entry_ids):
        """Queue new ledger entries for each active channel, and wake the relay.

        One statement without a row lock or a connection of its own. Entries of virtual
        locations are not published. The notification is sent by PostgreSQL if and when
        the transaction commits; it serialises commits at very high rates and can be
        switched off by the system parameter stock_event_ledger.notify = False: the
        relay looks by itself each second.

        :param list entry_ids: ids of ledger entries that this transaction inserted
        """
        self.env["stock.event.channel"].flush_model(["active"])
        self.env.cr.execute(self._query_enqueue(entry_ids, self._should_notify()))

    @api.model
    def _should_notify(self):
        # sudo: whoever moves stock may not read system parameters.
        parameters = self.env["ir.config_parameter"].sudo()
        return str2bool(parameters.get_param("stock_event_ledger.notify", "True"), True)

    @api.model
    def _query_enqueue(self, entry_ids, notify):
        return SQL(
            """WITH queued AS (
                   INSERT INTO stock_event_outbox (
                       channel_id, entry_id, company_id, warehouse_id, product_id,
                       state, attempts)
                   SELECT c.id, e.id, e.company_id, e.warehouse_id, e.product_id,
                          'pending', 0
                     FROM stock_event_channel c
                     JOIN stock_ledger_entry e ON e.id = ANY(%s)
                     JOIN stock_location l ON l.id = e.location_id
                    WHERE %s
                    ORDER BY e.id
                   RETURNING id)
               SELECT pg_notify(%s, '') FROM (SELECT FROM queued LIMIT 1) AS any_queued
                WHERE %s""",
            entry_ids,
            self._get_enqueue_condition(),
            NOTIFY_CHANNEL,
            notify,
        )

    @api.model
    def _get_enqueue_condition(self):
        """Return which entry ``e``, at location ``l``, goes to which channel ``c``."""
        return SQL("c.active AND l.usage IN ('internal', 'transit')")

    # --- relaying: numbers and figures

    @api.model
    def _take(self, channel_id, limit):
        """Number the next pending events of a channel and return them.

        To be committed before the events are sent, so that a repeat after a crash
        carries the same numbers. Events of a blocked key are put aside.

        :param int channel_id: the channel
        :param int limit: most rows to look at
        :return: list of Message in sending order, and the number of rows looked at
        """
        self.env.cr.execute(self._query_retry_due(channel_id))
        rows = self.env.execute_query_dict(self._query_pending(channel_id, limit))
        if not rows:
            return [], 0
        key_by_row = {row["id"]: self._get_key(row) for row in rows}
        keys = self.env["stock.event.key"]._lock(channel_id, set(key_by_row.values()))
        self._ensure_figures(channel_id, keys)
        aside = [row for row in rows if keys[key_by_row[row["id"]]]["is_blocked"]]
        sendable = [row for row in rows if not keys[key_by_row[row["id"]]]["is_blocked"]]
        self._set_aside(aside)
        self._number(sendable, keys)
        envelope = Envelope(self.env["stock.event.channel"]._get_database_uuid())
        messages = [
            envelope.build_message(row["id"], self._prepare_event(row, envelope.database_uuid))
            for row in sendable
        ]
        return messages, len(rows)

    @api.model
    def _get_key(self, row):
        return row["company_id"], row["warehouse_id"], row["product_id"]

    @api.model
    def _query_pending(self, channel_id, limit):
        """Return the query of the next rows, with all that their events tell."""
        return SQL(
            """
            WITH pending AS MATERIALIZED (
                SELECT * FROM stock_event_outbox
                 WHERE channel_id = %s AND state = 'pending'
                 ORDER BY channel_id, sequence, id
                 LIMIT %s)
            SELECT o.id, o.company_id, o.warehouse_id, o.product_id, o.sequence,
                   o.on_hand_after, o.reserved_after,
                   e.id AS entry_id, e.event_type, e.quantity, e.reserved_quantity,
                   e.location_id, e.owner_id, e.effective_date, e.recorded_date,
                   e.move_id, e.reference, e.origin, e.user_id, e.corrects_entry_id,
                   corrected.recorded_date AS corrected_date,
                   product.default_code AS sku, uom.name ->> 'en_US' AS uom,
                   warehouse.code AS warehouse_code, lot.name AS lot,
                   package.name AS package
              FROM pending o
              JOIN stock_ledger_entry e ON e.id = o.entry_id
              LEFT JOIN stock_ledger_entry corrected
                     ON corrected.id = e.corrects_entry_id
              LEFT JOIN product_product product ON product.id = o.product_id
              LEFT JOIN product_template template
                     ON template.id = product.product_tmpl_id
              LEFT JOIN uom_uom uom ON uom.id = template.uom_id
              LEFT JOIN stock_warehouse warehouse ON warehouse.id = o.warehouse_id
              LEFT JOIN stock_lot lot ON lot.id = e.lot_id
              LEFT JOIN stock_package package ON package.id = e.package_id
             ORDER BY o.sequence, o.id
            """,
            channel_id,
            limit,
        )

    @api.model
    def _ensure_figures(self, channel_id, keys):
        """Read from the ledger the figures of keys that have none yet.

        From then on each event adds to its predecessor's: a poll costs the same
        whatever the backlog.
        """
        missing = {
            key for key, row in keys.items() if row["on_hand"] is None and not row["is_blocked"]
        }
        if not missing:
            return
        for row in self.env.execute_query_dict(self._query_figures(channel_id, missing)):
            keys[self._get_key(row)].update(on_hand=row["on_hand"], reserved=row["reserved"])

    @api.model
    def _query_figures(self, channel_id, keys):
        """Return the query of what keys had before their first event without a number.

        That is all that is committed, rollup and deltas, minus what the events without
        a number add: one snapshot sees all of it.
        """
        key_model = self.env["stock.event.key"]
        return SQL(
            """
            SELECT k.company_id, k.warehouse_id, k.product_id,
                   COALESCE(SUM(s.quantity), 0) AS on_hand,
                   COALESCE(SUM(s.reserved_quantity), 0) AS reserved
              FROM %(keys)s
              LEFT JOIN (
                    SELECT b.product_id, l.warehouse_id, b.company_id, b.quantity,
                           b.reserved_quantity
                      FROM (SELECT product_id, location_id, company_id, quantity,
                                   reserved_quantity
                              FROM stock_ledger_balance
                             WHERE product_id = ANY(%(products)s)
                             UNION ALL
                            SELECT product_id, location_id, company_id, quantity,
                                   reserved_quantity
                              FROM stock_ledger_delta
                             WHERE product_id = ANY(%(products)s)) b
                      JOIN stock_location l ON l.id = b.location_id
                     WHERE l.usage IN ('internal', 'transit')
                     UNION ALL
                    SELECT o.product_id, o.warehouse_id, o.company_id, -e.quantity,
                           -e.reserved_quantity
                      FROM stock_event_outbox o
                      JOIN stock_ledger_entry e ON e.id = o.entry_id
                     WHERE o.channel_id = %(channel_id)s AND o.sequence IS NULL
                       AND o.product_id = ANY(%(products)s)
              ) s ON %(same_key)s
             GROUP BY k.company_id, k.warehouse_id, k.product_id
            """,
            keys=key_model._query_keys(keys),
            same_key=key_model._query_same_key("s", "k"),
            products=list({product_id for _company, _warehouse, product_id in keys}),
            channel_id=channel_id,
        )

    @api.model
    def _number(self, rows, keys):
        """Give rows without a number their key's next number and figures."""
        digits = self.env["decimal.precision"].precision_get("Product Unit")
        new_rows = [row for row in rows if row["sequence"] is None]
        for row in new_rows:
            key = keys[self._get_key(row)]
            key["last_sequence"] += 1
            for figure, change in (
                ("on_hand", row["quantity"]),
                ("reserved", row["reserved_quantity"]),
            ):
                key[figure] = float_round(key[figure] + change, precision_digits=digits)
                row[figure + "_after"] = key[figure]
            row["sequence"] = key["last_sequence"]
        if new_rows:
            changed = {self._get_key(row) for row in new_rows}
            self.env["stock.event.key"]._store([keys[key] for key in changed])
            self.env.cr.execute(self._query_store_numbers(new_rows))

    @api.model
    def _query_store_numbers(self, rows):
        return SQL(
            """UPDATE stock_event_outbox o
                  SET sequence = v.sequence, on_hand_after = v.on_hand_after,
                      reserved_after = v.reserved_after
                 FROM UNNEST(%s::int[], %s::int[], %s::numeric[], %s::numeric[])
                      AS v (id, sequence, on_hand_after, reserved_after)
                WHERE o.id = v.id""",
            [row["id"] for row in rows],
            [row["sequence"] for row in rows],
            [row["on_hand_after"] for row in rows],
            [row["reserved_after"] for row in rows],
        )

    @api.model
    def _set_aside(self, rows):
        if rows:
            self.env.cr.execute(
                SQL(
                    "UPDATE stock_event_outbox SET state = 'waiting' WHERE id = ANY(%s)",
                    [row["id"] for row in rows],
                )
            )

    # --- relaying: the event

    @api.model
    def _prepare_event(self, row, database_uuid):
        """Return an event's flat body.

        :param dict row: of ``_query_pending``, numbered
        :param str database_uuid: Odoo's ``database.uuid``
        """
        on_hand, reserved = row["on_hand_after"], row["reserved_after"]
        recorded = row["recorded_date"]
        corrects = row["corrects_entry_id"]
        return {
            "event_id": event_uuid(recorded, database_uuid, row["entry_id"]),
            "event_type": row["event_type"],
            "schema_version": SCHEMA_VERSION,
            "product_id": row["product_id"],
            "sku": row["sku"],
            "warehouse_id": row["warehouse_id"],
            "warehouse_code": row["warehouse_code"],
            "quantity": row["quantity"],
            "reserved_quantity": row["reserved_quantity"],
            "uom": row["uom"],
            "on_hand_after": on_hand,
            "reserved_after": reserved,
            "available_after": self._subtract(on_hand, reserved),
            "sequence": row["sequence"],
            "location_id": row["location_id"],
            "lot": row["lot"],
            "package": row["package"],
            "owner_id": row["owner_id"],
            "company_id": row["company_id"],
            "reference": {
                "model": "stock.move" if row["move_id"] else "stock.ledger.entry",
                "id": row["move_id"] or row["entry_id"],
                "transfer": row["reference"],
                "origin": row["origin"],
            },
            "effective_at": row["effective_date"].isoformat() + "Z",
            "recorded_at": recorded.isoformat(timespec="milliseconds") + "Z",
            "user_id": row["user_id"],
            "correlation_id": None,
            "causation_id": None,
            "corrects_event_id": corrects
            and event_uuid(row["corrected_date"], database_uuid, corrects),
            "replay": False,
        }

    @api.model
    def _subtract(self, left, right):
        digits = self.env["decimal.precision"].precision_get("Product Unit")
        return float_round(left - right, precision_digits=digits)

    # --- relaying: after the broker's answer

    @api.model
    def _settle(self, channel_id, batch):
        """Delete what the broker confirmed and block what it could not deliver.

        An event without a queue blocks its key until someone retries it. One that the
        broker refused is tried again by itself.

        :param int channel_id: the channel
        :param Batch batch: what became of the messages, by outbox id
        """
        if batch.confirmed:
            self.env.cr.execute(
                SQL(
                    "DELETE FROM stock_event_outbox WHERE id = ANY(%s)",
                    list(batch.confirmed),
                )
            )
            self.env["stock.event.channel"]._record_confirms(channel_id, len(batch.confirmed))
        self._block(batch.returned, retry=False)
        self._block(batch.refused, retry=True)

    @api.model
    def _block(self, reasons, retry):
        if reasons:
            self.env.cr.execute(self._query_block(reasons, retry))

    @api.model
    def _query_block(self, reasons, retry):
        """Return the statement that blocks rows and their keys.

        Whoever retries a key locks it first, and so does this.
        """
        return SQL(
            """
            WITH blocked AS (
                UPDATE stock_event_outbox o
                   SET state = 'blocked', error = v.reason, attempts = o.attempts + 1,
                       retry_date = CASE WHEN %(retry)s THEN
                           now() AT TIME ZONE 'UTC' + LEAST(
                               power(2, LEAST(o.attempts, 10)), %(most)s
                           ) * (0.5 + random()) * INTERVAL '1 second' END
                  FROM UNNEST(%(ids)s::int[], %(reasons)s::text[]) AS v (id, reason)
                 WHERE o.id = v.id
             RETURNING o.channel_id, o.company_id, o.warehouse_id, o.product_id)
            UPDATE stock_event_key r SET is_blocked = TRUE
              FROM blocked b
             WHERE r.channel_id = b.channel_id AND %(same_key)s
            """,
            retry=retry,
            most=NACK_RETRY_SECONDS,
            ids=list(reasons),
            reasons=list(reasons.values()),
            same_key=self.env["stock.event.key"]._query_same_key("r", "b"),
        )

    @api.model
    def _query_retry_due(self, channel_id):
        return self._query_release(
            SQL("channel_id = %s AND retry_date <= now() AT TIME ZONE 'UTC'", channel_id)
        )

    @api.model
    def _query_release(self, condition):
        """Return the statement that makes blocked rows, and those behind, pending."""
        same_key = self.env["stock.event.key"]._query_same_key
        return SQL(
            """
            WITH released AS (
                UPDATE stock_event_outbox SET state = 'pending', retry_date = NULL
                 WHERE state = 'blocked' AND %s
             RETURNING channel_id, company_id, warehouse_id, product_id),
            keys AS (
                UPDATE stock_event_key r SET is_blocked = FALSE FROM released
                 WHERE r.channel_id = released.channel_id AND %s)
            UPDATE stock_event_outbox o SET state = 'pending' FROM released
             WHERE o.state = 'waiting' AND o.channel_id = released.channel_id AND %s
            """,
            condition,
            same_key("r", "released"),
            same_key("o", "released"),
        )

    def action_retry(self):
        """Send blocked events again, and then what waits behind them.

        :raises AccessError: unless the user may change channels
        """
        if not self.env["stock.event.channel"].has_access("write"):
            raise AccessError(
                self.env._("Retrying an event takes the right to configure channels.")
            )
        self.check_access("read")
        self.env.cr.execute(self._query_release(SQL("id = ANY(%s)", self.ids)))
        self.env.cr.execute(SQL("SELECT pg_notify(%s, '')", NOTIFY_CHANNEL))
        self.invalidate_model(flush=False)

    # --- the scheduled action

    @api.model
    def _cron_relay(self):
        """Publish what is pending, for a bounded time, where no worker does."""
        if not self._may_relay() or not self._has_work():
            return
        cron = self.env["ir.cron"]
        run_bounded(
            self.env.cr.dbname,
            lambda count, more: cron._commit_progress(count, remaining=int(more)),
        )

    @api.model
    def _may_relay(self):
        """Return whether this process may talk to the broker.

        Not a web request, whose time is a user's; not a test or an installation, whose
        database may be a copy or be about to be rolled back.
        """
        return not (
            request
            or modules.module.current_test
            or config["stop_after_init"]
            or config["test_enable"]
        )

    @api.model
    def _has_work(self):
        targets = self.env["stock.event.channel"]._get_targets()
        return any(self._has_pending(channel_id) for channel_id in targets)

    @api.model
    def _has_pending(self, channel_id):
        """Return whether a channel has events that can be sent now."""
        return bool(
            self.env.execute_query(
                SQL(
                    """SELECT FROM stock_event_outbox
                        WHERE channel_id = %(channel_id)s AND state = 'pending'
                        UNION ALL
                       SELECT FROM stock_event_outbox
                        WHERE channel_id = %(channel_id)s AND state = 'blocked'
                          AND retry_date <= now() AT TIME ZONE 'UTC'
                        LIMIT 1""",
                    channel_id=channel_id,
                )
            )
        )
