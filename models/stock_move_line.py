from odoo import api, models

from ..cause import LineBatch, LineCause, LineSnapshot, caused_by


class StockMoveLine(models.Model):
    _inherit = "stock.move.line"

    @api.model_create_multi
    def create(self, vals_list):
        with caused_by(LineBatch()) as batch:
            lines = super().create(vals_list)
        batch.attribute([line._get_ledger_snapshot() for line in lines])
        return lines

    def unlink(self):
        snapshots = [line._get_ledger_snapshot() for line in self]
        with caused_by(LineBatch()) as batch:
            result = super().unlink()
        batch.attribute(snapshots)
        return result

    def _synchronize_quant(
        self,
        quantity,
        location,
        action="available",
        in_date=False,
        **quants_value,
    ):
        with caused_by(self._get_ledger_cause()):
            return super()._synchronize_quant(
                quantity, location, action=action, in_date=in_date, **quants_value
            )

    def _get_ledger_cause(self):
        return LineCause(move_line_id=self.id, move_id=self.move_id.id or None)

    def _get_ledger_snapshot(self):
        return LineSnapshot(
            cause=self._get_ledger_cause(),
            product_id=self.product_id.id,
            location_ids=(self.location_id.id, self.location_dest_id.id),
            lot_id=self.lot_id.id or None,
            package_ids=(self.package_id.id or None, self.result_package_id.id or None),
            owner_id=self.owner_id.id or None,
        )
