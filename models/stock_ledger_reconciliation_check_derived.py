from decimal import Decimal

from odoo import api, models
from odoo.tools import SQL

from .stock_ledger_reconciliation_check import MOST_DRIFTS


class StockLedgerReconciliation(models.Model):
    """The comparisons of the ledger with itself, and with the events that it has caused."""

    _inherit = "stock.ledger.reconciliation"

    # --- double entry

    @api.model
    def _check_movements(self, scope, finding):
        rows = self.env.execute_query(self._query_movements(scope))
        finding.add(
            [
                {
                    "kind": "unbalanced",
                    "product_id": product_id,
                    "company_id": company_id,
                    "ledger_quantity": Decimal(quantity),
                    "difference": Decimal(quantity),
                }
                for product_id, company_id, quantity in rows
            ]
        )

    @api.model
    def _query_movements(self, scope):
        """What a move takes from one place it brings to another, of the same company's goods.

        Entries without a move are openings, corrections and quants written by code.
        """
        conditions = [SQL("move_id IS NOT NULL")]
        if scope.product_ids:
            conditions.append(SQL("product_id = ANY(%s)", list(scope.product_ids)))
        if scope.company_ids:
            conditions.append(SQL("operating_company_id = ANY(%s)", list(scope.company_ids)))
        return SQL(
            """
            SELECT product_id, operating_company_id, SUM(quantity)::text
              FROM stock_ledger_entry
             WHERE %s
             GROUP BY product_id, operating_company_id
            HAVING SUM(quantity) <> 0
             ORDER BY product_id LIMIT %s
            """,
            SQL(" AND ").join(conditions),
            MOST_DRIFTS,
        )

    @api.model
    def _get_unbalanced_moves(self, product_ids):
        """Return the moves whose entries do not add up to zero.

        :param product_ids: of these products
        :return: list of dictionaries: product_id, move_id, operating_company_id, quantity
            (their sum, a Decimal), and entry_id of the last one
        """
        rows = self.env.execute_query_dict(
            SQL(
                """
                SELECT product_id, move_id, operating_company_id, SUM(quantity)::text AS quantity,
                       MAX(id) AS entry_id, ARRAY_AGG(DISTINCT location_id) AS location_ids
                  FROM stock_ledger_entry
                 WHERE product_id = ANY(%s) AND move_id IS NOT NULL
                 GROUP BY product_id, move_id, operating_company_id
                HAVING SUM(quantity) <> 0
                 ORDER BY MAX(id) DESC
                """,
                list(product_ids),
            )
        )
        return [{**row, "quantity": Decimal(row["quantity"])} for row in rows]

    # --- events

    @api.model
    def _check_events(self, scope, finding):
        for figure, query in (
            ("entry", self._query_events_without_entry(scope)),
            ("sequence", self._query_sequence_gaps(scope)),
        ):
            rows = self.env.execute_query_dict(query)
            finding.add([{"kind": "event", "figure": figure, **row} for row in rows])

    @api.model
    def _query_event_scope(self, scope):
        conditions = [SQL("TRUE")]
        for column, ids in (
            ("product_id", scope.product_ids),
            ("company_id", scope.company_ids),
            ("warehouse_id", scope.warehouse_ids),
        ):
            if ids:
                conditions.append(SQL("event.%s = ANY(%s)", SQL.identifier(column), list(ids)))
        return SQL(" AND ").join(conditions)

    @api.model
    def _query_events_without_entry(self, scope):
        return SQL(
            """
            SELECT channel_id, product_id, warehouse_id, company_id, COUNT(*) AS difference
              FROM stock_event_outbox event
             WHERE %s
               AND event.entry_id > ALL (
                       SELECT last_entry_id FROM stock_ledger_archive WHERE state = 'done')
               AND NOT EXISTS (
                       SELECT FROM stock_ledger_entry entry WHERE entry.id = event.entry_id)
             GROUP BY 1, 2, 3, 4
             ORDER BY product_id LIMIT %s
            """,
            self._query_event_scope(scope),
            MOST_DRIFTS,
        )

    @api.model
    def _query_sequence_gaps(self, scope):
        """Find keys some of whose last numbers are missing or doubled.

        Confirmed events are deleted after some days. Those of a key are confirmed in the
        order of their numbers, so that what is left goes up to the last one.
        """
        outbox = self.env["stock.event.outbox"]
        return SQL(
            """
            SELECT key.channel_id, key.product_id, key.warehouse_id, key.company_id,
                   key.last_sequence - MIN(event.sequence) + 1 - COUNT(*) AS difference
              FROM stock_event_outbox event
              JOIN stock_event_key key ON key.channel_id = event.channel_id AND %(same_key)s
             WHERE %(scope)s AND event.sequence > 0 AND NOT event.is_replay
               AND (event.state <> 'confirmed'
                    OR event.confirmed_date
                       >= now() AT TIME ZONE 'UTC' - %(keep_days)s * INTERVAL '1 day')
             GROUP BY key.id
            HAVING COUNT(*) <> key.last_sequence - MIN(event.sequence) + 1
                OR COUNT(*) <> COUNT(DISTINCT event.sequence)
             ORDER BY key.product_id LIMIT %(limit)s
            """,
            same_key=self.env["stock.event.key"]._query_same_key("key", "event"),
            scope=self._query_event_scope(scope),
            keep_days=outbox._get_keep_days(),
            limit=MOST_DRIFTS,
        )
