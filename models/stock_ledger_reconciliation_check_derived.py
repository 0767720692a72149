from decimal import Decimal

from odoo import api, models
from odoo.tools import SQL

from ..cause import StockKey
from .stock_ledger_closing import KEY
from .stock_ledger_reconciliation_check import MOST_DRIFTS


class StockLedgerReconciliation(models.Model):
    """The comparisons of what is derived from the ledger, and of the ledger with itself."""

    _inherit = "stock.ledger.reconciliation"

    @api.model
    def _query_source(self, table, scope, date="effective_date"):
        """Return a table's rows in the scope that no archive has taken, as a relation."""
        return SQL(
            "(SELECT * FROM %s WHERE %s AND %s >= %s) AS source",
            SQL.identifier(table),
            self._query_scope(scope),
            SQL.identifier(date),
            self._get_open_from(),
        )

    @api.model
    def _query_closing_source(self, scope):
        """Return the closings in the scope, and the last ones that an archive has taken."""
        return SQL(
            """(SELECT *, date >= %(since)s AS is_open FROM stock_ledger_closing
                 WHERE %(scope)s AND (date >= %(since)s OR next_date >= %(since)s)) AS source""",
            since=self._get_open_from(),
            scope=self._query_scope(scope),
        )

    # --- rollups

    @api.model
    def _check_rollups(self, scope, finding):
        """Compare days, months and closings, of those products whose fingerprints differ."""
        rows = self.env.execute_query(self._query_fingerprint_differences(scope))
        if not rows:
            return
        scope = scope._replace(product_ids=tuple(product_id for [product_id] in rows))
        for period in ("day", "month"):
            self._check_periods(scope, finding, period)
        self._check_closings(scope, finding)

    @api.model
    def _query_fingerprint_differences(self, scope):
        """Find the products whose rollups are not what the ledger adds up to.

        Grouped like the rollups, the ledger has nearly as many groups as entries. A sum of
        all figures of a product, each times a number made of its period and the like, is
        the same on both sides if the figures are, and next to never otherwise.
        """
        return SQL(
            """
            SELECT product_id
              FROM (%(ledger)s UNION ALL %(delta)s UNION ALL %(day)s UNION ALL %(month)s
                    UNION ALL %(closing)s) AS sides
             GROUP BY product_id
            HAVING SUM(day) <> 0 OR SUM(month) <> 0 OR SUM(closing) <> 0
            """,
            ledger=self._query_fingerprints("stock_ledger_entry", scope, 1),
            delta=self._query_fingerprints("stock_ledger_delta", scope, -1),
            day=self._query_period_fingerprints("day", scope),
            month=self._query_period_fingerprints("month", scope),
            closing=self._query_closing_fingerprints(scope),
        )

    @api.model
    def _query_fingerprints(self, table, scope, sign):
        """Return the fingerprints of entries by product, times the sign."""
        figures = SQL("ABS(quantity)"), SQL("GREATEST(-quantity, 0)"), SQL("1")
        month = SQL("date_trunc('month', effective_date)::date")
        return SQL(
            """
            SELECT product_id, %(sign)s * SUM(%(day)s) AS day, %(sign)s * SUM(%(month)s) AS month,
                   %(sign)s * SUM(quantity * %(key)s) AS closing
              FROM %(source)s WHERE quantity <> 0 GROUP BY product_id
            """,
            sign=sign,
            day=self._query_period_fingerprint(SQL("effective_date::date"), *figures),
            month=self._query_period_fingerprint(month, *figures),
            key=self._query_key_number(self.env["stock.ledger.closing"]._query_date()),
            source=self._query_source(table, scope),
        )

    @api.model
    def _query_period_fingerprints(self, period, scope):
        fingerprint = self._query_period_fingerprint(
            SQL("date"),
            SQL("in_quantity + out_quantity"),
            SQL("out_quantity"),
            SQL("entry_count"),
        )
        nothing, difference = SQL("0.0"), SQL("-SUM(%s)", fingerprint)
        return SQL(
            "SELECT product_id, %s, %s, 0.0 FROM %s GROUP BY product_id",
            difference if period == "day" else nothing,
            difference if period == "month" else nothing,
            self._query_source(self.env[f"stock.ledger.{period}"]._table, scope, "date"),
        )

    @api.model
    def _query_period_fingerprint(self, date, amount, outs, entries):
        """Return the fingerprint of one row: what came in and went out, what of it went
        out, and how many entries that were."""
        return SQL(
            """(%(amount)s + %(entries)s)
                * (hashint4(%(date)s - DATE '2000-01-01') # hashint4(location_id)
                   # hashtext(event_type))::bigint
                + %(outs)s * 7919 + %(entries)s * 104729""",
            amount=amount,
            outs=outs,
            entries=entries,
            date=date,
        )

    @api.model
    def _query_closing_fingerprints(self, scope):
        """What each period has changed, times its number, without looking at the one before."""
        return SQL(
            """
            SELECT product_id, 0.0, 0.0, SUM(
                       -quantity * (CASE WHEN is_open THEN %s ELSE 0 END - COALESCE(%s, 0)))
              FROM %s GROUP BY product_id
            """,
            self._query_key_number(SQL("date")),
            self._query_key_number(SQL("next_date")),
            self._query_closing_source(scope),
        )

    @api.model
    def _query_key_number(self, date):
        return SQL(
            """(hashint4(%s - DATE '2000-01-01') # hashint4(location_id)
                # COALESCE(hashint4(lot_id), 1) # COALESCE(hashint4(package_id), 2)
                # COALESCE(hashint4(owner_id), 3) # COALESCE(hashint4(company_id), 4))::bigint""",
            date,
        )

    # --- periods

    @api.model
    def _check_periods(self, scope, finding, period):
        rows = self.env.execute_query_dict(self._query_periods(scope, period))
        drifts = []
        for row in rows:
            sides = {
                name: (Decimal(row[name]), Decimal(row[f"{name}_rollup"]))
                for name in ("in", "out", "entries")
            }
            figure = next(name for name, side in sides.items() if side[0] != side[1])
            location = self.env["stock.location"].browse(row["location_id"])
            key = StockKey(row["product_id"], location.id, None, None, None, None)
            drifts.append(
                self._prepare_rollup_vals(
                    key,
                    figure,
                    *sides[figure],
                    rollup=period,
                    period_date=row["date"],
                    event_type=row["event_type"],
                    company_id=location.exists().company_id.id,
                )
            )
        finding.add(drifts, rows[0]["count"] if rows else None)

    @api.model
    def _query_periods(self, scope, period):
        rollup = self.env[f"stock.ledger.{period}"]
        columns = SQL("date, product_id, location_id, event_type")
        return SQL(
            """
            SELECT %(columns)s, COUNT(*) OVER () AS count,
                   SUM(ins)::text AS in, SUM(ins_rollup)::text AS in_rollup,
                   SUM(outs)::text AS out, SUM(outs_rollup)::text AS out_rollup,
                   SUM(entries)::text AS entries, SUM(entries_rollup)::text AS entries_rollup
              FROM (SELECT %(columns)s, in_quantity AS ins, out_quantity AS outs,
                           entry_count AS entries, 0.0 AS ins_rollup, 0.0 AS outs_rollup,
                           0 AS entries_rollup
                      FROM (%(ledger)s) AS ledger
                     UNION ALL
                    SELECT %(columns)s, 0, 0, 0, in_quantity, out_quantity, entry_count
                      FROM (%(delta)s) AS delta
                     UNION ALL
                    SELECT %(columns)s, 0, 0, 0, in_quantity, out_quantity, entry_count
                      FROM %(rollup)s) AS sides
             GROUP BY %(columns)s
            HAVING SUM(ins) <> SUM(ins_rollup) OR SUM(outs) <> SUM(outs_rollup)
                OR SUM(entries) <> SUM(entries_rollup)
             ORDER BY %(columns)s
             LIMIT %(limit)s
            """,
            columns=columns,
            ledger=rollup._query_periods(self._query_source("stock_ledger_entry", scope)),
            delta=rollup._query_periods(self._query_source("stock_ledger_delta", scope)),
            rollup=self._query_source(rollup._table, scope, "date"),
            limit=MOST_DRIFTS,
        )

    # --- closings

    @api.model
    def _check_closings(self, scope, finding):
        drifts = []
        rows = self.env.execute_query(self._query_closings(scope))
        for *key, date, ledger, closing, _count in rows:
            ledger, closing = Decimal(ledger), Decimal(closing)
            drifts.append(
                self._prepare_rollup_vals(
                    StockKey(*key),
                    "on_hand" if ledger != closing else "chain",
                    ledger,
                    closing,
                    rollup="closing",
                    period_date=date,
                )
            )
        finding.add(drifts, rows[0][-1] if rows else None)

    @api.model
    def _query_closings(self, scope):
        """Compare what each period has changed: a closing less the one before is that."""
        return SQL(
            """
            SELECT %(key)s, date, SUM(ledger)::text, SUM(closing)::text, COUNT(*) OVER ()
              FROM (SELECT %(key)s, %(date)s AS date, SUM(quantity) AS ledger, 0.0 AS closing,
                           TRUE AS is_chained
                      FROM %(entries)s WHERE quantity <> 0
                     GROUP BY %(key)s, date
                     UNION ALL
                    SELECT %(key)s, %(date)s, 0, quantity, TRUE
                      FROM %(deltas)s WHERE quantity <> 0
                     UNION ALL
                    SELECT %(key)s, date, 0, change, is_chained
                      FROM (SELECT %(key)s, date, is_open,
                                   quantity - LAG(quantity, 1, 0.0) OVER by_date AS change,
                                   next_date IS NOT DISTINCT FROM LEAD(date) OVER by_date
                                       AS is_chained
                              FROM %(closings)s
                            WINDOW by_date AS (PARTITION BY %(key)s ORDER BY date)) AS changes
                     WHERE is_open) AS sides
             GROUP BY %(key)s, date
            HAVING SUM(ledger) <> SUM(closing) OR NOT BOOL_AND(is_chained)
             ORDER BY product_id, location_id, date
             LIMIT %(limit)s
            """,
            key=KEY,
            date=self.env["stock.ledger.closing"]._query_date(),
            entries=self._query_source("stock_ledger_entry", scope),
            deltas=self._query_source("stock_ledger_delta", scope),
            closings=self._query_closing_source(scope),
            limit=MOST_DRIFTS,
        )

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
