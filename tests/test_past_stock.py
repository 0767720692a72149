import datetime
from contextlib import closing
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odoo import fields
from odoo.tests import new_test_user

from .common import LedgerCase

FIGURES = ("qty_available", "free_qty", "incoming_qty", "outgoing_qty", "virtual_available")
START = datetime.datetime(2024, 2, 27)
MOMENT = st.tuples(st.integers(0, 60), st.sampled_from([-1, 0, 1, 40_000])).map(
    lambda when: START + datetime.timedelta(days=when[0], seconds=when[1])
)
# What happens, number of the product, quantity, whether it is done, and when.
STEP = st.tuples(
    st.sampled_from(["in", "out", "int", "shelf", "between", "count"]),
    st.integers(0, 2),
    st.integers(1, 9),
    st.sampled_from([True, True, True, False]),
    MOMENT,
)


class TestPastStock(LedgerCase):
    """Past figures from the ledger are those that Odoo gets from its moves."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.parameters = cls.env["ir.config_parameter"]
        cls.dozen = cls.env.ref("uom.product_uom_dozen")
        # In dozens, with halves: such conversions are exact, as Odoo's sums then are too.
        cls.products = cls.product | cls._create_product("Archived")
        cls.products |= cls._create_product("In dozens", uom_id=cls.dozen.id)
        cls.other_company = cls.env["res.company"].create({"name": "Other Past Company"})
        cls.other_user = new_test_user(
            cls.env,
            "past_other_user",
            groups="stock.group_stock_user",
            company_id=cls.other_company.id,
            company_ids=[(6, 0, cls.other_company.ids)],
            context={"no_reset_password": True},
        )
        cls.places = {
            "in": (cls.suppliers, cls.stock),
            "out": (cls.stock, cls.customers),
            "int": (cls.stock, cls.other_warehouse.lot_stock_id),
            "shelf": (cls.stock, cls.shelf),
            "between": (cls.other_warehouse.lot_stock_id, cls.shelf),
        }

    def _set_option(self, is_on):
        self.parameters.set_param("stock_event_ledger.past_stock", is_on)

    def _step(self, kind, product, quantity, is_done, date):
        product = self.products[product]
        if kind == "count":
            self._count(product, self.stock, quantity)
            move = self.env["stock.move"].search(
                [("product_id", "=", product.id)], order="id desc", limit=1
            )
            move.filtered("is_inventory").date = date
            return
        source, destination = self.places[kind]
        unit = self.dozen if quantity % 2 else product.uom_id
        picking = self._create_picking(
            kind if kind in ("in", "out") else "int",
            {product: quantity},
            source=source,
            destination=destination,
            uom=unit,
        )
        picking.action_confirm()
        if is_done:
            picking.move_ids.quantity = quantity
            self._validate(picking)
        picking.move_ids.date = date

    def _get_figures(self, user=None, **context):
        products = self.products.with_user(user or self.user).with_context(**context)
        products.invalidate_recordset(FIGURES)
        return [{name: product[name] for name in FIGURES} for product in products]

    def _check(self, user=None, **context):
        """Compare the ledger's figures with Odoo's, and return them."""
        self._set_option(False)
        expected = self._get_figures(user, **context)
        self._set_option(True)
        self.assertEqual(self._get_figures(user, **context), expected, context)
        return expected

    @settings(
        max_examples=8,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(steps=st.lists(STEP, min_size=2, max_size=6), moments=st.lists(MOMENT, max_size=2))
    def test_random_history(self, steps, moments):
        with closing(self.env.cr.savepoint()):
            for step in steps:
                self._step(*step)
            self.products[1].active = False
            self.env["stock.ledger.rollup"]._fold(len(steps))
            for moment in [*moments, steps[0][-1], fields.Datetime.add(START, years=90)]:
                to_date = fields.Datetime.to_string(moment)
                self._check(to_date=to_date)
                self._check(to_date=to_date, warehouse_id=self.warehouse.id)
                self._check(to_date=to_date, location=self.shelf.id)
                self._check(to_date=to_date, location=self.stock.id, strict=True)
                self._check(to_date=to_date, location=self.customers.id)
                self._check(self.other_user, to_date=to_date)
            self._check(from_date=START, to_date=steps[0][-1])

    def _serves(self, **context):
        """Tell whether the ledger is asked."""
        asked = []
        closings = type(self.env["stock.ledger.closing"])
        original = closings._query_stock_at

        def note(*args, **kwargs):
            asked.append(args)
            return original(*args, **kwargs)

        self.patch(closings, "_query_stock_at", note)
        self._get_figures(**context)
        return bool(asked)

    def test_only_what_it_can_tell(self):
        self._receive(self.product, 12)
        past = START + datetime.timedelta(days=40)
        self.assertFalse(self._serves(to_date=past))
        self._set_option(True)
        self.assertTrue(self._serves(to_date=past))
        self.assertTrue(self._serves(to_date="2024-03-01"))
        self.assertTrue(self._serves(to_date=past, location=self.customers.id))
        self.assertFalse(self._serves())
        self.assertFalse(self._serves(to_date=datetime.datetime(2100, 1, 1)))
        self.assertFalse(self._serves(to_date=past, from_date=START))
        self.assertFalse(self._serves(to_date=past, lot_id=1))
        self.assertFalse(self._serves(to_date=past, owner_id=False))
        self.assertFalse(self._serves(to_date=past, package_id=1))
        self.assertFalse(self._serves(to_date=past, owners=[1]))

    def test_rules_about_more_than_places_are_left_to_odoo(self):
        self._receive(self.product, 12)
        self._set_option(True)
        self.env["ir.rule"].create(
            {
                "name": "No lots",
                "model_id": self.env["ir.model"]._get_id("stock.quant"),
                "domain_force": "[('lot_id', '=', False)]",
            }
        )
        self.assertFalse(self._serves(to_date=START))

    def test_before_the_ledger_was_opened(self):
        closings = self.env["stock.ledger.closing"]
        first = datetime.datetime(2024, 3, 1, 10)
        before = first - datetime.timedelta(seconds=1)
        for event_type, is_known in (("OPENING", False), ("RECEIPT", True)):
            with patch.object(type(self.env), "execute_query", return_value=[(event_type, first)]):
                self.assertEqual(closings._is_stock_known_at(before), is_known)
                self.assertTrue(closings._is_stock_known_at(first))

    def test_products_without_stock_of_their_own(self):
        self.products |= self.env["product.product"].create(
            {"name": "Not stored", "type": "consu", "is_storable": False}
        )
        self._receive(self.products[-1], 5)
        self._receive(self.product, 5)
        figures = self._check(to_date=START)
        # So Odoo has it: it goes back from nothing through the receipt.
        self.assertEqual([row["qty_available"] for row in figures], [0, 0, 0, -5])

    def test_goods_were_where_they_were(self):
        """Move lines may go elsewhere than their move: Odoo's way back misses that."""
        picking = self._create_picking("in", {self.product: 5})
        picking.action_confirm()
        picking.move_ids.move_line_ids.location_dest_id = self.shelf
        self._validate(picking)
        self._set_option(True)
        before = fields.Datetime.subtract(picking.move_ids.date, seconds=1)
        [figures, *_others] = self._get_figures(to_date=before, location=self.shelf.id)
        self.assertEqual(figures["qty_available"], 0)
        self._check(to_date=before)

    def test_inventory_at_date(self):
        self._receive(self.product, 8)
        move = self._receive(self.product, 4).move_ids
        move.date = START
        wizard = self.env["stock.quantity.history"].with_user(self.user)
        action = wizard.create({"inventory_datetime": START}).open_at_date()
        self._set_option(True)
        products = self.env["product.product"].with_user(self.user)
        products = products.with_context(**action["context"])
        found = products.search(action["domain"] + [("qty_available", ">", 0)])
        self.assertIn(self.product, found)
        [row] = products.search_read([("id", "=", self.product.id)], ["qty_available"])
        self.assertEqual(row["qty_available"], 4)
        template = self.product.product_tmpl_id.with_context(**action["context"])
        self.assertEqual(template.with_user(self.user).qty_available, 4)

    def test_option(self):
        settings = self.env["res.config.settings"]
        self.assertFalse(settings.create({}).stock_past_from_ledger)
        settings.create({"stock_past_from_ledger": True}).execute()
        self._receive(self.product, 1)
        self.assertTrue(self._serves(to_date=START))
