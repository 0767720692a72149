from contextlib import closing
from datetime import datetime

from psycopg2 import errors

from odoo import Command
from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, new_test_user, users
from odoo.tools import mute_logger

from .common import LedgerCase


class TestLedgerEntry(LedgerCase):
    def setUp(self):
        super().setUp()
        self.before = self._get_last_entry_id()

    def _entries(self, *domain):
        return self._get_entries([("id", ">", self.before), *domain])

    def _mark(self):
        self.before = self._get_last_entry_id()

    # --- movements ---

    def test_receipt_is_two_entries(self):
        picking = self._receive(self.product, 10, origin="P00001")
        entries = self._entries()
        self.assertEntries(
            entries,
            [
                ("RECEIPT", self.suppliers, -10, 0),
                ("RECEIPT", self.stock, 10, 0),
            ],
        )
        entry = entries[1]
        self.assertEqual(entry.picking_id, picking)
        self.assertEqual(entry.move_id, picking.move_ids)
        self.assertEqual(entry.move_line_id, picking.move_line_ids)
        self.assertEqual(entry.reference, picking.name)
        self.assertEqual(entry.origin, "P00001")
        self.assertEqual(entry.user_id, self.env.user)
        self.assertEqual(entry.company_id, self.warehouse.company_id)
        self.assertEqual(entry.warehouse_id, self.warehouse)
        self.assertEqual(entry.effective_date, picking.move_ids.date)
        self.assertTrue(entry.recorded_date)
        self.assertLedgerBalanced()

    def test_reserved_delivery_is_one_sale_entry(self):
        self._receive(self.product, 10)
        self._mark()
        picking = self._create_picking("out", {self.product: 5})
        picking.action_confirm()
        self.assertEntries(self._entries(), [("RESERVE", self.stock, 0, 5)])
        self.assertEqual(self._entries().move_line_id, picking.move_line_ids)
        self._mark()
        self._validate(picking)
        self.assertEntries(
            self._entries(),
            [
                ("SALE", self.stock, -5, -5),
                ("SALE", self.customers, 5, 0),
            ],
        )
        self.assertLedgerBalanced()

    def test_reserve_and_validate_in_one_transaction_is_one_entry(self):
        self._receive(self.product, 10)
        self._mark()
        picking = self._create_picking("out", {self.product: 5})
        picking.action_confirm()
        self._validate(picking)
        self.assertEntries(
            self._entries(),
            [("SALE", self.stock, -5, 0), ("SALE", self.customers, 5, 0)],
        )

    def test_unreserve_and_cancel(self):
        self._receive(self.product, 10)
        picking = self._create_picking("out", {self.product: 4})
        picking.action_confirm()
        line = picking.move_line_ids
        line_id = line.id
        self._mark()
        picking.do_unreserve()
        self.assertEntries(self._entries(), [("UNRESERVE", self.stock, 0, -4)])
        # The line is gone; what was written about it still says which it was.
        self.assertFalse(line.exists())
        self.assertEqual(self._entries().move_line_id.id, line_id)
        self.assertEqual(self._entries().move_id, picking.move_ids)
        picking.action_assign()
        self._mark()
        picking.action_cancel()
        self.assertEntries(self._entries(), [("UNRESERVE", self.stock, 0, -4)])
        self.assertLedgerBalanced()

    def test_backorder(self):
        self._receive(self.product, 10)
        picking = self._create_picking("out", {self.product: 6})
        picking.action_confirm()
        self._mark()
        picking.move_ids.quantity = 4
        self._validate(picking)
        backorder = picking.backorder_ids
        sale = self._entries(("event_type", "=", "SALE"), ("location_id", "=", self.stock.id))
        # The line gave up what was not delivered, and the backorder took it.
        self.assertEntries(sale, [("SALE", self.stock, -4, -6)])
        others = self._entries(("event_type", "in", ("RESERVE", "UNRESERVE")))
        self.assertEntries(others, [("RESERVE", self.stock, 0, 2)])
        self.assertEqual(others.move_id, backorder.move_ids)
        self.assertEqual(backorder.state, "assigned")
        self.assertLedgerBalanced()

    def test_customer_and_supplier_returns(self):
        receipt = self._receive(self.product, 10)
        delivery = self._create_picking("out", {self.product: 3})
        delivery.action_confirm()
        self._validate(delivery)
        for picking, event_type in (
            (delivery, "CUSTOMER_RETURN"),
            (receipt, "SUPPLIER_RETURN"),
        ):
            wizard = Form(
                self.env["stock.return.picking"].with_context(
                    active_id=picking.id, active_ids=picking.ids, active_model="stock.picking"
                )
            ).save()
            wizard.product_return_moves.quantity = 1
            action = wizard.action_create_returns()
            returned = self.env["stock.picking"].browse(action["res_id"])
            self._mark()
            self._validate(returned)
            self.assertEqual(set(self._entries().mapped("event_type")), {event_type})
            self.assertEqual(sum(self._entries().mapped("quantity")), 0)
        self.assertLedgerBalanced()

    def test_transfers_inside_and_between_warehouses(self):
        self._receive(self.product, 10)
        other = self.other_warehouse.lot_stock_id
        for destination, expected in (
            (
                self.shelf,
                [("INTERNAL", self.stock, -2, 0), ("INTERNAL", self.shelf, 2, 0)],
            ),
            (
                other,
                [("TRANSFER_OUT", self.stock, -2, 0), ("TRANSFER_IN", other, 2, 0)],
            ),
        ):
            self._mark()
            picking = self._create_picking("int", {self.product: 2}, destination=destination)
            picking.action_confirm()
            self._validate(picking)
            self.assertEntries(self._entries(), expected)

    def test_transfer_through_transit(self):
        self._receive(self.product, 10)
        transit = self.warehouse.company_id.internal_transit_location_id
        transit.active = True
        for source, destination, event_type in (
            (self.stock, transit, "TRANSFER_OUT"),
            (transit, self.other_warehouse.lot_stock_id, "TRANSFER_IN"),
        ):
            self._mark()
            picking = self._create_picking(
                "int", {self.product: 2}, source=source, destination=destination
            )
            picking.action_confirm()
            self._validate(picking)
            self.assertEqual(set(self._entries().mapped("event_type")), {event_type})
        self.assertLedgerBalanced()

    def test_inventory_adjustment(self):
        self._receive(self.product, 10)
        self._mark()
        self._count(self.product, self.stock, 7)
        inventory = self.product.property_stock_inventory
        self.assertEntries(
            self._entries(),
            [("ADJUSTMENT", self.stock, -3, 0), ("ADJUSTMENT", inventory, 3, 0)],
        )
        self.assertTrue(self._entries().move_id.is_inventory)
        self.assertLedgerBalanced()

    def test_inventory_adjustment_creates_quant(self):
        self._count(self.product, self.shelf, 7)
        entries = self._entries(("location_id", "=", self.shelf.id))
        self.assertEntries(entries, [("ADJUSTMENT", self.shelf, 7, 0)])
        self.assertLedgerBalanced()

    def test_inventory_adjustment_with_accounting_date(self):
        self._receive(self.product, 10)
        self._mark()
        quant = self.env["stock.quant"]._gather(self.product, self.stock)
        quant.inventory_quantity = 8
        quant.action_apply_inventory(datetime(2024, 2, 29, 12))
        self.assertEqual(self._entries().mapped("effective_date"), [datetime(2024, 2, 29, 12)] * 2)

    def test_scrap(self):
        self._receive(self.product, 10)
        self._mark()
        scrap = self.env["stock.scrap"].create(
            {
                "product_id": self.product.id,
                "scrap_qty": 2,
                "location_id": self.stock.id,
            }
        )
        scrap.action_validate()
        self.assertEqual(self._entries().mapped("event_type"), ["SCRAP", "SCRAP"])
        self.assertEqual(self._entries()[0].reference, scrap.name)
        self.assertLedgerBalanced()

    def test_production_locations(self):
        self._receive(self.product, 10)
        production = self.env["stock.location"].search([("usage", "=", "production")], limit=1)
        for source, destination, event_type in (
            (self.stock, production, "CONSUMPTION"),
            (production, self.stock, "PRODUCTION"),
        ):
            self._mark()
            picking = self._create_picking(
                "int", {self.product: 2}, source=source, destination=destination
            )
            picking.action_confirm()
            self._validate(picking)
            self.assertEqual(set(self._entries().mapped("event_type")), {event_type})

    def test_drop_shipment_is_received_and_sold(self):
        picking = self._create_picking(
            "int",
            {self.product: 2},
            source=self.suppliers,
            destination=self.customers,
        )
        picking.action_confirm()
        self._validate(picking)
        self.assertEntries(
            self._entries(),
            [("RECEIPT", self.suppliers, -2, 0), ("SALE", self.customers, 2, 0)],
        )

    def test_event_type_of_direct_changes(self):
        quant = self.env["stock.quant"]
        quant._update_available_quantity(self.product, self.stock, 5)
        quant._update_reserved_quantity(self.product, self.stock, 2)
        self.env.cr.flush()
        quant._update_reserved_quantity(self.product, self.stock, -2)
        self.assertEntries(
            self._entries(),
            [("ADJUSTMENT", self.stock, 5, 2), ("UNRESERVE", self.stock, 0, -2)],
        )
        self.assertFalse(self._entries().move_id)
        self.assertEqual(self._entries().user_id, self.env.user)

    # --- edits of what is done or reserved ---

    def test_edit_done_line(self):
        picking = self._receive(self.product, 10)
        self._mark()
        picking.move_line_ids.quantity = 8
        self.assertEntries(
            self._entries(),
            [("RECEIPT", self.stock, -2, 0), ("RECEIPT", self.suppliers, 2, 0)],
        )
        self._mark()
        picking.move_line_ids.location_dest_id = self.shelf
        self.assertEqual(
            {e.location_id: e.quantity for e in self._entries()},
            {self.stock: -8, self.shelf: 8},
        )
        self.assertLedgerBalanced()

    def test_add_line_to_done_transfer(self):
        picking = self._receive(self.product, 10)
        self._mark()
        line = self.env["stock.move.line"].create(
            {
                "picking_id": picking.id,
                "move_id": picking.move_ids.id,
                "product_id": self.product.id,
                "product_uom_id": self.product.uom_id.id,
                "quantity": 3,
                "location_id": self.suppliers.id,
                "location_dest_id": self.shelf.id,
            }
        )
        self.assertEntries(
            self._entries(),
            [("RECEIPT", self.suppliers, -3, 0), ("RECEIPT", self.shelf, 3, 0)],
        )
        self.assertEqual(self._entries().move_line_id, line)
        self.assertLedgerBalanced()

    def test_change_lot_of_reserved_line(self):
        lots = self._create_lot(self.lot_product, "A") | self._create_lot(self.lot_product, "B")
        self._receive(self.lot_product, 5, lots=lots)
        picking = self._create_picking("out", {self.lot_product: 3})
        picking.action_confirm()
        line = picking.move_line_ids
        old, new = line.lot_id, lots - line.lot_id
        self._mark()
        line.lot_id = new
        self.assertEqual(
            {(e.event_type, e.lot_id): e.reserved_quantity for e in self._entries()},
            {("UNRESERVE", old): -3, ("RESERVE", new): 3},
        )
        self.assertEqual(self._entries().move_line_id, line)
        self.assertLedgerBalanced()

    def test_change_of_done_date_is_a_pair_of_entries(self):
        picking = self._receive(self.product, 10)
        originals = self._entries()
        old, new = originals[0].effective_date, datetime(2024, 5, 1, 10)
        self._mark()
        picking.move_ids.date = new
        entries = self._entries()
        self.assertEqual(
            [(e.location_id, e.quantity, e.effective_date, e.corrects_entry_id) for e in entries],
            [
                (self.suppliers, 10, old, originals[0]),
                (self.suppliers, -10, new, originals[0]),
                (self.stock, -10, old, originals[1]),
                (self.stock, 10, new, originals[1]),
            ],
        )
        self.assertEqual(set(entries.mapped("event_type")), {"RECEIPT"})
        self._mark()
        picking.move_ids.date = new
        self.assertFalse(self._entries(), "the same date again changes nothing")
        self.assertLedgerBalanced()

    def test_date_written_in_the_same_transaction_is_the_only_one(self):
        picking = self._create_picking("in", {self.product: 10})
        picking.action_confirm()
        self._validate(picking)
        picking.move_ids.date = datetime(2024, 5, 1, 10)
        self.assertEqual(self._entries().mapped("effective_date"), [datetime(2024, 5, 1, 10)] * 2)

    def test_free_reservation_of_another_transfer(self):
        self._receive(self.product, 5)
        reserved = self._create_picking("out", {self.product: 5})
        reserved.action_confirm()
        forced = self._create_picking("out", {self.product: 5})
        forced.action_confirm()
        self._mark()
        forced.move_ids.quantity = 5
        self._validate(forced)
        self.assertEqual(reserved.state, "confirmed")
        unreserved = self._entries(("move_id", "=", reserved.move_ids.id))
        self.assertEntries(unreserved, [("UNRESERVE", self.stock, 0, -5)])
        self.assertLedgerBalanced()

    def test_free_reservation_that_several_rows_hold(self):
        self._receive(self.product, 4)
        reserved = self._create_picking("out", {self.product: 4})
        reserved.action_confirm()
        quant = self.env["stock.quant"]._gather(self.product, self.stock, strict=True)
        # What is left where half of it was reserved beside a lock.
        quant.reserved_quantity = 2
        key = {"product_id": self.product.id, "location_id": self.stock.id}
        quant.create({**key, "quantity": 0, "reserved_quantity": 2})
        forced = self._create_picking("out", {self.product: 4})
        forced.action_confirm()
        forced.move_ids.quantity = 4
        self._validate(forced)
        self.assertEqual((reserved.state, forced.state), ("confirmed", "done"))
        self.assertLedgerBalanced()

    # --- what identifies stock ---

    def test_serials(self):
        lots = self.env["stock.lot"].union(
            *(self._create_lot(self.serial_product, f"S{i}") for i in range(3))
        )
        self._receive(self.serial_product, 1, lots=lots)
        self.assertEqual(
            {e.lot_id: e.quantity for e in self._entries(("location_id", "=", self.stock.id))},
            dict.fromkeys(lots, 1),
        )
        picking = self._create_picking("out", {self.serial_product: 2})
        picking.action_confirm()
        self._mark()
        self._validate(picking)
        sales = self._entries(("location_id", "=", self.stock.id))
        self.assertEqual(sales.lot_id, picking.move_line_ids.lot_id)
        self.assertEqual(sales.mapped("quantity"), [-1, -1])
        self.assertLedgerBalanced()

    def test_untracked_stock_compensates_a_lot(self):
        # Core takes from stock without a lot what the lot does not have.
        self.env["stock.quant"]._update_available_quantity(self.lot_product, self.stock, 5)
        lot = self._create_lot(self.lot_product, "C")
        picking = self._create_picking("out", {self.lot_product: 2})
        picking.action_confirm()
        picking.move_line_ids.lot_id = lot
        self._validate(picking)
        self.assertLedgerBalanced()

    def test_packages(self):
        picking = self._create_picking("in", {self.product: 10})
        picking.action_confirm()
        package = self.env["stock.package"].create({"name": "PACK-LEDGER"})
        picking.move_line_ids.result_package_id = package
        self._validate(picking)
        self.assertEqual(self._entries(("location_id", "=", self.stock.id)).package_id, package)
        self._mark()
        package.unpack()
        self.assertEqual(
            {e.package_id: e.quantity for e in self._entries()},
            {package: -10, self.env["stock.package"]: 10},
        )
        self.assertLedgerBalanced()

    def test_owner(self):
        owner = self.env["res.partner"].create({"name": "Consignor"})
        picking = self._create_picking("in", {self.product: 10})
        picking.owner_id = owner
        picking.action_confirm()
        self._validate(picking)
        self.assertEqual(self._entries(("location_id", "=", self.stock.id)).owner_id, owner)
        self.assertLedgerBalanced()

    def test_unit_of_measure_and_rounding(self):
        dozen = self.env.ref("uom.product_uom_dozen")
        self._receive(self.product, 2, uom=dozen)
        entry = self._entries(("location_id", "=", self.stock.id))
        self.assertEqual(entry.quantity, 24)
        self.assertEqual(entry.product_uom_id, self.product.uom_id)
        third = self.env["uom.uom"].create(
            {
                "name": "Third",
                "relative_factor": 1 / 3,
                "relative_uom_id": self.product.uom_id.id,
            }
        )
        self._receive(self.product, 1, uom=third)
        self._receive(self.product, 1, uom=third)
        self.assertLedgerBalanced()

    def test_non_storable_products_have_no_entries(self):
        consumable = self.env["product.product"].create(
            {"name": "Consumable", "type": "consu", "is_storable": False}
        )
        self._receive(consumable, 5)
        self.assertFalse(self._entries())

    def test_user_and_multi_company(self):
        company = self.env["res.company"].create({"name": "Second Company"})
        manager = new_test_user(
            self.env,
            "second_manager",
            groups="stock.group_stock_manager",
            company_id=company.id,
            company_ids=[Command.set(company.ids)],
            context={"no_reset_password": True},
        )
        warehouse = self.env["stock.warehouse"].search([("company_id", "=", company.id)], limit=1)
        quant = (
            self.env["stock.quant"]
            .with_user(manager)
            .with_context(inventory_mode=True)
            .create(
                {
                    "product_id": self.product.id,
                    "location_id": warehouse.lot_stock_id.id,
                    "inventory_quantity": 5,
                }
            )
        )
        quant.action_apply_inventory()
        entries = self._entries()
        self.assertEqual(entries.user_id, manager)
        self.assertEqual(entries.operating_company_id, company)
        self.assertEqual(
            self.env["stock.ledger.entry"].with_user(manager).search([("id", ">", self.before)]),
            entries,
        )
        # The other company's user sees nothing of it, shared locations included.
        self._receive(self.product, 1)
        self.assertFalse(
            self.env["stock.ledger.entry"].with_user(self.user).search([("id", "in", entries.ids)])
        )
        self.assertTrue(
            self.env["stock.ledger.entry"].with_user(self.user).search([("id", ">", self.before)])
        )
        self.assertLedgerBalanced()

    # --- quants changed and deleted by other means ---

    def test_quant_rewritten_to_another_key(self):
        quant = self._count(self.product, self.stock, 5)
        package = self.env["stock.package"].create({"name": "PACK-KEY"})
        self._mark()
        quant.with_context(inventory_mode=False).package_id = package
        self.assertEqual(
            {e.package_id: e.quantity for e in self._entries()},
            {self.env["stock.package"]: -5, package: 5},
        )
        self.assertLedgerBalanced()

    def test_quant_deleted(self):
        quants = self.env["stock.quant"].search(
            [("product_id", "=", self._count(self.product, self.stock, 5).product_id.id)]
        )
        quants.with_user(self.env.ref("base.user_root")).unlink()
        self.assertLedgerBalanced()
        self._count(self.product, self.shelf, 4)
        manager = new_test_user(
            self.env,
            "deleting_manager",
            groups="stock.group_stock_manager",
            context={"no_reset_password": True},
        )
        self.env["ir.model.access"].create(
            {
                "name": "delete quants",
                "model_id": self.env.ref("stock.model_stock_quant").id,
                "group_id": self.env.ref("stock.group_stock_manager").id,
                "perm_unlink": True,
            }
        )
        self._mark()
        quant = self.env["stock.quant"]._gather(self.product, self.shelf)
        quant.with_user(manager).unlink()
        # Core turns a manager's deletion into an adjustment: counted once.
        self.assertEqual(
            {(e.event_type, e.location_id): e.quantity for e in self._entries()},
            {
                ("ADJUSTMENT", self.shelf): -4,
                ("ADJUSTMENT", self.product.property_stock_inventory): 4,
            },
        )
        self.assertLedgerBalanced()

    def test_merge_and_clean_up_of_quants(self):
        values = {"product_id": self.product.id, "location_id": self.stock.id}
        self.env["stock.quant"].create(
            [
                {**values, "quantity": 5, "reserved_quantity": 2},
                {**values, "quantity": -1, "reserved_quantity": -3},
            ]
        )
        self.assertLedgerBalanced()
        self.env["stock.quant"]._quant_tasks()
        quant = self.env["stock.quant"]._gather(self.product, self.stock)
        self.assertEqual((quant.quantity, quant.reserved_quantity), (4, 0))
        self.assertLedgerBalanced()

    def test_owner_merged_or_deleted(self):
        partners = self.env["res.partner"].create([{"name": f"Owner {i}"} for i in range(3)])
        for partner in partners:
            self._count(self.product, self.stock, 2, owner_id=partner.id)
        kept, merged, deleted = partners
        self._mark()
        self.env["base.partner.merge.automatic.wizard"].create(
            {
                "partner_ids": [Command.set((kept | merged).ids)],
                "dst_partner_id": kept.id,
                "state": "selection",
            }
        ).action_merge()
        quantities = {
            e.owner_id: e.quantity for e in self._entries(("location_id", "=", self.stock.id))
        }
        self.assertEqual(quantities, {merged: -2, kept: 2})
        self.assertLedgerBalanced()
        deleted.unlink()
        self.assertLedgerBalanced()
        quants = self.env["stock.quant"]._gather(self.product, self.stock)
        self.assertEqual(set(quants.owner_id), {kept})
        self.assertEqual(sum(quants.mapped("quantity")), 6)

    # --- savepoints ---

    def test_rolled_back_savepoint_leaves_no_entry(self):
        self._receive(self.product, 10)
        for flush in (True, False):
            with self.subTest(flush=flush):
                self._mark()
                self._update(1)
                self.env.flush_all()
                with closing(self.env.cr.savepoint(flush=flush)):
                    self._update(100)
                    self.env.flush_all()
                self.env.invalidate_all()
                self._update(1)
                self.assertEntries(
                    self._entries(),
                    [("ADJUSTMENT", self.stock, 2, 0)]
                    if not flush
                    else [
                        ("ADJUSTMENT", self.stock, 1, 0),
                        ("ADJUSTMENT", self.stock, 1, 0),
                    ],
                )
                self.assertLedgerBalanced()

    def test_kept_savepoint_keeps_its_entries(self):
        for flush in (True, False):
            with self.subTest(flush=flush):
                self._mark()
                with self.env.cr.savepoint(flush=flush):
                    self._update(3)
                self.assertEqual(sum(self._entries().mapped("quantity")), 3)
                self.assertLedgerBalanced()

    def test_first_change_undone_by_unflushed_savepoint(self):
        self._update(1)
        self.assertTrue(self._entries())
        self._mark()
        with closing(self.env.cr.savepoint(flush=False)):
            self._update(100)
            self.env.flush_all()
        self.env.invalidate_all()
        self.assertFalse(self._entries())
        self.assertLedgerBalanced()

    def test_change_that_outlives_an_unflushed_savepoint(self):
        self._update(1)
        self._entries()
        self._mark()
        with closing(self.env.cr.savepoint(flush=False)):
            # In the ORM's cache only, which such a savepoint leaves alone.
            self._update(100)
        self.env.flush_all()
        self.assertEntries(self._entries(), [("ADJUSTMENT", self.stock, 100, 0)])
        self.assertLedgerBalanced()

    def _update(self, quantity):
        self.env["stock.quant"]._update_available_quantity(self.product, self.stock, quantity)

    # --- immutability and access ---

    def test_entries_cannot_be_changed_in_python(self):
        self._receive(self.product, 1)
        entry = self._entries()[0]
        for operation in (
            lambda: entry.write({"quantity": 7}),
            lambda: entry.unlink(),
            lambda: entry.create({"product_id": self.product.id}),
        ):
            with self.assertRaises(UserError):
                operation()

    def test_entries_cannot_be_changed_in_the_database(self):
        self._receive(self.product, 1)
        entry = self._entries()[0]
        for query in (
            "UPDATE stock_ledger_entry SET quantity = 7 WHERE id = %s",
            "DELETE FROM stock_ledger_entry WHERE id = %s",
            "TRUNCATE stock_ledger_entry -- %s",
        ):
            with (
                self.subTest(query=query),
                mute_logger("odoo.sql_db"),
                self.assertRaisesRegex(errors.RestrictViolation, "append-only"),
                self.env.cr.savepoint(),
            ):
                self.env.cr.execute(query, [entry.id])

    @users("ledger_user")
    def test_inventory_user_reads_only(self):
        entries = self.env["stock.ledger.entry"].search([], limit=1)
        entries.read(["quantity"])
        for model in ("stock.ledger.entry", "stock.ledger.balance"):
            with self.assertRaises(AccessError):
                self.env[model].check_access("write")

    def test_others_read_nothing(self):
        new_test_user(
            self.env,
            "ledger_nobody",
            groups="base.group_user",
            context={"no_reset_password": True},
        )
        for model in (
            "stock.ledger.entry",
            "stock.ledger.balance",
            "stock.ledger.delta",
            "stock.ledger.report.stock",
        ):
            with self.assertRaises(AccessError):
                self.env[model].with_user(
                    self.env["res.users"].search([("login", "=", "ledger_nobody")])
                ).search([])

    def test_deleting_what_an_entry_names(self):
        self._receive(self.product, 5)
        picking = self._create_picking("out", {self.product: 5})
        picking.action_confirm()
        entry = self._entries(("move_id", "=", picking.move_ids.id))
        picking.action_cancel()
        picking_id = picking.id
        picking.unlink()
        self.env.invalidate_all()
        self.assertEqual(entry.picking_id.id, picking_id)
        [values] = entry.web_read({"picking_id": {"fields": {"display_name": {}}}})
        self.assertEqual(values["picking_id"], False)
        [group] = entry.formatted_read_group(
            [("id", "=", entry.id)], ["picking_id"], ["quantity:sum"]
        )
        self.assertEqual(group["picking_id"], (picking_id, f"Deleted ({picking_id})"))
        self.assertEqual(entry.search(group["__extra_domain"]) & entry, entry)
        self.assertEqual(
            entry.export_data(["event_type", "picking_id"])["datas"], [["Reserve", ""]]
        )
