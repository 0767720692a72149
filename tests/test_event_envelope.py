import json
import uuid
from datetime import datetime

from odoo.tests import TransactionCase, tagged

from ..broker import build_message, event_uuid, routing_key

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
            "quantity": -5.0,
            "sequence": 123,
            "recorded_at": "2026-01-02T03:04:05.678Z",
            "correlation_id": None,
            **values,
        }

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

    def test_routing_key(self):
        self.assertEqual(routing_key("SALE", "WH"), "stock.sale.wh")
        self.assertEqual(routing_key("TRANSFER_IN", None), "stock.transfer_in.transit")
        self.assertEqual(routing_key("SALE", "W.H #1*"), "stock.sale.w_h__1_")

    def test_message_is_a_binary_cloud_event(self):
        body = self._get_body()
        message = build_message(1, body, DATABASE)
        self.assertEqual(message.routing_key, "stock.transfer_out.wh")
        self.assertEqual(json.loads(message.body), body)
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
        message = build_message(1, body, DATABASE)
        self.assertEqual(message.routing_key, "stock.transfer_out.transit")
        self.assertEqual(message.key, "-/transit/101")
