import datetime

from dateutil.relativedelta import relativedelta

from odoo import fields
from odoo.tests import new_test_user, tagged

from .history_common import HistoryCase
from .tour_common import TourCase


@tagged("post_install", "-at_install")
class TestAgeingPages(TourCase, HistoryCase):
    """The pages of ageing, stock-outs and archives, in a browser."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.tour_product = cls._create_product("Tour Product")
        for login, group in (("tour_user", "user"), ("tour_manager", "manager")):
            new_test_user(
                cls.env,
                login,
                groups=f"stock.group_stock_{group}",
                context={"no_reset_password": True},
            )
        cls.keys[0]["product_id"] = cls.tour_product.id
        cls.last_month = fields.Date.today().replace(day=1) - relativedelta(months=1)

    def _move(self, quantity, day):
        event_type = "RECEIPT" if quantity > 0 else "SALE"
        month = self.last_month
        date = datetime.datetime(month.year, month.month, day, 12)
        self._append((0, quantity, event_type, date))

    def test_ageing_and_stockouts(self):
        self._move(5, 1)
        self._move(-5, 10)
        self._move(5, 12)
        self._receive(self.tour_product, 1)
        self.env["stock.ledger.stockout"]._refresh()
        for action, tour in (
            ("action_stock_ledger_report_ageing", "stock_event_ledger_ageing"),
            ("action_stock_ledger_stockout", "stock_event_ledger_stockouts"),
        ):
            self.start_tour(f"/odoo/action-stock_event_ledger.{action}", tour, login="tour_user")

    def test_archive(self):
        march, april = datetime.datetime(2023, 3, 5), datetime.datetime(2023, 4, 5)
        self._append((0, 5, "RECEIPT", march), (0, 5, "RECEIPT", april))
        wizard = self.env["stock.ledger.archive.wizard"].create({"month": march})
        wizard.action_archive()
        archive = self.env["stock.ledger.archive"].search([])
        archive._try_archive()
        self.start_tour(
            "/odoo/action-stock_event_ledger.action_stock_ledger_archive",
            "stock_event_ledger_archive",
            login="tour_manager",
        )
        self.assertEqual(self.env["stock.ledger.archive"].search([]), archive)
        self.authenticate("tour_manager", "tour_manager")
        action = archive.action_download()
        response = self.url_open(action["url"])
        self.assertEqual(response.content, archive.attachment_id.raw)
        self.authenticate("tour_user", "tour_user")
        self.assertNotEqual(self.url_open(action["url"]).content, archive.attachment_id.raw)
