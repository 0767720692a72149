from odoo import api, models
from odoo.fields import Domain


class StockLocation(models.Model):
    """The buttons from a location to its ledger."""

    _name = "stock.location"
    _inherit = ["stock.location", "stock.ledger.subject.mixin"]

    def _get_ledger_domain(self):
        return Domain("location_id", "child_of", self.ids)

    def _get_ledger_context(self):
        # Of a location, the ledger is found by the days only.
        return {"search_default_recorded_last_days": 1}

    @api.readonly
    def action_view_stock(self):
        """Open what the ledger says is at these locations, and in those in them.

        :return: a window action
        """
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "stock_event_ledger.action_stock_ledger_report_stock"
        )
        domain = [("location_id", "child_of", self.ids)]
        return {**action, "domain": domain, "context": {}}
