import datetime
from contextlib import closing

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import new_test_user

from .common import LedgerCase

DAYS = 70
ENTRY = st.tuples(st.integers(0, 3), st.sampled_from([-3, 1, 2.5]), st.integers(0, 24 * DAYS))
# Open transfers: kind, quantity and in how many days, below zero those that are overdue.
PLAN = st.tuples(
    st.sampled_from(["in", "out", "int", "away"]), st.sampled_from([1, 4]), st.integers(-5, 20)
)


class TestAvailability(LedgerCase):
    """What was is the ledger's, what is to be expected is Odoo's forecast."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.now = fields.Datetime.now()
        cls.today = cls.now.date()
        cls.midnight = datetime.datetime.combine(cls.today, datetime.time())
        cls.planned = cls._create_product("Planned")

    def _append(self, *entries):
        """Append entries of (location, quantity, effective date)."""
        self.env["stock.ledger.entry"]._append(
            [
                {
                    "product_id": self.planned.id,
                    "location_id": location.id,
                    "company_id": location.company_id.id or None,
                    "operating_company_id": self.env.company.id,
                    "event_type": "RECEIPT",
                    "quantity": quantity,
                    "reserved_quantity": 0,
                    "effective_date": date,
                }
                for location, quantity, date in entries
            ]
        )

    def _day(self, days):
        return self.today + datetime.timedelta(days)

    def _get(self, back, ahead, warehouse=None, products=None, user=None):
        products = (products or self.planned).with_user(user or self.user)
        days = products.get_availability(
            fields.Date.to_string(self._day(-back)),
            self._day(ahead),
            (warehouse or self.env["stock.warehouse"]).id,
        )
        return {day.pop("date"): day for day in days}

    def _plan(self, kind, quantity, days, product=None):
        destination = self.other_warehouse.lot_stock_id if kind == "away" else None
        picking = self._create_picking(
            "int" if kind == "away" else kind,
            {product or self.planned: quantity},
            destination=destination,
        )
        picking.action_confirm()
        picking.move_ids.date = self.midnight + datetime.timedelta(days, hours=9)
        return picking

    # --- past ---

    @settings(
        max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(
        entries=st.lists(ENTRY, min_size=1, max_size=15),
        limit=st.sampled_from([0, 4, 1000]),
        back=st.integers(0, DAYS),
    )
    def test_past_is_the_ledger(self, entries, limit, back):
        locations = [self.stock, self.shelf, self.other_warehouse.lot_stock_id, self.customers]
        with closing(self.env.cr.savepoint()):
            self._append(
                *(
                    (locations[place], quantity, self.now - datetime.timedelta(hours=hours))
                    for place, quantity, hours in entries
                )
            )
            if limit:
                self.env["stock.ledger.rollup"]._fold(limit)
            for warehouse, places in (
                (None, self.stock | self.shelf | self.other_warehouse.lot_stock_id),
                (self.warehouse, self.stock | self.shelf),
            ):
                days = self._get(back, 3, warehouse)
                ledger = self.env["stock.ledger.entry"].search(
                    [("product_id", "=", self.planned.id), ("location_id", "in", places.ids)]
                )
                expected = {}
                for number in range(back + 1):
                    end = self.midnight + datetime.timedelta(1 - number)
                    entries_until = ledger.filtered_domain([("effective_date", "<", end)])
                    expected[str(self._day(-number))] = sum(entries_until.mapped("quantity"))
                self.assertEqual(
                    {date: day["physical"] for date, day in days.items() if "physical" in day},
                    expected,
                )

    # --- future ---

    @settings(
        max_examples=5, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(plans=st.lists(PLAN, min_size=1, max_size=5))
    def test_future_is_the_forecast(self, plans):
        with closing(self.env.cr.savepoint()):
            self._receive(self.planned, 10)
            for plan in plans:
                self._plan(*plan)
            for warehouse in (self.env["stock.warehouse"], self.warehouse, self.other_warehouse):
                days = self._get(2, 25, warehouse)
                for number in range(0, 26, 3):
                    date = self._day(number)
                    product = self.planned.with_context(
                        to_date=datetime.datetime.combine(date, datetime.time.max),
                        warehouse_id=warehouse.id,
                    )
                    self.assertEqual(days[str(date)]["forecast"], product.virtual_available)
                self.assertEqual(
                    days[str(self.today)]["physical"],
                    self.planned.with_context(warehouse_id=warehouse.id).qty_available,
                )

    def test_past_and_future_meet_today(self):
        self._append((self.stock, 5, self.now - datetime.timedelta(2)))
        self._plan("out", 2, -1)
        self._plan("in", 7, 2)
        days = self._get(3, 3)
        self.assertEqual(
            list(days.values()),
            [
                {"physical": 0},
                {"physical": 5},
                {"physical": 5},
                # What is overdue is expected today.
                {"physical": 5, "forecast": 3},
                {"forecast": 3},
                {"forecast": 10},
                {"forecast": 10},
            ],
        )

    def test_movement_dated_ahead_is_to_be_expected(self):
        self._append((self.stock, 5, self.midnight + datetime.timedelta(2, hours=5)))
        days = self._get(0, 3)
        self.assertEqual(
            list(days.values()),
            [{"physical": 0, "forecast": 0}, {"forecast": 0}, {"forecast": 5}, {"forecast": 5}],
        )

    def test_only_past_or_only_future(self):
        self._append((self.stock, 5, self.now - datetime.timedelta(6)))
        self._plan("out", 2, 1)
        self.assertEqual(
            list(self._get(7, -5).values()), [{"physical": 0}, {"physical": 5}, {"physical": 5}]
        )
        self.assertEqual(list(self._get(-1, 2).values()), [{"forecast": 3}, {"forecast": 3}])

    # --- products, units, access ---

    def test_variants_together(self):
        attribute = self.env["product.attribute"].create(
            {"name": "Size", "value_ids": [(0, 0, {"name": "S"}), (0, 0, {"name": "L"})]}
        )
        template = self.env["product.template"].create(
            {
                "name": "Sized",
                "is_storable": True,
                "attribute_line_ids": [
                    (0, 0, {"attribute_id": attribute.id, "value_ids": attribute.value_ids.ids})
                ],
            }
        )
        small, large = template.product_variant_ids
        self._receive(small, 3)
        self._receive(large, 4)
        large.active = False
        [day] = self._get(0, 0, products=template).values()
        self.assertEqual(day["physical"], 7)
        [day] = self._get(0, 0, products=small).values()
        self.assertEqual(day, {"physical": 3, "forecast": 3})

    def test_quantities_are_in_the_unit_of_the_product(self):
        dozen = self.env.ref("uom.product_uom_dozen")
        picking = self._create_picking("in", {self.planned: 2}, uom=dozen)
        picking.action_confirm()
        self.assertEqual(self._get(0, 0)[str(self.today)], {"physical": 0, "forecast": 24})
        other = self._create_product("In dozens", uom_id=dozen.id)
        with self.assertRaisesRegex(UserError, "units"):
            self._get(0, 0, products=self.planned | other)

    def test_period(self):
        for back, ahead in ((0, -1), (0, 3661)):
            with self.assertRaisesRegex(UserError, "ten years"):
                self._get(back, ahead)
        self.assertEqual(len(self._get(1830, 1830)), 3661)

    def test_service_has_none(self):
        service = self.env["product.product"].create({"name": "Service", "type": "service"})
        self.assertEqual(
            list(self._get(0, 0, products=service).values()), [{"physical": 0, "forecast": 0}]
        )

    def test_access(self):
        company = self.env["res.company"].create({"name": "Other Availability Company"})
        warehouse = self.env["stock.warehouse"].search([("company_id", "=", company.id)], limit=1)
        self._append((warehouse.lot_stock_id, 8, self.now), (self.stock, 5, self.now))
        self.assertEqual(self._get(0, 0)[str(self.today)]["physical"], 5)
        with self.assertRaises(AccessError):
            self._get(0, 0, warehouse)
        self.user.company_ids |= company
        products = self.planned.with_context(allowed_company_ids=[self.env.company.id, company.id])
        self.assertEqual(self._get(0, 0, products=products)[str(self.today)]["physical"], 13)
        internal = new_test_user(self.env, "no_stock", context={"no_reset_password": True})
        with self.assertRaises(AccessError):
            self._get(0, 0, user=internal)
