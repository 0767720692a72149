import json

from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker

from odoo import Command
from odoo.tests import HttpCase, TransactionCase, tagged
from odoo.tools import file_open

from ..broker import Envelope
from ..broker.command_schema import full_asyncapi_document, schema_files
from ..broker.envelope import DATA_SCHEMA
from ..broker.example import SUMMARIES, example_event
from ..broker.schema import asyncapi_document, event_schema, headers_schema
from ..integration import OPERATIONS as DEFINED
from ..models.stock_ledger_entry import EVENT_TYPES
from .event_common import EventCase

OPERATIONS = list(DEFINED.values())
LEDGER_TYPES = [value for value, _label in EVENT_TYPES]
ALL_TYPES = [*LEDGER_TYPES, "GAP"]


def get_errors(schema, value, cls=Draft202012Validator):
    """Return where a value breaks a schema, as text."""
    validator = cls(schema, format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


@tagged("post_install", "-at_install")
class TestEventSchema(TransactionCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.schema = event_schema(LEDGER_TYPES)

    def assertValid(self, event):
        self.assertEqual(get_errors(self.schema, event), [])

    def assertRefused(self, event):
        self.assertTrue(get_errors(self.schema, event), event)

    def test_the_copies_in_the_repository_are_up_to_date(self):
        files = schema_files(LEDGER_TYPES, OPERATIONS)
        self.assertEqual(len(files), 4)
        for name, text in files.items():
            with file_open(f"stock_event_ledger/schemas/{name}") as file:
                self.assertEqual(file.read(), text, f"{name}: run make schemas")

    def test_the_schema_is_a_schema(self):
        Draft202012Validator.check_schema(self.schema)
        # AsyncAPI's own schemas are draft 07 and a little more.
        Draft7Validator.check_schema(asyncapi_document(LEDGER_TYPES)["components"]["schemas"])
        self.assertEqual(self.schema["$id"], DATA_SCHEMA)
        for name, field in self.schema["properties"].items():
            self.assertTrue(field["description"].endswith("."), name)

    def test_every_event_type_has_a_valid_example(self):
        self.assertEqual(self.schema["properties"]["event_type"]["enum"], ALL_TYPES)
        for event_type in ALL_TYPES:
            with self.subTest(event_type=event_type):
                self.assertValid(example_event(event_type))
        self.assertRefused(example_event("THEFT"))

    def test_every_field_is_checked(self):
        for name in self.schema["required"]:
            with self.subTest(field=name):
                self.assertRefused({**example_event("SALE"), name: {}})
                event = example_event("SALE")
                del event[name]
                self.assertRefused(event)

    def test_which_fields_may_be_null(self):
        nullable = {
            name
            for name in self.schema["required"]
            if not get_errors(self.schema, {**example_event("SALE"), name: None})
        }
        self.assertEqual(
            nullable,
            {
                *("sku", "warehouse_id", "warehouse_code", "uom", "lot", "package", "owner_id"),
                *("company_id", "user_id", "correlation_id", "causation_id"),
                "corrects_event_id",
            },
        )

    def test_later_changes_may_add_fields(self):
        self.assertValid({**example_event("SALE"), "colour": "red"})

    def test_gap(self):
        gap = example_event("GAP")
        nothing = {"location_id": None, "effective_at": None, "user_id": None}
        self.assertValid({**gap, **nothing})
        self.assertRefused({**gap, "lot": "L1"})
        self.assertRefused({**gap, "reference": example_event("SALE")["reference"]})
        for name in ("skipped_event_id", "skipped_event_type"):
            self.assertRefused({key: value for key, value in gap.items() if key != name})
            self.assertRefused({**example_event("SALE"), name: gap[name]})
        for name in nothing:
            if name != "user_id":
                self.assertRefused({**example_event("SALE"), name: None})

    def test_only_a_replay_may_lack_its_number(self):
        figures = ("sequence", "on_hand_after", "reserved_after", "available_after")
        unnumbered = {**example_event("SALE"), **dict.fromkeys(figures)}
        self.assertRefused(unnumbered)
        self.assertValid({**unnumbered, "replay": True})
        self.assertRefused({**unnumbered, "replay": True, "sequence": 1})
        self.assertRefused({**unnumbered, "replay": True, "on_hand_after": 1.0})
        self.assertValid({**example_event("SALE"), "replay": True})


@tagged("post_install", "-at_install")
class TestAsyncapi(TransactionCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.document = asyncapi_document(LEDGER_TYPES)

    def _resolve(self, value):
        """Return a part of the document without references."""
        if isinstance(value, list):
            return [self._resolve(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "$ref" not in value:
            return {key: self._resolve(item) for key, item in value.items()}
        target = self.document
        for name in value["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        return self._resolve(target)

    def test_references(self):
        # A broken one raises.
        document = self._resolve(self.document)
        operation = document["operations"]["publishStockEvent"]
        channel = document["channels"]["stockEvents"]
        self.assertEqual(operation["channel"], channel)
        self.assertEqual([message["name"] for message in operation["messages"]], ALL_TYPES)
        self.assertEqual(list(channel["messages"]), ALL_TYPES)

    def test_the_channel_is_what_is_published_to(self):
        channel = self.document["channels"]["stockEvents"]
        exchange = channel["bindings"]["amqp"]["exchange"]
        model = self.env["stock.event.channel"]
        self.assertEqual(exchange["name"], model.default_get(["exchange"])["exchange"])
        self.assertEqual(exchange["type"], "topic")
        parameters = channel["parameters"]
        for event_type in ALL_TYPES:
            message = Envelope("database").build_message(1, example_event(event_type))
            stock, event_word, warehouse = message.routing_key.split(".")
            self.assertEqual(stock, channel["address"].split(".")[0])
            self.assertIn(event_word, parameters["event_type"]["enum"])
            self.assertIn(warehouse, parameters["warehouse"]["examples"])
        for name in parameters:
            self.assertIn(f"{{{name}}}", channel["address"])

    def test_examples_are_valid_for_their_message_alone(self):
        messages = self._resolve(self.document["components"]["messages"])
        for name, message in messages.items():
            [example] = message["examples"]
            for part in ("headers", "payload"):
                valid_for = [
                    other
                    for other in messages
                    if not get_errors(messages[other][part], example[part], Draft7Validator)
                ]
                self.assertEqual(valid_for, [name])

    def test_headers(self):
        schema = headers_schema()
        headers = Envelope("database").build_message(1, example_event("SALE")).properties.headers
        self.assertEqual(get_errors(schema, headers), [])
        for name in headers:
            with self.subTest(header=name):
                self.assertTrue(get_errors(schema, {**headers, name: 1}))
                rest = {key: value for key, value in headers.items() if key != name}
                optional = name == "cloudEvents_sequence"
                self.assertEqual(get_errors(schema, rest) == [], optional)


@tagged("post_install", "-at_install")
class TestPublishedEvents(EventCase):
    """The schemas against what a real broker delivers of real movements."""

    def setUp(self):
        super().setUp()
        self.bind()

    def test_published_events_keep_the_schemas(self):
        with self.committing() as env:
            product_id = self._move_everything(env).id
        # Each in a transaction of its own: together they would be no change of stock.
        with self.committing() as env:
            move_id = self._reserve(env, product_id).id
        with self.committing() as env:
            env["stock.move"].browse(move_id)._do_unreserve()
        self.relay()
        messages = self.receive()
        for properties, event in messages:
            with self.subTest(event=event):
                self.assertEqual(get_errors(event_schema(LEDGER_TYPES), event), [])
                self.assertEqual(get_errors(headers_schema(), properties.headers), [])
        events = [event for _properties, event in messages]
        # A movement makes no OPENING, the addon's installation does; reconciliation and
        # thresholds make the others, and a person a GAP.
        others = {"OPENING", "CORRECTION", *SUMMARIES}
        expected = set(LEDGER_TYPES) - others
        self.assertEqual({event["event_type"] for event in events}, expected)
        for name in ("lot", "package", "owner_id", "corrects_event_id"):
            self.assertEqual({event[name] is None for event in events}, {True, False}, name)
        in_transit = [event for event in events if event["warehouse_id"] is None]
        self.assertEqual({event["event_type"] for event in in_transit}, {"TRANSFER_OUT"})

    def _move_everything(self, env):
        """Make a movement of each kind, and return the product of most of them."""
        self.get_channel(env).active = True
        warehouse = env["stock.warehouse"].browse(self.warehouse_id)
        other = env["stock.warehouse"].create({"name": "Other", "code": "OTH"})
        stock = warehouse.lot_stock_id
        shelf = env["stock.location"].create({"name": "Shelf", "location_id": stock.id})
        transit = env["stock.location"].create({"name": "Road", "usage": "transit"})
        suppliers = env.ref("stock.stock_location_suppliers")
        customers = env.ref("stock.stock_location_customers")
        product = self._create_product(env, "none")
        production = product.property_stock_production
        receipt = self._move(env, product, suppliers, stock, 50)
        for source, destination in (
            (stock, customers),
            (customers, stock),
            (stock, suppliers),
            (stock, shelf),
            (stock, other.lot_stock_id),
            (stock, transit),
            (stock, production),
            (production, stock),
        ):
            self._move(env, product, source, destination, 2)
        self._move_lots(env, suppliers, stock, customers)
        scrap = env["stock.scrap"].create({"product_id": product.id, "location_id": stock.id})
        scrap.action_validate()
        env["stock.quant"].with_context(inventory_mode=True).create(
            {"product_id": product.id, "location_id": shelf.id, "inventory_quantity": 9}
        ).action_apply_inventory()
        # Written first: what is still in the buffer needs no correction.
        env.cr.flush()
        receipt.date = "2026-01-01 00:00:00"
        return product

    def _reserve(self, env, product_id):
        stock = env["stock.warehouse"].browse(self.warehouse_id).lot_stock_id
        customers = env.ref("stock.stock_location_customers")
        product = env["product.product"].browse(product_id)
        move = self._create_move(env, product, stock, customers, 1)
        move._action_confirm()
        move._action_assign()
        return move

    def _move_lots(self, env, suppliers, stock, customers):
        """Move lots and serial numbers, in a package and of an owner."""
        for tracking in ("lot", "serial"):
            product = self._create_product(env, tracking)
            lot = env["stock.lot"].create({"product_id": product.id, "name": "Ä 1"})
            owner = env["res.partner"].create({"name": "Owner"})
            package = env["stock.package"].create({"name": f"PACK {tracking}"})
            vals = {"lot_id": lot.id, "owner_id": owner.id}
            self._move(env, product, suppliers, stock, 1, result_package_id=package.id, **vals)
            self._move(env, product, stock, customers, 1, package_id=package.id, **vals)

    def _create_product(self, env, tracking):
        return env["product.product"].create(
            {"name": "Thing", "is_storable": True, "tracking": tracking, "default_code": tracking}
        )

    def _create_move(self, env, product, source, destination, quantity):
        return env["stock.move"].create(
            {
                "product_id": product.id,
                "product_uom_qty": quantity,
                "product_uom": product.uom_id.id,
                "location_id": source.id,
                "location_dest_id": destination.id,
                "origin": "S00042",
            }
        )

    def _move(self, env, product, source, destination, quantity, **line_vals):
        move = self._create_move(env, product, source, destination, quantity)
        move._action_confirm()
        line_vals = {
            "product_id": product.id,
            "quantity": quantity,
            "location_id": source.id,
            "location_dest_id": destination.id,
            **line_vals,
        }
        move.move_line_ids = [Command.clear(), Command.create(line_vals)]
        move.picked = True
        move._action_done()
        return move


@tagged("post_install", "-at_install")
class TestSchemaRoutes(HttpCase):
    def _get(self, path, content_type):
        response = self.url_open(f"/stock_event_ledger/{path}")
        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.headers["Content-Type"], content_type)
        self.assertEqual(response.headers["Cache-Control"], "public, max-age=3600")
        self.assertNotIn("Set-Cookie", response.headers)
        return response.json()

    def test_anybody_gets_the_schema(self):
        schema = self._get("schemas/event.v1.json", "application/schema+json")
        self.assertEqual(schema, event_schema(LEDGER_TYPES))

    def test_anybody_gets_the_asyncapi_document(self):
        document = self._get("asyncapi.json", "application/json")
        expected = full_asyncapi_document(LEDGER_TYPES, OPERATIONS)
        self.assertEqual(document, json.loads(json.dumps(expected)))

    def test_nobody_writes_them(self):
        response = self.url_open("/stock_event_ledger/asyncapi.json", data={"a": "b"})
        self.assertEqual(response.status_code, 405)

    def test_event_types_of_other_modules_are_listed(self):
        field = self.env["stock.ledger.entry"]._fields["event_type"]
        self.patch(field, "selection", [*field.selection, ("SUBCONTRACT", "Subcontract")])
        schema = self._get("schemas/event.v1.json", "application/schema+json")
        self.assertIn("SUBCONTRACT", schema["properties"]["event_type"]["enum"])
