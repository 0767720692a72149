"""What the events look like, for machines: a JSON Schema and an AsyncAPI document."""

from .envelope import (
    DATA_SCHEMA,
    DEFAULT_ROUTING_KEY_PATTERN,
    GAP,
    SCHEMA_VERSION,
    Envelope,
)
from .example import SUMMARIES, example_event

EXCHANGE = "odoo.inventory"
# Recommended for queues that have to keep the order: replicated, one active consumer, and
# a poison message ends in the dead-letter exchange instead of going round for ever.
QUEUE_ARGUMENTS = {
    "x-queue-type": "quorum",
    "x-single-active-consumer": True,
    "x-delivery-limit": 20,
}
UUID_PATTERN = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
EXAMPLE_DATABASE = "3f6c2f0e-7d1a-4c52-9a55-2f1f5a1d7c11"
BINDING_VERSION = "0.3.0"


def _field(types, description, **keywords):
    return {"type": types, "description": description, **keywords}


def _id(description, nullable=False):
    return _field(["integer", "null"] if nullable else "integer", description, minimum=1)


def _text(description, nullable=True):
    return _field(["string", "null"] if nullable else "string", description)


def _uuid(description, nullable=False):
    types = ["string", "null"] if nullable else "string"
    return _field(types, description, format="uuid", pattern=UUID_PATTERN)


def _time(description, nullable=False):
    types = ["string", "null"] if nullable else "string"
    return _field(types, description, format="date-time", pattern="Z$")


def _after(description):
    return _field(
        ["number", "null"],
        f"{description} of the product in the warehouse and company after this event; null "
        "only in a replay of an event that this channel had not published.",
    )


REFERENCE = {
    "type": ["object", "null"],
    "description": "What the event belongs to in Odoo; null only in GAP events.",
    "properties": {
        "model": _text("Odoo model: a stock move, or the ledger entry itself.", nullable=False),
        "id": _id("Id in that model."),
        "transfer": _text("Reference of the transfer or of the operation."),
        "origin": _text(
            "Source document, such as a sales order. In DRIFT_FOUND and DRIFT_CLEARED, which do "
            "not change stock, what differs and by how much: 'on_hand 5.0' or 'reserved -2.0' is "
            "what stock has more than the ledger says, 'reservation 3.0' what is reserved beyond "
            "the open operations. In STOCK_LOW, STOCK_OUT and BACK_IN_STOCK, which do not either, "
            "the new state (ok, low or out), what was available when it was reached, and the "
            "limits: 'low available 3.0 low_at 5.0 out_at 0.0'."
        ),
    },
    "required": ["model", "id", "transfer", "origin"],
}


def _get_fields(event_types):
    """Return the schemas of the flat event's fields, by name."""
    return {
        "event_id": _uuid("UUIDv7 of the event. A repeat or a replay has the same."),
        "event_type": _field("string", "What happened.", enum=[*event_types, GAP]),
        "schema_version": _field("integer", "Version of this schema.", const=SCHEMA_VERSION),
        "product_id": _id("Product variant."),
        "sku": _text("Internal reference of the product."),
        "warehouse_id": _id("Warehouse; null for stock in transit.", nullable=True),
        "warehouse_code": _text("Short name of the warehouse; null for stock in transit."),
        "quantity": _field("number", "Signed change of the on-hand quantity."),
        "reserved_quantity": _field("number", "Signed change of the reserved quantity."),
        "uom": _text("Unit of measure of the product and of all quantities, in English."),
        "on_hand_after": _after("On-hand quantity"),
        "reserved_after": _after("Reserved quantity"),
        "available_after": _after("On-hand less reserved quantity"),
        "sequence": _field(
            ["integer", "null"],
            "Number of the event among those of its company, warehouse and product on this "
            "channel: 1, 2, 3 and so on without gaps. Null only in a replay of an event "
            "that this channel had not published.",
            minimum=1,
        ),
        "location_id": _id("Location whose stock changed; may be null in GAP.", nullable=True),
        "lot": _text("Lot or serial number."),
        "package": _text("Package."),
        "owner_id": _id("Partner who owns the goods; null for the company's own.", nullable=True),
        "company_id": _id("Company; null for stock in transit between companies.", nullable=True),
        "reference": REFERENCE,
        "effective_at": _time("When the goods moved; may be null in GAP.", nullable=True),
        "recorded_at": _time("When Odoo was told."),
        "user_id": _id("User who made the change.", nullable=True),
        "correlation_id": _text("Conversation that the event belongs to."),
        "causation_id": _text("Message that caused the event."),
        "corrects_event_id": _uuid("Earlier event that this one reverses or replaces.", True),
        "replay": _field("boolean", "Whether a person asked for the event to be sent again."),
    }


