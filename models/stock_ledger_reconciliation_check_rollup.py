from decimal import Decimal
from zlib import crc32

from odoo import api, models
from odoo.tools import SQL

from ..cause import StockKey
from .stock_ledger_closing import KEY
from .stock_ledger_period import DIMENSIONS
from .stock_ledger_reconciliation_check import MOST_DRIFTS


class StockLedgerReconciliation(models.Model):
    """The comparisons of the ledger with what it adds up to by period."""

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

    @api.model
    def _check_rollups(self, scope, finding):
        """Compare periods and closings, by product of those whose fingerprints differ."""
        rollups = self._get_periods()
        # Without a product there is little to group, and nothing to be left out.
        for rollup in rollups:
            if "product_id" not in rollup._fields and not scope.product_ids:
                self._check_periods(scope, finding, rollup)
        rows = self.env.execute_query(self._query_fingerprint_differences(scope))
        if not rows:
            return
        scope = scope._replace(product_ids=tuple(product_id for [product_id] in rows))
        for rollup in rollups:
            if "product_id" in rollup._fields:
                self._check_periods(scope, finding, rollup)
        self._check_closings(scope, finding)

    @api.model
    def _get_periods(self):
        """Return the rollups by period, as models."""
        rollups = self.env["stock.ledger.rollup"]._get_rollups()
        return [rollup for rollup in rollups if hasattr(rollup, "_period")]

    # --- fingerprints

    @api.model
    def _query_fingerprint_differences(self, scope):
        """Find the products whose rollups are not what the ledger adds up to.

        Grouped like the rollups, the ledger has nearly as many groups as entries. A sum of
        all figures of a product, each times a number made of its rollup, period and the
        like, is the same on both sides if the figures are, and next to never otherwise.
        """
        rollups = [rollup for rollup in self._get_periods() if "product_id" in rollup._fields]
        sides = [
            self._query_fingerprints("stock_ledger_entry", scope, rollups, 1),
            self._query_fingerprints("stock_ledger_delta", scope, rollups, -1),
            *(self._query_period_fingerprints(rollup, scope) for rollup in rollups),
            self._query_closing_fingerprints(scope),
        ]
        return SQL(
            """SELECT product_id FROM (%s) AS sides
                GROUP BY product_id HAVING SUM(fingerprint) <> 0""",
            SQL(" UNION ALL ").join(sides),
        )

    @api.model
    def _query_fingerprints(self, table, scope, rollups, sign):
        """Return the fingerprints of entries by product, times the sign."""
        periods = self._query_period_fingerprint(
            [
                (rollup, SQL("date_trunc(%s, effective_date)::date", rollup._period))
                for rollup in rollups
            ],
            SQL("ABS(quantity)"),
            SQL("GREATEST(-quantity, 0)"),
            SQL("1"),
        )
        return SQL(
            """
            SELECT product_id, %(sign)s * SUM(%(periods)s + quantity * %(key)s) AS fingerprint
              FROM %(source)s WHERE quantity <> 0 GROUP BY product_id
            """,
            sign=sign,
            periods=periods,
            key=self._query_key_number(self.env["stock.ledger.closing"]._query_date()),
            source=self._query_source(table, scope),
        )

    @api.model
    def _query_period_fingerprints(self, rollup, scope):
        return SQL(
            "SELECT product_id, -SUM(%s) FROM %s GROUP BY product_id",
            self._query_period_fingerprint(
                [(rollup, SQL("date"))],
                SQL("in_quantity + out_quantity"),
                SQL("out_quantity"),
                SQL("entry_count::bigint"),
            ),
            self._query_source(rollup._table, scope, "date"),
        )

    @api.model
    def _query_period_fingerprint(self, dates, amount, outs, entries):
        """Return the fingerprint of a row in rollups that it is, or belongs to.

        :param dates: pairs of a rollup and the SQL of the row's date in it
        :param SQL amount: what came in and went out
        :param SQL outs: what of it went out
        :param SQL entries: how many entries that were
        """
        number = sum(crc32(rollup._table.encode()) for rollup, _date in dates)
        return SQL(
            """((%(amount)s + %(entries)s) * (%(keys)s)
                + (%(outs)s * 7919 + %(entries)s * 104729) * %(number)s)""",
            amount=amount,
            outs=outs,
            entries=entries,
            keys=SQL(" + ").join(self._query_period_number(rollup, date) for rollup, date in dates),
            number=number,
        )

    @api.model
    def _query_period_number(self, rollup, date):
        hashes = [SQL("hashint4(%s - DATE '2000-01-01')", date), SQL("hashint4(location_id)")]
        if "event_type" in rollup._fields:
            hashes.append(SQL("hashtext(event_type)"))
        return SQL("((%s)::bigint + %s)", SQL(" # ").join(hashes), crc32(rollup._table.encode()))

    @api.model
    def _query_closing_fingerprints(self, scope):
        """What each period has changed, times its number, without looking at the one before."""
        return SQL(
            """
            SELECT product_id, SUM(
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
    def _check_periods(self, scope, finding, rollup):
        rows = self.env.execute_query_dict(self._query_periods(scope, rollup))
        drifts = []
        for row in rows:
            sides = {
                name: (Decimal(row[name]), Decimal(row[f"{name}_rollup"]))
                for name in ("in", "out", "entries")
            }
            figure = next(name for name, side in sides.items() if side[0] != side[1])
            location = self.env["stock.location"].browse(row["location_id"])
            key = StockKey(row.get("product_id"), location.id, None, None, None, None)
            drifts.append(
                self._prepare_rollup_vals(
                    key,
                    figure,
                    *sides[figure],
                    rollup=rollup._name,
                    period_date=row["date"],
                    event_type=row.get("event_type"),
                    company_id=location.exists().company_id.id,
                )
            )
        finding.add(drifts, rows[0]["count"] if rows else None)

    @api.model
    def _query_periods(self, scope, rollup):
        names = ["date", *(name for name in DIMENSIONS if name in rollup._fields)]
        columns = SQL(", ").join(map(SQL.identifier, names))
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
                    rollup="stock.ledger.closing",
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
