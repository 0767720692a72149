from collections import defaultdict

from odoo import api, fields, models


class StockPartnerShipmentLine(models.Model):
    """What was sent and what was received of one product and lot of a shipment.

    What was received and not sent has a line of its own, with nothing sent.
    """

    _name = "stock.partner.shipment.line"
    _description = "Partner Shipment Line"
    # Of the newest shipments first, as their own order has it.
    _order = "shipment_id, id"
    _rec_name = "product_id"

    shipment_id = fields.Many2one(
        "stock.partner.shipment", required=True, readonly=True, index=True, ondelete="cascade"
    )
    partner_warehouse_id = fields.Many2one(
        related="shipment_id.partner_warehouse_id", store=True, precompute=True
    )
    company_id = fields.Many2one(
        related="shipment_id.company_id", store=True, index=True, precompute=True
    )
    direction = fields.Selection(related="shipment_id.direction", store=True, precompute=True)
    state = fields.Selection(related="shipment_id.state", store=True)
    shipped_date = fields.Datetime(related="shipment_id.shipped_date", store=True)
    days = fields.Float(related="shipment_id.days")
    product_id = fields.Many2one("product.product", readonly=True, index=True, ondelete="set null")
    sku = fields.Char(
        "Internal Reference",
        readonly=True,
        help="As it is told, also where we have no such product",
    )
    lot_name = fields.Char("Lot/Serial Number", readonly=True)
    product_uom_id = fields.Many2one(related="product_id.uom_id", string="Unit")
    quantity = fields.Float("Sent", digits="Product Unit", readonly=True)
    received_quantity = fields.Float("Received", digits="Product Unit", readonly=True)
    moved_quantity = fields.Float(
        "Left Transit",
        digits="Product Unit",
        readonly=True,
        help="How much of what the partner received has left our transit location",
    )
    written_off_quantity = fields.Float("Written Off", digits="Product Unit", readonly=True)
    transit_quantity = fields.Float(
        "In Transit",
        compute="_compute_figures",
        store=True,
        digits="Product Unit",
        help="Still under way, or nobody knows where",
    )
    difference = fields.Float(
        compute="_compute_figures",
        store=True,
        digits="Product Unit",
        help="Received or written off, less what was sent",
    )
    is_different = fields.Boolean("Has a Difference", compute="_compute_figures", store=True)

    @api.depends("quantity", "received_quantity", "moved_quantity", "written_off_quantity", "state")
    def _compute_figures(self):
        for line in self:
            difference = line._round(
                line.received_quantity + line.written_off_quantity - line.quantity
            )
            line.difference = difference
            line.is_different = difference > 0 or bool(difference and line.state == "closed")
            if line.direction == "out":
                transit = line.quantity - line.moved_quantity - line.written_off_quantity
            else:
                transit = -difference if line.state != "closed" else 0
            line.transit_quantity = max(line._round(transit), 0)

    def _round(self, quantity):
        """Return a quantity as exactly as the product's unit has it."""
        digits = self.env["decimal.precision"].precision_get("Product Unit")
        return round(quantity, digits) or 0.0

    def _prepare_line(self, quantity):
        """Return how the line is told, with a quantity of it."""
        self.ensure_one()
        line = {"sku": self.sku, "quantity": quantity}
        if self.lot_name:
            line["lot"] = self.lot_name
        return line

    def _fits(self, lot_name):
        """Tell whether goods of that lot may be this line's: one side may not know lots."""
        return not self.lot_name or not lot_name or self.lot_name == lot_name


class StockPartnerShipment(models.Model):
    _inherit = "stock.partner.shipment"

    def _write_sent(self, quantities):
        """Note what was sent.

        :param dict quantities: by product and name of the lot, all of it
        :return: whether it is not what was noted before
        """
        self.ensure_one()
        lines = {(line.product_id, line.lot_name or False): line for line in self.line_ids}
        is_changed = False
        for product, lot_name in {**lines, **quantities}:
            quantity = quantities.get((product, lot_name), 0)
            line = lines.get((product, lot_name))
            if not line:
                line = self.line_ids.create(self._prepare_line_vals(product, lot_name))
            if line._round(line.quantity - quantity):
                line.quantity = quantity
                is_changed = True
        return is_changed

    def _prepare_line_vals(self, product, lot_name, sku=None):
        return {
            "shipment_id": self.id,
            "product_id": product.id,
            "sku": sku or product.default_code,
            "lot_name": lot_name,
        }

    def _write_received(self, received):
        """Note what was received, by the lines that it was sent by.

        A lot is a line's if both sides name the same, or one of them names none. What is
        more than was sent of a line stays with it; what was not sent at all gets a line.

        :param dict received: quantity by internal reference and name of the lot, all of it
        """
        self.ensure_one()
        lines_by_sku = defaultdict(lambda: self.line_ids.browse())
        for line in self.line_ids:
            lines_by_sku[line.sku] |= line
        taken = dict.fromkeys(self.line_ids, 0)
        received = dict(received)
        for is_same_lot in (True, False):
            for (sku, lot_name), quantity in received.items():
                for line in lines_by_sku[sku]:
                    if is_same_lot and (line.lot_name or False) != lot_name:
                        continue
                    share = min(quantity, line.quantity - taken[line])
                    if share > 0 and line._fits(lot_name):
                        taken[line] += share
                        quantity -= share
                received[sku, lot_name] = quantity
        for (sku, lot_name), quantity in received.items():
            if self.line_ids._round(quantity):
                line = self._get_line_for_more(lines_by_sku[sku], sku, lot_name)
                lines_by_sku[sku] |= line
                taken[line] = taken.get(line, 0) + quantity
        for line, quantity in taken.items():
            if line._round(line.received_quantity - quantity):
                line.received_quantity = line._round(quantity)

    def _get_line_for_more(self, lines, sku, lot_name):
        """Return the line for what is more than was sent."""
        fitting = lines.filtered(lambda line: line._fits(lot_name)).sorted(
            lambda line: ((line.lot_name or False) != lot_name, line.id)
        )
        if fitting:
            return fitting[0]
        products = self.env["product.product"].search(
            [("default_code", "=", sku), ("company_id", "in", (False, self.company_id.id))]
        )
        product = products if len(products) == 1 else products.browse()
        vals = self._prepare_line_vals(product, lot_name, sku)
        return self.line_ids.create(vals)
