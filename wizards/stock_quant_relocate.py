from odoo import models


class StockQuantRelocate(models.TransientModel):
    _inherit = "stock.quant.relocate"

    def action_relocate_quants(self):
        def relocate():
            self.quant_ids.exists()._claim()
            return super(StockQuantRelocate, self).action_relocate_quants()

        return self.env["stock.quant"]._decide(relocate)
