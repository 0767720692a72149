from odoo import api, fields, models
from odoo.exceptions import ValidationError


class ResUsers(models.Model):
    _inherit = "res.users"

    stock_integration_rate = fields.Integer(
        "Stock Calls per Minute",
        groups="base.group_erp_manager",
        help="How often this user may call Odoo's stock in a minute; 0 stands for what the "
        "inventory settings say.",
    )

    @api.constrains("stock_integration_rate")
    def _check_stock_integration_rate(self):
        if any(user.stock_integration_rate < 0 for user in self):
            raise ValidationError(self.env._("A user cannot make less than no call per minute."))
