"""What commands and their replies look like, for machines."""

import json

from .command import ACCEPTED, MOST_BYTES_BODY, REJECTED, SCHEMA_VERSION
from .consumer import DEAD_LETTER_SUFFIX, command_queue_steps
from .schema import BINDING_VERSION, EXCHANGE, _field, _text, _time, asyncapi_document, event_schema

COMMAND_QUEUE = "odoo.inventory.commands"
COMMAND_SCHEMA = f"urn:stock-event-ledger:schema:command:v{SCHEMA_VERSION}"
REPLY_SCHEMA = f"urn:stock-event-ledger:schema:command-reply:v{SCHEMA_VERSION}"
EXAMPLE_ID = "01a1ffed-dbb5-7c9d-b870-bb252ddf7f14"


def command_schema(operations):
    """Return the JSON Schema (2020-12) of commands: the body of each operation by its name.

    :param operations: list of operations, see ``integration.Operation``
    """
    definitions = {}
    for operation in operations:
        definitions.update(_get_definitions(operation, "#/$defs/{model}"))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": COMMAND_SCHEMA,
        "title": "Stock command",
        "description": (
            "The body of a command is that of the operation in the message's type: see "
            "$defs. Changes within version 1 only add."
        ),
        "type": "object",
        "$defs": definitions,
        "anyOf": [{"$ref": f"#/$defs/{operation.name}"} for operation in operations],
    }


def _get_definitions(operation, template):
    schema = operation.input.model_json_schema(ref_template=template)
    definitions = schema.pop("$defs", {})
    return {**definitions, operation.name: schema}


def reply_schema():
    """Return the JSON Schema (2020-12) of the reply to a command."""
    reason = {
        "type": "object",
        "properties": {
            "code": _text("What is wrong, for programs.", nullable=False),
            "message": _text("What is wrong and what to do, for people.", nullable=False),
            "member": _text("Part of the body that is wrong.", nullable=False),
            "line": _field("integer", "Place in the body's lines, from 0 on.", minimum=0),
        },
        "required": ["code", "message"],
    }
    fields = {
        "reply_type": _field("string", "What became of the command.", enum=[ACCEPTED, REJECTED]),
        "schema_version": _field("integer", "Version of this schema.", const=SCHEMA_VERSION),
        "command_id": _text("The command's message id; null where it had none."),
        "operation": _text("What was to be done; null where that could not be read."),
        "correlation_id": _text(
            "The command's correlation id, or its message id where it had none."
        ),
        "result": _field(
            ["object", "null"],
            "What the operation returns, also by REST; null where the command was rejected as a "
            "whole.",
        ),
        "reasons": _field(
            "array",
            "Why the command, or some of its lines, were refused; else empty.",
            items=reason,
        ),
        "finished_at": _time("When the command was done or rejected."),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": REPLY_SCHEMA,
        "title": "Reply to a stock command",
        "description": "What became of a command. Changes within version 1 only add.",
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": True,
    }


# --- AsyncAPI


def full_asyncapi_document(event_types, operations):
    """Return the AsyncAPI 3.0 document of events, commands and replies, without servers.

    :param event_types: the types of a ledger entry, to which GAP is added
    :param operations: list of operations, see ``integration.Operation``
    """
    document = asyncapi_document(event_types)
    parts = _get_parts(operations)
    document["channels"].update(parts["channels"])
    document["operations"].update(parts["operations"])
    for name, components in parts["components"].items():
        document["components"][name].update(components)
    return document


def _get_parts(operations):
    """Return what commands and replies add to the document, by its members."""
    schemas = {"reply": _without_dollars(reply_schema())}
    for operation in operations:
        schemas.update(_get_definitions(operation, "#/components/schemas/{model}"))
    messages = {operation.name: _get_command_message(operation) for operation in operations}
    replies = {name: _get_reply_message(name) for name in (ACCEPTED, REJECTED)}
    return {
        "channels": {
            "stockCommands": _get_command_channel(messages),
            "stockCommandReplies": _get_reply_channel(replies),
        },
        "operations": {
            "receiveStockCommand": {
                "action": "receive",
                "channel": {"$ref": "#/channels/stockCommands"},
                "summary": "Odoo does what a partner asks for, once for each message id.",
                "messages": _get_references("stockCommands", messages),
                "reply": {
                    "channel": {"$ref": "#/channels/stockCommandReplies"},
                    "messages": _get_references("stockCommandReplies", replies),
                },
            },
        },
        "components": {"schemas": schemas, "messages": {**messages, **replies}},
    }


