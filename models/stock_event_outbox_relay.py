from odoo import api, models
from odoo.fields import Domain
from odoo.tools import SQL

from ..broker import event_uuid, gap_event_uuid
from ..broker.envelope import SCHEMA_VERSION
from ..fields import to_array

NACK_RETRY_SECONDS = 30


class StockEventOutbox(models.Model):
    """What the relay, ``relay/relay.py``, does with the outbox."""

    _inherit = "stock.event.outbox"

    # --- relaying: numbers and figures

    @api.model
    def _take(self, channel_id, limit, in_flight=()):
        """Number the next pending events of a channel and return them.

        To be committed before the events are sent, so that a repeat after a crash
        carries the same numbers. Events of a blocked key are put aside, those that the
        channel's product domain leaves out are dropped.

        :param int channel_id: the channel
        :param int limit: most rows to look at
        :param in_flight: ids of the rows whose messages are on their way
        :return: list of Message in sending order, and the number of rows looked at
        """
        [[has_retry_due, was_changed, has_types]] = self.env.execute_query(
            self._query_conditions(channel_id)
        )
        if has_retry_due:
            self.env.cr.execute(self._query_retry_due(channel_id))
        is_changing = was_changed and self.env["stock.event.channel.status"]._is_changing(
            channel_id
        )
        rows = self.env.execute_query_dict(self._query_pending(channel_id, limit, in_flight))
        if not rows:
            return [], 0
        channel = self.env["stock.event.channel"].browse(channel_id)
        wanted = self._drop_unwanted(channel, rows)
        keys = self.env["stock.event.key"]._lock(channel_id, {self._get_key(row) for row in wanted})
        sendable, aside = [], []
        for row in wanted:
            (aside if keys[self._get_key(row)]["is_blocked"] else sendable).append(row)
        self._set_aside(aside)
        self._number(channel, sendable, keys, has_types, is_changing)
        envelope = channel._prepare_envelope()
        digits = self._get_digits()
        details = self._get_details(channel, sendable)
        messages = [
            envelope.build_message(
                row["id"],
                self._prepare_event(row, envelope.database_uuid, digits),
                details.get(row["id"]),
            )
            for row in sendable
        ]
        return messages, len(rows)

    @api.model
    def _query_conditions(self, channel_id):
        """Return the query of what seldom needs more: whether refused events are to be
        tried again, the channel was changed, and its filter leaves out event types."""
        return SQL(
            """SELECT EXISTS (SELECT FROM stock_event_outbox
                               WHERE channel_id = %(channel_id)s AND state = 'blocked'
                                 AND retry_date <= now() AT TIME ZONE 'UTC'),
                      EXISTS (SELECT FROM stock_event_channel_status
                               WHERE channel_id = %(channel_id)s
                                 AND (was_changed OR change_seen_date IS NOT NULL)),
                      EXISTS (SELECT FROM stock_event_channel_type_rel
                               WHERE channel_id = %(channel_id)s)""",
            channel_id=channel_id,
        )

    @api.model
    def _get_digits(self):
        return self.env["decimal.precision"].precision_get("Product Unit")

    @api.model
    def _drop_unwanted(self, channel, rows):
        """Delete the rows whose products the channel's domain leaves out.

        What has a number goes out: consumers would miss it. The figures of a key that
        was left out have to be read anew when it comes back.

        :return: the other rows
        """
        domain = channel._get_product_domain()
        if not domain:
            return rows
        product_ids = {row["product_id"] for row in rows if self._is_droppable(row)}
        products = self.env["product.product"].with_context(active_test=False)
        wanted = set(products.search(Domain("id", "in", product_ids) & domain).ids)
        dropped = [
            row for row in rows if self._is_droppable(row) and row["product_id"] not in wanted
        ]
        if dropped:
            self.env.cr.execute(
                SQL(
                    "DELETE FROM stock_event_outbox WHERE id = ANY(%s)",
                    [row["id"] for row in dropped],
                )
            )
            keys = {self._get_key(row) for row in dropped}
            self.env["stock.event.key"]._forget_figures(channel.id, keys)
        dropped_ids = {row["id"] for row in dropped}
        return [row for row in rows if row["id"] not in dropped_ids]

    @api.model
    def _is_droppable(self, row):
        return row["sequence"] is None or row["is_replay"]

    @api.model
    def _get_key(self, row):
        return row["company_id"], row["warehouse_id"], row["product_id"]

    @api.model
    def _query_pending(self, channel_id, limit, in_flight=()):
        """Return the query of the next rows, with all that their events tell."""
        return SQL(
            """
            WITH live AS MATERIALIZED (
                SELECT * FROM stock_event_outbox
                 WHERE channel_id = %(channel_id)s AND state = 'pending' AND NOT is_replay
                   AND id <> ALL(%(in_flight)s::int[])
                 ORDER BY channel_id, sequence, id
                 LIMIT %(limit)s),
            pending AS MATERIALIZED (
                SELECT * FROM live
                 UNION ALL
                -- A replay gets what is left of the batch.
                (SELECT * FROM stock_event_outbox
                  WHERE channel_id = %(channel_id)s AND state = 'pending' AND is_replay
                    AND id <> ALL(%(in_flight)s::int[])
                  ORDER BY channel_id, id
                  LIMIT %(limit)s - (SELECT COUNT(*) FROM live)))
            SELECT o.id, o.company_id, o.warehouse_id, o.product_id, o.sequence,
                   o.on_hand_after, o.reserved_after, o.is_replay, o.is_skipped,
                   e.id AS entry_id, e.event_type, e.quantity, e.reserved_quantity,
                   e.location_id, e.owner_id, e.effective_date, e.recorded_date,
                   e.move_id, e.reference, e.origin, e.user_id, e.corrects_entry_id,
                   corrected.recorded_date AS corrected_date,
                   cause.causation_id, cause.correlation_id,
                   product.default_code AS sku, uom.name ->> 'en_US' AS uom,
                   warehouse.code AS warehouse_code, lot.name AS lot,
                   package.name AS package
              FROM pending o
              JOIN stock_ledger_entry e ON e.id = o.entry_id
              LEFT JOIN stock_ledger_entry corrected
                     ON corrected.id = e.corrects_entry_id
              LEFT JOIN stock_ledger_entry_cause cause ON cause.entry_id = e.id
              LEFT JOIN product_product product ON product.id = o.product_id
              LEFT JOIN product_template template
                     ON template.id = product.product_tmpl_id
              LEFT JOIN uom_uom uom ON uom.id = template.uom_id
              LEFT JOIN stock_warehouse warehouse ON warehouse.id = o.warehouse_id
              LEFT JOIN stock_lot lot ON lot.id = e.lot_id
              LEFT JOIN stock_package package ON package.id = e.package_id
             ORDER BY o.is_replay, CASE WHEN NOT o.is_replay THEN o.sequence END, o.id
            """,
            channel_id=channel_id,
            limit=limit,
            in_flight=to_array(in_flight),
        )

    @api.model
    def _get_details(self, channel, rows):
        """Return what an envelope in another vocabulary tells beyond the flat events.

        :return: dictionary of dictionaries by outbox id; empty where it is not told
        """
        if channel.envelope != "epcis" or not rows:
            return {}
        details = self.env.execute_query_dict(self._query_details([row["id"] for row in rows]))
        return {row["id"]: row for row in details}

    @api.model
    def _query_details(self, row_ids):
        return SQL(
            """SELECT o.id, product.barcode, template.name ->> 'en_US' AS product_name,
                      template.tracking, location.complete_name AS location_name,
                      warehouse.name AS warehouse_name, source.usage AS move_source_usage,
                      destination.usage AS move_destination_usage
                 FROM stock_event_outbox o
                 JOIN stock_ledger_entry e ON e.id = o.entry_id
                 LEFT JOIN product_product product ON product.id = o.product_id
                 LEFT JOIN product_template template ON template.id = product.product_tmpl_id
                 LEFT JOIN stock_warehouse warehouse ON warehouse.id = o.warehouse_id
                 LEFT JOIN stock_location location ON location.id = e.location_id
                 LEFT JOIN stock_move move ON move.id = e.move_id
                 LEFT JOIN stock_location source ON source.id = move.location_id
                 LEFT JOIN stock_location destination ON destination.id = move.location_dest_id
                WHERE o.id = ANY(%s::int[])""",
            to_array(row_ids),
        )

    @api.model
    def _ensure_figures(self, channel, rows, keys, has_types, is_changing):
        """Read from the ledger the figures of keys that have none yet.

        From then on each event adds to its predecessor's: a poll costs the same
        whatever the backlog. Where the filter leaves out some of a key's events, what
        those add is missing: the figures are read each time, and are those of that
        moment, whatever is still behind this batch. They are also read while there are
        transactions that do not know of a change of the filter.

        :param channel: the stock.event.channel
        :param list rows: those to be numbered
        :param dict keys: rows of stock.event.key, by key
        :param bool has_types: whether the filter leaves out some of a key's events
        :param bool is_changing: whether there may be such transactions
        """
        missing = {
            key for key, row in keys.items() if row["on_hand"] is None or is_changing or has_types
        }
        if not missing:
            return
        if has_types:
            later = SQL("o.id = ANY(%s::int[])", to_array(row["id"] for row in rows))
        else:
            later = SQL(
                "o.channel_id = %s AND o.state <> 'confirmed' AND o.sequence IS NULL "
                "AND NOT o.is_replay AND o.product_id = ANY(%s::int[])",
                channel.id,
                to_array(product_id for _company, _warehouse, product_id in missing),
            )
        for row in self.env.execute_query_dict(self._query_figures(missing, later)):
            keys[self._get_key(row)].update(on_hand=row["on_hand"], reserved=row["reserved"])

    @api.model
    def _query_figures(self, keys, later):
        """Return the query of what keys had before their first event without a number.

        That is all that is committed, rollup and deltas, minus what the events without
        a number add: one snapshot sees all of it.

        :param set keys: of (company id, warehouse id, product id)
        :param SQL later: condition on outbox rows ``o``: the events to take off
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
                     WHERE %(later)s
              ) s ON %(same_key)s
             GROUP BY k.company_id, k.warehouse_id, k.product_id
            """,
            keys=key_model._query_keys(keys),
            same_key=key_model._query_same_key("s", "k"),
            products=list({product_id for _company, _warehouse, product_id in keys}),
            later=later,
        )

    @api.model
    def _number(self, channel, rows, keys, has_types, is_changing):
        """Give rows without a number their key's next number and figures."""
        new_rows = [row for row in rows if row["sequence"] is None and not row["is_replay"]]
        if not new_rows:
            return
        changed = {self._get_key(row) for row in new_rows}
        changed_keys = {key: keys[key] for key in changed}
        self._ensure_figures(channel, new_rows, changed_keys, has_types, is_changing)
        digits = self._get_digits()
        for row in new_rows:
            key = keys[self._get_key(row)]
            key["last_sequence"] += 1
            for figure, change in (
                ("on_hand", row["quantity"]),
                ("reserved", row["reserved_quantity"]),
            ):
                key[figure] = round(key[figure] + change, digits)
                row[figure + "_after"] = key[figure]
            row["sequence"] = key["last_sequence"]
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
                WHERE o.id = v.id AND %s""",
            to_array(row["id"] for row in rows),
            to_array(row["sequence"] for row in rows),
            to_array(row["on_hand_after"] for row in rows),
            to_array(row["reserved_after"] for row in rows),
            self._query_range([row["id"] for row in rows]),
        )

    @api.model
    def _query_range(self, row_ids):
        """Return the condition that outbox rows ``o`` are in the range of these.

        A queue's statistics are out of date whenever it fills or empties. Without the
        range, the plan may be to read all of it.
        """
        return SQL("o.id BETWEEN %s AND %s", min(row_ids), max(row_ids))

    @api.model
    def _set_aside(self, rows):
        if rows:
            self.env.cr.execute(
                SQL(
                    "UPDATE stock_event_outbox SET state = 'waiting' WHERE id = ANY(%s::int[])",
                    to_array(row["id"] for row in rows),
                )
            )

    # --- relaying: the event

    @api.model
    def _prepare_event(self, row, database_uuid, digits):
        """Return an event's flat body.

        :param dict row: of ``_query_pending``, numbered
        :param str database_uuid: Odoo's ``database.uuid``
        :param int digits: of quantities, after the point
        """
        on_hand, reserved = row["on_hand_after"], row["reserved_after"]
        recorded = row["recorded_date"]
        corrects = row["corrects_entry_id"]
        event = {
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
            # None together: of a replay that was never published.
            "available_after": None if on_hand is None else round(on_hand - reserved, digits),
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
            "correlation_id": row["correlation_id"],
            "causation_id": row["causation_id"],
            # Without a date it is archived, or there is none.
            "corrects_event_id": row["corrected_date"]
            and event_uuid(row["corrected_date"], database_uuid, corrects),
            "replay": row["is_replay"],
        }
        if row["is_skipped"]:
            event.update(self._prepare_gap_vals(event, row, database_uuid))
        return event

    @api.model
    def _prepare_gap_vals(self, event, row, database_uuid):
        """Return what makes a skipped event the GAP event in its place.

        It keeps number, quantities and figures, so that consumers' sums stay right, and
        has none of the details that may be why the event could not be delivered.
        """
        return {
            "event_id": gap_event_uuid(row["recorded_date"], database_uuid, row["entry_id"]),
            "event_type": "GAP",
            "skipped_event_id": event["event_id"],
            "skipped_event_type": event["event_type"],
            "lot": None,
            "package": None,
            "owner_id": None,
            "reference": None,
        }

    # --- relaying: after the broker's answer

    @api.model
    def _settle(self, channel_id, batch):
        """Note what the broker confirmed and block what it could not deliver.

        An event without a queue blocks its key until someone retries or skips it. One
        that the broker refused is tried again by itself.

        :param int channel_id: the channel
        :param Batch batch: what became of the messages, by outbox id
        """
        if batch.confirmed:
            self.env.cr.execute(
                SQL(
                    """UPDATE stock_event_outbox o
                          SET state = 'confirmed', error = NULL,
                              confirmed_date = clock_timestamp() AT TIME ZONE 'UTC'
                        WHERE id = ANY(%s::int[]) AND %s""",
                    to_array(batch.confirmed),
                    self._query_range(batch.confirmed),
                )
            )
            status = self.env["stock.event.channel.status"]
            status._record_confirms(channel_id, len(batch.confirmed))
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
