import json
import random

from psycopg2 import IntegrityError

from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, new_test_user
from odoo.tools import SQL, mute_logger

from ..models.stock_ledger_threshold import EVENT_TYPES
from .channel_common import ChannelCase


class ThresholdCase(ChannelCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["stock.ledger.threshold"].search([]).active = False
        cls.integration = new_test_user(
            cls.env, "threshold_shop", groups="stock_event_ledger.group_integration"
        )
        cls._fold_all()
        cls.transactions = 0

    @classmethod
    def _fold_all(cls):
        cls.env["stock.ledger.entry"]._flush_buffer()
        rollup = cls.env["stock.ledger.rollup"]
        for _round in range(1000):
            if not rollup._fold():
                return
        raise AssertionError("folding never ends")

    def setUp(self):
        super().setUp()
        self.last_told_id = self._get_last_entry_id()

    def _create(self, low_at, product=None, warehouse=None, **vals):
        threshold = self.env["stock.ledger.threshold"].with_user(self.manager)
        return threshold.create(
            {
                "product_id": (product or self.product).id,
                "warehouse_id": (warehouse or self.warehouse).id,
                "low_at": low_at,
                **vals,
            }
        )

    def _commit(self):
        """Have what was done since the last time look like a transaction of its own."""
        self.env["stock.ledger.entry"]._flush_buffer()
        type(self).transactions += 1
        self.env.cr.execute(
            SQL(
                """UPDATE stock_ledger_delta SET transaction_number = %s
                    WHERE transaction_number IS NULL
                       OR transaction_number = pg_current_xact_id()::text::bigint""",
                self.transactions,
            )
        )

    def _change(self, *quantities, product=None, location=None):
        """Change the stock, in one transaction for each quantity."""
        for quantity in quantities:
            self._change_uncommitted(quantity, product, location)
            self._commit()

    def _change_uncommitted(self, quantity, product=None, location=None):
        self.env["stock.quant"]._update_available_quantity(
            product or self.product, location or self.stock, quantity
        )
        # An entry of its own, and not the net of the transaction.
        self.env["stock.ledger.entry"]._flush_buffer()

    def _get_told(self):
        """Fold, and return the types of the events since the last time."""
        self._fold_all()
        entries = self._get_new_entries(self.last_told_id).filtered(
            lambda entry: entry.event_type in EVENT_TYPES
        )
        self.last_told_id = self._get_last_entry_id()
        self.told = entries
        return entries.mapped("event_type")


class TestThreshold(ThresholdCase):
    """What is published about low stock, and what is not."""

    def _stock_up(self, quantity, low_at=5, **vals):
        self._change(quantity)
        threshold = self._create(low_at, **vals)
        self.assertEqual(self._get_told(), [])
        self.assertEqual(threshold.state, "ok")
        return threshold

    def test_each_crossing(self):
        threshold = self._stock_up(10)
        available = 10
        for quantity, told, state in (
            (-4, [], "ok"),
            (-1, ["STOCK_LOW"], "low"),
            (-2, [], "low"),
            (-3, ["STOCK_OUT"], "out"),
            (-1, [], "out"),
            (2, ["BACK_IN_STOCK"], "low"),
            (9, [], "ok"),
            (-10, ["STOCK_OUT"], "out"),
            (20, ["BACK_IN_STOCK"], "ok"),
            (-16, ["STOCK_LOW"], "low"),
            (1, [], "low"),
            (1, [], "ok"),
            (-1, ["STOCK_LOW"], "low"),
        ):
            available += quantity
            with self.subTest(available=available, quantity=quantity):
                self._change(quantity)
                self.assertEqual(self._get_told(), told)
                threshold.invalidate_recordset()
                self.assertEqual(
                    (threshold.state, threshold.available_quantity), (state, available)
                )
        self.assertTrue(threshold.state_date)
        self.assertLedgerBalanced()

    def test_what_is_kept_back_is_out_of_stock(self):
        threshold = self._stock_up(10, low_at=2.5, out_at=2.5)
        self._change(-7)
        self.assertEqual(self._get_told(), [])
        self._change(-0.5)
        self.assertEqual(self._get_told(), ["STOCK_OUT"])
        self.assertEqual(
            (self.told.origin, self.told.reference),
            ("out available 2.5 low_at 2.5 out_at 2.5", f"Threshold {threshold.id}"),
        )
        self._change(1)
        self.assertEqual(self._get_told(), ["BACK_IN_STOCK"])

    def test_each_transaction_of_a_batch_is_a_step(self):
        threshold = self._stock_up(10)
        self._change(-10, 10, -6, -4, 1)
        told = ["STOCK_OUT", "BACK_IN_STOCK", "STOCK_LOW", "STOCK_OUT", "BACK_IN_STOCK"]
        self.assertEqual(self._get_told(), told)
        self.assertEqual(
            [origin.split(" low_at")[0] for origin in self.told.mapped("origin")],
            [
                *("out available 0.0", "ok available 10.0", "low available 4.0"),
                *("out available 0.0", "low available 1.0"),
            ],
        )
        self.assertEqual(threshold.state, "low")

    def test_there_and_back_in_a_transaction_is_no_crossing(self):
        self._stock_up(10)
        for quantity in (-10, 10):
            self._change_uncommitted(quantity)
        self._commit()
        self.assertEqual(self._get_told(), [])

    def test_between_shelves_is_no_crossing(self):
        self._stock_up(10)
        picking = self._create_picking("int", {self.product: 10})
        picking.action_confirm()
        picking.action_assign()
        self._validate(picking)
        self._commit()
        self.assertEqual(self._get_told(), [])

    def test_between_warehouses(self):
        here = self._stock_up(10)
        there = self._create(5, warehouse=self.other_warehouse)
        self.assertEqual(self._get_told(), ["STOCK_OUT"])
        picking = self._create_picking(
            "int", {self.product: 7}, destination=self.other_warehouse.lot_stock_id
        )
        picking.action_confirm()
        self._validate(picking)
        self._commit()
        self.assertEqual(sorted(self._get_told()), ["BACK_IN_STOCK", "STOCK_LOW"])
        self.assertEqual((here.state, there.state), ("low", "ok"))
        self.assertEqual(
            {entry.event_type: entry.warehouse_id for entry in self.told},
            {"STOCK_LOW": self.warehouse, "BACK_IN_STOCK": self.other_warehouse},
        )

    def test_a_reservation_is_enough(self):
        self._stock_up(10)
        picking = self._create_picking("out", {self.product: 8})
        picking.action_confirm()
        self._commit()
        self.assertEqual(self._get_told(), ["STOCK_LOW"])
        self._validate(picking)
        self._commit()
        self.assertEqual(self._get_told(), [])

    def test_other_products_and_locations_are_none_of_its_business(self):
        self._stock_up(10)
        self._change(-3, product=self._create_product("Other"))
        self._change(-10, location=self.customers)
        self.assertEqual(self._get_told(), [])

    # --- new and changed ones

    def test_new_one_of_what_is_not_folded_yet(self):
        self._change(3, 4, -1, 4, -2)
        threshold = self._create(5)
        self.assertTrue(threshold.is_due)
        self.assertEqual(self._get_told(), [])
        self.assertEqual((threshold.state, threshold.is_due), ("ok", False))

    def test_new_one_waits_for_the_last_batch(self):
        self._change(3, 4, -1, 4, -2)
        threshold = self._create(5)
        for _round in range(5):
            self.assertTrue(threshold.is_due)
            self.assertTrue(self.env["stock.ledger.rollup"]._fold(1))
        self.assertEqual(self._get_told(), [])
        self.assertEqual(threshold.state, "ok")

    def test_new_one_of_low_stock(self):
        for quantity, told, state in ((-1, "STOCK_OUT", "out"), (3, "STOCK_LOW", "low")):
            with self.subTest(quantity=quantity):
                product = self._create_product("New")
                self._change(quantity, product=product)
                threshold = self._create(5, product=product)
                self.assertEqual(self._get_told(), [told])
                self.assertEqual(threshold.state, state)
                self.assertEqual(self._get_told(), [])

    def test_changed_limits(self):
        threshold = self._stock_up(10)
        for vals, told, state in (
            ({"low_at": 10}, ["STOCK_LOW"], "low"),
            ({"low_at": 11}, [], "low"),
            ({"out_at": 10}, ["STOCK_OUT"], "out"),
            ({"low_at": 10, "out_at": 1}, ["BACK_IN_STOCK"], "low"),
            ({"low_at": 5}, [], "ok"),
        ):
            with self.subTest(vals=vals):
                # Of two transactions before and one after, nothing is decided by itself.
                self._change(-10, 10)
                threshold.write(vals)
                self.assertTrue(threshold.is_due)
                self.assertEqual(self._get_told(), told)
                self.assertEqual(threshold.state, state)

    def test_archived(self):
        threshold = self._stock_up(10)
        threshold.active = False
        self._change(-10)
        self.assertEqual(self._get_told(), [])
        threshold.active = True
        self.assertEqual(self._get_told(), ["STOCK_OUT"])

    def test_other_product(self):
        threshold = self._stock_up(10)
        threshold.product_id = self._create_product("Other")
        self.assertFalse(threshold.state)
        self.assertEqual(self._get_told(), ["STOCK_OUT"])
        self.assertEqual(self.told.product_id, threshold.product_id)

    def test_rebuilding_the_rollups_is_no_crossing(self):
        threshold = self._stock_up(10)
        self._change(-1)
        self.env.cr.execute(SQL("UPDATE stock_ledger_balance SET quantity = 0"))
        self.env["stock.ledger.rollup"]._rebuild()
        self.assertEqual(self._get_told(), [])
        self.assertEqual(threshold.state, "ok")
        self._change(-4)
        self.assertEqual(self._get_told(), ["STOCK_LOW"])

    # --- batches

    def test_a_batch_takes_all_of_a_transaction(self):
        self._stock_up(10)
        others = self._create_product("Other")
        for product, quantity in ((self.product, -10), (others, 1), (self.product, 10)):
            self._change_uncommitted(quantity, product)
        self._commit()
        self.assertEqual(self.env["stock.ledger.rollup"]._fold(1), 2)
        self.assertEqual(self._get_told(), [])

    def test_deltas_from_before_are_steps(self):
        self._stock_up(10)
        self._change(-10, 10)
        self.env.cr.execute(SQL("UPDATE stock_ledger_delta SET transaction_number = NULL"))
        self.assertEqual(self._get_told(), ["STOCK_OUT", "BACK_IN_STOCK"])

    def test_random_transactions(self):
        threshold = self._stock_up(20)
        chance = random.Random(7)
        available, state, expected = 20, "ok", []
        rollup = self.env["stock.ledger.rollup"]
        for _transaction in range(60):
            # To any level around the limits, in some detours.
            parts = [chance.choice((-7, -1, 2, 9)) for _part in range(chance.randint(0, 3))]
            parts.append(chance.randint(-4, 12) - available - sum(parts))
            for part in filter(None, parts):
                place = chance.choice([self.stock, self.shelf])
                self._change_uncommitted(part, location=place)
            self._commit()
            available += sum(parts)
            new_state = "out" if available <= 0 else "low" if available <= 5 else "ok"
            if new_state != state:
                falling = {"low": "STOCK_LOW", "out": "STOCK_OUT"}
                if state == "out":
                    expected.append("BACK_IN_STOCK")
                elif (state, new_state) != ("low", "ok"):
                    expected.append(falling[new_state])
            state = new_state
            if not chance.randrange(5):
                rollup._fold(chance.randint(1, 4))
        self.assertEqual(self._get_told(), expected)
        self.assertGreater(len(expected), 20, expected)
        threshold.invalidate_recordset()
        self.assertEqual((threshold.state, threshold.available_quantity), (state, available))

    def test_without_thresholds_folding_is_what_it_was(self):
        self._change(10)
        # The lock, the planner's setting, and the fold itself.
        with self.assertQueryCount(3):
            self.env["stock.ledger.rollup"]._fold()

    def test_a_threshold_that_is_being_changed_is_not_waited_for(self):
        self._stock_up(10)
        self._change(-10)
        self.env["stock.ledger.entry"]._flush_buffer()
        rollup = self.env["stock.ledger.rollup"]
        model = self.registry["stock.ledger.threshold"]
        self.patch(model, "try_lock_for_update", lambda thresholds, **_kw: thresholds.browse())
        self.assertEqual(rollup._fold(), 0)
        self.assertTrue(self.env["stock.ledger.delta"].search_count([]))

    # --- events

    def test_events_have_numbers_among_those_of_the_product(self):
        threshold = self._stock_up(10)
        self._confirm(self._take())
        self._change(-6)
        self._fold_all()
        self._change(-4)
        self._fold_all()
        events = [json.loads(message.body) for message in self._take()]
        self.assertEqual(
            [(event["event_type"], event["sequence"]) for event in events],
            [("ADJUSTMENT", 2), ("STOCK_LOW", 3), ("ADJUSTMENT", 4), ("STOCK_OUT", 5)],
        )
        low = events[1]
        self.assertEqual(
            (low["quantity"], low["reserved_quantity"], low["available_after"]), (0, 0, 4)
        )
        self.assertEqual(
            (low["warehouse_id"], low["location_id"]), (self.warehouse.id, self.stock.id)
        )
        self.assertEqual(low["reference"]["transfer"], f"Threshold {threshold.id}")
        self.assertEqual(low["reference"]["origin"], "low available 4.0 low_at 5.0 out_at 0.0")

    def test_a_channel_can_have_these_only(self):
        self.channel.event_type_ids = self._get_types(*EVENT_TYPES)
        self.assertEqual(len(self.channel.event_type_ids), 3)
        self._stock_up(10)
        self._change(-10, 1)
        self._fold_all()
        events = [json.loads(message.body)["event_type"] for message in self._take()]
        self.assertEqual(events, ["STOCK_OUT", "BACK_IN_STOCK"])

    @mute_logger("odoo.sql_db")
    def test_they_change_nothing(self):
        vals = self.env["stock.ledger.threshold"]._prepare_entry_vals(
            {
                **{"id": 1, "product_id": self.product.id, "warehouse_id": self.warehouse.id},
                **{"state": "low", "available": 1, "low_at": 1, "out_at": 0},
            },
            "STOCK_LOW",
        )
        for wrong in ({"quantity": 1}, {"event_type": "RECEIPT"}):
            with self.assertRaises(IntegrityError), self.env.cr.savepoint():
                self.env["stock.ledger.entry"]._append([{**vals, **wrong}])

    # --- people

    def test_rights(self):
        threshold = self._stock_up(10)
        for user in (self.user, self.integration):
            own = threshold.with_user(user)
            self.assertEqual((own.state, own.available_quantity), ("ok", 10))
            with self.assertRaises(AccessError):
                own.low_at = 3
            with self.assertRaises(AccessError):
                own.unlink()
        threshold.low_at = 3
        for vals in ({"state": "out"}, {"is_due": False}):
            with self.assertRaises(UserError):
                threshold.write(vals)
            with self.assertRaises(UserError):
                self._create(5, product=self._create_product("Other"), **vals)
        threshold.unlink()

    def test_other_company(self):
        company = self.env["res.company"].create({"name": "Other Company"})
        warehouse = self.env["stock.warehouse"].search([("company_id", "=", company.id)])
        self._stock_up(10)
        threshold = self.env["stock.ledger.threshold"].create(
            {"product_id": self.product.id, "warehouse_id": warehouse.id, "low_at": 5}
        )
        self.assertEqual(threshold.company_id, company)
        self.assertEqual(self._get_told(), ["STOCK_OUT"])
        self.assertEqual(self.told.company_id, company)
        self._change(7, location=warehouse.lot_stock_id)
        self.assertEqual(self._get_told(), ["BACK_IN_STOCK"])
        with self.assertRaises(AccessError):
            threshold.with_user(self.manager).read(["state"])
        with self.assertRaises(AccessError):
            threshold.with_user(self.manager).low_at = 3

    @mute_logger("odoo.sql_db")
    def test_what_is_refused(self):
        self._create(5)
        with self.assertRaises(IntegrityError), self.env.cr.savepoint():
            self._create(6)
        with self.assertRaises(IntegrityError), self.env.cr.savepoint():
            self._create(1, warehouse=self.other_warehouse, out_at=2)
        service = self.env["product.product"].create({"name": "Advice", "type": "service"})
        with self.assertRaises(ValidationError):
            self._create(5, product=service)

    def test_page(self):
        self._change(10)
        model = self.env["stock.ledger.threshold"].with_user(self.manager)
        with Form(model) as form:
            form.product_id = self.product
            form.warehouse_id = self.warehouse
            form.low_at = 10
        threshold = form.record
        self.assertEqual(self._get_told(), ["STOCK_LOW"])
        action = threshold.action_view_events()
        entries = self.env[action["res_model"]].with_user(self.user).search(action["domain"])
        self.assertEqual(entries, self.told)

    def test_import(self):
        self.product.default_code = "THRESHOLD-1"
        model = self.env["stock.ledger.threshold"].with_user(self.manager)
        rows = [["THRESHOLD-1", self.warehouse.name, "4"]]
        result = model.load(["product_id", "warehouse_id", "low_at"], rows)
        self.assertFalse(result["messages"])
        threshold = model.browse(result["ids"])
        self.assertEqual((threshold.product_id, threshold.low_at), (self.product, 4))

    def test_a_product_takes_its_thresholds_along(self):
        product = self._create_product("Short-lived")
        threshold = self._create(5, product=product)
        product.unlink()
        self.assertFalse(threshold.exists())
        self._fold_all()

    def test_metrics(self):
        self._stock_up(10)
        self._create(5, warehouse=self.other_warehouse)
        self._fold_all()
        lines = self.env["stock.event.metrics"]._export().decode().splitlines()
        for state, count in (("ok", "1.0"), ("low", "0.0"), ("out", "1.0")):
            self.assertIn(
                f'stock_event_ledger_low_stock_thresholds{{state="{state}"}} {count}', lines
            )
