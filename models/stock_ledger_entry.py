from odoo import SUPERUSER_ID, api, fields, models
from odoo.exceptions import MissingError, UserError
from odoo.tools import SQL
from odoo.tools.misc import split_every

from .. import buffer
from ..cause import NO_CAUSE
from ..fields import HistoricalMany2one

EVENT_TYPES = [
    ("RECEIPT", "Receipt"),
    ("SALE", "Sale"),
    ("CUSTOMER_RETURN", "Customer Return"),
    ("SUPPLIER_RETURN", "Supplier Return"),
    ("TRANSFER_OUT", "Transfer Out"),
    ("TRANSFER_IN", "Transfer In"),
    ("INTERNAL", "Internal"),
    ("ADJUSTMENT", "Adjustment"),
    ("SCRAP", "Scrap"),
    ("CONSUMPTION", "Consumption"),
    ("PRODUCTION", "Production"),
    ("RESERVE", "Reserve"),
    ("UNRESERVE", "Unreserve"),
    ("OPENING", "Opening"),
    ("CORRECTION", "Correction"),
    ("DRIFT_FOUND", "Drift Found"),
    ("DRIFT_CLEARED", "Drift Cleared"),
    ("STOCK_LOW", "Stock Low"),
    ("STOCK_OUT", "Stock Out"),
    ("BACK_IN_STOCK", "Back in Stock"),
]


def _get_existing_by_id(records):
    """Return the records that were not deleted; mostly without a query."""
    existing = {}
    for record in records:
        try:
            # Reads what is needed of all of them, unless the cache has it.
            record.mapped("product_id")
        except MissingError:
            continue
        existing[record.id] = record
    return existing


