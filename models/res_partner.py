from odoo import api, models


class ResPartner(models.Model):
    _inherit = "res.partner"

    @api.ondelete(at_uninstall=False)
    def _unlink_change_owner_of_stock(self):
        # The foreign key would empty the owner behind the back of the ORM and the ledger.
        self._change_owner_of_stock(self.browse())

    def _change_owner_of_stock(self, owner):
        """Make stock of these partners another's, as far as the ledger can see it.

        :param owner: the res.partner that gets it, or none
        """
        # sudo: whoever may delete or merge contacts need not have rights on stock, and
        # the database would change these rows for them anyway.
        quants = self.env["stock.quant"].sudo().search([("owner_id", "in", self.ids)])
        quants.write({"owner_id": owner.id})
