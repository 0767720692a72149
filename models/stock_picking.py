from odoo import api, fields, models
from odoo.fields import Domain


class StockPicking(models.Model):
    _name = "stock.picking"
    _inherit = ["stock.picking", "stock.ledger.subject.mixin"]

    reservation_queued_date = fields.Datetime(
        string="Queued Since",
        compute="_compute_reservation_queued",
        help="Since when the first of these moves waits to be reserved",
    )
    reservation_queued = fields.Boolean(
        compute="_compute_reservation_queued", search="_search_reservation_queued"
    )
    reservation_queue_error = fields.Char(compute="_compute_reservation_queue_error")
    ledger_entry_ids = fields.One2many("stock.ledger.entry", "picking_id", readonly=True)

    @api.depends("move_ids.reservation_queued_date", "move_ids.state")
    def _compute_reservation_queued(self):
        moves = self.env["stock.move"]
        dates = dict(
            moves._read_group(
                moves._get_reservation_queue_domain() & Domain("picking_id", "in", self.ids),
                ["picking_id"],
                ["reservation_queued_date:min"],
            )
        )
        for picking in self:
            picking.reservation_queued_date = dates.get(picking._origin)
            picking.reservation_queued = bool(picking.reservation_queued_date)

    @api.depends("move_ids.reservation_queue_error")
    def _compute_reservation_queue_error(self):
        for picking in self:
            errors = picking.move_ids.filtered("reservation_queue_error")
            picking.reservation_queue_error = "\n".join(
                f"{move.product_id.display_name}: {move.reservation_queue_error}" for move in errors
            )

    @api.model
    def _search_reservation_queued(self, operator, value):
        if operator != "in":
            return NotImplemented
        queued = self.env["stock.move"]._search(
            self.env["stock.move"]._get_reservation_queue_domain()
        )
        operator = "any" if True in value else "not any"
        return [("move_ids", operator, [("id", "in", queued)])]

    def action_assign(self):
        return self.env["stock.quant"]._decide(super().action_assign, self.move_ids)

    def button_validate(self):
        return self.env["stock.quant"]._decide(super().button_validate)

    def _get_ledger_domain(self):
        return self.move_ids._get_ledger_domain()

    def _notify_reservation_queue(self):
        """Have open screens show that moves of these transfers joined or left the queue."""
        if self:
            # Odoo subscribes a user's websocket to the groups that the user is in.
            self.env.ref("stock.group_stock_user")._bus_send(
                "stock_event_ledger/reservation", {"picking_ids": self.ids}
            )
