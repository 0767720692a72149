from odoo import http
from odoo.http import content_disposition, request

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class StockCard(http.Controller):
    """Stock cards as files."""

    @http.route(
        "/stock_event_ledger/stock_card/<int:card_id>/xlsx",
        type="http",
        auth="user",
        methods=["GET"],
        readonly=True,
    )
    def export_card(self, card_id):
        """Return a stock card as a spreadsheet, to whoever asked for that card."""
        content, name = request.env["stock.ledger.card"].browse(card_id)._export_workbook()
        return request.make_response(
            content, {"Content-Type": XLSX, "Content-Disposition": content_disposition(name)}
        )
