from odoo import fields, models
from odoo.fields import Command


class StockPartnerShipment(models.Model):
    """The receipts of what a partner has shipped to us."""

    _inherit = "stock.partner.shipment"

    def _apply_announcement(self, data, quantities):
        """Expect what the partner has shipped; what is late or repeated changes nothing.

        Of an announcement that replaces one, only the difference is done: what was received
        stays received, and what we do not expect any more stays so.

        :param data: the checked ``ExpectReceiptInput``
        :param dict quantities: what was shipped, by product and name of the lot
        """
        self.ensure_one()
        if data.version <= self.partner_version:
            return
        before = self._sum_by_product("quantity")
        received = self._sum_by_product("received_quantity")
        self._write_sent(quantities)
        after = self._sum_by_product("quantity")
        changes = {}
        for product in {**before, **after}:
            sent_before = before.get(product, 0)
            change = after.get(product, 0) - sent_before
            if change > 0:
                # Of what we have received more than was sent, that much is explained now.
                change = max(change - max(received.get(product, 0) - sent_before, 0), 0)
            changes[product] = product.uom_id.round(change)
        self.partner_version = data.version
        self._change_receipts(changes)
        self._follow_receipts()

    def _sum_by_product(self, name):
        quantities = {}
        for line in self.line_ids.filtered("product_id"):
            quantities[line.product_id] = quantities.get(line.product_id, 0) + line[name]
        return quantities

    def _get_open_moves(self):
        """Return the moves that are to bring goods, and have not yet."""
        return self.picking_ids.move_ids.filtered(
            lambda move: (
                move.state not in ("done", "cancel")
                and move.location_id.usage != "internal"
                and move.location_dest_id.usage == "internal"
            )
        )

    def _change_receipts(self, changes):
        """Expect more or less of products.

        :param dict changes: how much more, by product
        """
        more = {}
        cancelled = self.env["stock.move"]
        for product, quantity in changes.items():
            moves = self._get_open_moves().filtered(lambda move, p=product: move.product_id == p)
            for move in moves.sorted("id", reverse=True) if quantity < 0 else moves[:1]:
                less = min(move.product_qty, -quantity)
                demand = product.uom_id.round(move.product_qty - less)
                quantity += less
                if product.uom_id.is_zero(demand):
                    cancelled |= move
                else:
                    move.write({"product_uom": product.uom_id.id, "product_uom_qty": demand})
                    self._set_lots(move)
            if product.uom_id.compare(quantity, 0) > 0:
                more[product] = quantity
        cancelled._action_cancel()
        if more:
            self._create_receipt(more)

    def _create_receipt(self, quantities):
        """Make a confirmed receipt.

        :param dict quantities: by product, in its unit
        """
        picking_type = self.warehouse_id.in_type_id
        source = self.partner_warehouse_id.source_location_id
        destination = picking_type.default_location_dest_id or self.warehouse_id.lot_stock_id
        places = {"location_id": source.id, "location_dest_id": destination.id}
        picking = (
            self.env["stock.picking"]
            .with_company(self.company_id)
            .create(
                {
                    **places,
                    "picking_type_id": picking_type.id,
                    "company_id": self.company_id.id,
                    "origin": self.reference,
                    "partner_shipment_id": self.id,
                    "move_ids": [
                        Command.create(
                            {
                                **places,
                                "company_id": self.company_id.id,
                                "product_id": product.id,
                                "product_uom": product.uom_id.id,
                                "product_uom_qty": quantity,
                                "origin": self.reference,
                            }
                        )
                        for product, quantity in quantities.items()
                    ],
                }
            )
        )
        picking.action_confirm()
        for move in picking.move_ids:
            self._set_lots(move)

    def _set_lots(self, move):
        """Have a receipt's move show the lots that were sent and are still to come."""
        product = move.product_id
        lines = self.line_ids.filtered(lambda line: line.product_id == product and line.lot_name)
        if product.tracking == "none" or not lines or any(move.move_line_ids.mapped("picked")):
            return
        lots = self.env["stock.lot"].search(
            [
                ("product_id", "=", product.id),
                ("name", "in", lines.mapped("lot_name")),
                ("company_id", "in", (False, self.company_id.id)),
            ]
        )
        lot_by_name = {lot.name: lot for lot in lots}
        vals_list = []
        left = move.product_qty
        for line in lines:
            quantity = min(line.quantity - line.received_quantity, left)
            if product.uom_id.compare(quantity, 0) > 0:
                left -= quantity
                lot = lot_by_name.get(line.lot_name)
                vals_list.append(self._prepare_lot_line(move, line.lot_name, lot, quantity))
        move.move_line_ids.unlink()
        self.env["stock.move.line"].create(vals_list)

    def _prepare_lot_line(self, move, lot_name, lot, quantity):
        is_existing = lot and move.picking_type_id.use_existing_lots
        return {
            "move_id": move.id,
            "picking_id": move.picking_id.id,
            "product_id": move.product_id.id,
            "product_uom_id": move.product_id.uom_id.id,
            "quantity": quantity,
            "picked": False,
            "location_id": move.location_id.id,
            "location_dest_id": move.location_dest_id.id,
            **({"lot_id": lot.id} if is_existing else {"lot_name": lot_name}),
        }

    # --- what our receipts have done

    def _follow_receipts(self):
        """Tell the partner what was received until now, if that has changed."""
        self.ensure_one()
        received = {}
        for (product, lot_name), quantity in self._get_done_quantities().items():
            key = (self._get_sku(product), lot_name)
            received[key] = received.get(key, 0) + quantity
        self._write_received(received)
        is_final = not self._get_open_moves()
        receipts = self.picking_ids.filtered(
            lambda picking: picking.state != "cancel" and picking.picking_type_code == "incoming"
        ).sorted("id")
        state = "received" if received else "expected"
        self.write(
            {
                "receipt_reference": ", ".join(receipts.mapped("name")) or False,
                "state": "closed" if is_final else state,
                "closed_date": (self.closed_date or fields.Datetime.now()) if is_final else False,
            }
        )
        self._tell()

    def _get_sku(self, product):
        """Return how the partner names a product, else how we do."""
        line = self.line_ids.filtered(lambda line: line.product_id == product and line.sku)[:1]
        return line.sku or product.default_code or False