SKIPPED = {
    "skipped_event_id": _uuid("Event that a person skipped, and that was not published."),
    "skipped_event_type": _text("Type of the skipped event.", nullable=False),
}
NULL = {"type": "null"}


def event_schema(event_types):
    """Return the JSON Schema (2020-12) of the flat event, version 1.

    It uses only what draft 07 has as well, for AsyncAPI.

    :param event_types: the types of a ledger entry, to which GAP is added
    """
    fields = _get_fields(event_types)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": DATA_SCHEMA,
        "title": "Stock event",
        "description": "One change of stock in Odoo. Changes within version 1 only add.",
        "type": "object",
        "properties": {**fields, **SKIPPED},
        "required": list(fields),
        "additionalProperties": True,
        "allOf": [_get_gap_rule(), _get_number_rule()],
    }


def _get_gap_rule():
    # A GAP keeps the figures of the skipped event and little else of it.
    empty = ("reference", "lot", "package", "owner_id")
    return {
        "if": {"properties": {"event_type": {"const": GAP}}, "required": ["event_type"]},
        "then": {
            "properties": {name: NULL for name in empty},
            "required": list(SKIPPED),
        },
        "else": {
            "properties": {
                "reference": {"type": "object"},
                "location_id": {"type": "integer"},
                "effective_at": {"type": "string"},
                **{name: False for name in SKIPPED},
            },
        },
    }


def _get_number_rule():
    # Only a replay may lack number and figures, and then it lacks all of them.
    figures = ("on_hand_after", "reserved_after", "available_after")
    return {
        "if": {"properties": {"sequence": NULL}, "required": ["sequence"]},
        "then": {
            "properties": {"replay": {"const": True}, **{name: NULL for name in figures}},
        },
        "else": {"properties": {name: {"type": "number"} for name in figures}},
    }


def headers_schema():
    """Return the JSON Schema of the messages' headers: CloudEvents in binary mode."""
    properties = {
        "cloudEvents_specversion": _field("string", "Version of CloudEvents.", const="1.0"),
        "cloudEvents_id": _uuid("The event's id, also the message's message_id."),
        "cloudEvents_type": _field(
            "string", "Event type and schema version.", pattern=r"^com\.odoo\.inventory\."
        ),
        "cloudEvents_source": _field(
            "string",
            "Database, company, warehouse and product.",
            format="uri-reference",
            pattern="^/odoo/[^/]+/inventory/[^/]+/[^/]+/[0-9]+$",
        ),
        "cloudEvents_partitionkey": _field(
            "string",
            "Company, warehouse and product. Events with the same key arrive in order.",
            pattern="^([0-9]+|-)/([0-9]+|transit)/[0-9]+$",
        ),
        "cloudEvents_sequence": _field(
            "string",
            "The event's sequence, compared as text. Missing only where that is null.",
            pattern="^[0-9]{20}$",
        ),
        "cloudEvents_time": _time("When Odoo was told."),
        "cloudEvents_dataschema": _field("string", "Schema of the body.", format="uri"),
    }
    optional = ("cloudEvents_sequence",)
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }


