from odoo import api, models
from odoo.exceptions import MissingError

from ..fields import HistoricalMany2one


class StockHistoricalMixin(models.AbstractModel):
    """Rows that outlive what they name: the client reads them all the same."""

    _name = "stock.historical.mixin"
    _description = "Rows That Outlive What They Name"

    def web_read(self, specification):
        try:
            return super().web_read(specification)
        except MissingError:
            self._hide_deleted_targets(specification)
            return super().web_read(specification)

    def export_data(self, fields_to_export):
        self._hide_deleted_targets(name.split("/")[0] for name in fields_to_export)
        return super().export_data(fields_to_export)

    @api.model
    def _web_read_group_groupby_formatter(self, groupby_spec, values):
        formatter = super()._web_read_group_groupby_formatter(groupby_spec, values)
        field = self._fields.get(groupby_spec)
        if not isinstance(field, HistoricalMany2one):
            return formatter
        ids = {value.id for value in values if value}
        existing = set(self.env[field.comodel_name].browse(ids).exists().ids)

        def format_deleted(value):
            if not value or value.id in existing:
                return formatter(value)
            label = self.env._("Deleted (%(id)s)", id=value.id)
            return (value.id, label), [(groupby_spec, "=", value.id)]

        return format_deleted

    def _hide_deleted_targets(self, field_names):
        """Show no name, instead of failing, for what was deleted since.

        :param field_names: the fields about to be read with their targets' names
        """
        for name in field_names:
            field = self._fields.get(name)
            if isinstance(field, HistoricalMany2one):
                existing = self[name].exists()
                dangling = self.filtered(lambda row, n=name, x=existing: row[n] not in x)
                field._update_cache(dangling, None)
