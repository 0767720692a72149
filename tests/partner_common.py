import pika

from odoo import Command
from odoo.exceptions import UserError
from odoo.tests import new_test_user

from ..broker.consumer import Delivery
from .common import LedgerCase


class PartnerCase(LedgerCase):
    """Two companies that play two databases, and what carries messages between them.

    A has the warehouse LWH and ships; B has the warehouse BWH and receives. What one tells
    the other goes through the outbox and the inbox, without a broker.
    """

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.company_a = cls.warehouse.company_id
        cls.company_b = cls.env["res.company"].create({"name": "Company B"})
        cls.env.user.company_ids |= cls.company_b
        cls.warehouse_b = cls.env["stock.warehouse"].create(
            {"name": "Warehouse B", "code": "BWH", "company_id": cls.company_b.id}
        )
        cls.channel = cls.env["stock.event.channel"].create(
            {"name": "Partners", "code": "partners"}
        )
        cls.queue_a = cls._create_queue("a.commands", cls.company_a)
        cls.queue_b = cls._create_queue("b.commands", cls.company_b)
        cls.to_b = cls._create_partner("B's", "BWH", cls.company_a, cls.queue_a, "b.commands")
        cls.to_a = cls._create_partner("A's", "LWH", cls.company_b, cls.queue_b, "a.commands")
        cls.product.default_code = "PLAIN"
        cls.lot_product.default_code = "LOT"
        cls.serial_product.default_code = "SERIAL"
        cls.user_a = cls._create_user("user_a", cls.company_a, "stock.group_stock_user")
        cls.user_b = cls._create_user("user_b", cls.company_b, "stock.group_stock_user")
        cls.manager_a = cls._create_user("manager_a", cls.company_a, "stock.group_stock_manager")
        cls.shipments = cls.env["stock.partner.shipment"]

    @classmethod
    def _create_user(cls, login, company, groups):
        return new_test_user(
            cls.env,
            login,
            groups=groups,
            company_id=company.id,
            company_ids=[Command.set(company.ids)],
            context={"no_reset_password": True},
        )

    @classmethod
    def _create_queue(cls, name, company):
        user = cls._create_user(
            name.replace(".", "_"), company, "stock_event_ledger.group_integration"
        )
        return cls.env["stock.command.queue"].create(
            {"channel_id": cls.channel.id, "name": name, "user_id": user.id}
        )

    @classmethod
    def _create_partner(cls, name, code, company, queue, routing_key):
        return cls.env["stock.partner.warehouse"].create(
            {
                "name": name,
                "code": code,
                "company_id": company.id,
                "queue_id": queue.id,
                "routing_key": routing_key,
            }
        )

    # --- what people do

    def ship(self, quantities, lots=None, user=None):
        """Ship stock, which is received before, from A to B.

        :param dict quantities: by product; of one in ``lots`` of each lot
        :param dict lots: stock.lot by product
        :return: the shipment
        """
        lots = lots or {}
        for product, quantity in quantities.items():
            self._receive(product, quantity, lots=lots.get(product, ()))
        totals = {
            product: quantity * len(lots.get(product, [None]))
            for product, quantity in quantities.items()
        }
        picking = self._create_picking("int", totals, destination=self.to_b.location_id)
        picking.action_confirm()
        picking.action_assign()
        self._validate(picking.with_user(user or self.user_a))
        self.env.cr.flush()
        return picking.partner_shipment_id

    def get_other(self, shipment):
        """Return the other side's record of a shipment."""
        return self.shipments.search([("uid", "=", shipment.uid), ("id", "!=", shipment.id)])

    def get_receipt(self, shipment):
        """Return the receipt that B is to validate next."""
        incoming = self.get_other(shipment).picking_ids
        return incoming.filtered(lambda picking: picking.state == "assigned")[:1]

    def receive_in_b(self, picking, quantities=None, backorder=True):
        """Validate a receipt.

        :param dict quantities: by product, where it is not all of it
        """
        picking = picking.with_user(self.user_b)
        for product, quantity in (quantities or {}).items():
            move = picking.move_ids.filtered(lambda move, p=product: move.product_id == p)
            move.quantity = quantity
        picking.move_ids.picked = True
        context = {"skip_backorder": True}
        if not backorder:
            context["picking_ids_not_to_backorder"] = picking.ids
        self.assertIs(picking.with_context(**context).button_validate(), True)
        self.env.cr.flush()

    # --- what carries messages

    def get_messages(self):
        """Return what is to be sent to a queue, in order."""
        self.env.cr.flush()
        queues = [self.queue_a.name, self.queue_b.name]
        return self.env["stock.message.outbox"].search(
            [
                ("state", "=", "pending"),
                ("routing_key", "in", queues),
                ("exchange", "in", ["", False]),
            ],
            order="id",
        )

    def carry(self, message, keep=False):
        """Have the other side take a message in and run it, as its worker does.

        :return: the stock.command
        """
        queue = self.queue_a if message.routing_key == self.queue_a.name else self.queue_b
        prepared = message._prepare_message()
        self.assertIsInstance(prepared.properties, pika.BasicProperties)
        commands = self.env["stock.command"]
        commands._store(queue.id, [Delivery(1, prepared.properties, prepared.body)])
        self.env.invalidate_all()
        command = commands.search([("message_id", "=", message.message_id)], limit=1)
        if command.state == "received":
            try:
                with self.env.cr.savepoint():
                    command._run()
            except UserError as error:
                command._reject(error)
        self.env.cr.flush()
        if not keep:
            message.state = "confirmed"
        return command

    def carry_all(self):
        """Carry messages until nobody has anything to tell any more."""
        while messages := self.get_messages():
            for message in messages:
                self.carry(message)

    # --- what is so

    def get_transit(self, product=None):
        """Return what is in A's transit location."""
        domain = [("location_id", "child_of", self.to_b.location_id.id)]
        if product:
            domain.append(("product_id", "=", product.id))
        return sum(self.env["stock.quant"].search(domain).mapped("quantity"))

    def get_stock_b(self, product):
        domain = [
            ("location_id", "child_of", self.warehouse_b.view_location_id.id),
            ("product_id", "=", product.id),
        ]
        return sum(self.env["stock.quant"].search(domain).mapped("quantity"))

    def assertLines(self, shipment, expected):
        """Compare lines with (product, lot, sent, received, in transit) tuples."""
        self.assertEqual(
            [
                (
                    line.product_id,
                    line.lot_name or "",
                    line.quantity,
                    line.received_quantity,
                    line.transit_quantity,
                )
                for line in shipment.line_ids.sorted("id")
            ],
            expected,
        )
