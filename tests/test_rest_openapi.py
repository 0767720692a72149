from jsonschema import Draft202012Validator

from odoo.tests import BaseCase, tagged
from odoo.tools import file_open

from ..integration import OPERATIONS
from ..openapi import FILE, PREFIX, get_routes, openapi_document, openapi_file


@tagged("post_install", "-at_install")
class TestRestOpenapi(BaseCase):
    """The OpenAPI document by itself."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.document = openapi_document()

    def _walk(self, value):
        """Yield all objects in a part of the document."""
        if isinstance(value, dict):
            yield value
            value = value.values()
        if not isinstance(value, str | int | float | bool | None):
            for item in value:
                yield from self._walk(item)

    def test_the_copy_in_the_repository_is_up_to_date(self):
        with file_open(f"stock_event_ledger/schemas/{FILE}") as file:
            self.assertEqual(file.read(), openapi_file(), "run make schemas")

    def test_references(self):
        for part in self._walk(self.document):
            if "$ref" in part:
                target = self.document
                for name in part["$ref"].removeprefix("#/").split("/"):
                    target = target[name]

    def test_schemas_are_schemas(self):
        for schema in self.document["components"]["schemas"].values():
            Draft202012Validator.check_schema(schema)
        for part in self._walk(self.document["paths"]):
            if "schema" in part:
                Draft202012Validator.check_schema(part["schema"])

    def test_every_operation_has_a_path(self):
        routes = get_routes()
        self.assertEqual({route.operation.name for route in routes}, set(OPERATIONS))
        self.assertEqual(len({route.path for route in routes}), len(routes))
        self.assertEqual(
            {f"{PREFIX}/{route.path}" for route in routes}, set(self.document["paths"])
        )
        for item in self.document["paths"].values():
            [operation] = item.values()
            self.assertTrue(operation["summary"])
        names = [
            operation["operationId"]
            for item in self.document["paths"].values()
            for operation in item.values()
        ]
        self.assertEqual(len(names), len(set(names)))

    def test_a_write_needs_a_key(self):
        for route in get_routes():
            item = self.document["paths"][f"{PREFIX}/{route.path}"]
            [(method, operation)] = item.items()
            needed = [
                parameter["name"]
                for parameter in operation.get("parameters", ())
                if parameter.get("required") and parameter["in"] == "header"
            ]
            expected = ["Idempotency-Key"] if route.operation.writes else []
            self.assertEqual(needed, expected, route.path)
            self.assertEqual(method == "post", "requestBody" in operation)
            for status, response in operation["responses"].items():
                if status not in ("200", "304"):
                    self.assertTrue(response["$ref"].startswith("#/components/responses/"))
