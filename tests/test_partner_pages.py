from odoo.exceptions import AccessError
from odoo.tests import Form, tagged

from .partner_common import PartnerCase

PAGES = ("stock_partner_shipment_action", "stock_partner_shipment_line_action")


@tagged("post_install", "-at_install")
class TestPartnerPages(PartnerCase):
    """What users see of partner warehouses, and managers enter."""

    def test_a_manager_enters_a_partner_warehouse(self):
        queue = self._create_queue("d.commands", self.company_a)
        partners = self.env["stock.partner.warehouse"]
        with Form(partners.with_user(self.manager_a)) as form:
            form.name = "Northern"
            form.code = "NWH"
            form.queue_id = queue
            form.routing_key = "north.commands"
        partner = form.record
        location = partner.location_id
        self.assertEqual((location.usage, location.company_id), ("transit", self.company_a))
        self.assertEqual(partner.received_location_id, self.customers)
        self.assertEqual(partner.source_location_id, self.suppliers)
        with self.assertRaises(AccessError):
            partners.with_user(self.user_a).create({"name": "Mine"})
        partner.with_user(self.manager_a).unlink()
        self.assertFalse(location.active)

    def test_users_open_the_pages(self):
        shipment = self.ship({self.product: 10})
        for name in PAGES:
            action = self.env["ir.actions.act_window"].with_user(self.user_a)
            action = action._for_xml_id(f"stock_event_ledger.{name}")
            model = self.env[action["res_model"]].with_user(self.user_a)
            views = model.get_views([(False, "list"), (False, "search"), (False, "form")])
            for view_type in ("list", "form"):
                fields = list(views["models"][model._name]["fields"])
                self.assertTrue(view_type in views["views"] and model.search([]).read(fields))
        picking = shipment.picking_ids.with_user(self.user_a)
        action = picking.action_view_partner_shipment()
        self.assertEqual(action["res_id"], shipment.id)

    def test_the_buttons_of_a_shipment_lead_to_what_is_about_it(self):
        shipment = self.ship({self.product: 10})
        self.carry_all()
        mine = shipment.with_user(self.user_a)
        action = mine.action_open_transfers()
        self.assertEqual(self.env["stock.picking"].search(action["domain"]), mine.picking_ids)
        sent = self.env["stock.message.outbox"].with_user(self.user_a)
        sent = sent.search(mine.action_open_messages()["domain"])
        self.assertIn("expect_receipt", sent.mapped("message_type"))
        came = self.env["stock.command"].with_user(self.user_a)
        came = came.search(mine.action_open_commands()["domain"])
        self.assertEqual(set(came.mapped("operation")), {"report_receipt", "accepted"})
        partner = self.to_b.with_user(self.user_a)
        self.assertEqual(partner.shipment_count, 1)
        found = self.shipments.search(partner.action_open_shipments()["domain"])
        self.assertEqual(found, shipment)
