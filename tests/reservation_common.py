"""Two sessions that meet at the same stock, and what they would do one after the other."""

import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import NamedTuple

from odoo import Command
from odoo.tests import new_test_user
from odoo.tools import SQL

from ..locking import restartable
from .contention_common import ContentionCase


class Scenario(NamedTuple):
    """What two sessions do; what they are given besides the environment are ids."""

    prepare: object  # function of env that returns a dictionary of ids
    hold: object  # function of env and the ids, for the session that is first
    operate: object  # function of env and the ids, for the session that is tested


class ReservationCase(ContentionCase):
    """Operations on stock while another session holds it, uncommitted.

    What they are given is a namespace of ids, because records belong to a session; its
    ``product_ids`` are those whose stock is compared.
    """

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with cls._session() as env:
            warehouse = env["stock.warehouse"].search([], limit=1)
            cls.warehouse_id = warehouse.id
            cls.int_type_id = warehouse.int_type_id.id
            cls.in_type_id = warehouse.in_type_id.id
            cls.suppliers_id = env.ref("stock.stock_location_suppliers").id
            shelf = env["stock.location"].search([("barcode", "=", "RESERVATION-SHELF")])
            cls.shelf_id = (
                shelf
                or shelf.create(
                    {
                        "name": "Reservation Shelf",
                        "barcode": "RESERVATION-SHELF",
                        "location_id": cls.stock_id,
                    }
                )
            ).id
            login = "reservation_user"
            user = env["res.users"].search([("login", "=", login)])
            user = user or new_test_user(env, login, groups="stock.group_stock_user")
            cls.user_id = user.id

    def setUp(self):
        super().setUp()
        with self._session() as env:
            moves = env["stock.move"]
            moves.search(moves._get_reservation_queue_domain()).reservation_queued_date = False

    # --- stock and transfers ---

    def _create_product(self, env, quantity=0, location_id=None, **vals):
        product = env["product.product"].create(
            {"name": "Contested", "type": "consu", "is_storable": True, **vals}
        )
        if quantity:
            self._add_stock(env, product, quantity, location_id)
        return product

    def _add_stock(self, env, product, quantity, location_id=None, **key):
        location = env["stock.location"].browse(location_id or self.stock_id)
        env["stock.quant"]._update_available_quantity(product, location, quantity, **key)

    def _create_serials(self, env, product, count):
        """Put serial numbers into stock, the oldest first."""
        lots = env["stock.lot"].create(
            [{"product_id": product.id, "name": f"{product.id}-{i}"} for i in range(count)]
        )
        for i, lot in enumerate(lots):
            self._add_stock(env, product, 1, lot_id=lot, in_date=f"2024-01-{i + 1:02} 00:00:00")
        return lots

    def _create_delivery(self, env, product, quantity, kind="out", confirm=True, **vals):
        """Create a transfer that is confirmed, but not reserved."""
        source_id, destination_id = {
            "out": (self.stock_id, self.customers_id),
            "int": (self.stock_id, self.shelf_id),
            "in": (self.suppliers_id, self.stock_id),
        }[kind]
        move_vals = {
            "product_id": product.id,
            "product_uom_qty": quantity,
            "product_uom": product.uom_id.id,
            "location_id": vals.pop("location_id", source_id),
            "location_dest_id": vals.pop("location_dest_id", destination_id),
            **vals,
        }
        picking = env["stock.picking"].create(
            {
                "picking_type_id": getattr(self, f"{kind}_type_id"),
                "location_id": move_vals["location_id"],
                "location_dest_id": move_vals["location_dest_id"],
                "move_ids": [Command.create(move_vals)],
            }
        )
        if confirm:
            picking.action_confirm()
            if kind != "in":
                picking.do_unreserve()
        return picking

    def _reserve(self, picking):
        picking.action_assign()
        self.assertEqual(picking.state, "assigned")
        return picking

    def _validate(self, picking):
        picking.move_ids.picked = True
        return picking.with_context(skip_backorder=True).button_validate()

    def _set_policy(self, policy, type_id=None):
        """Set an operation type's reservation policy for the rest of the test."""

        def write(value):
            with self._session() as env:
                env["stock.picking.type"].browse(type_id or self.out_type_id).write(
                    {"reservation_policy": value}
                )

        write(policy)
        self.addCleanup(write, "contended")

    def _write_something(self, env):
        """Make the transaction one that cannot be restarted.

        Where it waits, although it should not, it fails instead of waiting for ever.
        """
        env.cr.execute("SET LOCAL lock_timeout = '10s'")
        env["res.partner"].browse(env.user.partner_id.id).comment = "busy"
        env.flush_all()

    def _process_queue(self):
        """Do what follows commits until there is nothing left of it."""
        for _round in range(20):
            # Each sees what the one before it has committed.
            with self._session() as env:
                if not env["stock.move"]._process_reservation_queue():
                    return
        self.fail("The queue does not become empty.")

    # --- two sessions ---

    def _count_waiting(self):
        """Return how many sessions wait for a lock; in a session of its own."""
        with self._session() as env:
            [[count]] = env.execute_query(
                SQL(
                    """SELECT COUNT(*) FROM pg_stat_activity
                        WHERE datname = current_database() AND wait_event_type = 'Lock'"""
                )
            )
            return count

    def _await_waiting(self, operation):
        """Wait until an operation in a thread waits for a lock, or has ended.

        :return: whether it waits
        """
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self._count_waiting():
                return True
            if operation.done():
                return False
            time.sleep(0.01)
        self.fail("The operation neither ends nor waits.")

    def _operate_beside(self, hold, operate):
        """Let one session operate in a thread while another holds stock, which then commits.

        :param hold: function of an environment
        :param operate: function without arguments, that opens its session
        :return: the result of ``operate``, and whether it had to wait for the other one
        """
        with ThreadPoolExecutor(1) as executor:
            with self._session() as env:
                hold(env)
                env.flush_all()
                operation = executor.submit(operate)
                waited = self._await_waiting(operation)
            return operation.result(60), waited

    def _play(self, scenario, mode):
        """Play a scenario: ``prepare``, ``hold`` and ``operate`` of it.

        :param str mode: "serial", one after the other; "written", beside each other in a
            transaction that cannot wait; "restartable", in one that can
        :return: a namespace with ids, whether it waited, how many moves were queued, how
            many rows the operation inserted, its result and the outcome
        """
        with self._session() as env:
            ids = SimpleNamespace(**scenario.prepare(env))
        rows = self._count_rows(ids.product_ids)
        play = SimpleNamespace(ids=ids, waited=False)
        if mode == "serial":
            with self._session() as env:
                scenario.hold(env, ids)
            with self._session() as env:
                play.result = scenario.operate(env, ids)
        elif mode == "written":
            with self._session() as env:
                scenario.hold(env, ids)
                env.flush_all()
                with self._session() as other_env:
                    self._write_something(other_env)
                    play.result = scenario.operate(other_env, ids)
                play.queued = self._count_queued_moves(ids.product_ids)
                play.inserted = self._count_rows(ids.product_ids) - rows
        else:

            def operate():
                with self._session() as env, restartable():
                    return scenario.operate(env, ids)

            play.result, play.waited = self._operate_beside(
                lambda env: scenario.hold(env, ids), operate
            )
            play.queued = self._count_queued_moves(ids.product_ids)
        self._process_queue()
        play.outcome = self._get_outcome(ids.product_ids)
        return play

    def assertAsOneAfterTheOther(self, scenario, queued=1, inserted=0, waits=True):
        """Check that two sessions at once end like one after the other, and never oversell.

        :param int queued: how many moves the transaction that cannot wait leaves in the
            queue, and how many rows ``inserted`` it leaves at internal locations
        :param waits: whether the transaction that can wait does, and so queues nothing;
            None when there is none for this operation
        """
        serial = self._play(scenario, "serial")
        self.assertSound(serial.ids.product_ids)
        written = self._play(scenario, "written")
        self.assertSound(written.ids.product_ids)
        self.assertEqual((written.queued, written.inserted), (queued, inserted))
        self.assertEqual(written.outcome, serial.outcome)
        if waits is not None:
            restarted = self._play(scenario, "restartable")
            self.assertSound(restarted.ids.product_ids)
            self.assertEqual(restarted.waited, waits)
            self.assertEqual(restarted.queued, 0 if waits else queued)
            self.assertEqual(restarted.outcome, serial.outcome)

    # --- what there is ---

    def _count_queued_moves(self, product_ids):
        with self._session() as env:
            moves = env["stock.move"]
            domain = moves._get_reservation_queue_domain()
            return moves.search_count([*domain, ("product_id", "in", product_ids)])

    def _count_rows(self, product_ids):
        """Count the quants at internal locations."""
        with self._session() as env:
            return env["stock.quant"].search_count(
                [("product_id", "in", product_ids), ("location_id.usage", "=", "internal")]
            )

    def _get_stock(self, product_ids):
        """Return by stock key: on hand, reserved, reserved on lines, the ledger's two."""
        key = SQL("product_id, location_id, lot_id, package_id, owner_id")
        with self._session() as env:
            rows = env.execute_query(
                SQL(
                    """SELECT %(key)s, SUM(on_hand), SUM(reserved), SUM(promised),
                              SUM(ledger_on_hand), SUM(ledger_reserved)
                         FROM (
                    SELECT %(key)s, quantity AS on_hand, reserved_quantity AS reserved,
                           0 AS promised, 0 AS ledger_on_hand, 0 AS ledger_reserved
                      FROM stock_quant
                    UNION ALL
                    SELECT %(key)s, 0, 0, quantity_product_uom, 0, 0
                      FROM stock_move_line WHERE state NOT IN ('done', 'cancel')
                    UNION ALL
                    SELECT %(key)s, 0, 0, 0, quantity, reserved_quantity
                      FROM stock_ledger_entry
                         ) figures
                        WHERE product_id = ANY(%(products)s)
                          AND location_id IN (
                              SELECT id FROM stock_location WHERE usage IN ('internal', 'transit'))
                        GROUP BY %(key)s ORDER BY %(key)s""",
                    key=key,
                    products=list(product_ids),
                )
            )
        return {tuple(row[:5]): tuple(map(float, row[5:])) for row in rows}

    def assertSound(self, product_ids):
        """Check that quants, lines and ledger agree, and that nothing is promised twice."""
        for key, stock in self._get_stock(product_ids).items():
            on_hand, reserved, promised, ledger_on_hand, ledger_reserved = stock
            self.assertEqual((on_hand, reserved), (ledger_on_hand, ledger_reserved), key)
            self.assertEqual(reserved, promised, key)
            self.assertLessEqual(reserved, max(on_hand, 0), key)

    def _get_outcome(self, product_ids):
        """Return what can be compared between plays that have products of their own."""
        with self._session() as env:
            moves = env["stock.move"].search([("product_id", "in", product_ids)], order="id")
            return {
                "stock": [
                    (key[1], *stock)
                    for key, stock in self._get_stock(product_ids).items()
                    if any(stock)
                ],
                "moves": [
                    (
                        move.state,
                        move.product_uom_qty,
                        move.quantity,
                        move.location_id.id,
                        move.location_dest_id.id,
                        bool(move.reservation_queued_date),
                    )
                    for move in moves
                ],
            }
