from odoo import models
from odoo.http import request


class StockIntegrationCall(models.Model):
    _inherit = "stock.integration.call"

    def _get_first_result(self, definition, data):
        result = super()._get_first_result(definition, data)
        if request:
            # An HTTP client may want to know that nothing was done this time.
            request.future_response.headers.set("Idempotency-Replayed", "true")
        return result
