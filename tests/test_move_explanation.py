from datetime import timedelta

from freezegun import freeze_time

from odoo import Command, fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, new_test_user

from .common import LedgerCase


class ExplanationCase(LedgerCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.partner = cls.env["res.partner"].create({"name": "Holding Customer"})

    @classmethod
    def _create_delivery(cls, quantity, product=None, **vals):
        picking = cls._create_picking("out", {product or cls.product: quantity}, **vals)
        picking.action_confirm()
        return picking

    def _explain(self, picking, user=None):
        move = picking.move_ids.with_user(user or self.user)
        move.env.invalidate_all()
        return move.explain_reservation()

    def _open_dialog(self, picking, user=None):
        action = picking.move_ids.with_user(user or self.user).action_explain_reservation()
        self.assertEqual(action["target"], "new")
        return self.env[action["res_model"]].with_user(user or self.user).browse(action["res_id"])

    def assertSays(self, data, *texts):
        words = "\n".join(data["sentences"])
        for text in texts:
            self.assertIn(text, words)


class TestMoveExplanation(ExplanationCase):
    """Why a move is not reserved, in data and in sentences, as an inventory user."""

    def test_held_by_another_transfer(self):
        self._receive(self.product, 10)
        holder = self._create_delivery(7)
        holder.partner_id = self.partner
        holder.move_ids.priority = "1"
        picking = self._create_delivery(5)
        data = self._explain(picking)
        self.assertEqual((data["wanted"], data["reserved"], data["missing"]), (5, 3, 2))
        self.assertEqual((data["on_hand"], data["free"], data["held"]), (10, 0, 7))
        self.assertEqual(data["reasons"], ["held"])
        [row] = data["holders"]
        self.assertEqual(row["picking_id"], holder.id)
        self.assertEqual((row["name"], row["partner"]), (holder.name, "Holding Customer"))
        self.assertEqual((row["quantity"], row["priority"]), (7, "1"))
        entry = self._get_entries(
            [("move_id", "=", holder.move_ids.id), ("event_type", "=", "RESERVE")]
        )
        self.assertEqual(row["since"], entry.recorded_date.replace(microsecond=0))
        self.assertEqual(row["user_id"], self.env.uid)
        self.assertSays(
            data,
            "5 Units wanted, 3 Units reserved, 2 Units missing",
            "10 Units, of which 10 Units are reserved: 0 Units are free",
            "Other transfers or orders (1) hold 7 Units",
            "Nothing is on its way to LWH/Stock",
        )

    def test_since_is_when_the_reservation_began_again(self):
        self._receive(self.product, 10)
        holder = self._create_delivery(7)
        holder.do_unreserve()
        self.env["stock.ledger.entry"]._flush_buffer()
        since = self._get_last_entry_id()
        holder.with_user(self.user).action_assign()
        [row] = self._explain(self._create_delivery(5))["holders"]
        [entry] = self._get_new_entries(since).filtered(
            lambda entry: entry.move_id == holder.move_ids
        )
        self.assertEqual(row["since"], entry.recorded_date.replace(microsecond=0))
        self.assertEqual(row["user_id"], self.user.id)

    def test_stock_is_told_by_location(self):
        self._receive(self.product, 2)
        self._receive(self.product, 3, destination=self.shelf)
        picking = self._create_delivery(9)
        data = self._explain(picking)
        self.assertEqual(
            [(row["location_id"], row["on_hand"], row["reserved"]) for row in data["stock"]],
            [(self.stock.id, 2, 2), (self.shelf.id, 3, 3)],
        )
        self.assertEqual(data["reasons"], ["short"])
        self.assertSays(data, "LWH/Stock/Shelf: 3 Units, 3 Units reserved")

    def test_nothing_anywhere_and_elsewhere(self):
        picking = self._create_delivery(4)
        data = self._explain(picking)
        self.assertEqual(data["reasons"], ["short"])
        self.assertSays(
            data, "There is nothing at LWH/Stock", "Nothing is free at other places either"
        )
        self._count(self.product, self.other_warehouse.lot_stock_id, 6)
        data = self._explain(picking)
        self.assertEqual(
            [(row["warehouse_id"], row["free"]) for row in data["elsewhere"]],
            [(self.other_warehouse.id, 6)],
        )
        self.assertSays(data, "Free at other places: 6 Units (Other Ledger Warehouse)")

    def test_incoming_and_who_comes_first(self):
        first = self._create_delivery(4)
        picking = self._create_delivery(3)
        picking.move_ids.date = first.move_ids.date + timedelta(1)
        receipts = [self._create_picking("in", {self.product: 5}) for _number in range(2)]
        for days, receipt in enumerate(receipts, 2):
            receipt.action_confirm()
            receipt.move_ids.date = fields.Datetime.now() + timedelta(days)
        data = self._explain(picking)
        self.assertEqual(
            [(row["picking_id"], row["quantity"], row["total"]) for row in data["incoming"]],
            [(receipts[0].id, 5, 5), (receipts[1].id, 5, 10)],
        )
        self.assertEqual(data["ahead"], 4)
        self.assertEqual(data["enough_date"], receipts[1].move_ids.date)
        self.assertSays(data, "10 Units are to come", "Moves that come first still want 4 Units")
        # An urgent one is reserved before those that are due earlier.
        picking.move_ids.priority = "1"
        data = self._explain(picking)
        self.assertEqual(data["ahead"], 0)
        self.assertEqual(data["enough_date"], receipts[0].move_ids.date)
        receipts[0].move_ids.date = fields.Datetime.now() - timedelta(2)
        self.assertSays(self._explain(picking), "as soon as it is here")
        receipts[0].move_ids.date = fields.Datetime.to_datetime("2026-06-01 09:00:00")
        with freeze_time("2026-06-01 12:00:00"):
            self.assertSays(self._explain(picking), "enough for this one on 06/01/2026")
        receipts[0].action_cancel()
        receipts[1].action_cancel()
        self.assertSays(self._explain(picking), "Nothing is on its way")

    def test_incoming_in_two_steps_counts_once(self):
        self.warehouse.reception_steps = "two_steps"
        receipt = self._create_picking(
            "in", {self.product: 5}, destination=self.warehouse.wh_input_stock_loc_id
        )
        receipt.move_ids.location_final_id = self.stock
        receipt.action_confirm()
        data = self._explain(self._create_delivery(3))
        self.assertEqual(sum(row["quantity"] for row in data["incoming"]), 5)

    def test_queued_and_failed(self):
        picking = self._create_delivery(4)
        picking.move_ids._queue_reservation()
        data = self._explain(picking)
        self.assertIn("queued", data["reasons"])
        self.assertSays(data, "It has been queued since", self.env.user.name)
        picking.move_ids._give_up_reservation("the shelf is on fire")
        data = self._explain(picking)
        self.assertNotIn("queued", data["reasons"])
        self.assertIn("failed", data["reasons"])
        self.assertSays(data, "The last try to reserve it failed: the shelf is on fire")

    def test_manual_reservation_and_free_stock(self):
        self.warehouse.out_type_id.reservation_method = "manual"
        self._receive(self.product, 10)
        picking = self._create_delivery(4)
        data = self._explain(picking)
        self.assertEqual(data["reasons"], ["manual", "free"])
        self.assertSays(data, "reserves by hand only", "Enough is free: check the availability")
        dialog = self._open_dialog(picking)
        self.assertTrue(dialog.can_check)
        action = dialog.action_check_availability()
        self.assertEqual(action["params"]["next"]["type"], "ir.actions.act_window_close")
        self.assertEqual(picking.state, "assigned")
        self.assertEqual(self._explain(picking)["reasons"], ["reserved"])

    def test_reserved_by_date(self):
        self.warehouse.out_type_id.write(
            {"reservation_method": "by_date", "reservation_days_before": 2}
        )
        picking = self._create_picking("out", {self.product: 4})
        picking.move_ids.date = fields.Datetime.now() + timedelta(20)
        picking.action_confirm()
        data = self._explain(picking)
        self.assertEqual(data["reasons"], ["by_date", "short"])
        self.assertSays(data, "not before")

    def test_waits_for_the_transfer_before(self):
        self.warehouse.delivery_steps = "pick_ship"
        self._receive(self.product, 10)
        ship = self._create_picking(
            "out", {self.product: 4}, source=self.warehouse.wh_output_stock_loc_id
        )
        pick = self._create_picking(
            "int", {self.product: 4}, destination=self.warehouse.wh_output_stock_loc_id
        )
        ship.move_ids.move_orig_ids = pick.move_ids
        (pick | ship).action_confirm()
        data = self._explain(ship)
        self.assertIn("waiting", data["reasons"])
        self.assertEqual([row["picking_id"] for row in data["waits_for"]], [pick.id])
        self.assertSays(data, f"It waits for what other transfers bring: {pick.name}")
        dialog = self._open_dialog(ship)
        self.assertEqual(dialog.awaited_ids.picking_id, pick)
        self.assertEqual(dialog.awaited_ids.action_open()["res_id"], pick.id)
        # To take what others hold would not help it.
        self._count(self.product, self.warehouse.wh_output_stock_loc_id, 1)
        other = self._create_picking(
            "out", {self.product: 1}, source=self.warehouse.wh_output_stock_loc_id
        )
        other.action_confirm()
        [line] = self._open_dialog(ship).holder_ids
        self.assertEqual(line.picking_id, other)
        self.assertFalse(line.can_unreserve)
        # What it brought was taken away again.
        pick.move_ids.quantity = 4
        self._validate(pick)
        ship.do_unreserve()
        self.assertSays(
            self._explain(ship), "the transfers before it have brought: 4 Units (LWH/Output)"
        )

    def test_made_to_order_without_an_order(self):
        picking = self._create_picking("out", {self.product: 4})
        picking.move_ids.procure_method = "make_to_order"
        picking.move_ids.state = "waiting"
        data = self._explain(picking)
        self.assertIn("waiting", data["reasons"])
        self.assertSays(data, "nothing has been ordered for it")

    def test_whole_packagings(self):
        pack = self.env.ref("uom.product_uom_pack_6")
        category = self.env["product.category"].create(
            {"name": "Whole", "packaging_reserve_method": "full"}
        )
        product = self._create_product("In packs", categ_id=category.id, uom_ids=pack.ids)
        self._receive(product, 4)
        picking = self._create_picking("out", {product: 6})
        picking.move_ids.packaging_uom_id = pack
        picking.action_confirm()
        data = self._explain(picking)
        self.assertIn("whole_packs", data["reasons"])
        self.assertSays(data, f"Only whole packagings are reserved: {pack.display_name}")

    def test_nothing_to_explain(self):
        self._receive(self.product, 10)
        receipt = self._create_picking("in", {self.product: 1})
        self.assertEqual(self._explain(receipt)["reasons"], ["draft"])
        receipt.action_confirm()
        self.assertEqual(self._explain(receipt)["reasons"], ["bypassed"])
        receipt.action_cancel()
        self.assertEqual(self._explain(receipt)["reasons"], ["cancelled"])
        picking = self._create_delivery(4)
        self.assertEqual(self._explain(picking)["reasons"], ["reserved"])
        self.assertFalse(self._open_dialog(picking).can_check)
        self._validate(picking)
        self.assertEqual(self._explain(picking)["reasons"], ["done"])

    def test_reserved_for_nobody(self):
        self._receive(self.product, 10)
        quant = self.env["stock.quant"].search(
            [("product_id", "=", self.product.id), ("location_id", "=", self.stock.id)]
        )
        quant.reserved_quantity = 8
        data = self._explain(self._create_delivery(4))
        self.assertEqual((data["reserved"], data["orphaned"]), (2, 8))
        self.assertIn("orphaned", data["reasons"])
        self.assertSays(data, "8 Units are reserved, but no transfer holds them")

    def test_move_without_a_transfer_is_named_by_its_reference(self):
        self._receive(self.product, 5)
        move = self.env["stock.move"].create(
            {
                "product_id": self.product.id,
                "product_uom_qty": 5,
                "product_uom": self.product.uom_id.id,
                "location_id": self.stock.id,
                "location_dest_id": self.customers.id,
                "origin": "Held at the counter",
            }
        )
        move._action_confirm()
        move._action_assign()
        [row] = self._explain(self._create_delivery(4))["holders"]
        self.assertEqual((row["move_id"], row["picking_id"]), (move.id, False))
        self.assertEqual(row["name"], "Held at the counter")

    def test_many_holders_take_few_queries(self):
        self._receive(self.product, 100)
        for _number in range(45):
            self._create_delivery(2)
        picking = self._create_delivery(50)
        self.env["stock.ledger.entry"]._flush_buffer()
        self.env.flush_all()
        data = self._explain(picking)
        self.assertEqual((data["holder_count"], data["held"]), (45, 90))
        self.assertEqual(len(data["holders"]), 40)
        self.env.invalidate_all()
        with self.assertQueryCount(30):
            picking.move_ids.with_user(self.user).explain_reservation()


class TestMoveExplanationRights(ExplanationCase):
    """What one may see and do by it."""

    def test_only_who_may_read_the_ledger(self):
        picking = self._create_delivery(4)
        employee = new_test_user(self.env, "why_employee", context={"no_reset_password": True})
        with self.assertRaises(AccessError):
            self._explain(picking, employee)
        with self.assertRaises(AccessError):
            picking.move_ids.with_user(employee).action_explain_reservation()
        self.assertEqual(self._explain(picking)["missing"], 4)

    def test_explanations_are_ones_own(self):
        dialog = self._open_dialog(self._create_delivery(4))
        other = new_test_user(
            self.env,
            "why_other",
            groups="stock.group_stock_user",
            context={"no_reset_password": True},
        )
        with self.assertRaises(AccessError):
            dialog.with_user(other).read(["summary"])

    def test_texts_are_escaped(self):
        self.product.name = "<script>alert(1)</script>"
        summary = self._open_dialog(self._create_delivery(4)).summary
        self.assertNotIn("<script>", summary)
        self.assertIn("&lt;script&gt;", summary)

    def test_take_the_reservation_of_another_transfer(self):
        self._receive(self.product, 10)
        holder = self._create_delivery(10)
        picking = self._create_delivery(4)
        dialog = self._open_dialog(picking)
        [line] = dialog.holder_ids
        self.assertTrue(line.can_unreserve)
        self.assertEqual(line.action_open()["res_id"], holder.id)
        action = line.action_unreserve()
        self.assertEqual(action["tag"], "display_notification")
        self.assertEqual(picking.state, "assigned")
        # What was not needed goes back.
        self.assertEqual(holder.move_ids.quantity, 6)
        self.assertIn(f"was taken for {picking.name}", holder.message_ids[0].body)
        self.assertLedgerBalanced()

    def test_take_it_past_the_queue(self):
        self._receive(self.product, 4)
        holder = self._create_delivery(4)
        queued = self._create_delivery(4)
        queued.move_ids._queue_reservation()
        self.warehouse.out_type_id.reservation_policy = "always"
        picking = self._create_delivery(4)
        dialog = self._open_dialog(picking)
        dialog.holder_ids.action_unreserve()
        self.assertEqual(picking.state, "assigned")
        self.assertEqual(holder.move_ids.quantity, 0)
        self.assertTrue(queued.move_ids.reservation_queued_date)

    def test_what_is_still_missing_is_explained_again(self):
        self._receive(self.product, 2)
        self._create_delivery(2)
        dialog = self._open_dialog(self._create_delivery(4))
        action = dialog.holder_ids.action_unreserve()
        self.assertEqual(action["res_model"], "stock.move.explanation")
        self.assertNotEqual(action["res_id"], dialog.id)

    def test_what_is_gone_cannot_be_taken(self):
        self._receive(self.product, 4)
        holder = self._create_delivery(4)
        picking = self._create_delivery(4)
        line = self._open_dialog(picking).holder_ids
        self._validate(holder)
        with self.assertRaisesRegex(UserError, "holds nothing any more"):
            line.action_unreserve()

    def test_picked_goods_are_not_offered(self):
        self._receive(self.product, 4)
        holder = self._create_delivery(4)
        holder.move_ids.picked = True
        [line] = self._open_dialog(self._create_delivery(4)).holder_ids
        self.assertFalse(line.can_unreserve)

    def test_without_write_access_nothing_is_offered(self):
        self._receive(self.product, 4)
        holder = self._create_delivery(4)
        picking = self._create_delivery(4)
        # Users of this kind may change nothing but what is their own.
        self.env["ir.rule"].create(
            {
                "name": "Own transfers",
                "model_id": self.env["ir.model"]._get_id("stock.picking"),
                "domain_force": "[('user_id', '=', user.id)]",
                "groups": [Command.link(self.env.ref("stock.group_stock_user").id)],
                "perm_read": False,
                "perm_create": False,
                "perm_unlink": False,
            }
        )
        [line] = self._open_dialog(picking).holder_ids
        self.assertEqual(line.picking_id, holder)
        self.assertFalse(line.can_unreserve)
        with self.assertRaises(AccessError):
            line.action_unreserve()
        self.assertEqual(holder.state, "assigned")
        holder.user_id = picking.user_id = self.user
        [line] = self._open_dialog(picking).holder_ids
        self.assertTrue(line.can_unreserve)

    def test_transfers_of_another_company_are_not_named(self):
        shared = self.env["stock.location"].create(
            {"name": "Shared", "usage": "internal", "company_id": False}
        )
        self._count(self.product, shared, 10)
        company = self.env["res.company"].create({"name": "Secret Company"})
        warehouse = self.env["stock.warehouse"].search([("company_id", "=", company.id)])
        move = (
            self.env["stock.move"]
            .with_company(company)
            .create(
                {
                    "product_id": self.product.id,
                    "product_uom_qty": 10,
                    "product_uom": self.product.uom_id.id,
                    "location_id": shared.id,
                    "location_dest_id": self.customers.id,
                    "company_id": company.id,
                    "picking_type_id": warehouse.out_type_id.id,
                    "origin": "Secret Order",
                }
            )
        )
        move._action_confirm()
        move._action_assign()
        self.assertEqual(move.quantity, 10)
        picking = self._create_delivery(4, source=shared)
        data = self._explain(picking)
        self.assertEqual(data["holders"], [])
        self.assertEqual((data["held"], data["hidden"], data["hidden_company"]), (10, 10, 10))
        self.assertSays(data, "another company's transfers hold 10 Units")
        self.assertNotIn("Secret", str(data))
        self.assertNotIn(move.reference or move.picking_id.name, str(data))
        dialog = self._open_dialog(picking)
        self.assertFalse(dialog.holder_ids)

    def test_form_of_the_dialog(self):
        self._receive(self.product, 4)
        self._create_delivery(4)
        dialog = self._open_dialog(self._create_delivery(4))
        with Form(dialog) as form:
            self.assertIn("4 Units", form.summary)
