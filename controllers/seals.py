import tempfile

from werkzeug.utils import send_file

from odoo import http
from odoo.http import request


class StockLedgerSeals(http.Controller):
    """Seals with their entries as a file."""

    @http.route(
        "/stock_event_ledger/seals/<int:verify_id>", type="http", auth="user", methods=["GET"]
    )
    def export_seals(self, verify_id):
        """Return what a wizard chose, to whoever may read all of it."""
        verify = request.env["stock.ledger.seal.verify"].browse(verify_id)
        # On disk: years of entries need not fit into memory.
        file = tempfile.TemporaryFile()
        verify._get_seals()._export(file)
        file.seek(0)
        return send_file(
            file,
            request.httprequest.environ,
            mimetype="application/gzip",
            as_attachment=True,
            download_name="stock_ledger_seals.jsonl.gz",
        )
