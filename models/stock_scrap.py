from odoo import models


class StockScrap(models.Model):
    _inherit = "stock.scrap"

    def action_validate(self):
        def validate():
            for scrap in self:
                scrap._get_quants_to_scrap()._claim()
            return super(StockScrap, self).action_validate()

        return self.env["stock.quant"]._decide(validate)

    def _get_quants_to_scrap(self):
        return self.env["stock.quant"]._get_quants_of_key(
            self.product_id, self.location_id, self.lot_id, self.package_id, self.owner_id
        )
