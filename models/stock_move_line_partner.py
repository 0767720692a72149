from odoo import api, models

# With another of these, something else was shipped or received.
FOLLOWED_FIELDS = frozenset(
    ("quantity", "product_uom_id", "lot_id", "location_id", "location_dest_id")
)


class StockMoveLine(models.Model):
    _inherit = "stock.move.line"

    @api.model_create_multi
    def create(self, vals_list):
        lines = super().create(vals_list)
        lines.filtered(lambda line: line.state == "done")._follow_partner_shipments()
        return lines

    def write(self, vals):
        result = super().write(vals)
        if not FOLLOWED_FIELDS.isdisjoint(vals):
            done = self.filtered(lambda line: line.state == "done")
            done._follow_partner_shipments()
        return result

    def _follow_partner_shipments(self):
        """Have shipments follow what these lines have done; most have nothing to do with any."""
        pickings = self.filtered(
            lambda line: line.location_dest_id.usage == "transit"
        ).picking_id | self.picking_id.filtered("partner_shipment_id")
        self.env["stock.partner.shipment"]._follow(pickings)
