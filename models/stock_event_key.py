from odoo import api, fields, models
from odoo.tools import SQL

from ..fields import HistoricalMany2one, to_array


class StockEventKey(models.Model):
    """The last number and figures of one key of one channel.

    The relay is the only writer of numbers and figures, and the only place where a key
    is serial without anyone waiting: a counter in the writers' transactions would make
    concurrent movements of one product fail.
    """

    _name = "stock.event.key"
    _description = "Stock Event Key"
    _log_access = False

    channel_id = HistoricalMany2one("stock.event.channel", required=True, readonly=True)
    company_id = HistoricalMany2one("res.company", readonly=True)
    warehouse_id = HistoricalMany2one("stock.warehouse", readonly=True)
    product_id = HistoricalMany2one("product.product", required=True, readonly=True)
    last_sequence = fields.Integer(required=True, readonly=True)
    is_blocked = fields.Boolean(required=True, readonly=True)
    # None: not known, to be read from the ledger when the key is next numbered.
    on_hand = fields.Float(digits="Product Unit", readonly=True)
    reserved = fields.Float(digits="Product Unit", readonly=True)

    _unique_key = models.UniqueIndex(
        "(channel_id, product_id, COALESCE(warehouse_id, 0), COALESCE(company_id, 0))"
    )

    @api.model
    def _lock(self, channel_id, keys):
        """Lock the rows of a channel's keys until the end of the transaction.

        Retrying a blocked key locks its row too, so that numbering and retrying see
        each other: one of them gets a serialization failure and is repeated.

        :param int channel_id: the channel
        :param set keys: of (company id, warehouse id, product id)
        :return: dictionary of the rows, as dictionaries, by key
        """
        found = self._read_locked(channel_id, keys)
        if len(found) < len(keys):
            self.env.cr.execute(self._query_insert(channel_id, keys - found.keys()))
            found = self._read_locked(channel_id, keys)
        return found

    @api.model
    def _read_locked(self, channel_id, keys):
        rows = self.env.execute_query_dict(self._query_lock(channel_id, keys))
        return {(row["company_id"], row["warehouse_id"], row["product_id"]): row for row in rows}

    @api.model
    def _query_keys(self, keys):
        """Return a relation ``k`` of keys, to join with or select from."""
        return SQL(
            "UNNEST(%s::int[], %s::int[], %s::int[]) AS k (company_id, warehouse_id, product_id)",
            to_array(company_id for company_id, _warehouse, _product in keys),
            to_array(warehouse_id for _company, warehouse_id, _product in keys),
            to_array(product_id for _company, _warehouse, product_id in keys),
        )

    @api.model
    def _query_same_key(self, left, right):
        """Return the condition that two relations have the same key, nulls included."""
        return SQL(" AND ").join(
            SQL(
                "%s IS NOT DISTINCT FROM %s",
                SQL.identifier(left, column),
                SQL.identifier(right, column),
            )
            if column != "product_id"
            else SQL("%s = %s", SQL.identifier(left, column), SQL.identifier(right, column))
            for column in ("product_id", "warehouse_id", "company_id")
        )

    @api.model
    def _query_lock(self, channel_id, keys):
        return SQL(
            """SELECT r.* FROM stock_event_key r JOIN %s ON %s
                WHERE r.channel_id = %s
                ORDER BY r.id
                  FOR NO KEY UPDATE OF r""",
            self._query_keys(keys),
            self._query_same_key("r", "k"),
            channel_id,
        )

    @api.model
    def _query_insert(self, channel_id, keys):
        return SQL(
            """INSERT INTO stock_event_key (
                   channel_id, company_id, warehouse_id, product_id, last_sequence,
                   is_blocked)
               SELECT %s, company_id, warehouse_id, product_id, 0, FALSE FROM %s""",
            channel_id,
            self._query_keys(keys),
        )

    @api.model
    def _store(self, rows):
        """Write back numbers and figures of rows that ``_lock`` returned."""
        if rows:
            self.env.cr.execute(self._query_store(rows))

    @api.model
    def _query_store(self, rows):
        return SQL(
            """UPDATE stock_event_key r
                  SET last_sequence = v.last_sequence, on_hand = v.on_hand,
                      reserved = v.reserved
                 FROM UNNEST(%s::int[], %s::int[], %s::numeric[], %s::numeric[])
                      AS v (id, last_sequence, on_hand, reserved)
                WHERE r.id = v.id""",
            to_array(row["id"] for row in rows),
            to_array(row["last_sequence"] for row in rows),
            to_array(row["on_hand"] for row in rows),
            to_array(row["reserved"] for row in rows),
        )

    @api.model
    def _forget_figures(self, channel_id, keys=None):
        """Read the figures anew from the ledger, whatever was missed meanwhile.

        :param int channel_id: the channel
        :param set keys: of (company id, warehouse id, product id); None: all of them
        """
        condition = SQL("TRUE")
        if keys is not None:
            condition = SQL(
                "EXISTS (SELECT FROM %s WHERE %s)",
                self._query_keys(keys),
                self._query_same_key("r", "k"),
            )
        self.env.cr.execute(
            SQL(
                """UPDATE stock_event_key r SET on_hand = NULL, reserved = NULL
                    WHERE channel_id = %s AND on_hand IS NOT NULL AND %s""",
                channel_id,
                condition,
            )
        )
        self.invalidate_model(flush=False)
