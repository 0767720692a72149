from odoo import api, fields, models
from odoo.exceptions import ValidationError


class StockPartnerWarehouse(models.Model):
    """A warehouse that is in another Odoo database, and how its database is reached.

    What a transfer brings to its transit location is a shipment to it: the other database
    is told, and expects a receipt. Nothing but messages goes between the two.
    """

    _name = "stock.partner.warehouse"
    _description = "Partner Warehouse"
    _order = "name, id"
    _check_company_auto = True

    name = fields.Char(required=True)
    active = fields.Boolean(default=True)
    code = fields.Char(
        "Short Name",
        required=True,
        help="The warehouse's short name in the partner's database",
    )
    company_id = fields.Many2one(
        "res.company", required=True, default=lambda self: self.env.company, index=True
    )
    queue_id = fields.Many2one(
        "stock.command.queue",
        "Commands From Partner",
        required=True,
        ondelete="restrict",
        help="Our queue, which the partner sends to. Only what comes in its user's name may "
        "speak for the partner.",
    )
    channel_id = fields.Many2one(related="queue_id.channel_id", string="Event Channel")
    user_id = fields.Many2one(related="queue_id.user_id", string="Integration User")
    exchange = fields.Char(
        help="Exchange of the partner's commands; none: straight into the queue that the "
        "routing key names",
    )
    routing_key = fields.Char(
        "Commands To Partner",
        required=True,
        help="The partner's queue of commands, or a routing key of the exchange",
    )
    location_id = fields.Many2one(
        "stock.location",
        "In Transit",
        readonly=True,
        copy=False,
        ondelete="restrict",
        check_company=True,
        help="Transfer goods to this location to ship them to the partner's warehouse.",
    )
    received_location_id = fields.Many2one(
        "stock.location",
        "Received Into",
        required=True,
        check_company=True,
        ondelete="restrict",
        domain=[("usage", "in", ("customer", "internal"))],
        default=lambda self: self._default_location("customer"),
        help="Where goods are once the partner has received them: with a customer if they are "
        "the partner's then, in a location of your own if they stay yours",
    )
    source_location_id = fields.Many2one(
        "stock.location",
        "Received From",
        required=True,
        check_company=True,
        ondelete="restrict",
        domain=[("usage", "in", ("supplier", "transit"))],
        default=lambda self: self._default_location("supplier"),
        help="Where receipts of what the partner ships come from",
    )
    shipment_count = fields.Integer(compute="_compute_shipment_count")

    _unique_location = models.UniqueIndex("(location_id)")
    _unique_code = models.UniqueIndex(
        "(queue_id, code, company_id)",
        "This queue stands for a warehouse with this short name already.",
    )

    @api.model
    def _default_location(self, usage):
        customers, suppliers = self.env["stock.warehouse"]._get_partner_locations()
        return customers if usage == "customer" else suppliers

    def _compute_shipment_count(self):
        groups = self.env["stock.partner.shipment"]._read_group(
            [("partner_warehouse_id", "in", self.ids)], ["partner_warehouse_id"], ["__count"]
        )
        counts = {partner.id: count for partner, count in groups}
        for partner in self:
            partner.shipment_count = counts.get(partner.id, 0)

    @api.constrains("queue_id", "company_id")
    def _check_user(self):
        for partner in self:
            # sudo: whoever configures warehouses may not see all users' companies.
            if partner.company_id not in partner.sudo().user_id.company_ids:
                raise ValidationError(
                    self.env._(
                        "Commands of %(queue)s run as %(user)s, who may not use %(company)s. "
                        "Allow the company to that user, or choose another queue.",
                        queue=partner.queue_id.name,
                        user=partner.sudo().user_id.name,
                        company=partner.company_id.name,
                    )
                )

    @api.model_create_multi
    def create(self, vals_list):
        partners = super().create(vals_list)
        for partner in partners:
            location = self.env["stock.location"].create(partner._prepare_location_vals())
            partner.location_id = location
        return partners

    def write(self, vals):
        result = super().write(vals)
        if "name" in vals:
            for partner in self:
                partner.location_id.name = partner._prepare_location_vals()["name"]
        if "active" in vals:
            self.location_id.active = vals["active"]
        return result

    def unlink(self):
        locations = self.location_id
        result = super().unlink()
        locations.active = False
        return result

    def _prepare_location_vals(self):
        self.ensure_one()
        return {
            "name": self.env._("In Transit to %s", self.name),
            "usage": "transit",
            "company_id": self.company_id.id,
            "location_id": self.company_id.internal_transit_location_id.location_id.id,
        }

    @api.readonly
    def action_open_shipments(self):
        """Open the shipments to and from these warehouses."""
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "stock_event_ledger.stock_partner_shipment_action"
        )
        domain = [("partner_warehouse_id", "in", self.ids)]
        return {**action, "domain": domain, "context": {}}

    # --- for shipments

    @api.model
    def _find_by_location(self, locations):
        """Return the partner warehouses in whose transit locations these are."""
        transit = locations.filtered(lambda location: location.usage == "transit")
        if not transit:
            return self.browse()
        # sudo: whoever moves goods need not be allowed to see where messages go.
        return self.sudo().search([("location_id", "parent_of", transit.ids)])

    def _send(self, operation, body, correlation_id):
        """Send the partner a command. To be called with sudo.

        :param str operation: its name in the partner's ``integration.OPERATIONS``
        :param dict body: its members
        :param str correlation_id: the shipment that it is about; its commands stay in order
        :return: the id of the message
        """
        self.ensure_one()
        message = self.env["stock.message.outbox"]._send(
            self.channel_id,
            operation,
            body,
            self.routing_key,
            exchange=self.exchange or "",
            partition_key=correlation_id,
            reply_to=self.queue_id.name,
            correlation_id=correlation_id,
            company=self.company_id,
        )
        return message.message_id
