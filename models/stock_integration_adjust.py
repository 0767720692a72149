from odoo import Command, api, models
from odoo.exceptions import RedirectWarning, UserError

from ..exceptions import CallBusy
from .stock_integration_lines import LineRefused


class StockIntegration(models.AbstractModel):
    """Corrections of what is on hand, line by line, as if each was counted."""

    _inherit = "stock.integration"

    @api.model
    def _run_adjust(self, data, origin):
        location = self._get_location(data, self._get_warehouse(data))
        # Of the user's companies it is this one that acts.
        self = self.with_company(location.company_id)  # noqa: PLW0642
        products = self._find_products(data.lines)
        moves, errors, on_hand = {}, {}, {}
        for number, line in enumerate(data.lines):
            error = self._get_adjust_error(line, products[number])
            if error:
                errors[number] = error
                continue
            try:
                with self.env.cr.savepoint():
                    moves[number], on_hand[number] = self._adjust_line(
                        line, products[number], location, origin, data.reason
                    )
            except LineRefused as refused:
                errors[number] = refused.errors[None]
            except CallBusy:
                raise
            except (UserError, RedirectWarning) as error:
                errors[number] = self._prepare_error("refused", str(error.args[0]))
        # Like Odoo after a count: for those who wait for what was found.
        self.env["stock.move"].union(*moves.values())._trigger_assign()
        result = self._prepare_write_result(products, moves, errors)
        for number, quantity in on_hand.items():
            result["lines"][number]["on_hand"] = quantity
        return result

    @api.model
    def _get_adjust_error(self, line, products):
        """Return what is wrong with a line, or None."""
        error = self._get_product_error(products) or self._get_lot_error(products, line, True)
        for quantity in (line.quantity, line.change, line.expected_quantity):
            if not error and quantity is not None:
                error = self._get_quantity_error(products, quantity)
        return error

    @api.model
    def _adjust_line(self, line, product, location, origin, reason):
        """Bring the quantity on hand to what a line says.

        :return: the stock.move, none where nothing changes, and the quantity
        :raises LineRefused: when something else is on hand than expected, or too little
        """
        lot = self._get_adjusted_lot(line, product, location)
        unit = product.uom_id
        before = self._get_claimed_quantity(product, location, lot)
        if line.expected_quantity is not None and unit.compare(before, line.expected_quantity) != 0:
            message = self.env._(
                "%(found)s are on hand, not %(expected)s.",
                found=before,
                expected=line.expected_quantity,
            )
            raise LineRefused({None: self._prepare_error("quantity_differs", message)})
        after = unit.round(before + line.change) if line.quantity is None else line.quantity
        if unit.compare(after, 0) < 0 and after < before:
            error = self._get_not_available_error(before, -line.change)
            raise LineRefused({None: error})
        if product.tracking == "serial" and after > before and self._is_in_stock(lot):
            message = self.env._("The serial number is in stock already.")
            raise LineRefused({None: self._prepare_error("serial_in_stock", message)})
        if unit.compare(after, before) == 0:
            return self.env["stock.move"], after
        vals = self._prepare_adjustment_vals(product, location, lot, after - before)
        move = self.env["stock.move"].create(
            {**vals, "origin": origin, "inventory_name": reason or origin}
        )
        move.with_context(ignore_dest_packages=True)._action_done()
        return move, after

    @api.model
    def _get_adjusted_lot(self, line, product, location):
        """Return the lot that a line names, a new one where goods of it are found."""
        lot = self.env["stock.lot"]
        if not line.lot:
            return lot
        lot = self._find_lot(product, line.lot)
        if not lot and (line.quantity or line.change or 0) <= 0:
            raise LineRefused({None: self._get_unknown_lot_error()})
        return lot or lot.create(
            {"name": line.lot, "product_id": product.id, "company_id": location.company_id.id}
        )

    @api.model
    def _get_claimed_quantity(self, product, location, lot):
        """Return the quantity on hand, which nobody changes until the transaction ends.

        Additions aside: they add to whatever this call makes of it.
        """
        quants = self.env["stock.quant"]
        # sudo: rights on quants are not needed to move goods, in Odoo neither.
        quants = quants.sudo().search(
            [
                ("product_id", "=", product.id),
                ("location_id", "=", location.id),
                ("lot_id", "=", lot.id),
                ("package_id", "=", False),
                ("owner_id", "=", False),
            ]
        )
        key = (product.id, location.id, lot.id or None, None, None)
        if not (quants._claim() if quants else quants._claim_key(key)):
            raise self._get_stock_busy()
        return product.uom_id.round(sum(quants.mapped("quantity")))

    @api.model
    def _prepare_adjustment_vals(self, product, location, lot, change):
        """Return the values of a move between a location and where differences go.

        As Odoo makes it of a count, whose method wants to have a quant.
        """
        company = location.company_id
        places = [product.with_company(company).property_stock_inventory, location]
        source, destination = places if change > 0 else reversed(places)
        vals = {
            "product_id": product.id,
            "location_id": source.id,
            "location_dest_id": destination.id,
            "company_id": company.id,
        }
        line_vals = {
            **vals,
            "product_uom_id": product.uom_id.id,
            "quantity": abs(change),
            "lot_id": lot.id,
        }
        return {
            **vals,
            "product_uom": product.uom_id.id,
            "product_uom_qty": abs(change),
            "state": "confirmed",
            "is_inventory": True,
            "picked": True,
            "move_line_ids": [Command.create(line_vals)],
        }
