from collections import defaultdict

from odoo import api, models
from odoo.fields import Domain

from .stock_move import STOCK_USAGES


class LineRefused(Exception):
    """A line of a call cannot be done; ``errors`` are the errors by number of the line."""

    def __init__(self, errors):
        super().__init__("Lines are refused.")
        self.errors = errors


class StockIntegration(models.AbstractModel):
    """What the lines of calls name, as far as the user may see it."""

    _inherit = "stock.integration"

    # --- warehouses and locations

    @api.model
    def _get_warehouse(self, data, prefix=""):
        """Return the warehouse that a body names.

        :param data: the checked body
        :param str prefix: what its members' names begin with
        :raises InvalidInput: when there is none, or none that the user may use
        """
        code = getattr(data, f"{prefix}warehouse")
        warehouse_id = getattr(data, f"{prefix}warehouse_id")
        domain = Domain("code", "=", code) if code else Domain("id", "=", warehouse_id)
        domain &= Domain("company_id", "in", self.env.companies.ids)
        warehouses = self.env["stock.warehouse"].search(domain, limit=2)
        member = f"{prefix}warehouse" if code else f"{prefix}warehouse_id"
        if not warehouses:
            self._raise_invalid(
                [{"member": member, "message": self.env._("There is no such warehouse")}]
            )
        if len(warehouses) > 1:
            message = self.env._("Several companies have such a warehouse: use its id")
            self._raise_invalid([{"member": member, "message": message}])
        return warehouses

    @api.model
    def _get_location(self, data, warehouse, prefix=""):
        """Return the location that a body names in a warehouse, else the warehouse's stock.

        :raises InvalidInput: when there is none, or it holds no stock
        """
        name = getattr(data, f"{prefix}location")
        location_id = getattr(data, f"{prefix}location_id")
        if not name and not location_id:
            return warehouse.lot_stock_id
        domain = Domain("complete_name", "=", name) if name else Domain("id", "=", location_id)
        domain &= Domain("warehouse_id", "=", warehouse.id) & Domain("usage", "=", "internal")
        locations = self.env["stock.location"].search(domain, limit=2)
        if len(locations) != 1:
            member = f"{prefix}location" if name else f"{prefix}location_id"
            message = self.env._("The warehouse has no such location that holds stock")
            if locations:
                message = self.env._("The warehouse has several such locations: use the id")
            self._raise_invalid([{"member": member, "message": message}])
        return locations

    # --- products

    @api.model
    def _prepare_error(self, code, message):
        return {"code": code, "message": message}

    @api.model
    def _find_products(self, lines):
        """Return the products that lines name, as far as the user may see them.

        :param lines: the checked lines
        :return: for each line a recordset, with none, one or more products
        """
        by_name = defaultdict(lambda: self.env["product.product"])
        for member, field in (
            ("sku", "default_code"),
            ("barcode", "barcode"),
            ("product_id", "id"),
        ):
            names = {getattr(line, member) for line in lines} - {None}
            if not names:
                continue
            for product in self.env["product.product"].search([(field, "in", list(names))]):
                by_name[member, product[field]] |= product
        return [
            by_name[
                next(
                    (member, getattr(line, member))
                    for member in ("sku", "barcode", "product_id")
                    if getattr(line, member) is not None
                )
            ]
            for line in lines
        ]

    @api.model
    def _get_product_error(self, products):
        """Return why no goods of what a line names can be moved, or None."""
        if not products:
            return self._prepare_error("unknown_product", self.env._("There is no such product."))
        if len(products) > 1:
            message = self.env._("Several products are named like that: use the id.")
            return self._prepare_error("ambiguous_product", message)
        if not products.is_storable:
            message = self.env._("The product is not one whose stock is tracked.")
            return self._prepare_error("not_storable", message)
        return None

    @api.model
    def _get_quantity_error(self, product, quantity):
        """Return why that much of a product is no quantity of it, or None."""
        unit = product.uom_id
        digits = self.env["decimal.precision"].precision_get("Product Unit")
        rounded = round(unit.round(quantity), digits)
        if bool(rounded) != bool(quantity) or (
            abs(rounded - quantity) > 1e-9 * max(1.0, abs(quantity))
        ):
            message = self.env._(
                "There are no such parts of %(unit)s: it would be rounded to %(rounded)s.",
                unit=unit.name,
                rounded=rounded,
            )
            return self._prepare_error("below_rounding", message)
        return None

    @api.model
    def _get_lot_error(self, product, line, needed):
        """Return what is wrong with the lot of a line, or None."""
        if line.lot and product.tracking == "none":
            message = self.env._("The product is not tracked by lot or serial number.")
            return self._prepare_error("lot_not_allowed", message)
        if product.tracking != "none" and needed and not line.lot:
            message = self.env._("The product is tracked: a lot or serial number is needed.")
            return self._prepare_error("lot_required", message)
        quantity = getattr(line, "change", None) or line.quantity
        if line.lot and product.tracking == "serial" and quantity not in (-1, 0, 1):
            message = self.env._("There is one of a serial number: use a line for each.")
            return self._prepare_error("lot_not_allowed", message)
        return None

    @api.model
    def _find_lot(self, product, name):
        """Return the lot of that name, or none."""
        return self.env["stock.lot"].search(
            [
                ("product_id", "=", product.id),
                ("name", "=", name),
                ("company_id", "in", [False, *self.env.companies.ids]),
            ],
            limit=1,
        )

    @api.model
    def _get_unknown_lot_error(self):
        message = self.env._("There is no such lot or serial number of the product.")
        return self._prepare_error("unknown_lot", message)

    @api.model
    def _is_in_stock(self, lot):
        return bool(
            self.env["stock.quant"].search_count(
                [
                    ("lot_id", "=", lot.id),
                    ("quantity", ">", 0),
                    ("location_id.usage", "in", STOCK_USAGES),
                ],
                limit=1,
            )
        )
