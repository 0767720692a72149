import http.client
import json
from urllib.parse import urlsplit

from odoo import Command
from odoo.tests import new_test_user, tagged

from ..integration import OPERATIONS
from ..openapi import PREFIX, openapi_document
from .rest_common import WRONG_BODIES, RestCase

MEBIBYTE = 1024 * 1024


@tagged("post_install", "-at_install")
class TestRest(RestCase):
    """The contract of the REST API, over HTTP."""

    def setUp(self):
        super().setUp()
        self.entry_id = self._get_last_entry_id()

    def assertNothingDone(self):
        self.assertFalse(self._get_new_entries(self.entry_id))

    # --- reads

    def test_availability(self):
        self._receive(self.product, 5)
        code = self.warehouse.code
        response = self._get(f"availability?skus=REST-1&skus=NOPE&warehouses={code}")
        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.headers["Content-Type"], "application/json")
        result = response.json()
        [figures] = result["availability"]
        self.assertEqual((figures["sku"], figures["physical"]), ("REST-1", 5))
        self.assertEqual(result["unknown"], [{"sku": "NOPE"}])
        searched = self._call(
            "POST", "availability/search", json={"skus": ["REST-1", "NOPE"], "warehouses": [code]}
        )
        self.assertEqual(searched.json(), result)
        by_id = self._get(f"availability?product_ids={self.product.id}&warehouses={code}")
        self.assertEqual(by_id.json()["availability"], [figures])

    def test_a_reference_may_have_a_comma_and_any_other_character(self):
        for sku in ("A,B", "C&D=E", "Ä ö/%", "G+H"):
            self.product.default_code = sku
            response = self._get("availability", params={"skus": [sku]})
            self.assertEqual(response.json()["availability"][0]["sku"], sku)

    def test_etag(self):
        path = f"availability?skus=REST-1&warehouses={self.warehouse.code}"
        first = self._get(path)
        etag = first.headers["ETag"]
        self.assertRegex(etag, r'^"[0-9a-f]{32}"$')
        self.assertEqual(first.headers["Cache-Control"], "private, no-cache")
        for known in (etag, f'"other", W/{etag}', "*"):
            same = self._get(path, headers={"If-None-Match": known})
            if known == "*":
                continue
            self.assertEqual((same.status_code, same.text), (304, ""))
            self.assertEqual(same.headers["ETag"], etag)
        self._receive(self.product, 1)
        changed = self._get(path, headers={"If-None-Match": etag})
        self.assertEqual(changed.status_code, 200)
        self.assertNotEqual(changed.headers["ETag"], etag)
        self.assertEqual(changed.json()["availability"][0]["physical"], 1)

    def test_feed_page_by_page(self):
        for quantity in (1, 2, 3):
            self._receive(self.product, quantity)
        self.env.cr.flush()
        path = f"feed?after={self.entry_id}&limit=2&skus=REST-1"
        first = self._get(path)
        self.assertEqual([entry["quantity"] for entry in first.json()["entries"]], [1, 2])
        url = urlsplit(first.links["next"]["url"])
        self.assertEqual(url.path, f"{PREFIX}/feed")
        second = self._get(f"feed?{url.query}")
        self.assertEqual([entry["quantity"] for entry in second.json()["entries"]], [3])
        self.assertFalse(second.links)

    def test_page_sizes_are_limited(self):
        problem = self.assertProblem(self._get("feed?limit=1001"), 422, "invalid-input")
        self.assertEqual(problem["errors"][0]["parameter"], "limit")
        body = {"product_ids": list(range(1, 1002))}
        response = self._call("POST", "availability/search", json=body)
        problem = self.assertProblem(response, 422, "invalid-input")
        self.assertEqual(problem["errors"][0]["pointer"], "#/product_ids")

    def test_wrong_questions(self):
        for query, parameter in (
            ("", None),
            ("skus=", "skus"),
            ("skus=%00", "skus"),
            ("product_ids=one", "product_ids"),
            ("product_ids=1.5", "product_ids"),
            ("product_ids=0", "product_ids"),
            ("product_ids=99999999999999999999999999", "product_ids"),
            ("skus=A&date=tomorrow", "date"),
            ("skus=A&date=2026-01-31&date=2026-02-28", "date"),
            ("skus=A&date=2026-02-30", "date"),
            ("skus=A&colour=red", "colour"),
            ("skus=A&warehouses=NOPE", "warehouses"),
        ):
            with self.subTest(query=query):
                response = self._get(f"availability?{query}")
                problem = self.assertProblem(response, 422, "invalid-input")
                self.assertEqual(problem["errors"][0].get("parameter"), parameter)
        response = self._get("availability?skus=%ff%fe")
        self.assertProblem(response, 400, "malformed-request")

    # --- writes

    def test_a_write_is_done_once(self):
        body = self._receipt(3)
        first = self._post("receipts", body, '"order 1"')
        self.assertEqual(first.status_code, 200)
        self.assertNotIn("Idempotency-Replayed", first.headers)
        self.assertEqual(first.json()["status"], "done")
        # Quoted, as the draft has it, or not.
        again = self._post("receipts", body, "order 1")
        self.assertEqual((again.status_code, again.json()), (200, first.json()))
        self.assertEqual(again.headers["Idempotency-Replayed"], "true")
        self.assertEqual(self._get_on_hand(), 3)
        other = self._post("receipts", self._receipt(4), "order 1")
        problem = self.assertProblem(other, 422, "idempotency-key-reused")
        self.assertNotIn("Idempotency-Replayed", other.headers)
        self.assertIn("key", problem["detail"])
        other_path = self._post("issues", body, "order 1")
        self.assertProblem(other_path, 422, "idempotency-key-reused")
        self.assertEqual(self._get_on_hand(), 3)
        self.assertLedgerBalanced()

    def test_keys_of_partners_are_their_own(self):
        other = new_test_user(self.env, "rest_other", groups="stock_event_ledger.group_integration")
        self.addCleanup(self._forget_bucket, self.env.cr.dbname, other.id)
        self._post("receipts", self._receipt(1), "1")
        response = self._post("receipts", self._receipt(2), "1", key=self._create_key(other))
        self.assertEqual(response.json()["status"], "done")
        self.assertEqual(self._get_on_hand(), 3)

    def test_refused_and_partly_done(self):
        refused = self._post("issues", self._receipt(5), "no stock")
        problem = self.assertProblem(refused, 409, "refused")
        self.assertEqual(problem["lines"][0]["error"]["code"], "not_available")
        self.assertIn(problem["lines"][0]["error"]["message"], problem["detail"])
        self.assertNothingDone()
        self._receive(self.product, 10)
        again = self._post("issues", self._receipt(5), "no stock")
        self.assertEqual(self.assertProblem(again, 409, "refused"), problem)
        self.assertEqual(again.headers["Idempotency-Replayed"], "true")
        body = self._receipt(4)
        body["lines"].append({"sku": "NOPE", "quantity": 1})
        partly = self._post("issues", body)
        self.assertEqual(partly.status_code, 200)
        self.assertEqual(partly.json()["status"], "partial")
        self.assertEqual([line["status"] for line in partly.json()["lines"]], ["done", "refused"])
        self.assertEqual(self._get_on_hand(), 6)
        self.assertLedgerBalanced()

    def test_a_write_needs_a_key(self):
        for key in (None, ""):
            headers = {"Idempotency-Key": key}
            response = self._call("POST", "receipts", json=self._receipt(), headers=headers)
            problem = self.assertProblem(response, 400, "idempotency-key-missing")
            self.assertEqual(problem["errors"][0]["header"], "Idempotency-Key")
        for key in ("k" * 129, "clé".encode("latin-1")):
            response = self._post("receipts", self._receipt(), key)
            problem = self.assertProblem(response, 422, "invalid-input")
            self.assertEqual(problem["errors"][0]["header"], "Idempotency-Key")
        self.assertNothingDone()

    def test_wrong_bodies(self):
        for data, status in WRONG_BODIES:
            with self.subTest(data=data[:60]):
                response = self._call(
                    "POST",
                    "receipts",
                    data=data,
                    headers={"Idempotency-Key": "1", "Content-Type": "application/json"},
                )
                name = {400: "malformed-request", 409: "refused", 422: "invalid-input"}[status]
                problem = self.assertProblem(response, status, name)
                self.assertLess(len(response.content), 5000)
                if status == 422:
                    self.assertTrue(problem["errors"])
                self.env["stock.integration.call"].search([]).sudo().unlink()
        self.assertNothingDone()

    def test_where_the_body_is_wrong(self):
        body = self._receipt(-1, **{"a/b~c": 1})
        body["lines"].append({"quantity": 1})
        problem = self.assertProblem(self._post("receipts", body), 422, "invalid-input")
        pointers = {error["pointer"] for error in problem["errors"]}
        self.assertEqual(pointers, {"#/lines/0/quantity", "#/lines/1", "#/a~1b~0c"})

    def test_content_types(self):
        data = json.dumps(self._receipt())
        for content_type in (
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            None,
        ):
            headers = {"Idempotency-Key": "1", "Content-Type": content_type}
            response = self._call("POST", "receipts", data=data, headers=headers)
            self.assertProblem(response, 415)
            self.assertEqual(response.headers["Accept"], "application/json")
        self.assertNothingDone()
        headers = {"Idempotency-Key": "1", "Content-Type": "application/json; charset=utf-8"}
        response = self._call("POST", "receipts", data=data, headers=headers)
        self.assertEqual(response.status_code, 200)

    def test_large_bodies(self):
        for size, status in ((MEBIBYTE + 1, 413), (5 * MEBIBYTE, 413), (MEBIBYTE, 422)):
            body = json.dumps(self._receipt(origin=""))
            body = body.replace('""', '"' + "x" * (size - len(body)) + '"')
            self.assertEqual(len(body), size)
            for data in (body, iter([body[:1000].encode(), body[1000:].encode()])):
                if status == 422 and data is not body:
                    continue
                headers = {"Idempotency-Key": "1", "Content-Type": "application/json"}
                response = self._call("POST", "receipts", data=data, headers=headers)
                self.assertEqual(response.status_code, status)
        self.assertNothingDone()

    def test_bodies_in_chunks(self):
        data = json.dumps(self._receipt()).encode()
        headers = {"Idempotency-Key": "1", "Content-Type": "application/json"}
        chunks = iter([data[:10], data[10:]])
        response = self._call("POST", "receipts", data=chunks, headers=headers)
        self.assertEqual(response.json()["status"], "done")
        response = self._send_raw(b"zz\r\n")
        self.assertEqual(response.status, 400)

    def _send_raw(self, data):
        """Send what is no chunk."""
        connection = http.client.HTTPConnection(urlsplit(self.base_url()).netloc, timeout=60)
        self.addCleanup(connection.close)
        headers = {
            "Authorization": f"Bearer {self.key}",
            "Idempotency-Key": "2",
            "Content-Type": "application/json",
            "Transfer-Encoding": "chunked",
        }
        self.env.flush_all()
        with self.allow_requests(all_requests=True):
            connection.putrequest("POST", f"{PREFIX}/receipts")
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders(data)
            return connection.getresponse()

    # --- methods and paths

    def test_methods(self):
        for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"):
            response = self._call(method, "availability")
            self.assertProblem(response, 405)
            self.assertEqual(response.headers["Allow"], "GET, HEAD, OPTIONS")
        for method in ("GET", "PUT", "DELETE"):
            response = self._call(method, "receipts")
            self.assertProblem(response, 405)
            self.assertEqual(response.headers["Allow"], "POST, OPTIONS")

    def test_head_and_options(self):
        path = "availability?skus=REST-1"
        head, get = self._call("HEAD", path), self._get(path)
        self.assertEqual((head.status_code, head.content), (200, b""))
        for name in ("ETag", "Content-Type", "Content-Length"):
            self.assertEqual(head.headers[name], get.headers[name])
        options = self._call("OPTIONS", "receipts")
        self.assertEqual((options.status_code, options.content), (204, b""))
        self.assertEqual(options.headers["Allow"], "POST, OPTIONS")

    def test_unknown_paths(self):
        for path in ("", "nothing", "receipts/1", "receipts/search", "availability/x", "%ff"):
            self.assertProblem(self._get(path), 404)
            self.assertProblem(self._call("POST", path, json={}), 404)

    # --- who may

    def test_without_a_valid_key(self):
        for authorization in (
            None,
            "Bearer",
            "Bearer x",
            "Bearer " + "0123456789abcdef" * 3,
            "Basic YWRtaW46YWRtaW4=",
            f"Token {self.key}",
        ):
            for method, path in (("GET", "availability?skus=REST-1"), ("POST", "receipts")):
                headers = {"Authorization": authorization, "Idempotency-Key": "1"}
                response = self._call(method, path, headers=headers)
                self.assertProblem(response, 401)
                self.assertEqual(response.headers["WWW-Authenticate"].lower(), "bearer")
        self.assertNothingDone()

    def test_a_session_is_no_key(self):
        """Or a page of somebody else could have a user's browser send calls."""
        self.authenticate("ledger_user", "ledger_user")
        response = self._get("availability?skus=REST-1", headers={"Authorization": None})
        self.assertProblem(response, 401)

    def test_without_rights(self):
        user = new_test_user(self.env, "rest_nobody", groups="base.group_user")
        self.addCleanup(self._forget_bucket, self.env.cr.dbname, user.id)
        key = self._create_key(user)
        for operation in ("availability?skus=REST-1", "feed"):
            response = self._get(operation, key=key)
            self.assertProblem(response, 403)
            self.assertNotIn("REST-1", response.text)
        for path in ("receipts", "issues", "returns", "adjustments"):
            self.assertProblem(self._post(path, self._receipt(), key=key), 403)
        self.assertNothingDone()

    def test_an_inventory_user_may(self):
        self.addCleanup(self._forget_bucket, self.env.cr.dbname, self.user.id)
        response = self._post("receipts", self._receipt(), key=self._create_key(self.user))
        self.assertEqual(response.json()["status"], "done")

    def test_other_companies_are_invisible(self):
        company = self.env["res.company"].create({"name": "Other"})
        warehouse = self.env["stock.warehouse"].search([("company_id", "=", company.id)])
        product = self._create_product("Theirs", default_code="THEIRS", company_id=company.id)
        user = new_test_user(
            self.env,
            "rest_theirs",
            groups="stock_event_ledger.group_integration",
            company_id=company.id,
            company_ids=[Command.set(company.ids)],
        )
        self.addCleanup(self._forget_bucket, self.env.cr.dbname, user.id)
        their_key = self._create_key(user)
        body = {"warehouse": warehouse.code, "lines": [{"sku": "THEIRS", "quantity": 7}]}
        self.assertEqual(self._post("receipts", body, key=their_key).json()["status"], "done")
        entry_id = self._get_last_entry_id()
        # The other company's partner sees nothing of it, nor can it change anything.
        by_id = self._get(f"availability?product_ids={product.id}").json()
        self.assertEqual(by_id, {"availability": [], "unknown": [{"product_id": product.id}]})
        feed = self._get(f"feed?after={self.entry_id}&limit=1000")
        self.assertNotIn("THEIRS", feed.text)
        for path in ("receipts", "issues", "adjustments"):
            named = {**body, "warehouse_id": warehouse.id}
            del named["warehouse"]
            response = self._post(path, named)
            self.assertIn(response.status_code, (409, 422), response.text)
        self.assertEqual(self._get_last_entry_id(), entry_id)
        theirs = self._get(f"availability?product_ids={product.id}", key=their_key).json()
        self.assertEqual(theirs["availability"][0]["physical"], 7)

    # --- the document

    def test_anybody_gets_the_openapi_document(self):
        response = self._get("openapi.json", headers={"Authorization": None})
        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.headers["Content-Type"], "application/json")
        self.assertEqual(response.headers["Cache-Control"], "public, max-age=3600")
        self.assertEqual(response.json(), json.loads(json.dumps(openapi_document())))
        headers = {"If-None-Match": response.headers["ETag"], "Authorization": None}
        self.assertEqual(self._get("openapi.json", headers=headers).status_code, 304)
        self.assertProblem(self._call("POST", "openapi.json", json={}), 405)

    def test_every_operation_is_served(self):
        for path, item in openapi_document()["paths"].items():
            [method] = item
            response = self._call("OPTIONS", path.removeprefix(f"{PREFIX}/"))
            self.assertIn(method.upper(), response.headers["Allow"])

    def test_an_operation_that_a_module_adds_is_served(self):
        added = OPERATIONS["get_feed"].__class__(
            name="get_more",
            summary="More",
            input=OPERATIONS["get_availability"].input,
            output=OPERATIONS["get_availability"].output,
        )
        self.addCleanup(OPERATIONS.pop, "get_more")
        OPERATIONS["get_more"] = added
        integration = self.env.registry["stock.integration"]
        integration._run_get_more = lambda _model, data: {
            "availability": [],
            "unknown": [{"sku": data.skus[0]}],
        }
        self.addCleanup(delattr, integration, "_run_get_more")
        self.assertEqual(self._get("get_more?skus=A").json()["unknown"], [{"sku": "A"}])
        self.assertIn(f"{PREFIX}/get_more", openapi_document()["paths"])

    # --- what Odoo does wrong

    def test_a_failure_tells_nothing_of_the_server(self):
        def fail(*_args):
            raise RuntimeError("a secret")

        self.patch(self.env.registry["stock.integration"], "_run_receive", fail)
        self.env.flush_all()
        with self.assertLogs("odoo.http", "ERROR"):
            response = self.url_open(
                f"{PREFIX}/receipts",
                method="POST",
                json=self._receipt(),
                headers={"Authorization": f"Bearer {self.key}", "Idempotency-Key": "1"},
            )
        self.assertProblem(response, 500)
        self.assertNotIn("secret", response.text)
        self.assertNotIn("Traceback", response.text)
