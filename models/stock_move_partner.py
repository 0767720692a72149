from odoo import fields, models


class StockMove(models.Model):
    """Moves that partner shipments follow, or that follow them."""

    _inherit = "stock.move"

    partner_shipment_id = fields.Many2one(
        "stock.partner.shipment",
        readonly=True,
        copy=False,
        index="btree_not_null",
        help="The shipment whose goods in transit it moves",
    )

    def _action_done(self, cancel_backorder=False):
        moves = super()._action_done(cancel_backorder=cancel_backorder)
        moves._link_returns()
        moves.move_line_ids._follow_partner_shipments()
        return moves

    def _action_cancel(self):
        result = super()._action_cancel()
        pickings = self.picking_id.filtered("partner_shipment_id")
        self.env["stock.partner.shipment"]._follow(pickings)
        return result

    def _link_returns(self):
        """Have transfers that take back what was shipped, or received, count in its shipment."""
        for move in self:
            shipment = move.origin_returned_move_id.picking_id.partner_shipment_id
            if shipment and move.picking_id and not move.picking_id.partner_shipment_id:
                # sudo: a note about the transfer that was just done.
                move.picking_id.sudo().partner_shipment_id = shipment
