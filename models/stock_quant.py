import time
from decimal import Decimal

from psycopg2 import errors

from odoo import api, models
from odoo.http import request
from odoo.service.server import thread_local
from odoo.sql_db import Cursor
from odoo.tools import SQL

from ..cause import StockKey
from ..locking import (
    current_reservation,
    current_update,
    is_restartable,
    updating,
)

KEY_FIELDS = ("product_id", "location_id", "lot_id", "package_id", "owner_id")
LEDGER_FIELDS = frozenset((*KEY_FIELDS, "quantity", "reserved_quantity"))
LOCKED = "stock_event_ledger.locked_quants"
LOCK_TIMEOUT_SECONDS = 10


class StockQuant(models.Model):
    _inherit = "stock.quant"

    # --- the ledger: every effective change is recorded ---

    @api.model_create_multi
    def create(self, vals_list):
        quants = self.browse()
        for vals in vals_list:
            # In inventory mode core adjusts an existing quant, or creates an empty
            # one and adjusts that: those changes come by here on their own.
            adjusts = self._is_inventory_mode() and (
                "inventory_quantity" in vals or "inventory_quantity_auto_apply" in vals
            )
            quant = super().create([vals])
            if not adjusts:
                # See write: the company too is still to be written.
                quant.flush_recordset()
                quant._record_in_ledger(*quant._get_ledger_state())
            quants |= quant
        return quants

    def write(self, vals):
        if LEDGER_FIELDS.isdisjoint(vals):
            return super().write(vals)
        before = {quant: quant._get_ledger_state() for quant in self}
        result = super().write(vals)
        # The ledger's mark and the change are undone together by a savepoint only
        # when both have reached the database.
        self.flush_recordset()
        for quant, (old_key, old_quantity, old_reserved) in before.items():
            key, quantity, reserved = quant._get_ledger_state()
            if key == old_key:
                quant._record_in_ledger(key, quantity - old_quantity, reserved - old_reserved)
            else:
                quant._record_in_ledger(old_key, -old_quantity, -old_reserved)
                quant._record_in_ledger(key, quantity, reserved)
        return result

    @api.ondelete(at_uninstall=False)
    def _unlink_record_in_ledger(self):
        # Runs after core's _unlink_except_wrong_permission, which turns a manager's
        # deletion into an inventory adjustment: Odoo calls these methods by name.
        for quant in self:
            key, quantity, reserved = quant._get_ledger_state()
            quant._record_in_ledger(key, -quantity, -reserved)

    def _get_ledger_state(self):
        """Return the stock key, the on-hand and the reserved quantity of a quant.

        Exact decimals, because the ledger's sums must equal the column's to the digit.
        """
        key = StockKey(*(self[name].id or None for name in KEY_FIELDS), self.company_id.id or None)
        return (
            key,
            Decimal(repr(self.quantity)),
            Decimal(repr(self.reserved_quantity)),
        )

    def _record_in_ledger(self, key, quantity, reserved_quantity):
        self.env["stock.ledger.entry"]._record(key, quantity, reserved_quantity)

    @api.model
    def _merge_quants(self):
        """Record what core's merge changes: a sum of reservations below zero."""
        # Core merges the rows that it reads in the database.
        self.env["stock.quant"].flush_model()
        negative = self._get_negative_reservations()
        result = super()._merge_quants()
        if negative:
            # Where core's merge failed, which it only logs, they are still there.
            remaining = self._get_negative_reservations()
            for key, reserved in negative.items():
                if key not in remaining:
                    self._record_in_ledger(key, Decimal(0), -reserved)
        return result

    def _get_negative_reservations(self):
        """Return the negative sums that a merge of these quants' keys sets to zero.

        :return: dictionary of Decimal by StockKey
        """
        rows = self.env.execute_query(
            SQL(
                """SELECT product_id, location_id, lot_id, package_id, owner_id,
                          company_id, SUM(reserved_quantity)
                     FROM stock_quant
                    WHERE %s
                    GROUP BY 1, 2, 3, 4, 5, 6
                   HAVING COUNT(*) > 1 AND SUM(reserved_quantity) < 0""",
                SQL(
                    "location_id = ANY(%s) AND product_id = ANY(%s)",
                    self.location_id.ids,
                    self.product_id.ids,
                )
                if self.ids
                else SQL("TRUE"),
            )
        )
        return {StockKey(*row[:-1]): row[-1] for row in rows}

    # --- locks: who decides on stock holds the rows that the decision rests on ---

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
        chosen = super()._get_reserve_quantity(
            product_id,
            location_id,
            quantity,
            uom_id=uom_id,
            lot_id=lot_id,
            package_id=package_id,
            owner_id=owner_id,
            strict=strict,
        )
        reservation = current_reservation()
        if reservation and chosen and quantity > 0:
            quants = self.browse([quant.id for quant, _quantity in chosen])
            if not quants._try_lock_stock_keys():
                reservation.contended = True
                return []
        return chosen

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

    def try_lock_for_update(self, *, allow_referencing=False, limit=None):
        """Choose the quant that core updates; none makes it insert another.

        A row that somebody changed since this transaction's snapshot is as good as
        locked: taking it would make Odoo replay the whole request.
        """
        update = current_update()
        if update is None:
            return super().try_lock_for_update(allow_referencing=allow_referencing, limit=limit)
        candidates = self._filter_unclamped(update.reserved_quantity)
        if not candidates:
            return candidates
        locked = candidates.filtered(lambda quant: quant.id in self._get_locked_ids())
        if locked:
            return locked[:limit]
        try:
            with self.env.cr.savepoint(flush=False):
                rows = self._execute_lock(candidates._query_lock_any(limit))
        except errors.SerializationFailure:
            return self.browse()
        quants = self.browse([quant_id for [quant_id] in rows])
        self._get_locked_ids().update(quants.ids)
        return quants

    def _filter_unclamped(self, reserved_quantity):
        """Return the quants that can give back the reservation in full.

        Core clamps a row's reservation at zero, so that taking 2 off a row that holds
        1, while another row of the key holds the rest, would leave 1 reserved for
        nobody. Without a row that holds enough, core inserts one with the negative
        amount, and merging adds it up. Only when the key holds too little altogether
        is core's clamp right.
        """
        if reserved_quantity >= 0:
            return self
        unit = self.product_uom_id
        enough = self.filtered(
            lambda quant: unit.compare(quant.reserved_quantity, -reserved_quantity) >= 0
        )
        total = sum(self.mapped("reserved_quantity"))
        if enough or unit.compare(total, -reserved_quantity) >= 0:
            return enough
        return self

    def _get_locked_ids(self):
        """Return the ids of quants that this transaction is known to have locked.

        Kept where a rollback clears it. It only saves savepoints: nothing is decided
        on the strength of it.
        """
        return self.env.cr.precommit.data.setdefault(LOCKED, set())

    def _try_lock_stock_keys(self):
        """Lock all quants of these quants' stock keys, without waiting.

        :return: whether they are locked, and unchanged since the snapshot
        """
        try:
            with self.env.cr.savepoint(flush=False):
                rows = self._execute_lock(self._query_lock_stock_keys(SQL("NOWAIT")))
        except (errors.LockNotAvailable, errors.SerializationFailure):
            return False
        self._get_locked_ids().update(quant_id for [quant_id] in rows)
        return True

    @api.model
    def _lock_before_deciding(self, get_quants, timeout_seconds=None):
        """Lock quants that the caller is about to decide on, waiting for others.

        Only in a transaction that has written nothing: when a row has changed since
        its snapshot it is rolled back and begun again, which nobody sees, until it has
        both the locks and a snapshot that shows what they protect. Any other
        transaction decides with ``_try_lock_stock_keys`` alone, and so does this one when
        others hold the locks for too long: nothing that Odoo accepts may fail for that.

        :param get_quants: function that returns the quants, called on each snapshot
        :param float timeout_seconds: how long to wait; by default the system parameter
            ``stock_event_ledger.lock_timeout_seconds``, or 10
        :return: False when others held the locks for that long
        """
        if not self._may_restart_transaction():
            return True
        timeout_seconds = timeout_seconds or self._get_lock_timeout_seconds()
        deadline = time.monotonic() + timeout_seconds
        cr = self.env.cr
        while (remaining := deadline - time.monotonic()) > 0:
            try:
                quants = get_quants()
                if not quants:
                    return True
                rows = quants._execute_lock(
                    quants._query_lock_stock_keys(SQL("")), timeout_seconds=remaining
                )
                self._get_locked_ids().update(quant_id for [quant_id] in rows)
                return True
            except (errors.SerializationFailure, errors.DeadlockDetected):
                cr.rollback()
            except errors.LockNotAvailable:
                cr.rollback()
                break
        return False

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

    @api.model
    def _execute_lock(self, query, timeout_seconds=None):
        """Run a locking query; what it may fail with is expected, and not logged."""
        cr = self.env.cr
        if timeout_seconds:
            [[before]] = self.env.execute_query(SQL("SELECT current_setting('lock_timeout')"))
            self._set_lock_timeout(f"{max(int(timeout_seconds * 1000), 1)}ms")
        cr.execute(query, log_exceptions=False)
        rows = cr.fetchall()
        if timeout_seconds:
            self._set_lock_timeout(before)
        return rows

    @api.model
    def _set_lock_timeout(self, value):
        self.env.cr.execute(SQL("SELECT set_config('lock_timeout', %s, true)", value))

    def _query_lock_any(self, limit):
        """Lock the first free rows of these, in their order."""
        return SQL(
            """SELECT id FROM stock_quant WHERE id = ANY(%(ids)s)
                ORDER BY array_position(%(ids)s, id) LIMIT %(limit)s
                  FOR NO KEY UPDATE SKIP LOCKED""",
            ids=self.ids,
            limit=limit,
        )

    def _query_lock_stock_keys(self, wait):
        """Lock every row of these quants' stock keys, in the order of id."""
        return SQL(
            """SELECT quant.id FROM stock_quant quant
                WHERE EXISTS (
                    SELECT FROM stock_quant chosen
                     WHERE chosen.id = ANY(%s)
                       AND chosen.product_id = quant.product_id
                       AND chosen.location_id = quant.location_id
                       AND chosen.lot_id IS NOT DISTINCT FROM quant.lot_id
                       AND chosen.package_id IS NOT DISTINCT FROM quant.package_id
                       AND chosen.owner_id IS NOT DISTINCT FROM quant.owner_id)
                ORDER BY quant.id
                  FOR NO KEY UPDATE OF quant %s""",
            self.ids,
            wait,
        )
