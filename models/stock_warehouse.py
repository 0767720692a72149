from odoo import api, fields, models, tools


class StockWarehouse(models.Model):
    _inherit = "stock.warehouse"

    negative_stock = fields.Selection(
        [("allow", "Allowed, as in Odoo"), ("refuse", "Refused")],
        required=True,
        default="allow",
        help="Whether more can be taken from a location than is on hand there:\n"
        " * Allowed, as in Odoo: yes, and the stock is negative until it is corrected\n"
        " * Refused: no operation may take more than is on hand at a location of this warehouse",
    )

    @api.model_create_multi
    def create(self, vals_list):
        warehouses = super().create(vals_list)
        if "refuse" in warehouses.mapped("negative_stock"):
            self.env.registry.clear_cache()
        return warehouses

    def write(self, vals):
        result = super().write(vals)
        if "negative_stock" in vals:
            self.env.registry.clear_cache()
        return result

    @api.model
    @tools.ormcache()
    def _get_refusing_ids(self):
        """Return the ids of the warehouses that refuse negative stock.

        sudo: their rule holds for those too who cannot read them.
        """
        return frozenset(
            self.sudo()
            .with_context(active_test=False)
            .search([("negative_stock", "=", "refuse")])
            .ids
        )
