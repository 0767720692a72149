"""The envelope of a stock event: CloudEvents 1.0 over AMQP 0-9-1."""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from string import Formatter

import pika
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from . import epcis

SCHEMA_VERSION = 1
DATA_SCHEMA = "urn:stock-event-ledger:schema:event:v1"
MODES = ("binary", "structured", "epcis")
GAP = "GAP"
DEFAULT_ROUTING_KEY_PATTERN = "stock.{event_type}.{warehouse}"
# AMQP's short string, which routing keys are.
ROUTING_KEY_BYTES = 255
# Placeholder of a routing key pattern: the event's field, and what stands for none.
PLACEHOLDERS = {
    "event_type": ("event_type", "-"),
    "warehouse": ("warehouse_code", "transit"),
    "company": ("company_id", "-"),
    "product": ("product_id", "-"),
    "sku": ("sku", "-"),
}
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MILLISECOND = timedelta(milliseconds=1)
SECOND = timedelta(seconds=1)
# One encoder for all messages: json.dumps makes one for each call.
_encode_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Message:
    """One message, ready to publish.

    ``token`` is the sender's own name for it. Messages of the same ``key`` are
    published one after the other, each after its predecessor's confirm. A ``mandatory``
    one counts as delivered only if a queue takes it. ``exchange`` is the target's unless
    another one is named; the empty one is the default exchange, by which a routing key is
    the name of a queue.
    """

    token: int
    key: str
    routing_key: str
    properties: pika.BasicProperties
    body: bytes
    mandatory: bool = True
    exchange: str | None = None


@dataclass(frozen=True)
class Envelope:
    """How a channel writes its messages.

    ``database_uuid`` is Odoo's ``database.uuid``, part of each event's source. ``mode``
    is one of these, the flat event being the example in the README:

    - binary: the event as the body, the CloudEvents attributes as headers;
    - structured: one JSON document of attributes and event;
    - epcis: an EPCIS 2.0 document as the body, the attributes as headers.

    :raises ValueError: for an unknown mode or a pattern that cannot be used
    """

    database_uuid: str
    mode: str = "binary"
    routing_key_pattern: str = DEFAULT_ROUTING_KEY_PATTERN

    def __post_init__(self):
        if self.mode not in MODES:
            raise ValueError(f"Unknown envelope mode {self.mode}: use one of {', '.join(MODES)}.")
        check_routing_key_pattern(self.routing_key_pattern)

    def build_message(self, token, event, details=None):
        """Wrap an event into its message.

        :param int token: the sender's own name for the message
        :param dict event: the flat event
        :param dict details: what EPCIS tells beyond it, see ``epcis.build_document``
        :return: Message
        """
        partition = (
            f"{event['company_id'] or '-'}"
            f"/{event['warehouse_id'] or 'transit'}/{event['product_id']}"
        )
        attributes = self._get_attributes(event, partition)
        content_type, headers, body = getattr(self, f"_write_{self.mode}")(
            event, attributes, details
        )
        return Message(
            token=token,
            key=partition,
            routing_key=self._get_routing_key(event),
            properties=pika.BasicProperties(
                message_id=event["event_id"],
                type=event["event_type"],
                content_type=content_type,
                delivery_mode=2,
                timestamp=(_parse_time(event["recorded_at"]) - EPOCH) // SECOND,
                app_id="odoo",
                correlation_id=event["correlation_id"],
                headers=headers,
            ),
            body=body,
            # A GAP tells of an event that nobody could be given: nobody has to listen.
            mandatory=event["event_type"] != GAP,
        )

    def _get_attributes(self, event, partition):
        """Return the CloudEvents attributes of the flat event."""
        attributes = {
            "specversion": "1.0",
            "id": event["event_id"],
            "type": f"com.odoo.inventory.{event['event_type'].lower()}.v{event['schema_version']}",
            "source": f"/odoo/{self.database_uuid}/inventory/{partition}",
            "partitionkey": partition,
            "time": event["recorded_at"],
            "dataschema": DATA_SCHEMA,
        }
        # A replay of what was never published has no number. The extension compares
        # sequences as text, hence the zeros.
        if event["sequence"] is not None:
            attributes["sequence"] = f"{event['sequence']:020d}"
        return attributes

    # The library's AMQP binding is AMQP 1.0's: it would make the time an integer. Its
    # RabbitMQ binding has other header names. Both validate each event, which costs as
    # much as all the rest: the hot path is written out, and the tests read it back with
    # the library.

    def _write_binary(self, event, attributes, _details):
        return "application/json", _get_headers(attributes), _encode_json(event).encode()

    def _write_structured(self, event, attributes, _details):
        attributes["time"] = _parse_time(attributes["time"])
        attributes["datacontenttype"] = "application/json"
        body = JSONFormat().write(CloudEvent(attributes, event))
        return f"{JSONFormat.CONTENT_TYPE}; charset=utf-8", {}, body

    def _write_epcis(self, event, attributes, details):
        # Another type, since whoever handles the flat event's cannot read this body.
        attributes["type"] = f"com.odoo.inventory.epcis.{event['event_type'].lower()}.v2"
        attributes["dataschema"] = epcis.DATA_SCHEMA
        document = epcis.build_document(event, details or {}, self.database_uuid)
        return epcis.CONTENT_TYPE, _get_headers(attributes), _encode_json(document).encode()

    def _get_routing_key(self, event):
        words = {
            name: _get_routing_word(event.get(field) or missing)
            for name, (field, missing) in PLACEHOLDERS.items()
        }
        return cut_routing_key(self.routing_key_pattern.format(**words).lower())


