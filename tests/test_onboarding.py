import os

from odoo.exceptions import AccessError
from odoo.tests import Form, new_test_user, tagged

from .channel_common import ChannelCase
from .tour_common import TourCase


@tagged("post_install", "-at_install")
class TestOnboarding(TourCase, ChannelCase):
    """From the installation to the first confirmed event."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.channel.active = False
        cls.channel._configure_from_url(os.environ["AMQP_URL"])
        cls.channel.active = False
        cls.onboarding = cls.env["stock.ledger.onboarding"].with_user(cls.manager)

    def _start(self):
        return self.onboarding.create({"channel_id": self.channel.id})

    def test_the_steps(self):
        steps = self._start()
        self.assertFalse(steps.is_publishing or steps.is_connected or steps.event_id)
        steps.action_test()
        self.assertTrue(steps.is_connected, steps.connection_text)
        self.assertIn("and back", steps.connection_text)
        steps.action_publish()
        self.assertTrue(self.channel.active)
        self._receive(self.product, 5)
        messages = self._take()
        self.assertEqual(steps.pending_count, 1)
        self._confirm(messages)
        self.assertEqual(steps.event_id.product_id, self.product)
        action = steps.action_view_event()
        self.assertEqual(action["res_id"], steps.event_id.entry_id.id)
        # Opened anew, it tells the same.
        again = self._start()
        self.assertTrue(again.is_publishing and again.event_id)

    def test_a_wrong_address_is_told(self):
        steps = self._start()
        with Form(steps) as form:
            form.port = 1
        self.assertEqual(self.channel.port, 1)
        steps.action_test()
        self.assertFalse(steps.is_connected)
        self.assertIn("did not come back", steps.connection_text)

    def test_the_password_is_not_told(self):
        steps = self._start()
        self.assertTrue(steps.has_password)
        password = self.channel._get_password()
        self.assertNotIn(password, str(steps.read()))

    def test_managers_only(self):
        with self.assertRaises(AccessError):
            self.onboarding.with_user(self.user).create({"channel_id": self.channel.id})

    def test_tour(self):
        manager = new_test_user(
            self.env, "onboarding_manager", groups="stock.group_stock_manager,base.group_user"
        )
        self.env["stock.event.channel"].search([]).active = False
        # The page begins with the first channel.
        channels = self.env["stock.event.channel"].with_context(active_test=False)
        (channels.search([]) - self.channel).unlink()
        self.start_tour(
            "/odoo/action-stock_event_ledger.stock_ledger_onboarding_action",
            "stock_event_ledger_onboarding",
            login=manager.login,
        )
        self.assertTrue(self.channel.active)
