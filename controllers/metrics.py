from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from odoo import http
from odoo.http import request


class StockEventMetrics(http.Controller):
    """How events are doing, for a Prometheus server that has a user's API key."""

    @http.route(
        "/stock_event_ledger/metrics",
        type="http",
        auth="bearer",
        methods=["GET"],
        save_session=False,
        readonly=True,
    )
    def get_metrics(self):
        """Return the metrics, to those who may configure channels."""
        request.env["stock.event.channel"].check_access("write")
        # sudo: the figures are of the whole database, whatever companies the key's user
        # has. They are counts and ages, and names that channels have among technicians.
        exposition = request.env["stock.event.metrics"].sudo()._export()
        return request.make_response(exposition, {"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})
