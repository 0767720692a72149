from odoo import api, models
from odoo.fields import Domain
from odoo.tools import SQL

from .stock_move import STOCK_USAGES

# How long a page waits for transactions that are writing to the ledger.
SETTLE_SECONDS = 2


class StockIntegration(models.AbstractModel):
    """The ledger, page by page, without ever skipping an entry."""

    _inherit = "stock.integration"

    @api.model
    def _run_get_feed(self, data):
        warehouses = self._find_warehouses(data)
        self._check_event_types(data)
        # In transactions of its own: what was written before the one snapshot of the caller's
        # began, and committed since, would be taken for what there is not. Not on a replica,
        # which does not know who is writing.
        with self.pool.cursor() as cr:
            reader = self.with_env(self.env(cr=cr))
            ledger_seal = reader.env["stock.ledger.seal"]
            last_id = ledger_seal._get_settled_entry_id(SETTLE_SECONDS)
            cr.rollback()
            if last_id is None:
                last_id = reader._get_sealed_entry_id()
            rows = reader._read_entries(data, warehouses, last_id)
        has_more = len(rows) > data.limit
        rows = rows[: data.limit]
        last_id = rows[-1]["entry_id"] if has_more else max(data.after, last_id)
        return {"entries": rows, "next_after": last_id, "has_more": has_more}

    @api.model
    def _check_event_types(self, data):
        known = dict(self.env["stock.ledger.entry"]._get_event_types())
        problems = [
            {"member": f"event_types[{place}]", "message": self.env._("Unknown event type")}
            for place, event_type in enumerate(data.event_types or ())
            if event_type not in known
        ]
        if problems:
            self._raise_invalid(problems)

    @api.model
    def _get_sealed_entry_id(self):
        """Return an id up to which everything was settled some time ago."""
        # sudo: of the seals only how far they go is told.
        return self.env["stock.ledger.seal"].sudo().search([], limit=1).last_entry_id

    @api.model
    def _read_entries(self, data, warehouses, last_id):
        """Return the entries of a page, and one more if there is one, as flat dictionaries.

        :param data: the checked question
        :param dict warehouses: short names by id
        :param int last_id: beyond which entries may be missing still
        """
        entries = self.env["stock.ledger.entry"]
        query = entries._search(
            self._get_entries_domain(data, warehouses, last_id), order="id", limit=data.limit + 1
        )
        rows = self.env.execute_query_dict(self._query_entries(query))
        digits = self.env["decimal.precision"].precision_get("Product Unit")
        return [self._prepare_entry(row, digits) for row in rows]

    @api.model
    def _get_entries_domain(self, data, warehouses, last_id):
        domain = Domain("id", ">", data.after) & Domain("id", "<=", last_id)
        # As in events: the other side of a movement is no stock.
        domain &= Domain("location_id.usage", "in", STOCK_USAGES)
        if data.warehouses is not None or data.warehouse_ids is not None:
            domain &= Domain("warehouse_id", "in", list(warehouses))
        if data.skus is not None:
            # Of archived products too: their entries stay.
            products = self.env["product.product"].with_context(active_test=False)
            domain &= Domain(
                "product_id", "in", products.search([("default_code", "in", data.skus)]).ids
            )
        if data.event_types is not None:
            domain &= Domain("event_type", "in", data.event_types)
        return domain

    @api.model
    def _query_entries(self, query):
        return SQL(
            """
            SELECT entry.id AS entry_id, entry.event_type,
                   entry.product_id, product.default_code AS sku,
                   entry.warehouse_id, warehouse.code AS warehouse,
                   entry.location_id, lot.name AS lot, package.name AS package,
                   entry.owner_id, entry.company_id,
                   entry.quantity, entry.reserved_quantity,
                   to_char(entry.effective_date, %(format)s) AS effective_at,
                   to_char(entry.recorded_date, %(format)s) AS recorded_at,
                   entry.reference, entry.origin, entry.move_id,
                   entry.picking_id AS transfer_id, entry.user_id, entry.corrects_entry_id
              FROM stock_ledger_entry entry
              LEFT JOIN product_product product ON product.id = entry.product_id
              LEFT JOIN stock_warehouse warehouse ON warehouse.id = entry.warehouse_id
              LEFT JOIN stock_lot lot ON lot.id = entry.lot_id
              LEFT JOIN stock_package package ON package.id = entry.package_id
             WHERE entry.id IN (%(ids)s)
             ORDER BY entry.id
            """,
            format='YYYY-MM-DD"T"HH24:MI:SS"Z"',
            ids=query.select(),
        )

    @api.model
    def _prepare_entry(self, row, digits):
        row["quantity"] = round(row["quantity"], digits) + 0.0
        row["reserved_quantity"] = round(row["reserved_quantity"], digits) + 0.0
        # An empty reference is none.
        return {name: value for name, value in row.items() if value is not None and value != ""}
