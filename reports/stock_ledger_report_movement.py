import datetime
from typing import NamedTuple

from odoo import api, fields, models
from odoo.fields import Domain
from odoo.models import parse_read_group_spec
from odoo.tools import SQL

from ..fields import HistoricalMany2one

MONTHLY_GRANULARITIES = (
    "month",
    "quarter",
    "year",
    "month_number",
    "quarter_number",
    "year_number",
)
COLUMNS = (
    "date",
    "product_id",
    "product_categ_id",
    "warehouse_id",
    "location_id",
    "event_type",
    "company_id",
)
DIMENSIONS = (*COLUMNS, "product_uom_id")
MEASURES = ("in_quantity", "out_quantity", "net_quantity", "entry_count")


class Monthly(NamedTuple):
    """In the context, that months do, and by which columns: no client can send a class."""

    columns: tuple


class StockLedgerReportMovement(models.Model):
    """Movements by day, product, location and event type: in, out, net and how many.

    Rollup plus unfolded deltas. A row is a day; whatever is grouped by month or coarser,
    and asks for whole months, is read from the months instead: the same figures from
    far fewer rows.
    """

    _name = "stock.ledger.report.movement"
    _inherit = ["stock.ledger.report", "stock.historical.mixin"]
    _description = "Movement Analysis"
    _auto = False
    _rec_name = "product_id"
    _order = "date desc, id desc"
    _period_fields = [
        "date",
        "product_id",
        "location_id",
        "event_type",
        "in_quantity",
        "out_quantity",
        "entry_count",
    ]
    _depends = {
        "stock.ledger.day": _period_fields,
        "stock.ledger.month": _period_fields,
        "stock.ledger.month.total": [name for name in _period_fields if name != "event_type"],
        "stock.ledger.month.location": [name for name in _period_fields if name != "product_id"],
        "stock.ledger.delta": [
            "product_id",
            "location_id",
            "event_type",
            "quantity",
            "effective_date",
        ],
        "stock.location": ["company_id", "usage", "warehouse_id"],
        "product.product": ["product_tmpl_id"],
        "product.template": ["categ_id"],
    }

    date = fields.Date(readonly=True, help="When the goods moved, in UTC")
    product_id = HistoricalMany2one("product.product", readonly=True)
    product_categ_id = fields.Many2one("product.category", string="Product Category", readonly=True)
    warehouse_id = fields.Many2one(
        "stock.warehouse",
        readonly=True,
        help="Empty for goods in transit between warehouses",
    )
    location_id = HistoricalMany2one("stock.location", readonly=True)
    event_type = fields.Selection(
        lambda self: self.env["stock.ledger.entry"]._get_event_types(), readonly=True
    )
    company_id = fields.Many2one("res.company", readonly=True)
    product_uom_id = fields.Many2one(related="product_id.uom_id", string="Unit")
    in_quantity = fields.Float(
        "In",
        digits="Product Unit",
        readonly=True,
        help="What came to the location, in the product's unit of measure",
    )
    out_quantity = fields.Float(
        "Out",
        digits="Product Unit",
        readonly=True,
        help="What left the location, in the product's unit of measure",
    )
    net_quantity = fields.Float(
        "Net",
        digits="Product Unit",
        readonly=True,
        help="In less out, in the product's unit of measure",
    )
    entry_count = fields.Integer("Entries", readonly=True, help="How many ledger entries")

    @property
    def _table_query(self):
        rows = SQL(
            "SELECT %s FROM %s WHERE %s",
            self._query_select(),
            self._query_from(),
            self._query_where(),
        )
        monthly = self._get_monthly()
        return self._query_sums(rows, monthly.columns) if monthly else rows

    @api.model
    def _get_monthly(self):
        """Return by which columns to add up months, or None for days."""
        monthly = self.env.context.get("stock_event_ledger_monthly")
        return monthly if isinstance(monthly, Monthly) else None

    def _query_sums(self, rows, columns):
        # Odoo's grouping joins and sorts by names, of the few rows that this leaves.
        return SQL(
            """
            SELECT %(columns)s, SUM(in_quantity) AS in_quantity,
                   SUM(out_quantity) AS out_quantity,
                   SUM(in_quantity) - SUM(out_quantity) AS net_quantity,
                   SUM(entry_count) AS entry_count
              FROM (%(rows)s) AS movement
             GROUP BY %(columns)s
            """,
            columns=SQL(", ").join(SQL.identifier(column) for column in columns),
            rows=rows,
        )

    def _query_select(self):
        return SQL(
            """
            period.id, period.date, period.product_id, template.categ_id AS product_categ_id,
            location.warehouse_id, period.location_id, period.event_type, location.company_id,
            period.in_quantity, period.out_quantity,
            period.in_quantity - period.out_quantity AS net_quantity, period.entry_count
            """
        )

    def _query_from(self):
        # What a query does not ask for, PostgreSQL does not join: hence the outer joins.
        return SQL(
            """
            (%s) AS period
            JOIN stock_location location ON location.id = period.location_id
            LEFT JOIN product_product product ON product.id = period.product_id
            LEFT JOIN product_template template ON template.id = product.product_tmpl_id
            """,
            self._query_periods(),
        )

    def _query_where(self):
        return SQL("location.usage IN ('internal', 'transit')")

    def _query_periods(self):
        """The rollup's rows and, by themselves and with ids below zero, unfolded deltas."""
        rollup = self._get_rollup()
        # Months are only read of those that have what is asked for.
        product_id = SQL("product_id" if "product_id" in rollup._fields else "NULL::integer")
        event_type = SQL("event_type" if "event_type" in rollup._fields else "NULL::varchar")
        return SQL(
            """
            SELECT id, date, %(product_id)s AS product_id, location_id,
                   %(event_type)s AS event_type, in_quantity, out_quantity, entry_count
              FROM %(rollup)s
             UNION ALL
            SELECT -id, date_trunc(%(period)s, effective_date)::date, product_id, location_id,
                   event_type, GREATEST(quantity, 0), GREATEST(-quantity, 0), 1
              FROM stock_ledger_delta WHERE quantity <> 0
            """,
            product_id=product_id,
            event_type=event_type,
            rollup=SQL.identifier(rollup._table),
            period=rollup._period,
        )

    @api.model
    def _get_rollup(self):
        """Return the shortest rollup that has what is asked for."""
        monthly = self._get_monthly()
        if not monthly:
            return self.env["stock.ledger.day"]
        if not {"product_id", "product_categ_id"} & set(monthly.columns):
            return self.env["stock.ledger.month.location"]
        by_type = "event_type" in monthly.columns
        return self.env["stock.ledger.month" if by_type else "stock.ledger.month.total"]

    # --- grouping: by months where that comes to the same ---

    @api.model
    def _read_group(self, domain, groupby=(), aggregates=(), having=(), **kwargs):
        domain = Domain(domain).optimize_full(self)
        specs = [*groupby, *aggregates, *(leaf[0] for leaf in having if len(leaf) == 3)]
        report = self._with_monthly(domain, specs, kwargs.get("order"))
        return super(StockLedgerReportMovement, report)._read_group(
            domain, groupby, aggregates, having, **kwargs
        )

    @api.model
    def _read_grouping_sets(self, domain, grouping_sets, aggregates=(), order=None):
        domain = Domain(domain).optimize_full(self)
        specs = [*(spec for groupby in grouping_sets for spec in groupby), *aggregates]
        report = self._with_monthly(domain, specs, order)
        return super(StockLedgerReportMovement, report)._read_grouping_sets(
            domain, grouping_sets, aggregates, order
        )

    @api.model
    def _with_monthly(self, domain, specs, order):
        """Return this model reading months, if the figures are the same, or days.

        :param Domain domain: fully optimized
        :param specs: list of group-by and aggregate specifications
        :param str order: the order of the groups, if any
        """
        conditions = list(domain.iter_conditions())
        specs = [*specs, *(part.split()[0] for part in (order or "").split(",") if part.strip())]
        if not (
            all(map(self._is_monthly_condition, conditions))
            and all(map(self._is_monthly_spec, specs))
        ):
            return self
        names = {condition.field_expr.partition(".")[0] for condition in conditions}
        names |= {parse_read_group_spec(spec)[0] for spec in specs if spec != "__count"}
        # The rule's column, and that of the unit.
        names |= {"company_id"} | ({"product_id"} if "product_uom_id" in names else set())
        columns = tuple(name for name in COLUMNS if name in names)
        return self.with_context(stock_event_ledger_monthly=Monthly(columns))

    @api.model
    def _is_monthly_condition(self, condition):
        """Return whether a condition takes all of a month's days or none."""
        name, _dot, rest = condition.field_expr.partition(".")
        if name != "date":
            return name in DIMENSIONS
        if rest:
            return rest in MONTHLY_GRANULARITIES
        if condition.operator in (">=", "<"):
            return condition.value.day == 1
        if condition.operator in (">", "<="):
            return (condition.value + datetime.timedelta(days=1)).day == 1
        return False

    @api.model
    def _is_monthly_spec(self, spec):
        """Return whether a group-by or an aggregate is the same over months as over days."""
        if spec == "__count":
            return True
        name, _path, function = parse_read_group_spec(spec)
        if name == "date":
            return function in MONTHLY_GRANULARITIES
        if name in MEASURES:
            return function == "sum"
        return name in DIMENSIONS and function in (None, "count_distinct", "array_agg_distinct")

    def _read_group_select(self, aggregate_spec, query):
        """Count ledger entries, not rows, which months have fewer of than days."""
        if aggregate_spec == "__count":
            aggregate_spec = "entry_count:sum"
        return super()._read_group_select(aggregate_spec, query)

    # --- drill-down ---

    def _get_entries_domain(self):
        """Return which ledger entries are behind this row."""
        self.ensure_one()
        return (
            Domain("product_id", "=", self.product_id.id)
            & Domain("location_id", "=", self.location_id.id)
            & Domain("event_type", "=", self.event_type)
            & Domain("effective_date", ">=", fields.Datetime.to_string(self.date))
            & Domain(
                "effective_date",
                "<",
                fields.Datetime.to_string(self.date + datetime.timedelta(days=1)),
            )
            & Domain("quantity", "!=", 0)
        )

    @api.readonly
    def action_view_entries(self):
        """Open the ledger entries behind this row.

        :return: a window action
        """
        return self._prepare_entries_action(self._get_entries_domain())

    @api.readonly
    def action_view_transfers(self):
        """Open the transfers behind this row.

        :return: a window action
        """
        return self._prepare_transfers_action(
            Domain("ledger_entry_ids", "any", self._get_entries_domain())
        )
