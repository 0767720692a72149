"""Warehouses where nobody takes more than is on hand."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from unittest.mock import patch

from odoo import Command, api
from odoo.exceptions import UserError
from odoo.service.model import retrying
from odoo.tests import tagged

from ..locking import restartable
from .common import LedgerCase
from .reservation_common import ReservationCase


class TestNegativeStock(LedgerCase):
    """One session; the other warehouse of these tests allows what this one refuses."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.warehouse.negative_stock = "refuse"
        cls._receive(cls.product, 3)

    def _deliver(self, quantity, product=None, location=None, line_vals=(), **vals):
        """Deliver a quantity that somebody has entered, whatever is reserved.

        :param line_vals: the values of each line; one of the whole quantity by default
        """
        product = product or self.product
        picking = self._create_picking("out", {product: quantity}, source=location, **vals)
        picking.action_confirm()
        picking.move_ids.move_line_ids.unlink()
        picking.move_ids.move_line_ids = [
            Command.create(
                {
                    "product_id": product.id,
                    "product_uom_id": picking.move_ids.product_uom.id,
                    "location_id": picking.location_id.id,
                    "location_dest_id": picking.location_dest_id.id,
                    "picking_id": picking.id,
                    "quantity": quantity,
                    **values,
                }
            )
            for values in line_vals or [{}]
        ]
        self._validate(picking)
        return picking

    def _get_on_hand(self, product=None, location=None, **key):
        product, location = product or self.product, location or self.stock
        return self.env["stock.quant"]._get_quants_of_key(
            product, location, key.get("lot"), key.get("package"), key.get("owner")
        )

    def assertOnHand(self, quantity, *args, **kwargs):
        """Check what is at a location, and that the ledger says the same."""
        quants = self._get_on_hand(*args, **kwargs)
        self.assertEqual(sum(quants.mapped("quantity")), quantity)
        self.assertLedgerBalanced()

    @contextmanager
    def assertRefused(self, *parts):
        """Check that the operation is refused, and that the message has these parts."""
        with self.assertRaises(UserError) as caught:
            yield
        self.assertIn("the warehouse refuses more", str(caught.exception))
        for part in parts:
            self.assertIn(part, str(caught.exception))

    # --- transfers ---

    def test_allowed(self):
        self.warehouse.negative_stock = "allow"
        self._deliver(5)
        self.assertOnHand(-2)

    def test_new_warehouses_allow(self):
        self.assertEqual(self.other_warehouse.negative_stock, "allow")

    def test_refused(self):
        with self.assertRefused(
            self.product.display_name, self.stock.display_name, "3 Units on hand, 5 wanted"
        ):
            self._deliver(5)
        self.assertOnHand(3)

    def test_all_there_is(self):
        self._deliver(3)
        self.assertOnHand(0)
        with self.assertRefused("0 Units on hand, 1 wanted"):
            self._deliver(1)

    def test_never_seen_here(self):
        with self.assertRefused("0 Units on hand, 1 wanted"):
            self._deliver(1, self._create_product("Nowhere"))

    def test_quantity_of_a_reserved_transfer(self):
        picking = self._create_picking("out", {self.product: 2})
        picking.action_confirm()
        picking.action_assign()
        picking.move_ids.quantity = 5
        with self.assertRefused("3 Units on hand, 5 wanted"):
            self._validate(picking)
        picking.move_ids.quantity = 3
        self._validate(picking)
        self.assertOnHand(0)

    def test_several_lines_of_a_transfer(self):
        with self.assertRefused("3 Units on hand, 4 wanted"):
            self._deliver(4, line_vals=[{"quantity": 2}, {"quantity": 2}])
        self._deliver(3, line_vals=[{"quantity": 2}, {"quantity": 1}])
        self.assertOnHand(0)

    def test_several_products_and_none_is_moved(self):
        other = self._create_product("Plenty")
        self._receive(other, 9)
        picking = self._create_picking("out", {other: 9, self.product: 4})
        picking.action_confirm()
        for move in picking.move_ids:
            move.quantity = move.product_uom_qty
        since = self._get_last_entry_id()
        with self.assertRefused("3 Units on hand, 4 wanted") as caught:
            self._validate(picking)
        self.assertNotIn("Plenty", str(caught))
        self.assertFalse(self._get_new_entries(since).filtered("quantity"))
        self.assertOnHand(9, other)

    def test_several_transfers_at_once(self):
        pickings = self.env["stock.picking"]
        for _i in range(2):
            pickings |= self._create_picking("out", {self.product: 2})
        pickings.action_confirm()
        pickings.move_ids.quantity = 2
        with self.assertRefused("3 Units on hand, 4 wanted"):
            self._validate(pickings)

    def test_units_of_measure(self):
        dozen = self.env.ref("uom.product_uom_dozen")
        self._receive(self.product, 9)
        with self.assertRefused("12 Units on hand, 24 wanted"):
            self._deliver(2, uom=dozen)
        self._deliver(1, uom=dozen)
        self.assertOnHand(0)

    def test_fractions_add_up(self):
        product = self._create_product("Fractions", uom_id=self.env.ref("uom.product_uom_kgm").id)
        self._receive(product, 0.3)
        for _i in range(3):
            self._deliver(0.1, product)
        with self.assertRefused("0.1 wanted"):
            self._deliver(0.1, product)

    def test_done_lines_that_are_changed(self):
        picking = self._deliver(2)
        with self.assertRefused("1 Units on hand, 2 wanted"):
            picking.move_line_ids.quantity = 4
        picking.move_line_ids.quantity = 3
        self.assertOnHand(0)
        picking.move_line_ids.quantity = 1
        self.assertOnHand(2)
        with self.assertRefused("2 Units on hand, 3 wanted"):
            picking.move_ids.move_line_ids = [
                Command.create(
                    {
                        "product_id": self.product.id,
                        "picking_id": picking.id,
                        "location_id": self.stock.id,
                        "location_dest_id": self.customers.id,
                        "quantity": 3,
                    }
                )
            ]

    def test_receipt_that_is_taken_back(self):
        receipt = self._receive(self.product, 2)
        self._deliver(4)
        with self.assertRefused("1 Units on hand, 2 wanted"):
            receipt.move_line_ids.quantity = 0
        receipt.move_line_ids.quantity = 1
        self.assertOnHand(0)

    # --- lots, packages, owners ---

    def test_lots(self):
        lots = [self._create_lot(self.lot_product, name) for name in ("A-1", "B-2")]
        self._receive(self.lot_product, 2, lots=lots)
        with self.assertRefused("By lot", "A-1", "2 Units on hand, 3 wanted") as caught:
            self._deliver(3, self.lot_product, line_vals=[{"lot_id": lots[0].id}])
        self.assertNotIn("B-2", str(caught))
        self._deliver(2, self.lot_product, line_vals=[{"lot_id": lots[0].id}])
        self.assertOnHand(0, self.lot_product, lot=lots[0])
        self.assertOnHand(2, self.lot_product, lot=lots[1])

    def test_lot_of_what_had_no_number(self):
        """Core takes it from the lot, and then gives the lot what has none."""
        lot = self._create_lot(self.lot_product, "C-3")
        self.env["stock.quant"]._update_available_quantity(self.lot_product, self.stock, 3)
        with self.assertRefused("By lot", "3 Units on hand, 4 wanted"):
            self._deliver(4, self.lot_product, line_vals=[{"lot_id": lot.id}])
        self._deliver(2, self.lot_product, line_vals=[{"lot_id": lot.id}])
        self.assertOnHand(0, self.lot_product, lot=lot)
        self.assertOnHand(1, self.lot_product)
        # With a row of its own, too.
        self._receive(self.lot_product, 1, lots=lot)
        with self.assertRefused("By lot (lot C-3)", "2 wanted"):
            self._deliver(3, self.lot_product, line_vals=[{"lot_id": lot.id}])
        self._deliver(2, self.lot_product, line_vals=[{"lot_id": lot.id}])
        self.assertOnHand(0, self.lot_product, lot=lot)
        self.assertOnHand(0, self.lot_product)

    def test_packages_and_owners(self):
        package = self.env["stock.package"].create({"name": "Refused Package"})
        owner = self.env["res.partner"].create({"name": "Refused Owner"})
        for key in ({"package_id": package}, {"owner_id": owner}):
            self.env["stock.quant"]._update_available_quantity(self.product, self.stock, 1, **key)
            values = {name: record.id for name, record in key.items()}
            with self.assertRefused("1 Units on hand, 2 wanted"):
                self._deliver(2, line_vals=[values])
            self._deliver(1, line_vals=[values])
        self.assertOnHand(3)

    # --- where ---

    def test_internal_transfers(self):
        for destination in (self.shelf, self.other_warehouse.lot_stock_id):
            picking = self._create_picking("int", {self.product: 4}, destination=destination)
            picking.action_confirm()
            picking.move_ids.quantity = 4
            with self.assertRefused("3 Units on hand, 4 wanted"):
                self._validate(picking)
        picking = self._create_picking("int", {self.product: 2})
        picking.action_confirm()
        picking.move_ids.quantity = 2
        self._validate(picking)
        with self.assertRefused(self.shelf.display_name, "2 Units on hand, 3 wanted"):
            self._deliver(3, location=self.shelf)

    def test_other_warehouses(self):
        location = self.other_warehouse.lot_stock_id
        self._deliver(2, location=location)
        self.assertOnHand(-2, location=location)

    def test_virtual_and_transit_locations(self):
        transit = self.env.company.internal_transit_location_id
        self.assertEqual(transit.usage, "transit")
        for location in (self.suppliers, transit):
            before = sum(self._get_on_hand(location=location).mapped("quantity"))
            picking = self._create_picking("in", {self.product: 2}, source=location)
            picking.action_confirm()
            picking.move_ids.quantity = 2
            self._validate(picking)
            self.assertOnHand(before - 2, location=location)

    # --- other operations ---

    def test_scrap(self):
        scrap = self.env["stock.scrap"].create(
            {"product_id": self.product.id, "scrap_qty": 4, "location_id": self.stock.id}
        )
        action = scrap.action_validate()
        self.assertEqual(action["res_model"], "stock.warn.insufficient.qty.scrap")
        wizard = self.env[action["res_model"]].with_context(**action["context"]).create({})
        with self.assertRefused("3 Units on hand, 4 wanted"):
            wizard.action_done()
        self.assertEqual(scrap.state, "draft")
        scrap.scrap_qty = 3
        scrap.action_validate()
        self.assertOnHand(0)

    def test_counts(self):
        with self.assertRefused("3 Units on hand, 4 wanted"):
            self._count(self.product, self.stock, -1)
        self._count(self.product, self.stock, 0)
        self.assertOnHand(0)

    def test_stock_that_is_negative_already(self):
        self.warehouse.negative_stock = "allow"
        self._deliver(5)
        self.warehouse.negative_stock = "refuse"
        with self.assertRefused("-2 Units on hand, 1 wanted"):
            self._deliver(1)
        # What makes it better is no reason to refuse.
        self._receive(self.product, 1)
        self.assertOnHand(-1)
        self._count(self.product, self.stock, 0)
        self.assertOnHand(0)

    def test_relocation(self):
        [quant] = self._get_on_hand()
        wizard = self.env["stock.quant.relocate"].create(
            {"quant_ids": quant.ids, "dest_location_id": self.shelf.id}
        )
        wizard.action_relocate_quants()
        self.assertOnHand(0)
        self.assertOnHand(3, location=self.shelf)

    def test_by_a_user(self):
        """Whoever may not read warehouses is refused all the same."""
        picking = self._create_picking("out", {self.product: 4})
        picking.action_confirm()
        picking.move_ids.quantity = 4
        picking = picking.with_user(self.user)
        with self.assertRefused("3 Units on hand, 4 wanted"):
            self._validate(picking)

    def test_code_of_other_modules(self):
        quants = self.env["stock.quant"]
        with self.assertRefused("3 Units on hand, 4 wanted"):
            quants._update_available_quantity(self.product, self.stock, -4)
        quants._update_available_quantity(self.product, self.stock, -3)
        self.assertOnHand(0)


