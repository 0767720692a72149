import itertools
import logging
import random
import time

from psycopg2 import OperationalError

from odoo import SUPERUSER_ID, api, fields, models
from odoo.fields import Domain
from odoo.tools import SQL

from ..locking import restartable, working_off_queue
from ..relay.leader import (
    RESERVATION_AWAITED,
    RESERVATION_QUEUED,
    announce_reservation,
    has_worker,
)
from ..waiting import StockBusy
from .stock_move import QUEUED_STATES

_logger = logging.getLogger(__name__)

QUEUE_BATCH = 100
WOKEN = "stock_event_ledger.reservation_queue_woken"
# How long to wait for busy stock while there is other work, and when there is none.
TRY_SECONDS = 0.02
LINE_SECONDS = 2
# How long a session waits for the worker before it stands in line itself.
WORKER_SECONDS = 2
WORKER_POLL_SECONDS = 0.05


class StockMove(models.Model):
    """Moves that are reserved after commit, by the worker or a scheduled action."""

    _inherit = "stock.move"

    def _queue_reservation(self):
        """Have these moves reserved after commit, when the stock is free to decide on."""
        moves = self.filtered(lambda move: not move.reservation_queued_date)
        if not moves:
            return
        moves.write(
            {
                "reservation_queued_date": fields.Datetime.now(),
                "reservation_queued_user_id": self.env.uid,
            }
        )
        self._wake_reservation_queue()

    def _is_reserved_by_worker(self, timeout_seconds):
        """Have the worker reserve these moves together with others', and wait for it.

        Called between two snapshots: the moves are queued in a transaction of their own,
        since the worker takes what is committed.

        :param float timeout_seconds: how long to wait at most
        :return: whether it has taken them
        """
        cr = self.env.cr
        if not has_worker(cr):
            return False
        with self.pool.cursor() as queue_cr:
            moves = self.with_env(self.env(cr=queue_cr)).exists()._filter_undecided()
            moves = moves.filtered(lambda move: move.picking_type_id.reservation_policy != "odoo")
            if not moves:
                return False
            moves._queue_reservation()
            announce_reservation(queue_cr, RESERVATION_AWAITED)
        # A snapshot that was taken before does not show them in the queue.
        cr.rollback()
        deadline = time.monotonic() + min(timeout_seconds, WORKER_SECONDS)
        query = SQL(
            "SELECT FROM stock_move WHERE id = ANY(%s) AND reservation_queued_date IS NOT NULL",
            moves.ids,
        )
        while is_queued := bool(self.env.execute_query(query)):
            cr.rollback()
            if time.monotonic() > deadline:
                break
            time.sleep(WORKER_POLL_SECONDS)
        cr.rollback()
        return not is_queued

    @api.model
    def _wake_reservation_queue(self):
        """Make sure that somebody takes what is queued, at once if possible."""
        after_commit = self.env.cr.postcommit.data
        if after_commit.get(WOKEN):
            return
        after_commit[WOKEN] = True
        announce_reservation(self.env.cr, RESERVATION_QUEUED)
        if has_worker(self.env.cr):
            # And where it ends before it comes to this, the scheduled action's next run.
            return
        cron = self.env.ref("stock_event_ledger.cron_reservation_queue", raise_if_not_found=False)
        # sudo: whoever reserves may not read scheduled actions, but may wake this one.
        cron = cron and cron.sudo()
        if cron and cron.active:
            cron._trigger()
        else:
            # As in a neutralized copy: nobody else would do it.
            self.env.cr.postcommit.add(self._process_reservation_queue_after_commit)

    def _process_reservation_queue_after_commit(self):
        try:
            with self.pool.cursor() as cr:
                moves = self.with_env(self.env(cr=cr, user=SUPERUSER_ID))
                while moves._process_reservation_queue():
                    # The next call looks from a new snapshot.
                    cr.rollback()
            with self.pool.cursor() as cr:
                moves = self.with_env(self.env(cr=cr, user=SUPERUSER_ID))
                for move in moves.search(self._get_reservation_queue_domain()):
                    move._give_up_reservation(
                        move.env._(
                            "The stock was busy, no worker is running and the scheduled action "
                            "that reserves queued moves is inactive. Check availability again."
                        )
                    )
        except Exception:
            # What was committed is done, and must not look as if it had failed.
            _logger.exception("Reserving queued moves failed")

    @api.model
    def _get_reservation_queue_domain(self):
        return Domain("reservation_queued_date", "!=", False) & Domain("state", "in", QUEUED_STATES)

    @api.model
    def _process_reservation_queue(self, limit=QUEUE_BATCH):
        """Reserve queued moves: by product and warehouse, a transaction for each batch.

        :param int limit: how many moves, by and large; no batch begins after that
        :return: how many left the queue; others are tried again by the next call
        """
        # Before others are promised it, stock goes to those who have taken it.
        processed = self.env["stock.move.line"]._process_shortages(limit)
        busy = []
        for move_ids in self._get_reservation_batches():
            if processed >= limit:
                return processed
            reserved = self._reserve_queued_moves(move_ids, TRY_SECONDS)
            processed += reserved
            if not reserved:
                busy.append(move_ids)
        if busy and not processed:
            # Stand in line for one of them, while nothing else is to be done.
            processed = self._reserve_queued_moves(random.choice(busy), LINE_SECONDS)
        return processed

    @api.model
    def _get_reservation_batches(self):
        """Return the queued moves, in the order in which they are to be reserved.

        :return: list of lists of ids, one for each product and warehouse
        """
        self.flush_model(["reservation_queued_date", "state", "priority", "date"])
        rows = self.env.execute_query(
            SQL(
                """SELECT (ARRAY_AGG(move.id ORDER BY move.priority DESC, move.date, move.id))[:%s]
                     FROM stock_move move
                     JOIN stock_location location ON location.id = move.location_id
                    WHERE move.reservation_queued_date IS NOT NULL AND move.state IN %s
                    GROUP BY move.product_id, location.warehouse_id
                    ORDER BY MAX(move.priority) DESC, MIN(move.date), MIN(move.id)""",
                QUEUE_BATCH,
                QUEUED_STATES,
            )
        )
        return [move_ids for [move_ids] in rows]

    @api.model
    def _reserve_queued_moves(self, move_ids, wait_seconds):
        """Reserve queued moves in a transaction of their own.

        :param list move_ids: moves of one product in one warehouse
        :param float wait_seconds: how long to wait for the stock
        :return: how many have left the queue
        """
        with self.pool.cursor() as cr, restartable(), working_off_queue():
            moves = self.with_env(self.env(cr=cr)).browse(move_ids)
            try:
                done, _wait = moves.env["stock.quant"]._decide_in_turn(
                    moves._reserve_claimed, wait_seconds
                )
                return len(done)
            except (StockBusy, OperationalError):
                # Somebody is deciding on the same stock, or changing the same moves.
                cr.rollback()
                return 0
            except Exception as error:
                cr.rollback()
                if len(move_ids) == 1:
                    _logger.warning("Reserving queued move %s failed", moves.id, exc_info=error)
                    moves._give_up_reservation(str(error))
                    return 1
        # One move must not hold up the others.
        return sum(self._reserve_queued_moves([move_id], wait_seconds) for move_id in move_ids)

    def _reserve_claimed(self):
        """Reserve those of these moves that nobody else is changing.

        :return: the moves that have left the queue
        """
        moves = self._claim_queued()
        moves._reserve_for_users()
        self.env.cr.flush()
        done = moves.filtered(lambda move: not move.reservation_queued_date)
        done.picking_id._notify_reservation_queue()
        return done

    def _claim_queued(self):
        """Lock those of these moves that are still queued and that nobody is changing."""
        rows = self.env.execute_query(
            SQL(
                """SELECT id FROM stock_move
                    WHERE id = ANY(%(ids)s)
                      AND reservation_queued_date IS NOT NULL AND state IN %(states)s
                    ORDER BY ARRAY_POSITION(%(ids)s, id)
                      FOR NO KEY UPDATE SKIP LOCKED""",
                ids=self.ids,
                states=QUEUED_STATES,
            )
        )
        return self.browse([move_id for [move_id] in rows])

    def _reserve_for_users(self):
        """Reserve the moves in their order, each in the name of the user who wanted it.

        sudo: the user's own request was allowed to reserve, perhaps by code of its own
        that used sudo, and is finished here.
        """
        # Not Odoo's, which would change the order.
        for user, moves in itertools.groupby(  # pylint: disable=bad-builtin-groupby
            self, lambda move: move.reservation_queued_user_id
        ):
            env = self.env(user=user.id or SUPERUSER_ID, su=True)
            self.browse().concat(*moves).with_env(env)._action_assign()

    def _give_up_reservation(self, reason):
        self.write({"reservation_queued_date": False, "reservation_queue_error": reason})
        self.picking_id._notify_reservation_queue()

    @api.model
    def _cron_process_reservation_queue(self):
        """Work the queue off where no worker does it."""
        cron = self.env["ir.cron"]
        while processed := self._process_reservation_queue():
            remaining = self.search_count(self._get_reservation_queue_domain())
            remaining += self.env["stock.move.line"].search_count([("shortage_queued", "=", True)])
            if not cron._commit_progress(processed, remaining=remaining):
                break
