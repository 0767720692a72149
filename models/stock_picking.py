from odoo import api, fields, models


class StockPicking(models.Model):
    _inherit = "stock.picking"

    reservation_queued = fields.Boolean(
        compute="_compute_reservation_queued",
        search="_search_reservation_queued",
        help="Another operation was deciding on the same stock: these moves are "
        "reserved automatically as soon as it is done",
    )

    reservation_queue_error = fields.Char(compute="_compute_reservation_queue_error")

    @api.depends("move_ids.reservation_queued_date", "move_ids.state")
    def _compute_reservation_queued(self):
        domain = self.env["stock.move"]._get_reservation_queue_domain()
        for picking in self:
            picking.reservation_queued = bool(picking.move_ids.filtered_domain(domain))

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

    def action_confirm(self):
        self.env["stock.quant"]._lock_before_deciding(self._get_quants_to_lock_on_confirm)
        return super().action_confirm()

    def action_assign(self):
        self.env["stock.quant"]._lock_before_deciding(self._get_quants_to_lock)
        return super().action_assign()

    def button_validate(self):
        self.env["stock.quant"]._lock_before_deciding(self._get_quants_to_lock)
        return super().button_validate()

    def _get_quants_to_lock_on_confirm(self):
        moves = self.move_ids.filtered(
            lambda move: move.state == "draft" and move._should_assign_at_confirm()
        )
        return moves._get_quants_to_reserve()

    def _get_quants_to_lock(self):
        moves = self.move_ids.filtered(lambda move: move.state not in ("done", "cancel"))
        return moves._get_quants_to_reserve() | moves._get_reserved_quants()

    def action_view_ledger_entries(self):
        """Open the ledger entries of this transfer.

        :return: a window action
        """
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "stock_event_ledger.action_stock_ledger_entry"
        )
        action["domain"] = [("move_id", "in", self.move_ids.ids)]
        return action
