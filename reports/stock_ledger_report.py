from odoo import api, models


class StockLedgerReport(models.AbstractModel):
    """A report over the rollups: as fresh as the last commit, and as this transaction.

    It never reads the transaction tables, open moves aside.
    """

    _name = "stock.ledger.report"
    _description = "Stock Ledger Report"
    _auto = False

    @api.model
    def _search(self, domain, *args, **kwargs):
        self.env["stock.ledger.entry"]._flush_buffer()
        return super()._search(domain, *args, **kwargs)

    @api.model
    def _prepare_entries_action(self, domain):
        """Return the window action of the ledger entries behind a figure.

        :param domain: which ones
        """
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "stock_event_ledger.action_stock_ledger_entry"
        )
        return {**action, "domain": list(domain), "context": {}}

    @api.model
    def _prepare_transfers_action(self, domain):
        """Return the window action of the transfers behind a figure.

        :param domain: which transfers
        """
        action = self.env["ir.actions.act_window"]._for_xml_id("stock.action_picking_tree_all")
        return {**action, "domain": list(domain), "context": {}}
