from odoo import api, fields, models
from odoo.tools import format_datetime

from ..exceptions import CallBusy
from ..locking import remembering_gathered, reserving


class StockMove(models.Model):
    """Moves of holds have no transfer until the hold is converted.

    Until then only the hold reserves them: neither the scheduler, nor the queue, nor
    somebody else's receipt gives them goods when some of theirs were taken.
    """

    _inherit = "stock.move"

    hold_id = fields.Many2one(
        "stock.hold", readonly=True, copy=False, index="btree_not_null", ondelete="set null"
    )

    def _is_held(self):
        return bool(self.hold_id and not self.picking_id and self.state not in ("done", "cancel"))

    @api.depends("hold_id.name")
    def _compute_reference(self):
        result = super()._compute_reference()
        for move in self.filtered(lambda move: move.hold_id and not move.picking_id):
            # sudo: stock is looked at by users who may not see this hold.
            move.reference = move.reference or move.hold_id.sudo().name
        return result

    def _get_source_document(self):
        return super()._get_source_document() or self.hold_id or False

    @api.model
    def _get_holder_vals(self, move):
        vals = super()._get_holder_vals(move)
        if not move._is_held():
            return vals
        # sudo: as above.
        hold = move.hold_id.sudo()
        name = self.env._(
            "%(hold)s, until %(date)s",
            hold=hold.display_name,
            date=format_datetime(self.env, hold.expiry_date, dt_format="short"),
        )
        # Until then it is promised: only who may release the hold gives the goods back.
        return {**vals, "name": name, "can_unreserve": False}

    def _get_explained_document(self):
        if self._is_held() and self.hold_id.has_access("read"):
            return self.hold_id
        return super()._get_explained_document()

    def _should_be_assigned(self):
        return super()._should_be_assigned() and not self._is_held()

    @api.model
    def _prepare_merge_moves_distinct_fields(self):
        return [*super()._prepare_merge_moves_distinct_fields(), "hold_id"]

    def _action_assign(self, force_qty=False):
        moves = self.filtered(lambda move: not move._is_held())
        if self and not moves:
            return None
        return super(StockMove, moves)._action_assign(force_qty=force_qty)

    def _queue_reservation(self):
        if any(move._is_held() for move in self):
            # Whoever holds goods wants to know at once whether they are there.
            raise CallBusy(
                self.env._(
                    "Others are deciding on %s at this moment. Try again.",
                    ", ".join(self.product_id.mapped("name")),
                )
            )
        return super()._queue_reservation()

    def _reserve_for_hold(self, quantity):
        """Reserve stock that the hold has claimed.

        :param float quantity: how much, in the product's unit of measure
        """
        # Also where the operation type reserves as Odoo does, from the rows claimed.
        with remembering_gathered(), reserving():
            self._update_reserved_quantity(
                quantity, self.location_id, lot_id=self.hold_id.lot_id, strict=False
            )
        self._recompute_state()

    def _update_reserved_quantity(
        self, need, location_id, lot_id=None, package_id=None, owner_id=None, strict=True
    ):
        # sudo: whoever reserves the transfer later may not see the hold.
        lot_id = lot_id or self.hold_id.sudo().lot_id
        return super()._update_reserved_quantity(
            need, location_id, lot_id, package_id, owner_id, strict
        )
