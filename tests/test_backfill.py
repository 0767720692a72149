import datetime
import random
from unittest.mock import patch

from odoo.exceptions import AccessError, UserError
from odoo.fields import Command
from odoo.tests import Form, new_test_user, tagged
from odoo.tools import SQL, mute_logger

from .common import LedgerCase
from .rollup_common import get_period_differences, get_reported_stock_at, get_stock_at
from .tour_common import TourCase

START = datetime.datetime(2024, 1, 5, 8)


class BackfillCase(LedgerCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ledger = cls.env["stock.ledger.entry"]
        cls.backfill = cls.env.ref("stock_event_ledger.backfill")
        cls.manager = new_test_user(
            cls.env,
            "backfill_manager",
            groups="stock.group_stock_manager",
            company_ids=[Command.set(cls.env["res.company"].search([]).ids)],
            context={"no_reset_password": True},
        )

    def setUp(self):
        super().setUp()
        self.date = START

    @classmethod
    def _open_ledger(cls):
        """Bring the database to where the addon's installation leaves it."""
        cls.ledger._flush_buffer()
        cls.env.flush_all()
        cls.env.cr.execute(
            """ALTER TABLE stock_ledger_entry DISABLE TRIGGER USER;
            DELETE FROM stock_ledger_entry;
            ALTER TABLE stock_ledger_entry ENABLE TRIGGER USER;
            DELETE FROM stock_ledger_delta"""
        )
        for rollup in cls.env["stock.ledger.rollup"]._get_rollups():
            cls.env.cr.execute(SQL("DELETE FROM %s", SQL.identifier(rollup._table)))
        cls.env.invalidate_all()
        cls.ledger._append_opening()

    def _move(self, kind, product, quantity, **vals):
        """Do a transfer, some days after the one before."""
        picking = self._create_picking(kind, {product: quantity}, **vals)
        picking.action_confirm()
        picking.move_ids.quantity = quantity
        self._validate(picking)
        self._date_back(picking.move_ids)
        return picking

    def _date_back(self, moves):
        self.date += datetime.timedelta(days=9, minutes=7)
        moves.date = self.date

    def _start(self):
        self.backfill.with_user(self.manager).action_start()

    def _work_off(self, limit=7):
        """Do all of it, and check after each step that the sums are right."""
        while self.backfill.state == "running":
            self.backfill._work(limit)
            self.assertLedgerBalanced()
        self.assertEqual(self.backfill.state, "done", self.backfill.message)

    def _run(self, limit=7):
        self._start()
        self._work_off(limit)

    def _get_history(self, *domain):
        return self._get_entries([("event_type", "!=", "OPENING"), *domain])

    def _get_unexplained(self, *products):
        """Return what is left of the opening in stock, by product, location and lot."""
        rows = self.env["stock.ledger.report.opening"].with_user(self.manager).search([])
        return {
            (row.location_id, row.lot_id): row.quantity
            for row in rows
            if row.product_id in products and row.location_id.usage == "internal"
        }

    def _get_stock_at(self, product, at, get=get_reported_stock_at):
        """Return what the ledger says was on hand in the warehouse at a moment."""
        inside = self.env["stock.location"].search(
            [("id", "child_of", self.warehouse.view_location_id.id)]
        )
        return sum(
            quantity
            for key, quantity in get(self.env, at).items()
            if key[0] == product.id and key[1] in inside.ids
        )

    def assertStockAsOdooSays(self, products, dates):
        """Compare stock at dates with Odoo's own figure: quants less later moves."""
        self.env.flush_all()
        for at in dates:
            for product in products:
                odoo = product.with_context(to_date=at, warehouse_id=self.warehouse.id)
                self.assertAlmostEqual(
                    float(self._get_stock_at(product, at)),
                    odoo.qty_available,
                    msg=f"{product.name} at {at}",
                )


class TestBackfill(BackfillCase):
    # --- what it enters

    def test_a_receipt_and_a_delivery(self):
        receipt = self._move("in", self.product, 10, origin="P00001")
        delivery = self._move("out", self.product, 4)
        self._open_ledger()
        self._run()
        entries = self._get_history(("product_id", "=", self.product.id))
        self.assertEntries(
            entries,
            [
                ("RECEIPT", self.suppliers, -10, 0),
                ("RECEIPT", self.stock, 10, 0),
                ("SALE", self.stock, -4, 0),
                ("SALE", self.customers, 4, 0),
            ],
        )
        entry = entries[1]
        self.assertEqual(entry.effective_date, receipt.move_ids.date)
        self.assertEqual(entry.move_id, receipt.move_ids)
        self.assertEqual(entry.move_line_id, receipt.move_line_ids)
        self.assertEqual(entry.picking_id, receipt)
        self.assertEqual(entry.reference, receipt.name)
        self.assertEqual(entry.origin, "P00001")
        self.assertEqual(entry.user_id, receipt.move_line_ids.write_uid)
        self.assertEqual(entry.company_id, self.warehouse.company_id)
        self.assertEqual(entry.operating_company_id, receipt.company_id)
        self.assertEqual(entry.warehouse_id, self.warehouse)
        self.assertFalse(entries[0].company_id or entries[0].warehouse_id)
        self.assertEqual(entries[2].picking_id, delivery)
        self.assertEqual(self._get_unexplained(self.product), {})
        self.assertEqual(self.backfill.done_count, self.backfill.line_count)
        self.assertEqual(self.backfill.progress, 100)

    def test_the_same_entries_as_those_of_a_ledger_that_was_there(self):
        self._make_everything()
        columns = SQL(
            """product_id, location_id, lot_id, package_id, owner_id, company_id,
            operating_company_id, warehouse_id, event_type, effective_date, move_id,
            move_line_id, picking_id, reference, origin"""
        )
        query = SQL(
            """SELECT %(columns)s, SUM(quantity)::float FROM stock_ledger_entry
                WHERE move_id IS NOT NULL AND product_id = ANY(%(products)s)
                GROUP BY %(columns)s HAVING SUM(quantity) <> 0""",
            columns=columns,
            products=(self.product | self.lot_product).ids,
        )
        self.ledger._flush_buffer()
        expected = self.env.execute_query(query)
        types = set(self.ledger.search([("product_id", "=", self.product.id)]).mapped("event_type"))
        self.assertGreaterEqual(
            types,
            {
                "RECEIPT",
                "SALE",
                "CUSTOMER_RETURN",
                "SUPPLIER_RETURN",
                "TRANSFER_OUT",
                "TRANSFER_IN",
                "INTERNAL",
                "ADJUSTMENT",
                "SCRAP",
                "CONSUMPTION",
                "PRODUCTION",
            },
        )
        self._open_ledger()
        self._run()
        self.assertEqual(
            sorted(map(repr, self.env.execute_query(query))), sorted(map(repr, expected))
        )
        self.assertEqual(self._get_unexplained(self.product, self.lot_product), {})

    def _make_everything(self):
        """Do each kind of movement, with lots, packages and owners."""
        production = self.env["stock.location"].search([("usage", "=", "production")], limit=1)
        transit = self.warehouse.company_id.internal_transit_location_id
        transit.active = True
        other = self.other_warehouse.lot_stock_id
        places = (
            (self.suppliers, self.stock),
            (self.stock, self.customers),
            (self.customers, self.stock),
            (self.stock, self.suppliers),
            (self.suppliers, self.customers),
            (self.customers, self.suppliers),
            (self.stock, self.shelf),
            (self.stock, other),
            (self.stock, transit),
            (transit, other),
            (self.stock, production),
            (production, self.stock),
        )
        self._move("in", self.product, 100)
        for source, destination in places:
            self._move("int", self.product, 2, source=source, destination=destination)
        self._count(self.product, self.stock, 55)
        scrap = self.env["stock.scrap"].create(
            {"product_id": self.product.id, "scrap_qty": 2, "location_id": self.stock.id}
        )
        scrap.action_validate()
        lots = self._create_lot(self.lot_product, "H1") | self._create_lot(self.lot_product, "H2")
        self._receive(self.lot_product, 5, lots=lots)
        owned = self._create_picking("in", {self.product: 3})
        owned.owner_id = self.env["res.partner"].create({"name": "Consignor"})
        owned.action_confirm()
        owned.move_line_ids.result_package_id = self.env["stock.package"].create({})
        self._validate(owned)

    def test_a_module_with_event_types_of_its_own(self):
        self._move("in", self.product, 10)
        self._open_ledger()
        ledger_class = type(self.ledger)
        with patch.object(
            ledger_class, "_get_event_type", lambda self, change, move, line: "CORRECTION"
        ):
            self._run()
        self.assertEqual(set(self._get_history().mapped("event_type")), {"CORRECTION"})

    def test_products_without_stock_have_no_history(self):
        consumable = self.env["product.product"].create({"name": "Tea", "type": "consu"})
        self._move("in", consumable, 10)
        self._open_ledger()
        self._run()
        self.assertFalse(self._get_entries([("product_id", "=", consumable.id)]))

    def test_nothing_is_published(self):
        self.env.ref("stock_event_ledger.channel_default").active = True
        self._move("in", self.product, 10)
        self._open_ledger()
        self.env.cr.execute("DELETE FROM stock_event_outbox")
        self._run()
        self.assertTrue(self._get_history())
        self.assertFalse(self.env["stock.event.outbox"].search_count([]))

    # --- stock in the past

    def test_stock_at_a_date_is_what_odoo_says(self):
        rng = random.Random(7)
        self.env["stock.quant"]._update_available_quantity(self.product, self.stock, 5)
        products = self.product | self.lot_product | self._create_product("Another")
        lots = self._create_lot(self.lot_product, "R1") | self._create_lot(self.lot_product, "R2")
        for _number in range(24):
            self._do_something(rng, products, lots)
        self._open_ledger()
        self._do_something(rng, products, lots)
        self._run(limit=5)
        begin = self.backfill.history_date
        dates = [begin + (self.date - begin) * rng.random() for _number in range(25)]
        self.assertStockAsOdooSays(products, dates)
        while self.env["stock.ledger.rollup"]._fold():
            pass
        self.assertStockAsOdooSays(products, dates)
        for at in dates:
            self.assertEqual(get_reported_stock_at(self.env, at), get_stock_at(self.env, at))
        for period in ("day", "month"):
            self.assertFalse(get_period_differences(self.env, period))
        self.assertEqual(self._get_unexplained(*products), {(self.stock, lots.browse()): 5})

    def _do_something(self, rng, products, lots):
        product = rng.choice(products)
        kind = rng.choice(["in", "in", "out", "int", "count", "edit"])
        quantity = rng.choice([1, 2, 2.5, 7])
        if product == self.lot_product and kind != "edit":
            picking = self._receive(product, quantity, lots=rng.choice(lots))
            self._date_back(picking.move_ids)
        elif kind == "count":
            before = self.env["stock.move"].search([], limit=1, order="id desc").id
            self._count(product, self.shelf, quantity)
            self._date_back(self.env["stock.move"].search([("id", ">", before)]))
        elif kind == "edit":
            self._edit(rng, products, quantity)
        else:
            self._move(kind, product, quantity)

    def _edit(self, rng, products, quantity):
        lines = self.env["stock.move.line"].search(
            [
                ("product_id", "in", products.ids),
                ("state", "=", "done"),
                ("picking_id", "!=", False),
            ]
        )
        if lines:
            rng.choice(lines).quantity = quantity

    def test_what_history_does_not_explain_was_there_before_it(self):
        first = self._move("in", self.product, 10)
        self.env["stock.quant"]._update_available_quantity(self.product, self.shelf, -3)
        self._open_ledger()
        self._run()
        row = self.env["stock.ledger.report.opening"].search(
            [("product_id", "=", self.product.id), ("location_id", "=", self.shelf.id)]
        )
        self.assertEqual((row.opening_quantity, row.history_quantity, row.quantity), (-3, 0, -3))
        self.assertGreaterEqual(self.backfill.unexplained_count, 1)
        at = first.move_ids.date
        self.assertEqual(self._get_stock_at(self.product, at), 7)
        self.assertEqual(self._get_stock_at(self.product, at - datetime.timedelta(seconds=1)), -3)
        action = row.with_user(self.manager).action_view_entries()
        entries = self.ledger.search(action["domain"])
        self.assertEqual(set(entries.mapped("event_type")), {"OPENING"})
        self.assertEqual(sum(entries.mapped("quantity")), -3)
        original = min(entries, key=lambda entry: entry.id)
        self.assertEqual(entries.corrects_entry_id, original)

    def test_last_movement_is_that_of_history(self):
        receipt = self._move("in", self.product, 10)
        self._open_ledger()
        self._run()
        while self.env["stock.ledger.rollup"]._fold():
            pass
        balance = self.env["stock.ledger.balance"].search(
            [("product_id", "=", self.product.id), ("location_id", "=", self.stock.id)]
        )
        self.assertEqual(balance.last_movement_date, receipt.move_ids.date)

    def test_all_figures_agree_with_it(self):
        self._move("in", self.product, 10)
        self._move("out", self.product, 4)
        self._open_ledger()
        self._start()
        for _step in range(2):
            self.backfill._work(1)
        self.env["stock.ledger.rollup"]._fold()
        self._work_off()
        for _folded in range(2):
            run = self.env["stock.ledger.reconciliation"]._reconcile()
            found = self.env["stock.ledger.drift"].search([("run_id", "=", run.id)])
            self.assertEqual(run.state, "clean", found.read(["kind", "rollup", "figure"]))
            while self.env["stock.ledger.rollup"]._fold():
                pass

    # --- history and archives

    def test_archives_wait_for_it_and_end_it(self):
        self._move("in", self.product, 10)
        self._open_ledger()
        self._start()
        archives = self.env["stock.ledger.archive.wizard"].with_user(self.manager)
        wizard = archives.create({"month": START})
        self.backfill._work()
        with self.assertRaisesRegex(UserError, "History is being entered"):
            wizard.action_archive()
        self._work_off()
        self.env["stock.quant"]._update_available_quantity(self.lot_product, self.stock, 5)
        wizard.action_archive()
        for archive in self.env["stock.ledger.archive"].search([], order="month"):
            archive._try_archive()
            self.assertEqual(archive.state, "done", archive.error)
        self.assertFalse(self._get_unexplained(self.product, self.lot_product))
        self.assertEqual(self.env["stock.ledger.reconciliation"]._reconcile().state, "clean")
        with self.assertRaisesRegex(UserError, "Months of the ledger are archived"):
            self._start()

    # --- what changes meanwhile

    def test_lines_changed_or_done_before_their_batch(self):
        edited = self._move("in", self.product, 10)
        moved = self._move("in", self.product, 6)
        emptied = self._move("in", self.product, 3)
        redated = self._move("out", self.product, 2)
        waiting = self._create_picking("out", {self.product: 1})
        waiting.action_confirm()
        self._open_ledger()
        edited.move_line_ids.quantity = 8
        moved.move_line_ids.location_dest_id = self.shelf
        emptied.move_line_ids.quantity = 0
        redated.move_ids.date = START
        self._validate(waiting)
        self._receive(self.product, 5)
        edited.move_line_ids.date = "2030-01-01"
        edited.move_line_ids.date = START
        self._run(limit=2)
        self.assertEqual(self._get_unexplained(self.product), {})
        in_stock = [("product_id", "=", self.product.id), ("location_id.usage", "=", "internal")]
        for picking, expected in (
            (edited, {self.stock: 8}),
            (moved, {self.stock: 0, self.shelf: 6}),
            (emptied, {self.stock: 0}),
            (redated, {self.stock: -2}),
            (waiting, {self.stock: -1}),
        ):
            quantities = dict.fromkeys(expected, 0)
            entries = self._get_entries([*in_stock, ("move_id", "=", picking.move_ids.id)])
            for entry in entries:
                quantities[entry.location_id] += entry.quantity
            self.assertEqual(quantities, expected)
        self.assertEqual(
            set(self._get_history(("move_id", "=", redated.move_ids.id)).mapped("effective_date")),
            {START},
        )
        self.assertStockAsOdooSays(self.product, [START, self.date])

    def test_a_line_dated_back_after_it_was_done(self):
        self._move("in", self.product, 10)
        self._open_ledger()
        late = self._receive(self.product, 5)
        late.move_ids.date = START
        late.move_line_ids.date = START
        self._run()
        entries = self._get_history(("move_id", "=", late.move_ids.id))
        self.assertEqual(len(entries), 2)
        self.assertEqual(self._get_unexplained(self.product), {})

    def test_a_move_redated_while_its_batch_was_entered(self):
        picking = self._move("in", self.product, 10)
        self._open_ledger()
        self._start()
        while not self._get_history(("product_id", "=", self.product.id)):
            self.backfill._work()
        # Whoever wrote this did not see the entries yet: no ledger method ran.
        date = START + datetime.timedelta(days=100)
        self.env.cr.execute(
            SQL(
                "UPDATE stock_move SET date = %s, write_date = %s WHERE id = %s",
                date,
                self.backfill.started_date + datetime.timedelta(seconds=1),
                picking.move_ids.id,
            )
        )
        self.env.invalidate_all()
        self._work_off()
        at = date - datetime.timedelta(days=1)
        self.assertEqual(self._get_stock_at(self.product, at), 0)
        self.assertEqual(self._get_stock_at(self.product, date), 10)

    def test_changes_after_it(self):
        picking = self._move("in", self.product, 10)
        self._open_ledger()
        self._run()
        picking.move_line_ids.quantity = 8
        picking.move_ids.date = START
        self.assertLedgerBalanced()
        self.assertStockAsOdooSays(self.product, [START, self.date])

    # --- starting, stopping, and doing it again

    def test_done_again_it_adds_nothing(self):
        self._move("in", self.product, 10)
        self._move("out", self.product, 3)
        self._open_ledger()
        self._run()
        before = self._get_last_entry_id()
        self._run()
        self.assertFalse(self._get_new_entries(before))

    def test_paused_and_resumed(self):
        for _number in range(4):
            self._move("in", self.product, 1)
        self._open_ledger()
        self._start()
        page = self.backfill.with_user(self.manager)
        self.backfill._work(2)
        self.backfill._work(2)
        page.action_pause()
        count = self.backfill.done_count
        self.assertEqual(count, 2)
        with self.enter_registry_test_mode():
            self.env.ref("stock_event_ledger.cron_backfill").method_direct_trigger()
        self.assertEqual((self.backfill.state, self.backfill.done_count), ("paused", count))
        self.assertRaises(UserError, page.action_pause)
        self.assertRaises(UserError, page.action_start)
        page.action_resume()
        self._work_off(2)
        self.assertEqual(self._get_unexplained(self.product), {})

    def test_resumed_after_a_failure_in_the_middle_of_a_batch(self):
        for _number in range(4):
            self._move("in", self.product, 1)
        self._open_ledger()
        self._start()
        for _number in range(2):
            self.backfill._work(2)
        before = self._get_last_entry_id()
        with (
            patch.object(
                type(self.ledger), "_query_change_opening", lambda *args: SQL("SELECT 1 / 0")
            ),
            mute_logger("odoo.sql_db", self.backfill._module + ".models.stock_ledger_backfill"),
        ):
            self.backfill._work(2)
        self.assertEqual(self.backfill.state, "failed")
        self.assertIn("division by zero", self.backfill.message)
        self.assertEqual(self.backfill.done_count, 2)
        self.assertFalse(self._get_new_entries(before))
        self.assertLedgerBalanced()
        self.backfill.with_user(self.manager).action_resume()
        self._work_off(2)
        self.assertFalse(self.backfill.message)
        self.assertEqual(self._get_unexplained(self.product), {})

    def test_the_scheduled_action(self):
        self._move("in", self.product, 10)
        self._open_ledger()
        self._start()
        with self.enter_registry_test_mode():
            self.env.ref("stock_event_ledger.cron_backfill").method_direct_trigger()
        self.assertEqual(self.backfill.state, "done")
        self.assertLedgerBalanced()
        self.assertTrue(self._get_history())

    def test_it_folds_what_it_enters(self):
        self._move("in", self.product, 10)
        self._open_ledger()
        self._start()
        with patch(
            f"{type(self).__module__.rsplit('.', 2)[0]}.models.stock_ledger_backfill.FOLD_BATCH", 1
        ):
            self._work_off(1)
        self.assertEqual(self.env["stock.ledger.delta"].search_count([]), 0)

    def test_a_database_without_history(self):
        self.env.cr.execute("UPDATE stock_move_line SET state = 'cancel' WHERE state = 'done'")
        self.env.invalidate_all()
        self._open_ledger()
        self._run()
        self.assertEqual((self.backfill.line_count, self.backfill.progress), (0, 100))

    # --- who may

    def test_managers_of_all_companies_only(self):
        backfill = self.backfill
        with self.assertRaises(AccessError):
            backfill.with_user(self.user).action_start()
        with self.assertRaises(AccessError):
            self.env["stock.ledger.report.opening"].with_user(self.user).search([])
        self.env["res.company"].create({"name": "One More Company"})
        with self.assertRaises(AccessError):
            backfill.with_user(self.manager).action_start()
        with self.assertRaises(AccessError):
            backfill.with_user(self.manager).write({"state": "running"})
        self.assertEqual(Form(backfill.with_user(self.manager)).state, "draft")
        self.assertEqual(backfill.state, "draft")

    def test_the_other_companies_part_is_not_seen(self):
        company = self.env["res.company"].create({"name": "Another Company"})
        warehouse = self.env["stock.warehouse"].search([("company_id", "=", company.id)])
        self.env["stock.quant"]._update_available_quantity(self.product, warehouse.lot_stock_id, 4)
        self.env["stock.quant"]._update_available_quantity(self.product, self.stock, 5)
        self._open_ledger()
        self.assertEqual(
            self._get_unexplained(self.product), {(self.stock, self.env["stock.lot"]): 5}
        )


@tagged("post_install", "-at_install")
class TestBackfillPage(TourCase, BackfillCase):
    """The page, in a real browser, as an inventory manager."""

    def test_starting(self):
        self._move("in", self.product, 10)
        self._open_ledger()
        self.start_tour("/odoo", "stock_event_ledger_backfill_start", login=self.manager.login)
        self.assertEqual(self.backfill.user_id, self.manager)
        self._work_off()

    def test_result(self):
        found = self._create_product("Found Product")
        self.env["stock.quant"]._update_available_quantity(found, self.stock, 5)
        self._open_ledger()
        self._run()
        self.start_tour("/odoo", "stock_event_ledger_backfill_result", login=self.manager.login)
