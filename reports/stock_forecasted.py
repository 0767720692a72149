from odoo import api, models


class StockForecasted(models.AbstractModel):
    _inherit = "stock.forecasted_product_product"

    @api.model
    def action_reserve_linked_picks(self, move_id):
        reserve = super().action_reserve_linked_picks
        return self.env["stock.quant"]._decide(lambda: reserve(move_id))

    def _get_reservation_data(self, move):
        if not move._is_held():
            return super()._get_reservation_data(move)
        # sudo: whoever sees the stock may know which hold has it.
        hold = move.hold_id.sudo()
        return {"_name": hold._name, "name": hold.name, "id": hold.id}
