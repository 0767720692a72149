from unittest.mock import patch

from odoo import api, fields
from odoo.tests import tagged

from ..models import stock_ledger_dashboard_monitor
from .dashboard_common import DashboardCase
from .tour_common import TourCase


class DashboardPageCase(TourCase, DashboardCase):
    """A company with something on each tile."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.live_product = cls._create_product("Live Product")
        cls.env["stock.warehouse"].create(
            {"name": "Second Warehouse", "code": "SEC", "company_id": cls.company.id}
        )
        cls._receive(cls.product, 10)
        picking = cls._create_picking("out", {cls.product: 3})
        picking.action_confirm()
        picking.do_unreserve()
        picking.move_ids.reservation_queued_date = fields.Datetime.subtract(
            fields.Datetime.now(), hours=5
        )
        cls.env["stock.contention"]._note("wait", [(cls.product.id, cls.stock.id)], seconds=2)

    def setUp(self):
        super().setUp()
        self.startPatcher(patch.dict(stock_ledger_dashboard_monitor.TOLD, clear=True))
        case = self

        @api.model
        def receive_elsewhere(dashboard):
            env = case.env(cr=dashboard.env.cr)
            picking = env["stock.picking"].browse(case.receipt.id)
            case._validate(picking)
            # What the worker does in the next seconds.
            env["stock.ledger.dashboard"]._notify_changes()

        self.receipt = self._create_picking("in", {self.live_product: 7})
        self.receipt.action_confirm()
        # The tour calls it behind the back of the screen that it looks at.
        self.startPatcher(
            patch.object(
                self.registry["stock.ledger.dashboard"],
                "receive_elsewhere",
                receive_elsewhere,
                create=True,
            )
        )


@tagged("post_install", "-at_install")
class TestDashboardPage(DashboardPageCase):
    """The dashboard, in a real browser; notifications come by its websocket."""

    def test_manager(self):
        """Open each tile's list and come back; see a movement of somebody else arrive."""
        self.start_tour(
            "/odoo", "stock_event_ledger_dashboard", login=self.manager.login, timeout=120
        )

    def test_user(self):
        """Contention is not shown, and the keyboard is enough."""
        self.start_tour(
            "/odoo/stock-ledger", "stock_event_ledger_dashboard_user", login=self.user.login
        )


@tagged("post_install", "-at_install")
class TestDashboardMobilePage(DashboardPageCase):
    """The dashboard on a telephone."""

    browser_size = "390x844"
    touch_enabled = True

    def test_mobile(self):
        self.start_tour(
            "/odoo/stock-ledger", "stock_event_ledger_dashboard_mobile", login=self.user.login
        )
