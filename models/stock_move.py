import logging
from collections import defaultdict

from psycopg2 import OperationalError

from odoo import api, fields, models
from odoo.fields import Domain
from odoo.tools import SQL

from ..locking import reserving, restartable
from ..relay.leader import NOTIFY_CHANNEL

_logger = logging.getLogger(__name__)

QUEUE_BATCH = 100
# Short: what is busy now is tried again a second later.
QUEUE_WAIT_SECONDS = 0.1


class StockMove(models.Model):
    _inherit = "stock.move"

    reservation_queued_date = fields.Datetime(
        readonly=True,
        copy=False,
        index="btree_not_null",
        help="Since when the move waits to be reserved, because another operation was "
        "deciding on the same stock",
    )
    reservation_queue_error = fields.Char(
        readonly=True, copy=False, help="Why the last try to reserve it failed"
    )

    # --- the ledger ---

    def write(self, vals):
        redated = self.browse()
        if "date" in vals:
            date = fields.Datetime.to_datetime(vals["date"])
            redated = self.filtered(lambda move: move.state == "done" and move.date != date)
        if vals.get("state") in ("done", "cancel"):
            vals = {**vals, "reservation_queued_date": False}
        result = super().write(vals)
        self.env["stock.ledger.entry"]._change_effective_date(redated)
        return result

    # --- locks ---

    def _update_reserved_quantity_vals(
        self,
        need,
        location_id,
        lot_id=None,
        package_id=None,
        owner_id=None,
        strict=True,
    ):
        with reserving() as reservation:
            result = super()._update_reserved_quantity_vals(
                need, location_id, lot_id, package_id, owner_id, strict
            )
        if reservation.contended:
            self._queue_reservation()
        return result

    def _get_quants_to_reserve(self):
        """Return the quants that reserving these moves would choose at this moment."""
        needs = defaultdict(float)
        for move in self.filtered(lambda move: not move._should_bypass_reservation()):
            reserved = sum(move.move_line_ids.mapped("quantity_product_uom"))
            needs[move.product_id, move.location_id] += move.product_qty - reserved
        quant_ids = set()
        for (product, location), need in needs.items():
            if product.uom_id.compare(need, 0) > 0:
                chosen = self.env["stock.quant"]._get_reserve_quantity(product, location, need)
                quant_ids.update(quant.id for quant, _quantity in chosen)
        return self.env["stock.quant"].browse(quant_ids)

    def _get_reserved_quants(self):
        """Return the quants that these moves' lines would take from."""
        rows = self.env.execute_query(
            SQL(
                """SELECT DISTINCT quant.id
                     FROM stock_move_line line
                     JOIN stock_location location
                       ON location.id = line.location_id
                      AND location.usage IN ('internal', 'transit')
                     JOIN stock_quant quant
                       ON quant.product_id = line.product_id
                      AND quant.location_id = line.location_id
                      AND (quant.lot_id = line.lot_id OR quant.lot_id IS NULL)
                      AND quant.package_id IS NOT DISTINCT FROM line.package_id
                      AND quant.owner_id IS NOT DISTINCT FROM line.owner_id
                    WHERE line.move_id = ANY(%s)""",
                self.ids,
            )
        )
        return self.env["stock.quant"].browse([quant_id for [quant_id] in rows])

    # --- queued reservation ---

    def _queue_reservation(self):
        """Have these moves reserved after commit, when the stock is free to decide on."""
        moves = self.filtered(lambda move: not move.reservation_queued_date)
        moves.write({"reservation_queued_date": fields.Datetime.now()})
        # The worker does it where an administrator has deleted the scheduled action.
        cron = self.env.ref("stock_event_ledger.cron_reservation_queue", raise_if_not_found=False)
        if cron:
            # sudo: whoever reserves may not read scheduled actions, but may wake this one.
            cron.sudo()._trigger()
        self.env.cr.execute(SQL("SELECT pg_notify(%s, '')", NOTIFY_CHANNEL))

    @api.model
    def _get_reservation_queue_domain(self):
        return Domain("reservation_queued_date", "!=", False) & Domain(
            "state", "in", ("waiting", "confirmed", "partially_available")
        )

    def _action_assign(self, force_qty=False):
        queued = {
            move: move.reservation_queued_date for move in self if move.reservation_queued_date
        }
        self.browse().union(*queued).reservation_queued_date = False
        self.filtered("reservation_queue_error").reservation_queue_error = False
        result = super()._action_assign(force_qty=force_qty)
        for move, date in queued.items():
            if move.reservation_queued_date:
                move.reservation_queued_date = date
        return result

    def _do_unreserve(self):
        # Whoever gives up a reservation does not want the queue to take it again.
        self.filtered("reservation_queued_date").reservation_queued_date = False
        return super()._do_unreserve()

    @api.model
    def _process_reservation_queue(self, limit=QUEUE_BATCH):
        """Reserve queued moves, each in a transaction of its own.

        :param int limit: how many moves at most
        :return: how many left the queue; others are tried again by the next call
        """
        processed = 0
        busy = set()
        for move in self.search(
            self._get_reservation_queue_domain(), order="priority desc, date, id"
        ):
            # One product that somebody holds must not make the others wait.
            stock = (move.product_id, move.location_id)
            if stock in busy:
                continue
            if self._reserve_queued_move(move.id):
                processed += 1
            else:
                busy.add(stock)
            if processed == limit:
                break
        return processed

    @api.model
    def _reserve_queued_move(self, move_id):
        """Reserve one queued move, holding the locks that this takes.

        :return: whether the move has left the queue
        """
        with self.pool.cursor() as cr, restartable():
            move = self.with_env(self.env(cr=cr)).browse(move_id).exists()
            try:
                if move.env["stock.quant"]._lock_before_deciding(
                    move._get_quants_to_reserve, QUEUE_WAIT_SECONDS
                ):
                    move._action_assign()
                    cr.flush()
            except OperationalError:
                # Somebody is still deciding on the same stock.
                cr.rollback()
            except Exception as error:
                # One move must not hold up those behind it.
                cr.rollback()
                _logger.warning("Reserving queued move %s failed", move_id, exc_info=True)
                move.write(
                    {
                        "reservation_queued_date": False,
                        "reservation_queue_error": str(error),
                    }
                )
            return not move.reservation_queued_date

    @api.model
    def _cron_process_reservation_queue(self):
        """Work the queue off where no worker does it."""
        cron = self.env["ir.cron"]
        while processed := self._process_reservation_queue():
            remaining = self.search_count(self._get_reservation_queue_domain())
            if not cron._commit_progress(processed, remaining=remaining):
                break
