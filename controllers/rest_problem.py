"""Errors of the REST API, as problem details (RFC 9457)."""

import json
import math
import re
from http import HTTPStatus

from werkzeug.exceptions import HTTPException

from odoo.exceptions import AccessDenied, AccessError, UserError
from odoo.http import Response, SessionExpiredException, request
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY

from ..exceptions import CallBusy, IdempotencyConflict, InvalidInput, RateLimitExceeded

PROBLEM_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:odoo:stock_event_ledger:problem:"
# As in lines[0].quantity; a name of the client's own may be anything, and is in quotes.
MEMBER_PART = re.compile(r"'[^']*'?|[^.\[\]']+")


class Problem(Exception):
    """Something to answer with instead of a result; the transaction is rolled back."""

    # Nothing to be logged: whoever sent the request is told.
    loglevel = 10

    def __init__(self, status, detail=None, name=None, errors=None, headers=None, **members):
        super().__init__(detail or status.phrase)
        self.status = HTTPStatus(status)
        self.detail = detail
        self.name = name
        self.errors = errors
        self.headers = headers or {}
        self.members = members

    @classmethod
    def of_input(cls, errors):
        """Return the problem of input that is not as the OpenAPI document has it."""
        return cls(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "The input is not what the operation takes; nothing was done.",
            name="invalid-input",
            errors=errors,
        )

    def make_response(self):
        """Return the response with the problem details."""
        content = {
            "type": TYPE_PREFIX + self.name if self.name else "about:blank",
            "title": self.name.replace("-", " ").capitalize() if self.name else self.status.phrase,
            "status": self.status.value,
            "instance": request.httprequest.path,
        }
        if self.detail:
            content["detail"] = self.detail
        if self.errors:
            content["errors"] = self.errors
        content.update(self.members)
        headers = {"Content-Type": PROBLEM_TYPE, "Cache-Control": "no-store", **self.headers}
        headers["X-Content-Type-Options"] = "nosniff"
        return Response(json.dumps(content).encode(), status=self.status.value, headers=headers)


def make_problem(error):
    """Return the Problem that tells a client of an exception, and nothing of the server.

    :param Exception error: what a request ended with
    """
    if isinstance(error, Problem):
        return error
    if isinstance(error, UserError):
        return _make_refusal(error)
    if isinstance(error, SessionExpiredException):
        return Problem(HTTPStatus.UNAUTHORIZED, headers={"WWW-Authenticate": "Bearer"})
    if isinstance(error, HTTPException) and error.code:
        # All but the type of the page that it would be.
        headers = [pair for pair in error.get_headers() if pair[0] != "Content-Type"]
        return Problem(HTTPStatus(error.code), error.description, headers=dict(headers))
    if isinstance(error, PG_CONCURRENCY_EXCEPTIONS_TO_RETRY):
        return _make_busy("Others were changing the same. Nothing was done; send it again.")
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "Odoo failed, and has logged why. Nothing was done; the call may be sent again.",
    )


def _make_refusal(error):
    """Return the Problem of what an operation, or Odoo, said to the user."""
    text = str(error)
    if isinstance(error, InvalidInput):
        return Problem.of_input([_make_item(problem) for problem in error.problems])
    if isinstance(error, IdempotencyConflict):
        return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, text, name="idempotency-key-reused")
    if isinstance(error, RateLimitExceeded):
        return Problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            text,
            name="rate-limit-exceeded",
            headers={"Retry-After": str(math.ceil(error.retry_after_seconds))},
        )
    if isinstance(error, CallBusy):
        return _make_busy(text)
    if isinstance(error, AccessError | AccessDenied):
        return Problem(HTTPStatus.FORBIDDEN, text)
    return Problem(HTTPStatus.CONFLICT, text, name="refused")


def _make_busy(text):
    headers = {"Retry-After": "1"}
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, text, name="busy", headers=headers)


def _make_item(problem):
    """Return where in the request a problem with an operation's input is, and what."""
    member, detail = problem["member"], problem["message"]
    if member == "idempotency_key":
        return {"header": "Idempotency-Key", "detail": detail}
    parts = [] if member == "body" else [p.strip("'") for p in MEMBER_PART.findall(member)]
    if request.httprequest.method in ("GET", "HEAD"):
        # A parameter's values have no places of their own in a query string.
        return {**({"parameter": parts[0]} if parts else {}), "detail": detail}
    pointer = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)
    return {"pointer": "#" + pointer, "detail": detail}
