import functools

from odoo import api, models
from odoo.fields import Domain


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
    def _web_read_group_groupby_formatter(self, groupby_spec, values):
        """Format each value once: a pivot has the same product in each of its months."""
        formatter = super()._web_read_group_groupby_formatter(groupby_spec, values)

        @functools.cache
        def format_once(value):
            label, domain = formatter(value)
            return label, Domain(domain)

        return format_once

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
