from odoo import models
from odoo.fields import Domain


class StockPackage(models.Model):
    """The buttons from a package to its ledger."""

    _name = "stock.package"
    _inherit = ["stock.package", "stock.ledger.subject.mixin"]

    def _get_ledger_domain(self):
        return Domain("package_id", "in", self.ids)
