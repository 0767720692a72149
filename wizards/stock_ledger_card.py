import datetime
import re

import pytz

from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.tools import format_datetime, formatLang

from ..reports.stock_ledger_card_workbook import CardWorkbook

# What a printer, and what a spreadsheet, can take.
MOST_PRINTED = 10_000
MOST_EXPORTED = 1_000_000


class StockLedgerCard(models.TransientModel):
    """Asks which stock card, and shows, prints or exports it."""

    _name = "stock.ledger.card"
    _description = "Stock Card"

    product_id = fields.Many2one("product.product", required=True)
    date_from = fields.Datetime(
        "From", required=True, default=lambda self: self._get_default_date_from()
    )
    date_to = fields.Datetime("To", required=True, default=lambda self: fields.Datetime.now())
    warehouse_id = fields.Many2one("stock.warehouse", help="None: all of them, and transit")
    location_id = fields.Many2one("stock.location", help="With the locations in it")
    product_tracking = fields.Selection(related="product_id.tracking")
    lot_id = fields.Many2one(
        "stock.lot",
        "Lot/Serial Number",
        compute="_compute_lot_id",
        store=True,
        readonly=False,
        precompute=True,
        domain="[('product_id', '=', product_id)]",
        help="None: all of them",
    )
    company_ids = fields.Many2many(
        "res.company", string="Companies", default=lambda self: self.env.companies, readonly=True
    )

    @api.model
    def _get_default_date_from(self):
        """Return the beginning of the user's month, in UTC."""
        now = fields.Datetime.context_timestamp(self, fields.Datetime.now())
        midnight = self.env.tz.localize(datetime.datetime(now.year, now.month, 1))
        return midnight.astimezone(pytz.utc).replace(tzinfo=None)

    @api.depends("product_id")
    def _compute_lot_id(self):
        for card in self:
            if card.lot_id.product_id != card.product_id:
                card.lot_id = False

    @api.constrains("date_from", "date_to")
    def _check_period(self):
        for card in self:
            if card.date_from > card.date_to:
                raise ValidationError(self.env._("The period ends before it begins."))

    @api.depends("product_id", "lot_id")
    def _compute_display_name(self):
        for card in self:
            names = [card.product_id.display_name, card.lot_id.display_name]
            card.display_name = self.env._("Stock Card: %s", ", ".join(filter(None, names)))

    # --- the card ---

    def _prepare_card_context(self):
        """Return the context that tells ``stock.ledger.report.card`` what it is about."""
        self.ensure_one()
        return {
            "stock_ledger_product_id": self.product_id.id,
            "stock_ledger_from": fields.Datetime.to_string(self.date_from),
            "stock_ledger_to": fields.Datetime.to_string(self.date_to),
            "stock_ledger_warehouse_id": self.warehouse_id.id,
            "stock_ledger_location_id": self.location_id.id,
            "stock_ledger_lot_id": self.lot_id.id,
        }

    def _get_rows(self):
        """Return the model of the card's rows, with the companies that the card is of."""
        return self.env["stock.ledger.report.card"].with_context(
            **self._prepare_card_context(), allowed_company_ids=self.company_ids.ids
        )

    def _get_title_lines(self):
        """Return what the card is about, as (label, text) lines."""
        self.ensure_one()
        place = self.location_id or self.warehouse_id
        lot = [(self.env._("Lot/Serial Number"), self.lot_id.display_name)] if self.lot_id else []
        return [
            (self.env._("Stock Card"), self.product_id.display_name),
            (self.env._("Company"), ", ".join(self.company_ids.mapped("name"))),
            (self.env._("From"), format_datetime(self.env, self.date_from)),
            (self.env._("To"), format_datetime(self.env, self.date_to)),
            (self.env._("Place"), place.display_name or self.env._("All warehouses and transit")),
            *lot,
            (self.env._("Unit"), self.product_id.uom_id.display_name),
        ]

    @api.model
    def _get_column_labels(self):
        return [
            self.env._("Date"),
            self.env._("Event"),
            self.env._("Reference"),
            self.env._("Source Document"),
            self.env._("Contact"),
            self.env._("Location"),
            self.env._("Lot/Serial Number"),
            self.env._("In"),
            self.env._("Out"),
            self.env._("Balance"),
            self.env._("User"),
        ]

    def _check_row_count(self, limit):
        count = self._get_rows().search_count([])
        if count > limit:
            raise UserError(
                self.env._(
                    "This card has %(count)s rows, at most %(limit)s fit: choose a shorter "
                    "period or one warehouse, or export it as a spreadsheet.",
                    count=count,
                    limit=limit,
                )
            )

    # --- screen ---

    @api.model
    def _prepare_card_action(self, context):
        """Return the window action that asks which card.

        :param dict context: what it is about, as default values
        """
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "stock_event_ledger.action_stock_ledger_card"
        )
        return {**action, "context": context}

    def action_open(self):
        """Open the card's rows.

        :return: a window action
        """
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "stock_event_ledger.action_stock_ledger_report_card"
        )
        return {
            **action,
            "name": self.display_name,
            "display_name": self.display_name,
            "context": self._prepare_card_context(),
        }

    # --- print ---

    def action_print(self):
        """Print the card.

        :return: a report action
        :raises UserError: when it has too many rows for that
        """
        self._check_row_count(MOST_PRINTED)
        return self.env.ref("stock_event_ledger.action_report_stock_card").report_action(self)

    def _get_printed_rows(self):
        """Return the rows as texts, of which the 8th to the 10th are numbers."""
        self._check_row_count(MOST_PRINTED)

        def print_value(value):
            if isinstance(value, str):
                return value
            if isinstance(value, float):
                return formatLang(self.env, value, dp="Product Unit")
            return value.strftime(date_format)

        lang = self.env["res.lang"]._get_data(code=self.env.lang or "en_US")
        date_format = f"{lang.date_format} {lang.time_format}"
        return [
            [print_value(value) for value in values[:-1]]
            for values in self._get_rows()._iter_values()
        ]

    def _get_printed_totals(self):
        """Return opening, in, out and closing as texts."""
        totals = self._get_rows().get_totals()
        return {
            key: formatLang(self.env, value, dp="Product Unit") for key, value in totals.items()
        }

    # --- spreadsheet ---

    def action_export(self):
        """Export the card as a spreadsheet.

        :return: an action that downloads it
        :raises UserError: when it has too many rows for that
        """
        self._check_row_count(MOST_EXPORTED)
        return {
            "type": "ir.actions.act_url",
            "url": f"/stock_event_ledger/stock_card/{self.id}/xlsx",
            "target": "download",
        }

    def _export_workbook(self):
        """Return the spreadsheet's bytes and its file name.

        :raises AccessError: unless the user may read stock cards, and this one
        """
        self.ensure_one()
        rows = self._get_rows()
        rows.check_access("read")
        self._check_row_count(MOST_EXPORTED)
        workbook = CardWorkbook(self.env["decimal.precision"].precision_get("Product Unit"))
        workbook.write_title(self._get_title_lines())
        workbook.write_heading(self._get_column_labels())
        for values in rows._iter_values():
            workbook.write_row(values)
        totals = rows.get_totals()
        workbook.write_row(
            [None] * 6 + [self.env._("Total"), totals["in"], totals["out"], totals["closing"]],
            bold=True,
        )
        return workbook.close(), self._get_file_name() + ".xlsx"

    def _get_file_name(self):
        """Return the name for files, without their extension."""
        name = self.product_id.default_code or self.product_id.name or ""
        name = re.sub(r"[^\w.-]+", "-", name)
        return f"stock_card_{name}_{self.date_from:%Y-%m-%d}_{self.date_to:%Y-%m-%d}"
