import json
import uuid
from datetime import datetime, timezone

from cloudevents.core.bindings.amqp import AMQPMessage, from_amqp_event

from odoo.tests import TransactionCase, tagged

from ..broker import Envelope, check_routing_key_pattern, event_uuid, gap_event_uuid

DATABASE = "3f6c2f0e-0000-4000-8000-000000000001"


@tagged("post_install", "-at_install")
class TestEventEnvelope(TransactionCase):
    def _get_body(self, **values):
        return {
            "event_id": event_uuid(datetime(2026, 1, 2, 3, 4, 5, 678901), DATABASE, 7),
            "event_type": "TRANSFER_OUT",
            "schema_version": 1,
            "product_id": 101,
            "company_id": 1,
            "warehouse_id": 4,
            "warehouse_code": "WH",
            "sku": "A.1/b",
            "quantity": -5.0,
            "sequence": 123,
            "recorded_at": "2026-01-02T03:04:05.678Z",
            "correlation_id": None,
            **values,
        }

    def _build(self, event, mode="binary", **vals):
        return Envelope(DATABASE, mode, **vals).build_message(1, event)

    def _get_key(self, pattern, **values):
        return self._build(self._get_body(**values), routing_key_pattern=pattern).routing_key

    def _read(self, message):
        """Return the CloudEvent that the CloudEvents library reads in a message."""
        properties = message.properties
        return from_amqp_event(
            AMQPMessage(
                properties={"content-type": properties.content_type},
                application_properties=properties.headers,
                application_data=message.body,
            )
        )

    # --- ids

    def test_event_uuid_is_version_7_and_repeatable(self):
        moment = datetime(2026, 1, 2, 3, 4, 5, 678901)
        first = event_uuid(moment, DATABASE, 7)
        self.assertEqual(first, event_uuid(moment, DATABASE, 7))
        value = uuid.UUID(first)
        self.assertEqual(str(value), first)
        self.assertEqual(value.version, 7)
        self.assertEqual(value.variant, uuid.RFC_4122)
        milliseconds = (moment - datetime(1970, 1, 1)).total_seconds() * 1000
        self.assertEqual(value.int >> 80, int(milliseconds))

    def test_event_uuid_differs_by_entry_and_database_and_sorts_by_time(self):
        moment = datetime(2026, 1, 2)
        ids = {event_uuid(moment, DATABASE, number) for number in range(1000)}
        ids.add(event_uuid(moment, "another database", 1))
        self.assertEqual(len(ids), 1001)
        later = event_uuid(datetime(2026, 1, 3), DATABASE, 1)
        self.assertTrue(all(event_id < later for event_id in ids))

    def test_the_gap_of_an_event_has_an_id_of_its_own(self):
        moment = datetime(2026, 1, 2, 3, 4, 5, 678901)
        gap = gap_event_uuid(moment, DATABASE, 7)
        self.assertEqual(gap, gap_event_uuid(moment, DATABASE, 7))
        self.assertNotEqual(gap, event_uuid(moment, DATABASE, 7))
        self.assertNotEqual(gap, gap_event_uuid(moment, DATABASE, 8))
        self.assertEqual(uuid.UUID(gap).version, 7)

    # --- routing keys

    def test_routing_key(self):
        pattern = "stock.{event_type}.{warehouse}"
        self.assertEqual(self._build(self._get_body()).routing_key, "stock.transfer_out.wh")
        in_transit = self._get_key(pattern, warehouse_id=None, warehouse_code=None)
        self.assertEqual(in_transit, "stock.transfer_out.transit")
        with_signs = self._get_key(pattern, warehouse_code="W.H #1*")
        self.assertEqual(with_signs, "stock.transfer_out.w_h__1_")

    def test_routing_key_of_every_placeholder(self):
        pattern = "Co{company}.{product}.{sku}.{event_type}-{warehouse}"
        self.assertEqual(self._get_key(pattern), "co1.101.a_1_b.transfer_out-wh")
        nothing = {"company_id": None, "sku": None, "warehouse_code": None}
        self.assertEqual(self._get_key(pattern, **nothing), "co-.101.-.transfer_out-transit")

    def test_routing_key_is_cut_between_characters(self):
        key = self._get_key("x{sku}", sku="é" * 200)
        self.assertEqual(key, "x" + "é" * 127)
        self.assertEqual(len(key.encode()), 255)
        # The broker has it in at most 255 bytes, and so does pika.
        self.assertEqual(len(self._get_key("{sku}", sku="é" * 200).encode()), 254)

    def test_a_pattern_that_cannot_be_used_says_what_to_do(self):
        for pattern, message in (
            ("", "Enter a routing key pattern"),
            (None, "Enter a routing key pattern"),
            ("stock.{colour}", "Replace {colour}"),
            ("stock.{}", "Replace {}"),
            ("stock.{sku.__class__}", "Replace {sku.__class__}"),
            ("stock.{sku!r}", "Replace {sku}"),
            ("stock.{sku:>9}", "Replace {sku}"),
            ("stock.{sku", "Close each brace"),
            ("stock.sku}", "Close each brace"),
            ("stock.{{sku}}", "Remove the doubled braces"),
            ("stock.*.{sku}", "Remove spaces, * and #"),
            ("stock.#", "Remove spaces, * and #"),
            ("stock {sku}", "Remove spaces, * and #"),
            ("é" * 128, "Shorten the routing key pattern"),
        ):
            with self.subTest(pattern=pattern):
                with self.assertRaisesRegex(ValueError, message.replace("*", r"\*")):
                    check_routing_key_pattern(pattern)
                with self.assertRaises(ValueError):
                    Envelope(DATABASE, routing_key_pattern=pattern)
        check_routing_key_pattern("stock.{event_type}.{warehouse}.{company}.{product}.{sku}")
        check_routing_key_pattern("é" * 127)

    # --- modes

    def test_unknown_mode(self):
        with self.assertRaisesRegex(ValueError, "binary, structured, epcis"):
            Envelope(DATABASE, "batch")

    def test_message_is_a_binary_cloud_event(self):
        body = self._get_body()
        message = self._build(body)
        self.assertEqual(message.routing_key, "stock.transfer_out.wh")
        self.assertEqual(json.loads(message.body), body)
        self.assertTrue(message.mandatory)
        properties = message.properties
        self.assertEqual(properties.message_id, body["event_id"])
        self.assertEqual(properties.type, "TRANSFER_OUT")
        self.assertEqual(properties.content_type, "application/json")
        self.assertEqual(properties.delivery_mode, 2)
        self.assertEqual(properties.timestamp, 1767323045)
        self.assertEqual(properties.app_id, "odoo")
        self.assertEqual(
            properties.headers,
            {
                "cloudEvents_specversion": "1.0",
                "cloudEvents_id": body["event_id"],
                "cloudEvents_type": "com.odoo.inventory.transfer_out.v1",
                "cloudEvents_source": f"/odoo/{DATABASE}/inventory/1/4/101",
                "cloudEvents_partitionkey": "1/4/101",
                "cloudEvents_sequence": "00000000000000000123",
                "cloudEvents_time": "2026-01-02T03:04:05.678Z",
                "cloudEvents_dataschema": "urn:stock-event-ledger:schema:event:v1",
            },
        )

    def test_message_of_goods_in_transit_between_companies(self):
        body = self._get_body(company_id=None, warehouse_id=None, warehouse_code=None)
        message = self._build(body)
        self.assertEqual(message.routing_key, "stock.transfer_out.transit")
        self.assertEqual(message.key, "-/transit/101")

    def test_the_cloud_events_library_reads_both_modes(self):
        body = self._get_body(sku="Ä")
        for mode, content_type in (
            ("binary", "application/json"),
            ("structured", "application/cloudevents+json; charset=utf-8"),
        ):
            with self.subTest(mode=mode):
                message = self._build(body, mode)
                self.assertEqual(message.properties.content_type, content_type)
                event = self._read(message)
                self.assertEqual(event.get_data(), body)
                self.assertEqual(
                    event.get_attributes(),
                    {
                        "specversion": "1.0",
                        "id": body["event_id"],
                        "type": "com.odoo.inventory.transfer_out.v1",
                        "source": f"/odoo/{DATABASE}/inventory/1/4/101",
                        "partitionkey": "1/4/101",
                        "sequence": "00000000000000000123",
                        "time": datetime(2026, 1, 2, 3, 4, 5, 678000, timezone.utc),
                        "dataschema": "urn:stock-event-ledger:schema:event:v1",
                        "datacontenttype": "application/json",
                    },
                )

    def test_modes_differ_in_the_body_alone(self):
        body = self._get_body(
            event_type="SALE",
            reserved_quantity=0.0,
            uom="Units",
            on_hand_after=1.0,
            reserved_after=0.0,
            available_after=1.0,
            location_id=8,
            lot=None,
            package=None,
            owner_id=None,
            reference=None,
            effective_at="2026-01-02T03:04:05Z",
            corrects_event_id=None,
            replay=False,
            correlation_id="conversation",
        )
        binary, *others = (self._build(body, mode) for mode in ("binary", "structured", "epcis"))
        for message in others:
            for name in ("token", "key", "routing_key", "mandatory"):
                self.assertEqual(getattr(message, name), getattr(binary, name))
            for name in ("message_id", "type", "delivery_mode", "timestamp", "correlation_id"):
                value = getattr(message.properties, name)
                self.assertEqual(value, getattr(binary.properties, name))
                self.assertTrue(value)
            self.assertNotEqual(message.body, binary.body)

    def test_a_gap_needs_no_queue(self):
        message = self._build(self._get_body(event_type="GAP"))
        self.assertFalse(message.mandatory)
        self.assertEqual(message.routing_key, "stock.gap.wh")
        self.assertEqual(
            message.properties.headers["cloudEvents_type"], "com.odoo.inventory.gap.v1"
        )

    def test_a_replay_without_a_number_has_no_sequence_attribute(self):
        body = self._get_body(sequence=None, replay=True)
        for mode in ("binary", "structured"):
            event = self._read(self._build(body, mode))
            self.assertNotIn("sequence", event.get_attributes())
            self.assertEqual(event.get_data(), body)
        numbered = self._get_body(replay=True)
        self.assertEqual(
            self._read(self._build(numbered)).get_extension("sequence"), "00000000000000000123"
        )
