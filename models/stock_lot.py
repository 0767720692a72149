from odoo import api, models
from odoo.fields import Domain


class StockLot(models.Model):
    """The buttons from a lot to its ledger."""

    _name = "stock.lot"
    _inherit = ["stock.lot", "stock.ledger.subject.mixin"]

    def _get_ledger_domain(self):
        # The product, because the ledger is found by it.
        return Domain("product_id", "in", self.product_id.ids) & Domain("lot_id", "in", self.ids)

    @api.readonly
    def action_view_stock_card(self):
        """Ask for the period of this lot's stock card.

        :return: a window action
        """
        self.ensure_one()
        return self.env["stock.ledger.card"]._prepare_card_action(
            {"default_product_id": self.product_id.id, "default_lot_id": self.id}
        )

    @api.readonly
    def action_view_reservations(self):
        """Open the move lines that hold these lots.

        :return: a window action
        """
        return self.env["stock.move.line"]._prepare_reservations_action(
            Domain("lot_id", "in", self.ids)
        )
