from unittest.mock import MagicMock, patch

from odoo import api, fields
from odoo.exceptions import ValidationError
from odoo.tests import new_test_user, tagged

from .common import LedgerCase
from .tour_common import TourCase

LOCK_TIMEOUT = "stock_event_ledger.lock_timeout_seconds"


@tagged("post_install", "-at_install")
class TestReservationBadge(LedgerCase):
    """What the screens are told, and what they may set."""

    def setUp(self):
        super().setUp()
        self._receive(self.product, 10)
        self.picking = self._create_picking("out", {self.product: 3})
        self.picking.action_confirm()
        self.picking.do_unreserve()

    def test_age_is_that_of_the_first_queued_move(self):
        picking = self._create_picking("out", {self.product: 1, self.lot_product: 1})
        picking.action_confirm()
        picking.do_unreserve()
        self.assertFalse(picking.reservation_queued_date)
        first, second = picking.move_ids
        first.reservation_queued_date = "2026-01-01 10:00:00"
        second.reservation_queued_date = "2026-01-01 09:00:00"
        self.assertEqual(str(picking.reservation_queued_date), "2026-01-01 09:00:00")
        second.reservation_queued_date = False
        self.assertEqual(str(picking.reservation_queued_date), "2026-01-01 10:00:00")
        first.state = "assigned"
        self.assertFalse(picking.reservation_queued_date)

    def test_notification_is_one_message_to_inventory_users(self):
        pickings = self.picking | self._create_picking("out", {self.product: 1})
        messages = self.env["bus.bus"].search([])
        pickings._notify_reservation_queue()
        pickings.browse()._notify_reservation_queue()
        self.env.cr.precommit.run()
        [notification] = self.env["bus.bus"]._poll(
            [self.env.ref("stock.group_stock_user")], ignore_ids=messages.ids
        )
        self.assertEqual(
            notification["message"],
            {
                "type": "stock_event_ledger/reservation",
                "payload": {"picking_ids": pickings.ids},
            },
        )

    def test_only_inventory_users_are_subscribed(self):
        group = self.env.ref("stock.group_stock_user")
        for login, groups, subscribed in (
            ("badge_user", "stock.group_stock_user", True),
            ("badge_manager", "stock.group_stock_manager", True),
            ("badge_employee", "base.group_user", False),
            ("badge_portal", "base.group_portal", False),
            ("badge_public", "base.group_public", False),
        ):
            user = new_test_user(
                self.env, login, groups=groups, context={"no_reset_password": True}
            )
            with patch("odoo.addons.bus.models.ir_websocket.wsrequest", MagicMock()):
                # A client can only ask for channels that are named by a string.
                data = (
                    self.env["ir.websocket"]
                    .with_user(user)
                    ._prepare_subscribe_data([f"res.groups,{group.id}", str(group)], 0)
                )
            self.assertEqual(group in data["channels"], subscribed, login)

    def test_queued_moves_are_found_and_sorted_by_age(self):
        queued = self.picking.move_ids
        queued.reservation_queued_date = fields.Datetime.now()
        view = self.env["stock.move"].get_view(
            self.env.ref("stock.view_move_search").id, view_type="search"
        )
        self.assertIn('name="reservation_queued"', view["arch"])
        self.assertIn("groupby_reservation_queued_date", view["arch"])
        self.assertIn(
            queued,
            self.env["stock.move"].search(
                [("reservation_queued_date", "!=", False)], order="reservation_queued_date"
            ),
        )

    def test_lock_wait_setting(self):
        parameters = self.env["ir.config_parameter"]
        parameters.set_param(LOCK_TIMEOUT, False)
        settings = self.env["res.config.settings"].create({})
        self.assertEqual(settings.stock_lock_timeout_seconds, 10)
        settings.stock_lock_timeout_seconds = 2.5
        settings.execute()
        self.assertEqual(float(parameters.get_param(LOCK_TIMEOUT)), 2.5)
        for refused in (0, -1, 60.1):
            with self.assertRaisesRegex(ValidationError, "at most 60 seconds"):
                self.env["res.config.settings"].create({"stock_lock_timeout_seconds": refused})
        self.env["res.config.settings"].create({"stock_lock_timeout_seconds": 60}).execute()
        self.assertEqual(float(parameters.get_param(LOCK_TIMEOUT)), 60)

    def test_lock_wait_of_a_system_parameter_does_not_block_the_settings(self):
        parameters = self.env["ir.config_parameter"]
        parameters.set_param(LOCK_TIMEOUT, "300")
        self.env["res.config.settings"].create({}).execute()
        self.assertEqual(float(parameters.get_param(LOCK_TIMEOUT)), 300)

    def test_options_have_defaults(self):
        warehouse = self.env["stock.warehouse"].create({"name": "Options", "code": "OPT"})
        self.assertEqual(warehouse.negative_stock, "allow")
        self.assertEqual(warehouse.out_type_id.reservation_policy, "contended")


