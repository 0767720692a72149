import json

from odoo.tests import BaseCase, tagged

from ..integration import (
    MOST_LINES,
    OPERATIONS,
    InvalidBody,
    check_input,
    check_key,
    get_known_part,
    get_schema,
)

LINE = {"sku": "A", "quantity": 1}
# For each wrong line the member that is to be named, after "lines[0]".
WRONG_LINES = [
    (None, ""),
    ("A", ""),
    ([], ""),
    ({}, ".quantity"),
    ({"quantity": 1}, ""),
    ({"sku": "A"}, ".quantity"),
    ({"sku": "A", "barcode": "B", "quantity": 1}, ""),
    ({"sku": "", "quantity": 1}, ".sku"),
    ({"sku": 5, "quantity": 1}, ".sku"),
    ({"sku": "A\x00", "quantity": 1}, ".sku"),
    ({"sku": "A\nB", "quantity": 1}, ".sku"),
    ({"sku": "\ud800", "quantity": 1}, ".sku"),
    ({"sku": "A" * 257, "quantity": 1}, ".sku"),
    ({"product_id": "1", "quantity": 1}, ".product_id"),
    ({"product_id": True, "quantity": 1}, ".product_id"),
    ({"product_id": 1.0, "quantity": 1}, ".product_id"),
    ({"product_id": 0, "quantity": 1}, ".product_id"),
    ({"product_id": 2**31, "quantity": 1}, ".product_id"),
    ({"product_id": 10**400, "quantity": 1}, ".product_id"),
    ({**LINE, "quantity": "1"}, ".quantity"),
    ({**LINE, "quantity": True}, ".quantity"),
    ({**LINE, "quantity": None}, ".quantity"),
    ({**LINE, "quantity": 0}, ".quantity"),
    ({**LINE, "quantity": -1}, ".quantity"),
    ({**LINE, "quantity": 1e10}, ".quantity"),
    ({**LINE, "quantity": 10**400}, ".quantity"),
    ({**LINE, "quantity": float("nan")}, ".quantity"),
    ({**LINE, "quantity": float("inf")}, ".quantity"),
    ({**LINE, "lot": ""}, ".lot"),
    ({**LINE, "lot": ["L"]}, ".lot"),
    ({**LINE, "qty": 1}, ".qty"),
    ({**LINE, "a\x00b": 1}, ".'a\\x00b'"),
]
WRONG_BODIES = [
    (None, "body"),
    ("x", "body"),
    ([], "body"),
    ({"lines": [LINE]}, "body"),
    ({"warehouse": "WH"}, "lines"),
    ({"warehouse": "WH", "lines": LINE}, "lines"),
    ({"warehouse": "WH", "lines": []}, "lines"),
    ({"warehouse": "WH", "lines": [LINE] * (MOST_LINES + 1)}, "lines"),
    ({"warehouse": "WH", "warehouse_id": 1, "lines": [LINE]}, "body"),
    ({"warehouse": "WH", "location": "A", "location_id": 1, "lines": [LINE]}, "body"),
    ({"warehouse": 7, "lines": [LINE]}, "warehouse"),
    ({"warehouse": "WH", "lines": [LINE], "origin": 1}, "origin"),
    ({"warehouse": "WH", "lines": [LINE], "colour": "red"}, "colour"),
]


