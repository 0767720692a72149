import uuid
from datetime import timedelta

from psycopg2.extensions import ISOLATION_LEVEL_READ_COMMITTED

from odoo import fields
from odoo.sql_db import db_connect
from odoo.tests import HttpCase, new_test_user

from ..openapi import PREFIX
from .common import LedgerCase

PROBLEM_TYPE = "application/problem+json"
TIMEOUT_SECONDS = 60
NEEDED = {"type", "title", "status", "instance"}
# Each wrong in its own way, with the status that says so.
WRONG_BODIES = [
    (b"", 400),
    (b"{", 400),
    (b"nonsense", 400),
    (b"{} {}", 400),
    (b'{"warehouse": "\xff"}', 400),
    (b"\xef\xbb\xbf{}", 400),
    (b'{"lines": NaN}', 400),
    (b'{"lines": -Infinity}', 400),
    (b'{"lines": [], "lines": []}', 400),
    (b"[" * 100_000, 400),
    (b'{"warehouse_id": ' + b"9" * 10_000 + b"}", 400),
    (b'{"lines": ' + b"[" * 500 + b"]" * 500 + b"}", 422),
    (b"[]", 422),
    (b"null", 422),
    (b'"text"', 422),
    (b"{}", 422),
    (b'{"warehouse_id": ' + b"9" * 1000 + b', "lines": []}', 422),
    (b'{"warehouse": "\\u0000", "lines": [{"sku": "REST-1", "quantity": 1}]}', 422),
    (b'{"warehouse": "\\ud800", "lines": [{"sku": "REST-1", "quantity": 1}]}', 422),
    (b'{"warehouse": "LWH", "lines": [{"sku": "REST-1", "quantity": "1"}]}', 422),
    (b'{"warehouse": "LWH", "lines": [{"sku": "REST-1", "quantity": true}]}', 422),
    (b'{"warehouse": "LWH", "lines": [{"sku": "REST-1", "quantity": 1e999}]}', 422),
    (b'{"warehouse": "LWH", "lines": [{"sku": "REST-1", "quantity": -1}]}', 422),
    (b'{"warehouse": "LWH", "lines": [{"sku": "REST-1", "quantity": 1, "price": 1}]}', 422),
    (b'{"warehouse": "NOPE", "lines": [{"sku": "REST-1", "quantity": 1}]}', 422),
    (b'{"warehouse": "LWH", "lines": [{"sku": "REST-1", "quantity": 1e-9}]}', 409),
    (b'{"warehouse": "LWH", "lines": [{"sku": "NOPE", "quantity": 1}]}', 409),
]


class RestCase(HttpCase, LedgerCase):
    """A partner with an API key, and what it asks for over HTTP."""

    # Reading the feed takes a cursor of its own, which a test's cursor may not be asked for
    # while it plays a replica.
    _registry_readonly_enabled = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.partner_user = new_test_user(
            cls.env, "rest_partner", groups="stock_event_ledger.group_integration"
        )
        cls.partner_user.stock_integration_rate = 1_000_000
        cls.addClassCleanup(cls._forget_bucket, cls.env.cr.dbname, cls.partner_user.id)
        cls.key = cls._create_key(cls.partner_user)
        cls.product.default_code = "REST-1"

    @classmethod
    def _create_key(cls, user):
        keys = cls.env["res.users.apikeys"].with_user(user)
        return keys._generate("rpc", "Partner", fields.Datetime.now() + timedelta(hours=12))

    @classmethod
    def _forget_bucket(cls, dbname, user_id):
        """Delete what the limit of calls has committed."""
        with db_connect(dbname).cursor() as cr:
            cr.connection.set_isolation_level(ISOLATION_LEVEL_READ_COMMITTED)
            cr.execute("DELETE FROM stock_integration_bucket WHERE user_id = %s", [user_id])

    def _call(self, method, path, *, key=None, headers=None, **kwargs):
        """Send a request, and check what is true of each answer."""
        headers = {"Authorization": f"Bearer {key or self.key}", **(headers or {})}
        headers = {name: value for name, value in headers.items() if value is not None}
        self.env.flush_all()
        response = self.url_open(
            f"{PREFIX}/{path}", method=method, headers=headers, timeout=TIMEOUT_SECONDS, **kwargs
        )
        self.assertLess(response.status_code, 500, response.text)
        self.assertNotIn("Set-Cookie", response.headers)
        self.assertNotIn("Traceback", response.text)
        self.env.invalidate_all()
        return response

    def _get(self, path, **kwargs):
        return self._call("GET", path, **kwargs)

    def _post(self, path, body, idempotency_key=None, **kwargs):
        """Send a write, with a new key unless one is named."""
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        headers.update(kwargs.pop("headers", {}))
        return self._call("POST", path, json=body, headers=headers, **kwargs)

    def _receipt(self, quantity=1, **members):
        """Return the body of a receipt."""
        line = {"sku": "REST-1", "quantity": quantity}
        return {"warehouse": self.warehouse.code, "lines": [line], **members}

    def _get_on_hand(self, product=None):
        product = product or self.product
        return product.with_context(warehouse_id=self.warehouse.id).qty_available

    def assertProblem(self, response, status, name=None):
        """Check that a response is a problem, and return it."""
        self.assertEqual(response.status_code, status, response.text)
        self.assertEqual(response.headers["Content-Type"], PROBLEM_TYPE)
        problem = response.json()
        self.assertLessEqual(NEEDED, set(problem))
        self.assertEqual(problem["status"], status)
        self.assertTrue(problem["instance"].startswith(PREFIX), problem)
        expected = f"urn:odoo:stock_event_ledger:problem:{name}" if name else "about:blank"
        self.assertEqual(problem["type"], expected)
        return problem
