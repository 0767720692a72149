from contextlib import nullcontext

from odoo import fields, models
from odoo.fields import Domain
from odoo.tools import SQL

from ..counting import current_counts
from ..locking import (
    collecting_lines,
    current_collector,
    is_deciding,
    is_working_off_queue,
    remembering_gathered,
    reserving,
)
from ..relay.leader import has_worker

QUEUED_STATES = ("waiting", "confirmed", "partially_available")
# Where goods count as stock.
STOCK_USAGES = ("internal", "transit")

# What Odoo counts as incoming and outgoing.
OPEN_STATES = ("waiting", "confirmed", "assigned", "partially_available")


class StockMove(models.Model):
    _name = "stock.move"
    _inherit = ["stock.move", "stock.ledger.subject.mixin"]

    reservation_queued_date = fields.Datetime(
        readonly=True,
        copy=False,
        index="btree_not_null",
        help="Since when the move waits to be reserved",
    )
    reservation_queued_user_id = fields.Many2one(
        "res.users", readonly=True, copy=False, help="Who wanted it reserved"
    )
    reservation_queue_error = fields.Char(
        readonly=True,
        copy=False,
        index="btree_not_null",
        help="Why the last try to reserve it failed",
    )

    # --- the ledger ---

    def _get_ledger_domain(self):
        return Domain("move_id", "in", self.ids)

    def write(self, vals):
        redated = self.browse()
        if "date" in vals:
            date = fields.Datetime.to_datetime(vals["date"])
            redated = self.filtered(lambda move: move.state == "done" and move.date != date)
        if vals.get("state") in ("done", "cancel"):
            vals = {**vals, "reservation_queued_date": False}
        if redated:
            self.env["stock.ledger.archive"]._check_movable(min(redated.mapped("date")))
        result = super().write(vals)
        self.env["stock.ledger.entry"]._change_effective_date(redated)
        return result

    def _action_done(self, cancel_backorder=False):
        if counts := current_counts():
            counts.match(self)
        return super()._action_done(cancel_backorder=cancel_backorder)

    # --- reservation ---

    def _action_assign(self, force_qty=False):
        later = self.browse()
        if not force_qty and not is_working_off_queue():
            later = self._filter_undecided()._filter_reserved_later()
            later._queue_reservation()
        moves = self - later
        if later and not moves:
            return None
        queued = {
            move: move.reservation_queued_date for move in moves if move.reservation_queued_date
        }
        self.browse().union(*queued).reservation_queued_date = False
        moves.filtered("reservation_queue_error").reservation_queue_error = False
        together = collecting_lines() if is_working_off_queue() else nullcontext()
        with remembering_gathered(), together as collector:
            # Core creates what lines it has left when all moves have had their turn,
            # and with them those that were collected.
            result = super(StockMove, moves)._action_assign(force_qty=force_qty)
            if collector and collector.vals_list:
                self.env["stock.move.line"]._create_collected(collector)
        for move, date in queued.items():
            if move.reservation_queued_date:
                move.reservation_queued_date = date
        return result

    def _update_reserved_quantity(
        self,
        need,
        location_id,
        lot_id=None,
        package_id=None,
        owner_id=None,
        strict=True,
    ):
        collector = current_collector()
        with collector.collecting() if collector else nullcontext():
            return super()._update_reserved_quantity(
                need, location_id, lot_id, package_id, owner_id, strict
            )

    def _do_unreserve(self):
        # Whoever gives up a reservation does not want the queue to take it again.
        self.filtered("reservation_queued_date").reservation_queued_date = False
        return super()._do_unreserve()

    def _update_reserved_quantity_vals(
        self,
        need,
        location_id,
        lot_id=None,
        package_id=None,
        owner_id=None,
        strict=True,
    ):
        if self.picking_type_id.reservation_policy == "odoo":
            return super()._update_reserved_quantity_vals(
                need, location_id, lot_id, package_id, owner_id, strict
            )
        with reserving() as reservation:
            result = super()._update_reserved_quantity_vals(
                need, location_id, lot_id, package_id, owner_id, strict
            )
        if reservation.contended:
            if not is_working_off_queue():
                self.env["stock.contention"]._note(
                    "queue", [(self.product_id.id, location_id.id)], move=self
                )
            self._queue_reservation()
        return result

    def _filter_undecided(self):
        """Return the moves for which reserving is a decision on stock."""
        return self.filtered(
            lambda move: (
                move.state in QUEUED_STATES
                and not move.picked
                and not move._should_bypass_reservation()
            )
        )

    def _filter_reserved_later(self):
        """Return the moves that are queued rather than reserved here.

        Those whose operation type says so, and where nobody may wait, those of a product
        that others wait for already: they do not push in, and need not find out that
        it is busy.
        """
        later = self.filtered(lambda move: move.picking_type_id.reservation_policy == "always")
        if is_deciding():
            return later
        moves = (self - later).filtered(
            lambda move: move.picking_type_id.reservation_policy != "odoo"
        )
        queued = moves._get_queued_stocks()
        behind = moves.filtered(lambda move: (move.product_id.id, move.location_id.id) in queued)
        if behind and has_worker(self.env.cr):
            stocks = {(move.product_id.id, move.location_id.id) for move in behind}
            self.env["stock.contention"]._note("queue", stocks)
            later |= behind
        return later

    def _get_queued_stocks(self):
        """Return the pairs of product and location of queued moves for these moves' products."""
        if not self:
            return set()
        rows = self.env.execute_query(
            SQL(
                """SELECT DISTINCT product_id, location_id FROM stock_move
                    WHERE reservation_queued_date IS NOT NULL AND state IN %s
                      AND product_id = ANY(%s)""",
                QUEUED_STATES,
                self.product_id.ids,
            )
        )
        return set(rows)

    def _set_quantity_done_prepare_vals(self, qty):
        with reserving(is_entered=True):
            return super()._set_quantity_done_prepare_vals(qty)
