from datetime import timedelta

from odoo import fields
from odoo.fields import Command
from odoo.tests import new_test_user
from odoo.tools import SQL

from .channel_common import ChannelCase


class DashboardCase(ChannelCase):
    """A company of the test's own, in which nothing has happened yet."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.company = cls.env["res.company"].create({"name": "Dashboard Company"})
        cls.env.user.company_ids |= cls.company
        cls.env = cls.env(context=dict(cls.env.context, allowed_company_ids=cls.company.ids))
        cls.warehouse = cls.env["stock.warehouse"].search([("company_id", "=", cls.company.id)])
        cls.stock = cls.warehouse.lot_stock_id
        cls.shelf = cls.env["stock.location"].create({"name": "Shelf", "location_id": cls.stock.id})
        cls.user = cls._create_user("dashboard_user", "stock.group_stock_user")
        cls.manager = cls._create_user("dashboard_manager", "stock.group_stock_manager")
        cls.env["stock.event.worker"].search([]).unlink()

    @classmethod
    def _create_user(cls, login, groups, company=None):
        company = company or cls.company
        return new_test_user(
            cls.env,
            login,
            groups=groups,
            company_id=company.id,
            company_ids=[Command.set(company.ids)],
            context={"no_reset_password": True},
        )

    def _get_figures(self, user=None, warehouse=None):
        """Return the tiles of the inventory user, or of another user, by name."""
        user = user or self.user
        self.env.cr.flush()
        self.env.invalidate_all()
        dashboard = self.env(user=user, context={"allowed_company_ids": user.company_ids.ids})[
            "stock.ledger.dashboard"
        ]
        figures = dashboard.get_figures(warehouse.id if warehouse else False)
        return {tile["name"]: tile for tile in figures["tiles"]}

    def _get_tile(self, name, user=None):
        return self._get_figures(user)[name]

    def _get_rows(self, name, user=None):
        """Return the figures of a tile's rows by their keys."""
        rows = self._get_tile(name, user)["rows"]
        return {row["key"]: row.get("value", row.get("text", row.get("date"))) for row in rows}

    def _note(self, kind, hours=0, product=None):
        """Note one meeting of two operations, so long ago."""
        contentions = self.env["stock.contention"]
        contentions._note(kind, [((product or self.product).id, self.stock.id)])
        row = contentions.search([], limit=1)
        date = fields.Datetime.now() - timedelta(hours=hours)
        self.env.cr.execute(
            SQL("UPDATE stock_contention SET date = %s WHERE id = %s", date, row.id)
        )
        return row
