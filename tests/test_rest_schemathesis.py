import uuid

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from odoo.tests import tagged

from ..openapi import openapi_document
from .rest_common import TIMEOUT_SECONDS, RestCase

CHECKS = [
    schemathesis.checks.not_a_server_error,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
# Longer ones are refused by the HTTP server, without asking Odoo.
MOST_URL = 60_000
# The same ones each time, and as many as a test run can wait for.
SETTINGS = settings(
    max_examples=5,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@tagged("post_install", "-at_install")
class TestRestSchemathesis(RestCase):
    """What Schemathesis makes of the OpenAPI document, sent to the server."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls._receive(cls.product, 1000)
        cls.document = openapi_document()
        cls.schema = schemathesis.openapi.from_dict(cls.document)

    def test_right_input(self):
        self._send_all(GenerationMode.POSITIVE)

    def test_wrong_input(self):
        self._send_all(GenerationMode.NEGATIVE)

    def _send_all(self, mode):
        before = self._get_last_entry_id()
        for result in self.schema.get_all_operations():
            operation = result.ok()
            with self.subTest(operation=operation.label):

                @SETTINGS
                @given(case=operation.as_strategy(generation_mode=mode))
                def send(case):
                    self._send(case)
                    if mode is GenerationMode.POSITIVE:
                        # What it makes up is nothing that there is.
                        self._name_real(case)
                        self._send(case)

                send()
        if mode is GenerationMode.NEGATIVE:
            self.assertEqual(self._get_last_entry_id(), before)
        self.assertLedgerBalanced()

    def _send(self, case):
        url = requests.Request(**case.as_transport_kwargs(base_url=self.base_url())).prepare().url
        if len(url) > MOST_URL:
            return
        headers = {"Authorization": f"Bearer {self.key}"}
        response = case.call(
            base_url=self.base_url(),
            session=self.opener,
            headers=headers,
            timeout=TIMEOUT_SECONDS,
        )
        self.assertNotIn("Traceback", response.text)
        case.validate_response(response, checks=CHECKS, headers=headers)

    def _name_real(self, case):
        """Name a product and warehouses that there are, in a call of its own."""
        if "Idempotency-Key" in case.headers:
            case.headers["Idempotency-Key"] = str(uuid.uuid4())
        members = case.body if isinstance(case.body, dict) else case.query
        for name in [name for name in members if name.endswith("_ids") or "ware" in name]:
            del members[name]
        if "lines" not in members:
            members.pop("barcodes", None)
            members["skus"] = ["REST-1"]
            return
        for name in [name for name in members if "location" in name]:
            del members[name]
        members["warehouse"] = self.warehouse.code
        if case.path.endswith("/transfers"):
            members["from_warehouse"] = members.pop("warehouse")
            members["to_warehouse"] = self.other_warehouse.code
        for line in members["lines"]:
            for name in ("barcode", "product_id", "lot"):
                line.pop(name, None)
            line["sku"] = "REST-1"
            line["quantity"] = 1
            line.pop("change", None)