def _without_dollars(schema):
    # An $id inside would change what the references in the document mean.
    return {key: value for key, value in schema.items() if not key.startswith("$")}


def _get_references(channel, messages):
    return [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages]


def _get_command_channel(messages):
    _dead, (_method, arguments) = command_queue_steps(COMMAND_QUEUE)
    return {
        "address": COMMAND_QUEUE,
        "title": "Stock commands",
        "description": (
            "A queue; its name and the user in whose name its commands run are settings of the "
            "channel in Odoo. Publish to the default exchange with the queue's name as the "
            "routing key, persistent and with confirms. Commands are run in the order of "
            f"receipt. What cannot be stored goes to the queue with {DEAD_LETTER_SUFFIX} at the "
            f"end of its name. A body has {MOST_BYTES_BODY:,} bytes at most."
        ),
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {
            "amqp": {
                "is": "queue",
                "queue": {"name": COMMAND_QUEUE, "durable": True, "autoDelete": False},
                "bindingVersion": BINDING_VERSION,
            }
        },
        "x-queue-arguments": arguments["arguments"],
    }


def _get_reply_channel(replies):
    return {
        "address": "{reply_type}.{queue}",
        "title": "Replies to stock commands",
        "description": (
            "The exchange of events; the address is the routing key. A reply also goes to the "
            "queue in the command's reply_to. It may come more than once, with the same id."
        ),
        "parameters": {
            "reply_type": {"description": "What became of it.", "enum": [ACCEPTED, REJECTED]},
            "queue": {
                "description": "Name of the queue of commands.",
                "examples": [COMMAND_QUEUE],
            },
        },
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in replies},
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
    }


def _get_command_message(operation):
    return {
        "name": operation.name,
        "title": operation.name.replace("_", " ").capitalize(),
        "summary": operation.summary,
        "description": (
            "Properties: message_id, which tells a repeat; type, the operation's name or "
            f"com.odoo.inventory.command.{operation.name}.v{SCHEMA_VERSION}; correlation_id "
            "and reply_to where wanted. CloudEvents headers may take their place."
        ),
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{operation.name}"},
        "bindings": {"amqp": {"messageType": operation.name, "bindingVersion": BINDING_VERSION}},
    }


def _get_reply_message(name):
    is_accepted = name == ACCEPTED
    example = {
        "reply_type": name,
        "schema_version": SCHEMA_VERSION,
        "command_id": EXAMPLE_ID,
        "operation": "receive",
        "correlation_id": EXAMPLE_ID,
        "result": {"status": "done", "lines": [], "transfers": []} if is_accepted else None,
        "reasons": []
        if is_accepted
        else [{"code": "invalid", "message": "Field required", "member": "lines"}],
        "finished_at": "2026-01-02T03:04:05Z",
    }
    return {
        "name": name,
        "title": name.replace(".", " ").capitalize(),
        "summary": "The command was done, or part of it: see result."
        if is_accepted
        else "The command had no effect: see reasons.",
        "contentType": "application/json",
        "payload": {
            "allOf": [
                {"$ref": "#/components/schemas/reply"},
                {"properties": {"reply_type": {"const": name}}},
            ]
        },
        "bindings": {"amqp": {"messageType": name, "bindingVersion": BINDING_VERSION}},
        "examples": [{"payload": example}],
    }


def schema_files(event_types, operations):
    """Return the files of the folder ``schemas``: text by file name.

    :param event_types: the types of a ledger entry, to which GAP is added
    :param operations: list of operations, see ``integration.Operation``
    """
    documents = {
        "event.v1.schema.json": event_schema(event_types),
        "command.v1.schema.json": command_schema(operations),
        "command-reply.v1.schema.json": reply_schema(),
        "asyncapi.v1.json": full_asyncapi_document(event_types, operations),
    }
    return {name: json.dumps(document, indent=2) + "\n" for name, document in documents.items()}
