"""The envelope of a stock event: CloudEvents 1.0, binary mode, over AMQP 0-9-1."""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

import pika

SCHEMA_VERSION = 1
DATA_SCHEMA = "urn:stock-event-ledger:schema:event:v1"
EPOCH = datetime(1970, 1, 1)
MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Message:
    """One message, ready to publish.

    ``token`` is the sender's own name for it. Messages of the same ``key`` are
    published one after the other, each after its predecessor's confirm.
    """

    token: int
    key: str
    routing_key: str
    properties: pika.BasicProperties
    body: bytes


def event_uuid(recorded_date, database_uuid, entry_id):
    """Return the UUIDv7 of a ledger entry's event, as text.

    It follows from the entry alone, so that nothing has to be stored for a repeat to
    carry the same id. RFC 9562 wants 74 bits that are hard to guess and unique: a hash
    of database and entry is both. The leading milliseconds keep ids in time order.

    :param datetime recorded_date: the entry's recorded date, UTC without time zone
    :param str database_uuid: Odoo's ``database.uuid``
    :param int entry_id: the ledger entry
    """
    digest = hashlib.sha256(f"{database_uuid}/{entry_id}".encode()).digest()
    value = ((recorded_date - EPOCH) // MILLISECOND) << 80
    value |= int.from_bytes(digest[:10], "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def routing_key(event_type, warehouse_code):
    """Return ``stock.<event type>.<warehouse code>`` in lower case.

    A dot would add a level, a space, ``*`` or ``#`` would confuse a binding: whatever
    is not a letter, digit, hyphen or underscore becomes an underscore. What is in no
    warehouse is in ``transit``.
    """
    words = ("stock", event_type, warehouse_code or "transit")
    return ".".join(re.sub(r"[^\w-]", "_", word.lower()) for word in words)


def build_message(token, body, database_uuid):
    """Wrap an event's flat body into its message.

    :param int token: the sender's own name for the message
    :param dict body: the event, see the example in the README
    :param str database_uuid: Odoo's ``database.uuid``, part of the event's source
    """
    event_type = body["event_type"]
    partition = (
        f"{body['company_id'] or '-'}/{body['warehouse_id'] or 'transit'}/{body['product_id']}"
    )
    properties = pika.BasicProperties(
        message_id=body["event_id"],
        type=event_type,
        content_type="application/json",
        delivery_mode=2,
        timestamp=_epoch_seconds(body["recorded_at"]),
        app_id="odoo",
        correlation_id=body["correlation_id"],
        headers={
            "cloudEvents_specversion": "1.0",
            "cloudEvents_id": body["event_id"],
            "cloudEvents_type": f"com.odoo.inventory.{event_type.lower()}"
            f".v{body['schema_version']}",
            "cloudEvents_source": f"/odoo/{database_uuid}/inventory/{partition}",
            "cloudEvents_partitionkey": partition,
            # The extension compares sequences as text, hence the zeros.
            "cloudEvents_sequence": f"{body['sequence']:020d}",
            "cloudEvents_time": body["recorded_at"],
            "cloudEvents_dataschema": DATA_SCHEMA,
        },
    )
    return Message(
        token=token,
        key=partition,
        routing_key=routing_key(event_type, body["warehouse_code"]),
        properties=properties,
        body=json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(),
    )


def _epoch_seconds(iso_time):
    return (datetime.fromisoformat(iso_time[:-1]) - EPOCH) // timedelta(seconds=1)
