from unittest.mock import patch

from odoo import fields
from odoo.tests import tagged

from ..models import stock_ledger_dashboard_monitor
from ..models.stock_ledger_reconciliation import Scope
from ..relay.worker import JOBS
from .dashboard_common import DashboardCase


@tagged("post_install", "-at_install")
class TestDashboardNotification(DashboardCase):
    """What open dashboards are told."""

    def setUp(self):
        super().setUp()
        self.startPatcher(patch.dict(stock_ledger_dashboard_monitor.TOLD, clear=True))
        self.env["stock.ledger.dashboard"]._notify_changes()
        self._take_notifications()

    def _take_notifications(self):
        """Return how many messages have been sent since the last call."""
        self.env.cr.precommit.run()
        group = self.env.ref("stock.group_stock_user")
        seen = getattr(self, "seen", [])
        messages = self.env["bus.bus"]._poll([group], ignore_ids=seen)
        self.seen = [*seen, *(message["id"] for message in messages)]
        types = [message["message"]["type"] for message in messages]
        return types.count("stock_event_ledger/dashboard")

    def _count_told(self):
        self.env.cr.flush()
        self.env["stock.ledger.dashboard"]._notify_changes()
        return self._take_notifications()

    def test_one_message_for_all_changes(self):
        self.assertEqual(self._count_told(), 0)
        for _number in range(3):
            self._receive(self.product, 5)
        self.assertEqual(self._take_notifications(), 0)
        self.assertEqual(self._count_told(), 1)
        self.assertEqual(self._count_told(), 0)

    def test_folding_changes_no_figure(self):
        self._receive(self.product, 5)
        self.assertEqual(self._count_told(), 1)
        while self.env["stock.ledger.rollup"]._fold():
            pass
        self.assertEqual(self._count_told(), 0)

    def test_each_kind_of_change(self):
        self._receive(self.product, 5)
        picking = self._create_picking("out", {self.product: 1})
        picking.action_confirm()
        self._count_told()
        picking.do_unreserve()
        picking.move_ids.reservation_queued_date = fields.Datetime.now()
        self.assertEqual(self._count_told(), 1)
        self._note("queue")
        self.assertEqual(self._count_told(), 1)
        self.env["stock.ledger.reconciliation"]._reconcile(Scope(), is_full=False)
        self.assertEqual(self._count_told(), 1)
        messages = self._take()
        self._block(messages[0])
        self.assertEqual(self._count_told(), 1)
        self.env["stock.event.channel.status"]._record_error(self.channel.id, "No route to host")
        self.assertEqual(self._count_told(), 1)
        self.env["stock.event.channel.status"]._record_confirms(self.channel.id, 1)
        self.assertEqual(self._count_told(), 1)
        self.assertEqual(self._count_told(), 0)

    def test_the_worker_looks_every_few_seconds(self):
        [job] = [job for job in JOBS if job.model_name == "stock.ledger.dashboard"]
        self.assertEqual((job.method_name, job.is_urgent), ("_notify_changes", False))
        self.assertEqual(getattr(self.env[job.model_name], job.method_name)(job.limit), 0)
