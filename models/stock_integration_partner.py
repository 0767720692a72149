from odoo import api, models
from odoo.exceptions import UserError

# Defines them.
from .. import integration_partner  # noqa: F401


class StockIntegration(models.AbstractModel):
    """What the database of a partner warehouse tells ours: see ``stock.partner.shipment``."""

    _inherit = "stock.integration"

    @api.model
    def expect_receipt(self, idempotency_key=None, lines=None, **options):
        """Expect what a partner has shipped: a receipt of it is made, or changed.

        Nothing is expected if a line is refused.

        :param str idempotency_key: the caller's name of this call
        :param list lines: dictionaries: ``sku``, ``quantity`` in the product's unit, ``lot`` and
            ``uom``, the English name of the unit
        :param options: ``shipment``, its id; ``version``, of what is told about it: one that is
            not higher than those before changes nothing; ``sender`` and ``warehouse``, short
            names of both warehouses; ``shipped_at``; ``origin``, the sender's transfer
        :return: dictionary: ``status`` (done or refused), ``lines``, ``transfers``
        :raises InvalidInput: when the body is wrong
        :raises UserError: when the caller does not speak for such a partner warehouse
        """
        return self._execute("expect_receipt", {**options, "lines": lines}, idempotency_key)

    @api.model
    def report_receipt(self, idempotency_key=None, lines=None, **options):
        """Note what a partner has received of a shipment until now.

        :param str idempotency_key: the caller's name of this call
        :param list lines: dictionaries: ``sku``, ``quantity`` in the product's unit, ``lot``
        :param options: ``shipment``, its id; ``version``, as in ``expect_receipt``;
            ``is_final``, whether nothing more is expected; ``origin``, the receipts
        :return: dictionary: ``status`` (done), ``lines``, ``transfers``
        :raises InvalidInput: when the body is wrong
        :raises UserError: when there is no such shipment to the caller's warehouse
        """
        return self._execute("report_receipt", {**options, "lines": lines}, idempotency_key)

    # --- what they do

    @api.model
    def _run_expect_receipt(self, data, origin):
        warehouse = self._get_partner_target(data)
        partner = self._find_sender(data, warehouse.company_id)
        products, errors = self._find_shipped_products(data.lines, warehouse.company_id)
        if errors:
            return self._prepare_partner_result(data, errors=errors)
        shipments = self.env["stock.partner.shipment"]
        shipment = shipments._find_spoken_for(data.shipment, "in") or shipments.sudo().create(
            {
                "uid": data.shipment,
                "direction": "in",
                "partner_warehouse_id": partner.id,
                "warehouse_id": warehouse.id,
                "reference": origin,
                "shipped_date": data.shipped_at,
                "state": "expected",
            }
        )
        quantities = {}
        for line, product in zip(data.lines, products, strict=True):
            key = (product.sudo(), line.lot or False)
            quantities[key] = quantities.get(key, 0) + line.quantity
        shipment._apply_announcement(data, quantities)
        return self._prepare_partner_result(data, shipment.picking_ids)

    @api.model
    def _run_report_receipt(self, data, origin):
        shipment = self.env["stock.partner.shipment"]._find_spoken_for(data.shipment, "out")
        if not shipment:
            raise UserError(
                self.env._(
                    "Nothing was shipped to you under the id %s. Ask who shipped it to look at "
                    "Inventory > Stock Ledger > Integration.",
                    data.shipment,
                )
            )
        shipment._apply_report(data, origin)
        return self._prepare_partner_result(data)

    @api.model
    def _get_partner_target(self, data):
        """Return the warehouse that is to receive a shipment."""
        domain = [("code", "=", data.warehouse), ("company_id", "in", self.env.companies.ids)]
        warehouses = self.env["stock.warehouse"].search(domain)
        partners = self._get_spoken_for(data.sender)
        warehouse = warehouses.filtered(lambda w: w.company_id in partners.company_id)[:1]
        if not warehouse:
            raise UserError(
                self.env._(
                    "Nothing is expected in %(warehouse)s from %(sender)s. Enter %(sender)s, the "
                    "partner's warehouse, under Inventory > Stock Ledger > Integration > Partner "
                    "Warehouses, in the company of %(warehouse)s.",
                    warehouse=data.warehouse,
                    sender=data.sender,
                )
            )
        return warehouse

    @api.model
    def _get_spoken_for(self, code):
        # sudo: a partner's integration user does not see them; these are its own partner's.
        partners = self.env["stock.partner.warehouse"].sudo()
        return partners.search([("code", "=", code), ("queue_id.user_id", "=", self.env.uid)])

    @api.model
    def _find_sender(self, data, company):
        partners = self._get_spoken_for(data.sender)
        return partners.filtered(lambda partner: partner.company_id == company)[:1]

    @api.model
    def _find_shipped_products(self, lines, company):
        """Return the products of lines, and the errors by line number."""
        products, errors = [], {}
        by_sku = {}
        domain = [
            ("default_code", "in", [line.sku for line in lines]),
            ("company_id", "in", (False, company.id)),
        ]
        for product in self.env["product.product"].search(domain):
            by_sku.setdefault(product.default_code, []).append(product)
        for number, line in enumerate(lines):
            found = by_sku.get(line.sku, ())
            error = self._get_shipped_error(line, found)
            if error:
                errors[number] = error
            products.append(found[0] if found else None)
        return products, errors

    @api.model
    def _get_shipped_error(self, line, products):
        if not products:
            message = self.env._("There is no product with the internal reference %s.", line.sku)
            return self._prepare_error("unknown_product", message)
        if len(products) > 1:
            message = self.env._("Several products have the internal reference %s.", line.sku)
            return self._prepare_error("ambiguous_product", message)
        [product] = products
        unit = product.uom_id.with_context(lang="en_US").name
        if line.uom and line.uom != unit:
            message = self.env._(
                "%(sku)s is counted in %(unit)s here, and was sent in %(other)s.",
                sku=line.sku,
                unit=unit,
                other=line.uom,
            )
            return self._prepare_error("other_unit", message)
        return self._get_quantity_error(product, line.quantity)

    @api.model
    def _prepare_partner_result(self, data, pickings=(), errors=None):
        """Return the result: of lines all or none are done."""
        errors = errors or {}
        lines = []
        for number in range(len(data.lines)):
            if number in errors:
                lines.append({"line": number, "status": "refused", "error": errors[number]})
            elif not errors:
                lines.append({"line": number, "status": "done"})
        return {
            "status": "refused" if errors else "done",
            "lines": lines,
            "transfers": [
                {"id": picking.id, "name": picking.name, "state": picking.state}
                for picking in pickings
            ],
        }
