import datetime
from collections import defaultdict
from decimal import Decimal

from odoo import api, models
from odoo.tools import SQL

from ..cause import StockKey
from .stock_ledger_balance import STILL_TYPES
from .stock_ledger_closing import KEY
from .stock_ledger_reconciliation import Finding, Scope

# More drifts of one kind are counted, and not kept one by one.
MOST_DRIFTS = 10_000
BYPASSING_USAGES = ("supplier", "customer", "inventory", "production")


class StockLedgerReconciliation(models.Model):
    """The comparisons, each of all stock keys at once."""

    _inherit = "stock.ledger.reconciliation"

    @api.model
    def _find(self, scope, is_full):
        """Compare everything in the scope.

        :param Scope scope: what to compare
        :param bool is_full: whether the ledger is added up
        :return: Finding
        """
        finding = Finding()
        finding.proven_kinds |= {"on_hand", "reserved", "reservation", "event"}
        if is_full:
            finding.proven_kinds.add("rollup")
            self._check_balances(scope, finding)
            self._check_rollups(scope, finding)
            # A movement has sides in several warehouses, but one product and company.
            if not scope.warehouse_ids:
                finding.proven_kinds.add("unbalanced")
                self._check_movements(scope, finding)
        else:
            self._check_rollup(scope, finding)
        self._check_reservations(scope, finding)
        self._check_events(scope, finding)
        return finding

    @api.model
    def _query_scope(self, scope):
        """Return the condition on ``product_id`` and ``location_id`` of what is compared."""
        conditions, locations = [SQL("TRUE")], [SQL("TRUE")]
        if scope.product_ids:
            conditions.append(SQL("product_id = ANY(%s)", list(scope.product_ids)))
        if scope.company_ids:
            locations.append(
                SQL("(company_id IS NULL OR company_id = ANY(%s))", list(scope.company_ids))
            )
        if scope.warehouse_ids:
            locations.append(SQL("warehouse_id = ANY(%s)", list(scope.warehouse_ids)))
        if len(locations) > 1:
            conditions.append(
                SQL(
                    "location_id IN (SELECT id FROM stock_location WHERE %s)",
                    SQL(" AND ").join(locations),
                )
            )
        return SQL(" AND ").join(conditions)

    @api.model
    def _get_open_from(self):
        """Return from when on the ledger tells dates and periods: what is before is archived."""
        return self.env["stock.ledger.archive"]._get_open_from() or datetime.datetime.min

    # --- on hand and reserved: ledger, quants and balances

    @api.model
    def _check_rollup(self, scope, finding):
        """Compare balances with quants; where they differ, compare the ledger as well."""
        rows = self.env.execute_query(self._query_rollup_differences(scope))
        finding.key_count = rows[0][0]
        product_ids = {product_id for _count, product_id in rows} - {None}
        # What is only wrong in the ledger itself does not show in the balances.
        known = self.env["stock.ledger.drift"].search([("state", "=", "open")])
        product_ids |= set(known._filter_scope(scope).mapped("product_id").ids)
        if product_ids:
            key_count = finding.key_count
            self._check_balances(scope._replace(product_ids=tuple(product_ids)), finding)
            finding.key_count = key_count

    @api.model
    def _query_rollup_differences(self, scope):
        return SQL(
            """
            WITH figures AS MATERIALIZED (
                SELECT %(key)s, SUM(quantity) AS quantity, SUM(reserved_quantity) AS reserved
                  FROM (SELECT %(key)s, quantity, reserved_quantity FROM stock_ledger_balance
                         UNION ALL
                        SELECT %(key)s, quantity, reserved_quantity FROM stock_ledger_delta
                         UNION ALL
                        SELECT %(key)s, -COALESCE(quantity, 0), -reserved_quantity
                          FROM stock_quant) AS sides
                 WHERE %(scope)s
                 GROUP BY %(key)s)
            SELECT total.key_count, different.product_id
              FROM (SELECT COUNT(*) AS key_count FROM figures) AS total
              LEFT JOIN (SELECT DISTINCT product_id FROM figures
                          WHERE quantity <> 0 OR reserved <> 0) AS different ON TRUE
            """,
            key=KEY,
            scope=self._query_scope(scope),
        )

    @api.model
    def _check_balances(self, scope, finding):
        key_count, entry_count, count, figures = self._get_balance_differences(scope)
        finding.key_count, finding.entry_count = key_count, entry_count
        on_hand, reserved, rollup = [], [], []
        for key, row in figures.items():
            ledger, quants, balance = row["on_hand"]
            if ledger != quants:
                on_hand.append(self._prepare_side_vals("on_hand", key, row["on_hand"]))
            if ledger != balance:
                rollup.append(self._prepare_rollup_vals(key, "on_hand", ledger, balance))
            ledger, quants, balance = row["reserved"]
            if ledger != quants:
                reserved.append(self._prepare_side_vals("reserved", key, row["reserved"]))
            if ledger != balance:
                rollup.append(self._prepare_rollup_vals(key, "reserved", ledger, balance))
            if row["is_date_wrong"]:
                rollup.append(self._prepare_rollup_vals(key, "date", 0, 0))
        for drifts in (on_hand, reserved, rollup):
            finding.add(drifts)
        if count > len(figures):
            finding.proven_kinds -= {"on_hand", "reserved", "rollup"}
            finding.counts["on_hand"] += count - len(figures)

    @api.model
    def _get_balance_differences(self, scope):
        """Return the stock keys whose ledger, quants and balances differ.

        :return: how many stock keys and entries there are, how many keys differ, and of
            those a dictionary by StockKey of dictionaries: ``on_hand`` and ``reserved``
            of the ledger, the quants and the balances, as Decimals, and ``is_date_wrong``
        """
        rows = self.env.execute_query(self._query_balances(scope))
        figures = {}
        for row in rows:
            if row[3] is not None:
                sides = [Decimal(text) for text in row[9:15]]
                figures[StockKey(*row[3:9])] = {
                    "on_hand": tuple(sides[:3]),
                    "reserved": tuple(sides[3:]),
                    "is_date_wrong": row[15],
                }
        return (*rows[0][:3], figures)

    @api.model
    def _query_balances(self, scope):
        return SQL(
            """
            WITH figures AS MATERIALIZED (
                SELECT %(key)s, SUM(entries) AS entries,
                       SUM(ledger) AS ledger, SUM(quants) AS quants, SUM(balance) AS balance,
                       SUM(ledger_reserved) AS ledger_reserved,
                       SUM(quants_reserved) AS quants_reserved,
                       SUM(balance_reserved) AS balance_reserved,
                       MAX(ledger_date) IS DISTINCT FROM MAX(balance_date) AS is_date_wrong
                  FROM (%(sides)s) AS sides
                 GROUP BY %(key)s),
            different AS (
                SELECT * FROM figures
                 WHERE ledger <> quants OR ledger <> balance
                    OR ledger_reserved <> quants_reserved OR ledger_reserved <> balance_reserved
                    OR is_date_wrong)
            SELECT total.*, %(key)s, ledger::text, quants::text, balance::text,
                   ledger_reserved::text, quants_reserved::text, balance_reserved::text,
                   is_date_wrong
              FROM (SELECT COUNT(*), COALESCE(SUM(entries), 0)::bigint,
                           (SELECT COUNT(*) FROM different)
                      FROM figures) AS total
              LEFT JOIN (SELECT * FROM different ORDER BY product_id, location_id LIMIT %(limit)s)
                     AS different ON TRUE
            """,
            key=KEY,
            sides=self._query_sides(self._query_scope(scope)),
            limit=MOST_DRIFTS,
        )

    @api.model
    def _query_sides(self, condition):
        """Return the figures of the ledger, the quants and the balances, one after another."""
        since = self._get_open_from()
        moved = SQL(
            """FILTER (WHERE quantity <> 0 AND event_type NOT IN %s
                             AND effective_date >= %s)""",
            STILL_TYPES,
            since,
        )
        return SQL(
            """
            SELECT %(key)s, COUNT(*) AS entries, SUM(quantity) AS ledger, 0.0 AS quants,
                   0.0 AS balance, SUM(reserved_quantity) AS ledger_reserved,
                   0.0 AS quants_reserved, 0.0 AS balance_reserved,
                   MAX(effective_date) %(moved)s AS ledger_date, NULL::timestamp AS balance_date
              FROM stock_ledger_entry WHERE %(condition)s GROUP BY %(key)s
             UNION ALL
            SELECT %(key)s, 0, 0, COALESCE(quantity, 0), 0, 0, reserved_quantity, 0, NULL, NULL
              FROM stock_quant WHERE %(condition)s
             UNION ALL
            SELECT %(key)s, 0, 0, 0, quantity, 0, 0, reserved_quantity, NULL,
                   CASE WHEN last_movement_date >= %(since)s THEN last_movement_date END
              FROM stock_ledger_balance WHERE %(condition)s
             UNION ALL
            SELECT %(key)s, 0, 0, 0, SUM(quantity), 0, 0, SUM(reserved_quantity), NULL,
                   MAX(effective_date) %(moved)s
              FROM stock_ledger_delta WHERE %(condition)s GROUP BY %(key)s
            """,
            key=KEY,
            moved=moved,
            since=since,
            condition=condition,
        )

    @api.model
    def _prepare_side_vals(self, kind, key, figures):
        ledger, quants, balance = figures
        return {
            "kind": kind,
            **key._asdict(),
            "ledger_quantity": ledger,
            "quant_quantity": quants,
            "rollup_quantity": balance,
            "difference": quants - ledger,
        }

    @api.model
    def _prepare_rollup_vals(self, key, figure, ledger, rolled_up, **vals):
        return {
            "kind": "rollup",
            "rollup": "stock.ledger.balance",
            "figure": figure,
            **key._asdict(),
            "ledger_quantity": ledger,
            "rollup_quantity": rolled_up,
            "difference": rolled_up - ledger,
            **vals,
        }

    # --- reservations: quants and move lines

    @api.model
    def _check_reservations(self, scope, finding):
        rows = self.env.execute_query(self._query_reservations(scope))
        # The query knows Odoo's own rule of what reserves; modules have others. What it
        # suspects is decided by the move lines themselves.
        keys = [StockKey(*key) for *key, _quants, _count in rows]
        reserved = self._get_reserved_by_lines(keys)
        on_quants = {StockKey(*key): Decimal(quants) for *key, quants, _count in rows}
        differences = {key: quants - reserved[key] for key, quants in on_quants.items()}
        drifts = [
            {
                "kind": "reservation",
                **key._asdict(),
                "quant_quantity": on_quants[key],
                "line_quantity": reserved[key],
                "difference": differences[key],
            }
            for key in self._filter_unexplained(differences)
        ]
        count = rows[0][-1] if rows and rows[0][-1] > len(rows) else None
        finding.add(drifts, count)

    @api.model
    def _filter_unexplained(self, differences):
        """Return the stock keys whose reservations differ, what Odoo does with lots aside.

        A lot that is not there, it reserves on stock of the same place that has no lot.

        :param differences: by StockKey, how much more the quants have than the move lines
        """
        places = defaultdict(dict)
        for key, difference in differences.items():
            places[key._replace(lot_id=None)][key] = difference
        return [
            key
            for place in places.values()
            if sum(place.values()) or any(place[key] > 0 for key in place if key.lot_id)
            for key in place
            if place[key]
        ]

    @api.model
    def _query_reservations(self, scope):
        return SQL(
            """
            SELECT %(key)s, SUM(quants)::text, COUNT(*) OVER ()
              FROM (SELECT %(key)s, reserved_quantity AS quants, 0.0 AS lines
                      FROM stock_quant WHERE reserved_quantity <> 0
                     UNION ALL
                    SELECT line.product_id, line.location_id, line.lot_id, line.package_id,
                           line.owner_id, location.company_id, 0, line.quantity_product_uom
                      FROM stock_move_line line
                      JOIN stock_location location ON location.id = line.location_id
                      JOIN product_product product ON product.id = line.product_id
                      JOIN product_template template ON template.id = product.product_tmpl_id
                     WHERE %(open)s AND template.is_storable
                       AND location.usage NOT IN %(bypassing)s) AS sides
             WHERE %(scope)s
             GROUP BY %(key)s
            HAVING SUM(quants) <> SUM(lines)
             ORDER BY product_id, location_id
             LIMIT %(limit)s
            """,
            key=KEY,
            open=SQL(
                "(line.state IS NULL OR line.state NOT IN ('cancel', 'done'))"
                " AND line.quantity_product_uom <> 0"
            ),
            bypassing=BYPASSING_USAGES,
            scope=self._query_scope(scope),
            limit=MOST_DRIFTS,
        )

    @api.model
    def _get_reserved_by_lines(self, keys):
        """Return what open move lines hold of stock keys, by Odoo's rule of what reserves.

        :param keys: StockKeys
        :return: dictionary of Decimals by StockKey
        """
        reserved = defaultdict(Decimal)
        for line in self._get_open_lines(keys):
            if line._holds_reservation():
                reserved[line._get_reserved_key()] += Decimal(repr(line.quantity_product_uom))
        return reserved

    @api.model
    def _get_open_lines(self, keys):
        # sudo: all lines of a stock key count, whoever may see them.
        lines = self.env["stock.move.line"].sudo()
        return lines.search(self._get_open_lines_domain(keys))

    @api.model
    def _get_open_lines_domain(self, keys):
        return [
            ("product_id", "in", list({key.product_id for key in keys})),
            ("location_id", "in", list({key.location_id for key in keys})),
            ("state", "not in", ("done", "cancel")),
            ("quantity_product_uom", "!=", 0),
        ]

    @api.model
    def _get_figures(self, keys):
        """Return what ledger, quants and balances have of stock keys that differ; see
        ``_get_balance_differences``."""
        product_ids = tuple({key.product_id for key in keys})
        return self._get_balance_differences(Scope(product_ids=product_ids))[-1]
