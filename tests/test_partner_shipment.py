from odoo import Command
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import tagged

from .partner_common import PartnerCase


@tagged("post_install", "-at_install")
class TestPartnerShipment(PartnerCase):
    def test_what_is_shipped_is_expected_and_received(self):
        shipment = self.ship({self.product: 10})
        self.assertEqual(shipment.state, "sent")
        self.assertEqual(self.get_transit(), 10)
        self.carry_all()
        other = self.get_other(shipment)
        receipt = self.get_receipt(shipment)
        self.assertEqual((shipment.state, other.state), ("expected", "expected"))
        self.assertEqual(receipt.move_ids.product_uom_qty, 10)
        self.assertEqual(receipt.origin, shipment.reference)
        self.assertEqual(receipt.company_id, self.company_b)
        self.assertEqual(shipment.receipt_reference, receipt.name)
        self.receive_in_b(receipt)
        self.carry_all()
        self.assertEqual((shipment.state, other.state), ("closed", "closed"))
        self.assertFalse(shipment.has_difference)
        self.assertLines(shipment, [(self.product, "", 10, 10, 0)])
        self.assertEqual((self.get_transit(), self.get_stock_b(self.product)), (0, 10))
        self.assertLedgerBalanced()

    def test_the_ledger_tells_the_way_and_its_cause(self):
        since = self._get_last_entry_id()
        shipment = self.ship({self.product: 3})
        self.carry_all()
        self.receive_in_b(self.get_receipt(shipment))
        [message] = self.get_messages()
        self.carry_all()
        transit = self.to_b.location_id
        entries = self._get_new_entries(since).filtered(lambda e: e.location_id == transit)
        self.assertEntries(entries, [("TRANSFER_OUT", transit, 3, 0), ("SALE", transit, -3, 0)])
        self.assertEqual(entries[1].origin, self.get_other(shipment).receipt_reference)
        self.assertEqual(entries[1].user_id, self.queue_a.user_id)
        self.assertEqual(entries[1].causation_id, message.message_id)
        self.assertEqual(entries[1].correlation_id, shipment.uid)
        action = shipment.with_user(self.user_a).action_open_ledger()
        self.assertLessEqual(entries, self._get_entries(action["domain"]))

    def test_partly_received_then_the_rest(self):
        shipment = self.ship({self.product: 10})
        self.carry_all()
        self.receive_in_b(self.get_receipt(shipment), {self.product: 4})
        self.carry_all()
        self.assertEqual(shipment.state, "received")
        self.assertFalse(shipment.has_difference)
        self.assertLines(shipment, [(self.product, "", 10, 4, 6)])
        self.assertEqual(self.get_transit(), 6)
        self.receive_in_b(self.get_receipt(shipment))
        self.carry_all()
        self.assertEqual((shipment.state, self.get_transit()), ("closed", 0))
        self.assertEqual(len(self.get_other(shipment).picking_ids), 2)

    def test_too_little_is_a_difference_that_a_manager_writes_off(self):
        shipment = self.ship({self.product: 10})
        self.carry_all()
        self.receive_in_b(self.get_receipt(shipment), {self.product: 7}, backorder=False)
        self.carry_all()
        self.assertEqual(shipment.state, "closed")
        self.assertTrue(shipment.has_difference)
        self.assertEqual(shipment.line_ids.difference, -3)
        self.assertEqual(self.get_transit(), 3)
        wizards = self.env["stock.partner.write.off"]
        vals = {"shipment_id": shipment.id, "reason": "Lost on the road"}
        with self.assertRaises(AccessError):
            wizards.with_user(self.user_a).create(vals)
        with self.assertRaises(AccessError):
            shipment.with_user(self.user_a)._write_off("Lost")
        wizards.with_user(self.manager_a).create(vals).action_write_off()
        self.assertEqual(self.get_transit(), 0)
        self.assertFalse(shipment.has_difference)
        self.assertEqual(shipment.line_ids.written_off_quantity, 3)
        [entry] = self._get_entries([("location_id", "=", self.to_b.location_id.id)])[-1]
        self.assertEqual((entry.event_type, entry.reference), ("ADJUSTMENT", "Lost on the road"))
        with self.assertRaisesRegex(UserError, "closed"):
            shipment.with_user(self.manager_a)._write_off("Again")
        self.assertLedgerBalanced()

    def test_too_much_is_a_difference_and_transit_is_never_negative(self):
        shipment = self.ship({self.product: 5})
        self.carry_all()
        self.receive_in_b(self.get_receipt(shipment), {self.product: 8})
        self.carry_all()
        self.assertTrue(shipment.has_difference)
        self.assertLines(shipment, [(self.product, "", 5, 8, 0)])
        self.assertEqual((self.get_transit(), self.get_stock_b(self.product)), (0, 8))

    def test_what_was_received_more_is_explained_by_a_correction(self):
        self._receive(self.product, 3)
        shipment = self.ship({self.product: 5})
        self.carry_all()
        self.receive_in_b(self.get_receipt(shipment), {self.product: 8})
        self.carry_all()
        shipment.picking_ids.move_line_ids.with_user(self.user_a).quantity = 9
        self.carry_all()
        # 8 of them have been received already.
        self.assertEqual(self.get_receipt(shipment).move_ids.product_uom_qty, 1)
        self.assertLines(shipment, [(self.product, "", 9, 8, 1)])
        self.receive_in_b(self.get_receipt(shipment))
        self.carry_all()
        self.assertEqual((shipment.state, shipment.has_difference), ("closed", False))
        self.assertEqual(self.get_transit(), 0)

    def test_what_was_not_sent_is_a_line_of_its_own(self):
        shipment = self.ship({self.product: 5})
        self.carry_all()
        receipt = self.get_receipt(shipment)
        other = self._create_product("Only in B", default_code="ONLY-B")
        receipt.move_ids = [
            Command.create(
                {
                    "product_id": other.id,
                    "product_uom_qty": 2,
                    "company_id": self.company_b.id,
                    "location_id": receipt.location_id.id,
                    "location_dest_id": receipt.location_dest_id.id,
                }
            )
        ]
        receipt.action_confirm()
        self.receive_in_b(receipt)
        self.carry_all()
        self.assertLines(shipment, [(self.product, "", 5, 5, 0), (other, "", 0, 2, 0)])
        self.assertTrue(shipment.has_difference)

    def test_lots_are_expected_by_name(self):
        lots = [self._create_lot(self.lot_product, name) for name in ("L1", "L2")]
        shipment = self.ship({self.lot_product: 3}, {self.lot_product: lots})
        self.carry_all()
        receipt = self.get_receipt(shipment)
        self.assertEqual(sorted(receipt.move_line_ids.mapped("lot_name")), ["L1", "L2"])
        receipt.move_line_ids.filtered(lambda line: line.lot_name == "L2").quantity = 1
        self.receive_in_b(receipt)
        self.carry_all()
        lot_product = self.lot_product
        self.assertLines(shipment, [(lot_product, "L1", 3, 3, 0), (lot_product, "L2", 3, 1, 2)])
        quants = self.env["stock.quant"].search(
            [("location_id", "=", self.to_b.location_id.id), ("quantity", "!=", 0)]
        )
        self.assertEqual([(q.lot_id.name, q.quantity) for q in quants], [("L2", 2)])
        rest = self.get_receipt(shipment)
        rest.move_line_ids.lot_name = "L3"
        self.receive_in_b(rest)
        self.carry_all()
        self.assertLines(
            shipment,
            [
                (lot_product, "L1", 3, 3, 0),
                (lot_product, "L2", 3, 1, 2),
                (lot_product, "L3", 0, 2, 0),
            ],
        )
        self.assertTrue(shipment.has_difference)

    def test_serial_numbers_and_packages(self):
        lots = [self._create_lot(self.serial_product, f"S{n}") for n in range(3)]
        for lot in lots:
            self._receive(self.serial_product, 1, lots=[lot])
        picking = self._create_picking(
            "int", {self.serial_product: 3}, destination=self.to_b.location_id
        )
        picking.action_confirm()
        picking.move_line_ids.result_package_id = self.env["stock.package"].create({"name": "P"})
        self._validate(picking.with_user(self.user_a))
        self.carry_all()
        shipment = picking.partner_shipment_id
        self.receive_in_b(self.get_receipt(shipment))
        self.carry_all()
        self.assertEqual((shipment.state, shipment.has_difference), ("closed", False))
        self.assertEqual(self.get_transit(), 0)

    def test_unknown_products_are_refused_by_line_and_sent_again(self):
        other = self._create_product("Known to A", company_id=self.company_a.id)
        other.default_code = "ONLY-A"
        shipment = self.ship({self.product: 5, other: 1})
        self.carry_all()
        self.assertEqual(shipment.state, "refused")
        self.assertIn("ONLY-A", shipment.error)
        self.assertNotIn("PLAIN", shipment.error)
        self.assertFalse(self.get_other(shipment), "all or nothing")
        self._create_product("Known to B", company_id=self.company_b.id).default_code = "ONLY-A"
        shipment.with_user(self.user_a).action_send_again()
        self.assertEqual((shipment.state, shipment.error), ("sent", False))
        self.carry_all()
        self.assertEqual(shipment.state, "expected")
        self.assertEqual(len(self.get_receipt(shipment).move_ids), 2)

    def test_a_product_without_a_reference_is_said_before_sending(self):
        other = self._create_product("Nameless")
        shipment = self.ship({other: 1})
        self.assertEqual(shipment.state, "refused")
        self.assertIn("Nameless", shipment.error)
        self.assertFalse(self.get_messages())
        other.default_code = "NAMED"
        shipment.with_user(self.user_a).action_send_again()
        self.carry_all()
        self.assertEqual(shipment.state, "expected")

    def test_another_unit_is_refused(self):
        shipment = self.ship({self.product: 5})
        self.product.uom_id = self.env.ref("uom.product_uom_dozen")
        [message] = self.get_messages()
        command = self.carry(message)
        self.assertEqual(command.state, "rejected")
        self.assertIn("Units", command.reason)
        self.carry_all()
        self.assertEqual(shipment.state, "refused")

    def test_repeated_late_and_overtaken_messages_have_one_effect(self):
        shipment = self.ship({self.product: 10})
        [announcement] = self.get_messages()
        self.carry(announcement, keep=True)
        report, accepted = self.get_messages() - announcement
        if report.message_type != "report_receipt":
            report, accepted = accepted, report
        self.receive_in_b(self.get_receipt(shipment))
        final = self.get_messages() - announcement - report - accepted
        # The last one first, then what came before it.
        for message in (final, report, accepted, announcement, final, report):
            self.carry(message, keep=True)
        other = self.get_other(shipment)
        self.assertEqual((shipment.state, shipment.partner_version), ("closed", other.version))
        self.assertEqual(self.get_transit(), 0)
        self.assertEqual(len(self.get_other(shipment).picking_ids), 1)
        # Under another id, as after a restored backup.
        final.message_id = "another"
        self.assertEqual(self.carry(final).state, "done")
        self.assertEqual(self.get_transit(), 0)

    def test_a_corrected_shipment_corrects_the_receipt(self):
        shipment = self.ship({self.product: 10})
        self.carry_all()
        line = shipment.picking_ids.move_line_ids
        line.with_user(self.user_a).quantity = 8
        self.carry_all()
        self.assertEqual(self.get_receipt(shipment).move_ids.product_uom_qty, 8)
        self.receive_in_b(self.get_receipt(shipment), {self.product: 5})
        self.carry_all()
        line.with_user(self.user_a).quantity = 9
        self.carry_all()
        self.assertEqual(self.get_receipt(shipment).move_ids.product_uom_qty, 4)
        self.assertLines(shipment, [(self.product, "", 9, 5, 4)])
        self.receive_in_b(self.get_receipt(shipment))
        self.carry_all()
        self.assertEqual((shipment.state, shipment.has_difference), ("closed", False))
        line.with_user(self.user_a).quantity = 10
        self.carry_all()
        self.assertEqual(shipment.state, "received")
        self.assertEqual(self.get_receipt(shipment).move_ids.product_uom_qty, 1)
        self.assertEqual(self.get_transit(), 1)
        line.with_user(self.user_a).quantity = 9
        self.carry_all()
        self.assertEqual((shipment.state, self.get_transit()), ("closed", 0))
        self.assertLedgerBalanced()

    def test_a_corrected_receipt_goes_back_into_transit(self):
        shipment = self.ship({self.product: 10})
        self.carry_all()
        receipt = self.get_receipt(shipment)
        self.receive_in_b(receipt)
        self.carry_all()
        receipt.move_line_ids.with_user(self.user_b).quantity = 6
        self.carry_all()
        self.assertLines(shipment, [(self.product, "", 10, 6, 4)])
        self.assertEqual(self.get_transit(), 4)
        self.assertTrue(shipment.has_difference)

    def test_goods_taken_back_are_not_expected_any_more(self):
        shipment = self.ship({self.product: 10})
        self.carry_all()
        wizard = (
            self.env["stock.return.picking"]
            .with_context(active_id=shipment.picking_ids.id, active_model="stock.picking")
            .create({})
        )
        wizard.product_return_moves.quantity = 4
        returned = self.env["stock.picking"].browse(wizard.action_create_returns()["res_id"])
        returned.action_assign()
        self._validate(returned.with_user(self.user_a))
        self.carry_all()
        self.assertLines(shipment, [(self.product, "", 6, 0, 6)])
        self.assertEqual(self.get_receipt(shipment).move_ids.product_uom_qty, 6)
        self.assertEqual(self.get_transit(), 6)

    def test_a_cancelled_receipt_closes_with_a_difference(self):
        shipment = self.ship({self.product: 10})
        self.carry_all()
        self.get_receipt(shipment).with_user(self.user_b).action_cancel()
        self.carry_all()
        self.assertEqual((shipment.state, shipment.has_difference), ("closed", True))
        self.assertEqual(self.get_transit(), 10)

    def test_each_backorder_is_a_shipment_of_its_own(self):
        self._receive(self.product, 10)
        picking = self._create_picking("int", {self.product: 10}, destination=self.to_b.location_id)
        picking.action_confirm()
        picking.action_assign()
        picking.move_ids.quantity = 4
        self._validate(picking)
        backorder = picking.backorder_ids
        self.env.cr.flush()
        self.assertFalse(backorder.partner_shipment_id)
        self._validate(backorder)
        self.env.cr.flush()
        self.assertEqual(picking.partner_shipment_id.line_ids.quantity, 4)
        self.assertEqual(backorder.partner_shipment_id.line_ids.quantity, 6)

    def test_a_transfer_to_two_partners_is_refused(self):
        other = self._create_partner("Other", "CWH", self.company_a, self.queue_a, "c.commands")
        self._receive(self.product, 2)
        picking = self._create_picking("int", {self.product: 2}, destination=self.to_b.location_id)
        picking.action_confirm()
        picking.action_assign()
        picking.move_line_ids.quantity = 1
        picking.move_line_ids.copy({"location_dest_id": other.location_id.id, "quantity": 1})
        self._validate(picking)
        with self.assertRaisesRegex(UserError, "several partner warehouses"):
            self.env.cr.flush()

    def test_the_other_direction_with_the_same_records(self):
        product = self.product
        self.env["stock.quant"]._update_available_quantity(
            product, self.warehouse_b.lot_stock_id, 5
        )
        picking = self.env["stock.picking"].create(
            {
                "picking_type_id": self.warehouse_b.out_type_id.id,
                "company_id": self.company_b.id,
                "location_id": self.warehouse_b.lot_stock_id.id,
                "location_dest_id": self.to_a.location_id.id,
                "move_ids": [
                    Command.create(
                        {
                            "product_id": product.id,
                            "product_uom_qty": 5,
                            "company_id": self.company_b.id,
                            "location_id": self.warehouse_b.lot_stock_id.id,
                            "location_dest_id": self.to_a.location_id.id,
                        }
                    )
                ],
            }
        )
        picking.action_confirm()
        self._validate(picking.with_user(self.user_b))
        self.carry_all()
        shipment = picking.partner_shipment_id
        receipt = self.get_other(shipment).picking_ids
        self.assertEqual(receipt.picking_type_id, self.warehouse.in_type_id)
        self._validate(receipt.with_user(self.user_a))
        self.carry_all()
        self.assertEqual((shipment.state, shipment.has_difference), ("closed", False))

    # --- who may what

    def test_a_partner_speaks_for_its_own_shipments_only(self):
        shipment = self.ship({self.product: 10})
        stranger = self._create_queue("c.commands", self.company_a).user_id
        service = self.env["stock.integration"].with_user(stranger)
        report = {
            "shipment": shipment.uid,
            "version": 2**31 - 1,
            "is_final": True,
            "lines": [{"sku": "PLAIN", "quantity": 10.0}],
        }
        with self.assertRaisesRegex(UserError, "Nothing was shipped to you"):
            service.report_receipt("key", **report)
        announcement = {
            "shipment": "some",
            "version": 1,
            "sender": "BWH",
            "warehouse": "LWH",
            "lines": [{"sku": "PLAIN", "quantity": 10.0}],
        }
        with self.assertRaisesRegex(UserError, "Nothing is expected in LWH from BWH"):
            service.expect_receipt("key", **announcement)
        self.assertEqual(shipment.state, "sent")
        self.env["stock.integration"].with_user(self.queue_a.user_id).report_receipt(
            "key", **report
        )
        self.assertEqual(shipment.state, "closed")

    def test_companies_and_roles_see_and_change_what_is_theirs(self):
        shipment = self.ship({self.product: 10})
        shipment.with_user(self.user_a).read(["state"])
        with self.assertRaises(AccessError):
            shipment.with_user(self.user_b).read(["state"])
        with self.assertRaises(AccessError):
            shipment.line_ids.with_user(self.user_b).read(["quantity"])
        with self.assertRaises(AccessError):
            shipment.with_user(self.user_b).action_send_again()
        with self.assertRaises(AccessError):
            shipment.with_user(self.queue_a.user_id).action_send_again()
        for record in (shipment, shipment.line_ids, self.to_b):
            with self.assertRaises(AccessError):
                record.with_user(self.user_a).write({})
        self.to_b.with_user(self.manager_a).name = "Renamed"
        self.assertEqual(self.to_b.location_id.name, "In Transit to Renamed")
        with self.assertRaises(ValidationError):
            self._create_partner("X", "X", self.company_b, self.queue_a, "x")

    def test_late_refusals_of_what_was_replaced_are_ignored(self):
        shipment = self.ship({self.product: 10})
        first = shipment.message_id
        shipment.picking_ids.move_line_ids.quantity = 8
        self.env.cr.flush()
        shipment._reject(first, "Late")
        self.assertEqual((shipment.state, shipment.error), ("sent", False))
        shipment._reject(shipment.message_id, "In time")
        self.assertEqual((shipment.state, shipment.error), ("refused", "In time"))

    def test_a_reply_to_nothing_is_rejected_and_not_answered(self):
        message = self.env["stock.message.outbox"]._send(
            self.channel, "command.rejected", {"reasons": []}, self.queue_a.name
        )
        command = self.carry(message)
        self.assertEqual(command.state, "rejected")
        self.assertFalse(command.reply_ids)

    def test_a_restored_database_does_not_use_versions_again(self):
        shipment = self.ship({self.product: 10})
        self.carry_all()
        forgotten = shipment.version
        shipment.version -= 1
        shipment.action_send_again()
        self.assertGreaterEqual(shipment.version, forgotten)

    def test_a_message_without_a_queue_is_shown(self):
        shipment = self.ship({self.product: 10})
        self.assertFalse(shipment.message_error)
        self.get_messages().write({"state": "blocked", "error": "no queue"})
        shipment.invalidate_recordset()
        self.assertEqual(shipment.with_user(self.user_a).message_error, "no queue")
