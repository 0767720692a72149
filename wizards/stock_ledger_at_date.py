import datetime

import pytz

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.fields import Domain
from odoo.tools import format_datetime


class StockLedgerAtDate(models.TransientModel):
    """Asks for the dates of the report of stock at a date."""

    _name = "stock.ledger.at.date"
    _description = "Stock at a Date: Dates"

    date = fields.Datetime(required=True, default=fields.Datetime.now)
    compare_date = fields.Datetime(
        "Compare With",
        default=lambda self: self._get_beginning_of_month(),
        help="An earlier date: the report also tells the difference between the two",
    )
    product_ids = fields.Many2many("product.product", help="None: all of them")
    warehouse_ids = fields.Many2many("stock.warehouse", help="None: all of them, and transit")

    @api.model
    def _get_beginning_of_month(self):
        """Return the beginning of the current month in the user's time zone, in UTC."""
        today = fields.Date.context_today(self)
        begin = datetime.datetime(today.year, today.month, 1)
        return self.env.tz.localize(begin).astimezone(pytz.utc).replace(tzinfo=None)

    def action_open(self):
        """Open the report.

        :return: a window action
        :raises UserError: when the date to compare with is not the earlier one
        """
        self.ensure_one()
        if self.compare_date and self.compare_date >= self.date:
            raise UserError(
                self.env._("The date to compare with is not the earlier one: choose one before.")
            )
        name = self._get_title()
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "stock_event_ledger.action_stock_ledger_report_at_date"
        )
        return {
            **action,
            "name": name,
            "display_name": name,
            "domain": list(self._get_domain()),
            "context": {
                "stock_ledger_at": fields.Datetime.to_string(self.date),
                "stock_ledger_compare_at": fields.Datetime.to_string(self.compare_date),
            },
        }

    def _get_title(self):
        date, compare_date = (
            format_datetime(self.env, moment, tz=str(self.env.tz))
            for moment in (self.date, self.compare_date)
        )
        if not compare_date:
            return self.env._("Stock at %(date)s", date=date)
        return self.env._(
            "Stock at %(date)s compared with %(compare_date)s",
            date=date,
            compare_date=compare_date,
        )

    def _get_domain(self):
        domain = Domain.TRUE
        if self.product_ids:
            domain &= Domain("product_id", "in", self.product_ids.ids)
        if self.warehouse_ids:
            domain &= Domain("warehouse_id", "in", self.warehouse_ids.ids)
        return domain
