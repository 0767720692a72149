from datetime import timedelta

from odoo import Command, fields
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, tagged

from .channel_common import ChannelCase


@tagged("post_install", "-at_install")
class TestEventLife(ChannelCase):
    """From the outbox to being forgotten."""

    def test_a_movement_tells_whether_it_was_published_when_and_as_which_number(self):
        self._receive(self.product, 5)
        entry = self._get_events().entry_id
        self.assertEqual(entry.with_user(self.user).event_ids.state, "pending")
        self._confirm(self._take())
        event = entry.with_user(self.user).event_ids
        self.assertEqual((event.state, event.sequence), ("confirmed", 1))
        self.assertTrue(event.confirmed_date)
        self.assertFalse(self._take())

    def test_a_skipped_event_leaves_a_gap_with_its_number(self):
        lot = self._create_lot(self.lot_product, "LOT")
        self._receive(self.lot_product, 5, lots=lot)
        self._receive(self.lot_product, 1, lots=lot)
        first, second = self._take()
        self._block(first)
        self.assertFalse(self._take())
        blocked, waiting = self._get_events()
        self.assertEqual((blocked.state, waiting.state), ("blocked", "waiting"))
        self.assertEqual(blocked.waiting_count, 1)
        with self.assertRaises(AccessError):
            blocked.with_user(self.user).action_skip()
        with self.assertRaises(UserError):
            waiting.with_user(self.manager).action_skip()
        blocked.with_user(self.manager).action_skip()
        gap, next_one = self._take()
        envelope = self.channel._prepare_envelope()
        [row] = [
            row
            for row in self.env.execute_query_dict(self.outbox._query_pending(self.channel.id, 9))
            if row["id"] == gap.token
        ]
        event = self.outbox._prepare_event(row, envelope.database_uuid, 2)
        self.assertEqual(event["event_type"], "GAP")
        self.assertEqual(event["skipped_event_type"], "RECEIPT")
        self.assertEqual(event["skipped_event_id"], first.properties.message_id)
        self.assertNotEqual(event["event_id"], event["skipped_event_id"])
        self.assertEqual(
            (event["sequence"], event["quantity"], event["on_hand_after"]), (1, 5.0, 5.0)
        )
        self.assertIsNone(event["lot"])
        self.assertEqual(gap.routing_key, "stock.gap.lwh")
        self.assertFalse(gap.mandatory)
        self.assertEqual(next_one.body, second.body)
        self.assertTrue(blocked.is_skipped)

    def test_the_clean_up_leaves_what_is_not_confirmed(self):
        self._receive(self.product, 1)
        self._confirm(self._take())
        self._receive(self.product, 2)
        self._receive(self.product, 3)
        self._block(self._take()[0])
        self._take()
        self._receive(self.other_product, 4)
        old = fields.Datetime.now() - timedelta(days=31)
        self.env.cr.execute("UPDATE stock_event_outbox SET confirmed_date = %s", [old])
        self._receive(self.product, 5)
        self.assertEqual(self.outbox._clean_up(100), 1)
        states = self._get_events().mapped("state")
        self.assertEqual(states, ["blocked", "waiting", "pending", "pending"])

    def test_confirmed_events_are_kept_for_the_days_that_are_set(self):
        self._receive(self.product, 1)
        self._confirm(self._take())
        event = self._get_events()
        old = fields.Datetime.now() - timedelta(days=9)
        self.env.cr.execute("UPDATE stock_event_outbox SET confirmed_date = %s", [old])
        self.assertEqual(self.outbox._clean_up(100), 0)
        settings = self.env["res.config.settings"].create({"stock_event_keep_days": 8})
        settings.execute()
        self.assertEqual(self.outbox._clean_up(100), 1)
        self.assertFalse(event.exists())
        with self.assertRaises(ValidationError):
            self.env["res.config.settings"].create({"stock_event_keep_days": 0})

    def test_the_scheduled_clean_up(self):
        self._receive(self.product, 1)
        self._confirm(self._take())
        self.env.cr.execute("UPDATE stock_event_outbox SET confirmed_date = '2020-01-01'")
        with self.enter_registry_test_mode():
            self.env.ref("stock_event_ledger.cron_clean_up_events").method_direct_trigger()
        self.assertFalse(self._get_events())

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other_product = cls._create_product("Another")


