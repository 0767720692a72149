from odoo import api, models


class StockForecasted(models.AbstractModel):
    _inherit = "stock.forecasted_product_product"

    @api.model
    def action_reserve_linked_picks(self, move_id):
        reserve = super().action_reserve_linked_picks
        return self.env["stock.quant"]._decide(lambda: reserve(move_id))