def check_routing_key_pattern(pattern):
    """Check that routing keys can be made of a pattern.

    :param str pattern: words and ``{placeholders}``, divided by dots
    :raises ValueError: saying what to do, where they cannot
    """
    if not pattern:
        raise ValueError(f"Enter a routing key pattern, such as {DEFAULT_ROUTING_KEY_PATTERN}.")
    if re.search(r"[*#\s]", pattern):
        raise ValueError(
            "Remove spaces, * and # from the routing key pattern: "
            "the last two have a meaning in bindings only."
        )
    if len(pattern.encode()) > ROUTING_KEY_BYTES:
        raise ValueError(
            f"Shorten the routing key pattern: it may have {ROUTING_KEY_BYTES} bytes at most."
        )
    known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    try:
        parts = list(Formatter().parse(pattern))
    except ValueError as error:
        raise ValueError(
            f"Close each brace of the routing key pattern around one of {known}."
        ) from error
    for text, name, spec, conversion in parts:
        if re.search(r"[{}]", text):
            raise ValueError(f"Remove the doubled braces: the placeholders are {known}.")
        if name is not None and (name not in PLACEHOLDERS or spec or conversion):
            raise ValueError(
                f"Replace {{{name}}} in the routing key pattern: the placeholders are {known}."
            )


def event_uuid(recorded_date, database_uuid, entry_id):
    """Return the UUIDv7 of a ledger entry's event, as text.

    It follows from the entry alone, so that nothing has to be stored for a repeat to
    carry the same id. RFC 9562 wants 74 bits that are hard to guess and unique: a hash
    of database and entry is both. The leading milliseconds keep ids in time order.

    :param datetime recorded_date: the entry's recorded date, UTC without time zone
    :param str database_uuid: Odoo's ``database.uuid``
    :param int entry_id: the ledger entry
    """
    return _uuid7(recorded_date, f"{database_uuid}/{entry_id}")


def gap_event_uuid(recorded_date, database_uuid, entry_id):
    """Return the id of the GAP event published in place of an entry's event, as text.

    As repeatable as ``event_uuid`` and never the same, with the same parameters.
    """
    return _uuid7(recorded_date, f"{database_uuid}/{entry_id}/gap")


def new_uuid():
    """Return a new UUIDv7, as text."""
    return _uuid7(datetime.now(timezone.utc), os.urandom(16).hex())


def _uuid7(date, name):
    digest = hashlib.sha256(name.encode()).digest()
    value = ((date.replace(tzinfo=timezone.utc) - EPOCH) // MILLISECOND) << 80
    value |= int.from_bytes(digest[:10], "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _get_headers(attributes):
    return {f"cloudEvents_{name}": value for name, value in attributes.items()}


@lru_cache(maxsize=4096)
def _get_routing_word(value):
    """Return a value as one word of a routing key.

    A dot would add a level, a space, ``*`` or ``#`` would confuse a binding: whatever
    is not a letter, digit, hyphen or underscore becomes an underscore.
    """
    return re.sub(r"[^\w-]", "_", str(value))


def cut_routing_key(routing_key):
    """Return as much of a routing key as AMQP can carry."""
    # Between characters, never inside one: the broker wants UTF-8.
    return routing_key.encode()[:ROUTING_KEY_BYTES].decode(errors="ignore")


def _parse_time(iso_time):
    return datetime.fromisoformat(iso_time[:-1] + "+00:00")
