import json

from psycopg2 import IntegrityError

from odoo import Command
from odoo.exceptions import AccessError, ValidationError
from odoo.tests import tagged

from ..models.stock_ledger_entry import EVENT_TYPES
from .channel_common import ChannelCase


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
        self.env["stock.event.channel.status"]._record_error(self.channel.id, "down")
        of_channel = [("channel_id", "=", self.channel.id)]
        for model in ("stock.event.queue", "stock.event.channel.status"):
            rows = self.env[model].with_user(self.manager)
            self.assertFalse(rows.search(of_channel))
            self.channel.write({"company_ids": [Command.clear()], "active": False})
            self.assertTrue(rows.search(of_channel), "also of an inactive channel")
            self.channel.write({"company_ids": [Command.set(company.ids)], "active": True})
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
