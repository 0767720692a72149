from datetime import timedelta

from freezegun import freeze_time

from odoo import fields
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, new_test_user
from odoo.tools import mute_logger

from ..hooks import uninstall_hook
from ..models.stock_hold_reservation import HoldEnded, HoldShort
from .drift import find_drifts
from .hold_common import HoldCase


class TestHold(HoldCase):
    """What a hold takes from others, for how long, and what becomes of it."""

    def assertSound(self):
        self.assertEqual(find_drifts(self.env), {})

    # --- held

    def test_a_hold_blocks_availability_for_others(self):
        last = self._get_last_entry_id()
        hold = self._hold(4, partner_id=self.customer.id, origin="Basket 7")
        self.assertEqual((hold.state, hold.user_id), ("active", self.user))
        self.assertEqual(self._get_figures(), (10, 4, 4))
        product = self.product.with_context(warehouse_id=self.warehouse.id)
        self.assertEqual((product.free_qty, product.outgoing_qty), (6, 4))
        [entry] = self._get_new_entries(last)
        self.assertEntries(entry, [("RESERVE", self.stock, 0, 4)])
        self.assertEqual((entry.reference, entry.origin), (hold.name, "Basket 7"))
        self.assertEqual((entry.user_id, entry.move_id), (self.user, hold.move_ids))
        delivery = self._create_picking("out", {self.product: 8})
        delivery.action_confirm()
        self.assertEqual((delivery.state, delivery.move_ids.quantity), ("assigned", 6))
        self.assertEqual(delivery.move_ids.state, "partially_available")
        self.assertSound()

    def test_what_is_not_available_in_full_is_refused(self):
        self._hold(4)
        last = self._get_last_entry_id()
        with self.assertRaisesRegex(HoldShort, "6.0 are available") as refusal:
            self._hold(7)
        self.assertEqual(refusal.exception.available, 6)
        self.assertFalse(self._get_new_entries(last))
        self.assertEqual(
            self.env["stock.hold"].search_count([("product_id", "=", self.product.id)]), 1
        )
        self.assertEqual(self._hold(6).state, "active")
        with self.assertRaisesRegex(HoldShort, "0.0 are available|0 are available"):
            self._hold(1)
        self.assertSound()

    def test_what_makes_no_sense_is_refused(self):
        service = self.env["product.product"].create({"name": "Advice", "type": "service"})
        lot = self._create_lot(self.lot_product, "ELSE")
        for message, vals in (
            ("more than zero", {"quantity": 0}),
            ("more than zero", {"quantity": -1}),
            ("not tracked", {"product": service}),
            ("not a lot", {"lot_id": lot.id}),
            ("whole number", {"product": self.serial_product, "quantity": 1.5}),
            ("in the future", {"minutes": 0}),
            ("7 days at most", {"minutes": 8 * 24 * 60}),
        ):
            with self.subTest(message, **vals), self.assertRaisesRegex(UserError, message):
                self._hold(**vals)

    def test_lots_and_serial_numbers(self):
        old, new = (self._create_lot(self.lot_product, name) for name in ("OLD", "NEW"))
        self._receive(self.lot_product, 5, lots=old | new)
        hold = self._hold(4, self.lot_product, lot_id=new.id)
        self.assertEqual(hold.move_ids.move_line_ids.lot_id, new)
        with self.assertRaises(HoldShort) as refusal:
            self._hold(2, self.lot_product, lot_id=new.id)
        self.assertEqual(refusal.exception.available, 1)
        self._hold(6, self.lot_product)
        self.assertEqual(self._get_figures(self.lot_product), (10, 10, 10))
        serials = [self._create_lot(self.serial_product, f"S{i}") for i in range(3)]
        for serial in serials:
            self._receive(self.serial_product, 1, lots=serial)
        one = self._hold(1, self.serial_product, lot_id=serials[1].id)
        two = self._hold(2, self.serial_product)
        self.assertEqual(one.move_ids.lot_ids, serials[1])
        self.assertEqual(two.move_ids.lot_ids, serials[0] | serials[2])
        self.assertSound()

    def test_quantities_are_in_the_unit_of_the_product(self):
        dozens = self._create_product(
            "By the dozen", uom_id=self.env.ref("uom.product_uom_dozen").id
        )
        self._receive(dozens, 2)
        hold = self._hold(1.5, dozens)
        self.assertEqual((hold.reserved_quantity, hold.product_uom_id), (1.5, dozens.uom_id))
        self.assertEqual(self._get_figures(dozens), (2, 1.5, 1.5))
        self.assertSound()

    def test_stock_of_sublocations_and_packages_is_held(self):
        product = self._create_product("On the shelf")
        self._receive(product, 3, destination=self.shelf)
        self._receive(product, 1)
        hold = self._hold(4, product)
        self.assertEqual(hold.move_ids.move_line_ids.location_id, self.shelf | self.stock)
        self.assertSound()

    def test_holds_of_the_same_goods_stay_apart(self):
        first, second = self._hold(1), self._hold(2)
        self.assertEqual(first.move_ids.mapped("product_uom_qty"), [1])
        self.assertNotEqual(first.name, second.name)
        first.action_release()
        self.assertEqual((first.state, second.state), ("released", "active"))
        self.assertEqual(self._get_figures(), (10, 2, 2))

    # --- nobody but the hold reserves its move

    def test_the_scheduler_and_receipts_leave_holds_alone(self):
        hold = self._hold(4)
        hold.sudo().move_ids._do_unreserve()
        self.assertEqual((hold.state, hold.reserved_quantity), ("short", 0))
        self.env["stock.rule"].run_scheduler(company_id=self.env.company.id)
        self._receive(self.product, 1)
        hold.sudo().move_ids._action_assign()
        self.assertEqual((hold.state, self._get_figures()), ("short", (11, 0, 0)))

    def test_the_queue_leaves_holds_alone(self):
        self.warehouse.out_type_id.reservation_policy = "always"
        hold = self._hold(4)
        self.assertEqual(hold.state, "active")
        hold.sudo().move_ids._do_unreserve()
        hold.sudo().move_ids._action_assign()
        self.assertFalse(hold.move_ids.reservation_queued_date)
        self.warehouse.out_type_id.reservation_policy = "odoo"
        self.assertEqual(self._hold(4).state, "active")
        self.warehouse.out_type_id.reservation_method = "manual"
        self.assertEqual(self._hold(4).state, "active")

    def test_a_hold_whose_goods_were_taken_is_short(self):
        hold = self._hold(8)
        delivery = self._create_picking("out", {self.product: 5})
        delivery.action_confirm()
        delivery.move_ids.quantity = 5
        self._validate(delivery)
        self.assertEqual((hold.state, hold.reserved_quantity), ("short", 5))
        with self.assertRaises(HoldShort) as refusal:
            hold.action_convert()
        self.assertEqual(refusal.exception.available, 0)
        self.assertFalse(hold.picking_id)
        self._receive(self.product, 3)
        hold.action_convert()
        self.assertEqual((hold.picking_id.state, hold.state), ("assigned", "converted"))
        self.assertEqual(self._get_figures(), (8, 8, 8))
        self.assertSound()

    # --- until

    def test_what_has_expired_is_given_back_and_never_used(self):
        now = fields.Datetime.now()
        first, later = self._hold(2, minutes=10), self._hold(3, minutes=60)
        with freeze_time(now + timedelta(minutes=30)):
            # Nobody has noted it yet.
            self.assertEqual(first.state, "active")
            for use in (first.action_convert, lambda: first._extend(now + timedelta(hours=1))):
                with self.assertRaisesRegex(HoldEnded, "has expired"):
                    use()
            self.assertEqual(self.env["stock.hold"]._expire(), 1)
            self.assertEqual((first.state, later.state), ("expired", "active"))
            self.assertEqual(first.move_ids.state, "cancel")
            self.assertEqual(self._get_figures(), (10, 3, 3))
            with self.assertRaisesRegex(HoldEnded, "has expired"):
                first.action_convert()
            # As well as released.
            first.action_release()
            self.assertEqual(first.state, "expired")
            self.assertEqual(self.env["stock.hold"]._expire(), 0)
        self.assertSound()

    def test_expiry_to_the_second(self):
        hold = self._hold(2, minutes=10)
        with freeze_time(hold.expiry_date - timedelta(seconds=1)):
            self.assertEqual(self.env["stock.hold"]._expire(), 0)
            hold._check_usable()
        with freeze_time(hold.expiry_date):
            with self.assertRaises(HoldEnded):
                hold._check_usable()
            self.assertEqual(self.env["stock.hold"]._expire(), 1)

    def test_one_that_cannot_expire_does_not_stop_the_others(self):
        holds = self._hold(1, minutes=1) | self._hold(1, minutes=2) | self._hold(1, minutes=3)
        moves = type(self.env["stock.move"])
        cancel = moves._action_cancel

        def refuse(records):
            if records & holds[0].sudo().move_ids:
                raise ValueError("No")
            return cancel(records)

        self.patch(moves, "_action_cancel", refuse)
        with (
            freeze_time(holds[2].expiry_date),
            mute_logger("odoo.addons.stock_event_ledger.models.stock_hold_reservation"),
        ):
            self.assertEqual(self.env["stock.hold"]._expire(), 2)
        self.assertEqual(holds.mapped("state"), ["active", "expired", "expired"])

    def test_extending(self):
        hold = self._hold(2, minutes=10)
        wizard = self.env["stock.hold.extend"].with_user(self.user)
        wizard = wizard.with_context(active_ids=hold.ids).create({})
        self.assertGreater(wizard.expiry_date, hold.expiry_date)
        wizard.action_extend()
        self.assertEqual(hold.expiry_date, wizard.expiry_date)
        for message, hours in (("in the future", -1), ("7 days at most", 8 * 24)):
            wizard.expiry_date = fields.Datetime.now() + timedelta(hours=hours)
            with self.assertRaisesRegex(UserError, message):
                wizard.action_extend()
        hold.action_release()
        with self.assertRaisesRegex(HoldEnded, "was released"):
            wizard.action_extend()

    def test_settings(self):
        settings = self.env["res.config.settings"].create(
            {"stock_hold_default_minutes": 5, "stock_hold_longest_days": 1}
        )
        settings.set_values()
        with freeze_time("2026-05-04 10:00:00"):
            hold = self._hold(1)
            self.assertEqual(str(hold.expiry_date), "2026-05-04 10:05:00")
            with self.assertRaisesRegex(UserError, "1 days at most"):
                hold._extend(fields.Datetime.now() + timedelta(days=1, seconds=1))
        with self.assertRaises(ValidationError):
            settings.stock_hold_longest_days = 0
        for value in ("many", "0", "-3"):
            self.env["ir.config_parameter"].set_param(
                "stock_event_ledger.hold_default_minutes", value
            )
            self.assertEqual(self._hold(1).state, "active")

    # --- converted

    def test_converting_into_a_delivery(self):
        last = self._get_last_entry_id()
        holds = self._hold(2, partner_id=self.customer.id) | self._hold(
            3, partner_id=self.customer.id
        )
        other = self._create_picking("out", {self.product: 1})
        other.partner_id = self.customer
        other.action_confirm()
        action = holds.action_convert()
        picking = holds.picking_id
        self.assertEqual(action["res_id"], picking.id)
        self.assertNotEqual(picking, other)
        self.assertEqual(
            (picking.state, picking.partner_id, picking.picking_type_id, picking.origin),
            (
                "assigned",
                self.customer,
                self.warehouse.out_type_id,
                ", ".join(holds.mapped("name")),
            ),
        )
        self.assertEqual(picking.move_ids, holds.move_ids)
        self.assertEqual(picking.move_line_ids, holds.move_ids.move_line_ids)
        self.assertEqual(holds.mapped("state"), ["converted"] * 2)
        # Only the three reservations: at no time were the goods given back.
        self.assertEqual(self._get_new_entries(last).mapped("reserved_quantity"), [2, 3, 1])
        # Confirmed again, as after adding a line, the moves of the holds stay apart.
        picking.action_confirm()
        self.assertEqual(len(picking.move_ids), 2)
        self._validate(picking)
        self.assertEqual(self._get_figures(), (5, 1, 1))
        self.assertSound()
        with self.assertRaisesRegex(HoldEnded, picking.name):
            holds.action_convert()
        with self.assertRaisesRegex(HoldEnded, picking.name):
            holds.action_release()

    def test_converting_by_contact_and_warehouse(self):
        self._receive(self.product, 5, destination=self.other_warehouse.lot_stock_id)
        other = self.env["res.partner"].create({"name": "Other"})
        holds = (
            self._hold(1, partner_id=self.customer.id)
            | self._hold(1, partner_id=other.id)
            | self._hold(1, warehouse_id=self.other_warehouse.id, partner_id=other.id)
        )
        pickings = holds._convert(origin="Orders")
        self.assertEqual(len(pickings), 3)
        self.assertEqual(set(pickings.mapped("origin")), {"Orders"})
        self.assertEqual(
            holds.picking_id.picking_type_id,
            self.warehouse.out_type_id | self.other_warehouse.out_type_id,
        )
        self.assertEqual(holds.action_view_pickings()["domain"], [("id", "in", pickings.ids)])

    def test_converting_where_deliveries_have_several_steps(self):
        for steps in ("pick_ship", "pick_pack_ship"):
            with self.subTest(steps):
                self.warehouse.delivery_steps = steps
                hold = self._hold(2, partner_id=self.customer.id)
                last = self._get_last_entry_id()
                hold.action_convert()
                pick = hold.picking_id
                self.assertEqual(pick.picking_type_id, self.warehouse.pick_type_id)
                self.assertEqual((pick.state, pick.location_id), ("assigned", self.stock))
                output = pick.location_dest_id
                self.assertNotEqual(output, self.customers)
                self.assertEqual(pick.move_line_ids.location_dest_id, output)
                self.assertFalse(self._get_new_entries(last))
                picking = pick
                while picking.location_dest_id != self.customers:
                    self._validate(picking)
                    picking = picking.move_ids.move_dest_ids.picking_id
                    self.assertEqual(
                        (picking.state, picking.partner_id), ("assigned", self.customer)
                    )
                self._validate(picking)
                self.assertEqual(picking.move_ids.location_dest_id, self.customers)
        self.assertEqual(self._get_figures(location=self.warehouse.view_location_id), (6, 0, 0))
        self.assertSound()

    def test_shipping_at_once_takes_one_step(self):
        self.warehouse.delivery_steps = "pick_ship"
        lot = self._create_lot(self.lot_product, "SHIP")
        self._receive(self.lot_product, 5, lots=lot)
        holds = self._hold(2) | self._hold(3, self.lot_product, lot_id=lot.id)
        picking = holds._convert(partner=self.customer, ship=True)
        self.assertEqual((picking.state, picking.location_dest_id), ("done", self.customers))
        self.assertEqual(self._get_figures(), (8, 0, 0))
        self.assertEqual(self._get_figures(self.lot_product), (2, 0, 0))
        self.assertEqual(
            self._get_entries([("product_id", "=", self.product.id)])[-1].event_type, "SALE"
        )
        self.assertSound()

    def test_a_lot_that_was_held_stays_the_lot_of_the_transfer(self):
        old, new = (self._create_lot(self.lot_product, name) for name in ("OLD", "NEW"))
        self._receive(self.lot_product, 5, lots=old | new)
        hold = self._hold(2, self.lot_product, lot_id=new.id)
        hold.action_convert()
        hold.picking_id.do_unreserve()
        hold.picking_id.action_assign()
        self.assertEqual(hold.move_ids.lot_ids, new)

    def test_the_rest_of_a_transfer_is_no_hold(self):
        hold = self._hold(4)
        hold.action_convert()
        picking = hold.picking_id
        picking.move_ids.quantity = 1
        self._validate(picking)
        rest = picking.backorder_ids
        self.assertEqual((rest.move_ids.product_uom_qty, rest.move_ids.hold_id.id), (3, False))
        rest.action_assign()
        self.assertEqual(rest.state, "assigned")

    # --- Odoo's own screens, and afterwards

    def test_the_forecast_tells_what_holds_goods(self):
        hold = self._hold(4)
        report = self.env["stock.forecasted_product_product"].with_user(self.user)
        report = report.with_context(warehouse_id=self.warehouse.id)
        lines = report.get_report_values(docids=self.product.ids)["docs"]["lines"]
        [line] = [line for line in lines if line["document_out"]]
        self.assertEqual(
            (line["document_out"]["_name"], line["document_out"]["name"], line["quantity"]),
            ("stock.hold", hold.name, 4),
        )
        self.assertEqual(line["reservation"]["id"], hold.id)
        self.assertEqual(hold.move_ids.reference, hold.name)

    def test_why_a_move_is_not_reserved_names_the_hold(self):
        hold = self._hold(8)
        delivery = self._create_picking("out", {self.product: 5})
        delivery.action_confirm()
        move = delivery.move_ids.with_user(self.user)
        [holder] = move.explain_reservation()["holders"]
        self.assertTrue(holder["name"].startswith(f"{hold.name}, until "), holder["name"])
        self.assertEqual((holder["quantity"], holder["can_unreserve"]), (8, False))
        explanation = self.env["stock.move.explanation"].with_user(self.user)
        explanation = explanation._create_for_move(move)
        action = explanation.holder_ids.action_open()
        self.assertEqual((action["res_model"], action["res_id"]), ("stock.hold", hold.id))

    def test_moves_are_found_by_their_hold(self):
        hold = self._hold(4)
        moves = self.env["stock.move"].search(
            [("product_id", "=", self.product.id), ("hold_id.state", "=", "active")]
        )
        self.assertEqual(moves, hold.move_ids)
        domain = hold.action_view_ledger_entries()["domain"]
        self.assertEqual(self._get_entries(domain).mapped("event_type"), ["RESERVE"])

    def test_cancelling_the_move_ends_the_hold(self):
        hold = self._hold(4)
        hold.sudo().move_ids._action_cancel()
        self.assertEqual(hold.state, "released")
        self.assertEqual(self._get_figures(), (10, 0, 0))

    def test_holds_that_ended_long_ago_are_deleted(self):
        now = fields.Datetime.now()
        ended, held = self._hold(1), self._hold(1)
        with self.assertRaisesRegex(UserError, "Release"):
            held.sudo().unlink()
        ended.action_release()
        moves = ended.move_ids
        with freeze_time(now + timedelta(days=29)):
            self.env["stock.hold"]._gc_old()
            self.assertTrue(ended.exists())
        with freeze_time(now + timedelta(days=31)):
            self.env["stock.hold"]._gc_old()
        self.assertEqual((ended | held).exists(), held)
        self.assertFalse(moves.hold_id)

    def test_uninstalling_gives_back_what_is_held(self):
        ended, held = self._hold(1), self._hold(2)
        ended.action_convert()
        uninstall_hook(self.env)
        self.assertEqual(self._get_figures(), (10, 1, 1))
        self.assertEqual((held.move_ids.state, ended.move_ids.state), ("cancel", "assigned"))

    def test_what_a_hold_names_may_be_deleted(self):
        partner = self.env["res.partner"].create({"name": "Passing By"})
        hold = self._hold(1, partner_id=partner.id)
        hold.action_release()
        hold.sudo().move_ids.unlink()
        partner.unlink()
        [row] = hold.web_read({"partner_id": {"fields": {"display_name": {}}}, "state": {}})
        self.assertEqual((row["partner_id"], row["state"]), (False, "released"))


