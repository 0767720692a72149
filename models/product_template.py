from odoo import api, models


class ProductTemplate(models.Model):
    _name = "product.template"
    _inherit = ["product.template", "stock.ledger.subject.mixin"]

    @api.readonly
    def action_view_stock_card(self):
        """Ask for the period of the stock card of this product's only variant.

        :return: a window action
        :raises UserError: when there are several
        """
        return self._get_ledger_variants().action_view_stock_card()

    @api.readonly
    def get_availability(self, date_from, date_to, warehouse_id=False):
        """Return what there was of these products' variants, and what is to be expected.

        See ``product.product.get_availability``. Archived variants count: their stock is there.
        """
        self.check_access("read")
        return self._get_ledger_variants().get_availability(date_from, date_to, warehouse_id)

    @api.readonly
    def action_view_reservations(self):
        """Open the move lines that hold stock of these products' variants.

        :return: a window action
        """
        return self._get_ledger_variants().action_view_reservations()

    def _get_ledger_domain(self):
        return self._get_ledger_variants()._get_ledger_domain()

    def _get_ledger_variants(self):
        return self.with_context(active_test=False).product_variant_ids.with_env(self.env)
