import json
from datetime import timedelta

from psycopg2 import IntegrityError

from odoo import Command, fields
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.fields import Domain
from odoo.tests import Form, new_test_user, tagged

from ..models.stock_ledger_entry import EVENT_TYPES
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


@tagged("post_install", "-at_install")
class TestEventChannelFilter(ChannelCase):
    def test_there_is_a_type_for_each_event_type(self):
        types = self.env["stock.event.type"].search([])
        self.assertEqual([(t.code, t.name) for t in types], EVENT_TYPES)

    def test_event_types(self):
        self.channel.event_type_ids = self._get_types("RECEIPT", "SCRAP")
        self._receive(self.product, 5)
        self._create_picking("out", {self.product: 2}).action_confirm()
        self._receive(self.product, 1)
        self.assertEqual(self._get_events().mapped("event_type"), ["RECEIPT", "RECEIPT"])

    def test_figures_are_true_where_types_are_left_out(self):
        self.channel.event_type_ids = self._get_types("RECEIPT")
        self._receive(self.product, 5)
        self._take()
        self._create_picking("out", {self.product: 2}).action_confirm()
        self._receive(self.product, 1)
        self._take()
        self.assertEqual(
            [(e.sequence, e.on_hand_after, e.reserved_after) for e in self._get_events()],
            [(1, 5, 0), (2, 6, 2)],
        )

    def test_warehouses(self):
        self.channel.warehouse_ids = self.other_warehouse
        self._receive(self.product, 5)
        self._receive(self.product, 7, destination=self.other_warehouse.lot_stock_id)
        self.assertEqual(self._get_events().mapped("quantity"), [7])

    def test_companies(self):
        company = self.env["res.company"].create({"name": "Other Company"})
        self.channel.company_ids = company
        self._receive(self.product, 5)
        self.assertFalse(self._get_events())
        self.channel.company_ids |= self.warehouse.company_id
        self._receive(self.product, 7)
        self.assertEqual(self._get_events().mapped("quantity"), [7])

    def test_products_are_left_out_when_the_event_would_be_sent(self):
        other = self._create_product("Other")
        self.channel.product_domain = "[('name', '=', 'Plain')]"
        self._receive(self.product, 5)
        self._receive(other, 7)
        self.assertEqual(len(self._get_events()), 2)
        self.assertEqual(len(self._take()), 1)
        self.assertEqual(self._get_events().product_id, self.product)
        # What was left out is in the figures when the product comes back.
        self.channel.product_domain = "[]"
        self._receive(other, 1)
        self._take()
        event = self._get_events().filtered(lambda e: e.product_id == other)
        self.assertEqual((event.sequence, event.on_hand_after), (1, 8))

    def test_what_has_a_number_is_sent_whatever_the_filter_says_later(self):
        self._receive(self.product, 5)
        self._take()
        self.channel.product_domain = "[('name', '=', 'Nothing')]"
        self.assertEqual(len(self._take()), 1)

    def test_figures_after_a_product_was_left_out_in_between(self):
        self._receive(self.product, 5)
        self._confirm(self._take())
        self.channel.product_domain = "[('name', '=', 'Nothing')]"
        self._receive(self.product, 10)
        self.assertFalse(self._take())
        self.channel.product_domain = "[('name', '=', 'Plain')]"
        self._receive(self.product, 1)
        self._take()
        last = self._get_events()[-1]
        self.assertEqual((last.sequence, last.on_hand_after), (2, 16))

    def test_a_condition_that_does_not_work_is_refused(self):
        for domain in ("[('no_such_field', '=', 1)]", "[(", "name", "__import__('os')"):
            with self.subTest(domain=domain), self.assertRaises(ValidationError):
                self.channel.product_domain = domain

    def test_a_filters_warehouse_cannot_vanish(self):
        warehouse = self.env["stock.warehouse"].create({"name": "Short-lived", "code": "SLW"})
        self.channel.warehouse_ids = warehouse
        with self.assertRaises(IntegrityError), self.env.cr.savepoint():
            self.env.cr.execute("DELETE FROM stock_warehouse WHERE id = %s", [warehouse.id])

    def test_routing_keys_and_envelope(self):
        self.channel.routing_key_pattern = "{company}.{event_type}.{sku}"
        self.channel.envelope = "structured"
        self.product.default_code = "ABC 1"
        self._receive(self.product, 5)
        [message] = self._take()
        self.assertEqual(message.routing_key, f"{self.warehouse.company_id.id}.receipt.abc_1")
        self.assertIn("application/cloudevents+json", message.properties.content_type)
        for pattern in ("", "{nothing}", "{sku", "stock.#"):
            with self.subTest(pattern=pattern), self.assertRaises(ValidationError):
                self.channel.routing_key_pattern = pattern or " "

    def test_epcis_knows_the_product_and_where_it_goes(self):
        self.channel.envelope = "epcis"
        self.product.barcode = "4006381333931"
        self._receive(self.product, 5)
        [message] = self._take()
        self.assertEqual(message.properties.content_type, "application/ld+json")
        [event] = json.loads(message.body)["epcisBody"]["eventList"]
        [quantity] = event["quantityList"]
        self.assertEqual(quantity["epcClass"], "https://id.gs1.org/01/04006381333931")
        self.assertEqual((quantity["quantity"], event["bizStep"]), (5.0, "receiving"))

    def test_hosts(self):
        self.channel.write({"host": "mq1, mq2:5673 ,[::1]:5674", "port": 5672})
        self.assertEqual(
            self.channel._prepare_target().hosts, (("mq1", 5672), ("mq2", 5673), ("::1", 5674))
        )
        for host in ("mq1,,mq2", "mq1:port", "user@mq1", "mq1/vhost", "amqp://mq1"):
            with self.subTest(host=host), self.assertRaises(ValidationError):
                self.channel.host = host

    def test_files_on_the_server_are_for_administrators(self):
        self.channel.write({"use_tls": True, "ca_file": "/no/such/file"})
        channel = self.channel.with_user(self.manager)
        with self.assertRaises(AccessError):
            channel.read(["ca_file"])
        with self.assertRaises(AccessError):
            channel.key_file = "/etc/shadow"
        action = channel.action_test_connection()
        self.assertEqual(action["params"]["type"], "danger")

    def test_exchanges_differ(self):
        with self.assertRaises(ValidationError):
            self.channel.alternate_exchange = self.channel.exchange

    def test_another_company_s_channel_is_not_seen(self):
        company = self.env["res.company"].create({"name": "Other Company"})
        self.channel.company_ids = company
        channels = self.env["stock.event.channel"].with_user(self.manager)
        self.assertNotIn(self.channel, channels.search([]))
        self.channel.company_ids |= self.manager.company_id
        self.assertIn(self.channel, channels.search([]))

    def test_what_was_declared_is_declared_again_when_it_may_be_missing(self):
        status = self.env["stock.event.channel.status"]
        for vals in (
            {"exchange": "other"},
            {"queue_ids": [Command.create({"name": "shop"})]},
        ):
            with self.subTest(vals=vals):
                status._record_declared(self.channel.ids, True)
                self.assertFalse(self.channel._prepare_target().declares)
                self.channel.name = "Renamed"
                self.assertFalse(self.channel._prepare_target().declares)
                self.channel.write(vals)
                self.assertTrue(self.channel._prepare_target().declares)
        status._record_declared(self.channel.ids, True)
        self.channel.with_user(self.manager).action_declare()
        self.assertTrue(self.channel._prepare_target().declares)
        self.channel.declares_topology = False
        self.assertFalse(self.channel._prepare_target().declares)
        with self.assertRaises(AccessError):
            self.channel.with_user(self.user).action_declare()


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


