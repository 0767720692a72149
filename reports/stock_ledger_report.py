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
    def _web_read_group_format(self, groupby, aggregates, groups):
        """Format each value once, and put the domains one after the other.

        A pivot has the same product in each of its months, and tens of thousands of groups,
        for each of which Odoo's own method parses and joins domains. It also folds and
        expands groups, which reports do not.
        """
        formatters = [
            self._web_read_group_groupby_formatter(spec, [group[number] for group in groups])
            for number, spec in enumerate(groupby)
        ]
        known = [{} for _spec in groupby]
        result = []
        for group in groups:
            vals = {"__extra_domain": []}
            for spec, formatter, seen, value in zip(
                groupby, formatters, known, group, strict=False
            ):
                key = getattr(value, "_ids", value)
                if key not in seen:
                    seen[key] = formatter(value)
                vals[spec], domain = seen[key]
                vals["__extra_domain"] += domain
            vals.update(zip(aggregates, group[len(groupby) :], strict=True))
            result.append(vals)
        return result

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
