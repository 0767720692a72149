from dateutil.relativedelta import relativedelta

from odoo import api, fields, models
from odoo.fields import Domain
from odoo.tools import SQL
from odoo.tools.date_utils import date_range

from ..models.stock_ledger_balance import STILL_TYPES

DAYS_A_YEAR = 365
# The context key of the products that are being read. It can only leave rows out.
PRODUCTS = "stock_event_ledger_products"


class StockLedgerReportAgeing(models.Model):
    """How long stock has lain, how long it will last, and how often there was none.

    Demand is what sales and manufacturing took from the warehouse since the first day of
    the period (see ``stock.ledger.stockout``) until now. Rollups plus unfolded deltas,
    the stock-outs aside: those are as of yesterday.
    """

    _name = "stock.ledger.report.ageing"
    _inherit = ["stock.ledger.report"]
    _description = "Ageing and Turnover"
    _auto = False
    _rec_name = "product_id"
    _order = "last_movement_date, id"
    _depends = {
        "stock.ledger.balance": [
            "product_id",
            "location_id",
            "quantity",
            "reserved_quantity",
            "last_movement_date",
        ],
        "stock.ledger.month": [
            "date",
            "product_id",
            "location_id",
            "event_type",
            "in_quantity",
            "out_quantity",
        ],
        "stock.ledger.delta": [
            "product_id",
            "location_id",
            "event_type",
            "quantity",
            "reserved_quantity",
            "effective_date",
        ],
        "stock.ledger.stockout": ["product_id", "warehouse_id", "first_day", "last_day"],
        "stock.location": ["usage", "warehouse_id", "company_id"],
        "product.product": ["product_tmpl_id"],
        "product.template": ["categ_id"],
    }

    product_id = fields.Many2one("product.product", readonly=True)
    product_categ_id = fields.Many2one("product.category", string="Product Category", readonly=True)
    warehouse_id = fields.Many2one(
        "stock.warehouse", readonly=True, help="Empty for goods in transit between warehouses"
    )
    company_id = fields.Many2one("res.company", readonly=True)
    product_uom_id = fields.Many2one(related="product_id.uom_id", string="Unit")
    physical_quantity = fields.Float(
        "Physical",
        digits="Product Unit",
        readonly=True,
        help="On hand, in the product's unit of measure",
    )
    available_quantity = fields.Float(
        "Available",
        digits="Product Unit",
        readonly=True,
        help="Physical less reserved, in the product's unit of measure",
    )
    last_movement_date = fields.Datetime(
        "Last Movement",
        readonly=True,
        help="Movements inside the warehouse and the opening of the ledger aside",
    )
    idle_days = fields.Integer(
        "Days Since Movement",
        readonly=True,
        aggregator="avg",
        help="Whole days since the last movement",
    )
    age_class = fields.Selection(
        [
            ("1", "0-30 days"),
            ("2", "31-90 days"),
            ("3", "91-180 days"),
            ("4", "181-365 days"),
            ("5", "More than a year"),
            ("6", "Never moved"),
        ],
        string="Age",
        readonly=True,
        help="By the days since the last movement",
    )
    daily_demand = fields.Float(
        digits="Product Unit",
        readonly=True,
        help="What was sold or consumed per day, on average since the first day of the month "
        "three months ago (or as many as the settings say), corrections taken off",
    )
    cover_days = fields.Float(
        "Days of Cover",
        digits=(16, 1),
        readonly=True,
        aggregator="avg",
        help="Available by daily demand; empty without demand",
    )
    turnover = fields.Float(
        digits=(16, 2),
        readonly=True,
        aggregator="avg",
        help="How many times a year the physical stock of today would be sold or consumed at "
        "the daily demand: 365 times the daily demand, by physical. Empty without stock",
    )
    stockout_count = fields.Integer(
        "Stock-outs",
        readonly=True,
        help="How many times stock ran out since the first day of the period, until yesterday",
    )
    stockout_days = fields.Integer(
        "Days Out of Stock",
        readonly=True,
        help="Days of the period, until yesterday, that ended without stock, in UTC",
    )

    @property
    def _table_query(self):
        return SQL("SELECT %s FROM %s", self._query_select(), self._query_from())

    def _query_select(self):
        days = SQL("(%s - stock.last_movement_date::date)", fields.Date.today())
        return SQL(
            """
            stock.id, stock.product_id, template.categ_id AS product_categ_id,
            stock.warehouse_id, stock.company_id, stock.physical_quantity,
            stock.available_quantity, stock.last_movement_date,
            %(days)s AS idle_days,
            CASE WHEN %(days)s IS NULL THEN '6' WHEN %(days)s > 365 THEN '5'
                 WHEN %(days)s > 180 THEN '4' WHEN %(days)s > 90 THEN '3'
                 WHEN %(days)s > 30 THEN '2' ELSE '1' END AS age_class,
            COALESCE(demand.daily, 0) AS daily_demand,
            CASE WHEN demand.daily > 0 THEN stock.available_quantity / demand.daily END
                AS cover_days,
            CASE WHEN stock.physical_quantity > 0
                 THEN COALESCE(demand.daily, 0) * %(days_a_year)s / stock.physical_quantity END
                AS turnover,
            COALESCE(stockout.count, 0) AS stockout_count,
            COALESCE(stockout.days, 0) AS stockout_days
            """,
            days=days,
            days_a_year=DAYS_A_YEAR,
        )

    def _query_from(self):
        # The keys are the groups' own, without NULL, so that PostgreSQL leaves out the
        # joins whose columns nobody asks for.
        return SQL(
            """
            (%s) AS stock
            JOIN product_product product ON product.id = stock.product_id
            JOIN product_template template ON template.id = product.product_tmpl_id
            LEFT JOIN (%s) AS demand
                   ON demand.product_id = stock.product_id
                  AND demand.warehouse_key = stock.warehouse_key
                  AND demand.company_key = stock.company_key
            LEFT JOIN (%s) AS stockout
                   ON stockout.product_id = stock.product_id
                  AND stockout.warehouse_id = stock.warehouse_id
                  AND stockout.company_id = stock.company_id
            """,
            self._query_stock(),
            self._query_demand(),
            self._query_stockouts(),
        )

    def _query_stock(self):
        """What there is, and when it last moved; ids as in the report of stock."""
        return SQL(
            """
            SELECT COALESCE(MIN(balance_id), -MIN(delta_id)) AS id, product_id,
                   location.warehouse_id, location.company_id,
                   COALESCE(location.warehouse_id, 0) AS warehouse_key,
                   COALESCE(location.company_id, 0) AS company_key,
                   SUM(quantity) AS physical_quantity,
                   SUM(quantity) - SUM(reserved_quantity) AS available_quantity,
                   MAX(last_movement_date) AS last_movement_date
              FROM (SELECT id AS balance_id, NULL::integer AS delta_id, product_id, location_id,
                           quantity, reserved_quantity, last_movement_date
                      FROM stock_ledger_balance WHERE %(products)s
                     UNION ALL
                    SELECT NULL, id, product_id, location_id, quantity, reserved_quantity,
                           CASE WHEN quantity <> 0 AND event_type NOT IN %(still)s
                                THEN effective_date END
                      FROM stock_ledger_delta WHERE %(products)s) AS figures
              JOIN stock_location location ON location.id = figures.location_id
             WHERE location.usage IN ('internal', 'transit')
             GROUP BY product_id, location.warehouse_id, location.company_id
            """,
            products=self._query_products(),
            still=STILL_TYPES,
        )

    def _query_demand(self):
        today = fields.Date.today()
        first_day = self.env["stock.ledger.stockout"]._get_first_day()
        # Each by itself: that is how the index finds some products in some months.
        months = list(date_range(first_day, today, relativedelta(months=1)))
        return SQL(
            """
            SELECT product_id, COALESCE(location.warehouse_id, 0) AS warehouse_key,
                   COALESCE(location.company_id, 0) AS company_key,
                   SUM(quantity) / (%(today)s - %(first_day)s + 1) AS daily
              FROM (SELECT product_id, location_id, out_quantity - in_quantity AS quantity
                      FROM stock_ledger_month
                     WHERE date IN %(months)s AND event_type IN ('SALE', 'CONSUMPTION')
                       AND %(products)s
                     UNION ALL
                    SELECT product_id, location_id, -quantity
                      FROM stock_ledger_delta
                     WHERE effective_date >= %(first_day)s AND effective_date < %(end)s
                       AND event_type IN ('SALE', 'CONSUMPTION') AND %(products)s) AS figures
              JOIN stock_location location ON location.id = figures.location_id
             WHERE location.usage IN ('internal', 'transit')
             GROUP BY 1, 2, 3
            """,
            today=today,
            first_day=first_day,
            end=months[-1] + relativedelta(months=1),
            months=tuple(months),
            products=self._query_products(),
        )

    def _query_stockouts(self):
        return SQL(
            """
            SELECT product_id, warehouse_id, company_id,
                   COUNT(*) FILTER (WHERE first_day >= %(first_day)s) AS count,
                   SUM(COALESCE(last_day + 1, %(today)s) - GREATEST(first_day, %(first_day)s))
                       AS days
              FROM stock_ledger_stockout
             WHERE (last_day IS NULL OR last_day >= %(first_day)s) AND %(products)s
             GROUP BY 1, 2, 3
            """,
            first_day=self.env["stock.ledger.stockout"]._get_first_day(),
            today=fields.Date.today(),
            products=self._query_products(),
        )

    # --- reading a page ---

    def search_fetch(self, domain, field_names=None, offset=0, limit=None, order=None):
        """Find the rows first, which needs no demand, and read what only they have then."""
        rows = super().search_fetch(domain, [], offset=offset, limit=limit, order=order)
        if field_names != []:
            rows.fetch(field_names)
        return rows

    def fetch(self, field_names=None):
        """Read the rows' products alone; of all, demand takes the most time."""
        products = [product_id for [product_id] in self.env.execute_query(self._query_own())]
        rows = self.with_context(**{PRODUCTS: products})
        return super(StockLedgerReportAgeing, rows).fetch(field_names)

    def _query_own(self):
        """Return the query of the rows' products."""
        return SQL(
            """SELECT product_id FROM stock_ledger_balance WHERE id = ANY(%s)
                UNION SELECT product_id FROM stock_ledger_delta WHERE id = ANY(%s)""",
            [row_id for row_id in self._ids if row_id > 0],
            [-row_id for row_id in self._ids if row_id < 0],
        )

    def _query_products(self):
        """Return the condition that a product is of the rows that are being read, if any."""
        products = self.env.context.get(PRODUCTS)
        return SQL("TRUE") if products is None else SQL("product_id = ANY(%s)", products)

    # --- what is behind a row ---

    @api.readonly
    def action_view_entries(self):
        """Open the ledger entries behind this row.

        :return: a window action
        """
        self.ensure_one()
        location = Domain("location_id", "any", self._get_location_domain())
        return self._prepare_entries_action(
            list(Domain("product_id", "=", self.product_id.id) & location)
        )

    @api.readonly
    def action_view_transfers(self):
        """Open the done transfers that moved the product into, out of or inside the warehouse.

        :return: a window action
        """
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id("stock.action_picking_tree_all")
        location = self._get_location_domain()
        lines = Domain("product_id", "=", self.product_id.id) & Domain("state", "=", "done")
        lines &= Domain("location_id", "any", location) | Domain(
            "location_dest_id", "any", location
        )
        return {**action, "domain": [("move_line_ids", "any", list(lines))], "context": {}}

    def _get_location_domain(self):
        return [
            ("usage", "in", ("internal", "transit")),
            ("warehouse_id", "=", self.warehouse_id.id),
            ("company_id", "=", self.company_id.id),
        ]
