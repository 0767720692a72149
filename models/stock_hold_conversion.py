from odoo import fields, models
from odoo.tools import groupby


class StockHold(models.Model):
    """How held goods go into a transfer."""

    _inherit = "stock.hold"

    def action_convert(self):
        """Put the goods into transfers, one for each warehouse, contact and source document.

        :return: the window action of the transfers
        :raises UserError: when a hold is at its end, or goods that are missing cannot be had
        """
        self._convert()
        return self.action_view_pickings()

    def _convert(self, partner=None, origin=None, ship=False):
        """Put the goods into transfers.

        :param partner: the res.partner who gets them; None: the hold's own contact
        :param str origin: the transfers' source document; None: the hold's own, or its name
        :param bool ship: whether they leave at once, straight from stock
        :return: the stock.picking, with sudo
        :raises UserError: when a hold is at its end, or goods that are missing cannot be had
        """
        self.check_access("read")
        # sudo: who may see a hold may convert it, without rights on transfers.
        holds = self.sudo()

        def convert():
            holds._prepare_conversion()
            return holds._hand_over(partner, origin, ship)

        return self.env["stock.quant"]._decide(convert)

    def _prepare_conversion(self):
        """Make sure that the goods are all there, in an operation that decides on stock.

        :raises UserError: when a hold is at its end, or goods that are missing cannot be had
        """
        self._lock()
        self._check_usable()
        for hold in self.filtered(lambda hold: hold.state == "short"):
            missing = hold.quantity - hold.reserved_quantity
            hold._claim_stock(missing)
            hold._reserve(missing)

    def _hand_over(self, partner, origin, ship):
        """Give the moves of holds that are reserved in full their transfers.

        The reservation stays where it is: at no time could others take the goods.
        """

        def get_key(hold):
            return (hold.warehouse_id, partner or hold.partner_id, origin or hold.origin)

        pickings = self.env["stock.picking"]
        for (_warehouse, contact, source), holds in groupby(self, get_key):
            pickings |= self.browse().concat(*holds)._deliver(contact, source, ship)
        if ship and pickings:
            pickings.move_ids.picked = True
            pickings._action_done()
        return pickings

    def _deliver(self, partner, origin, ship):
        # By its reference, Odoo puts nothing else into the transfer and knows what follows.
        origin = origin or ", ".join(self.mapped("name"))
        reference = self.env["stock.reference"].create({"name": origin})
        self.write({"outcome": "converted", "closed_date": fields.Datetime.now()})
        for hold in self:
            vals = hold._prepare_delivery_vals(partner, reference, ship)
            move = hold.move_ids
            if move.location_dest_id.id == vals["location_dest_id"]:
                # Odoo would reserve the lines again, to the same effect.
                del vals["location_dest_id"]
            move.write({**vals, "origin": origin})
        moves = self.move_ids
        moves._assign_picking()
        for move in moves:
            move.move_line_ids.picking_id = move.picking_id
        for hold in self:
            hold.picking_id = hold.move_ids.picking_id
        moves.picking_id._check_entire_pack()
        return moves.picking_id

    def _prepare_delivery_vals(self, partner, reference, ship):
        """Return what makes of the move the first step of the warehouse's deliveries.

        What leaves at once goes straight from stock to the customer. So does what
        the warehouse's routes do not take from where it is reserved.
        """
        destination = self._get_destination(partner)
        vals = {
            "partner_id": partner.id,
            "reference_ids": [fields.Command.set(reference.ids)],
            "location_dest_id": destination.id,
            "date": fields.Datetime.now(),
        }
        rule = self.env["stock.rule"] if ship else self._get_delivery_rule(destination)
        if not rule:
            return vals
        # As Odoo finds out where a move of the rule goes first.
        step = rule.picking_type_id.default_location_dest_id
        if rule.location_dest_from_rule:
            step = rule.location_dest_id
        if destination._child_of(step):
            step = destination
        return {
            **vals,
            "rule_id": rule.id,
            "picking_type_id": rule.picking_type_id.id,
            "location_dest_id": step.id,
            "location_final_id": destination.id,
            "propagate_cancel": rule.propagate_cancel,
        }

    def _get_delivery_rule(self, destination):
        """Return the rule by which Odoo takes the product from stock for a customer."""
        values = {"warehouse_id": self.warehouse_id, "company_id": self.company_id}
        rule = self.env["stock.rule"]._get_rule(self.product_id, destination, values)
        takes_from_stock = (
            rule.action in ("pull", "pull_push")
            and rule.procure_method != "make_to_order"
            and rule.location_src_id == self.move_ids.location_id
        )
        return rule if takes_from_stock else rule.browse()
