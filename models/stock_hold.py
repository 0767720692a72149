from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from ..fields import HistoricalMany2one

STATES = [
    ("active", "Active"),
    ("short", "Short"),
    ("converted", "Converted"),
    ("released", "Released"),
    ("expired", "Expired"),
]
OUTCOMES = STATES[2:]
DEFAULT_MINUTES = 15
DEFAULT_LONGEST_DAYS = 7


class StockHold(models.Model):
    """Goods of one product that are kept for somebody until a point in time.

    The hold is a stock move without a transfer, from the warehouse's stock to customers,
    that is reserved in full: so quants, ledger, events and Odoo's own screens know of it.
    In the end the move gets its transfer, or is cancelled. It is reserved when the hold is
    made, or the hold is refused; nobody queues it, and nobody but the hold reserves it.
    """

    _name = "stock.hold"
    _description = "Stock Hold"
    _inherit = ["stock.historical.mixin", "stock.retention.mixin"]
    _order = "id desc"
    _keep_parameter = "hold_days"

    name = fields.Char(required=True, readonly=True, copy=False, default="/")
    state = fields.Selection(
        STATES,
        compute="_compute_state",
        store=True,
        help="Active: the goods are reserved.\n"
        "Short: somebody has taken some of the goods since.\n"
        "Converted: the goods went into a transfer.\n"
        "Released: somebody has given them up.\n"
        "Expired: the time was over.",
    )
    # What has become of it; nothing yet while it is active or short.
    outcome = fields.Selection(OUTCOMES, readonly=True, copy=False)
    product_id = HistoricalMany2one(
        "product.product",
        required=True,
        index=True,
        domain="[('is_storable', '=', True), ('company_id', 'in', [False, company_id])]",
    )
    product_uom_id = fields.Many2one(related="product_id.uom_id", string="Unit")
    product_tracking = fields.Selection(related="product_id.tracking")
    warehouse_id = HistoricalMany2one(
        "stock.warehouse", required=True, default=lambda self: self._get_default_warehouse()
    )
    lot_id = HistoricalMany2one(
        "stock.lot",
        string="Lot/Serial Number",
        domain="[('product_id', '=', product_id)]",
        help="None: any lot",
    )
    quantity = fields.Float(
        digits="Product Unit",
        required=True,
        default=1,
        help="How much is held, in the product's unit of measure",
    )
    reserved_quantity = fields.Float(
        "Reserved",
        digits="Product Unit",
        compute="_compute_reserved_quantity",
        compute_sudo=True,
        help="How much of it is reserved now, in the product's unit of measure",
    )
    expiry_date = fields.Datetime(
        "Expires", required=True, default=lambda self: self._get_default_expiry()
    )
    partner_id = fields.Many2one("res.partner", string="Contact", help="Who the goods are for")
    reference = fields.Char(
        index="btree_not_null", help="What the other system calls it, such as a basket"
    )
    origin = fields.Char("Source Document")
    user_id = HistoricalMany2one(
        "res.users",
        string="Held By",
        required=True,
        readonly=True,
        default=lambda self: self.env.uid,
    )
    company_id = fields.Many2one(
        "res.company", compute="_compute_company_id", store=True, precompute=True
    )
    closed_date = fields.Datetime("Ended", readonly=True, copy=False)
    move_ids = fields.One2many("stock.move", "hold_id", readonly=True)
    picking_id = HistoricalMany2one("stock.picking", string="Transfer", readonly=True, copy=False)

    _open_idx = models.Index("(expiry_date) WHERE outcome IS NULL")
    _closed_idx = models.Index("(closed_date) WHERE outcome IS NOT NULL")
    _positive_quantity = models.Constraint(
        "CHECK (quantity > 0)", "The quantity of a hold must be more than zero."
    )

    @api.depends("outcome", "move_ids.state")
    def _compute_state(self):
        for hold in self:
            states = set(hold.move_ids.mapped("state"))
            # Whoever cancels or delivers the move has ended the hold.
            ended = "converted" if "done" in states else not states - {"cancel"} and "released"
            held = "active" if states == {"assigned"} else "short"
            # One that is being entered has no move yet.
            hold.state = hold.outcome or (ended or held if hold._origin else "active")

    @api.depends("outcome", "move_ids.quantity")
    def _compute_reserved_quantity(self):
        for hold in self:
            moves = hold.move_ids if not hold.outcome else hold.move_ids.browse()
            hold.reserved_quantity = sum(moves.mapped("quantity"))

    @api.depends("warehouse_id")
    def _compute_company_id(self):
        for hold in self:
            # sudo: those who may hold goods need not read warehouses.
            hold.company_id = hold.warehouse_id.sudo().company_id

    # --- defaults and limits ---

    @api.model
    def _get_default_warehouse(self):
        # sudo: those who may hold goods need not read warehouses.
        warehouses = self.env["stock.warehouse"].sudo()
        return warehouses.search([("company_id", "=", self.env.company.id)], limit=1).id

    @api.model
    def _get_default_expiry(self):
        minutes = self._get_parameter("hold_default_minutes", DEFAULT_MINUTES)
        return min(fields.Datetime.now() + timedelta(minutes=minutes), self._get_latest_expiry())

    @api.model
    def _get_latest_expiry(self):
        days = self._get_parameter("hold_longest_days", DEFAULT_LONGEST_DAYS)
        return fields.Datetime.now() + timedelta(days=days)

    @api.model
    def _get_parameter(self, name, default):
        # sudo: only administrators read system parameters.
        value = self.env["ir.config_parameter"].sudo().get_param(f"stock_event_ledger.{name}")
        try:
            return min(max(int(value or default), 1), 36500)
        except ValueError:
            return default

    @api.model
    def _check_expiry(self, expiry_date):
        """Refuse a time that has passed or is too far ahead.

        :raises UserError: saying what is allowed
        """
        if expiry_date <= fields.Datetime.now():
            raise UserError(self.env._("A hold must expire in the future."))
        if expiry_date > self._get_latest_expiry():
            raise UserError(
                self.env._(
                    "Goods can be held for %s days at most. Choose an earlier time, or change the "
                    "longest time in the settings of Inventory.",
                    self._get_parameter("hold_longest_days", DEFAULT_LONGEST_DAYS),
                )
            )

    # --- afterwards ---

    def _prepare_result(self):
        """Return what integrators are told of the hold."""
        # sudo: a lot's name; the hold itself is the user's to see.
        texts = {"reference": self.reference, "lot": self.sudo().lot_id.name}
        return {
            "id": self.id,
            "name": self.name,
            "product_id": self.product_id.id,
            "warehouse_id": self.warehouse_id.id,
            "quantity": self.quantity,
            "state": self.state,
            "expires_at": f"{self.expiry_date.isoformat()}Z",
            **{name: text for name, text in texts.items() if text},
        }

    @api.readonly
    def action_view_ledger_entries(self):
        """Return the window action of the ledger entries of these holds' moves."""
        # sudo: the ids of one's own holds' moves; the entries are read as the user.
        domain = [("move_id", "in", self.sudo().move_ids.ids)]
        return self.env["stock.ledger.entry"]._prepare_entries_action(domain)

    @api.readonly
    def action_view_pickings(self):
        """Return the window action of the transfers that these holds went into."""
        action = self.env["ir.actions.act_window"]._for_xml_id("stock.action_picking_tree_all")
        pickings = self.picking_id
        if len(pickings) == 1:
            form = [(self.env.ref("stock.view_picking_form").id, "form")]
            return {**action, "res_id": pickings.id, "views": form, "context": {}}
        return {**action, "domain": [("id", "in", pickings.ids)], "context": {}}

    @api.ondelete(at_uninstall=False)
    def _unlink_except_open(self):
        if any(not hold.outcome for hold in self):
            raise UserError(self.env._("Release holds before you delete them."))

    @api.model
    def _query_old(self, before):
        return SQL("outcome IS NOT NULL AND closed_date < %s", before)

    @api.autovacuum
    def _gc_old(self):
        result = super()._gc_old()
        self.env["stock.move"].invalidate_model(["hold_id"], flush=False)
        return result
