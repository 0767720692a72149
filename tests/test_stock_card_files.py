import datetime
import io

import openpyxl

from odoo.exceptions import UserError
from odoo.tests import HttpCase, new_test_user, tagged
from odoo.tools import mute_logger

from odoo.addons.base.models.ir_actions_report import _wkhtml
from odoo.addons.stock_event_ledger.reports import stock_ledger_report_card
from odoo.addons.stock_event_ledger.wizards import stock_ledger_card

from .card_common import EPOCH, CardCase


class TestStockCardPrint(CardCase):
    def _render(self, card, **context):
        report = self.env["ir.actions.report"].with_user(self.user).with_context(**context)
        return report._render_qweb_pdf("stock_event_ledger.report_stock_card", card.ids)

    def test_printed_text(self):
        self._append(
            (self.stock, 5, "RECEIPT", EPOCH - datetime.timedelta(1)),
            (self.stock, 1234.5, "RECEIPT", EPOCH, {"reference": "WH/IN/<7>"}),
            (self.stock, -2, "SALE", EPOCH),
        )
        card = self._create_card()
        self.assertEqual(card.action_print()["report_name"], "stock_event_ledger.report_stock_card")
        html, kind = self._render(card)
        self.assertEqual(kind, "html")
        for text in (
            "[CARD/1] Of the card",
            self.env.company.name,
            "WH/IN/&lt;7&gt;",
            "1,239.50",
            "1,237.50",
            "Opening Balance",
            "Closing Balance",
        ):
            self.assertIn(text, html.decode())

    def test_too_many_rows_to_print(self):
        self._append(*[(self.stock, 1, "RECEIPT", EPOCH)] * 5)
        card = self._create_card()
        self.patch(stock_ledger_card, "MOST_PRINTED", 6)
        with self.assertRaisesRegex(UserError, "7 rows, at most 6 .* spreadsheet"):
            card.action_print()
        self.assertTrue(card._export_workbook())
        self.patch(stock_ledger_card, "MOST_EXPORTED", 6)
        with self.assertRaisesRegex(UserError, "7 rows"):
            card.action_export()


@tagged("post_install", "-at_install")
class TestStockCardFiles(HttpCase, CardCase):
    """The files, as a browser gets them."""

    def test_pdf(self):
        self.assertEqual(_wkhtml().state, "ok")
        self._append((self.stock, 5, "RECEIPT", EPOCH))
        report = self.env["ir.actions.report"].with_user(self.user)
        with mute_logger("odoo.addons.base.models.ir_actions_report"):
            content, kind = report.with_context(force_report_rendering=True)._render_qweb_pdf(
                "stock_event_ledger.report_stock_card", self._create_card().ids
            )
        self.assertEqual(kind, "pdf")
        self.assertTrue(content.startswith(b"%PDF"))

    def _download(self, card, login):
        self.authenticate(login, login)
        return self.url_open(card.action_export()["url"])

    def test_xlsx(self):
        lot = self._create_lot(self.card_product, "=1+1")
        self._append(
            (self.stock, 5, "RECEIPT", EPOCH - datetime.timedelta(1)),
            (self.stock, 2.5, "RECEIPT", EPOCH, {"reference": "=cmd()", "lot_id": lot.id}),
            (self.stock, -1, "SALE", EPOCH + datetime.timedelta(hours=1)),
        )
        card = self._create_card()
        response = self._download(card, self.user.login)
        self.assertEqual(response.status_code, 200)
        self.assertIn(
            "stock_card_CARD-1_2024-01-01_2024-03-01.xlsx",
            response.headers["Content-Disposition"],
        )
        sheet = openpyxl.load_workbook(io.BytesIO(response.content)).active
        rows = list(sheet.iter_rows(values_only=True))
        self.assertEqual(rows[0][:2], ("Stock Card", "[CARD/1] Of the card"))
        self.assertEqual(rows[1][:2], ("Company", self.env.company.name))
        heading = next(number for number, row in enumerate(rows) if row[0] == "Date")
        opening, receipt, sale, closing_row, total = rows[heading + 1 :]
        self.assertEqual(opening[7:10], (0, 0, 5))
        self.assertEqual(receipt[0], EPOCH)
        self.assertEqual(receipt[1:3], ("Receipt", "=cmd()"))
        self.assertEqual(receipt[6:10], ("=1+1", 2.5, 0, 7.5))
        self.assertEqual(sale[7:10], (0, 1, 6.5))
        self.assertEqual(closing_row[9], 6.5)
        self.assertEqual(total[6:10], ("Total", 2.5, 1, 6.5))
        formula = sheet.cell(heading + 3, 3)
        self.assertEqual(formula.data_type, "s")
        self.assertEqual(sheet.cell(heading + 3, 8).number_format, "#,##0.00")
        self.assertGreater(sheet.column_dimensions["A"].width, 15)

    @mute_logger("odoo.http")
    def test_xlsx_of_others_is_refused(self):
        card = self._create_card()
        new_test_user(
            self.env, "card_http", "stock.group_stock_user", context={"no_reset_password": True}
        )
        self.assertEqual(self._download(card, "card_http").status_code, 403)

    def test_file_of_many_pages(self):
        self._append(*[(self.stock, 1, "RECEIPT", EPOCH)] * 6)
        card = self._create_card()
        whole = list(card._get_rows()._iter_values())
        self.patch(stock_ledger_report_card, "PAGE", 3)
        self.assertEqual(list(card._get_rows()._iter_values()), whole)
        self.assertEqual([row[9] for row in whole], [0, 1, 2, 3, 4, 5, 6, 6])
