from odoo import models

from ..counting import applying_counts, current_counts


class StockQuant(models.Model):
    """What is counted is kept: Odoo forgets it once it is applied."""

    _inherit = "stock.quant"

    def _apply_inventory(self, date=None):
        with applying_counts() as counts:
            result = super()._apply_inventory(date)
        self.env["stock.ledger.count"]._record(counts)
        return result

    def _get_inventory_move_values(
        self, qty, location_id, location_dest_id, package_id=False, package_dest_id=False
    ):
        vals = super()._get_inventory_move_values(
            qty, location_id, location_dest_id, package_id, package_dest_id
        )
        # Goods are relocated by such moves as well, which is no count.
        if counts := current_counts():
            counts.plan(self._prepare_ledger_count_vals())
        return vals

    def _prepare_ledger_count_vals(self):
        """Return what the ledger keeps of this quant's count, before it is applied."""
        difference = self.inventory_diff_quantity
        agrees = self.product_uom_id.is_zero(difference)
        return {
            "product_id": self.product_id.id,
            "location_id": self.location_id.id,
            "lot_id": self.lot_id.id,
            "package_id": self.package_id.id,
            "owner_id": self.owner_id.id,
            "warehouse_id": self.location_id.warehouse_id.id,
            "counted_by_id": (self.user_id or self.env.user).id,
            "user_id": self.env.uid,
            "counted_quantity": self.inventory_quantity,
            "expected_quantity": self.quantity,
            "difference_quantity": difference,
            "gain_quantity": max(difference, 0.0),
            "loss_quantity": max(-difference, 0.0),
            "accuracy": 1.0 if agrees else 0.0,
        }
