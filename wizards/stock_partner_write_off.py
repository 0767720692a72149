from odoo import fields, models


class StockPartnerWriteOff(models.TransientModel):
    """Writes off what a partner has not received, with a reason that stays with the moves."""

    _name = "stock.partner.write.off"
    _description = "Write Off Goods in Transit"

    shipment_id = fields.Many2one("stock.partner.shipment", required=True, readonly=True)
    line_ids = fields.One2many(related="shipment_id.line_ids")
    reason = fields.Char(required=True)

    def action_write_off(self):
        """Take what is missing out of transit.

        :raises AccessError: unless the user is an inventory manager
        :raises UserError: when nothing is missing
        """
        self.ensure_one()
        self.shipment_id._write_off(self.reason)
        return {"type": "ir.actions.act_window_close"}
