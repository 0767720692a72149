from odoo import api, fields, models
from odoo.tools import SQL


class StockLedgerReportStock(models.Model):
    """Stock by product and warehouse: physical, reserved and available.

    Rollup plus unfolded deltas: as fresh as the last commit, without reading the
    transaction tables.
    """

    _name = "stock.ledger.report.stock"
    _inherit = ["stock.ledger.report"]
    _description = "Stock by Product and Warehouse"
    _auto = False
    _rec_name = "product_id"
    _order = "warehouse_id, product_id"
    _depends = {
        "stock.ledger.balance": [
            "product_id",
            "location_id",
            "company_id",
            "quantity",
            "reserved_quantity",
        ],
        "stock.ledger.delta": [
            "product_id",
            "location_id",
            "company_id",
            "quantity",
            "reserved_quantity",
        ],
        "stock.location": ["usage", "warehouse_id"],
        "product.product": ["product_tmpl_id"],
        "product.template": ["categ_id"],
    }

    product_id = fields.Many2one("product.product", readonly=True)
    product_categ_id = fields.Many2one("product.category", string="Product Category", readonly=True)
    warehouse_id = fields.Many2one(
        "stock.warehouse",
        readonly=True,
        help="Empty for goods in transit between warehouses",
    )
    company_id = fields.Many2one("res.company", readonly=True)
    product_uom_id = fields.Many2one(related="product_id.uom_id", string="Unit")
    physical_quantity = fields.Float(
        "Physical",
        digits="Product Unit",
        readonly=True,
        help="On hand, in the product's unit of measure",
    )
    reserved_quantity = fields.Float(
        "Reserved",
        digits="Product Unit",
        readonly=True,
        help="Promised to transfers, in the product's unit of measure",
    )
    available_quantity = fields.Float(
        "Available",
        digits="Product Unit",
        readonly=True,
        help="Physical less reserved, in the product's unit of measure",
    )

    @property
    def _table_query(self):
        return SQL(
            "SELECT %s FROM %s WHERE %s GROUP BY %s",
            self._query_select(),
            self._query_from(),
            self._query_where(),
            self._query_group_by(),
        )

    def _query_select(self):
        # The id is that of the row's oldest balance, so that a row that is read after it
        # was found is the same one. Before the first fold of a product in a warehouse it
        # is a delta's, below zero, which XML-RPC's 32 bits can also carry.
        return SQL(
            """
            COALESCE(MIN(stock.balance_id), -MIN(stock.delta_id)) AS id,
            product.id AS product_id,
            template.categ_id AS product_categ_id,
            location.warehouse_id AS warehouse_id,
            stock.company_id AS company_id,
            SUM(stock.quantity) AS physical_quantity,
            SUM(stock.reserved_quantity) AS reserved_quantity,
            SUM(stock.quantity) - SUM(stock.reserved_quantity) AS available_quantity
            """
        )

    def _query_from(self):
        return SQL(
            """
            (SELECT id AS balance_id, NULL::integer AS delta_id, product_id, location_id,
                    company_id, quantity, reserved_quantity
               FROM stock_ledger_balance
              UNION ALL
             SELECT NULL, id, product_id, location_id, company_id, quantity,
                    reserved_quantity
               FROM stock_ledger_delta) AS stock
            JOIN stock_location location ON location.id = stock.location_id
            JOIN product_product product ON product.id = stock.product_id
            JOIN product_template template ON template.id = product.product_tmpl_id
            """
        )

    def _query_where(self):
        return SQL("location.usage IN ('internal', 'transit')")

    def _query_group_by(self):
        return SQL(
            """product.id, template.categ_id, location.warehouse_id, stock.company_id
            HAVING SUM(stock.quantity) <> 0 OR SUM(stock.reserved_quantity) <> 0"""
        )

    @api.readonly
    def action_view_entries(self):
        """Open the ledger entries behind this row.

        :return: a window action
        """
        self.ensure_one()
        return self._prepare_entries_action(
            [
                ("product_id", "=", self.product_id.id),
                ("location_id.usage", "in", ("internal", "transit")),
                ("location_id.warehouse_id", "=", self.warehouse_id.id),
                ("company_id", "=", self.company_id.id),
            ]
        )
