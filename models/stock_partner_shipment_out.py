from uuid import uuid4

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError

NOTED = "stock_event_ledger.partner_transfers"


class StockPartnerShipment(models.Model):
    """What transfers do to shipments, and what happens to goods in transit.

    A transfer is looked at once, before the commit, when all of it is done: what it has
    shipped or received by then is told, not each step.
    """

    _inherit = "stock.partner.shipment"

    # --- following transfers

    @api.model
    def _follow(self, pickings):
        """Have transfers' shipments follow them before this transaction commits.

        :param pickings: the stock.picking whose done or open moves have changed
        """
        if not pickings:
            return
        precommit = self.env.cr.precommit
        if NOTED not in precommit.data:
            precommit.data[NOTED] = set()
            precommit.add(self.browse()._follow_noted)
        precommit.data[NOTED].update(pickings.ids)

    @api.model
    def _follow_noted(self):
        """Do what ``_follow`` has promised."""
        picking_ids = self.env.cr.precommit.data.pop(NOTED, ())
        # sudo: whoever moves goods has no right to write shipments, which only tell of them.
        for picking in self.env["stock.picking"].sudo().browse(sorted(picking_ids)).exists():
            shipment = picking.partner_shipment_id or self.sudo()._create_outgoing(picking)
            if shipment.direction == "out":
                shipment._follow_outgoing()
            elif shipment:
                shipment._follow_receipts()
        # Nothing flushes after the hooks that run before a commit.
        self.env.flush_all()

    @api.model
    def _create_outgoing(self, picking):
        """Return a new shipment for a transfer to a partner's warehouse, none for others.

        :raises UserError: when it goes to several
        """
        done = picking.move_line_ids.filtered(lambda line: line.state == "done")
        partner = self.env["stock.partner.warehouse"]._find_by_location(done.location_dest_id)
        if not partner:
            return self.browse()
        if len(partner) > 1:
            raise UserError(
                self.env._(
                    "%(transfer)s goes to several partner warehouses: %(names)s. Use a transfer "
                    "for each.",
                    transfer=picking.name,
                    names=", ".join(partner.mapped("name")),
                )
            )
        shipment = self.create(
            {
                "uid": str(uuid4()),
                "direction": "out",
                "partner_warehouse_id": partner.id,
                "warehouse_id": picking.picking_type_id.warehouse_id.id,
                "reference": picking.name,
                "shipped_date": picking.date_done or fields.Datetime.now(),
            }
        )
        picking.partner_shipment_id = shipment
        return shipment

    def _follow_outgoing(self):
        """Tell the partner what the transfers have shipped, if that has changed."""
        if self._write_sent(self._get_done_quantities()):
            self._tell()

    # --- what the partner has received

    def _apply_report(self, data, origin):
        """Follow what the partner reports; late and repeated reports change nothing.

        :param data: the checked ``ReportReceiptInput``
        :param str origin: the partner's receipts
        """
        self.ensure_one()
        if data.version <= self.partner_version:
            return
        received = {}
        for line in data.lines:
            key = (line.sku, line.lot or False)
            received[key] = received.get(key, 0) + line.quantity
        self._write_received(received)
        state = "received" if any(received.values()) else "expected"
        self.write(
            {
                "partner_version": data.version,
                "receipt_reference": origin,
                "state": "closed" if data.is_final else state,
                "closed_date": fields.Datetime.now() if data.is_final else False,
                "error": False,
            }
        )
        self._leave_transit(origin)

    def _leave_transit(self, origin):
        """Move what the partner has received, and no more, out of the transit location.

        What is not there stays to be moved by the next report: transit is never negative.

        :param str origin: source document of the moves
        """
        destination = self.partner_warehouse_id.received_location_id
        vals_list = []
        for line in self.line_ids:
            wanted = min(line.received_quantity, line.quantity - line.written_off_quantity)
            quantity = line._round(max(wanted, 0) - line.moved_quantity)
            if quantity > 0:
                moves = line._prepare_departures(quantity, destination, {"origin": origin})
            elif quantity < 0:
                moves = line._prepare_comeback(-quantity, destination, {"origin": origin})
            else:
                continue
            sign = 1 if quantity > 0 else -1
            moved = sum(vals["product_uom_qty"] for vals in moves)
            line.moved_quantity = line._round(line.moved_quantity + sign * moved)
            vals_list += moves
        self._move(vals_list)

    def _write_off(self, reason):
        """Take what the partner has not received, and does not expect, out of transit.

        :param str reason: shown with the moves
        :raises AccessError: unless the user is an inventory manager
        :raises UserError: when there is nothing to write off
        """
        self.ensure_one()
        if not self.env.user.has_group("stock.group_stock_manager"):
            raise AccessError(self.env._("Only inventory managers may write shipments off."))
        self.check_access("read")
        # sudo: nobody has the right to write shipments; the group was just checked.
        shipment = self.sudo()
        missing = shipment.line_ids.filtered(lambda line: line.transit_quantity > 0)
        if (
            shipment.direction != "out"
            or shipment.state not in ("closed", "refused")
            or not missing
        ):
            raise UserError(
                self.env._(
                    "Only what is in transit of a shipment that the partner has closed or "
                    "refused can be written off."
                )
            )
        vals_list = []
        for line in missing:
            loss = line.product_id.with_company(self.company_id).property_stock_inventory
            vals = {"origin": self.reference, "is_inventory": True, "inventory_name": reason}
            vals_list += line._prepare_departures(line.transit_quantity, loss, vals)
            # Also what was taken out of transit by hand before.
            line.written_off_quantity += line.transit_quantity
        shipment._move(vals_list)

    def _move(self, vals_list):
        vals_list = [{**vals, "partner_shipment_id": self.id} for vals in vals_list]
        # In the right company, and without what a client may have put in the context.
        moves = self.env(context={})["stock.move"].with_company(self.company_id)
        moves.create(vals_list)._action_done()