@tagged("post_install", "-at_install")
class TestEventReplay(ChannelCase):
    def _prepare_wizard(self, **vals):
        wizard = Form(
            self.env["stock.event.replay"]
            .with_user(self.manager)
            .with_context(default_channel_id=self.channel.id)
        )
        wizard.date_from = "2020-01-01"
        wizard.date_to = fields.Datetime.now() + timedelta(minutes=1)
        for name, records in vals.items():
            for record in records:
                getattr(wizard, name).add(record)
        return wizard

    def _replay(self, **vals):
        wizard = self._prepare_wizard(**vals)
        count = wizard.event_count
        wizard.save().action_replay()
        return count

    def _get_bodies(self, messages):
        envelope = self.channel._prepare_envelope()
        rows = self.env.execute_query_dict(self.outbox._query_pending(self.channel.id, 99))
        tokens = {message.token for message in messages}
        return [
            self.outbox._prepare_event(row, envelope.database_uuid, 2)
            for row in rows
            if row["id"] in tokens
        ]

    def test_what_was_published_is_sent_again_with_its_number(self):
        self._receive(self.product, 5)
        self._receive(self.product, 2)
        first = self._take()
        originals = self._get_bodies(first)
        self._confirm(first)
        self.assertEqual(self._replay(product_ids=self.product), 2)
        again = self._take()
        self.assertEqual(
            self._get_bodies(again), [{**event, "replay": True} for event in originals]
        )
        self.assertEqual(
            [m.properties.message_id for m in again], [m.properties.message_id for m in first]
        )
        # Numbers go on after it, as if nothing had happened.
        self._confirm(again)
        self._receive(self.product, 1)
        [message] = self._take()
        self.assertEqual(self._get_bodies([message])[0]["sequence"], 3)

    def test_what_was_never_published_has_no_number(self):
        self.channel.active = False
        self._receive(self.product, 5)
        self.env.cr.flush()
        self.channel.active = True
        wizard = self._prepare_wizard(product_ids=self.product)
        self.assertEqual((wizard.event_count, wizard.numbered_count), (1, 0))
        wizard.save().action_replay()
        [event] = self._get_bodies(self._take())
        self.assertEqual((event["sequence"], event["on_hand_after"]), (None, None))
        self.assertIsNone(event["available_after"])
        self.assertEqual((event["quantity"], event["replay"]), (5.0, True))

    def test_what_is_still_to_be_sent_is_not_sent_twice(self):
        self._receive(self.product, 5)
        self.env.cr.flush()
        wizard = self._prepare_wizard(product_ids=self.product)
        self.assertEqual(wizard.event_count, 0)
        with self.assertRaises(UserError):
            wizard.save().action_replay()

    def test_live_events_go_first(self):
        self._receive(self.product, 5)
        self._confirm(self._take())
        self._replay(product_ids=self.product)
        self._receive(self.product, 1)
        bodies = self._get_bodies(self._take())
        self.assertEqual([event["replay"] for event in bodies], [False, True])

    def test_dates_warehouses_and_the_channels_filter_choose(self):
        self._receive(self.product, 5)
        self._receive(self.product, 7, destination=self.other_warehouse.lot_stock_id)
        self._confirm(self._take())
        wizard = self._prepare_wizard(product_ids=self.product, warehouse_ids=self.other_warehouse)
        self.assertEqual(wizard.event_count, 1)
        wizard.date_from = fields.Datetime.now() + timedelta(seconds=30)
        self.assertEqual(wizard.event_count, 0)
        self.channel.event_type_ids = self._get_types("SALE")
        self.assertEqual(self._prepare_wizard(product_ids=self.product).event_count, 0)
        self.channel.write({"event_type_ids": [Command.clear()], "product_domain": "[(0, '=', 1)]"})
        self.assertEqual(self._prepare_wizard(product_ids=self.product).event_count, 0)

    def test_other_companies_movements_are_not_replayed(self):
        company = self.env["res.company"].create({"name": "Other Company"})
        warehouse = self.env["stock.warehouse"].search([("company_id", "=", company.id)])
        self.env["stock.quant"]._update_available_quantity(self.product, warehouse.lot_stock_id, 3)
        self._confirm(self._take())
        self.assertEqual(self._prepare_wizard(product_ids=self.product).event_count, 0)

    def test_a_skipped_replay_is_dropped(self):
        self._receive(self.product, 5)
        self._confirm(self._take())
        self._replay(product_ids=self.product)
        [message] = self._take()
        self._block(message)
        replay = self._get_events().filtered("is_replay")
        replay.with_user(self.manager).action_skip()
        self.assertFalse(replay.exists())
        self._receive(self.product, 5)
        self.assertEqual(len(self._take()), 1)

    def test_who_may_replay(self):
        with self.assertRaises(AccessError):
            self.env["stock.event.replay"].with_user(self.user).create(
                {"channel_id": self.channel.id, "date_from": "2020-01-01"}
            )
        self.channel.active = False
        self._receive(self.product, 5)
        self.env.cr.flush()
        with self.assertRaises(UserError):
            self._prepare_wizard(product_ids=self.product).save().action_replay()