@tagged("post_install", "-at_install")
class TestEventMonitor(ChannelCase):
    def _age(self, seconds):
        """Let the channel's unconfirmed events be so old."""
        self.env.cr.flush()
        self.env.cr.execute(
            """ALTER TABLE stock_ledger_entry DISABLE TRIGGER USER;
            UPDATE stock_ledger_entry
               SET recorded_date = now() AT TIME ZONE 'UTC' - %s * INTERVAL '1 second';
            ALTER TABLE stock_ledger_entry ENABLE TRIGGER USER""",
            [seconds],
        )
        self.env.invalidate_all()

    def _get_alerts(self):
        self.env["stock.event.channel"]._check_alerts()
        return dict(self.channel.status_ids.alerts or {})

    def _get_notes(self):
        return " ".join(self.channel.activity_ids.mapped("note"))

    def test_lag_counts_and_rate(self):
        self.assertEqual(self.channel.lag_seconds, 0)
        self._receive(self.product, 5)
        self._receive(self.product, 1, destination=self.other_warehouse.lot_stock_id)
        self._age(100)
        self.assertGreaterEqual(self.channel.lag_seconds, 100)
        self.assertLess(self.channel.lag_seconds, 200)
        first, second = self._take()
        self.env.invalidate_all()
        self.assertGreaterEqual(self.channel.lag_seconds, 100)
        self._confirm([first])
        self._block(second)
        self.assertGreaterEqual(self.channel.lag_seconds, 100)
        self.assertEqual((self.channel.pending_count, self.channel.blocked_count), (0, 1))
        self.assertAlmostEqual(self.channel.rate, 1 / 60)
        self.assertEqual(self.channel.confirmed_count, 1)
        action = self.channel.action_open_blocked()
        self.assertEqual(self.outbox.search(action["domain"]).id, second.token)

    def test_lag_alert(self):
        self.channel.lag_alert_seconds = 60
        self._receive(self.product, 5)
        self.env.cr.flush()
        self.assertEqual(self._get_alerts(), {})
        self._age(100)
        alerts = self._get_alerts()
        self.assertEqual(list(alerts), ["lag"])
        [activity] = self.channel.activity_ids
        self.assertEqual(activity.user_id, self.channel.user_id)
        self.assertIn("waiting", activity.note)
        self.assertEqual(self._get_alerts(), alerts, "the same activity, not another one")
        self._confirm(self._take())
        self.assertEqual(self._get_alerts(), {})
        self.assertFalse(self.channel.activity_ids)
        self.assertIn("over", self.channel.message_ids[0].body)

    def test_who_has_done_an_activity_is_not_asked_again_for_the_same_trouble(self):
        self.channel.lag_alert_seconds = 60
        self._receive(self.product, 5)
        self._age(100)
        self._get_alerts()
        self.channel.activity_ids.action_feedback("I know")
        self._get_alerts()
        self.assertFalse(self.channel.activity_ids)

    def test_no_lag_alert_for_who_wants_none_or_has_paused(self):
        self._receive(self.product, 5)
        self._age(1000)
        self.channel.lag_alert_seconds = 0
        self.assertEqual(self._get_alerts(), {})
        self.channel.lag_alert_seconds = 10
        self.channel.action_pause()
        self.assertEqual(self._get_alerts(), {})
        self.channel.action_resume()
        self.assertEqual(list(self._get_alerts()), ["lag"])

    def test_blocked_alert(self):
        self.channel.lag_alert_seconds = 0
        self._receive(self.product, 5)
        [message] = self._take()
        self._block(message, refused=True)
        self.assertEqual(self._get_alerts(), {}, "a refused event is tried again by itself")
        self._block(message)
        self.assertEqual(list(self._get_alerts()), ["blocked"])
        self.assertIn("Retry or skip", self._get_notes())
        self.outbox.browse(message.token).action_retry()
        self.assertEqual(self._get_alerts(), {})

    def test_error_alert(self):
        status = self.env["stock.event.channel.status"]
        status._record_error(self.channel.id, "ACCESS_REFUSED <b>")
        self.env.invalidate_all()
        self.assertEqual(self._get_alerts(), {}, "it may pass")
        self.env.cr.execute(
            "UPDATE stock_event_channel_status SET error_date = error_date - INTERVAL '2 minutes'"
        )
        # Another failure of the same outage does not make it younger.
        status._record_error(self.channel.id, "ACCESS_REFUSED again <b>")
        self.env.invalidate_all()
        self.assertEqual(list(self._get_alerts()), ["error"])
        self.assertIn("ACCESS_REFUSED again &lt;b&gt;", self._get_notes())
        status._record_error(self.channel.id, None)
        self.env.invalidate_all()
        self.assertEqual(self._get_alerts(), {})
        self.assertFalse(self.channel.last_error)

    def test_worker_alert(self):
        workers = self.env["stock.event.worker"]
        self.assertEqual(self._get_alerts(), {}, "a site may do without a worker")
        workers._beat("host:1", is_leader=True)
        workers._beat("host:2", is_leader=False)
        self.assertEqual(self._get_alerts(), {})
        self._silence("host:1")
        self.assertEqual(self._get_alerts(), {}, "the other one takes over")
        self._silence("host:2")
        self.assertEqual(list(self._get_alerts()), ["worker"])
        workers._beat("host:2", is_leader=True)
        self.env.invalidate_all()
        self.assertEqual(self._get_alerts(), {})
        self._silence("host:2")
        self.assertEqual(list(self._get_alerts()), ["worker"])
        gone = workers.search([])
        self.assertEqual(gone.mapped("is_gone"), [True, True])
        with self.assertRaises(AccessError):
            gone.with_user(self.user).action_forget()
        gone.with_user(self.manager).action_forget()
        self.assertEqual(self._get_alerts(), {})

    def _silence(self, name):
        self.env.cr.execute(
            """UPDATE stock_event_worker
                  SET heartbeat_date = heartbeat_date - INTERVAL '61 seconds'
                WHERE name = %s""",
            [name],
        )
        self.env.invalidate_all()

    def test_a_worker_that_ends_in_order_is_not_missed(self):
        workers = self.env["stock.event.worker"]
        workers._beat("host:1", is_leader=True)
        self.assertEqual(self.channel.worker_heartbeat_date, workers.search([]).heartbeat_date)
        workers._forget("host:1")
        self.env.invalidate_all()
        self.assertFalse(workers.search([]))
        self.assertEqual(self._get_alerts(), {})

    def test_no_alerts_where_nothing_may_be_published(self):
        self.channel.lag_alert_seconds = 60
        self._receive(self.product, 5)
        self._age(100)
        self.env["ir.config_parameter"].set_param("database.is_neutralized", True)
        self.assertEqual(self._get_alerts(), {})
        self.env["ir.config_parameter"].set_param("database.is_neutralized", False)
        self.env["ir.config_parameter"].set_param("database.uuid", "a copy")
        self.assertEqual(self._get_alerts(), {})

    def test_the_scheduled_action_checks(self):
        self.channel.lag_alert_seconds = 60
        self._receive(self.product, 5)
        self._age(100)
        with self.enter_registry_test_mode():
            self.env.ref("stock_event_ledger.cron_check_alerts").method_direct_trigger()
        self.assertTrue(self.channel.activity_ids)

    def test_channels_with_an_error_are_found(self):
        self.env["stock.event.channel.status"]._record_error(self.channel.id, "down")
        self.env.invalidate_all()
        found = self.env["stock.event.channel"].search(Domain("last_error", "!=", False))
        self.assertEqual(found, self.channel)