@tagged("post_install", "-at_install")
class TestReservationBadgeTours(TourCase, LedgerCase):
    """The screens, in a real browser; notifications come by its websocket."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.login = "badge_stock_user"
        new_test_user(
            cls.env,
            cls.login,
            groups="stock.group_stock_user",
            context={"no_reset_password": True},
        )
        cls.badge_product = cls._create_product("Badge Product")
        cls._receive(cls.badge_product, 10)
        cls.picking = cls._create_picking("out", {cls.badge_product: 3}, origin="Badge Tour")
        cls.picking.action_confirm()
        cls.picking.do_unreserve()
        cls.picking.move_ids.reservation_queued_date = fields.Datetime.subtract(
            fields.Datetime.now(), hours=5
        )

    def setUp(self):
        super().setUp()
        picking_id = self.picking.id

        @api.model
        def reserve_elsewhere(pickings):
            picking = pickings.sudo().browse(picking_id)
            picking.move_ids.reservation_queued_date = False
            picking.action_assign()
            picking._notify_reservation_queue()

        # The tours call it behind the back of the screen that they look at.
        self.startPatcher(
            patch.object(
                self.registry["stock.picking"], "reserve_elsewhere", reserve_elsewhere, create=True
            )
        )

    def _start_form_tour(self, name):
        self.start_tour(
            f"/odoo/action-stock.stock_picking_action_picking_type/{self.picking.id}",
            name,
            login=self.login,
        )

    def test_form(self):
        self._start_form_tour("stock_event_ledger_badge_form")
        self.assertEqual(self.picking.state, "assigned")

    def test_form_keeps_what_the_user_edits(self):
        self._start_form_tour("stock_event_ledger_badge_dirty_form")
        self.assertEqual(self.picking.origin, "Mine")

    def test_list(self):
        self.start_tour(
            "/odoo/action-stock.action_picking_tree_all",
            "stock_event_ledger_badge_list",
            login=self.login,
        )

    def test_options(self):
        self.start_tour(
            f"/odoo/action-stock.action_picking_type_list/{self.warehouse.out_type_id.id}",
            "stock_event_ledger_picking_type_option",
            login="admin",
        )
        self.assertEqual(self.warehouse.out_type_id.reservation_policy, "always")
        self.start_tour(
            f"/odoo/action-stock.action_warehouse_form/{self.warehouse.id}",
            "stock_event_ledger_warehouse_option",
            login="admin",
        )
        self.assertEqual(self.warehouse.negative_stock, "refuse")

    def test_settings(self):
        self.start_tour(
            "/odoo/action-stock.action_stock_config_settings",
            "stock_event_ledger_settings",
            login="admin",
            expected_warnings=["Operations can wait for stock more than 0 seconds"],
        )
        value = self.env["ir.config_parameter"].get_param(LOCK_TIMEOUT)
        self.assertEqual(float(value), 25)
