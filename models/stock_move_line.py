from odoo import api, models

from ..cause import LineBatch, LineCause, LineSnapshot, caused_by
from ..locking import current_collector
from ..takings import collecting_takings


class StockMoveLine(models.Model):
    _inherit = "stock.move.line"

    @api.model_create_multi
    def create(self, vals_list):
        collector = current_collector()
        if collector and collector.is_collecting:
            self._collect(collector, vals_list)
            return self.browse()
        if collector and collector.vals_list:
            self._create_collected(collector)
        with self._checking_takings(), caused_by(LineBatch()) as batch:
            lines = super().create(vals_list)
        batch.attribute([line._get_ledger_snapshot() for line in lines])
        return lines

    @api.model
    def _collect(self, collector, vals_list):
        """Reserve the stock of lines that are created later, together with others."""
        quants = self.env["stock.quant"]
        for vals in vals_list:
            product = self.env["product.product"].browse(vals["product_id"])
            unit = self.env["uom.uom"].browse(vals["product_uom_id"])
            quantity = unit._compute_quantity(
                vals["quantity"], product.uom_id, rounding_method="HALF-UP"
            )
            with caused_by(collector.batch):
                quants._update_reserved_quantity(
                    product,
                    self.env["stock.location"].browse(vals["location_id"]),
                    quantity,
                    lot_id=self.env["stock.lot"].browse(vals["lot_id"] or []),
                    package_id=self.env["stock.package"].browse(vals["package_id"] or []),
                    owner_id=self.env["res.partner"].browse(vals["owner_id"] or []),
                )
        collector.vals_list += vals_list

    @api.model
    def _create_collected(self, collector):
        with collector.creating() as vals_list:
            lines = self.create(vals_list)
        collector.batch.attribute([line._get_ledger_snapshot() for line in lines])

    def write(self, vals):
        with self._checking_takings():
            return super().write(vals)

    def unlink(self):
        snapshots = [line._get_ledger_snapshot() for line in self]
        with caused_by(LineBatch()) as batch:
            result = super().unlink()
        batch.attribute(snapshots)
        return result

    def _action_done(self):
        with self._checking_takings():
            return super()._action_done()

    def _checking_takings(self):
        return collecting_takings(self.env["stock.quant"]._check_takings)

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
