from odoo import api, models
from odoo.exceptions import UserError
from odoo.fields import Domain


class ProductProduct(models.Model):
    """The buttons from a product to its ledger."""

    _name = "product.product"
    _inherit = ["product.product", "stock.ledger.subject.mixin"]

    def _get_ledger_domain(self):
        return Domain("product_id", "in", self.ids)

    @api.readonly
    def action_view_stock_card(self):
        """Ask for the period of this product's stock card.

        :return: a window action
        :raises UserError: when it is not one product
        """
        if len(self) != 1:
            raise UserError(self.env._("A stock card is of one product: choose one."))
        return self.env["stock.ledger.card"]._prepare_card_action({"default_product_id": self.id})

    @api.readonly
    def action_view_reservations(self):
        """Open the move lines that hold stock of these products.

        :return: a window action
        """
        return self.env["stock.move.line"]._prepare_reservations_action(
            Domain("product_id", "in", self.ids)
        )
