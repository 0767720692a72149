from datetime import timedelta

from odoo.tests import new_test_user

from .test_move_explanation import ExplanationCase
from .tour_common import TourCase


class ExplanationToursCase(TourCase, ExplanationCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.login = "why_stock_user"
        new_test_user(
            cls.env,
            cls.login,
            groups="stock.group_stock_user",
            context={"no_reset_password": True},
        )
        cls.wanted = cls._create_product("Wanted Product")
        cls._receive(cls.wanted, 10)
        cls.holder = cls._create_delivery(7, product=cls.wanted)
        cls.holder.partner_id = cls.partner
        cls.picking = cls._create_delivery(5, product=cls.wanted, origin="Why Tour")
        receipt = cls._create_picking("in", {cls.wanted: 20})
        receipt.partner_id = cls.env["res.partner"].create({"name": "Late Supplier"})
        receipt.action_confirm()
        receipt.move_ids.date += timedelta(3)
        cls.env["stock.ledger.entry"]._flush_buffer()

    def _start_transfer_tour(self, name):
        self.start_tour(
            f"/odoo/action-stock.stock_picking_action_picking_type/{self.picking.id}",
            name,
            login=self.login,
        )


class TestMoveExplanationTours(ExplanationToursCase):
    """Why?, in a real browser, as an inventory user."""

    def test_why(self):
        self._start_transfer_tour("stock_event_ledger_why")
        self.assertEqual(self.holder.move_ids.quantity, 7)

    def test_unreserve_and_reserve(self):
        self._start_transfer_tour("stock_event_ledger_why_unreserve")
        self.assertEqual(self.picking.state, "assigned")
        self.assertEqual(self.holder.move_ids.quantity, 5)
        self.assertLedgerBalanced()

    def test_in_the_list_of_moves(self):
        self.env.ref("stock.stock_move_action").context = {
            "search_default_product_id": self.wanted.id
        }
        self.start_tour(
            "/odoo/action-stock.stock_move_action",
            "stock_event_ledger_why_in_move",
            login=self.login,
        )

    def test_in_the_form_of_a_move(self):
        self.start_tour(
            f"/odoo/action-stock.stock_move_action/{self.picking.move_ids.id}",
            "stock_event_ledger_why_move_form",
            login=self.login,
        )


class TestMoveExplanationSmall(ExplanationToursCase):
    """Why?, on a phone."""

    browser_size = "390x844"
    touch_enabled = True

    def test_why(self):
        self._start_transfer_tour("stock_event_ledger_why_small")
