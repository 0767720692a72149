from unittest.mock import patch

from odoo.exceptions import UserError
from odoo.tools import mute_logger

from ..exceptions import InvalidInput
from ..integration import OPERATIONS
from .integration_common import IntegrationCase


class TestIntegrationWrite(IntegrationCase):
    """What the writes do with stock."""

    def tearDown(self):
        self.assertLedgerBalanced()
        super().tearDown()

    def _call(self, operation, *lines, **options):
        result = super()._call(operation, *lines, **options)
        OPERATIONS[operation].output.model_validate(result)
        codes = {line["error"]["code"] for line in result["lines"] if "error" in line}
        self.assertLessEqual(codes, set(OPERATIONS[operation].line_errors))
        return result

    def _get_transfer(self, result):
        [transfer] = result["transfers"]
        picking = self.env["stock.picking"].browse(transfer["id"])
        self.assertEqual((transfer["name"], transfer["state"]), (picking.name, picking.state))
        return picking

    def _stock(self, product, quantity, location=None, lot=None):
        self.env["stock.quant"]._update_available_quantity(
            product, location or self.stock, quantity, lot_id=lot
        )

    # --- receive

    def test_receive(self):
        since = self._get_last_entry_id()
        result = self._call(
            "receive",
            {"sku": "PLAIN", "quantity": 3},
            {"product_id": self.product.id, "quantity": 2},
            {"sku": "LOT", "quantity": 4, "lot": "L1"},
            {"sku": "SERIAL", "quantity": 1, "lot": "S1"},
            origin="PO 1",
        )
        self.assertDone(result)
        picking = self._get_transfer(result)
        self.assertEqual((picking.state, picking.origin), ("done", "PO 1"))
        self.assertEqual(picking.picking_type_id, self.warehouse.in_type_id)
        self.assertEqual(
            [line["move_ids"] for line in result["lines"]],
            [[move.id] for move in picking.move_ids.sorted("id")],
        )
        self.assertEqual(self._get_on_hand(self.product), 5)
        lots = picking.move_line_ids.lot_id
        self.assertEqual(set(lots.mapped("name")), {"L1", "S1"})
        entries = self._get_new_entries(since)
        self.assertEqual(set(entries.mapped("event_type")), {"RECEIPT"})
        self.assertEqual(set(entries.mapped("origin")), {"PO 1"})
        self.assertEqual(entries.user_id, self.partner_user)

    def test_receive_into_a_location(self):
        line = {"sku": "PLAIN", "quantity": 3}
        self.assertDone(self._call("receive", line, location=self.shelf.complete_name))
        self.assertDone(self._call("receive", line, location_id=self.shelf.id))
        self.assertEqual(self._get_on_hand(self.product, self.shelf), 6)
        wrong = (
            {"location": "Nowhere"},
            {"location_id": self.suppliers.id},
            {"location_id": self.warehouse.view_location_id.id},
            {"location_id": self.other_warehouse.lot_stock_id.id},
        )
        for options in wrong:
            with (
                self.subTest(options=options),
                self.enter_registry_test_mode(),
                self.assertRaises(InvalidInput) as caught,
            ):
                self._call("receive", line, **options)
            self.assertEqual({p["member"] for p in caught.exception.problems}, set(options))

    def test_receive_more_of_a_lot_and_no_serial_twice(self):
        self._call("receive", {"sku": "LOT", "quantity": 4, "lot": "L1"})
        self.assertDone(self._call("receive", {"sku": "LOT", "quantity": 4, "lot": "L1"}))
        lots = self.env["stock.lot"].search([("product_id", "=", self.lot_product.id)])
        self.assertEqual(len(lots), 1)
        self._call("receive", {"sku": "SERIAL", "quantity": 1, "lot": "S1"})
        again = {"sku": "SERIAL", "quantity": 1, "lot": "S1"}
        self.assertCodes(self._call("receive", again), ["serial_in_stock"])
        self.assertCodes(
            self._call("receive", {**again, "lot": "S2"}, {**again, "lot": "S2"}),
            [None, "serial_in_stock"],
        )

    def test_lines_that_are_refused_do_not_stop_others(self):
        self._create_product("Twin", default_code="TWIN")
        self._create_product("Twin", default_code="TWIN")
        self._create_product("Old", default_code="OLD", active=False)
        self.env["product.product"].create(
            {"name": "Service", "type": "service", "default_code": "SERVICE"}
        )
        self._create_product("Grams", default_code="FINE")
        result = self._call(
            "receive",
            {"sku": "NOPE", "quantity": 1},
            {"sku": "TWIN", "quantity": 1},
            {"sku": "OLD", "quantity": 1},
            {"sku": "SERVICE", "quantity": 1},
            {"sku": "PLAIN", "quantity": 0.001},
            {"sku": "LOT", "quantity": 1},
            {"sku": "PLAIN", "quantity": 1, "lot": "L"},
            {"sku": "SERIAL", "quantity": 2, "lot": "S"},
            {"sku": "PLAIN", "quantity": 1},
        )
        self.assertEqual(result["status"], "partial")
        self.assertCodes(
            result,
            [
                "unknown_product",
                "ambiguous_product",
                "unknown_product",
                "not_storable",
                "below_rounding",
                "lot_required",
                "lot_not_allowed",
                "lot_not_allowed",
                None,
            ],
        )
        self.assertEqual(len(self._get_transfer(result).move_ids), 1)

    def test_nothing_is_left_of_what_is_refused(self):
        pickings = self.env["stock.picking"].search_count([])
        moves = self.env["stock.move"].search_count([])
        result = self._call("receive", {"sku": "NOPE", "quantity": 1})
        self.assertEqual((result["status"], result["transfers"]), ("refused", []))
        result = self._call("issue", {"sku": "PLAIN", "quantity": 1})
        self.assertEqual((result["status"], result["transfers"]), ("refused", []))
        self.assertEqual(self.env["stock.picking"].search_count([]), pickings)
        self.assertEqual(self.env["stock.move"].search_count([]), moves)

    def test_where_odoo_refuses_the_transfer_lines_are_tried_alone(self):
        move_class = type(self.env["stock.move"])
        action_done = move_class._action_done
        refusal = "Not this one."

        def refuse(moves, *args, **kwargs):
            if self.lot_product in moves.product_id:
                raise UserError(refusal)
            return action_done(moves, *args, **kwargs)

        lines = [
            {"sku": "PLAIN", "quantity": 1},
            {"sku": "LOT", "quantity": 1, "lot": "L"},
            {"sku": "PLAIN", "quantity": 2},
        ]
        with patch.object(move_class, "_action_done", refuse):
            result = self._call("receive", *lines)
        self.assertCodes(result, [None, "refused", None])
        self.assertEqual(result["lines"][1]["error"]["message"], refusal)
        self.assertEqual(len(result["transfers"]), 2)
        self.assertEqual(self._get_on_hand(self.product), 3)

    @mute_logger("odoo.sql_db")
    def test_a_fault_in_the_middle_leaves_nothing(self):
        move_class = type(self.env["stock.move"])

        def fail(moves, *args, **kwargs):
            raise ZeroDivisionError

        with (
            self.enter_registry_test_mode(),
            patch.object(move_class, "_action_done", fail),
            self.assertRaises(ZeroDivisionError),
        ):
            self._call("receive", {"sku": "PLAIN", "quantity": 1}, idempotency_key="k")
        self.assertFalse(self._get_calls(idempotency_key="k", state="done"))
        self.assertDone(self._call("receive", {"sku": "PLAIN", "quantity": 1}, idempotency_key="k"))

    # --- issue

    def test_issue(self):
        self._stock(self.product, 5)
        result = self._call("issue", {"sku": "PLAIN", "quantity": 5})
        self.assertDone(result)
        picking = self._get_transfer(result)
        self.assertEqual(picking.picking_type_id, self.warehouse.out_type_id)
        self.assertEqual(picking.location_dest_id.usage, "customer")
        self.assertEqual(self._get_on_hand(self.product), 0)

    def test_issue_what_is_available_only(self):
        self._stock(self.product, 5)
        self._create_picking("out", {self.product: 2}).action_confirm()
        result = self._call(
            "issue",
            {"sku": "PLAIN", "quantity": 2},
            {"sku": "PLAIN", "quantity": 2},
            {"sku": "PLAIN", "quantity": 1},
        )
        self.assertCodes(result, [None, "not_available", None])
        self.assertEqual(len(self._get_transfer(result).move_ids), 2)
        self.assertEqual(self._get_on_hand(self.product), 2)

    def test_issue_from_a_location(self):
        self._stock(self.product, 5, self.shelf)
        self._stock(self.product, 5)
        line = {"sku": "PLAIN", "quantity": 6}
        self.assertCodes(self._call("issue", line, location_id=self.shelf.id), ["not_available"])
        self.assertDone(self._call("issue", line))
        self.assertEqual(self._get_on_hand(self.product), 4)

    def test_issue_lots(self):
        first, second = (self._create_lot(self.lot_product, name) for name in ("L1", "L2"))
        self._stock(self.lot_product, 5, lot=first)
        self._stock(self.lot_product, 5, lot=second)
        for method in ("at_confirm", "manual"):
            self.warehouse.out_type_id.reservation_method = method
            result = self._call(
                "issue",
                {"sku": "LOT", "quantity": 2, "lot": "L2"},
                {"sku": "LOT", "quantity": 6, "lot": "L1"},
                {"sku": "LOT", "quantity": 1, "lot": "L3"},
            )
            self.assertCodes(result, [None, "not_available", "unknown_lot"])
            self.assertEqual(self._get_transfer(result).move_line_ids.lot_id, second)
        # Odoo chooses.
        self.assertDone(self._call("issue", {"sku": "LOT", "quantity": 6}))
        self.assertEqual(self._get_on_hand(self.lot_product), 0)

    def test_issue_where_reservations_are_queued(self):
        self._stock(self.product, 5)
        self.warehouse.out_type_id.reservation_policy = "always"
        self.assertDone(self._call("issue", {"sku": "PLAIN", "quantity": 5}))

    def test_issue_from_a_warehouse_of_several_steps(self):
        self.warehouse.write({"delivery_steps": "pick_pack_ship", "reception_steps": "three_steps"})
        self.assertDone(self._call("receive", {"sku": "PLAIN", "quantity": 5}))
        self.assertEqual(self._get_on_hand(self.product), 5)
        self.assertDone(self._call("issue", {"sku": "PLAIN", "quantity": 5}))
        self.assertEqual(self._get_on_hand(self.product), 0)

    # --- transfer and return

    def test_transfer_between_warehouses(self):
        self._stock(self.product, 5)
        since = self._get_last_entry_id()
        result = self._call(
            "transfer",
            {"sku": "PLAIN", "quantity": 3},
            {"sku": "PLAIN", "quantity": 3},
            from_warehouse=self.code,
            to_warehouse_id=self.other_warehouse.id,
        )
        self.assertCodes(result, [None, "not_available"])
        self.assertEqual(self._get_on_hand(self.product, self.other_warehouse.lot_stock_id), 3)
        entries = self._get_new_entries(since).filtered("quantity")
        self.assertEqual(set(entries.mapped("event_type")), {"TRANSFER_OUT", "TRANSFER_IN"})

    def test_transfer_to_a_location(self):
        self._stock(self.product, 5)
        line, ends = (
            {"sku": "PLAIN", "quantity": 3},
            {
                "from_warehouse": self.code,
                "to_warehouse": self.code,
            },
        )
        self.assertDone(self._call("transfer", line, **ends, to_location_id=self.shelf.id))
        self.assertEqual(self._get_on_hand(self.product, self.shelf), 3)
        with self.enter_registry_test_mode(), self.assertRaises(InvalidInput):
            self._call("transfer", line, **ends)

    def test_return_goods(self):
        since = self._get_last_entry_id()
        result = self._call(
            "return_goods",
            {"sku": "PLAIN", "quantity": 3},
            {"sku": "LOT", "quantity": 2, "lot": "L1"},
            {"sku": "LOT", "quantity": 2},
        )
        self.assertCodes(result, [None, None, "lot_required"])
        self.assertEqual(self._get_on_hand(self.product), 3)
        entries = self._get_new_entries(since)
        self.assertEqual(set(entries.mapped("event_type")), {"CUSTOMER_RETURN"})

    def test_return_goods_to_a_supplier(self):
        self._stock(self.product, 3)
        since = self._get_last_entry_id()
        line = {"sku": "PLAIN", "quantity": 2}
        result = self._call("return_goods", line, line, to_supplier=True)
        self.assertCodes(result, [None, "not_available"])
        entries = self._get_new_entries(since).filtered("quantity")
        self.assertEqual(set(entries.mapped("event_type")), {"SUPPLIER_RETURN"})

    # --- adjust

    def test_adjust(self):
        since = self._get_last_entry_id()
        result = self._call(
            "adjust",
            {"sku": "PLAIN", "quantity": 5},
            {"sku": "PLAIN", "change": -2, "expected_quantity": 5},
            {"sku": "PLAIN", "change": 4, "expected_quantity": 5},
            {"sku": "PLAIN", "quantity": 3},
            {"sku": "PLAIN", "change": -4},
            reason="Recount",
            origin="WMS 9",
        )
        self.assertCodes(result, [None, None, "quantity_differs", None, "not_available"])
        on_hand = [line.get("on_hand") for line in result["lines"]]
        self.assertEqual(on_hand, [5, 3, None, 3, None])
        self.assertEqual((result["transfers"], result["lines"][3]["move_ids"]), ([], []))
        entries = self._get_new_entries(since)
        self.assertEqual(set(entries.mapped("event_type")), {"ADJUSTMENT"})
        self.assertEqual(set(entries.mapped("reference")), {"Recount"})
        self.assertEqual(set(entries.mapped("origin")), {"WMS 9"})

    def test_adjust_lots(self):
        result = self._call(
            "adjust",
            {"sku": "LOT", "quantity": 5},
            {"sku": "LOT", "quantity": 5, "lot": "L1"},
            {"sku": "LOT", "quantity": 0, "lot": "L2"},
            {"sku": "SERIAL", "quantity": 2, "lot": "S1"},
            {"sku": "SERIAL", "quantity": 1, "lot": "S1"},
            {"sku": "SERIAL", "change": -1, "lot": "S1"},
        )
        self.assertCodes(
            result, ["lot_required", None, "unknown_lot", "lot_not_allowed", None, None]
        )
        self.assertEqual(self._get_on_hand(self.lot_product), 5)
        serial = {"sku": "SERIAL", "quantity": 1, "lot": "S1"}
        self.assertDone(self._call("adjust", serial))
        result = self._call("adjust", serial, location_id=self.shelf.id)
        self.assertCodes(result, ["serial_in_stock"])

    def test_adjust_leaves_packages_and_owners_alone(self):
        package = self.env["stock.package"].create({"name": "Box"})
        self.env["stock.quant"]._update_available_quantity(
            self.product, self.stock, 7, package_id=package
        )
        self.assertDone(
            self._call("adjust", {"sku": "PLAIN", "quantity": 2, "expected_quantity": 0})
        )
        self.assertEqual(self._get_on_hand(self.product), 9)

    def test_adjust_below_what_is_reserved(self):
        self._stock(self.product, 5)
        picking = self._create_picking("out", {self.product: 5})
        picking.action_confirm()
        self.assertDone(self._call("adjust", {"sku": "PLAIN", "quantity": 3}))
        self.assertEqual(sum(picking.move_ids.mapped("quantity")), 3)

    def test_quantities_are_in_the_products_unit(self):
        dozens = self._create_product(
            "By the dozen", default_code="DOZEN", uom_id=self.env.ref("uom.product_uom_dozen").id
        )
        self.assertDone(self._call("receive", {"sku": "DOZEN", "quantity": 2}))
        self.assertEqual(self._get_on_hand(dozens), 2)

    def test_a_hundred_lines(self):
        lines = [{"sku": "PLAIN", "quantity": n + 1} for n in range(100)]
        result = self._call("receive", *lines)
        self.assertDone(result)
        self.assertEqual(len(self._get_transfer(result).move_ids), 100)
        self.assertEqual(self._get_on_hand(self.product), 5050)

    def test_moves_of_others_are_served(self):
        picking = self._create_picking("out", {self.product: 5})
        picking.action_confirm()
        self.assertDone(self._call("receive", {"sku": "PLAIN", "quantity": 5}))
        self.assertEqual(picking.state, "assigned")