@tagged("post_install", "-at_install")
class TestNegativeStockContention(ReservationCase):
    """Two sessions want the last unit."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with cls._session() as env:
            warehouse = env["stock.warehouse"].create({"name": "Strict", "code": "STR"})
            warehouse.negative_stock = "refuse"
            cls.stock_id = warehouse.lot_stock_id.id
            cls.out_type_id = warehouse.out_type_id.id

    def setUp(self):
        super().setUp()
        # Odoo lets up to two seconds pass before a replay.
        self.patch(retrying.__globals__["random"], "uniform", lambda _least, _most: 0.01)

    def _create_entered(self, stock, count, quantity=1):
        """Create deliveries whose quantities somebody has entered, without a reservation."""
        with self._session() as env:
            product = self._create_product(env, stock)
            pickings = env["stock.picking"]
            for _i in range(count):
                pickings |= self._create_delivery(env, product, quantity)
            pickings.move_ids.quantity = quantity
            pickings.move_ids.picked = True
            return product.id, pickings.ids

    def _validate_as_odoo_does(self, picking_id, writes):
        """Validate in a request of its own, which Odoo replays when it has to.

        :param bool writes: whether the request has written something before
        :return: the message that the user gets, or None
        """
        with self.registry.cursor() as cr, restartable():
            env = api.Environment(cr, self.user_id, {"tracking_disable": True})

            def validate():
                if writes:
                    env["stock.picking"].browse(picking_id).origin = "written"
                    env.flush_all()
                # Not the helper: it writes first.
                env["stock.picking"].browse(picking_id).with_context(
                    skip_backorder=True
                ).button_validate()

            try:
                retrying(validate, env)
            except UserError as error:
                cr.rollback()
                return str(error)

    def _count_replays(self, product_id):
        with self._session() as env:
            return env["stock.contention"].search_count(
                [("product_id", "=", product_id), ("kind", "=", "replay")]
            )

    def test_last_unit(self):
        for writes in (True, False):
            with self.subTest(writes=writes):
                product_id, (first, second) = self._create_entered(1, 2)
                message, waited = self._operate_beside(
                    lambda env, first=first: self._validate(env["stock.picking"].browse(first)),
                    lambda second=second, writes=writes: self._validate_as_odoo_does(
                        second, writes
                    ),
                )
                self.assertTrue(waited)
                self.assertIn("0 Units on hand, 1 wanted", message)
                self.assertEqual(self._get_states([first]), ["done"])
                self.assertNotEqual(self._get_states([second]), ["done"])
                self.assertEqual(self._get_figures(product_id)[0], 0)
                # One that has written is replayed; another begins again by itself.
                self.assertEqual(self._count_replays(product_id), int(writes))

    def test_last_unit_that_is_not_taken(self):
        for writes in (True, False):
            with self.subTest(writes=writes):
                product_id, (first, second) = self._create_entered(1, 2)

                with ThreadPoolExecutor(1) as executor:
                    with self._session() as env:
                        self._validate(env["stock.picking"].browse(first))
                        env.flush_all()
                        operation = executor.submit(self._validate_as_odoo_does, second, writes)
                        self.assertTrue(self._await_waiting(operation))
                        env.cr.rollback()
                    self.assertIsNone(operation.result(30))
                self.assertEqual(self._get_states([second]), ["done"])
                self.assertEqual(self._get_figures(product_id)[0], 0)

    def test_many_want_the_last_units(self):
        for writes in (True, False):
            with self.subTest(writes=writes):
                product_id, picking_ids = self._create_entered(3, 5)
                barrier = threading.Barrier(len(picking_ids), timeout=30)

                def validate(picking_id, writes=writes, barrier=barrier):
                    barrier.wait()
                    return self._validate_as_odoo_does(picking_id, writes)

                with ThreadPoolExecutor(len(picking_ids)) as executor:
                    messages = list(executor.map(validate, picking_ids))
                self.assertEqual(messages.count(None), 3, messages)
                for message in filter(None, messages):
                    self.assertIn("0 Units on hand, 1 wanted", message)
                self.assertEqual(self._get_states(picking_ids).count("done"), 3)
                self.assertEqual(self._get_figures(product_id)[0], 0)

    def test_waiting_in_vain(self):
        with self._session() as env:
            env["ir.config_parameter"].set_param("stock_event_ledger.lock_timeout_seconds", "0.2")

        def reset():
            with self._session() as env:
                env["ir.config_parameter"].set_param(
                    "stock_event_ledger.lock_timeout_seconds", False
                )

        self.addCleanup(reset)
        for writes in (True, False):
            with self.subTest(writes=writes):
                product_id, (first, second) = self._create_entered(2, 2)
                with self._session() as env:
                    env = env(user=self.user_id)
                    self._validate(env["stock.picking"].browse(first))
                    env.flush_all()
                    # Nobody ends this one meanwhile: the other one gives up.
                    message = self._validate_as_odoo_does(second, writes)
                    self.assertIn("Contested at STR/Stock is busy: held by", message)
                    self.assertIn("reservation_user", message)
                self.assertEqual(self._get_states([first]), ["done"])
                self.assertNotEqual(self._get_states([second]), ["done"])
                self.assertIsNone(self._validate_as_odoo_does(second, writes))
                self.assertEqual(self._get_figures(product_id)[0], 0)

    def test_nothing_is_half_done(self):
        product_id, [picking_id] = self._create_entered(1, 1, quantity=2)
        before = self._get_stock([product_id])
        message = self._validate_as_odoo_does(picking_id, writes=True)
        self.assertIn("1 Units on hand, 2 wanted", message)
        self.assertEqual(self._get_stock([product_id]), before)
        with self._session() as env:
            picking = env["stock.picking"].browse(picking_id)
            self.assertFalse(picking.origin)
            self.assertNotEqual(picking.state, "done")
            entries = env["stock.ledger.entry"].search([("picking_id", "=", picking_id)])
            self.assertEqual(set(entries.mapped("event_type")), {"RESERVE"})

    def test_scrapping_and_delivering_the_last_unit(self):
        product_id, [picking_id] = self._create_entered(1, 1)
        with self._session() as env:
            scrap_id = (
                env["stock.scrap"]
                .create({"product_id": product_id, "scrap_qty": 1, "location_id": self.stock_id})
                .id
            )

        def scrap():
            with self._session() as env:
                self._write_something(env)
                retrying(lambda: env["stock.scrap"].browse(scrap_id).action_validate(), env)
                return env["stock.scrap"].browse(scrap_id).state

        state, waited = self._operate_beside(
            lambda env: self._validate(env["stock.picking"].browse(picking_id)), scrap
        )
        # The replay finds nothing to scrap, and asks the user as Odoo does.
        self.assertEqual((state, waited), ("draft", True))
        self.assertEqual(self._get_figures(product_id)[0], 0)

    def test_receipts_wait_for_nobody(self):
        product_id, [picking_id] = self._create_entered(1, 1)
        with self._session() as env:
            product = env["product.product"].browse(product_id)
            receipt = self._create_delivery(env, product, 2, kind="in")
            receipt.move_ids.picked = True
            receipt_id = receipt.id
        with self._session() as env:
            self._validate(env["stock.picking"].browse(picking_id))
            env.flush_all()
            with patch.object(type(env["stock.quant"]), "_get_lock_timeout_seconds", lambda _q: 1):
                self.assertIsNone(self._validate_as_odoo_does(receipt_id, writes=True))
        self.assertEqual(self._get_figures(product_id)[0], 2)
