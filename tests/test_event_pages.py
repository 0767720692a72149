import os
from unittest.mock import patch
from urllib.parse import unquote, urlsplit

from odoo.tests import tagged

from .test_event_channel import ChannelCase
from .tour_common import TourCase


@tagged("post_install", "-at_install")
class TestEventPages(TourCase, ChannelCase):
    """The pages of the events, in a real browser, as an inventory manager."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["stock.event.channel"].with_context(active_test=False).search(
            [("id", "!=", cls.channel.id)]
        ).unlink()
        cls.env["stock.event.worker"].search([]).unlink()

    def _block_product(self, name):
        """Receive a product, and have the broker refuse the event."""
        product = self._create_product(name)
        self._receive(product, 5)
        message = self._take()[-1]
        self._block(message, "NO_ROUTE")
        return self.outbox.browse(message.token)

    def _start_tour(self, name):
        self.start_tour("/odoo", f"stock_event_ledger_{name}", login=self.manager.login)
        self.env.invalidate_all()

    def test_channel(self):
        """Configure a channel, test its connection, pause it and send events again."""
        amqp_url = os.environ["AMQP_URL"]
        self.channel._configure_from_url(amqp_url)
        password = unquote(urlsplit(amqp_url).password or "guest")
        self._receive(self.product, 5)
        self._confirm(self._take())
        with patch.dict(os.environ, STOCK_EVENT_LEDGER_AMQP_PASSWORD=password):
            self._start_tour("event_channel")
        self.assertEqual(self.channel.state, "running")
        self.assertEqual(self.channel.event_type_ids.mapped("code"), ["RECEIPT"])
        self.assertIn(True, self._get_events().mapped("is_replay"))

    def test_blocked_events(self):
        """Retry one event and skip another one; then nothing is blocked."""
        retried = self._block_product("Retried Product")
        skipped = self._block_product("Skipped Product")
        self._start_tour("blocked_events")
        self.assertEqual([retried.state, skipped.state], ["pending", "pending"])
        self.assertEqual([retried.is_skipped, skipped.is_skipped], [False, True])

    def test_other_pages(self):
        """The workers, of which there is none, and the events of a ledger entry."""
        product = self._create_product("Tour Product")
        self._receive(product, 5)
        self._confirm(self._take())
        self._start_tour("event_pages")
