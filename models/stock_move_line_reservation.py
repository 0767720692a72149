from odoo import api, models
from odoo.fields import Domain

from .stock_move_explanation import HOLDING_STATES, STOCK_USAGES


class StockMoveLine(models.Model):
    """Who holds stock."""

    _inherit = "stock.move.line"

    @api.model
    def _prepare_reservations_action(self, domain):
        """Return the window action of the move lines that hold stock.

        :param Domain domain: of which product, lot and so on
        """
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "stock_event_ledger.action_stock_reservation"
        )
        domain &= Domain("state", "in", HOLDING_STATES) & Domain("quantity_product_uom", ">", 0)
        domain &= Domain("location_id.usage", "in", STOCK_USAGES)
        return {**action, "domain": list(domain)}
