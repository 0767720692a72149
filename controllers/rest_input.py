"""What clients of the REST API send, as the members of an operation's body."""

import json
import re
from http import HTTPStatus
from urllib.parse import parse_qsl

from werkzeug.exceptions import RequestEntityTooLarge

from ..openapi import get_parameters
from .rest_problem import Problem

JSON_TYPE = "application/json"
MAX_BODY_BYTES = 1024 * 1024
KEY_HEADER = "Idempotency-Key"
INTEGER = re.compile(r"-?[0-9]{1,20}")
NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")
BOOLEANS = {"true": True, "false": False}
# A string of structured fields (RFC 8941), which the draft on the header asks for.
QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')


def read_body(httprequest):
    """Return the members of a JSON body.

    :raises Problem: when it is too large, of another type, or no JSON object
    """
    if httprequest.mimetype != JSON_TYPE:
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"Send JSON, with the header Content-Type: {JSON_TYPE}.",
            headers={"Accept": JSON_TYPE},
        )
    data = _read_data(httprequest)
    try:
        body = json.loads(
            data.decode(), object_pairs_hook=_make_object, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError:
        raise _make_syntax_problem("The body is not UTF-8.") from None
    except (ValueError, RecursionError) as error:
        # Python's own words for the others tell how to allow them.
        is_told = isinstance(error, json.JSONDecodeError | _Refused)
        text = str(error) if is_told else "it nests too deeply, or has too long a number"
        raise _make_syntax_problem(f"The body is not JSON: {text}.") from None
    if not isinstance(body, dict):
        raise Problem.of_input([{"pointer": "#", "detail": "Input should be an object"}])
    return body


def _read_data(httprequest):
    """Return the bytes of the body."""
    try:
        # Odoo compares an announced length with the route's limit before it reads.
        data = httprequest.get_data()
    except RequestEntityTooLarge:
        raise _make_size_problem() from None
    except OSError:
        raise _make_syntax_problem("The body does not come in proper chunks.") from None
    if httprequest.content_length is None and len(data) >= MAX_BODY_BYTES:
        # Werkzeug reads so much of a body in chunks, and drops the rest.
        raise _make_size_problem()
    return data


def _make_size_problem():
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"A body may have {MAX_BODY_BYTES} bytes. Send its lines in several calls.",
    )


class _Refused(ValueError):
    """JSON that Python would take."""


def _make_object(pairs):
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Refused("an object has two members of the same name")
    return members


def _refuse_constant(name):
    raise _Refused(f"{name} is no number in JSON")


def _make_syntax_problem(detail):
    return Problem(HTTPStatus.BAD_REQUEST, detail, name="malformed-request")


def read_query(httprequest, operation):
    """Return the members that the query string of a GET has.

    A list is a parameter that is repeated; a comma is part of a value.

    :raises Problem: when it is not UTF-8, or has a parameter twice that is no list
    """
    try:
        pairs = parse_qsl(
            httprequest.query_string.decode(), keep_blank_values=True, errors="strict"
        )
    except UnicodeDecodeError:
        raise _make_syntax_problem("The query string is not UTF-8.") from None
    parameters = get_parameters(operation)
    members = {}
    for name, text in pairs:
        parameter = parameters.get(name)
        value = _convert(text, parameter.type) if parameter else text
        if parameter and parameter.is_list:
            members.setdefault(name, []).append(value)
        elif name in members:
            problem = {"parameter": name, "detail": "Input should be given once"}
            raise Problem.of_input([problem])
        else:
            members[name] = value
    return members


def _convert(text, json_type):
    """Return the value that a text stands for; one that is wrong stays as it is."""
    if json_type == "integer" and INTEGER.fullmatch(text):
        return int(text)
    if json_type == "number" and NUMBER.fullmatch(text):
        return float(text)
    if json_type == "boolean":
        return BOOLEANS.get(text, text)
    return text


def read_key(httprequest):
    """Return the idempotency key of a write.

    :raises Problem: when the header is missing, or has what headers cannot carry safely
    """
    values = httprequest.headers.getlist(KEY_HEADER)
    if len(values) != 1 or not values[0]:
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            f"Send the header {KEY_HEADER}, once, with a value of your own that is another for "
            "each call and the same when the call is repeated.",
            name="idempotency-key-missing",
            errors=[{"header": KEY_HEADER, "detail": "Field required"}],
        )
    [key] = values
    if not key.isascii():
        problem = {"header": KEY_HEADER, "detail": "Input should be of ASCII characters"}
        raise Problem.of_input([problem])
    if quoted := QUOTED.fullmatch(key):
        key = re.sub(r"\\(.)", r"\1", quoted[1])
    return key
