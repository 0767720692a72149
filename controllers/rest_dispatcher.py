from odoo import http
from odoo.exceptions import UserError

from .rest_problem import make_problem

PREFIX = "/stock_event_ledger/v1"


class RestDispatcher(http.Dispatcher):
    """Answers requests of the REST API, all errors included, with JSON.

    Odoo's other dispatchers answer with pages, or with tracebacks.
    """

    routing_type = "stock_event_ledger_rest"
    mimetypes = ("application/json",)

    @classmethod
    def is_compatible_with(cls, request):
        return request.httprequest.path.startswith(PREFIX)

    def dispatch(self, endpoint, args):
        """Call the controller with what the path holds; it reads the rest itself."""
        self.request.params = dict(args)
        try:
            return self.request.registry["ir.http"]._dispatch(endpoint)
        except UserError as error:
            # Odoo would log a warning: of what a partner did wrong, the partner is told.
            raise make_problem(error) from error

    def handle_error(self, exc):
        """Return the response to a request that failed."""
        response = make_problem(exc).make_response()
        # Which tell how many calls are left. Odoo adds them to what succeeds only.
        response.headers.extend(self.request.future_response.headers)
        return response
