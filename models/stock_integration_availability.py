from odoo import api, fields, models
from odoo.fields import Domain
from odoo.tools import SQL

from .stock_move import STOCK_USAGES

FIGURES = ("physical", "reserved", "available", "incoming", "outgoing", "forecast")
PRODUCT_FIELDS = (("skus", "sku", "default_code"), ("barcodes", "barcode", "barcode"))


class StockIntegration(models.AbstractModel):
    """Availability of many products: what the user may see is found once, then one query."""

    _inherit = "stock.integration"

    @api.model
    def _run_get_availability(self, data):
        if data.date and data.date < fields.Datetime.now():
            message = self.env._("What is past cannot be forecast: give a time to come")
            self._raise_invalid([{"member": "date", "message": message}])
        warehouses = self._find_warehouses(data)
        products, unknown = self._find_asked_products(data)
        figures = self._get_figures(list(products), list(warehouses), data.date)
        digits = self.env["decimal.precision"].precision_get("Product Unit")
        nothing = (0.0,) * len(FIGURES)
        return {
            "availability": [
                {
                    **product,
                    "warehouse_id": warehouse_id,
                    "warehouse": code,
                    **{
                        # Not -0.0 either.
                        name: round(figure, digits) + 0.0
                        for name, figure in zip(
                            FIGURES, figures.get((product_id, warehouse_id), nothing), strict=True
                        )
                    },
                }
                for product_id, product in sorted(products.items())
                for warehouse_id, code in sorted(warehouses.items())
            ],
            "unknown": unknown,
        }

    @api.model
    def _find_warehouses(self, data):
        """Return the short names, by id, of the warehouses of a question.

        :raises InvalidInput: when there are others in it
        """
        asked = data.warehouses is not None or data.warehouse_ids is not None
        domain = Domain("company_id", "in", self.env.companies.ids)
        if asked:
            domain &= Domain("code", "in", data.warehouses or []) | Domain(
                "id", "in", data.warehouse_ids or []
            )
        warehouses = self.env["stock.warehouse"]
        query = warehouses._search(domain, order="id")
        codes = dict(
            self.env.execute_query(
                query.select(
                    SQL.identifier(warehouses._table, "id"),
                    SQL.identifier(warehouses._table, "code"),
                )
            )
        )
        known = {"warehouses": set(codes.values()), "warehouse_ids": set(codes)}
        problems = [
            {
                "member": f"{member}[{place}]",
                "message": self.env._("There is no such warehouse"),
            }
            for member, there in known.items()
            for place, name in enumerate(getattr(data, member) or ())
            if name not in there
        ]
        if problems:
            self._raise_invalid(problems)
        return codes

    @api.model
    def _find_asked_products(self, data):
        """Return what there is of the products of a question, as far as the user may see it.

        :return: dictionary of what identifies each product, by its id, and the list of those
            that are not there
        """
        products = self.env["product.product"]
        domain = Domain.OR(
            [
                Domain("default_code", "in", data.skus or []),
                Domain("barcode", "in", data.barcodes or []),
                Domain("id", "in", data.product_ids or []),
            ]
        )
        # A query that has the user's access rules; records would be read one field at a time.
        query = products._search(domain & Domain("is_storable", "=", True), order="id")
        template = query.left_join(
            products._table, "product_tmpl_id", "product_template", "id", "product_tmpl_id"
        )
        unit = query.left_join(template, "uom_id", "uom_uom", "id", "uom_id")
        rows = self.env.execute_query(
            query.select(
                SQL.identifier(products._table, "id"),
                SQL.identifier(products._table, "default_code"),
                SQL.identifier(products._table, "barcode"),
                self.env["uom.uom"]._field_to_sql(unit, "name", query),
            )
        )
        found = {}
        for product_id, sku, barcode, uom in rows:
            product = found[product_id] = {"product_id": product_id, "uom": uom}
            if sku:
                product["sku"] = sku
            if barcode:
                product["barcode"] = barcode
        return found, self._get_unknown(data, found)

    @api.model
    def _get_unknown(self, data, found):
        unknown = []
        for member, name in (
            ("skus", "sku"),
            ("barcodes", "barcode"),
            ("product_ids", "product_id"),
        ):
            there = {product.get(name) for product in found.values()}
            asked = dict.fromkeys(getattr(data, member) or ())
            unknown += [{name: value} for value in asked if value not in there]
        return unknown

    @api.model
    def _get_figures(self, product_ids, warehouse_ids, date=None):
        """Return FIGURES by product and warehouse, where there is anything.

        The caller has checked what the user may see.

        :param list product_ids: which products
        :param list warehouse_ids: which warehouses
        :param datetime date: until when planned moves count, or None
        :return: dictionary of tuples by pairs of ids
        """
        self.env["stock.ledger.entry"]._flush_buffer()
        self.env["stock.move"].flush_model()
        self.env["stock.location"].flush_model()
        rows = self.env.execute_query(self._query_figures(product_ids, warehouse_ids, date))
        return {(product_id, place): tuple(figures) for product_id, place, *figures in rows}

    @api.model
    def _query_figures(self, product_ids, warehouse_ids, date):
        return SQL(
            """
            WITH place AS MATERIALIZED (%(places)s)
            SELECT product_id, place,
                   SUM(physical), SUM(reserved), SUM(physical) - SUM(reserved),
                   SUM(incoming), SUM(outgoing), SUM(physical) + SUM(incoming) - SUM(outgoing)
              FROM (%(stock)s UNION ALL %(planned)s) AS figure
             WHERE place = ANY(%(warehouses)s)
             GROUP BY product_id, place
            """,
            places=self.env["stock.ledger.report.stock"]._query_places(),
            stock=self._query_stock(product_ids),
            planned=self._query_planned(product_ids, date),
            warehouses=warehouse_ids,
        )

    @api.model
    def _query_stock(self, product_ids):
        """What is there: the balances and what they do not have yet."""
        columns = SQL("product_id, location_id, quantity, reserved_quantity")
        return SQL(
            """
            SELECT stock.product_id, location.warehouse_id AS place,
                   stock.quantity AS physical, stock.reserved_quantity AS reserved,
                   0 AS incoming, 0 AS outgoing
              FROM (SELECT %(columns)s FROM stock_ledger_balance
                     WHERE product_id = ANY(%(products)s)
                     UNION ALL
                    SELECT %(columns)s FROM stock_ledger_delta
                     WHERE product_id = ANY(%(products)s)) AS stock
              JOIN stock_location location ON location.id = stock.location_id
             WHERE location.usage IN %(usages)s
            """,
            columns=columns,
            products=product_ids,
            usages=STOCK_USAGES,
        )

    @api.model
    def _query_planned(self, product_ids, date):
        """What open moves bring to a warehouse and take from it, as Odoo counts them."""
        condition = SQL("move.product_id = ANY(%s)", product_ids)
        if date:
            condition = SQL("%s AND move.date <= %s", condition, date)
        return SQL(
            """
            SELECT planned.product_id, place.place, 0 AS physical, 0 AS reserved,
                   planned.incoming, planned.outgoing
              FROM (%s) AS planned JOIN place ON place.id = planned.location_id
             WHERE planned.incoming <> 0 OR planned.outgoing <> 0
            """,
            self.env["stock.ledger.report.stock"]._query_planned(condition),
        )
