from datetime import datetime

from psycopg2 import errors

from odoo import Command
from odoo.exceptions import AccessError
from odoo.tests import new_test_user
from odoo.tools import SQL, mute_logger

from ..counting import Counts
from .common import LedgerCase


class TestCount(LedgerCase):
    """Each count that is applied is kept, whichever way Odoo applies it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.counter = new_test_user(
            cls.env,
            "counter",
            groups="stock.group_stock_user",
            context={"no_reset_password": True},
        )
        cls.manager = new_test_user(
            cls.env,
            "count_manager",
            groups="stock.group_stock_manager",
            context={"no_reset_password": True},
        )
        cls._receive(cls.product, 10)
        cls.quant = cls.env["stock.quant"].search(
            [("product_id", "=", cls.product.id), ("location_id", "=", cls.stock.id)]
        )
        cls.quants = cls.quant.with_user(cls.user).with_context(inventory_mode=True)

    def _get_counts(self, *domain):
        # As the user of the report.
        return self.env["stock.ledger.count"].with_user(self.user).search(list(domain), order="id")

    def _get_quantities(self, counts):
        return [
            (count.counted_quantity, count.expected_quantity, count.difference_quantity)
            for count in counts
        ]

    def _apply(self, quants, reason="Shelf check", **vals):
        """Apply counts as the button above the list does."""
        wizard = quants.env["stock.inventory.adjustment.name"].create(
            {"quant_ids": quants.ids, "inventory_adjustment_name": reason, **vals}
        )
        return wizard.action_apply()

    def test_loss(self):
        self.quants.inventory_quantity = 7
        self.quants.user_id = self.counter
        self._apply(self.quants, counting_date=datetime(2024, 2, 29, 12))
        count = self._get_counts()
        self.assertEqual(self._get_quantities(count), [(7, 10, -3)])
        self.assertEqual((count.gain_quantity, count.loss_quantity, count.accuracy), (0, 3, 0))
        self.assertEqual((count.counted_by_id, count.user_id), (self.counter, self.user))
        self.assertEqual((count.reason, count.date), ("Shelf check", datetime(2024, 2, 29, 12)))
        self.assertEqual(
            (count.product_id, count.location_id, count.warehouse_id, count.company_id),
            (self.product, self.stock, self.warehouse, self.env.company),
        )

    def test_entries(self):
        since = self._get_last_entry_id()
        self.quants.inventory_quantity = 12
        self.quants.action_apply_inventory()
        count = self._get_counts()
        self.assertEqual(self._get_quantities(count), [(12, 10, 2)])
        self.assertEqual((count.gain_quantity, count.loss_quantity), (2, 0))
        self.assertFalse(count.reason)
        self.assertEqual(count.counted_by_id, self.user)
        entries = self._get_new_entries(since)
        loss = self.product.property_stock_inventory
        self.assertEqual(
            {(e.event_type, e.location_id, e.quantity) for e in entries},
            {("ADJUSTMENT", loss, -2), ("ADJUSTMENT", self.stock, 2)},
        )
        action = count.action_view_entries()
        self.assertEqual(
            self.env[action["res_model"]].search(action["domain"], order="id"), entries
        )
        action = count.action_view_move_lines()
        lines = self.env[action["res_model"]].search(action["domain"])
        self.assertEqual((lines.quantity, lines.move_id), (2, count.move_id))

    def test_no_difference(self):
        self.quants.action_set_inventory_quantity()
        self.quants.action_apply_inventory()
        count = self._get_counts()
        self.assertEqual(self._get_quantities(count), [(10, 10, 0)])
        self.assertEqual((count.accuracy, count.move_id.state), (1, "done"))

    def test_many(self):
        """Lots, packages, owners and units each have their own quant, and so their own count."""
        dozens = self._create_product("In dozens", uom_id=self.env.ref("uom.product_uom_dozen").id)
        lot = self._create_lot(self.lot_product, "A")
        package = self.env["stock.package"].create({"name": "Pallet"})
        owner = self.env["res.partner"].create({"name": "Consignor"})
        expected = []
        quants = self.quants.browse()
        for product, vals in (
            (dozens, {}),
            (self.lot_product, {"lot_id": lot.id, "package_id": package.id}),
            (self.product, {"owner_id": owner.id}),
            (self.product, {}),
        ):
            quants |= self.quants.create(
                {
                    "product_id": product.id,
                    "location_id": self.stock.id,
                    "inventory_quantity": 1.5 if product == dozens else 4,
                    **vals,
                }
            )
            expected.append((product, product.uom_id, *vals.values()))
        self._apply(quants)
        counts = self._get_counts()
        self.assertEqual(
            self._get_quantities(counts), [(1.5, 0, 1.5), (4, 0, 4), (4, 0, 4), (4, 10, -6)]
        )
        self.assertEqual(
            [
                (
                    count.product_id,
                    count.product_uom_id,
                    *filter(None, (count.lot_id.id, count.package_id.id, count.owner_id.id)),
                )
                for count in counts
            ],
            expected,
        )
        for count in counts:
            # Each has its own move, of the same goods.
            line = count.move_id.move_line_ids
            self.assertEqual(
                (line.product_id, line.lot_id, line.owner_id, line.quantity),
                (count.product_id, count.lot_id, count.owner_id, abs(count.difference_quantity)),
            )
        self.assertLedgerBalanced()

    def test_auto_apply(self):
        """The quantity set on the product's own page, and by other programs."""
        self.quants.with_user(self.manager).inventory_quantity_auto_apply = 9
        self.assertEqual(self._get_quantities(self._get_counts()), [(9, 10, -1)])
        self.assertEqual(self._get_counts().user_id, self.manager)

    def test_conflict(self):
        """Stock that moves between counting and applying is expected as it is then."""
        for keep, quantities in (
            ("action_keep_counted_quantity", (8, 7, 1)),
            ("action_keep_difference", (3, 5, -2)),
        ):
            with self.subTest(keep=keep):
                before = self._get_counts()
                # Odoo lets managers alone decide.
                quants = self.quants.with_user(self.manager)
                quants.inventory_quantity = quants.quantity - 2
                self.env.flush_all()
                picking = self._create_picking("out", {self.product: 3})
                picking.action_confirm()
                self._validate(picking)
                action = self._apply(quants)
                conflict = quants.env[action["res_model"]].with_context(**action["context"])
                self.assertEqual(self._get_counts(), before, "nothing is applied yet")
                # Another request.
                self.env.invalidate_all()
                getattr(conflict.create({}), keep)()
                counts = self._get_counts() - before
                self.assertEqual(self._get_quantities(counts), [quantities])

    def test_relocation_is_no_count(self):
        self.quant.move_quants(location_dest_id=self.shelf)
        self.assertFalse(self._get_counts())

    def test_fewer_moves(self):
        moves = self._receive(self.product, 5).move_ids
        counts = Counts()
        for product in (self.lot_product, self.product):
            counts.plan({"product_id": product.id, "location_id": self.stock.id})
        with self.assertLogs("odoo.addons.stock_event_ledger.counting", "WARNING"):
            counts.match(moves)
        self.assertEqual(
            [(v["product_id"], m) for v, m in counts.applied], [(self.product.id, moves)]
        )

    def test_companies(self):
        company = self.env["res.company"].create({"name": "Other Company"})
        warehouse = self.env["stock.warehouse"].search([("company_id", "=", company.id)])
        self._count(self.product, warehouse.lot_stock_id, 5)
        counts = self.env["stock.ledger.count"].search([])
        self.assertEqual((counts.company_id, counts.warehouse_id), (company, warehouse))
        self.assertFalse(self._get_counts(), "it is another company's")
        self.user.company_ids = [Command.link(company.id)]
        allowed = self.env["stock.ledger.count"].with_user(self.user).with_company(company)
        self.assertEqual(allowed.search([]), counts)

    def test_append_only(self):
        self._count(self.product, self.stock, 5)
        count = self._get_counts()
        with self.assertRaises(AccessError):
            count.create({"product_id": self.product.id})
        with self.assertRaises(AccessError):
            count.counted_quantity = 6
        for query in (
            SQL("UPDATE stock_ledger_count SET counted_quantity = 6"),
            SQL("DELETE FROM stock_ledger_count"),
            SQL("TRUNCATE stock_ledger_count"),
        ):
            with (
                mute_logger("odoo.sql_db"),
                self.assertRaises(errors.RestrictViolation),
                self.env.cr.savepoint(),
            ):
                self.env.cr.execute(query)

    def test_report(self):
        for counted, reason in ((7, "Yearly"), (9, "Yearly"), (9, "Damaged")):
            self.quants.inventory_quantity = counted
            self._apply(self.quants, reason)
        rows = self._get_counts()._read_group(
            [],
            ["reason", "counted_by_id", "product_categ_id"],
            ["gain_quantity:sum", "loss_quantity:sum", "accuracy:avg", "__count"],
            order="reason",
        )
        category = self.product.categ_id
        self.assertEqual(
            rows,
            [
                ("Damaged", self.user, category, 0, 0, 1, 1),
                ("Yearly", self.user, category, 2, 3, 0, 2),
            ],
        )

    def test_deleted_targets(self):
        self.quants.inventory_quantity = 7
        self.quants.user_id = self.counter
        self._apply(self.quants)
        self.counter.unlink()
        [row] = self._get_counts().web_read({"counted_by_id": {"fields": {"display_name": {}}}})
        self.assertFalse(row["counted_by_id"])
