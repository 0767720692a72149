from odoo import fields, models


class StockPicking(models.Model):
    """Transfers that ship goods to partner warehouses, or receive what those have shipped."""

    _inherit = "stock.picking"

    partner_shipment_id = fields.Many2one(
        "stock.partner.shipment", readonly=True, copy=False, index="btree_not_null"
    )

    def _create_backorder_picking(self):
        backorder = super()._create_backorder_picking()
        if self.partner_shipment_id.direction == "in":
            # The rest of a shipment. What is still to be shipped will be one of its own.
            backorder.partner_shipment_id = self.partner_shipment_id
        return backorder

    def action_view_partner_shipment(self):
        """Open the shipment."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "res_model": "stock.partner.shipment",
            "res_id": self.partner_shipment_id.id,
            "view_mode": "form",
        }
