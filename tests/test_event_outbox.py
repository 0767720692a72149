import os
import ssl
from contextlib import closing
from unittest.mock import patch

from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, new_test_user, tagged
from odoo.tools import file_open, mute_logger

from .common import LedgerCase

PASSWORD = "STOCK_EVENT_LEDGER_AMQP_PASSWORD"
SECRET = "s3cr3t/+word"


@tagged("post_install", "-at_install")
class TestEventOutbox(LedgerCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["stock.event.channel"].search([]).active = False
        cls.channel = cls.env["stock.event.channel"].create(
            {"name": "Test", "code": "test", "active": True}
        )

    def _get_outbox(self):
        self.env.cr.flush()
        return self.env["stock.event.outbox"].search([("channel_id", "=", self.channel.id)])

    def _take(self):
        self.env.cr.flush()
        messages, _looked_at = self.env["stock.event.outbox"]._take(self.channel.id, 100)
        return messages

    # --- writing

    def test_a_movement_queues_one_event_for_its_side_in_the_warehouse(self):
        self._receive(self.product, 5)
        outbox = self._get_outbox()
        self.assertEqual(outbox.event_type, "RECEIPT")
        self.assertEqual(outbox.quantity, 5)
        self.assertEqual(outbox.product_id, self.product)
        self.assertEqual(outbox.warehouse_id, self.warehouse)
        self.assertEqual(outbox.company_id, self.warehouse.company_id)
        self.assertEqual(outbox.state, "pending")

    def test_each_active_channel_gets_the_event(self):
        other = self.channel.copy({"code": "other", "active": True})
        self.channel.copy({"code": "inactive"})
        self._receive(self.product, 5)
        self.env.cr.flush()
        outbox = self.env["stock.event.outbox"].search([("product_id", "=", self.product.id)])
        self.assertEqual(outbox.channel_id, self.channel | other)
        self.assertEqual(len(outbox), 2)

    def test_a_paused_channel_goes_on_queueing(self):
        self.channel.action_pause()
        self._receive(self.product, 5)
        self.assertEqual(len(self._get_outbox()), 1)
        self.assertNotIn(self.channel.id, self.channel._get_targets())
        self.channel.action_resume()
        self.assertIn(self.channel.id, self.channel._get_targets())

    def test_nothing_is_queued_without_an_active_channel(self):
        self.channel.active = False
        self._receive(self.product, 5)
        self.assertFalse(self._get_outbox())

    def test_nothing_is_queued_by_a_rolled_back_savepoint(self):
        for flush in (True, False):
            with self.subTest(flush=flush):
                with closing(self.env.cr.savepoint(flush=flush)):
                    self._receive(self.product, 5)
                self.env.invalidate_all()
                self.assertFalse(self._get_outbox())

    def test_a_rolled_back_savepoint_loses_its_own_events_only(self):
        self._receive(self.product, 1)
        with closing(self.env.cr.savepoint()):
            self._receive(self.product, 2)
            self.assertEqual(len(self._get_outbox()), 2)
        self.env.invalidate_all()
        self._receive(self.product, 4)
        self.assertEqual(self._get_outbox().mapped("quantity"), [1, 4])

    def test_the_notification_can_be_switched_off(self):
        outbox = self.env["stock.event.outbox"]
        self.assertTrue(outbox._should_notify())
        self.env["ir.config_parameter"].set_param("stock_event_ledger.notify", "False")
        self.assertFalse(outbox._should_notify())
        self._receive(self.product, 5)
        self.assertEqual(len(self._get_outbox()), 1)

    # --- numbers and figures

    def test_events_tell_number_and_figures(self):
        self._receive(self.product, 10)
        picking = self._create_picking("out", {self.product: 4})
        picking.action_confirm()
        picking.action_assign()
        self.env.cr.flush()
        self._validate(picking)
        self.env.cr.flush()
        self._take()
        rows = [
            (r.event_type, r.sequence, r.on_hand_after, r.reserved_after)
            for r in self._get_outbox()
        ]
        self.assertEqual(rows, [("RECEIPT", 1, 10, 0), ("RESERVE", 2, 10, 4), ("SALE", 3, 6, 0)])

    def test_figures_include_stock_from_before_the_activation(self):
        self.channel.active = False
        self._receive(self.product, 10)
        self.env.cr.flush()
        self.channel.active = True
        self._receive(self.product, 5)
        self._take()
        self.assertEqual(self._get_outbox().on_hand_after, 15)
        self.channel.active = False
        self._receive(self.product, 100)
        self.env.cr.flush()
        self.channel.active = True
        self._receive(self.product, 1)
        self._take()
        last = self._get_outbox()[-1]
        self.assertEqual((last.sequence, last.on_hand_after), (2, 116))

    def test_warehouses_are_separate_keys(self):
        self._receive(self.product, 5)
        self._receive(self.product, 7, destination=self.other_warehouse.lot_stock_id)
        self._take()
        self.assertEqual(
            [(r.warehouse_id, r.sequence, r.on_hand_after) for r in self._get_outbox()],
            [(self.warehouse, 1, 5), (self.other_warehouse, 1, 7)],
        )

    def test_a_repeat_has_the_same_number_and_id(self):
        self._receive(self.product, 5)
        [first] = self._take()
        self._receive(self.product, 5)
        again, second = self._take()
        self.assertEqual(again.body, first.body)
        self.assertEqual(again.properties, first.properties)
        self.assertIn("00000000000000000002", second.properties.headers.values())

    # --- who may do what

    def test_a_user_reads_and_a_manager_configures(self):
        manager = new_test_user(self.env, "event_manager", groups="stock.group_stock_manager")
        self._receive(self.product, 5)
        outbox = self._get_outbox()
        self.assertEqual(outbox.with_user(self.user).state, "pending")
        self.assertTrue(self.channel.with_user(self.user).name)
        with self.assertRaises(AccessError):
            self.channel.with_user(self.user).name = "Other"
        with self.assertRaises(AccessError):
            outbox.with_user(self.user).action_retry()
        with self.assertRaises(AccessError):
            outbox.with_user(manager).error = "none"
        outbox.with_user(manager).action_retry()
        self.channel.with_user(manager).name = "Other"

    def test_a_user_without_inventory_rights_reads_nothing(self):
        stranger = new_test_user(self.env, "stranger", groups="base.group_user")
        with self.assertRaises(AccessError):
            self.channel.with_user(stranger).name  # noqa: B018

    # --- configuration

    def test_configure_from_url(self):
        self.channel.active = False
        self.channel._configure_from_url(
            f"amqps://shop:{SECRET.replace('/', '%2F')}@mq.example.com/stock%2Fa"
        )
        self.assertEqual(
            (
                self.channel.host,
                self.channel.port,
                self.channel.virtual_host,
                self.channel.username,
                self.channel.use_tls,
                self.channel.active,
            ),
            ("mq.example.com", 5671, "stock/a", "shop", True, True),
        )
        self.channel._configure_from_url("amqp://localhost:5673")
        self.assertEqual(
            (self.channel.port, self.channel.virtual_host, self.channel.use_tls),
            (5673, "/", False),
        )
        for url in ("http://user:pw@host", "amqp://", f"amqp://u:{SECRET}@h:port/"):
            with self.assertRaises(UserError) as refusal:
                self.channel._configure_from_url(url)
            self.assertNotIn(SECRET, str(refusal.exception))

    def test_the_password_is_in_no_field(self):
        self.channel._configure_from_url("amqp://shop:distinctive@localhost/")
        self.env.flush_all()
        self.env.cr.execute(
            "SELECT channel::text FROM stock_event_channel channel WHERE id = %s",
            [self.channel.id],
        )
        self.assertNotIn("distinctive", str(self.env.cr.fetchall()))
        with patch.dict(os.environ, {f"{PASSWORD}_TEST": "distinctive"}):
            target = self.channel._prepare_target()
        self.assertEqual(target.password, "distinctive")
        self.assertNotIn("distinctive", repr(target))
        self.assertNotIn("distinctive", repr(target.connection_parameters()))

    def test_a_channel_may_have_a_password_of_its_own(self):
        with patch.dict(os.environ, {PASSWORD: "any", f"{PASSWORD}_OTHER": "own"}):
            self.assertEqual(self.channel._get_password(), "any")
            self.channel.code = "other"
            self.assertEqual(self.channel._get_password(), "own")

    def test_the_copy_of_a_database_publishes_nothing_until_told_to(self):
        self.assertIn(self.channel.id, self.channel._get_targets())
        self.env["ir.config_parameter"].set_param("database.uuid", "a copy")
        self.env.invalidate_all()
        self.assertTrue(self.channel.is_copied_database)
        self.assertNotIn(self.channel.id, self.channel._get_targets())
        self.channel.action_adopt_database()
        self.assertIn(self.channel.id, self.channel._get_targets())

    def test_a_neutralized_database_publishes_nothing(self):
        self.env["ir.config_parameter"].set_param("database.is_neutralized", True)
        self.assertEqual(self.channel._get_targets(), {})

    def test_neutralizing_a_database_deactivates_its_channels(self):
        self.env.flush_all()
        with file_open("stock_event_ledger/data/neutralize.sql") as file:
            self.env.cr.execute(file.read())  # pylint: disable=sql-injection
        self.env.invalidate_all()
        self.assertFalse(self.channel.active)

    def test_tls_verifies_the_server_and_its_name(self):
        self.channel._configure_from_url("amqps://shop@mq.example.com")
        options = self.channel._prepare_target().connection_parameters().ssl_options
        self.assertEqual(options.server_hostname, "mq.example.com")
        self.assertTrue(options.context.check_hostname)
        self.assertEqual(options.context.verify_mode, ssl.CERT_REQUIRED)

    def test_a_manager_makes_a_channel_in_the_form(self):
        manager = new_test_user(self.env, "form_manager", groups="stock.group_stock_manager")
        with Form(self.env["stock.event.channel"].with_user(manager)) as form:
            form.name = "Shop"
            form.code = "shop"
        channel = form.save()
        self.assertFalse(channel.active)
        self.assertEqual(channel.exchange, "odoo.inventory")
        channel.active = True
        self.assertFalse(channel.is_copied_database)
        self.assertTrue(channel.database_uuid)

    def test_the_outbox_opens_from_the_channel(self):
        self._receive(self.product, 5)
        outbox = self._get_outbox()
        action = self.channel.action_open_outbox()
        found = self.env[action["res_model"]].search(action["domain"])
        self.assertEqual(found, outbox)
        self.assertEqual((self.channel.pending_count, self.channel.blocked_count), (1, 0))

    def test_the_scheduled_action_does_nothing_in_a_test(self):
        self._receive(self.product, 5)
        self.env["stock.event.outbox"]._cron_relay()
        self.assertEqual(len(self._get_outbox()), 1)

    @mute_logger("odoo.sql_db")
    def test_codes_name_environment_variables(self):
        with self.assertRaises(ValidationError):
            self.channel.code = "no spaces"

    def test_a_deleted_channel_takes_its_events_along(self):
        self._receive(self.product, 5)
        self._take()
        outbox = self._get_outbox()
        self.channel.unlink()
        self.assertFalse(outbox.exists())
        self.assertFalse(self.env["stock.event.key"].search([]))
