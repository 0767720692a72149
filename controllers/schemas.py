from odoo import http
from odoo.http import request

from ..broker.schema import asyncapi_document, event_schema

CACHE_SECONDS = 3600


class StockEventSchemas(http.Controller):
    """What the events look like. Public: a schema says nothing of the database."""

    @http.route(
        "/stock_event_ledger/schemas/event.v1.json",
        type="http",
        auth="public",
        methods=["GET"],
        save_session=False,
        readonly=True,
    )
    def get_event_schema(self):
        """Return the JSON Schema of the flat event."""
        return self._respond(event_schema, "application/schema+json")

    @http.route(
        "/stock_event_ledger/asyncapi.json",
        type="http",
        auth="public",
        methods=["GET"],
        save_session=False,
        readonly=True,
    )
    def get_asyncapi_document(self):
        """Return the AsyncAPI document of the exchange."""
        return self._respond(asyncapi_document, "application/json")

    def _respond(self, build, content_type):
        # With the event types that other modules add.
        field = request.env["stock.ledger.entry"]._fields["event_type"]
        return request.make_json_response(
            build(field.get_values(request.env)),
            headers={
                "Content-Type": content_type,
                "Cache-Control": f"public, max-age={CACHE_SECONDS}",
            },
        )
