from odoo import api, fields, models
from odoo.fields import Domain


class StockLedgerEntry(models.Model):
    """How entries are found and shown."""

    _inherit = "stock.ledger.entry"

    search_text = fields.Char(
        "Product, Lot or Barcode", store=False, search="_search_search_text", exportable=False
    )

    @api.model
    def _search_search_text(self, operator, value):
        """Find by what a scanner reads or somebody types.

        A barcode or the name of a lot is looked for first, and means that product or lot
        only. What is not one of these is searched for in the names of products and lots.
        """
        if operator not in ("ilike", "=", "in"):
            return NotImplemented
        texts = [value] if isinstance(value, str) else list(value or ())
        return Domain.OR(self._get_text_domain(text.strip()) for text in texts if text)

    @api.model
    def _get_text_domain(self, text):
        products = self.env["product.product"].with_context(active_test=False)
        lots = self.env["stock.lot"]
        scanned = products.search([("barcode", "=", text)])
        if not scanned:
            scanned = products.search([("default_code", "=", text)])
        scanned_lots = lots.search([("name", "=", text)])
        if not (scanned or scanned_lots):
            scanned = products.search([("display_name", "ilike", text)])
            scanned_lots = lots.search([("name", "ilike", text)])
        # By ids, and lots by their products too, so that the ledger is found by its index.
        return Domain("product_id", "in", scanned.ids) | scanned_lots._get_ledger_domain()

    @api.model
    def _prepare_entries_action(self, domain, context=None):
        """Return the window action of some ledger entries.

        :param domain: which ones
        :param dict context: the filters to begin with; without it there are none
        """
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "stock_event_ledger.action_stock_ledger_entry"
        )
        return {**action, "domain": list(domain), "context": context or {}}
