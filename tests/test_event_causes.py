from odoo.tests import new_test_user, tagged

from ..cause import current_message
from .channel_common import ChannelCase
from .common import LedgerCase


@tagged("post_install", "-at_install")
class TestEntryCauses(LedgerCase):
    """Which message or call entries are written for."""

    def _caused_by(self, *args):
        return self.env["stock.ledger.entry"]._caused_by(*args)

    def _get_causes(self, since):
        self.env.cr.flush()
        return [
            (entry.causation_id, entry.correlation_id) for entry in self._get_new_entries(since)
        ]

    def test_only_what_is_done_inside_the_block_has_the_cause(self):
        self.env.cr.flush()
        since = self._get_last_entry_id()
        self._receive(self.product, 1)
        with self._caused_by("message", "talk"):
            self._receive(self.product, 2)
        self._receive(self.product, 3)
        nothing, cause = (False, False), ("message", "talk")
        self.assertEqual(self._get_causes(since), [*[nothing] * 2, *[cause] * 2, *[nothing] * 2])

    def test_of_two_causes_the_outer_one_counts(self):
        self.env.cr.flush()
        since = self._get_last_entry_id()
        with self._caused_by("message"):
            with self._caused_by("key of the call", "another"):
                self._receive(self.product, 1)
            self.assertEqual(current_message().causation_id, "message")
        self.assertIsNone(current_message())
        self.assertEqual(self._get_causes(since), [("message", False)] * 2)

    def test_what_fails_leaves_no_cause(self):
        with self.assertRaises(ZeroDivisionError), self.env.cr.savepoint():
            with self._caused_by("message"):
                self._receive(self.product, 1)
                raise ZeroDivisionError
        self.assertIsNone(current_message())
        self.env.cr.flush()
        self.assertFalse(
            self.env["stock.ledger.entry.cause"].search([("causation_id", "=", "message")])
        )

    def test_who_sees_an_entry_sees_its_cause(self):
        since = self._get_last_entry_id()
        with self._caused_by("message"):
            self._receive(self.product, 1)
        entries = self._get_new_entries(since).with_user(self.user)
        self.assertEqual(set(entries.mapped("causation_id")), {"message"})
        domain = [("cause_ids.causation_id", "=", "message")]
        found = self.env["stock.ledger.entry"].with_user(self.user).search(domain, order="id")
        self.assertEqual(found, entries)
        company = self.env["res.company"].create({"name": "Another"})
        self.user.write({"company_ids": [(4, company.id)]})
        others = self.env["stock.ledger.entry.cause"].with_user(self.user)
        own = others.with_company(company).with_context(allowed_company_ids=company.ids)
        self.assertFalse(own.search([("entry_id.company_id", "!=", False)]))


@tagged("post_install", "-at_install")
class TestEventCauses(ChannelCase):
    def test_events_carry_the_cause(self):
        with self.env["stock.ledger.entry"]._caused_by("message", "talk"):
            self._receive(self.product, 1)
        self._receive(self.product, 1)
        caused, other = self._take()
        self.assertIn(b'"correlation_id":"talk","causation_id":"message"', caused.body)
        self.assertEqual(caused.properties.correlation_id, "talk")
        self.assertIn(b'"correlation_id":null,"causation_id":null', other.body)

    def test_a_call_is_the_cause_of_its_events(self):
        user = new_test_user(self.env, "caller", groups="stock_event_ledger.group_integration")
        self.product.default_code = "caused"
        self.env["stock.integration"].with_user(user).receive(
            "key of the call",
            lines=[{"sku": "caused", "quantity": 1}],
            warehouse=self.warehouse.code,
        )
        [message] = self._take()
        self.assertIn(b'"causation_id":"key of the call"', message.body)
