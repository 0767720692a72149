from datetime import timedelta

import requests

from odoo import Command, fields
from odoo.tests import new_test_user

from .common import LedgerCase

GROUP = "stock_event_ledger.group_integration"


def create_key(env, user):
    """Return an API key of a user."""
    keys = env["res.users.apikeys"].with_user(user)
    return keys._generate("rpc", "test", fields.Datetime.now() + timedelta(days=1))


def post(url, database, key, method, body):
    """Call a method of the service over JSON-2.

    :return: the HTTP status and what was answered
    """
    answer = requests.post(
        f"{url}/json/2/stock.integration/{method}",
        json=body,
        headers={"Authorization": f"bearer {key}", "X-Odoo-Database": database},
        timeout=120,
    )
    return answer.status_code, answer.json()


class IntegrationCase(LedgerCase):
    """A partner's user, and the service as it may call it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.partner_user = new_test_user(
            cls.env, "shop", groups=GROUP, context={"no_reset_password": True}
        )
        cls.service = cls.env["stock.integration"].with_user(cls.partner_user)
        cls.code = cls.warehouse.code
        cls.product.default_code = "PLAIN"
        cls.lot_product.default_code = "LOT"
        cls.serial_product.default_code = "SERIAL"
        cls.other_company = cls.env["res.company"].create({"name": "Somebody Else"})
        cls.foreign_warehouse = cls.env["stock.warehouse"].search(
            [("company_id", "=", cls.other_company.id)], limit=1
        ) or cls.env["stock.warehouse"].create(
            {"name": "Foreign", "code": "FRGN", "company_id": cls.other_company.id}
        )
        cls.keys = iter(range(10**6))

    @classmethod
    def _call(cls, operation, *lines, **options):
        """Call a write with a key of its own, for the warehouse if there is no other."""
        options.setdefault("idempotency_key", f"key {next(cls.keys)}")
        if operation != "transfer" and not {"warehouse", "warehouse_id"} & set(options):
            options["warehouse"] = cls.code
        return getattr(cls.service, operation)(lines=list(lines), **options)

    def _get_on_hand(self, product, location=None):
        quants = self.env["stock.quant"].search(
            [
                ("product_id", "=", product.id),
                ("location_id", "child_of", (location or self.stock).id),
            ]
        )
        return sum(quants.mapped("quantity"))

    def _get_calls(self, **vals):
        return self.env["stock.integration.call"].search(
            [("user_id", "=", self.partner_user.id), *((k, "=", v) for k, v in vals.items())]
        )

    def assertDone(self, result):
        self.assertEqual(result["status"], "done", result)

    def assertCodes(self, result, codes):
        """Check why lines were refused, None for those that were not."""
        self.assertEqual([line.get("error", {}).get("code") for line in result["lines"]], codes)


def create_partner_user(env, login):
    """Return a committed database's Integration User."""
    users = env["res.users"].with_context(no_reset_password=True)
    return users.search([("login", "=", login)]) or users.create(
        {"name": login, "login": login, "group_ids": [Command.set(env.ref(GROUP).ids)]}
    )