class StockPartnerShipmentLine(models.Model):
    _inherit = "stock.partner.shipment.line"

    def _prepare_departures(self, quantity, destination, vals):
        """Return values of moves out of transit, of as much of a quantity as is there.

        :param float quantity: in the product's unit
        :param destination: the stock.location that they go to
        :param dict vals: more values of each move
        :return: a list with the values of one move, or none
        """
        self.ensure_one()
        transit = self.shipment_id.partner_warehouse_id.location_id
        product = self.product_id
        lines = []
        left = quantity
        for quant in self._get_quants(transit):
            share = min(quant.quantity - quant.reserved_quantity, left)
            if product.uom_id.compare(share, 0) > 0:
                lines.append(self._prepare_move_line(share, quant.location_id, destination, quant))
                left -= share
        if not product.is_storable:
            lines.append(self._prepare_move_line(quantity, transit, destination))
        if not lines:
            return []
        return [self._prepare_move(lines, transit, destination, vals)]

    def _get_quants(self, location):
        """Return the quants of the line's product and lot, oldest first."""
        quants = self.env["stock.quant"]
        if not self.product_id.is_storable:
            return quants
        gathered = quants._gather(self.product_id, location, lot_id=self._get_lot(), strict=False)
        if self.lot_name:
            gathered = gathered.filtered(lambda quant: quant.lot_id.name == self.lot_name)
        return gathered

    def _get_lot(self):
        if not self.lot_name:
            return None
        lots = self.env["stock.lot"].search(
            [("product_id", "=", self.product_id.id), ("name", "=", self.lot_name)]
        )
        return lots.filtered(lambda lot: lot.company_id == self.company_id)[:1] or lots[:1]

    def _prepare_comeback(self, quantity, source, vals):
        """Return values of moves back into transit, of what was not received after all."""
        self.ensure_one()
        transit = self.shipment_id.partner_warehouse_id.location_id
        line = self._prepare_move_line(quantity, source, transit)
        line["lot_id"] = (self._get_lot() or self.env["stock.lot"]).id
        return [self._prepare_move([line], source, transit, vals)]

    def _prepare_move(self, lines, source, destination, vals):
        return {
            "product_id": self.product_id.id,
            "product_uom": self.product_id.uom_id.id,
            "product_uom_qty": sum(line["quantity"] for line in lines),
            "company_id": self.company_id.id,
            "state": "confirmed",
            "location_id": source.id,
            "location_dest_id": destination.id,
            "picked": True,
            "move_line_ids": [fields.Command.create(line) for line in lines],
            **vals,
        }

    def _prepare_move_line(self, quantity, source, destination, quant=None):
        line = {
            "product_id": self.product_id.id,
            "product_uom_id": self.product_id.uom_id.id,
            "quantity": quantity,
            "location_id": source.id,
            "location_dest_id": destination.id,
            "company_id": self.company_id.id,
        }
        if quant:
            line.update(
                lot_id=quant.lot_id.id, package_id=quant.package_id.id, owner_id=quant.owner_id.id
            )
        return line
