"""Commands: what is read from a message, and what is answered."""

import json
import math
import re
from dataclasses import dataclass

SCHEMA_VERSION = 1
ACCEPTED, REJECTED = "command.accepted", "command.rejected"
# As in RabbitMQ's own properties, so that each may be repeated in an answer.
MOST_BYTES_ID = 255
MOST_BYTES_BODY = 1_000_000
# Of what cannot be a command this much is kept to look at.
MOST_KEPT = 10_000
UNREADABLE = "\N{REPLACEMENT CHARACTER}"
# CloudEvents' binding names its headers with a colon or an underscore.
HEADER_PREFIXES = ("cloudEvents_", "cloudEvents:")
TYPE_PATTERN = re.compile(
    r"(?:com\.odoo\.inventory\.)?(?:command\.)?(?P<operation>[a-z_]+)(?:\.v(?P<version>\d+))?"
)


# The last words of the types of replies, which are no commands.
REPLY_WORDS = ("accepted", "rejected")


@dataclass(frozen=True)
class Command:
    """What a message asks for; ``problem`` says why it is none, if it is none.

    ``payload`` is the body as text: of a command all of it, else the beginning.
    """

    message_id: str | None
    operation: str | None
    correlation_id: str | None
    reply_to: str | None
    payload: str
    problem: str | None = None


class Malformed(Exception):
    """The message is no command; the text tells its sender what to change."""


def parse_command(properties, body):
    """Read a message. Whatever it is, something is returned.

    :param pika.BasicProperties properties: the message's properties
    :param bytes body: its body
    :return: Command
    """
    values, problems = {}, []
    for name, read in (
        ("message_id", lambda: _read(properties, "message_id", "id", is_required=True)),
        ("operation", lambda: _read_operation(properties)),
        ("correlation_id", lambda: _read(properties, "correlation_id", "correlationid")),
        ("reply_to", lambda: _read(properties, "reply_to", "replyto")),
        ("payload", lambda: _read_body(properties, body)),
    ):
        try:
            values[name] = read()
        except Malformed as error:
            values[name] = None
            problems.append(str(error))
    if values["payload"] is None:
        values["payload"] = _clean(body[:MOST_KEPT].decode(errors="replace"))
    if values["operation"] in REPLY_WORDS:
        problems.append("A reply is no command: do not bind the queue to the exchange of replies.")
    return Command(**values, problem=" ".join(problems) or None)


def _read(properties, name, attribute, is_required=False):
    value = getattr(properties, name)
    headers = properties.headers or {}
    for prefix in HEADER_PREFIXES:
        if value in (None, ""):
            value = headers.get(prefix + attribute)
    if value in (None, ""):
        if is_required:
            raise Malformed(
                f"Set the property {name}: a command without one cannot be told from a repeat."
                if name == "message_id"
                else f"Set the property {name}."
            )
        return None
    # pika returns bytes for what is not UTF-8.
    if not isinstance(value, str) or not value.isprintable():
        raise Malformed(f"Make the property {name} text in UTF-8 without control characters.")
    if len(value.encode()) > MOST_BYTES_ID:
        raise Malformed(f"Shorten the property {name}: {MOST_BYTES_ID} bytes at most.")
    return value


def _read_operation(properties):
    name = _read(properties, "type", "type", is_required=True)
    match = TYPE_PATTERN.fullmatch(name)
    if not match or match["version"] not in (None, str(SCHEMA_VERSION)):
        raise Malformed(
            "Set the property type to the name of an operation, such as receive or "
            f"com.odoo.inventory.command.receive.v{SCHEMA_VERSION}."
        )
    return match["operation"]


def _read_body(properties, body):
    """Return the body as text, once it is known to be a JSON object."""
    content_type = properties.content_type
    if content_type and not re.match(r"application/json\s*(;|$)", str(content_type), re.I):
        raise Malformed("Set the content type to application/json.")
    if properties.content_encoding and str(properties.content_encoding).lower() != "utf-8":
        raise Malformed("Send the body in UTF-8, without compression.")
    if len(body) > MOST_BYTES_BODY:
        raise Malformed(f"Make the body smaller: {MOST_BYTES_BODY:,} bytes at most.")
    try:
        text = body.decode()
        value = json.loads(text, parse_constant=_refuse_constant)
        _check_values(value)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"Make the body valid JSON in UTF-8: {error}.") from error
    if not isinstance(value, dict):
        raise Malformed("Make the body a JSON object, with the operation's members.")
    return text


def _refuse_constant(name):
    raise ValueError(f"{name} is no number of JSON")


def _check_values(value):
    """Refuse what JSON can write, and neither PostgreSQL nor arithmetic can work with."""
    if isinstance(value, dict):
        for name, member in value.items():
            _check_values(name)
            _check_values(member)
    elif isinstance(value, list):
        for member in value:
            _check_values(member)
    elif isinstance(value, str) and ("\0" in value or re.search("[\ud800-\udfff]", value)):
        raise ValueError("NUL and unpaired surrogates are no text")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is too large")


def _clean(text):
    """Return a text as PostgreSQL can store it."""
    return "".join(
        character if character.isprintable() or character in "\t\r\n" else UNREADABLE
        for character in text
    )
