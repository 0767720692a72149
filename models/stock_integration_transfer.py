from odoo import Command, api, models
from odoo.exceptions import RedirectWarning, UserError

from ..exceptions import CallBusy
from ..locking import working_off_queue
from .stock_integration_lines import LineRefused


class StockIntegration(models.AbstractModel):
    """Calls that make a transfer, done at once.

    All lines that can be done are in one transfer. Where Odoo refuses it, each line is tried
    in a transfer of its own, so that a bad line does not stop the others.
    """

    _inherit = "stock.integration"

    @api.model
    def _run_receive(self, data, origin):
        warehouse = self._get_warehouse(data)
        _customers, suppliers = warehouse._get_partner_locations()
        return self._transfer_lines(
            data.lines,
            {
                "picking_type_id": warehouse.in_type_id.id,
                "location_id": suppliers.id,
                "location_dest_id": self._get_location(data, warehouse).id,
                "origin": origin,
            },
        )

    @api.model
    def _run_issue(self, data, origin):
        warehouse = self._get_warehouse(data)
        customers, _suppliers = warehouse._get_partner_locations()
        return self._transfer_lines(
            data.lines,
            {
                "picking_type_id": warehouse.out_type_id.id,
                "location_id": self._get_location(data, warehouse).id,
                "location_dest_id": customers.id,
                "origin": origin,
            },
        )

    @api.model
    def _run_transfer(self, data, origin):
        warehouse = self._get_warehouse(data, "from_")
        other_warehouse = self._get_warehouse(data, "to_")
        source = self._get_location(data, warehouse, "from_")
        destination = self._get_location(data, other_warehouse, "to_")
        problem = None
        if warehouse.company_id != other_warehouse.company_id:
            problem = self.env._("The warehouse is another company's: issue there, receive here")
        elif source == destination:
            problem = self.env._("The goods are there already")
        if problem:
            member = "to_warehouse" if data.to_warehouse else "to_warehouse_id"
            self._raise_invalid([{"member": member, "message": problem}])
        return self._transfer_lines(
            data.lines,
            {
                "picking_type_id": warehouse.int_type_id.id,
                "location_id": source.id,
                "location_dest_id": destination.id,
                "origin": origin,
            },
        )

    @api.model
    def _run_return_goods(self, data, origin):
        warehouse = self._get_warehouse(data)
        location = self._get_location(data, warehouse)
        customers, suppliers = warehouse._get_partner_locations()
        receipts, deliveries = warehouse.in_type_id, warehouse.out_type_id
        if data.to_supplier:
            picking_type, source, destination = deliveries, location, suppliers
            picking_type = receipts.return_picking_type_id or picking_type
        else:
            picking_type, source, destination = receipts, customers, location
            picking_type = deliveries.return_picking_type_id or picking_type
        return self._transfer_lines(
            data.lines,
            {
                "picking_type_id": picking_type.id,
                "location_id": source.id,
                "location_dest_id": destination.id,
                "origin": origin,
            },
        )

    # --- lines into transfers

    @api.model
    def _transfer_lines(self, lines, vals):
        """Move the goods of lines.

        :param lines: the checked lines
        :param dict vals: of the transfer: operation type, locations, origin
        :return: the result of the call
        """
        picking_type = self.env["stock.picking.type"].browse(vals["picking_type_id"])
        # Of the user's companies it is this one that acts.
        self = self.with_company(picking_type.company_id)  # noqa: PLW0642
        takes_stock = self.env["stock.location"].browse(vals["location_id"]).usage == "internal"
        products = self._find_products(lines)
        refused = {}
        for number, line in enumerate(lines):
            error = self._get_line_error(line, products[number], lot_needed=not takes_stock)
            if error:
                refused[number] = error
        todo = {
            number: (line, products[number])
            for number, line in enumerate(lines)
            if number not in refused
        }
        moves, errors = self._try_transfer(todo, vals)
        return self._prepare_write_result(products, moves, {**refused, **errors})

    @api.model
    def _get_line_error(self, line, products, lot_needed):
        return (
            self._get_product_error(products)
            or self._get_quantity_error(products, line.quantity)
            or self._get_lot_error(products, line, lot_needed)
        )

    @api.model
    def _try_transfer(self, todo, vals):
        """Do the lines in one transfer, or each in one of its own where that is refused.

        :param dict todo: pairs of line and product by the line's number
        :return: the moves and the errors, both by the line's number
        """
        errors = {}
        while todo:
            try:
                with self.env.cr.savepoint():
                    return self._do_transfer(todo, vals), errors
            except LineRefused as refused:
                errors.update(refused.errors)
                todo = {number: todo[number] for number in todo if number not in errors}
            except CallBusy:
                raise
            except (UserError, RedirectWarning) as error:
                if len(todo) == 1:
                    [number] = todo
                    errors[number] = self._prepare_error("refused", str(error.args[0]))
                    return {}, errors
                break
        moves = {}
        for number, line in todo.items():
            line_moves, line_errors = self._try_transfer({number: line}, vals)
            moves.update(line_moves)
            errors.update(line_errors)
        return moves, errors

    @api.model
    def _do_transfer(self, todo, vals):
        """Make a transfer and do it.

        :return: the moves by the line's number
        :raises LineRefused: when stock for some lines is not available
        :raises UserError: when Odoo refuses it
        """
        picking = self.env["stock.picking"].create(
            {
                **vals,
                "move_ids": [
                    Command.create(self._prepare_move_vals(line, product, vals))
                    for line, product in todo.values()
                ],
            }
        )
        moves = dict(zip(todo, picking.move_ids.sorted("id"), strict=True))
        # All in one order, so that calls of the same products do not get in each other's way.
        ordered = picking.move_ids.sorted(lambda move: (move.product_id.id, move.id))
        # Nobody waits for the queue: it is now or never.
        with working_off_queue():
            ordered._action_confirm(merge=False)
            if picking.location_id.should_bypass_reservation():
                self._set_arriving_lots(moves, todo)
            else:
                self._reserve_lines(moves, todo)
        picking.move_ids.picked = True
        picking.with_context(cancel_backorder=True)._action_done()
        return moves

    @api.model
    def _prepare_move_vals(self, line, product, vals):
        return {
            "product_id": product.id,
            "product_uom": product.uom_id.id,
            "product_uom_qty": line.quantity,
            "location_id": vals["location_id"],
            "location_dest_id": vals["location_dest_id"],
            "origin": vals["origin"],
        }

    @api.model
    def _set_arriving_lots(self, moves, todo):
        """Give the moves the lots that their lines name.

        :raises LineRefused: where that cannot be
        """
        errors = {}
        for number, (line, product) in todo.items():
            if line.lot:
                lot = self._find_lot(product, line.lot)
                if error := self._set_arriving_lot(moves[number], line, lot):
                    errors[number] = error
        if errors:
            raise LineRefused(errors)

    @api.model
    def _set_arriving_lot(self, move, line, lot):
        """Return why a lot cannot arrive, or None when the move brings it now."""
        if lot and move.product_id.tracking == "serial" and self._is_in_stock(lot):
            message = self.env._("The serial number is in stock already.")
            return self._prepare_error("serial_in_stock", message)
        if lot:
            move.move_line_ids.lot_id = lot
        elif move.picking_type_id.use_create_lots:
            # Odoo makes it when the transfer is done.
            move.move_line_ids.lot_name = line.lot
        else:
            return self._get_unknown_lot_error()
        return None

    @api.model
    def _reserve_lines(self, moves, todo):
        """Reserve what each line wants, in full or not at all, as long as there is something.

        :raises CallBusy: when others are deciding on the stock, and it is not known
        :raises LineRefused: when there is too little for some lines
        """
        everything = self.env["stock.move"].union(*moves.values())
        has_lots = any(line.lot for line, _product in todo.values())
        if not has_lots and set(everything.mapped("state")) == {"assigned"}:
            # Confirming has done it already.
            return
        everything._do_unreserve()
        errors = {}
        # Named lots first, as any lot does for the others; then as products are in order.
        for number in sorted(todo, key=lambda n: (not todo[n][0].lot, moves[n].product_id.id, n)):
            line, product = todo[number]
            move = moves[number]
            if error := self._reserve_line(move, line, product):
                errors[number] = error
                # What it got is for the next one.
                move._do_unreserve()
        if errors:
            raise LineRefused(errors)

    @api.model
    def _reserve_line(self, move, line, product):
        """Reserve what a line wants; return why there is too little, or None."""
        if line.lot:
            lot = self._find_lot(product, line.lot)
            if not lot:
                return self._get_unknown_lot_error()
            reserved = move._update_reserved_quantity(
                line.quantity, move.location_id, lot_id=lot, strict=False
            )
            if product.uom_id.compare(reserved, line.quantity) < 0:
                self._check_decided(move)
                return self._get_not_available_error(reserved, line.quantity)
        move._action_assign()
        if move.state == "assigned":
            return None
        self._check_decided(move)
        return self._get_not_available_error(move.quantity, line.quantity)

    @api.model
    def _check_decided(self, move):
        """Refuse to tell what there is while others are deciding on it."""
        if move.reservation_queued_date:
            raise self._get_stock_busy()

    @api.model
    def _get_not_available_error(self, available, wanted):
        message = self.env._(
            "Only %(available)s of %(wanted)s are available.", available=available, wanted=wanted
        )
        return self._prepare_error("not_available", message)

    # --- results

    @api.model
    def _prepare_write_result(self, products, moves, errors):
        """Return the result of a write.

        :param list products: recordsets, one for each line
        :param dict moves: the stock.move by the line's number
        :param dict errors: by the line's number
        """
        lines = []
        for number, product in enumerate(products):
            line = {"line": number, "status": "refused" if number in errors else "done"}
            if len(product) == 1:
                line["product_id"] = product.id
            if number in errors:
                line["error"] = errors[number]
            else:
                line["move_ids"] = moves[number].ids
            lines.append(line)
        status = "partial" if errors else "done"
        pickings = self.env["stock.move"].union(*moves.values()).picking_id
        return {
            "status": "refused" if len(errors) == len(lines) else status,
            "lines": lines,
            "transfers": [
                {"id": picking.id, "name": picking.name, "state": picking.state}
                for picking in pickings.sorted("id")
            ],
        }
