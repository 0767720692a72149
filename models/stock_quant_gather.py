from odoo import api, models

from ..locking import current_gathered


class StockQuant(models.Model):
    """Reserving searches for the same quants four times for each move: once is enough.

    In a transaction's snapshot only its own changes can make a difference; those that do
    make what was found be forgotten. It pays back what locking and recording cost.
    """

    _inherit = "stock.quant"

    def _gather(
        self,
        product_id,
        location_id,
        lot_id=None,
        package_id=None,
        owner_id=None,
        strict=False,
        qty=0,
    ):
        def gather():
            return super(StockQuant, self)._gather(
                product_id,
                location_id,
                lot_id=lot_id,
                package_id=package_id,
                owner_id=owner_id,
                strict=strict,
                qty=qty,
            )

        gathered = current_gathered()
        if gathered is None or (
            self._get_removal_strategy(product_id, location_id) == "least_packages"
        ):
            # That strategy alone looks at the quantities.
            return gather()
        # Odoo has one environment for each user and context.
        searched = (self.env, product_id, location_id, lot_id, package_id, owner_id, strict)
        if searched not in gathered:
            gathered[searched] = gather()
        return gathered[searched]

    @api.model_create_multi
    def create(self, vals_list):
        self._forget_gathered()
        return super().create(vals_list)

    def write(self, vals):
        if current_gathered() and self._may_be_found_differently(vals):
            self._forget_gathered()
        return super().write(vals)

    def _may_be_found_differently(self, vals):
        names = vals.keys() - {"quantity", "reserved_quantity"}
        # Core writes the date that it read, nearly always.
        return names - {"in_date"} or (
            "in_date" in names and any(quant.in_date != vals["in_date"] for quant in self)
        )

    def unlink(self):
        self._forget_gathered()
        return super().unlink()

    @api.model
    def _forget_gathered(self):
        gathered = current_gathered()
        if gathered:
            gathered.clear()
