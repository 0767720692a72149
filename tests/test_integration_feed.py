from ..exceptions import InvalidInput
from ..integration import OPERATIONS
from .integration_common import IntegrationCase


class TestIntegrationFeed(IntegrationCase):
    """Pages of the ledger. Sessions that overtake each other are tested elsewhere."""

    def setUp(self):
        super().setUp()
        self.start = self._get_last_entry_id()

    def _read(self, after=None, **question):
        with self.enter_registry_test_mode():
            page = self.service.get_feed(after=self.start if after is None else after, **question)
        OPERATIONS["get_feed"].output.model_validate(page)
        return page

    def test_pages(self):
        for number in range(5):
            self._call("receive", {"sku": "PLAIN", "quantity": number + 1})
        after, quantities, sizes = self.start, [], []
        while True:
            page = self._read(after, limit=2)
            sizes.append(len(page["entries"]))
            quantities += [entry["quantity"] for entry in page["entries"]]
            after = page["next_after"]
            if not page["has_more"]:
                break
        self.assertEqual((quantities, sizes), ([1, 2, 3, 4, 5], [2, 2, 1]))
        self.assertEqual(self._read(after)["entries"], [])
        far = self._read(after + 1000)
        self.assertEqual(far, {"entries": [], "next_after": after + 1000, "has_more": False})

    def test_an_entry(self):
        result = self._call("receive", {"sku": "LOT", "quantity": 2, "lot": "L1"}, origin="PO 7")
        [entry] = self._read()["entries"]
        row = self._get_new_entries(self.start).filtered(
            lambda entry: entry.location_id.usage == "internal"
        )
        self.assertEqual(entry["entry_id"], row.id)
        self.assertEqual(entry["effective_at"], row.effective_date.isoformat()[:19] + "Z")
        expected = {
            "event_type": "RECEIPT",
            "sku": "LOT",
            "lot": "L1",
            "quantity": 2.0,
            "reserved_quantity": 0.0,
            "warehouse": self.code,
            "location_id": self.stock.id,
            "company_id": self.warehouse.company_id.id,
            "origin": "PO 7",
            "transfer_id": result["transfers"][0]["id"],
            "reference": result["transfers"][0]["name"],
            "user_id": self.partner_user.id,
        }
        self.assertEqual({name: entry[name] for name in expected}, expected)
        self.assertNotIn("package", entry)

    def test_filters(self):
        self._call(
            "receive", {"sku": "PLAIN", "quantity": 2}, {"sku": "LOT", "quantity": 1, "lot": "L"}
        )
        self._call("receive", {"sku": "PLAIN", "quantity": 3}, warehouse_id=self.other_warehouse.id)
        self._call("issue", {"sku": "PLAIN", "quantity": 1})

        def get_quantities(**question):
            page = self._read(**question)
            # Whatever was left out is not asked for again.
            self.assertEqual(page["next_after"], self._get_last_entry_id())
            return [entry["quantity"] for entry in page["entries"] if entry["quantity"]]

        self.assertEqual(get_quantities(), [2, 1, 3, -1])
        self.assertEqual(get_quantities(skus=["LOT", "NO"]), [1])
        self.assertEqual(get_quantities(skus=[]), [])
        self.assertEqual(get_quantities(warehouses=[self.other_warehouse.code]), [3])
        self.assertEqual(get_quantities(warehouse_ids=self.warehouse.ids), [2, 1, -1])
        self.assertEqual(get_quantities(event_types=["SALE"]), [-1])
        self.assertEqual(get_quantities(event_types=["SALE"], skus=["LOT"]), [])

    def test_wrong_questions(self):
        for question, member in (
            ({"event_types": ["SALE", "SALES"]}, "event_types[1]"),
            ({"event_types": ["sale"]}, "event_types[0]"),
            ({"warehouses": ["NO"]}, "warehouses[0]"),
            ({"limit": 1001}, "limit"),
            ({"before": 1}, "before"),
        ):
            with self.subTest(question=question), self.assertRaises(InvalidInput) as caught:
                self._read(**question)
            self.assertEqual(caught.exception.problems[0]["member"], member)
