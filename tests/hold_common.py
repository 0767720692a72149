from datetime import timedelta

from odoo import Command, fields
from odoo.tests import new_test_user

from .common import LedgerCase


class HoldCase(LedgerCase):
    """A warehouse with 10 of a product, and those who hold some of them."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.integrator = new_test_user(
            cls.env,
            "hold_shop",
            groups="stock_event_ledger.group_integration",
            context={"no_reset_password": True},
        )
        cls.customer = cls.env["res.partner"].create({"name": "Held For"})
        cls._receive(cls.product, 10)
        cls.holds = cls.env["stock.hold"].with_user(cls.user)
        cls.env.flush_all()

    @classmethod
    def _hold(cls, quantity=1, product=None, holds=None, minutes=None, **vals):
        if minutes is not None:
            vals["expiry_date"] = fields.Datetime.now() + timedelta(minutes=minutes)
        return (cls.holds if holds is None else holds).create(
            {
                "product_id": (product or cls.product).id,
                "warehouse_id": cls.warehouse.id,
                "quantity": quantity,
                **vals,
            }
        )

    @classmethod
    def _create_other_company(cls):
        company = cls.env["res.company"].create({"name": "Other Company"})
        cls.env.user.company_ids = [Command.link(company.id)]
        return company

    def _get_figures(self, product=None, location=None):
        """Return on hand and reserved of the quants, and reserved of the open move lines."""
        product, location = product or self.product, location or self.stock
        quants = self.env["stock.quant"].search(
            [("product_id", "=", product.id), ("location_id", "child_of", location.id)]
        )
        lines = self.env["stock.move.line"].search(
            [
                ("product_id", "=", product.id),
                ("location_id", "child_of", location.id),
                ("state", "not in", ("done", "cancel")),
            ]
        )
        return (
            sum(quants.mapped("quantity")),
            sum(quants.mapped("reserved_quantity")),
            sum(lines.mapped("quantity_product_uom")),
        )
