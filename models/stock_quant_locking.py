import time

from psycopg2 import errors

from odoo import api, models
from odoo.http import request
from odoo.service.server import thread_local
from odoo.sql_db import Cursor
from odoo.tools import SQL

from ..locking import (
    StockContended,
    current_collector,
    current_reservation,
    current_update,
    deciding,
    get_unsure_keys,
    is_deciding,
    is_restartable,
    updating,
)
from ..waiting import LOCK_CLASS, StockBusy, StockHolder, StockLine, StockWait, get_lock_number

LOCKED = "stock_event_ledger.locked_quants"
LOCKED_ROWS = "stock_event_ledger.locked_rows"
# What PostgreSQL calls a session that holds locks, followed by the user's id.
SIGNATURE = "stock_event_ledger user "
LOCK_TIMEOUT_SECONDS = 10
# How many other serial numbers or rows are tried when the first ones are busy.
SPARE_SERIALS = 64
SPARE_ROWS = 4
REPLAYED = (errors.SerializationFailure, errors.DeadlockDetected, errors.LockNotAvailable)


class StockQuant(models.Model):
    """Who decides on stock holds the rows that the decision rests on.

    The rows of a stock key are the truth. Those who want them line up at an advisory
    lock of the key first, which PostgreSQL grants in the order of asking: rows alone
    would wake all who wait at once, to find all but one that they came in vain.
    """

    _inherit = "stock.quant"

    def init(self):
        """Make the functions that lock without waiting.

        In PostgreSQL, because a lock that is not to be had is an error there, which a
        block of PL/pgSQL contains in one round trip; a savepoint takes three.
        """
        self.env.cr.execute(self._query_lock_functions())
        return super().init()

    def _get_reserve_quantity(
        self,
        product_id,
        location_id,
        quantity,
        uom_id=None,
        lot_id=None,
        package_id=None,
        owner_id=None,
        strict=False,
    ):
        """Lock the quants that a reservation chooses, or choose none.

        Rows that somebody else has locked, or changed since this transaction's
        snapshot, cannot be decided on: the caller learns it from the Reservation.
        """

        def choose(quantity):
            return super(StockQuant, self)._get_reserve_quantity(
                product_id,
                location_id,
                quantity,
                uom_id=uom_id,
                lot_id=lot_id,
                package_id=package_id,
                owner_id=owner_id,
                strict=strict,
            )

        chosen = choose(quantity)
        reservation = current_reservation()
        if not (reservation and chosen and quantity > 0):
            return chosen
        # sudo: like core, for whoever may reserve without rights on quants.
        quants = self.sudo().browse([quant.id for quant, _quantity in chosen])
        if quants._try_lock_stock_keys():
            return chosen
        free = []
        if product_id.tracking == "serial" and not lot_id:
            # Whoever holds a serial number takes it: the next one is as good.
            free = self._get_free(choose(quantity + SPARE_SERIALS), len(chosen))
        if len(free) < len(chosen):
            reservation.note_contended(quants)
            if reservation.is_entered:
                return chosen
            if uom_id and uom_id != product_id.uom_id:
                # Less may be no whole number of the move's units.
                return []
        return free

    @api.model
    def _get_free(self, candidates, count):
        """Lock the first candidates that are free, one by one.

        :param list candidates: pairs of a quant and a quantity
        :param int count: how many are wanted
        :return: list of the pairs that are locked now
        """
        free = []
        for quant, quantity in candidates:
            if len(free) == count:
                break
            if quant._try_lock_stock_keys():
                free.append((quant, quantity))
        return free

    @api.model
    def _update_available_quantity(
        self,
        product_id,
        location_id,
        quantity=False,
        reserved_quantity=False,
        lot_id=None,
        package_id=None,
        owner_id=None,
        in_date=None,
    ):
        try:
            with updating(quantity or 0.0, reserved_quantity or 0.0):
                return super()._update_available_quantity(
                    product_id,
                    location_id,
                    quantity=quantity,
                    reserved_quantity=reserved_quantity,
                    lot_id=lot_id,
                    package_id=package_id,
                    owner_id=owner_id,
                    in_date=in_date,
                )
        except REPLAYED:
            self._note_replay(product_id.id, location_id.id)
            raise

    @api.model
    def _update_reserved_quantity(self, *args, **kwargs):
        collector = current_collector()
        if collector and collector.is_creating:
            # It was reserved when the lines were collected.
            return None
        return super()._update_reserved_quantity(*args, **kwargs)

    @api.model
    def _note_replay(self, product_id, location_id):
        """Note that Odoo is about to replay the request; its own transaction is lost."""
        with self.pool.cursor() as cr:
            contention = self.env(cr=cr)["stock.contention"]
            contention._note("replay", [(product_id, location_id)])

    def try_lock_for_update(self, *, allow_referencing=False, limit=None):
        """Choose the quant that core updates; none makes it insert another.

        A row that somebody changed since this transaction's snapshot is as good as
        locked: taking it would make Odoo replay the whole request.
        """
        update = current_update()
        if update is None:
            return super().try_lock_for_update(allow_referencing=allow_referencing, limit=limit)
        candidates = self._filter_unclamped(update.reserved_quantity)
        locked_ids = self._get_locked_ids() | self._get_locked_ids(LOCKED_ROWS)
        locked = candidates.filtered(lambda quant: quant.id in locked_ids)
        if locked:
            return locked[:limit]
        # One by one: a row that has changed fails the statement for the others too.
        for quant in candidates[:SPARE_ROWS]:
            if quant._try_lock_row():
                return quant
        if update.reserved_quantity > 0:
            get_unsure_keys(self.env.cr).update(quant._get_stock_key() for quant in self)
        return self.browse()

    def _filter_unclamped(self, reserved_quantity):
        """Return the quants that can take the change of the reservation in full.

        Core clamps a row's reservation at zero, so that taking 2 off a row that holds
        1, while another row of the key holds the rest, would leave 1 reserved for
        nobody. So would adding 1 to a row that holds -4. Without a row that holds
        enough, core inserts one with the amount, and merging adds it up. Only when the
        key holds too little altogether is core's clamp right.
        """
        if not reserved_quantity or not self:
            return self
        unit = self.product_uom_id
        enough = self.filtered(
            lambda quant: unit.compare(quant.reserved_quantity, -reserved_quantity) >= 0
        )
        total = sum(self.mapped("reserved_quantity"))
        if enough or unit.compare(total, -reserved_quantity) >= 0:
            return enough
        return self

    def action_apply_inventory(self, date=None):
        def apply():
            # What was counted is compared with what is there now.
            self.exists()._claim()
            return super(StockQuant, self).action_apply_inventory(date)

        return self._decide(apply)

    # --- locks that are tried: in a transaction that has written, nobody may wait ---

    def _get_locked_ids(self, name=LOCKED):
        """Return the ids of quants that this transaction is known to have locked.

        With their stock keys, or as LOCKED_ROWS only: a decision needs the keys as well.
        Kept where a rollback clears it. It only saves statements: a decision on a row
        whose lock was lost with a savepoint fails in PostgreSQL if the row has changed.
        """
        return self.env.cr.precommit.data.setdefault(name, set())

    def _try_lock_stock_keys(self):
        """Lock all quants of these quants' stock keys, without waiting.

        :return: whether they are locked, and unchanged since the snapshot
        """
        if self._get_locked_ids().issuperset(self.ids):
            return True
        keys = sorted({quant._get_stock_key() for quant in self}, key=str)
        return self._try_lock(
            SQL(
                "SELECT stock_event_ledger_lock_keys(%s, %s, %s, %s, %s, %s, %s, %s)",
                self._get_signature(),
                LOCK_CLASS,
                self._get_lock_numbers(),
                *(list(column) for column in zip(*keys, strict=True)),
            )
        )

    def _try_lock_row(self):
        return self._try_lock(
            SQL("SELECT stock_event_ledger_lock_row(%s, %s)", self._get_signature(), self.id),
            LOCKED_ROWS,
        )

    @api.model
    def _try_lock(self, query, name=LOCKED):
        [[quant_ids]] = self.env.execute_query(query)
        self._get_locked_ids(name).update(quant_ids or [])
        return bool(quant_ids)

    @api.model
    def _execute_lock(self, query):
        """Run a locking query; what it may fail with is expected, and not logged."""
        self.env.cr.execute(query, log_exceptions=False)
        return self.env.cr.fetchall()

    # --- locks that are waited for: in a transaction that has written nothing ---

    @api.model
    def _decide(self, decide, moves=None):
        """Call a function that decides on stock, when it is this session's turn.

        In a transaction that has written nothing, whatever the function did is rolled
        back when it finds stock that somebody else has locked, or has changed since the
        snapshot. It is called again, from a new snapshot, when the other one is done.
        Nobody sees that, and no lock is waited for while others are held.

        Any other transaction calls it once, and so does an operation that is part of one
        that can begin again, and this one when others hold the
        stock for longer than the setting ``stock_event_ledger.lock_timeout_seconds``:
        nothing that Odoo accepts may fail for that. What cannot be decided on is then
        queued, and the user is told who holds it.

        :param decide: the function; it says what it decides on by ``_claim`` or
            ``locking.reserving``
        :param moves: the stock.move that the function reserves, and nothing else, or None
        :return: what the function returns
        """
        if is_deciding() or not self._may_restart_transaction():
            return decide()
        try:
            result, wait = self._decide_in_turn(decide, self._get_lock_timeout_seconds(), moves)
        except StockBusy as busy:
            self._note_wait("timeout", busy.wait)
            self._notify_of_wait(busy.wait)
            return decide()
        if wait:
            self._note_wait("wait", wait)
        return result

    @api.model
    def _decide_in_turn(self, decide, timeout_seconds, moves=None):
        """Call a function until it finds no stock that is busy.

        :param decide: the function, in a transaction that may be restarted
        :param float timeout_seconds: how long to wait for others
        :param moves: what the worker may reserve in the meantime, or None
        :return: its result, and a StockWait or None
        :raises StockBusy: when that was not enough
        """
        started = time.monotonic()
        with StockLine(self.env.cr) as line:
            while True:
                try:
                    with deciding():
                        result = decide()
                    break
                except StockContended as contended:
                    quants = self.browse(contended.quant_ids).sudo()
                    keys = {*contended.keys, *(quant._get_stock_key() for quant in quants)}
                stocks = {(product_id, location_id) for product_id, location_id, *_rest in keys}
                numbers = sorted({get_lock_number(key) for key in keys})
                self.env.cr.rollback()
                remaining = timeout_seconds - (time.monotonic() - started)
                if moves and moves._is_reserved_by_worker(remaining):
                    # Once: what the worker could not do either is done here.
                    moves = None
                    line.joined = True
                    continue
                moves = None
                try:
                    remaining = timeout_seconds - (time.monotonic() - started)
                    quants._wait_for_turn(line, numbers, remaining)
                except errors.LockNotAvailable:
                    self.env.cr.rollback()
                    wait = StockWait(
                        time.monotonic() - started, stocks, quants._get_holder(numbers)
                    )
                    self.env.cr.rollback()
                    raise StockBusy(wait) from None
                # The next snapshot shows what those before this session have left.
                self.env.cr.rollback()
        if line.joined:
            return result, StockWait(time.monotonic() - started, stocks)
        return result, None

    def _wait_for_turn(self, line, numbers, timeout_seconds):
        """Stand in line for these quants; once first, wait for whoever did not line up.

        :raises psycopg2.errors.LockNotAvailable: when it took too long
        """
        if not line.holds(numbers):
            # Whoever gave up one turn for the next would never have them all where others
            # want the same products.
            line.join(sorted({*line.numbers, *numbers}), timeout_seconds)
            return
        line.limit(timeout_seconds)
        try:
            self._execute_lock(self._query_lock_rows())
        except (errors.SerializationFailure, errors.DeadlockDetected):
            return

    def _claim(self):
        """Say that the operation decides on these quants.

        Inside ``_decide`` they are locked from here on. Anywhere else they are locked if
        they are free.

        :return: whether they are locked
        """
        if not self or self._try_lock_stock_keys():
            return True
        if is_deciding():
            raise StockContended(self.ids)
        return False

    @api.model
    def _claim_key(self, key):
        """Say that the operation decides on a stock key that has no quant.

        :param tuple key: as ``_get_stock_key`` returns it
        :return: whether nobody else does
        """
        [[claimed]] = self.env.execute_query(
            SQL("SELECT pg_try_advisory_xact_lock(%s, %s)", LOCK_CLASS, get_lock_number(key))
        )
        if not claimed and is_deciding():
            raise StockContended([], [key])
        return claimed

    @api.model
    def _note_wait(self, kind, wait):
        self.env["stock.contention"]._note(
            kind, wait.stocks, seconds=wait.seconds, holder=wait.get_holder_name(self.env)
        )

    @api.model
    def _notify_of_wait(self, wait):
        self.env.user._bus_send(
            "simple_notification",
            {
                "type": "warning",
                "sticky": True,
                "title": self.env._("Stock is busy"),
                "message": wait.get_message(self.env),
            },
        )

    @api.model
    def _may_restart_transaction(self):
        """Tell whether the transaction may be rolled back and begun again unnoticed.

        It must have nothing to lose, and be in no savepoint, which PostgreSQL does not
        tell: a client's call is taken to be in none (Odoo hides the request from
        XML-RPC, but notes the method that it calls), other code has to say so.
        """
        cr = self.env.cr
        if not isinstance(cr, Cursor) or cr.readonly:
            return False
        remote_call = request or getattr(thread_local, "rpc_model_method", "")
        if not (remote_call or is_restartable()):
            return False
        transaction = self.env.transaction
        unsaved = (*transaction.field_dirty.values(), *transaction.tocompute.values())
        if any(unsaved) or cr.precommit:
            return False
        [[written]] = self.env.execute_query(
            SQL("SELECT pg_current_xact_id_if_assigned() IS NOT NULL")
        )
        return not written

    @api.model
    def _get_lock_timeout_seconds(self):
        # sudo: a setting of the addon, which its users cannot read themselves.
        value = (
            self.env["ir.config_parameter"]
            .sudo()
            .get_param("stock_event_ledger.lock_timeout_seconds")
        )
        try:
            return max(float(value or LOCK_TIMEOUT_SECONDS), 0.001)
        except ValueError:
            return LOCK_TIMEOUT_SECONDS

    # --- queries ---

    @api.model
    def _query_lock_functions(self):
        """Return the functions; both give NULL when the rows are not to be had.

        A session's name tells others who holds its locks. Those who find somebody in
        line for a stock key do not push in.
        """
        return SQL(
            """
            CREATE OR REPLACE FUNCTION stock_event_ledger_lock_keys(
                session_name text, lock_class int, lock_numbers int[], product_ids int[],
                location_ids int[], lot_ids int[], package_ids int[], owner_ids int[])
            RETURNS int[] LANGUAGE plpgsql AS $$
            DECLARE
                locked_ids int[];
                lock_number int;
            BEGIN
                FOREACH lock_number IN ARRAY lock_numbers LOOP
                    IF NOT pg_try_advisory_xact_lock(lock_class, lock_number) THEN
                        RAISE lock_not_available;
                    END IF;
                END LOOP;
                SELECT array_agg(locked.id) INTO locked_ids
                  FROM (
                    SELECT quant.id
                      FROM unnest(product_ids, location_ids, lot_ids, package_ids, owner_ids)
                           AS wanted (product_id, location_id, lot_id, package_id, owner_id)
                      JOIN stock_quant quant
                        ON quant.product_id = wanted.product_id
                       AND quant.location_id = wanted.location_id
                       AND quant.lot_id IS NOT DISTINCT FROM wanted.lot_id
                       AND quant.package_id IS NOT DISTINCT FROM wanted.package_id
                       AND quant.owner_id IS NOT DISTINCT FROM wanted.owner_id
                     ORDER BY quant.id
                       FOR NO KEY UPDATE OF quant NOWAIT) AS locked;
                PERFORM set_config('application_name', session_name, true);
                RETURN locked_ids;
            EXCEPTION WHEN lock_not_available OR serialization_failure THEN
                RETURN NULL;
            END $$;
            CREATE OR REPLACE FUNCTION stock_event_ledger_lock_row(
                session_name text, quant_id int)
            RETURNS int[] LANGUAGE plpgsql AS $$
            DECLARE
                locked_ids int[];
            BEGIN
                SELECT array_agg(locked.id) INTO locked_ids
                  FROM (SELECT id FROM stock_quant WHERE id = quant_id
                           FOR NO KEY UPDATE SKIP LOCKED) AS locked;
                PERFORM set_config('application_name', session_name, true);
                RETURN locked_ids;
            EXCEPTION WHEN serialization_failure THEN
                RETURN NULL;
            END $$
            """
        )

    def _get_lock_numbers(self):
        return sorted({get_lock_number(quant._get_stock_key()) for quant in self})

    @api.model
    def _get_signature(self):
        """Return what PostgreSQL is to call this session until the transaction ends."""
        return f"{SIGNATURE}{self.env.uid}"

    def _query_lock_rows(self):
        return SQL(
            "SELECT id FROM stock_quant WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE", self.ids
        )

    def _get_holder(self, numbers):
        """Find who has locked these quants, or stands first in line for them.

        :param list numbers: of the quants' advisory locks
        :return: a StockHolder, or None when nobody has any more
        """
        rows = self.env.execute_query(self._query_holders(numbers))
        if not rows:
            return None
        [[name, since]] = rows
        user_id = name.removeprefix(SIGNATURE)
        return StockHolder(int(user_id) if user_id.isdecimal() else None, since)

    def _query_holders(self, numbers):
        return SQL(
            """SELECT activity.application_name, activity.xact_start AT TIME ZONE 'UTC'
                 FROM pg_locks held
                 JOIN pg_stat_activity activity ON activity.pid = held.pid
                WHERE held.granted
                  AND held.pid <> pg_backend_pid()
                  AND (held.transactionid IN (SELECT xmax FROM stock_quant WHERE id = ANY(%s))
                       OR held.locktype = 'advisory'
                          AND held.database = activity.datid
                          AND held.classid = %s::bigint::oid
                          AND held.objid = ANY(%s::bigint[]::oid[]))
                ORDER BY held.locktype = 'advisory', activity.xact_start
                LIMIT 1""",
            self.ids,
            LOCK_CLASS,
            [number % 2**32 for number in numbers],
        )
