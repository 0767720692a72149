"""What a benchmark finds in a warehouse: products, stock, deliveries, and who got what."""

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

CHUNK = 40
THREADS = 4


class Warehouse:
    """Prepares stock and deliveries in the only warehouse of a Site, and counts them."""

    def __init__(self, site):
        self.site = site
        [warehouse] = site.call(
            "stock.warehouse", "search_read", [], ["lot_stock_id", "out_type_id"], limit=1
        )
        self.stock_id, self.type_id = warehouse["lot_stock_id"][0], warehouse["out_type_id"][0]
        [self.customers_id] = site.call(
            "stock.location", "search", [["usage", "=", "customer"]], limit=1
        )

    @cached_property
    def has_policy(self):
        """Whether operation types have the addon's reservation policy."""
        fields = self.site.call("stock.picking.type", "fields_get", ["reservation_policy"], [])
        return "reservation_policy" in fields

    @cached_property
    def has_queue(self):
        return self.site.has_column("stock_move", "reservation_queued_date")

    def configure(self, method="manual", policy="contended"):
        """Have deliveries reserved by hand or ``at_confirm``."""
        vals = {"reservation_method": method}
        if self.has_policy:
            vals["reservation_policy"] = policy
        self.site.call("stock.picking.type", "write", [self.type_id], vals)

    def make_products(self, count, units):
        """Return new products, of which so many units are in stock."""
        product = {"name": "Benchmark", "type": "consu", "is_storable": True}
        ids = self._in_chunks("product.product", "create", [product] * count)
        quants = [
            {
                "product_id": product_id,
                "location_id": self.stock_id,
                "inventory_quantity_auto_apply": units,
            }
            for product_id in ids
        ]
        # One after the other: they all write their location, and a replayed request would
        # find the quantities taken out of its arguments.
        for start in range(0, count, CHUNK):
            self.site.call(
                "stock.quant",
                "create",
                quants[start : start + CHUNK],
                context={"inventory_mode": True},
            )
        return ids

    def make_deliveries(self, products, confirm=False):
        """Make a draft delivery of one unit of each product, per element.

        :param list products: for each delivery a list of products
        :param bool confirm: whether to confirm them, without reserving
        :return: the transfers' ids
        """
        places = {"location_id": self.stock_id, "location_dest_id": self.customers_id}
        deliveries = [
            {
                "picking_type_id": self.type_id,
                "move_ids": [
                    (0, 0, {"product_id": product, "product_uom_qty": 1, **places})
                    for product in ids
                ],
                **places,
            }
            for ids in products
        ]
        ids = self._in_chunks("stock.picking", "create", deliveries)
        if confirm:
            self.configure("manual")
            self._in_chunks("stock.picking", "action_confirm", ids)
        return ids

    def _in_chunks(self, model, method, values, **kwargs):
        chunks = [values[start : start + CHUNK] for start in range(0, len(values), CHUNK)]

        def call(index):
            client = self.site.clients[index % len(self.site.clients)]
            return client.call(model, method, chunks[index], **kwargs)

        with ThreadPoolExecutor(min(THREADS, len(self.site.clients))) as executor:
            results = list(executor.map(call, range(len(chunks))))
        return [record_id for ids in results if isinstance(ids, list) for record_id in ids]

    def pick(self, transfers):
        """Reserve the transfers and mark them as picked; all that is left is to validate."""
        self.site.call("stock.picking", "action_assign", transfers)
        moves = self.site.call("stock.move", "search", [["picking_id", "in", transfers]])
        self.site.call("stock.move", "write", moves, {"picked": True})

    def count_reserved(self, products):
        """Return how many units are really on the lines of open moves."""
        [[units]] = self.site.query(
            """SELECT COALESCE(SUM(line.quantity_product_uom), 0)::float
                 FROM stock_move_line line
                 JOIN stock_move move ON move.id = line.move_id
                WHERE move.state NOT IN ('done', 'cancel')
                  AND line.location_id = %s AND line.product_id = ANY(%s)""",
            self.stock_id,
            products,
        )
        return units

    def count_done(self, transfers):
        """Return how many of the transfers are done."""
        [[count]] = self.site.query(
            "SELECT COUNT(*) FROM stock_picking WHERE state = 'done' AND id = ANY(%s)", transfers
        )
        return count

    def get_oversold(self, products):
        """Compare what the lines of open moves promise with what is on hand.

        States are not asked: they say what Odoo believes.

        :return: (units promised, units on hand) of each product with too little
        """
        return self.site.query(
            """SELECT COALESCE(promised.units, 0)::float, COALESCE(stock.units, 0)::float
                 FROM UNNEST(%s) product_id
                 LEFT JOIN (
                    SELECT line.product_id, SUM(line.quantity_product_uom) units
                      FROM stock_move_line line
                      JOIN stock_move move ON move.id = line.move_id
                     WHERE move.state NOT IN ('done', 'cancel') AND line.location_id = %s
                     GROUP BY 1) promised USING (product_id)
                 LEFT JOIN (
                    SELECT product_id, SUM(quantity) units
                      FROM stock_quant WHERE location_id = %s
                     GROUP BY 1) stock USING (product_id)
                WHERE COALESCE(promised.units, 0) > COALESCE(stock.units, 0)""",
            products,
            self.stock_id,
            self.stock_id,
        )

    def count_queued(self):
        """Return how many moves wait for the addon to reserve them."""
        if not self.has_queue:
            return 0
        [[count]] = self.site.query(
            """SELECT COUNT(*) FROM stock_move
                WHERE reservation_queued_date IS NOT NULL
                  AND state IN ('waiting', 'confirmed', 'partially_available')"""
        )
        return count

    def count_unfolded(self):
        """Return how much of the addon's derived work is still to be done."""
        if not self.site.has_addon:
            return 0
        [[count]] = self.site.query("SELECT COUNT(*) FROM stock_ledger_delta")
        return count
