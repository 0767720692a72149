"""The paths of the REST API and their OpenAPI document, from the operations' definitions.

Plain Python, like those.
"""

import json
from functools import cache
from http import HTTPStatus
from typing import NamedTuple

from pydantic.json_schema import models_json_schema

from .integration import OPERATIONS, Operation

PREFIX = "/stock_event_ledger/v1"
VERSION = "1.0.0"
PROBLEM_TYPE = "application/problem+json"
REFERENCE = "#/components/schemas/{model}"
FILE = "openapi.v1.json"
# Methods say what is done, paths what comes of it. Operations of other modules, which are
# not in here, have paths of their names.
RESOURCES = {
    "get_availability": "availability",
    "get_feed": "feed",
    "receive": "receipts",
    "issue": "issues",
    "transfer": "transfers",
    "return_goods": "returns",
    "adjust": "adjustments",
    "reserve": "reservations",
    "release": "releases",
    "extend": "extensions",
    "convert": "conversions",
}
SEARCH = "search"
# What each kind of request may be answered with when it fails, and what it means.
FAILURES = {
    HTTPStatus.BAD_REQUEST: "The request is malformed: no JSON, not UTF-8, or a header is missing.",
    HTTPStatus.UNAUTHORIZED: "There is no API key, or it is not valid.",
    HTTPStatus.FORBIDDEN: "The user of the key may not do this.",
    HTTPStatus.CONFLICT: "Nothing was done, because of the stock as it is; `lines` tells why.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is larger than a mebibyte.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is of another type than application/json.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "The input is wrong, as `errors` tells, or the idempotency "
    "key came with another body before. Nothing was done.",
    HTTPStatus.TOO_MANY_REQUESTS: "The user of the key has made too many calls.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Others held what the call needs for too long. Nothing was "
    "done; send it again.",
}
OF_BODIES = (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
OF_WRITES = (HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE)
RATE_HEADERS = ("RateLimit", "RateLimit-Policy")


class Route(NamedTuple):
    """A path below the prefix, and the operation that it calls."""

    path: str
    operation: Operation
    methods: tuple

    @property
    def has_body(self):
        """Tell whether its input is a JSON body, not a query string."""
        return "POST" in self.methods

    def get_next(self, question, result):
        """Return the question for the next page, or None after the last.

        :param dict question: the members of this page's question
        :param dict result: what it was answered with
        """
        if not result.get("has_more"):
            return None
        return {**question, "after": result["next_after"]}


class Parameter(NamedTuple):
    """A member of an operation's input as it is in a query string."""

    type: str
    is_list: bool
    schema: dict
    is_required: bool


def get_routes():
    """Return all Routes: one per operation, and one more for a read whose question is long."""
    routes = []
    for operation in OPERATIONS.values():
        path = RESOURCES.get(operation.name, operation.name)
        if operation.writes:
            routes.append(Route(path, operation, ("POST",)))
        else:
            routes.append(Route(path, operation, ("GET", "HEAD")))
            routes.append(Route(f"{path}/{SEARCH}", operation, ("POST",)))
    return routes


def get_route(path):
    """Return the Route of a path below the prefix, or None."""
    return next((route for route in get_routes() if route.path == path), None)


@cache
def get_parameters(operation):
    """Return the Parameters of a read, by name."""
    schema = operation.input.model_json_schema()
    return {
        name: _make_parameter(member, name in schema.get("required", ()), schema)
        for name, member in schema["properties"].items()
    }


def _make_parameter(member, is_required, schema):
    """Return a Parameter: of the member's schema, less that it may be null."""
    kinds = [_resolve(kind, schema) for kind in member.get("anyOf", [member])]
    [kind] = [kind for kind in kinds if kind.get("type") != "null"]
    kept = {key: value for key, value in member.items() if key not in ("anyOf", "default")}
    kind = {key: value for key, value in {**kind, **kept}.items() if key != "title"}
    if member.get("default") is not None:
        kind["default"] = member["default"]
    is_list = kind.get("type") == "array"
    if is_list:
        kind["items"] = _resolve(kind["items"], schema)
    scalar = kind["items"] if is_list else kind
    return Parameter(scalar.get("type", "string"), is_list, kind, is_required)


def _resolve(kind, schema):
    if "$ref" not in kind:
        return kind
    return schema["$defs"][kind["$ref"].removeprefix("#/$defs/")]


# --- the document


def openapi_document():
    """Return the OpenAPI document of all operations."""
    models = {}
    for operation in OPERATIONS.values():
        models[operation.input, "validation"] = models[operation.output, "serialization"] = None
    names, definitions = models_json_schema(list(models), ref_template=REFERENCE)
    paths = {f"{PREFIX}/{route.path}": _make_path(route, names) for route in get_routes()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Stock Event Ledger",
            "version": VERSION,
            "description": "Stock of an Odoo database, for shops, warehouse systems and purchasing "
            "systems. The model stock.integration has the same operations over XML-RPC and "
            "JSON-2.",
            "license": {"name": "LGPL-3.0", "identifier": "LGPL-3.0-only"},
        },
        "security": [{"apiKey": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key of an Integration User of Odoo",
                }
            },
            "schemas": {
                **dict(sorted(definitions.get("$defs", {}).items())),
                "Problem": _problem_schema(),
            },
            "responses": {status.name: _make_failure(status) for status in FAILURES},
            "headers": _headers(),
        },
    }