class TestHoldAccess(HoldCase):
    """Who may hold, and who may see and end which holds."""

    def test_integrations_have_their_own_holds_only(self):
        holds = self.env["stock.hold"].with_user(self.integrator)
        own, others = self._hold(1, holds=holds), self._hold(1)
        self.assertEqual(holds.search([("product_id", "=", self.product.id)]), own)
        own._extend(fields.Datetime.now() + timedelta(hours=1))
        for refused in (
            others.with_user(self.integrator).action_release,
            others.with_user(self.integrator).action_convert,
            lambda: others.with_user(self.integrator)._extend(fields.Datetime.now()),
            lambda: own.write({"quantity": 9}),
            lambda: own.write({"expiry_date": "2099-01-01"}),
            own.unlink,
        ):
            with self.assertRaises(AccessError):
                refused()
        own.action_convert()
        self.assertEqual(own.state, "converted")
        # The other way round, whoever runs the warehouse sees to all of them.
        self._hold(1, holds=holds).with_user(self.user).action_release()

    def test_others_have_none(self):
        employee = new_test_user(self.env, "hold_employee", groups="base.group_user")
        holds = self.env["stock.hold"].with_user(employee)
        for refused in (lambda: self._hold(1, holds=holds), lambda: holds.search([])):
            with self.assertRaises(AccessError):
                refused()
        with self.assertRaises(AccessError):
            self._hold(1).with_user(employee).action_release()

    def test_companies(self):
        company = self._create_other_company()
        warehouse = self.env["stock.warehouse"].search([("company_id", "=", company.id)], limit=1)
        self.env["stock.quant"]._update_available_quantity(self.product, warehouse.lot_stock_id, 5)
        theirs = self._hold(
            1, holds=self.env["stock.hold"].with_company(company), warehouse_id=warehouse.id
        )
        self.assertEqual((theirs.company_id, theirs.move_ids.company_id), (company, company))
        for user in (self.user, self.integrator):
            holds = self.env["stock.hold"].with_user(user)
            with self.assertRaises(AccessError):
                self._hold(1, holds=holds, warehouse_id=warehouse.id)
            self.assertFalse(holds.search([("id", "=", theirs.id)]))
            with self.assertRaises(AccessError):
                theirs.with_user(user).action_release()
        theirs._convert()
        self.assertEqual(theirs.picking_id.company_id, company)

    def test_a_hold_is_its_makers_and_begins_at_the_beginning(self):
        hold = self._hold(
            1, user_id=self.env.user.id, outcome="converted", closed_date="2020-01-01", name="X"
        )
        self.assertEqual((hold.user_id, hold.outcome, hold.closed_date), (self.user, False, False))
        self.assertIn("HOLD/", hold.name)

    def test_inventory_users_change_whom_it_is_for_and_until_when(self):
        hold = self._hold(1)
        later = fields.Datetime.now() + timedelta(hours=3)
        hold.write({"expiry_date": later, "partner_id": self.customer.id, "reference": "Basket"})
        self.assertEqual((hold.expiry_date, hold.reference), (later, "Basket"))
        for vals in ({"quantity": 9}, {"state": "expired"}, {"user_id": self.integrator.id}):
            with self.assertRaisesRegex(UserError, "cannot be changed"):
                hold.write(vals)
        with self.assertRaisesRegex(UserError, "7 days at most"):
            hold.expiry_date = later + timedelta(days=7)
        hold.action_release()
        with self.assertRaises(HoldEnded):
            hold.expiry_date = later + timedelta(hours=1)

    def test_the_page(self):
        form = Form(self.env["stock.hold"].with_user(self.user))
        form.product_id = self.product
        form.warehouse_id = self.warehouse
        form.quantity = 3
        self.assertEqual(form.state, "active")
        hold = form.save()
        self.assertEqual((hold.state, self._get_figures()), ("active", (10, 3, 3)))
        for view in ("list", "form", "search"):
            self.env["stock.hold"].with_user(self.user).get_view(view_type=view)
