from contextlib import closing

from odoo import Command
from odoo.exceptions import UserError
from odoo.tools import SQL

from .reconciliation_common import ReconciliationCase


class TestReconciliation(ReconciliationCase):
    """Each fault is found, named, corrected, and then all is well."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls._receive(cls.product, 10)
        cls.delivery = cls._create_picking("out", {cls.product: 4})
        cls.delivery.action_confirm()
        cls.lot = cls._create_lot(cls.lot_product, "COUNTED")
        cls._receive(cls.lot_product, 6, lots=cls.lot)
        cls._receive(cls.product, 3, destination=cls.other_warehouse.lot_stock_id)
        cls._fold_all()

    def _find(self, kind, difference, cause, is_full=True):
        """Reconcile, and return the only drift of this kind, which is as expected."""
        self._reconcile(is_full)
        drift = self._get_open(kind)
        self.assertEqual(
            [(d.difference, d.cause) for d in drift], [(difference, cause)], self._get_open()
        )
        return drift

    def test_no_drift(self):
        run = self.assertClean()
        self.assertGreaterEqual(run.key_count, 5)
        self.assertEqual(run.entry_count, self.env["stock.ledger.entry"].search_count([]))
        self.assertClean(is_full=False)

    def test_what_odoo_does_is_no_drift(self):
        """Nor what is still to be folded or merged."""
        self._validate(self.delivery)
        self.delivery.move_ids.move_line_ids.quantity = 5
        self.delivery.move_ids.date = "2024-01-02 12:00:00"
        dozen = self.env.ref("uom.product_uom_dozen")
        self._receive(self.product, 1, uom=dozen)
        draft = self._create_picking("out", {self.product: 1})
        draft.move_ids.quantity = 1
        self._count(self.product, self.shelf, 7.5)
        self._create_picking("int", {self.product: 2}).action_confirm()
        values = {"product_id": self.product.id, "location_id": self.shelf.id}
        self.env["stock.quant"].create([{**values, "quantity": 5}, {**values, "quantity": -2}])
        receipt = self._create_picking("in", {self.product: 2})
        receipt.action_confirm()
        self.assertEqual(len(self._get_quants(self.product, self.shelf)), 3)
        for _fold in range(2):
            self.assertClean()
            self.assertClean(is_full=False)
            self._fold_all()

    def test_a_lot_that_is_not_there_is_reserved_without_it(self):
        self._execute("UPDATE stock_quant SET lot_id = NULL WHERE lot_id = %s", self.lot.id)
        self._reconcile()
        self._correct(self._get_open(), "ledger")
        delivery = self._create_picking("out", {self.lot_product: 2})
        delivery.move_ids.move_line_ids = [
            Command.create(
                {"product_id": self.lot_product.id, "lot_id": self.lot.id, "quantity": 2}
            )
        ]
        self.assertEqual(self._get_quants(self.lot_product).reserved_quantity, 2)
        self.assertClean()
        self._execute("UPDATE stock_quant SET reserved_quantity = 3 WHERE reserved_quantity = 2")
        self._reconcile()
        self.assertTrue(self._get_open("reservation"))

    def test_quant_changed(self):
        self._execute(
            "UPDATE stock_quant SET quantity = quantity + 5 WHERE product_id = %s "
            "AND location_id = %s",
            self.product.id,
            self.stock.id,
        )
        for is_full in (False, True):
            drift = self._find("on_hand", 5, "sql", is_full)
        self.assertEqual(self._get_open(), drift)
        self.assertEqual(
            (drift.ledger_quantity, drift.quant_quantity, drift.rollup_quantity), (10, 15, 10)
        )
        last_types = drift.entry_ids.mapped("event_type")
        self.assertEqual(last_types[:2], ["DRIFT_FOUND", "RESERVE"])
        self.assertEqual(drift.quant_ids, self._get_quants(self.product))
        self.assertEqual(drift.move_line_ids, self.delivery.move_line_ids)
        since = self._get_last_entry_id()
        self._correct(drift, "ledger")
        entry = self._get_new_entries(since)
        self.assertEntries(entry, [("CORRECTION", self.stock, 5, 0)])
        self.assertEqual(
            (entry.user_id, entry.origin, entry.reference),
            (self.manager, "Found by the auditor", drift.display_name),
        )
        self.assertEqual(
            (drift.state, drift.way, drift.reason, drift.corrected_uid, drift.correction_entry_id),
            ("corrected", "ledger", "Found by the auditor", self.manager, entry),
        )
        self.assertClean()

    def test_quants_follow_the_ledger(self):
        self._execute(
            "UPDATE stock_quant SET quantity = quantity - 2.5 WHERE product_id = %s "
            "AND location_id = %s",
            self.lot_product.id,
            self.stock.id,
        )
        drift = self._find("on_hand", -2.5, "sql")
        since = self._get_last_entry_id()
        self._correct(drift, "quants")
        quant = self._get_quants(self.lot_product)
        self.assertEqual((quant.quantity, quant.lot_id), (6, self.lot))
        inventory = drift.correction_move_id.location_id
        self.assertEqual(inventory.usage, "inventory")
        self.assertEntries(
            self._get_new_entries(since),
            [
                ("CORRECTION", self.stock, -2.5, 0),
                ("ADJUSTMENT", inventory, -2.5, 0),
                ("ADJUSTMENT", self.stock, 2.5, 0),
            ],
        )
        self.assertIn("Found by the auditor", drift.correction_move_id.reference)
        self.assertClean()

    def test_quant_written_by_other_code(self):
        """It leaves a date and a user behind that no ledger entry has."""
        self._execute(
            "UPDATE stock_quant SET quantity = 9, write_date = now() + INTERVAL '1 hour', "
            "write_uid = %s WHERE product_id = %s AND location_id = %s",
            self.user.id,
            self.product.id,
            self.stock.id,
        )
        drift = self._find("on_hand", -1, "code")
        self.assertEqual(drift.quant_write_uid, self.user)

    def test_quant_deleted(self):
        self._execute(
            "DELETE FROM stock_quant WHERE product_id = %s AND location_id = %s",
            self.product.id,
            self.stock.id,
        )
        on_hand = self._find("on_hand", -10, "quant_deleted")
        reservation = self._get_open("reservation")
        self.assertEqual((reservation.difference, reservation.cause), (-4, "lost"))
        self.assertEqual(self._get_open("reserved").difference, -4)
        self._correct(on_hand, "quants")
        self._correct(reservation, "lines")
        self.assertFalse(self._get_open())
        quant = self._get_quants(self.product)
        self.assertEqual((quant.quantity, quant.reserved_quantity), (10, 4))
        self._validate(self.delivery)
        self.assertClean()

    def test_entry_inserted(self):
        self._execute_on_ledger(
            """INSERT INTO stock_ledger_entry (
                   product_id, location_id, company_id, event_type, quantity,
                   reserved_quantity, effective_date, recorded_date)
               SELECT %s, %s, %s, 'ADJUSTMENT', 7, 1, now(), now()""",
            self.product.id,
            self.stock.id,
            self.env.company.id,
        )
        on_hand = self._find("on_hand", -7, "ledger")
        self.assertEqual(set(self._get_open().mapped("kind")), {"on_hand", "reserved", "rollup"})
        self._correct(on_hand | self._get_open("reserved"), "ledger")
        self._correct(self._get_open("rollup")[0], "rollup")
        self.assertFalse(self._get_open(), "all rollups are made again")
        self.assertClean()

    def test_entry_removed(self):
        """The correction takes the place of the side that the movement misses."""
        entry = self._get_entries(
            [
                ("product_id", "=", self.product.id),
                ("location_id", "=", self.stock.id),
                ("event_type", "=", "RECEIPT"),
            ]
        )
        move, date = entry.move_id, entry.effective_date
        self._execute_on_ledger("DELETE FROM stock_ledger_entry WHERE id = %s", entry.id)
        drift = self._find("on_hand", 10, "entry_missing")
        unbalanced = self._get_open("unbalanced")
        self.assertEqual(unbalanced.difference, -10)
        self.assertEqual((drift | unbalanced).suspect_move_id, move)
        with self.assertRaisesRegex(UserError, "on hand of this product first"):
            self._correct(unbalanced, "ledger")
        self._correct(drift, "ledger")
        correction = drift.correction_entry_id
        self.assertEqual((correction.move_id, correction.effective_date), (move, date))
        self._reconcile()
        self.assertEqual(unbalanced.state, "gone")
        self.assertEqual(set(self._get_open().mapped("kind")), {"rollup"})
        self._correct(self._get_open(), "rollup")
        self.assertClean()

    def test_entry_doubled(self):
        """Its trigger fed the rollups: they agree with a ledger that is wrong."""
        entry = self._get_entries(
            [("product_id", "=", self.lot_product.id), ("location_id", "=", self.stock.id)]
        )
        columns = (
            "product_id, location_id, lot_id, company_id, operating_company_id, warehouse_id, "
            "event_type, quantity, reserved_quantity, effective_date, recorded_date, move_id"
        )
        self._execute(
            f"INSERT INTO stock_ledger_entry ({columns}) "
            f"SELECT {columns} FROM stock_ledger_entry WHERE id = %s",
            entry.id,
        )
        drift = self._find("on_hand", -6, "entry_doubled")
        self._correct(drift, "ledger")
        self.assertEqual(drift.correction_entry_id.move_id, entry.move_id)
        self.assertClean()

    def test_movement_that_does_not_add_up(self):
        """An entry that was taken off its movement: the stock is right all the same."""
        entry = self._get_entries(
            [("product_id", "=", self.lot_product.id), ("location_id", "=", self.stock.id)]
        )
        self._execute_on_ledger(
            "UPDATE stock_ledger_entry SET move_id = NULL WHERE id = %s", entry.id
        )
        drift = self._find("unbalanced", -6, "entry_missing")
        since = self._get_last_entry_id()
        self._correct(drift, "ledger")
        entries = self._get_new_entries(since)
        self.assertEqual(entries.mapped("quantity"), [6, -6])
        self.assertEqual(len(entries.location_id), 1)
        self.assertClean()

    def test_reservation_lost(self):
        self._execute(
            "UPDATE stock_quant SET reserved_quantity = 1 WHERE product_id = %s "
            "AND location_id = %s",
            self.product.id,
            self.stock.id,
        )
        drift = self._find("reservation", -3, "lost")
        self.assertEqual((drift.quant_quantity, drift.line_quantity), (1, 4))
        reserved = self._get_open("reserved")
        self.assertEqual(reserved.difference, -3)
        since = self._get_last_entry_id()
        self._correct(reserved, "lines")
        self.assertEntries(
            self._get_new_entries(since),
            [("CORRECTION", self.stock, 0, -3), ("RESERVE", self.stock, 0, 3)],
        )
        self.assertEqual((drift | reserved).mapped("state"), ["corrected", "corrected"])
        self.assertEqual(self._get_quants(self.product).reserved_quantity, 4)
        self.assertClean()

    def test_orphan_reservation(self):
        self._execute("DELETE FROM stock_move_line WHERE move_id = %s", self.delivery.move_ids.id)
        drift = self._find("reservation", 4, "orphan")
        self.assertEqual(self._get_open(), drift)
        since = self._get_last_entry_id()
        self._correct(drift, "lines")
        self.assertEntries(self._get_new_entries(since), [("UNRESERVE", self.stock, 0, -4)])
        self.assertClean()

    def test_rows_of_one_stock_key_are_added_up(self):
        """Duplicate quants are no drift; a drift among them is one, and is corrected."""
        values = {"product_id": self.product.id, "location_id": self.stock.id}
        self.env["stock.quant"].create([{**values, "quantity": 5}, {**values, "quantity": -2}])
        self.assertClean()
        self._execute(
            "UPDATE stock_quant SET quantity = quantity + 1, reserved_quantity = 2 WHERE id = %s",
            self._get_quants(self.product)[-1].id,
        )
        drift = self._find("on_hand", 1, "sql")
        self.assertEqual(drift.quant_count, 3)
        self._correct(drift, "quants")
        self._correct(self._get_open("reservation"), "lines")
        self.assertEqual(sum(self._get_quants(self.product).mapped("quantity")), 13)
        self.assertClean()

    def test_rollups(self):
        rollups = self.env["stock.ledger.rollup"]._get_rollups()
        for rollup in rollups:
            figure = "in_quantity" if "in_quantity" in rollup._fields else "quantity"
            condition = SQL("product_id = %s", self.product.id)
            if "product_id" not in rollup._fields:
                condition = SQL("location_id = %s", self.stock.id)
            query = SQL(
                """UPDATE %(table)s SET %(figure)s = %(figure)s + 2
                    WHERE id = (SELECT MIN(id) FROM %(table)s WHERE %(condition)s)""",
                table=SQL.identifier(rollup._table),
                figure=SQL.identifier(figure),
                condition=condition,
            )
            self._execute(query)
        self._execute("DELETE FROM stock_ledger_day WHERE product_id = %s", self.lot_product.id)
        self._reconcile()
        drifts = self._get_open()
        self.assertEqual(set(drifts.mapped("kind")), {"rollup"})
        self.assertEqual(set(drifts.mapped("rollup")), {rollup._name for rollup in rollups})
        names = dict(drifts._fields["rollup"]._description_selection(self.env))
        self.assertTrue(all(names[drift.rollup] for drift in drifts))
        others = drifts.filtered(lambda drift: drift.product_id == self.lot_product)
        self.assertEqual(set((drifts - others).mapped("difference")), {2})
        self.assertEqual(set(others.mapped("rollup")), {"stock.ledger.day"})
        self._correct(drifts, "rollup")
        self.assertClean()

    def test_other_figures_of_rollups(self):
        self._execute(
            "UPDATE stock_ledger_balance SET last_movement_date = now() WHERE product_id = %s",
            self.product.id,
        )
        self._execute(
            "UPDATE stock_ledger_closing SET next_date = '2035-01-01' WHERE product_id = %s",
            self.product.id,
        )
        self._execute(
            "UPDATE stock_ledger_month SET entry_count = 9 WHERE product_id = %s", self.product.id
        )
        self._reconcile()
        self.assertEqual(set(self._get_open().mapped("figure")), {"date", "chain", "entries"})
        self._correct(self._get_open(), "rollup")
        self.assertClean()

    # --- runs

    def _change_quant(self, by=1, product=None):
        quant = self._get_quants(product or self.product)
        self._execute("UPDATE stock_quant SET quantity = quantity + %s WHERE id = %s", by, quant.id)

    def test_a_drift_lives_from_run_to_run(self):
        self._change_quant()
        first = self._reconcile()
        drift = self._get_open()
        self._change_quant()
        second = self._reconcile(is_full=False)
        self.assertEqual(self._get_open(), drift)
        self.assertEqual((drift.first_run_id, drift.run_id, drift.difference), (first, second, 2))
        self._change_quant(by=-2)
        third = self._reconcile()
        self.assertEqual((drift.state, drift.run_id), ("gone", second))
        self._change_quant()
        self._reconcile()
        again = self._get_open()
        self.assertNotEqual(again, drift)
        self.assertEqual([second.drift_count, third.drift_count], [1, 0])
        self.assertEqual(self.drifts.search(second.action_view_drifts()["domain"]), drift)

    def test_scope(self):
        self._change_quant()
        self._change_quant(product=self.lot_product)
        run = self._reconcile(product_ids=(self.lot_product.id,))
        self.assertEqual(self._get_open().product_id, self.lot_product)
        self.assertEqual(run.scope, self.lot_product.display_name)
        self._reconcile(warehouse_ids=(self.other_warehouse.id,))
        self.assertEqual(self._get_open().product_id, self.lot_product, "it is not gone")
        run = self._reconcile(warehouse_ids=(self.warehouse.id,))
        self.assertEqual(self._get_open().product_id, self.lot_product | self.product)
        self.assertEqual((run.on_hand_count, run.drift_count), (2, 2))

    def test_what_the_balances_do_not_show(self):
        """A frequent run compares the ledger where something is known to be wrong."""
        self._execute(
            """INSERT INTO stock_ledger_entry (
                   product_id, location_id, company_id, event_type, quantity,
                   reserved_quantity, effective_date, recorded_date)
               SELECT %s, %s, %s, 'ADJUSTMENT', 7, 0, now(), now()""",
            self.product.id,
            self.stock.id,
            self.env.company.id,
        )
        self._find("on_hand", -7, "sql", is_full=False)
        self._execute_on_ledger(
            "DELETE FROM stock_ledger_entry WHERE event_type = 'ADJUSTMENT' AND product_id = %s",
            self.product.id,
        )
        self._reconcile(is_full=False)
        self.assertFalse(self._get_open("on_hand"))

    def test_another_run_is_under_way(self):
        with closing(self.registry.cursor()) as other:
            self.runs.with_env(self.env(cr=other))._claim_turn()
            with self.assertRaisesRegex(UserError, "under way"):
                self.runs._reconcile()
        self.runs._reconcile()
