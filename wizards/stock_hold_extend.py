from odoo import fields, models


class StockHoldExtend(models.TransientModel):
    """Holds goods for longer, or for a shorter time."""

    _name = "stock.hold.extend"
    _description = "Extend Holds"

    hold_ids = fields.Many2many(
        "stock.hold",
        string="Holds",
        required=True,
        default=lambda self: self.env.context.get("active_ids"),
    )
    expiry_date = fields.Datetime(
        "Hold Until", required=True, default=lambda self: self._get_default_expiry()
    )

    def _get_default_expiry(self):
        holds = self.env["stock.hold"].browse(self.env.context.get("active_ids"))
        longer = holds._get_default_expiry() - fields.Datetime.now()
        expiry_date = max([fields.Datetime.now(), *holds.mapped("expiry_date")])
        return min(expiry_date + longer, holds._get_latest_expiry())

    def action_extend(self):
        """Let the holds expire at that time.

        :raises UserError: when a hold is at its end, or the time is out of bounds
        """
        self.ensure_one()
        self.hold_ids._extend(self.expiry_date)
