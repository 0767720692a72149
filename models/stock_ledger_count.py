from odoo import api, fields, models

from ..fields import HistoricalMany2one


class StockLedgerCount(models.Model):
    """One count of a quant that was applied. Append-only, also where it found no difference.

    Written by ``_record``, with the inventory move that Odoo makes of each count. The
    ledger's entries of that move are the adjustment.
    """

    _name = "stock.ledger.count"
    _description = "Stock Count"
    _inherit = ["stock.historical.mixin", "stock.append.only.mixin"]
    _order = "date desc, id desc"
    _rec_name = "product_id"
    _log_access = False
    _refusal = "Stock counts are append-only"
    _refusal_hint = "Count again instead."

    date = fields.Datetime(
        required=True, readonly=True, index=True, help="The counting date, or when it was applied"
    )
    product_id = HistoricalMany2one("product.product", required=True, readonly=True, index=True)
    product_categ_id = fields.Many2one(related="product_id.categ_id")
    product_uom_id = fields.Many2one(related="product_id.uom_id", string="Unit")
    location_id = HistoricalMany2one("stock.location", required=True, readonly=True)
    lot_id = HistoricalMany2one("stock.lot", string="Lot/Serial Number", readonly=True)
    package_id = HistoricalMany2one("stock.package", readonly=True)
    owner_id = HistoricalMany2one("res.partner", readonly=True)
    company_id = HistoricalMany2one(
        "res.company", required=True, readonly=True, help="Company of the inventory move"
    )
    warehouse_id = HistoricalMany2one(
        "stock.warehouse", readonly=True, help="Warehouse of the location at that time"
    )
    reason = fields.Char(
        readonly=True, help="The inventory reason, as entered when the count was applied"
    )
    counted_by_id = HistoricalMany2one(
        "res.users",
        string="Counted By",
        required=True,
        readonly=True,
        help="Who was assigned to the count or set the quantity, otherwise who applied it",
    )
    user_id = HistoricalMany2one("res.users", string="Applied By", required=True, readonly=True)
    move_id = HistoricalMany2one("stock.move", string="Stock Move", required=True, readonly=True)
    counted_quantity = fields.Float(
        "Counted",
        digits="Product Unit",
        required=True,
        readonly=True,
        help="What was counted, in the product's unit of measure",
    )
    expected_quantity = fields.Float(
        "Expected",
        digits="Product Unit",
        required=True,
        readonly=True,
        help="What Odoo had when the count was applied, in the product's unit of measure",
    )
    difference_quantity = fields.Float(
        "Difference",
        digits="Product Unit",
        required=True,
        readonly=True,
        help="By how much the on-hand quantity was adjusted, in the product's unit of measure",
    )
    gain_quantity = fields.Float(
        "Gains",
        digits="Product Unit",
        required=True,
        readonly=True,
        help="What was found, in the product's unit of measure",
    )
    loss_quantity = fields.Float(
        "Losses",
        digits="Product Unit",
        required=True,
        readonly=True,
        help="What was missing, in the product's unit of measure",
    )
    accuracy = fields.Float(
        required=True,
        readonly=True,
        aggregator="avg",
        help="The share of the counts that found what Odoo expected",
    )

    @api.model
    def _record(self, counts):
        """Write the counts that an inventory adjustment has applied.

        :param Counts counts: with the move that each has led to
        """
        vals_list = [
            {
                **vals,
                "date": move.date,
                "company_id": move.company_id.id,
                "reason": move.inventory_name,
                "move_id": move.id,
            }
            for vals, move in counts.applied
        ]
        # sudo: nobody has the right to enter counts here; these were just applied.
        self.sudo().create(vals_list)

    # --- drilling down ---

    @api.readonly
    def action_view_entries(self):
        """Return the window action of the ledger entries that the counts have led to."""
        domain = [("move_id", "in", self.mapped("move_id").ids)]
        return self.env["stock.ledger.entry"]._prepare_entries_action(domain)

    @api.readonly
    def action_view_move_lines(self):
        """Return the window action of the moves that the counts have led to."""
        action = self.env["ir.actions.act_window"]._for_xml_id("stock.stock_move_line_action")
        domain = [("move_id", "in", self.mapped("move_id").ids)]
        return {**action, "domain": domain, "context": {}}
