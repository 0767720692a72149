import datetime

from odoo.tests import new_test_user, tagged

from .common import LedgerCase
from .tour_common import TourCase


@tagged("post_install", "-at_install")
class TestTours(TourCase, LedgerCase):
    """The screens, in a real browser, as an inventory user."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.login = "tour_stock_user"
        cls.tour_user = new_test_user(
            cls.env,
            cls.login,
            groups="stock.group_stock_user",
            context={"no_reset_password": True},
        )
        cls.tour_product = cls._create_product("Tour Product")
        cls._receive(cls.tour_product, 10)

    def test_delivery(self):
        picking = self._create_picking("out", {self.tour_product: 3})
        picking.action_confirm()
        picking.do_unreserve()
        self.start_tour(
            f"/odoo/action-stock.stock_picking_action_picking_type/{picking.id}",
            "stock_event_ledger_delivery",
            login=self.login,
        )
        self.assertEqual(picking.state, "done")
        self.assertLedgerBalanced()

    def test_menus(self):
        self.start_tour("/odoo", "stock_event_ledger_menus", login=self.login)

    def test_count(self):
        quant = self.env["stock.quant"].search(
            [("product_id", "=", self.tour_product.id), ("location_id", "=", self.stock.id)]
        )
        quant.user_id = self.tour_user
        self.start_tour(
            "/odoo/action-stock.action_view_inventory_tree",
            "stock_event_ledger_count",
            login=self.login,
        )
        self.assertLedgerBalanced()

    def test_stock_at_date(self):
        self.start_tour("/odoo", "stock_event_ledger_at_date", login=self.login)

    def test_stock_card(self):
        self.start_tour("/odoo", "stock_event_ledger_stock_card", login=self.login)

    def test_availability_of_product(self):
        self._start_availability_tour(self.tour_product)

    def test_availability_of_template(self):
        self._start_availability_tour(self.tour_product.product_tmpl_id)

    def _start_availability_tour(self, record):
        picking = self._create_picking("out", {self.tour_product: 3})
        picking.action_confirm()
        picking.move_ids.date += datetime.timedelta(4)
        self.start_tour(
            f"/odoo/{record._name}/{record.id}",
            "stock_event_ledger_availability",
            login=self.login,
        )
