import datetime

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from ..fields import HistoricalMany2one

# What the card is about; the figures of one row differ from card to card.
PRODUCT, FROM, TO = "stock_ledger_product_id", "stock_ledger_from", "stock_ledger_to"
WAREHOUSE, LOCATION = "stock_ledger_warehouse_id", "stock_ledger_location_id"
LOT = "stock_ledger_lot_id"
CARD = (PRODUCT, FROM, TO, WAREHOUSE, LOCATION, LOT, "allowed_company_ids")
# The rows that are no ledger entries. Positive ids are those of entries.
OPENING_ID, CLOSING_ID = -1, -2
LAST_SEQUENCE = 2**31 - 1
# Rows read at a time by whoever reads all of them.
PAGE = 20_000


class StockLedgerReportCard(models.Model):
    """Stock card: what a product had, each movement with its running balance, what it has.

    Which card is said by the context: ``stock_ledger_product_id``, ``stock_ledger_from`` and
    ``stock_ledger_to`` (moments in UTC, 'YYYY-MM-DD HH:MM:SS', both included), and, if it is not
    about all warehouses and what is in transit, ``stock_ledger_warehouse_id`` or
    ``stock_ledger_location_id`` (with the locations in it); ``stock_ledger_lot_id`` where it is
    about one lot of the product. The first row is the opening balance and the last one the
    closing balance.
    """

    _name = "stock.ledger.report.card"
    _inherit = ["stock.ledger.report", "stock.historical.mixin"]
    _description = "Stock Card Line"
    _auto = False
    _rec_name = "reference"
    _order = "sequence"
    _depends = {
        "stock.ledger.entry": ["product_id", "effective_date", "quantity"],
        "stock.ledger.closing": ["product_id", "quantity"],
        "stock.ledger.delta": ["product_id", "quantity"],
        "stock.location": ["usage", "warehouse_id", "parent_path"],
    }

    sequence = fields.Integer(readonly=True, aggregator=None, depends_context=CARD)
    effective_date = fields.Datetime("Date", readonly=True, depends_context=CARD)
    event_type = fields.Selection(lambda self: self._get_row_types(), "Event", readonly=True)
    product_id = HistoricalMany2one("product.product", readonly=True, depends_context=CARD)
    product_uom_id = fields.Many2one(related="product_id.uom_id", string="Unit")
    reference = fields.Char(readonly=True)
    origin = fields.Char("Source Document", readonly=True)
    picking_id = HistoricalMany2one("stock.picking", string="Transfer", readonly=True)
    partner_id = fields.Many2one("res.partner", compute="_compute_partner_id", string="Contact")
    location_id = HistoricalMany2one("stock.location", readonly=True)
    lot_id = HistoricalMany2one("stock.lot", string="Lot/Serial Number", readonly=True)
    company_id = HistoricalMany2one("res.company", readonly=True)
    user_id = HistoricalMany2one("res.users", readonly=True)
    in_quantity = fields.Float("In", digits="Product Unit", readonly=True)
    out_quantity = fields.Float("Out", digits="Product Unit", readonly=True)
    balance_quantity = fields.Float(
        "Balance",
        digits="Product Unit",
        readonly=True,
        aggregator=None,
        depends_context=CARD,
        help="On hand after the movement, in the product's unit of measure",
    )

    @api.model
    def _get_row_types(self):
        return [
            ("OPENING_BALANCE", self.env._("Opening Balance")),
            *self.env["stock.ledger.entry"]._get_event_types(),
            ("CLOSING_BALANCE", self.env._("Closing Balance")),
        ]

    @api.depends("picking_id")
    def _compute_partner_id(self):
        transfers = self.picking_id.exists()
        transfers.fetch(["partner_id"])
        partners = {transfer.id: transfer.partner_id for transfer in transfers}
        for row in self:
            row.partner_id = partners.get(row.picking_id.id)

    # --- which card ---

    @api.model
    def _get_product(self):
        """Return the product that the card is about, or none."""
        return self.env["product.product"].browse(int(self.env.context.get(PRODUCT) or 0) or None)

    @api.model
    def _get_period(self):
        """Return the first and the last moment of the card."""
        now = fields.Datetime.now()
        start, end = (fields.Datetime.to_datetime(self.env.context.get(key)) for key in (FROM, TO))
        return start or now, end or now

    @api.model
    def _check_card(self):
        """Refuse to make a card of nothing in particular.

        :raises UserError: when the context does not say which one
        """
        if not self._get_product():
            raise UserError(
                self.env._("A stock card is about one product: choose it, and the period.")
            )
        start, end = self._get_period()
        if not (self.env.context.get(FROM) and self.env.context.get(TO)) or start > end:
            raise UserError(self.env._("The period of a stock card has a beginning and an end."))

    @api.model
    def _search(self, domain, *args, **kwargs):
        self._check_card()
        return super()._search(domain, *args, **kwargs)

    # --- query ---

    @property
    def _table_query(self):
        # Not refused without a card: Odoo asks for the query to see what fields can do.
        return SQL(
            """
            WITH movement AS (%(movements)s), opening AS (%(opening)s)
            %(lines)s UNION ALL %(opening_line)s UNION ALL %(closing_line)s
            """,
            movements=self._query_movements(),
            opening=self._query_opening(),
            lines=self._query_lines(),
            opening_line=self._query_opening_line(),
            closing_line=self._query_closing_line(),
        )

    @api.model
    def _query_movements(self):
        start, end = self._get_period()
        return SQL(
            """
            SELECT stock.id, stock.event_type, stock.effective_date, stock.product_id,
                   stock.reference, stock.origin, stock.picking_id, stock.location_id,
                   stock.lot_id, stock.company_id, stock.user_id, stock.quantity
              FROM stock_ledger_entry stock
              JOIN stock_location location ON location.id = stock.location_id
             WHERE %s AND stock.effective_date >= %s AND stock.effective_date <= %s
               AND stock.quantity <> 0
            """,
            self._query_scope(),
            start,
            end,
        )

    @api.model
    def _query_opening(self):
        start, _end = self._get_period()
        return SQL(
            """
            SELECT COALESCE(SUM(stock.quantity), 0.0) AS quantity
              FROM (%s) AS stock JOIN stock_location location ON location.id = stock.location_id
             WHERE %s
            """,
            self.env["stock.ledger.closing"]._query_stock_at(start - datetime.timedelta.resolution),
            self._query_scope(),
        )

    @api.model
    def _query_scope(self):
        """The condition on ``stock`` and its ``location``.

        The running balance is that of the companies at hand, so that these are chosen here
        and not only by the rule on the rows.
        """
        conditions = [
            SQL("stock.product_id = %s", self._get_product().id or None),
            SQL("location.usage IN ('internal', 'transit')"),
            SQL("(stock.company_id = ANY(%s) OR stock.company_id IS NULL)", self.env.companies.ids),
        ]
        if warehouse_id := self.env.context.get(WAREHOUSE):
            conditions.append(SQL("location.warehouse_id = %s", int(warehouse_id)))
        if location_id := self.env.context.get(LOCATION):
            location = self.env["stock.location"].browse(int(location_id))
            conditions.append(SQL("location.parent_path LIKE %s", location.parent_path + "%"))
        if lot_id := self.env.context.get(LOT):
            conditions.append(SQL("stock.lot_id = %s", int(lot_id)))
        return SQL(" AND ").join(conditions)

    @api.model
    def _query_lines(self):
        return SQL(
            """
            SELECT movement.id, row_number() OVER running AS sequence, event_type,
                   effective_date, product_id, reference, origin, picking_id, location_id,
                   lot_id, company_id, user_id,
                   GREATEST(movement.quantity, 0) AS in_quantity,
                   GREATEST(-movement.quantity, 0) AS out_quantity,
                   opening.quantity + SUM(movement.quantity) OVER running AS balance_quantity
              FROM movement CROSS JOIN opening
            WINDOW running AS (
                ORDER BY movement.effective_date, movement.id ROWS UNBOUNDED PRECEDING)
            """
        )

    @api.model
    def _query_opening_line(self):
        start, _end = self._get_period()
        return SQL(
            """
            SELECT %s, 0, 'OPENING_BALANCE', %s, %s, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                   0, 0, quantity
              FROM opening
            """,
            OPENING_ID,
            start,
            self._get_product().id or None,
        )

    @api.model
    def _query_closing_line(self):
        _start, end = self._get_period()
        return SQL(
            """
            SELECT %s, %s, 'CLOSING_BALANCE', %s, %s, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                   0, 0, quantity + (SELECT COALESCE(SUM(quantity), 0.0) FROM movement)
              FROM opening
            """,
            CLOSING_ID,
            LAST_SEQUENCE,
            end,
            self._get_product().id or None,
        )

    def _order_to_sql(self, order, query, alias=None, reverse=False):
        # Much happens in one second. Rows in the order of their balances, whatever the
        # order; and in the same one on each page.
        order = (order or self._order).replace("effective_date", "sequence")
        if "sequence" not in order:
            order += ", sequence"
        return super()._order_to_sql(order, query, alias, reverse)

    # --- reading ---

    @api.model
    @api.readonly
    def get_totals(self):
        """Return the card's totals, in the product's unit of measure.

        :return: dictionary of opening, in, out and closing; opening + in - out = closing
        :raises UserError: when the context does not say which card
        """
        [(moved_in, moved_out)] = self._read_group([], [], ["in_quantity:sum", "out_quantity:sum"])
        opening, closing = self.browse((OPENING_ID, CLOSING_ID))
        return {
            "opening": opening.balance_quantity,
            "in": moved_in,
            "out": moved_out,
            "closing": closing.balance_quantity,
        }

    @api.model
    def _iter_values(self):
        """Yield each row's (local date, event, reference, source document, contact,
        location, lot, in, out, balance, user), with names for records."""
        event_types = dict(self._fields["event_type"]._description_selection(self.env))
        names = ["partner_id", "location_id", "lot_id", "user_id"]
        fetched = [name for name, field in self._fields.items() if field.column_type]
        offset = 0
        while rows := self.search_fetch([], fetched, offset=offset, limit=PAGE):
            rows._hide_deleted_targets(names)
            for row in rows:
                partner, location, lot, user = (row[name].display_name or "" for name in names)
                yield (
                    fields.Datetime.context_timestamp(self, row.effective_date).replace(
                        tzinfo=None
                    ),
                    event_types[row.event_type],
                    row.reference or "",
                    row.origin or "",
                    partner,
                    location,
                    lot,
                    row.in_quantity,
                    row.out_quantity,
                    row.balance_quantity,
                    user,
                )
            offset += len(rows)
            rows.invalidate_recordset(flush=False)

    # --- actions ---

    @api.readonly
    def action_open_document(self):
        """Open what is behind this row: its transfer, its ledger entry, or the entries
        that a balance is made of.

        :return: a window action
        """
        self.ensure_one()
        if self.id in (OPENING_ID, CLOSING_ID):
            return self._prepare_entries_action(self._get_entries_domain())
        document = self.picking_id.exists() or self.env["stock.ledger.entry"].browse(self.id)
        return {
            "type": "ir.actions.act_window",
            "res_model": document._name,
            "res_id": document.id,
            "views": [[False, "form"]],
        }

    def _get_entries_domain(self):
        """Return the domain of the entries that the opening or closing balance adds up."""
        operator = "<" if self.id == OPENING_ID else "<="
        domain = [
            ("product_id", "=", self.product_id.id),
            ("location_id.usage", "in", ("internal", "transit")),
            ("quantity", "!=", 0),
            ("effective_date", operator, self.effective_date),
        ]
        if warehouse_id := self.env.context.get(WAREHOUSE):
            domain.append(("location_id.warehouse_id", "=", warehouse_id))
        if location_id := self.env.context.get(LOCATION):
            domain.append(("location_id", "child_of", location_id))
        if lot_id := self.env.context.get(LOT):
            domain.append(("lot_id", "=", lot_id))
        return domain

    def action_print(self):
        """Print the card that is on the screen.

        :return: a report action
        """
        return self._create_card().action_print()

    def action_export(self):
        """Export the card that is on the screen as a spreadsheet.

        :return: an action that downloads it
        """
        return self._create_card().action_export()

    @api.model
    def _create_card(self):
        start, end = self._get_period()
        return self.env["stock.ledger.card"].create(
            {
                "product_id": self._get_product().id,
                "date_from": start,
                "date_to": end,
                "warehouse_id": self.env.context.get(WAREHOUSE),
                "location_id": self.env.context.get(LOCATION),
                "lot_id": self.env.context.get(LOT),
            }
        )
