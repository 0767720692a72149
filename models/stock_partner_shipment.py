import time

from odoo import api, fields, models
from odoo.exceptions import AccessError
from odoo.fields import Domain

# Versions count the seconds from 2020 on, which fits into a column until 2088.
EPOCH_SECONDS = 1_577_836_800
STATES = [
    ("sent", "Sent"),
    ("refused", "Refused"),
    ("expected", "Expected"),
    ("received", "Partly Received"),
    ("closed", "Closed"),
]


class StockPartnerShipment(models.Model):
    """Goods under way between a warehouse of this database and one of a partner's.

    Both databases have one of it, with the same uid. The sender's follows its transfer, the
    receiver's its receipts; each tells the other all of it whenever it has changed, with a
    version, so that a message that comes twice or late changes nothing. States:

    - sent: the partner has not answered yet;
    - refused: the partner does not expect it, and ``error`` says why;
    - expected: the partner has a receipt for it, and has received nothing;
    - received: the partner has received some of it, and expects the rest;
    - closed: nothing more is expected, with or without a difference.
    """

    _name = "stock.partner.shipment"
    _description = "Partner Shipment"
    _order = "id desc"
    _rec_name = "reference"
    _check_company_auto = True

    uid = fields.Char(
        "Shipment ID", required=True, readonly=True, help="The same in both databases"
    )
    direction = fields.Selection(
        [("out", "Outgoing"), ("in", "Incoming")], required=True, readonly=True
    )
    partner_warehouse_id = fields.Many2one(
        "stock.partner.warehouse", required=True, readonly=True, index=True, ondelete="restrict"
    )
    company_id = fields.Many2one(
        related="partner_warehouse_id.company_id", store=True, index=True, precompute=True
    )
    warehouse_id = fields.Many2one(
        "stock.warehouse", readonly=True, check_company=True, help="Our warehouse"
    )
    reference = fields.Char("Shipment", readonly=True, help="The sender's transfer")
    receipt_reference = fields.Char(
        "Receipts", readonly=True, help="The receiver's transfers, as far as they are known"
    )
    state = fields.Selection(STATES, required=True, readonly=True, default="sent", index=True)
    error = fields.Text(
        readonly=True, help="Why the partner, or we, refused what was told about it last"
    )
    shipped_date = fields.Datetime("Shipped", readonly=True)
    closed_date = fields.Datetime("Closed", readonly=True)
    days = fields.Float(
        compute="_compute_days", digits=(16, 1), help="From shipping to the end, or until now"
    )
    line_ids = fields.One2many("stock.partner.shipment.line", "shipment_id", readonly=True)
    picking_ids = fields.One2many(
        "stock.picking", "partner_shipment_id", "Transfers", readonly=True
    )
    picking_count = fields.Integer("Number of Transfers", compute="_compute_picking_count")
    quantity = fields.Float("Sent", compute="_compute_quantities", digits="Product Unit")
    received_quantity = fields.Float(
        "Received", compute="_compute_quantities", digits="Product Unit"
    )
    transit_quantity = fields.Float(
        "In Transit", compute="_compute_quantities", digits="Product Unit"
    )
    has_difference = fields.Boolean(
        "Difference",
        compute="_compute_has_difference",
        store=True,
        help="Something else was received than was sent, and nothing more is expected; or "
        "more was received",
    )
    version = fields.Integer(readonly=True, required=True, default=0, help="What we told last")
    partner_version = fields.Integer(
        readonly=True, required=True, default=0, help="What the partner told last"
    )
    told = fields.Json(readonly=True)
    message_id = fields.Char("Message ID", readonly=True, help="The message that told it")
    message_error = fields.Char(
        "Not Delivered", compute="_compute_message_error", help="Why the broker has it not yet"
    )

    _unique_uid = models.UniqueIndex(
        "(partner_warehouse_id, direction, uid)", "There is such a shipment already."
    )
    _uid_idx = models.Index("(uid)")

    @api.depends("shipped_date", "closed_date")
    def _compute_days(self):
        now = fields.Datetime.now()
        for shipment in self:
            end = shipment.closed_date or now
            since = shipment.shipped_date or now
            shipment.days = max((end - since).total_seconds(), 0) / 86400

    def _compute_picking_count(self):
        groups = self.env["stock.picking"]._read_group(
            [("partner_shipment_id", "in", self.ids)], ["partner_shipment_id"], ["__count"]
        )
        counts = {shipment.id: count for shipment, count in groups}
        for shipment in self:
            shipment.picking_count = counts.get(shipment.id, 0)

    @api.depends("line_ids.quantity", "line_ids.received_quantity", "line_ids.transit_quantity")
    def _compute_quantities(self):
        for shipment in self:
            for name in ("quantity", "received_quantity", "transit_quantity"):
                shipment[name] = sum(shipment.line_ids.mapped(name))

    def _compute_message_error(self):
        messages = self.env["stock.message.outbox"].search(
            [
                ("message_id", "in", self.filtered("message_id").mapped("message_id")),
                ("state", "=", "blocked"),
            ]
        )
        errors = {message.message_id: message.error for message in messages}
        for shipment in self:
            shipment.message_error = errors.get(shipment.message_id)

    @api.depends("line_ids.is_different")
    def _compute_has_difference(self):
        for shipment in self:
            shipment.has_difference = any(shipment.line_ids.mapped("is_different"))

    # --- for the user

    @api.readonly
    def action_open_transfers(self):
        """Open the transfers of these shipments."""
        action = self.env["ir.actions.act_window"]._for_xml_id("stock.action_picking_tree_all")
        domain = [("partner_shipment_id", "in", self.ids)]
        return {**action, "domain": domain, "context": {}}

    @api.readonly
    def action_open_commands(self):
        """Open what the partner has sent about these shipments."""
        return self._prepare_messages_action("stock_event_ledger.stock_command_action")

    @api.readonly
    def action_open_messages(self):
        """Open what was sent to the partner about these shipments."""
        return self._prepare_messages_action("stock_event_ledger.stock_message_outbox_action")

    def _prepare_messages_action(self, xml_id):
        action = self.env["ir.actions.act_window"]._for_xml_id(xml_id)
        domain = [("correlation_id", "in", self.mapped("uid"))]
        return {**action, "domain": domain, "context": {}}

    @api.readonly
    def action_open_ledger(self):
        """Open the ledger entries of these shipments, in transit and at their transfers."""
        moves = self.env["stock.move"].search(
            Domain("picking_id.partner_shipment_id", "in", self.ids)
            | Domain("partner_shipment_id", "in", self.ids)
        )
        return self.env["stock.ledger.entry"]._prepare_entries_action(
            [("move_id", "in", moves.ids)]
        )

    def action_send_again(self):
        """Tell the partner again all about these shipments, after a refusal was mended.

        :raises AccessError: unless the user is an inventory user who sees them
        """
        if not self.env.user.has_group("stock.group_stock_user"):
            raise AccessError(
                self.env._("Only inventory users may tell a partner about a shipment again.")
            )
        self.check_access("read")
        # sudo: nobody has the right to write shipments; this tells again what they are.
        for shipment in self.sudo():
            shipment._tell(is_forced=True)
        # XML-RPC knows no None.
        return True

    def action_write_off(self):
        """Open the wizard that writes off what the partner has not received."""
        self.ensure_one()
        return {
            **self.env["ir.actions.act_window"]._for_xml_id(
                "stock_event_ledger.stock_partner_write_off_action"
            ),
            "context": {"default_shipment_id": self.id},
        }

    # --- telling the partner

    def _tell(self, is_forced=False):
        """Send the partner what there is to know, if it has changed since the last time.

        To be called with sudo: whoever moves goods has no right to write shipments.

        :param bool is_forced: send it anyway
        """
        self.ensure_one()
        if problem := self._get_telling_problem():
            self.error = problem
            if self.direction == "out" and self.state == "sent":
                self.state = "refused"
            return
        body = self._prepare_announcement() if self.direction == "out" else self._prepare_report()
        if body == self.told and not is_forced:
            return
        self.version = self._get_next_version()
        operation = "expect_receipt" if self.direction == "out" else "report_receipt"
        message = {"shipment": self.uid, "version": self.version, **body}
        self.write(
            {
                "told": body,
                "error": False,
                "message_id": self.partner_warehouse_id._send(operation, message, self.uid),
            }
        )
        if self.state == "refused":
            self.state = "sent"

    def _get_next_version(self):
        """Return a version that no message about the shipment has had.

        Of the clock, so that a database that was restored from a backup does not use those
        again that it has forgotten.
        """
        return max(self.version + 1, int(time.time()) - EPOCH_SECONDS)

    def _get_telling_problem(self):
        """Return why the partner could not understand what is told, or None."""
        for line in self.line_ids.filtered("product_id"):
            # It may have been mended.
            if self.direction == "out" and line.sku != line.product_id.default_code:
                line.sku = line.product_id.default_code
        unnamed = self.line_ids.filtered(lambda line: not line.sku).product_id
        if unnamed:
            return self.env._(
                "The partner knows products by their internal references. Give one to %s, and "
                "send again.",
                ", ".join(unnamed.mapped("display_name")),
            )
        return None

    def _prepare_announcement(self):
        """Return the members of ``expect_receipt``."""
        shipped_date = self.shipped_date.replace(microsecond=0)
        return {
            "origin": self.reference,
            "sender": self.warehouse_id.code,
            "warehouse": self.partner_warehouse_id.code,
            "shipped_at": f"{shipped_date.isoformat()}Z",
            "lines": [
                {
                    **line._prepare_line(line.quantity),
                    # Names are translated; the partner may use another language.
                    "uom": line.product_id.uom_id.with_context(lang="en_US").name,
                }
                for line in self.line_ids
                if line.quantity
            ],
        }

    def _prepare_report(self):
        """Return the members of ``report_receipt``."""
        return {
            "origin": self.receipt_reference or self.reference,
            "is_final": self.state == "closed",
            "lines": [
                line._prepare_line(line.received_quantity)
                for line in self.line_ids
                if line.received_quantity
            ],
        }

    def _reject(self, message_id, reason):
        """Note that the partner refused what we told.

        :param str message_id: which message
        :param str reason: why, in words
        """
        self.ensure_one()
        if message_id != self.message_id:
            # Something newer was told since.
            return
        self.error = reason
        if self.direction == "out" and self.state == "sent":
            self.state = "refused"

    # --- what transfers have done

    def _get_done_quantities(self):
        """Return what the transfers have brought on its way, or from there to us.

        Less what was taken back. Changes of done transfers are in it.

        :return: dictionary of quantity, in the product's unit, by product and name of the lot
        """
        self.ensure_one()
        quantities = {}
        lines = self.picking_ids.move_line_ids.filtered(lambda line: line.state == "done")
        for line in lines.sorted("id"):
            if sign := self._get_sign(line):
                key = (line.product_id, line.lot_id.name or False)
                quantities[key] = quantities.get(key, 0) + sign * line.quantity_product_uom
        return {
            (product, lot): product.uom_id.round(quantity)
            for (product, lot), quantity in quantities.items()
            if not product.uom_id.is_zero(quantity)
        }

    def _get_sign(self, line):
        """Return 1 for goods that were shipped, or received, -1 for the reverse, else 0."""
        source, destination = line.location_id, line.location_dest_id
        if self.direction == "out":
            path = self.partner_warehouse_id.location_id.parent_path
            return destination.parent_path.startswith(path) - source.parent_path.startswith(path)
        outside = ("supplier", "customer", "transit")
        if destination.usage == "internal" and source.usage in outside:
            return 1
        return -(source.usage == "internal" and destination.usage in outside)

    @api.model
    def _find_spoken_for(self, uid, direction):
        """Return the shipment of this uid for whose partner the user may speak.

        :param str uid: of the shipment
        :param str direction: out or in
        :return: the shipment, with sudo, or none
        """
        # sudo: a partner's integration user sees none; it may act on its own partner's.
        return self.sudo().search(
            [
                ("uid", "=", uid),
                ("direction", "=", direction),
                ("partner_warehouse_id.queue_id.user_id", "=", self.env.uid),
            ]
        )
