from odoo.tests import new_test_user

from .common import LedgerCase


class ChannelCase(LedgerCase):
    """A channel of the test's own, and what its outbox holds."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["stock.event.channel"].search([]).active = False
        cls.channel = cls.env["stock.event.channel"].create(
            {"name": "Test", "code": "test", "active": True, "user_id": cls.env.uid}
        )
        cls.manager = new_test_user(
            cls.env, "channel_manager", groups="stock.group_stock_manager,base.group_multi_company"
        )
        cls.outbox = cls.env["stock.event.outbox"]

    def _get_types(self, *codes):
        return self.env["stock.event.type"].search([("code", "in", codes)])

    def _get_events(self):
        self.env.cr.flush()
        return self.outbox.search([("channel_id", "=", self.channel.id)])

    def _take(self):
        self.env.cr.flush()
        messages, _looked_at = self.outbox._take(self.channel.id, 100)
        self.env.invalidate_all()
        return messages

    def _confirm(self, messages):
        """Do what the relay does when the broker has confirmed all of them."""
        self.outbox._settle(self.channel.id, Answer([message.token for message in messages]))
        self.env.invalidate_all()

    def _block(self, message, reason="no queue", refused=False):
        answer = Answer([])
        (answer.refused if refused else answer.returned)[message.token] = reason
        self.outbox._settle(self.channel.id, answer)
        self.env.invalidate_all()


class Answer:
    """What became of messages, as ``Batch`` tells it."""

    def __init__(self, confirmed):
        self.confirmed = confirmed
        self.returned = {}
        self.refused = {}
