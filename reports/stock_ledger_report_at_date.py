import datetime

import pytz

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.fields import Domain
from odoo.tools import SQL

from ..fields import HistoricalMany2one
from ..models.stock_ledger_closing import KEY

IN_STOCK = ("internal", "transit")
CONTEXT_KEYS = ("stock_ledger_at", "stock_ledger_compare_at")


class StockLedgerReportAtDate(models.Model):
    """Stock at a date, and how it differs from another one's.

    The dates are those of the context: ``stock_ledger_at``, now if it is missing, and
    ``stock_ledger_compare_at``. Either is a moment in UTC, 'YYYY-MM-DD HH:MM:SS', or a
    date, 'YYYY-MM-DD', for the end of that day in the user's time zone. What is effective
    at that very second counts. Any search, read or grouping takes them, as here by XML-RPC::

        execute_kw(db, uid, key, "stock.ledger.report.at_date", "formatted_read_group",
                   [[], ["product_id"], ["quantity:sum"]],
                   {"context": {"stock_ledger_at": "2026-03-31 23:59:59"}})
    """

    _name = "stock.ledger.report.at_date"
    _inherit = ["stock.ledger.report", "stock.historical.mixin"]
    _description = "Stock at a Date"
    _auto = False
    _rec_name = "product_id"
    # By age of the products: to sort all by name takes as long as to find them.
    _order = "product_id.id, location_id.id, id"
    _depends = {
        model: ["product_id", "location_id", "lot_id", "package_id", "owner_id", "quantity"]
        for model in ("stock.ledger.closing", "stock.ledger.delta", "stock.ledger.entry")
    } | {
        "stock.location": ["usage", "warehouse_id"],
        "product.product": ["product_tmpl_id"],
        "product.template": ["categ_id"],
    }

    product_id = HistoricalMany2one("product.product", readonly=True, depends_context=CONTEXT_KEYS)
    product_categ_id = fields.Many2one(
        "product.category",
        string="Product Category",
        readonly=True,
        depends_context=CONTEXT_KEYS,
    )
    location_id = HistoricalMany2one("stock.location", readonly=True, depends_context=CONTEXT_KEYS)
    warehouse_id = fields.Many2one(
        "stock.warehouse",
        readonly=True,
        depends_context=CONTEXT_KEYS,
        help="Empty for goods in transit between warehouses",
    )
    lot_id = HistoricalMany2one(
        "stock.lot", string="Lot/Serial Number", readonly=True, depends_context=CONTEXT_KEYS
    )
    package_id = HistoricalMany2one("stock.package", readonly=True, depends_context=CONTEXT_KEYS)
    owner_id = HistoricalMany2one("res.partner", readonly=True, depends_context=CONTEXT_KEYS)
    company_id = HistoricalMany2one("res.company", readonly=True, depends_context=CONTEXT_KEYS)
    product_uom_id = fields.Many2one(related="product_id.uom_id", string="Unit")
    quantity = fields.Float(
        "At the Date",
        digits="Product Unit",
        readonly=True,
        depends_context=CONTEXT_KEYS,
        help="On hand at the date, in the product's unit of measure",
    )
    compare_quantity = fields.Float(
        "Compared With",
        digits="Product Unit",
        readonly=True,
        depends_context=CONTEXT_KEYS,
        help="On hand at the date to compare with, in the product's unit of measure; "
        "zero without such a date",
    )
    difference_quantity = fields.Float(
        "Difference",
        digits="Product Unit",
        readonly=True,
        depends_context=CONTEXT_KEYS,
        help="What there was more at the date, in the product's unit of measure",
    )

    # --- the dates ---

    @api.model
    def _get_moments(self):
        """Return the date and the one to compare with, or None, as moments in UTC.

        :raises UserError: when the context has something else
        """
        at, compare_at = (self._parse_moment(self.env.context.get(key)) for key in CONTEXT_KEYS)
        return at or self._get_end_of_second(fields.Datetime.now()), compare_at

    @api.model
    def _parse_moment(self, value):
        """Return the moment that a value of the context tells, or None if it is empty."""
        if not value:
            return None
        try:
            moment = fields.Datetime.to_datetime(value)
            is_day = not isinstance(value, datetime.datetime) and len(str(value)) <= 10
            if is_day:
                end = datetime.datetime.combine(moment, datetime.time.max)
                moment = self.env.tz.localize(end).astimezone(pytz.utc).replace(tzinfo=None)
            if moment.year == datetime.MAXYEAR:
                raise OverflowError
        except (AttributeError, OverflowError, TypeError, ValueError):
            raise UserError(
                self.env._(
                    "Stock cannot be told at %(value)s. Give a moment in UTC as "
                    "YYYY-MM-DD HH:MM:SS, or a day, whose end is meant, as YYYY-MM-DD.",
                    value=value,
                )
            ) from None
        return self._get_end_of_second(moment)

    @api.model
    def _get_end_of_second(self, moment):
        # Odoo's dates are of whole seconds; PostgreSQL's, in the ledger, may be finer.
        return moment.replace(microsecond=999999)

    # --- the query ---

    @property
    def _table_query(self):
        return SQL("SELECT %s FROM %s", self._query_select(), self._query_from())

    def _query_select(self):
        return SQL(
            """
            stock.id AS id,
            stock.product_id AS product_id,
            template.categ_id AS product_categ_id,
            stock.location_id AS location_id,
            location.warehouse_id AS warehouse_id,
            stock.lot_id AS lot_id,
            stock.package_id AS package_id,
            stock.owner_id AS owner_id,
            stock.company_id AS company_id,
            stock.quantity AS quantity,
            stock.compare_quantity AS compare_quantity,
            stock.quantity - stock.compare_quantity AS difference_quantity
            """
        )

    def _query_from(self):
        # Products are joined in a way that leaves them out where they are not asked for.
        return SQL(
            """
            (%s) AS stock
            JOIN stock_location location ON location.id = stock.location_id
            LEFT JOIN product_product product ON product.id = stock.product_id
            LEFT JOIN product_template template ON template.id = product.product_tmpl_id
            """,
            self._query_stock(),
        )

    def _query_stock(self):
        """Return the query of the stock keys with their figures at both dates."""
        at, compare_at = self._get_moments()
        closing = self.env["stock.ledger.closing"]
        where = self._query_where()
        rows = SQL(
            "SELECT *, 0.0 AS compare_quantity FROM (%s) AS at_date",
            closing._query_stock_at(at, where),
        )
        if compare_at:
            rows = SQL(
                "%s UNION ALL SELECT id, %s, 0.0, quantity FROM (%s) AS at_compare_date",
                rows,
                KEY,
                closing._query_stock_at(compare_at, where),
            )
        # The id is that of the key's latest closing balance, or else minus that of its
        # first entry, which XML-RPC's 32 bits can also carry.
        return SQL(
            """
            SELECT MAX(id) AS id, %(key)s, SUM(quantity) AS quantity,
                   %(compare_quantity)s AS compare_quantity
              FROM (%(rows)s) AS rows
             GROUP BY %(key)s
            HAVING SUM(quantity) <> 0 OR %(compare_quantity)s <> 0
            """,
            key=KEY,
            # A sum for each stock key takes memory, of which there is little.
            compare_quantity=SQL("SUM(compare_quantity)") if compare_at else SQL("0.0"),
            rows=rows,
        )

    def _query_where(self):
        return SQL("location_id IN (SELECT id FROM stock_location WHERE usage IN %s)", IN_STOCK)

    # --- drill-down ---

    @api.readonly
    def action_view_entries(self):
        """Open the ledger entries behind this row: up to the date, or between the dates.

        :return: a window action
        """
        return self._prepare_entries_action(self._get_entries_domain())

    @api.readonly
    def action_view_transfers(self):
        """Open the transfers behind this row: up to the date, or between the dates.

        :return: a window action
        """
        groups = self.env["stock.ledger.entry"]._read_group(
            self._get_entries_domain() & Domain("picking_id", "!=", False), ["picking_id"]
        )
        return self._prepare_transfers_action(
            Domain("id", "in", [picking.id for [picking] in groups])
        )

    def _get_entries_domain(self):
        self.ensure_one()
        at, compare_at = self._get_moments()
        domain = Domain("quantity", "!=", 0)
        for name in ("product_id", "location_id", "lot_id", "package_id", "owner_id", "company_id"):
            domain &= Domain(name, "=", self[name].id)
        if compare_at:
            domain &= Domain("effective_date", ">", min(at, compare_at))
            at = max(at, compare_at)
        return domain & Domain("effective_date", "<=", at)
