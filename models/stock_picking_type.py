from odoo import fields, models


class StockPickingType(models.Model):
    _inherit = "stock.picking.type"

    reservation_policy = fields.Selection(
        [
            ("contended", "Inline, queued when contended"),
            ("always", "Always queued"),
            ("odoo", "Odoo's own"),
        ],
        required=True,
        default="contended",
        help="How transfers of this operation type get hold of the stock that they reserve:\n"
        " * Inline, queued when contended: at once; where another operation is deciding on the "
        "same stock, right after it, in the background\n"
        " * Always queued: in the background, so that nobody waits for a reservation\n"
        " * Odoo's own: at once and without locks, so that two sessions may both be promised "
        "the last unit",
    )
