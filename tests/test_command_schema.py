import json

from jsonschema import Draft202012Validator

from odoo.tests import HttpCase, TransactionCase, tagged

from ..broker.command_schema import (
    COMMAND_QUEUE,
    command_schema,
    full_asyncapi_document,
    reply_schema,
)
from ..integration import OPERATIONS
from .command_common import CommandCase
from .test_event_schema import LEDGER_TYPES, get_errors

DEFINED = list(OPERATIONS.values())


@tagged("post_install", "-at_install")
class TestCommandSchema(TransactionCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.document = full_asyncapi_document(LEDGER_TYPES, DEFINED)

    def _resolve(self, reference):
        value = self.document
        for name in reference.removeprefix("#/").split("/"):
            value = value[name]
        return value

    def _get_references(self, value):
        if isinstance(value, dict):
            if "$ref" in value:
                yield value["$ref"]
            for item in value.values():
                yield from self._get_references(item)
        elif isinstance(value, list):
            for item in value:
                yield from self._get_references(item)

    def test_each_reference_leads_somewhere(self):
        references = set(self._get_references(self.document))
        self.assertIn("#/components/schemas/receive", references)
        for reference in references:
            self.assertTrue(self._resolve(reference), reference)

    def test_there_is_a_message_of_each_operation(self):
        channel = self.document["channels"]["stockCommands"]
        self.assertEqual(set(channel["messages"]), set(OPERATIONS))
        default = self.env["stock.command.queue"].default_get(["name"])["name"]
        self.assertEqual((channel["address"], default), (COMMAND_QUEUE, COMMAND_QUEUE))

    def test_the_schema_of_commands_is_that_of_the_operations(self):
        schema = command_schema(DEFINED)
        Draft202012Validator.check_schema(schema)
        receive = {**schema, "anyOf": [{"$ref": "#/$defs/receive"}]}
        body = {"warehouse": "WH", "lines": [{"sku": "A", "quantity": 1}]}
        self.assertEqual(get_errors(receive, body), [])
        self.assertTrue(get_errors(receive, {**body, "colour": "red"}))
        self.assertTrue(get_errors(receive, {**body, "lines": []}))

    def test_the_examples_of_replies_are_valid(self):
        Draft202012Validator.check_schema(reply_schema())
        for name in ("command.accepted", "command.rejected"):
            [example] = self.document["components"]["messages"][name]["examples"]
            self.assertEqual(get_errors(reply_schema(), example["payload"]), [])


@tagged("post_install", "-at_install")
class TestSentReplies(CommandCase):
    def test_sent_replies_keep_the_schema(self):
        self.bind("command.#")
        self.send()
        self.send({"skus": [self.sku]}, "get_availability")
        self.send(self.get_body(lines=[]))
        self.send(self.get_body(lines=[{"sku": "nothing", "quantity": 1}]))
        self.publish(b"nonsense")
        self.take_in()
        replies = self.receive_replies()
        self.assertEqual(len(replies), 5)
        for _properties, body in replies:
            self.assertEqual(get_errors(reply_schema(), body), [], body)


@tagged("post_install", "-at_install")
class TestCommandSchemaRoutes(HttpCase):
    def test_anybody_gets_the_schemas(self):
        for name, expected in (
            ("command", command_schema(DEFINED)),
            ("command-reply", reply_schema()),
        ):
            response = self.url_open(f"/stock_event_ledger/schemas/{name}.v1.json")
            self.assertEqual(response.status_code, 200)
            self.assertEqual(response.json(), json.loads(json.dumps(expected)))