class StockLedgerEntry(models.Model):
    """One effective change of the stock of one stock key, or word about it. Append-only.

    Entries are written by ``_flush_buffer`` (through ``stock.quant``) and by ``_append``,
    by nothing else; a database trigger refuses every change of a written one. Only
    ``stock.ledger.archive`` replaces those of old months, by OPENING entries.
    """

    _name = "stock.ledger.entry"
    _description = "Stock Ledger Entry"
    _inherit = ["stock.historical.mixin", "stock.append.only.mixin"]
    _order = "id desc"
    _rec_name = "reference"
    _log_access = False
    _refusal = "The stock ledger is append-only"
    _refusal_hint = "Write a correcting entry instead."

    product_id = HistoricalMany2one("product.product", required=True, readonly=True)
    location_id = HistoricalMany2one("stock.location", required=True, readonly=True)
    lot_id = HistoricalMany2one("stock.lot", string="Lot/Serial Number", readonly=True)
    package_id = HistoricalMany2one("stock.package", readonly=True)
    owner_id = HistoricalMany2one("res.partner", readonly=True)
    company_id = HistoricalMany2one(
        "res.company",
        readonly=True,
        help="Company of the location; none for locations that companies share",
    )
    operating_company_id = HistoricalMany2one(
        "res.company", readonly=True, help="Company that made the change"
    )
    warehouse_id = HistoricalMany2one(
        "stock.warehouse",
        readonly=True,
        help="Warehouse of the location when the change was recorded",
    )
    event_type = fields.Selection(EVENT_TYPES, required=True, readonly=True)
    quantity = fields.Float(
        "On Hand Change",
        digits="Product Unit",
        required=True,
        readonly=True,
        help="Change of the on-hand quantity, in the product's unit of measure",
    )
    reserved_quantity = fields.Float(
        "Reserved Change",
        digits="Product Unit",
        required=True,
        readonly=True,
        help="Change of the reserved quantity, in the product's unit of measure",
    )
    product_uom_id = fields.Many2one(related="product_id.uom_id", string="Unit")
    effective_date = fields.Datetime(required=True, readonly=True, help="When the goods moved")
    recorded_date = fields.Datetime(required=True, readonly=True, help="When Odoo was told")
    move_id = HistoricalMany2one("stock.move", string="Stock Move", readonly=True)
    move_line_id = HistoricalMany2one("stock.move.line", readonly=True)
    picking_id = HistoricalMany2one("stock.picking", string="Transfer", readonly=True)
    reference = fields.Char(readonly=True)
    origin = fields.Char("Source Document", readonly=True)
    user_id = HistoricalMany2one("res.users", readonly=True)
    corrects_entry_id = HistoricalMany2one(
        "stock.ledger.entry",
        string="Corrects",
        readonly=True,
        help="The earlier entry that this one reverses or replaces",
    )
    event_ids = fields.One2many(
        "stock.event.outbox",
        "entry_id",
        "Events",
        readonly=True,
        help="What became of the entry's event in each channel",
    )

    _effective = models.Constraint(
        """CHECK ((quantity <> 0 OR reserved_quantity <> 0)
                  = (event_type NOT IN ('DRIFT_FOUND', 'DRIFT_CLEARED',
                                        'STOCK_LOW', 'STOCK_OUT', 'BACK_IN_STOCK')))""",
        "A ledger entry changes the on-hand or the reserved quantity, or tells of a drift or "
        "of low stock.",
    )
    # Serves the movements of one product in a period.
    _product_date_idx = models.Index("(product_id, effective_date)")
    # Serves stock at a date: all movements of some days. Next to nothing, since entries are
    # appended more or less in order, as is the next one's.
    _effective_idx = models.Index(
        "USING brin (effective_date) WITH (pages_per_range = 32, autosummarize = on)"
    )
    # Serves the replay of a period.
    _recorded_idx = models.Index("USING brin (recorded_date)")
    # Serves the entries of a move or transfer, and changes of a done move's date.
    _move_idx = models.Index("(move_id) WHERE move_id IS NOT NULL")
    # Serves the entries of a package, of which there are few.
    _package_idx = models.Index("(package_id) WHERE package_id IS NOT NULL")

    def init(self):
        """Make the triggers: refuse changes, and feed the rollup's queue."""
        self.env.cr.execute(self._query_delta_trigger())
        return super().init()

    @api.model
    def _query_changeable(self):
        """Return the condition of entries that may go: those of an archive being written."""
        return SQL(
            """TG_OP = 'DELETE' AND EXISTS (
                   SELECT FROM stock_ledger_archive
                    WHERE state = 'writing' AND OLD.id <= last_entry_id
                      AND OLD.effective_date < month + interval '1 month')"""
        )

    @api.model
    def _query_delta_trigger(self):
        return SQL(
            """
            CREATE OR REPLACE FUNCTION stock_ledger_entry_feed_delta()
            RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                INSERT INTO stock_ledger_delta (
                    id, product_id, location_id, lot_id, package_id, owner_id, company_id,
                    event_type, quantity, reserved_quantity, effective_date, transaction_number)
                SELECT id, product_id, location_id, lot_id, package_id, owner_id, company_id,
                       event_type, quantity, reserved_quantity, effective_date,
                       pg_current_xact_id()::text::bigint
                  FROM new_entry;
                RETURN NULL;
            END $$;
            DROP TRIGGER IF EXISTS stock_ledger_entry_feed_delta ON stock_ledger_entry;
            CREATE TRIGGER stock_ledger_entry_feed_delta
                AFTER INSERT ON stock_ledger_entry
                REFERENCING NEW TABLE AS new_entry
                FOR EACH STATEMENT EXECUTE FUNCTION stock_ledger_entry_feed_delta()
            """
        )

    @api.model
    def _search(self, domain, *args, **kwargs):
        self._flush_buffer()
        return super()._search(domain, *args, **kwargs)

    @api.model_create_multi
    def create(self, vals_list):  # pylint: disable=method-required-super
        """Refuse: entries follow from changes of stock.

        :raises UserError: always
        """
        raise UserError(
            self.env._("Ledger entries are not entered by hand. Move or adjust stock instead.")
        )

    def write(self, vals):  # pylint: disable=method-required-super
        """Refuse: the ledger is append-only.

        :raises UserError: always
        """
        raise UserError(
            self.env._(
                "The stock ledger is append-only: entries cannot be changed. "
                "Correct the stock with a transfer or an inventory adjustment."
            )
        )

    @api.ondelete(at_uninstall=False)
    def _unlink_never(self):
        raise UserError(
            self.env._(
                "The stock ledger is append-only: entries cannot be deleted. "
                "Correct the stock with a transfer or an inventory adjustment."
            )
        )

    # --- writing: from changes to entries ---

    @api.model
    def _flush_buffer(self):
        """Write the changes noted so far to the ledger. Runs before each commit."""
        changes = buffer.take(self.env)
        if changes:
            # As the superuser, because whoever may move stock need not have the right
            # to read all that an entry tells.
            ledger = api.Environment(self.env.cr, SUPERUSER_ID, {})[self._name]
            ledger._append(ledger._prepare_entries_vals(changes))

    @api.model
    def _prepare_entries_vals(self, changes):
        causes = {change.cause or NO_CAUSE for change in changes}
        moves = self.env["stock.move"].browse({cause.move_id for cause in causes} - {None})
        lines = self.env["stock.move.line"].browse(
            {cause.move_line_id for cause in causes} - {None}
        )
        move_by_id = _get_existing_by_id(moves)
        line_by_id = _get_existing_by_id(lines)
        now = fields.Datetime.now()
        return [
            self._prepare_entry_vals(
                change,
                move_by_id.get((change.cause or NO_CAUSE).move_id, moves.browse()),
                line_by_id.get((change.cause or NO_CAUSE).move_line_id, lines.browse()),
                now,
            )
            for change in changes
        ]

    @api.model
    def _prepare_entry_vals(self, change, move, line, now):
        """Return one entry's values by column.

        :param Change change: what changed
        :param move: the stock.move that it changed for, or none
        :param line: its stock.move.line, or none
        :param datetime now: the effective date of what is not a done move
        """
        cause = change.cause or NO_CAUSE
        location = self.env["stock.location"].browse(change.key.location_id)
        picking = line.picking_id or move.picking_id
        return {
            **change.key._asdict(),
            "operating_company_id": move.company_id.id or change.company_id,
            "warehouse_id": location.warehouse_id.id or None,
            "event_type": self._get_event_type(change, move, line),
            "quantity": change.quantity,
            "reserved_quantity": change.reserved_quantity,
            "effective_date": move.date if move.state == "done" else now,
            "move_id": cause.move_id or None,
            "move_line_id": cause.move_line_id or None,
            "picking_id": picking.id or None,
            "reference": move.reference or line.reference or None,
            "origin": move.origin or picking.origin or None,
            "user_id": change.user_id,
            "corrects_entry_id": None,
        }

    @api.model
    def _append(self, vals_list):
        """Insert entries and hand them to the channels.

        :param vals_list: list of complete dictionaries by column, recorded_date aside
        :return: list of the new ids, in the order of ``vals_list``
        """
        entry_ids = []
        for batch in split_every(1000, vals_list, list):
            rows = self.env.execute_query(self._query_insert(batch))
            entry_ids.extend(entry_id for [entry_id] in rows)
        if entry_ids:
            self._after_append(entry_ids)
        return entry_ids

    @api.model
    def _query_insert(self, vals_list):
        columns = list(vals_list[0])
        return SQL(
            "INSERT INTO %s (%s, recorded_date) VALUES %s RETURNING id",
            SQL.identifier(self._table),
            SQL(", ").join(SQL.identifier(column) for column in columns),
            SQL(", ").join(
                SQL(
                    "(%s, clock_timestamp() AT TIME ZONE 'UTC')",
                    SQL(", ").join(SQL("%s", vals[column]) for column in columns),
                )
                for vals in vals_list
            ),
        )

    @api.model
    def _after_append(self, entry_ids):
        """Derive from new entries what must commit with them: the outbox."""
        self._invalidate_reports()
        self.env["stock.event.outbox"]._enqueue(entry_ids)

    @api.model
    def _invalidate_reports(self):
        """Have reports read again: SQL wrote what they are made of."""
        for name in self.pool["stock.ledger.report"]._inherit_children:
            self.env[name].invalidate_model()

    # --- event types ---

    @api.model
    def _get_event_types(self):
        """Return the event types with their labels, for fields that have one of them."""
        return self._fields["event_type"]._description_selection(self.env)

    @api.model
    def _get_event_type(self, change, move, line):
        """Return the event type of a change. Hook for modules with moves of their own.

        :param Change change: what changed
        :param move: the stock.move that it changed for, or none
        :param line: its stock.move.line, or none
        """
        if not change.quantity:
            return "RESERVE" if change.reserved_quantity > 0 else "UNRESERVE"
        if not move:
            return "ADJUSTMENT"
        if move.scrap_id:
            return "SCRAP"
        source = line.location_id or move.location_id
        destination = line.location_dest_id or move.location_dest_id
        location = self.env["stock.location"].browse(change.key.location_id)
        return self._get_movement_event_type(source, destination, location)

    @api.model
    def _get_movement_event_type(self, source, destination, location):
        """Return the event type of goods going from one location to another.

        :param source: the stock.location that they leave
        :param destination: the stock.location that they reach
        :param location: the one whose stock the entry changes; it decides between
            the two sides of a drop shipment or of a transfer between warehouses
        """
        usages = (source.usage, destination.usage)
        if "inventory" in usages:
            return "ADJUSTMENT"
        if "production" in usages:
            return "PRODUCTION" if source.usage == "production" else "CONSUMPTION"
        if usages == ("supplier", "customer"):
            return "RECEIPT" if location == source else "SALE"
        if usages == ("customer", "supplier"):
            return "CUSTOMER_RETURN" if location == source else "SUPPLIER_RETURN"
        if "supplier" in usages:
            return "RECEIPT" if source.usage == "supplier" else "SUPPLIER_RETURN"
        if "customer" in usages:
            return "CUSTOMER_RETURN" if source.usage == "customer" else "SALE"
        if source.warehouse_id == destination.warehouse_id:
            return "INTERNAL"
        if not destination.warehouse_id:
            return "TRANSFER_OUT"
        if not source.warehouse_id:
            return "TRANSFER_IN"
        in_source = location.warehouse_id == source.warehouse_id
        return "TRANSFER_OUT" if in_source else "TRANSFER_IN"

    # --- corrections ---

    @api.model
    def _change_effective_date(self, moves):
        """Follow a change of done moves' dates: reverse at the old, repeat at the new.

        What is still in the buffer needs nothing: it takes the move's date when it is
        written. Only on-hand changes are moved; a reservation has no effective date of
        its own.

        :param moves: the stock.move whose date was written
        """
        if not moves:
            return
        rows = self.env.execute_query_dict(self._query_entries_to_redate(moves))
        date_by_move = {move.id: move.date for move in moves}
        vals_list = []
        for row in rows:
            date = date_by_move[row["move_id"]]
            if row["effective_date"] == date:
                continue
            vals_list.append({**row, "quantity": -row["quantity"]})
            vals_list.append({**row, "effective_date": date})
        self._append(vals_list)

    @api.model
    def _query_entries_to_redate(self, moves):
        kept = SQL(
            """product_id, location_id, lot_id, package_id, owner_id, company_id,
            operating_company_id, warehouse_id, event_type, effective_date, move_id,
            move_line_id, picking_id, reference, origin"""
        )
        return SQL(
            """SELECT %(kept)s, SUM(quantity) AS quantity, 0 AS reserved_quantity,
                      %(uid)s AS user_id, MIN(id) AS corrects_entry_id
                 FROM stock_ledger_entry
                WHERE move_id IN %(moves)s
                GROUP BY %(kept)s
               HAVING SUM(quantity) <> 0
                ORDER BY MIN(id)""",
            kept=kept,
            uid=self.env.uid,
            moves=tuple(moves.ids),
        )

    # --- opening ---

    @api.model
    def _append_opening(self):
        """Write an OPENING entry for each stock key that has stock.

        The lock waits for transactions that change quants and keeps others out until
        this one commits, so that no change falls between ledger and stock.
        """
        self.env.flush_all()
        self.env.cr.execute(SQL("LOCK TABLE stock_quant IN SHARE ROW EXCLUSIVE MODE"))
        rows = self.env.execute_query(self._query_opening())
        if rows:
            self._after_append([entry_id for [entry_id] in rows])

    @api.model
    def _query_opening(self):
        return SQL(
            """
            INSERT INTO stock_ledger_entry (
                product_id, location_id, lot_id, package_id, owner_id, company_id,
                operating_company_id, warehouse_id, event_type, quantity,
                reserved_quantity, effective_date, recorded_date, reference, user_id)
            SELECT q.product_id, q.location_id, q.lot_id, q.package_id, q.owner_id,
                   q.company_id, q.company_id, l.warehouse_id, 'OPENING',
                   SUM(COALESCE(q.quantity, 0)), SUM(q.reserved_quantity),
                   now() AT TIME ZONE 'UTC', clock_timestamp() AT TIME ZONE 'UTC',
                   %s, %s
              FROM stock_quant q JOIN stock_location l ON l.id = q.location_id
             GROUP BY 1, 2, 3, 4, 5, 6, l.warehouse_id
            HAVING SUM(COALESCE(q.quantity, 0)) <> 0 OR SUM(q.reserved_quantity) <> 0
            RETURNING id
            """,
            self.env._("Opening balance"),
            self.env.uid,
        )