@tagged("post_install", "-at_install")
class TestIntegrationInput(BaseCase):
    """What bodies have to be like, before Odoo is asked for anything."""

    def assertProblem(self, operation, body, member):
        with self.assertRaises(InvalidBody) as caught:
            check_input(OPERATIONS[operation], body)
        members = [problem["member"] for problem in caught.exception.problems]
        self.assertIn(member, members)
        self.assertTrue(all(problem["message"] for problem in caught.exception.problems))

    def test_right_bodies(self):
        data = check_input(OPERATIONS["receive"], {"warehouse": "WH", "lines": [LINE]})
        self.assertEqual((data.lines[0].sku, data.lines[0].quantity), ("A", 1.0))
        check_input(OPERATIONS["receive"], {"warehouse_id": 1, "lines": [LINE] * MOST_LINES})

    def test_wrong_lines_name_the_member(self):
        for line, member in WRONG_LINES:
            with self.subTest(line=line):
                body = {"warehouse": "WH", "lines": [line]}
                self.assertProblem("receive", body, f"lines[0]{member}")

    def test_wrong_bodies_name_the_member(self):
        for body, member in WRONG_BODIES:
            with self.subTest(body=body):
                self.assertProblem("issue", body, member)

    def test_a_transfer_has_two_ends(self):
        ends = {"from_warehouse": "A", "to_warehouse_id": 2}
        check_input(OPERATIONS["transfer"], {**ends, "lines": [LINE]})
        self.assertProblem("transfer", {"from_warehouse": "A", "lines": [LINE]}, "body")

    def test_an_adjustment_sets_or_changes(self):
        def check(*lines):
            return check_input(OPERATIONS["adjust"], {"warehouse": "WH", "lines": [*lines]})

        check({"sku": "A", "quantity": 0}, {"sku": "A", "change": -1, "expected_quantity": -2})
        for line in (
            {"sku": "A"},
            {"sku": "A", "quantity": 1, "change": 1},
            {"sku": "A", "change": 0},
        ):
            with self.subTest(line=line), self.assertRaises(InvalidBody):
                check(line)

    def test_dates(self):
        def get_date(value):
            body = {"skus": ["A"], "date": value}
            return str(check_input(OPERATIONS["get_availability"], body).date)

        self.assertEqual(get_date("2031-05-06"), "2031-05-06 23:59:59")
        self.assertEqual(get_date("2031-05-06T08:00:00Z"), "2031-05-06 08:00:00")
        self.assertEqual(get_date("2031-05-06T08:00:00+02:00"), "2031-05-06 06:00:00")
        for value in ("soon", "2031-02-30", "9999-12-31T23:59:59-12:00", 5, True, "0001", ""):
            with self.subTest(value=value):
                self.assertProblem("get_availability", {"skus": ["A"], "date": value}, "date")

    def test_how_much_may_be_asked_for(self):
        self.assertProblem("get_availability", {}, "body")
        self.assertProblem("get_availability", {"skus": []}, "body")
        body = {"skus": ["A"] * 600, "barcodes": ["A"] * 401}
        self.assertProblem("get_availability", body, "body")
        for name, value in (("limit", 0), ("limit", 1001), ("after", -1), ("after", "1")):
            self.assertProblem("get_feed", {name: value}, name)

    def test_keys(self):
        self.assertEqual(check_key("k" * 128), "k" * 128)
        for key in (None, "", 5, "k" * 129, "a\x00", "a\nb"):
            with self.subTest(key=key), self.assertRaises(InvalidBody) as caught:
                check_key(key)
            self.assertEqual(caught.exception.problems[0]["member"], "idempotency_key")

    def test_many_problems_are_not_all_told(self):
        with self.assertRaises(InvalidBody) as caught:
            check_input(OPERATIONS["issue"], {f"member_{n}": n for n in range(1000)})
        self.assertLessEqual(len(caught.exception.problems), 20)

    def test_each_operation_has_schemas(self):
        for operation in OPERATIONS.values():
            with self.subTest(operation=operation.name):
                schema = get_schema(operation)
                self.assertFalse(schema["additionalProperties"])
                json.dumps(schema)
                json.dumps(operation.output.model_json_schema(mode="serialization"))
                self.assertTrue(operation.summary)

    def test_what_is_kept_of_a_wrong_body(self):
        nested = []
        for _depth in range(10_000):
            nested = [nested]
        for body in (None, "x", {"lines": nested}, {"lines": {"lines": b"x"}}, {1: 2}):
            json.dumps(get_known_part(OPERATIONS["issue"], body))
        body = {"warehouse": "WH", "password": "x", "lines": [{"sku": "A", "token": "x"}]}
        self.assertEqual(
            get_known_part(OPERATIONS["issue"], body), {"warehouse": "WH", "lines": [{"sku": "A"}]}
        )
