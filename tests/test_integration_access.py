from odoo.exceptions import AccessError
from odoo.tests import new_test_user

from ..exceptions import InvalidInput
from .integration_common import GROUP, IntegrationCase


class TestIntegrationAccess(IntegrationCase):
    """Who may call what, and whose stock that touches."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.foreign_stock = cls.foreign_warehouse.lot_stock_id
        cls.foreign_product = cls._create_product(
            "Foreign", default_code="FOREIGN", company_id=cls.other_company.id
        )
        quants = cls.env["stock.quant"]
        quants._update_available_quantity(cls.product, cls.foreign_stock, 9)
        quants._update_available_quantity(cls.product, cls.stock, 4)
        quants._update_available_quantity(cls.foreign_product, cls.foreign_stock, 9)

    def _get_all_quantities(self):
        return self.env["stock.quant"].search([], order="id").mapped("quantity")

    def test_who_may_call(self):
        line = {"sku": "PLAIN", "quantity": 1}
        for name, groups in (("clerk", "stock.group_stock_user"), ("partner", GROUP)):
            user = new_test_user(self.env, name, groups=groups)
            service = self.env["stock.integration"].with_user(user)
            self.assertDone(service.receive("k", [line], warehouse=self.code))
            self.assertEqual(len(service.get_availability(skus=["PLAIN"])["unknown"]), 0)
        for name, groups in (("stranger", "base.group_user"), ("visitor", "base.group_portal")):
            user = new_test_user(self.env, name, groups=groups)
            service = self.env["stock.integration"].with_user(user)
            with self.enter_registry_test_mode(), self.assertRaises(AccessError):
                service.receive("k", [line], warehouse=self.code)
            with self.assertRaises(AccessError):
                service.get_availability(skus=["PLAIN"])
            with self.assertRaises(AccessError):
                service.get_feed()

    def test_sudo_and_context_give_no_rights(self):
        user = new_test_user(self.env, "stranger", groups="base.group_user")
        service = self.env["stock.integration"].with_user(user).sudo()
        with self.assertRaises(AccessError):
            service.get_availability(skus=["PLAIN"])
        service = self.service.with_context(allowed_company_ids=self.other_company.ids)
        with self.assertRaises(AccessError):
            service.get_availability(skus=["PLAIN"])
        for companies in ("1", [self.other_company.name], [[]], 7):
            with self.subTest(companies=companies), self.assertRaises(InvalidInput):
                self.service.with_context(allowed_company_ids=companies).get_availability(
                    skus=["PLAIN"]
                )

    def test_a_context_decides_nothing(self):
        service = self.service.with_context(
            default_location_dest_id=self.shelf.id, default_picking_type_id=1, skip_backorder=1
        )
        service.receive("k", [{"sku": "PLAIN", "quantity": 1}], warehouse=self.code)
        self.assertEqual(self._get_on_hand(self.product, self.shelf), 0)

    def test_other_companies_warehouses_are_not_there(self):
        before = self._get_all_quantities()
        line = {"sku": "PLAIN", "quantity": 1}
        here, there = self.warehouse.id, self.foreign_warehouse.id
        refused = [
            ("receive", {"warehouse_id": there}, "warehouse_id"),
            ("issue", {"warehouse": self.foreign_warehouse.code}, "warehouse"),
            ("return_goods", {"warehouse_id": there}, "warehouse_id"),
            ("issue", {"warehouse_id": here, "location_id": self.foreign_stock.id}, "location_id"),
            (
                "transfer",
                {"from_warehouse_id": there, "to_warehouse_id": here},
                "from_warehouse_id",
            ),
            ("transfer", {"from_warehouse_id": here, "to_warehouse_id": there}, "to_warehouse_id"),
        ]
        for operation, options, member in refused:
            with (
                self.subTest(operation=operation, options=options),
                self.enter_registry_test_mode(),
                self.assertRaises(InvalidInput) as caught,
            ):
                self._call(operation, line, **options)
            self.assertEqual([p["member"] for p in caught.exception.problems], [member])
        with self.enter_registry_test_mode(), self.assertRaises(InvalidInput):
            self._call("adjust", {"sku": "PLAIN", "quantity": 0}, warehouse_id=there)
        for question in ({"warehouse_ids": [there]}, {"warehouses": ["nowhere"]}):
            with self.assertRaises(InvalidInput):
                self.service.get_availability(skus=["PLAIN"], **question)
            with self.assertRaises(InvalidInput):
                self.service.get_feed(**question)
        self.assertEqual(self._get_all_quantities(), before)

    def test_other_companies_products_are_not_there(self):
        for name in ({"sku": "FOREIGN"}, {"product_id": self.foreign_product.id}):
            result = self._call("receive", {**name, "quantity": 1})
            self.assertCodes(result, ["unknown_product"])
            self.assertNotIn("product_id", result["lines"][0])
        answer = self.service.get_availability(product_ids=self.foreign_product.ids)
        self.assertEqual(
            answer, {"availability": [], "unknown": [{"product_id": self.foreign_product.id}]}
        )

    def test_other_companies_stock_is_not_told(self):
        answer = self.service.get_availability(skus=["PLAIN"])
        self.assertEqual(sum(row["physical"] for row in answer["availability"]), 4)
        with self.enter_registry_test_mode():
            entries = self.service.get_feed(limit=1000)["entries"]
        self.assertNotIn(self.foreign_stock.id, {entry["location_id"] for entry in entries})
        self.partner_user.company_ids |= self.other_company
        answer = self.service.get_availability(skus=["PLAIN"])
        self.assertEqual(sum(row["physical"] for row in answer["availability"]), 13)
        result = self._call(
            "issue", {"sku": "PLAIN", "quantity": 9}, warehouse_id=self.foreign_warehouse.id
        )
        self.assertDone(result)

    def test_no_transfer_to_another_company(self):
        self.partner_user.company_ids |= self.other_company
        with self.enter_registry_test_mode(), self.assertRaises(InvalidInput) as caught:
            self._call(
                "transfer",
                {"sku": "PLAIN", "quantity": 1},
                from_warehouse=self.code,
                to_warehouse_id=self.foreign_warehouse.id,
            )
        self.assertEqual(caught.exception.problems[0]["member"], "to_warehouse_id")

    def test_whose_calls_are_seen(self):
        self._call("receive", {"sku": "PLAIN", "quantity": 1})
        other = new_test_user(self.env, "other", groups=GROUP)
        other_service = self.env["stock.integration"].with_user(other)
        other_service.receive("k", [{"sku": "PLAIN", "quantity": 1}], warehouse=self.code)
        manager = new_test_user(self.env, "manager", groups="stock.group_stock_manager")
        foreign_manager = new_test_user(
            self.env,
            "foreign_manager",
            groups="stock.group_stock_manager",
            company_id=self.other_company.id,
            company_ids=self.other_company.ids,
        )
        users = self.partner_user | other

        def get_users(user):
            calls = self.env["stock.integration.call"].with_user(user)
            return calls.search([("user_id", "in", users.ids)]).mapped("user_id.id")

        self.assertEqual(get_users(self.partner_user), self.partner_user.ids)
        self.assertEqual(set(get_users(manager)), set(users.ids))
        self.assertEqual(get_users(foreign_manager), [])
        call = self._get_calls().with_user(self.partner_user)
        for change in (lambda: call.write({"state": "failed"}), call.unlink, call.copy):
            with self.assertRaises(AccessError):
                change()
