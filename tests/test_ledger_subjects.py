from odoo import Command
from odoo.exceptions import AccessError, UserError
from odoo.tests import new_test_user

from .common import LedgerCase


class TestLedgerSubjects(LedgerCase):
    """The buttons from products, lots, places, packages and transfers to the ledger."""

    def _open(self, action):
        """Return what an action's list shows, as the user."""
        return self.env[action["res_model"]].with_user(self.user).search(action["domain"])

    def _open_entries(self, record, user=None):
        return self._open(record.with_user(user or self.user).action_view_ledger_entries())

    def test_product_and_template(self):
        self._receive(self.product, 10)
        other = self._create_product("Other")
        self._receive(other, 3)
        for record in (self.product, self.product.product_tmpl_id):
            entries = self._open_entries(record)
            self.assertEqual(entries.product_id, self.product)
            self.assertEqual(sorted(entries.mapped("quantity")), [-10, 10])
        entries = self._open_entries(self.product | other)
        self.assertEqual(entries.product_id, self.product | other)

    def test_archived_variants_have_entries_too(self):
        attribute = self.env["product.attribute"].create(
            {
                "name": "Size",
                "value_ids": [Command.create({"name": "S"}), Command.create({"name": "L"})],
            }
        )
        template = self.env["product.template"].create(
            {
                "name": "Sized",
                "is_storable": True,
                "attribute_line_ids": [
                    Command.create(
                        {
                            "attribute_id": attribute.id,
                            "value_ids": [Command.set(attribute.value_ids.ids)],
                        }
                    )
                ],
            }
        )
        variants = template.product_variant_ids
        for variant in variants:
            self._receive(variant, 1)
        variants[0].active = False
        self.assertEqual(self._open_entries(template).product_id, variants)
        with self.assertRaisesRegex(UserError, "of one product"):
            template.with_user(self.user).action_view_stock_card()

    def test_lot(self):
        lots = [self._create_lot(self.lot_product, name) for name in ("L1", "L2")]
        self._receive(self.lot_product, 5, lots=lots)
        entries = self._open_entries(lots[0])
        self.assertEqual(entries.lot_id, lots[0])
        self.assertEqual(sorted(entries.mapped("quantity")), [-5, 5])

    def test_stock_card_of_a_lot(self):
        lots = [self._create_lot(self.lot_product, name) for name in ("L1", "L2")]
        for quantity, lot in ((5, lots[0]), (8, lots[1])):
            self._receive(self.lot_product, quantity, lots=[lot])
        action = lots[0].with_user(self.user).action_view_stock_card()
        cards = self.env[action["res_model"]].with_user(self.user)
        card = cards.with_context(**action["context"]).create({})
        self.assertEqual((card.product_id, card.lot_id), (self.lot_product, lots[0]))
        self.assertIn("L1", card.display_name)
        rows = card._get_rows()
        self.assertEqual(rows.get_totals(), {"opening": 0, "in": 5, "out": 0, "closing": 5})
        opening = rows.search([], limit=1)
        context = opening.env.context
        self.assertEqual(context["stock_ledger_lot_id"], lots[0].id)
        again = opening._create_card()
        self.assertEqual(again.lot_id, lots[0])
        card.lot_id = False
        self.assertEqual(card._get_rows().get_totals()["closing"], 13)
        card.lot_id = lots[1]
        card.product_id = self.product
        self.assertFalse(card.lot_id)

    def test_location(self):
        self._receive(self.product, 4, destination=self.shelf)
        self._receive(self.product, 3)
        self.assertEqual(self._open_entries(self.shelf).mapped("quantity"), [4])
        self.assertEqual(sum(self._open_entries(self.stock).mapped("quantity")), 7)
        rows = self._open(self.shelf.with_user(self.user).action_view_stock())
        self.assertEqual(
            rows.filtered(lambda row: row.product_id == self.product).physical_quantity, 4
        )

    def test_package(self):
        package = self.env["stock.package"].create({"name": "PACK-LEDGER"})
        self._count(self.product, self.stock, 6, package_id=package.id)
        entries = self._open_entries(package)
        self.assertEqual(entries.package_id, package)
        self.assertEqual(entries.mapped("quantity"), [6])

    def test_transfer_and_move(self):
        receipt = self._receive(self.product, 10)
        self._receive(self.product, 1)
        for record in (receipt, receipt.move_ids):
            self.assertEqual(self._open_entries(record).picking_id, receipt)

    def test_events(self):
        channel = self.env["stock.event.channel"].create(
            {"name": "Subjects", "code": "subjects", "exchange": "s", "state": "paused"}
        )
        channel.active = True
        receipt = self._receive(self.product, 10)
        self.env["stock.ledger.entry"]._flush_buffer()
        for record in (receipt, receipt.move_ids, self.product, self.product.product_tmpl_id):
            events = self._open(record.with_user(self.user).action_view_events())
            self.assertEqual(events.channel_id & channel, channel, record)
            self.assertEqual(events.product_id, self.product)

    def test_reserved_by(self):
        lot = self._create_lot(self.lot_product, "L1")
        self._receive(self.lot_product, 10, lots=[lot])
        self._receive(self.product, 10)
        picking = self._create_picking("out", {self.product: 4, self.lot_product: 3})
        picking.action_confirm()
        # What is to come holds nothing, nor does what is done.
        self._create_picking("in", {self.product: 2}).action_confirm()
        self._validate(self._create_picking("out", {self.product: 1}))
        for record, product in (
            (self.product, self.product),
            (self.product.product_tmpl_id, self.product),
            (lot, self.lot_product),
        ):
            lines = self._open(record.with_user(self.user).action_view_reservations())
            self.assertEqual(lines.move_id.picking_id, picking)
            self.assertEqual(lines.product_id, product)

    def test_employees_without_inventory_are_refused(self):
        employee = new_test_user(self.env, "subject_employee", context={"no_reset_password": True})
        action = self.product.with_user(employee).action_view_ledger_entries()
        with self.assertRaises(AccessError):
            self.env[action["res_model"]].with_user(employee).search(action["domain"])
