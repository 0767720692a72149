from odoo import http
from odoo.http import request

from ..broker.command_schema import command_schema, full_asyncapi_document, reply_schema
from ..broker.schema import event_schema
from ..integration import OPERATIONS

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
        return self._respond(event_schema(self._get_event_types()), "application/schema+json")

    @http.route(
        "/stock_event_ledger/schemas/command.v1.json",
        type="http",
        auth="public",
        methods=["GET"],
        save_session=False,
        readonly=True,
    )
    def get_command_schema(self):
        """Return the JSON Schema of commands, by operation."""
        return self._respond(command_schema(self._get_operations()), "application/schema+json")

    @http.route(
        "/stock_event_ledger/schemas/command-reply.v1.json",
        type="http",
        auth="public",
        methods=["GET"],
        save_session=False,
        readonly=True,
    )
    def get_reply_schema(self):
        """Return the JSON Schema of the replies to commands."""
        return self._respond(reply_schema(), "application/schema+json")

    @http.route(
        "/stock_event_ledger/asyncapi.json",
        type="http",
        auth="public",
        methods=["GET"],
        save_session=False,
        readonly=True,
    )
    def get_asyncapi_document(self):
        """Return the AsyncAPI document of the exchange and of the queues of commands."""
        document = full_asyncapi_document(self._get_event_types(), self._get_operations())
        return self._respond(document, "application/json")

    def _get_event_types(self):
        """Return the event types, with those that other modules add."""
        return request.env["stock.ledger.entry"]._fields["event_type"].get_values(request.env)

    def _get_operations(self):
        """Return the operations, with those that other modules add."""
        return list(OPERATIONS.values())

    def _respond(self, document, content_type):
        return request.make_json_response(
            document,
            headers={
                "Content-Type": content_type,
                "Cache-Control": f"public, max-age={CACHE_SECONDS}",
            },
        )
