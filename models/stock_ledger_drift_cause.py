from odoo import api, models
from odoo.tools import SQL

from ..cause import StockKey
from .stock_ledger_closing import KEY

REAL_SIDES = ("on_hand", "reserved", "reservation")


class StockLedgerDrift(models.Model):
    """What a drift is likely to come from, and by what one can tell."""

    _inherit = "stock.ledger.drift"

    @api.model
    def _explain(self, vals_list):
        """Add the likely cause, and the last changes of each side, to drifts' values.

        :param vals_list: the values of all drifts that a run has found
        """
        vals_list = list(vals_list)
        product_ids = {vals["product_id"] for vals in vals_list if vals["kind"] in REAL_SIDES}
        evidence = self._get_evidence(list(product_ids)) if product_ids else {}
        product_ids |= {vals["product_id"] for vals in vals_list if vals["kind"] == "unbalanced"}
        runs = self.env["stock.ledger.reconciliation"]
        suspects = runs._get_unbalanced_moves(product_ids) if product_ids else []
        for vals in vals_list:
            if vals["kind"] in REAL_SIDES:
                key = StockKey(*(vals[name] for name in StockKey._fields))
                vals.update(evidence.get(key, {}))
            suspect = self._find_suspect(vals, suspects)
            vals["suspect_move_id"] = suspect and suspect["move_id"]
            vals["cause"] = self._get_cause(vals, suspect)
            vals.pop("recorded_date", None)

    @api.model
    def _find_suspect(self, vals, suspects):
        """Return the movement whose entries miss, or have twice, what is the difference."""
        for suspect in suspects:
            if suspect["product_id"] != vals["product_id"]:
                continue
            if vals["kind"] == "unbalanced":
                if suspect["operating_company_id"] == vals["company_id"]:
                    return suspect
            elif vals["kind"] == "on_hand" and suspect["quantity"] == -vals["difference"]:
                if self._is_of_location(suspect, vals["location_id"]):
                    return suspect
        return None

    @api.model
    def _is_of_location(self, suspect, location_id):
        """Tell whether a movement has, or should have, an entry at a location."""
        move = self.env["stock.move"].browse(suspect["move_id"]).exists()
        lines = move.move_line_ids
        locations = lines.location_id | lines.location_dest_id
        return location_id in {*suspect["location_ids"], *locations.ids}

    @api.model
    def _get_cause(self, vals, suspect):
        kind = vals["kind"]
        if kind == "rollup":
            return "rollup"
        if kind == "event":
            return "outbox"
        if kind == "reservation":
            return "orphan" if vals["difference"] > 0 else "lost"
        if suspect:
            return "entry_doubled" if self._is_doubled(suspect) else "entry_missing"
        if kind == "unbalanced":
            return "ledger"
        if vals["rollup_quantity"] == vals["quant_quantity"]:
            return "ledger"
        if not vals.get("quant_count"):
            return "quant_deleted"
        changed, recorded = vals.get("quant_write_date"), vals.get("recorded_date")
        return "code" if changed and (not recorded or changed > recorded) else "sql"

    @api.model
    def _is_doubled(self, suspect):
        """Tell whether a movement has an entry twice, rather than one side missing."""
        return bool(
            self.env.execute_query(
                SQL(
                    """SELECT FROM stock_ledger_entry
                        WHERE move_id = %s AND product_id = %s AND quantity = %s
                        GROUP BY %s HAVING COUNT(*) > 1""",
                    suspect["move_id"],
                    suspect["product_id"],
                    suspect["quantity"],
                    KEY,
                )
            )
        )

    @api.model
    def _get_evidence(self, product_ids):
        """Return the last changes by StockKey, of these products.

        :return: dictionary of dictionaries of drifts' values
        """
        evidence = {}
        for query in (
            self._query_last_entries(product_ids),
            self._query_last_quants(product_ids),
            self._query_last_lines(product_ids),
        ):
            for row in self.env.execute_query_dict(query):
                key = StockKey(*(row.pop(name) for name in StockKey._fields))
                evidence.setdefault(key, {}).update(row)
        return evidence

    @api.model
    def _query_last_entries(self, product_ids):
        return SQL(
            """
            SELECT last.*, entry.recorded_date
              FROM (SELECT %(key)s, MAX(id) AS last_entry_id
                      FROM stock_ledger_entry
                     WHERE product_id = ANY(%(product_ids)s)
                       -- Announcements change nothing.
                       AND (quantity <> 0 OR reserved_quantity <> 0)
                     GROUP BY %(key)s) AS last
              JOIN stock_ledger_entry entry ON entry.id = last.last_entry_id
            """,
            key=KEY,
            product_ids=product_ids,
        )

    @api.model
    def _query_last_quants(self, product_ids):
        return SQL(
            """
            SELECT %(key)s, COUNT(*) AS quant_count, MAX(write_date) AS quant_write_date,
                   (ARRAY_AGG(write_uid ORDER BY write_date DESC NULLS LAST))[1] AS quant_write_uid
              FROM stock_quant WHERE product_id = ANY(%(product_ids)s)
             GROUP BY %(key)s
            """,
            key=KEY,
            product_ids=product_ids,
        )

    @api.model
    def _query_last_lines(self, product_ids):
        return SQL(
            """
            SELECT line.product_id, line.location_id, line.lot_id, line.package_id,
                   line.owner_id, location.company_id, MAX(line.write_date) AS line_write_date,
                   (ARRAY_AGG(line.write_uid ORDER BY line.write_date DESC NULLS LAST))[1]
                       AS line_write_uid
              FROM stock_move_line line
              JOIN stock_location location ON location.id = line.location_id
             WHERE line.product_id = ANY(%s)
             GROUP BY 1, 2, 3, 4, 5, 6
            """,
            product_ids,
        )