# --- AsyncAPI


def asyncapi_document(event_types):
    """Return the AsyncAPI 3.0 document of the events, without servers.

    :param event_types: the types of a ledger entry, to which GAP is added
    """
    all_types = [*event_types, GAP]
    # An $id inside would change what the references in the document mean.
    schema = {
        key: value for key, value in event_schema(event_types).items() if not key.startswith("$")
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Stock events of Odoo",
            "version": f"{SCHEMA_VERSION}.0.0",
            "description": (
                "Every change of stock, once it is committed, at least once and in order "
                "for each company, warehouse and product. Changes within a version only "
                "add."
            ),
            "license": {"name": "LGPL-3.0"},
        },
        "defaultContentType": "application/json",
        "channels": {"stockEvents": _get_channel(all_types)},
        "operations": {
            "publishStockEvent": {
                "action": "send",
                "channel": {"$ref": "#/channels/stockEvents"},
                "summary": "Odoo publishes a change of stock.",
                "bindings": {
                    "amqp": {
                        "deliveryMode": 2,
                        "timestamp": True,
                        "bindingVersion": BINDING_VERSION,
                    }
                },
                "messages": [
                    {"$ref": f"#/channels/stockEvents/messages/{event_type}"}
                    for event_type in all_types
                ],
            }
        },
        "components": {
            "schemas": {"event": schema, "headers": headers_schema()},
            "messages": {event_type: _get_message(event_type) for event_type in all_types},
        },
    }


def _get_channel(all_types):
    return {
        "address": DEFAULT_ROUTING_KEY_PATTERN,
        "title": "Stock events",
        "description": (
            "A topic exchange; the address is the routing key. Exchange, routing key "
            "pattern and envelope are settings of the channel in Odoo: these are the "
            "defaults, with CloudEvents in binary mode. To keep the order, bind a queue "
            "with the arguments of x-recommended-queue and process one message after the "
            "other. To get all events bind stock.#."
        ),
        "parameters": {
            "event_type": {
                "description": "Event type in lower case.",
                "enum": [event_type.lower() for event_type in all_types],
            },
            "warehouse": {
                "description": (
                    "Short name of the warehouse in lower case, with an underscore for "
                    "what is not a letter, digit, hyphen or underscore; transit for stock "
                    "in transit."
                ),
                "examples": ["wh", "transit"],
            },
        },
        "messages": {
            event_type: {"$ref": f"#/components/messages/{event_type}"} for event_type in all_types
        },
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {
                    "name": EXCHANGE,
                    "type": "topic",
                    "durable": True,
                    "autoDelete": False,
                },
                "bindingVersion": BINDING_VERSION,
            }
        },
        "x-recommended-queue": {"durable": True, "arguments": QUEUE_ARGUMENTS},
    }


def _get_message(event_type):
    name = event_type.replace("_", " ").capitalize()
    example = example_event(event_type)
    message = Envelope(EXAMPLE_DATABASE).build_message(1, example)
    type_header = {"const": message.properties.headers["cloudEvents_type"]}
    return {
        "name": event_type,
        "title": name,
        "summary": (
            "Published in place of an event that a person skipped: it keeps the sequence "
            "and the quantities."
            if event_type == GAP
            else SUMMARIES.get(event_type, f"{name}: a change of stock.")
        ),
        "contentType": message.properties.content_type,
        "headers": {
            "allOf": [
                {"$ref": "#/components/schemas/headers"},
                {"properties": {"cloudEvents_type": type_header}},
            ]
        },
        "payload": {
            "allOf": [
                {"$ref": "#/components/schemas/event"},
                {"properties": {"event_type": {"const": event_type}}},
            ]
        },
        "bindings": {"amqp": {"messageType": event_type, "bindingVersion": BINDING_VERSION}},
        "examples": [{"headers": message.properties.headers, "payload": example}],
    }
