import threading
from concurrent.futures import ThreadPoolExecutor

from odoo import Command

from ..locking import restartable
from .contention_common import ContentionCase

QUEUE_LOGGER = "odoo.addons.stock_event_ledger.models.stock_move_queue"


class TestLocking(ContentionCase):
    """Two sessions in one process, in an order that the test decides."""

    def _write_something(self, env):
        """Make the transaction one that cannot be restarted."""
        env["res.partner"].browse(env.user.partner_id.id).comment = "busy"
        env.flush_all()

    def test_writing_transaction_queues_instead_of_overselling(self):
        product_id = self._create_stock(1)
        first, second = self._create_deliveries(product_id, 2)
        with self._session() as env:
            env["stock.picking"].browse(first).action_assign()
            env.flush_all()
            with self._session() as other_env:
                self._write_something(other_env)
                picking = other_env["stock.picking"].browse(second)
                picking.action_assign()
                self.assertFalse(picking.move_line_ids)
                self.assertTrue(picking.reservation_queued)
                self.assertIn(
                    picking,
                    picking.search([("reservation_queued", "=", True)]),
                )
                self.assertNotIn(
                    picking,
                    picking.search([("reservation_queued", "=", False)]),
                )
        self.assertEqual(self._get_figures(product_id), (1, 1, 1, 1))
        with self._session() as env:
            env["stock.move"]._process_reservation_queue()
        with self._session() as env:
            picking = env["stock.picking"].browse(second)
            self.assertFalse(picking.reservation_queued, "there is nothing to wait for")
            self.assertEqual(picking.state, "confirmed")
        self.assertEqual(self._get_figures(product_id), (1, 1, 1, 1))

    def test_queue_reserves_what_is_left(self):
        product_id = self._create_stock(3)
        first, second = self._create_deliveries(product_id, 2, quantity=2)
        with self._session() as env:
            env["stock.picking"].browse(first).action_assign()
            env.flush_all()
            with self._session() as other_env:
                self._write_something(other_env)
                other_env["stock.picking"].browse(second).action_assign()
            with self._session() as other_env:
                # Still locked: it stays queued, and nothing fails.
                self.assertEqual(other_env["stock.move"]._process_reservation_queue(), 0)
                self.assertTrue(other_env["stock.picking"].browse(second).reservation_queued)
        with self._session() as env:
            env["stock.move"]._process_reservation_queue()
        with self._session() as env:
            move = env["stock.picking"].browse(second).move_ids
            self.assertEqual((move.state, move.quantity), ("partially_available", 1))
            self.assertFalse(move.reservation_queued_date)
        self.assertEqual(self._get_figures(product_id), (3, 3, 3, 1))

    def test_failing_move_does_not_block_the_queue(self):
        broken_id, product_id = self._create_stock(5), self._create_stock(5)
        [broken] = self._create_deliveries(broken_id, 1)
        [sound] = self._create_deliveries(product_id, 1)
        with self._session() as env:
            moves = env["stock.picking"].browse([broken, sound]).move_ids
            moves.reservation_queued_date = "2024-01-01"
            # A strategy that nothing implements makes reserving fail.
            strategy = env["product.removal"].create({"name": "None", "method": "none"})
            category = env["product.category"].create(
                {"name": "Broken", "removal_strategy_id": strategy.id}
            )
            env["product.product"].browse(broken_id).categ_id = category
        with self._session() as env, self.assertLogs(QUEUE_LOGGER, "WARNING"):
            self.assertEqual(env["stock.move"]._process_reservation_queue(), 2)
        self.assertEqual(self._get_states([broken, sound]), ["confirmed", "assigned"])
        with self._session() as env:
            picking = env["stock.picking"].browse(broken)
            self.assertFalse(picking.reservation_queued)
            self.assertIn("not implemented", picking.reservation_queue_error)
            category = env["product.product"].browse(broken_id).categ_id
            category.removal_strategy_id = False
            picking.action_assign()
            self.assertEqual(picking.state, "assigned")
            self.assertFalse(picking.reservation_queue_error)

    def test_unreserving_leaves_the_queue(self):
        product_id = self._create_stock(1)
        [picking_id] = self._create_deliveries(product_id, 1)
        with self._session() as env:
            picking = env["stock.picking"].browse(picking_id)
            picking.move_ids.reservation_queued_date = "2024-01-01"
            picking.do_unreserve()
            self.assertFalse(picking.reservation_queued)

    def test_restartable_transaction_waits_and_sees_the_result(self):
        product_id = self._create_stock(3)
        first, second = self._create_deliveries(product_id, 2, quantity=2)
        started = threading.Event()

        def assign():
            with self._session() as env, restartable():
                picking = env["stock.picking"].browse(second)
                picking.move_ids.mapped("product_id.name")  # takes its snapshot
                started.set()
                picking.action_assign()

        with ThreadPoolExecutor(1) as executor:
            with self._session() as env:
                env["stock.picking"].browse(first).action_assign()
                env.flush_all()
                waiting = executor.submit(assign)
                started.wait(10)
            waiting.result(30)
        with self._session() as env:
            move = env["stock.picking"].browse(second).move_ids
            self.assertEqual((move.state, move.quantity), ("partially_available", 1))
        self.assertEqual(self._get_figures(product_id), (3, 3, 3, 1))

    def test_one_busy_product_holds_up_no_other(self):
        busy_id, free_id = self._create_stock(1), self._create_stock(1)
        first, *others = self._create_deliveries(busy_id, 3)
        [free] = self._create_deliveries(free_id, 1)
        with self._session() as env:
            moves = env["stock.picking"].browse([*others, free]).move_ids
            moves.reservation_queued_date = "2024-01-01"
        with self._session() as env:
            env["stock.picking"].browse(first).action_assign()
            env.flush_all()
            with self._session() as other_env:
                # One move at most: the busy ones must not be counted.
                self.assertEqual(other_env["stock.move"]._process_reservation_queue(1), 1)
        self.assertEqual(self._get_states([first, *others, free]).count("assigned"), 2)
        self.assertEqual(self._get_states([free]), ["assigned"])

    def test_waiting_in_vain_queues_and_validates_all_the_same(self):
        product_id = self._create_stock(4)
        first, second, third = self._create_deliveries(product_id, 3)
        with self._session() as env:
            env["ir.config_parameter"].set_param("stock_event_ledger.lock_timeout_seconds", "0.05")
            env["stock.picking"].browse(third).action_assign()
            env["stock.picking"].browse(third).move_ids.picked = True
        try:
            with self._session() as env:
                env["stock.picking"].browse(first).action_assign()
                env.flush_all()
                with self._session() as other_env, restartable():
                    other_env["stock.picking"].browse(second).action_assign()
                with self._session() as other_env, restartable():
                    other_env["stock.picking"].browse(third).button_validate()
        finally:
            with self._session() as env:
                env["ir.config_parameter"].set_param(
                    "stock_event_ledger.lock_timeout_seconds", False
                )
        self.assertEqual(
            self._get_states([first, second, third]), ["assigned", "confirmed", "done"]
        )
        with self._session() as env:
            self.assertTrue(env["stock.picking"].browse(second).reservation_queued)
            env["stock.move"]._process_reservation_queue()
        self.assertEqual(self._get_states([second]), ["assigned"])
        self.assertEqual(self._get_figures(product_id)[:3], (3, 2, 2))

    def test_validating_beside_a_lock_takes_nobodys_reservation(self):
        product_id = self._create_stock(4)
        first, second, third = self._create_deliveries(product_id, 3, reserve=True)
        with self._session() as env:
            env["stock.picking"].browse(first).move_ids.picked = True
            env["stock.picking"].browse(first).button_validate()
            env.flush_all()
            with self._session() as other_env:
                self._write_something(other_env)
                picking = other_env["stock.picking"].browse(second)
                picking.move_ids.picked = True
                picking.button_validate()
            # Two rows now; the next one must not be cheated by either.
            with self._session() as other_env:
                self._write_something(other_env)
                picking = other_env["stock.picking"].browse(third)
                picking.move_ids.picked = True
                picking.button_validate()
        self.assertEqual(self._get_states([first, second, third]), ["done"] * 3)
        self.assertEqual(self._get_figures(product_id)[:3], (1, 0, 0))
        with self._session() as env:
            env["stock.quant"]._merge_quants()
        self.assertEqual(self._get_figures(product_id), (1, 0, 0, 1))

    def test_receipts_of_one_product_do_not_wait_for_each_other(self):
        product_id = self._create_stock(1)
        with self._session() as env:
            in_type = env["stock.warehouse"].search([], limit=1).in_type_id
            move = {
                "product_id": product_id,
                "product_uom_qty": 5,
                "location_id": env.ref("stock.stock_location_suppliers").id,
                "location_dest_id": self.stock_id,
            }
            receipts = env["stock.picking"].create(
                [
                    {"picking_type_id": in_type.id, "move_ids": [Command.create(dict(move))]}
                    for _i in range(2)
                ]
            )
            receipts.action_confirm()
            receipts.move_ids.picked = True
            first, second = receipts.ids
        with self._session() as env:
            env["stock.picking"].browse(first).button_validate()
            env.flush_all()
            with self._session() as other_env, restartable():
                receipt = other_env["stock.picking"].browse(second)
                receipt.button_validate()
                self.assertFalse(any(receipt.move_line_ids.mapped("shortage_queued")))
        with self._session() as env:
            contention = env["stock.contention"].search([("product_id", "=", product_id)])
            self.assertFalse(contention, "a supplier's stock is nothing to wait for")
        self.assertEqual(self._get_states([first, second]), ["done"] * 2)
        self.assertEqual(self._get_figures(product_id)[0], 11)

    def test_row_changed_since_the_snapshot_is_not_replayed(self):
        product_id = self._create_stock(4)
        first, second = self._create_deliveries(product_id, 2, reserve=True)
        with self._session() as env:
            self._write_something(env)  # takes the snapshot
            with self._session() as other_env:
                picking = other_env["stock.picking"].browse(first)
                picking.move_ids.picked = True
                picking.button_validate()
            picking = env["stock.picking"].browse(second)
            picking.move_ids.picked = True
            picking.button_validate()
        self.assertEqual(self._get_states([first, second]), ["done"] * 2)
        self.assertEqual(self._get_figures(product_id)[:3], (2, 0, 0))

    def test_more_unreserved_than_reserved_is_clamped_as_in_core(self):
        product_id = self._create_stock(4)
        self._create_deliveries(product_id, 1, reserve=True)
        with self._session() as env:
            product = env["product.product"].browse(product_id)
            location = env["stock.location"].browse(self.stock_id)
            env["stock.quant"]._update_reserved_quantity(product, location, -3)
            quant = env["stock.quant"]._gather(product, location)
            self.assertEqual(quant.reserved_quantity, 0)
            env["stock.quant"]._clean_reservations()
            self.assertEqual(quant.reserved_quantity, 1)
        self.assertEqual(self._get_figures(product_id), (4, 1, 1, 1))
