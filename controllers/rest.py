import hashlib
import json
from http import HTTPStatus
from urllib.parse import urlencode

from odoo import http
from odoo.http import Response, request
from odoo.tools.json import json_default

from ..openapi import get_route, openapi_document
from .rest_dispatcher import PREFIX, RestDispatcher
from .rest_input import JSON_TYPE, MAX_BODY_BYTES, read_body, read_key, read_query
from .rest_problem import Problem
from .schemas import CACHE_SECONDS


def _is_readonly(_controller, _rule, args):
    """Tell whether a request may go to a replica."""
    route = get_route(args.get("path", ""))
    return not (route and route.operation.writes)


class StockIntegrationRest(http.Controller):
    """The operations of ``stock.integration``, each with a path and its methods."""

    @http.route(
        f"{PREFIX}/openapi.json",
        type=RestDispatcher.routing_type,
        auth="public",
        methods=None,
        csrf=False,
        save_session=False,
        readonly=True,
    )
    def get_openapi_document(self):
        """Return the OpenAPI document. Public: it says nothing of the database."""
        if options := _check_method("GET", "HEAD"):
            return options
        headers = {"Cache-Control": f"public, max-age={CACHE_SECONDS}"}
        return _make_cacheable(openapi_document(), headers)

    @http.route(
        [PREFIX, f"{PREFIX}/<path:path>"],
        type=RestDispatcher.routing_type,
        auth="bearer",
        # All of them: Odoo would answer the others with a page.
        methods=None,
        csrf=False,
        max_content_length=MAX_BODY_BYTES,
        readonly=_is_readonly,
    )
    def call_operation(self, path=""):
        """Call the operation that a path stands for, and return its result."""
        route = get_route(path)
        if not route:
            raise Problem(
                HTTPStatus.NOT_FOUND, f"There is nothing here; see {PREFIX}/openapi.json."
            )
        if options := _check_method(*route.methods):
            return options
        if route.operation.writes:
            return self._write(route.operation)
        return self._read(route)

    def _write(self, operation):
        """Call a write; a line that was refused does not fail it, unless all were."""
        key = read_key(request.httprequest)
        result = self._execute(operation, read_body(request.httprequest), key)
        if result.get("status") != "refused":
            return _make_response(result)
        # No exception: the result is kept under its key.
        lines = result.get("lines", [])
        messages = dict.fromkeys(line["error"]["message"] for line in lines if "error" in line)
        detail = " ".join(messages) or None
        problem = Problem(HTTPStatus.CONFLICT, detail, name="refused", lines=lines)
        return problem.make_response()

    def _read(self, route):
        """Call a read."""
        httprequest = request.httprequest
        if route.has_body:
            return _make_response(self._execute(route.operation, read_body(httprequest)))
        question = read_query(httprequest, route.operation)
        result = self._execute(route.operation, question)
        headers = {}
        if next_question := route.get_next(question, result):
            path = f"{httprequest.path}?{urlencode(next_question, doseq=True)}"
            headers["Link"] = f'<{path}>; rel="next"'
        return _make_cacheable(result, {"Cache-Control": "private, no-cache", **headers})

    def _execute(self, operation, body, key=None):
        integration = request.env["stock.integration"]
        return integration._execute(operation.name, body, key, protocol="rest")


def _check_method(*methods):
    """Return what OPTIONS is answered with, or None for one of the methods.

    :raises Problem: for any other
    """
    headers = {"Allow": ", ".join([*methods, "OPTIONS"])}
    method = request.httprequest.method
    if method == "OPTIONS":
        response = Response(status=HTTPStatus.NO_CONTENT.value, headers=headers)
        response.headers.remove("Content-Type")
        return response
    if method not in methods:
        raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, headers=headers)
    return None


def _make_response(content, headers=None):
    data = json.dumps(content, ensure_ascii=False, separators=(",", ":"), default=json_default)
    headers = {"Content-Type": JSON_TYPE, "Cache-Control": "no-store", **(headers or {})}
    return request.make_response(data.encode(), headers.items())


def _make_cacheable(content, headers):
    """Return a response with a strong ETag, or 304 where the client has it."""
    response = _make_response(content, headers)
    etag = hashlib.sha256(response.data).hexdigest()[:32]
    if request.httprequest.if_none_match.contains_weak(etag):
        response = Response(status=HTTPStatus.NOT_MODIFIED.value, headers=headers)
        # The type of nothing.
        response.headers.remove("Content-Type")
    response.set_etag(etag)
    return response