def openapi_file():
    """Return the text of the document's copy in the repository."""
    return json.dumps(openapi_document(), indent=2, ensure_ascii=False) + "\n"


def _make_path(route, names):
    """Return a path's item: what it takes and what it answers with."""
    operation = route.operation
    item = {
        "operationId": operation.name + ("_search" if route.path.endswith(SEARCH) else ""),
        "summary": operation.summary,
        "responses": _make_responses(route, names[operation.output, "serialization"]),
    }
    parameters = _make_parameters(route)
    if parameters:
        item["parameters"] = parameters
    if route.has_body:
        content = {"application/json": {"schema": names[operation.input, "validation"]}}
        item["requestBody"] = {"required": True, "content": content}
    return {"post" if route.has_body else "get": item}


def _make_parameters(route):
    if not route.has_body:
        etag = {"name": "If-None-Match", "in": "header", "schema": {"type": "string"}}
        etag["description"] = "The ETag of an answer that the client has"
        return [*_make_query(route.operation), etag]
    if route.operation.writes:
        return [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": True,
                "description": "Names the call: with the same key and body it is done once",
                "schema": _key_schema(),
            }
        ]
    return []


def _key_schema():
    # Printable ASCII, and no spaces around it: other characters have no place in a header.
    pattern = "^[!-~]([ -~]*[!-~])?$"
    return {"type": "string", "minLength": 1, "maxLength": 128, "pattern": pattern}


def _make_query(operation):
    return [
        {
            "name": name,
            "in": "query",
            **({"required": True} if parameter.is_required else {}),
            **({"style": "form", "explode": True} if parameter.is_list else {}),
            "schema": parameter.schema,
        }
        for name, parameter in get_parameters(operation).items()
    ]


def _make_responses(route, schema):
    """Return what a path answers with, by status."""
    headers = {name: _header(name) for name in RATE_HEADERS}
    if route.operation.writes:
        headers["Idempotency-Replayed"] = _header("Idempotency-Replayed")
    elif not route.has_body:
        headers["ETag"] = _header("ETag")
        headers["Link"] = _header("Link")
    responses = {
        "200": {
            "description": "Done, some lines refused perhaps"
            if route.operation.writes
            else "Found",
            "headers": headers,
            "content": {"application/json": {"schema": schema}},
        }
    }
    if not route.has_body:
        responses["304"] = {
            "description": "The client has it",
            "headers": {"ETag": _header("ETag")},
        }
    for status in FAILURES:
        if (status in OF_BODIES and not route.has_body) or (
            status in OF_WRITES and not route.operation.writes
        ):
            continue
        responses[str(status.value)] = {"$ref": f"#/components/responses/{status.name}"}
    return responses


def _header(name):
    return {"$ref": f"#/components/headers/{name}"}


def _headers():
    texts = {
        "RateLimit": "What is left of the user's calls, as in the IETF's draft on RateLimit fields",
        "RateLimit-Policy": "How many calls the user may make in how many seconds",
        "Idempotency-Replayed": "true: the key came before, and this is what came of it then",
        "ETag": "For If-None-Match",
        "Link": "rel=next: the next page",
        "Retry-After": "Seconds",
    }
    return {
        name: {"description": text, "schema": {"type": "string"}} for name, text in texts.items()
    }


def _make_failure(status):
    failure = {
        "description": FAILURES[status],
        "content": {PROBLEM_TYPE: {"schema": {"$ref": REFERENCE.format(model="Problem")}}},
    }
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        failure["headers"] = {"Retry-After": _header("Retry-After")}
    return failure


def _problem_schema():
    """Return the schema of problem details (RFC 9457)."""
    text = {"type": "string"}
    return {
        "type": "object",
        "description": "Problem details, as in RFC 9457",
        "required": ["type", "title", "status", "instance"],
        "properties": {
            "type": {**text, "description": "What kind of problem, for programs"},
            "title": {**text, "description": "What kind of problem, for people"},
            "status": {"type": "integer", "description": "The status of the response"},
            "detail": {**text, "description": "What is wrong and what to do"},
            "instance": {**text, "description": "The path that was asked for"},
            "errors": {
                "type": "array",
                "description": "What is wrong with the input",
                "items": {
                    "type": "object",
                    "required": ["detail"],
                    "properties": {
                        "pointer": {**text, "description": "Where in the body: a JSON pointer"},
                        "parameter": {**text, "description": "Which query parameter"},
                        "header": {**text, "description": "Which header"},
                        "detail": {**text, "description": "What is expected"},
                    },
                },
            },
            "lines": {
                "type": "array",
                "description": "What became of each line, where all were refused",
                "items": {"type": "object"},
            },
        },
    }
