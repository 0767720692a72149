from odoo import api, models
from odoo.tools import SQL


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
        self.env.execute_query(self._query_planner_settings())
        return super()._search(domain, *args, **kwargs)

    @api.model
    def search_fetch(self, domain, field_names=None, **kwargs):
        # With what record rules look at: to fetch it afterwards makes the report again.
        if field_names is not None:
            field_names = [*field_names, "company_id"]
        return super().search_fetch(domain, field_names, **kwargs)

    @api.model
    def _query_planner_settings(self):
        """Return the query that has PostgreSQL run reports as they are, in memory.

        Until the transaction ends. By default it sorts tens of thousands of groups on disk
        rather than to hash them in memory, which takes half as long again, and compiles
        queries, which takes longer than to run these.
        """
        return SQL("SELECT set_config('work_mem', '64MB', TRUE), set_config('jit', 'off', TRUE)")

    @api.model
    def _web_read_group_format(self, groupby, aggregates, groups):
        """Format each value once, and put the domains one after the other.

        A pivot has the same product in each of its months, and tens of thousands of groups,
        for each of which Odoo's own method parses and joins domains. It also folds and
        expands groups, which reports do not.
        """
        columns = list(zip(*groups, strict=True))
        labels, domains = [], [[] for _group in groups]
        for spec, values in zip(groupby, columns, strict=False):
            formatter = self._web_read_group_groupby_formatter(spec, values)
            # Records are slow keys.
            keys = [getattr(value, "_ids", value) for value in values]
            distinct = dict(zip(keys, values, strict=True))
            formatted = {key: formatter(value) for key, value in distinct.items()}
            labels.append([formatted[key][0] for key in keys])
            domains = [
                domain + formatted[key][1] for domain, key in zip(domains, keys, strict=True)
            ]
        names = (*groupby, *aggregates, "__extra_domain")
        rows = zip(*labels, *columns[len(groupby) :], domains, strict=True)
        return [dict(zip(names, row, strict=True)) for row in rows]

    @api.model
    def _web_read_group_groupby_formatter(self, groupby_spec, values):
        """Name the records that groups are of all at once."""
        field = self._fields.get(groupby_spec)
        if not field or field.type != "many2one":
            return super()._web_read_group_groupby_formatter(groupby_spec, values)
        ids = {value.id for value in values if value}
        names = self._get_names(field.comodel_name, ids)

        def format_named(value):
            label = value and (value.id, names[value.id])
            return label or False, [(groupby_spec, "=", value.id)]

        if ids <= names.keys():
            return format_named
        # Some were deleted since.
        return super()._web_read_group_groupby_formatter(groupby_spec, values)

    @api.model
    def _get_names(self, model_name, ids):
        """Return the display names of records by id, those of deleted ones left out."""
        # sudo: as Odoo's own grouping, which names what the user's rows are of.
        records = self.env[model_name].sudo().browse(ids)
        if model_name == "product.product":
            return records._get_display_names()
        records = records.exists()
        return dict(zip(records._ids, records.mapped("display_name"), strict=True))

    @api.model
    def _prepare_entries_action(self, domain):
        """Return the window action of the ledger entries behind a figure.

        :param domain: which ones
        """
        return self.env["stock.ledger.entry"]._prepare_entries_action(domain)

    @api.model
    def _prepare_transfers_action(self, domain):
        """Return the window action of the transfers behind a figure.

        :param domain: which transfers
        """
        action = self.env["ir.actions.act_window"]._for_xml_id("stock.action_picking_tree_all")
        return {**action, "domain": list(domain), "context": {}}
