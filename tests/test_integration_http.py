import json
import xmlrpc.client

from odoo.tests import HttpCase, tagged
from odoo.tools import mute_logger

from .integration_common import IntegrationCase, create_key
from .test_integration_input import WRONG_BODIES, WRONG_LINES


@tagged("post_install", "-at_install")
class TestIntegrationHttp(HttpCase, IntegrationCase):
    """The same methods, as XML-RPC and JSON-2 call them, with an API key."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = create_key(cls.env, cls.partner_user)

    def _call_json2(self, method, body, key=None):
        return self.url_open(
            f"/json/2/stock.integration/{method}",
            data=json.dumps(body),
            headers={
                "Authorization": f"bearer {self.key if key is None else key}",
                "Content-Type": "application/json",
            },
            timeout=60,
        )

    def _call_xmlrpc(self, method, *args, **kwargs):
        return self.xmlrpc_object.execute_kw(
            self.env.cr.dbname,
            self.partner_user.id,
            self.key,
            "stock.integration",
            method,
            list(args),
            kwargs,
        )

    def test_json2(self):
        body = {
            "idempotency_key": "j1",
            "warehouse": self.code,
            "lines": [{"sku": "PLAIN", "quantity": 5}, {"sku": "NO", "quantity": 1}],
        }
        answer = self._call_json2("receive", body)
        self.assertEqual((answer.status_code, answer.json()["status"]), (200, "partial"))
        self.assertEqual(self._call_json2("receive", body).json(), answer.json())
        self.assertEqual(self._get_on_hand(self.product), 5)
        question = {"skus": ["PLAIN"], "warehouses": [self.code]}
        [row] = self._call_json2("get_availability", question).json()["availability"]
        self.assertEqual((row["physical"], row["available"]), (5, 5))
        page = self._call_json2("get_feed", {"skus": ["PLAIN"], "limit": 1000}).json()
        self.assertEqual(page["entries"][-1]["origin"], "receive j1")

    def test_xmlrpc(self):
        lines = [{"sku": "PLAIN", "quantity": 5}, {"sku": "LOT", "quantity": 1}]
        result = self._call_xmlrpc("receive", "x1", lines, warehouse=self.code)
        self.assertEqual(result["status"], "partial")
        self.assertEqual(result["lines"][1]["error"]["code"], "lot_required")
        self.assertEqual(
            self._call_xmlrpc("receive", idempotency_key="x1", lines=lines, warehouse=self.code),
            result,
        )
        answer = self._call_xmlrpc("get_availability", ["PLAIN", "NO"], warehouses=[self.code])
        self.assertEqual(answer["availability"][0]["physical"], 5)
        self.assertEqual(answer["unknown"], [{"sku": "NO"}])
        page = self._call_xmlrpc("get_feed", skus=["PLAIN"])
        self.assertEqual(page["entries"][-1]["quantity"], 5)
        self._call_xmlrpc("issue", "x2", [{"sku": "PLAIN", "quantity": 2}], warehouse=self.code)
        result = self._call_xmlrpc(
            "adjust", "x3", [{"sku": "PLAIN", "quantity": 9}], warehouse=self.code, reason="Found"
        )
        self.assertEqual(result["lines"][0]["on_hand"], 9)

    @mute_logger("odoo.http")
    def test_wrong_input_over_json2(self):
        def is_sendable(value):
            return "NaN" not in json.dumps(value) and "Infinity" not in json.dumps(value)

        bodies = [{"warehouse": self.code, "lines": [line]} for line, _member in WRONG_LINES]
        bodies += [body for body, _member in WRONG_BODIES if isinstance(body, dict)]
        for body in filter(is_sendable, bodies):
            with self.subTest(body=body):
                answer = self._call_json2("receive", {"idempotency_key": "k", **body})
                self.assertEqual(answer.status_code, 422, answer.text)
                self.assertIn("InvalidInput", answer.json()["name"])
        self.assertEqual(self._get_on_hand(self.product), 0)
        self.assertFalse(self._get_calls(state="done"))

    @mute_logger("odoo.http")
    def test_statuses_over_json2(self):
        line = {"sku": "PLAIN", "quantity": 1}
        body = {"idempotency_key": "s", "warehouse": self.code, "lines": [line]}
        self.assertEqual(self._call_json2("receive", body).status_code, 200)
        conflict = self._call_json2("receive", {**body, "origin": "other"})
        self.assertEqual(conflict.status_code, 409)
        self.assertEqual(self._call_json2("receive", body, key="wrong").status_code, 401)
        self.assertEqual(self._call_json2("_run_receive", body).status_code, 403)
        self.assertEqual(self._call_json2("_execute", body).status_code, 403)
        self.partner_user.group_ids = self.env.ref("base.group_user")
        self.assertEqual(self._call_json2("receive", body).status_code, 403)
        self.assertEqual(self._call_json2("get_feed", {}).status_code, 403)

    @mute_logger("odoo.http")
    def test_wrong_input_over_xmlrpc(self):
        for options in (
            {},
            {"lines": "x"},
            {"lines": [{"sku": "PLAIN", "quantity": "1"}]},
            {"lines": [{"sku": "PLAIN", "quantity": 1}], "colour": "red"},
            {"lines": [{"sku": "PLAIN", "quantity": 1}], "warehouse_id": "1"},
        ):
            with (
                self.subTest(options=options),
                self.assertRaises(xmlrpc.client.Fault) as caught,
            ):
                self._call_xmlrpc("receive", "wrong", warehouse=self.code, **options)
            self.assertEqual(caught.exception.faultCode, 2)
            self.assertNotIn("Traceback", caught.exception.faultString)
        self.assertEqual(self._get_on_hand(self.product), 0)
