from .event_common import EventCase


class TestThresholdEvents(EventCase):
    """Low stock, from a movement that is committed to the broker's queue."""

    def test_a_crossing_arrives(self):
        self.bind()
        product_id = self.create_product("Low")
        with self.committing() as env:
            env["stock.ledger.threshold"].create(
                {"product_id": product_id, "warehouse_id": self.warehouse_id, "low_at": 5}
            )
        self.addCleanup(self.delete_threshold, product_id)
        self.append((product_id, "RECEIPT", 10))
        self.fold()
        # Two transactions in one fold.
        self.append((product_id, "SALE", 7))
        self.append((product_id, "SALE", 3))
        self.fold()
        self.append((product_id, "RECEIPT", 1))
        self.fold()
        self.assertEqual(self.relay(), 7)
        events = self.receive_events()
        self.assertEqual(
            [(event["event_type"], event["sequence"]) for event in events],
            [
                *(("RECEIPT", 1), ("SALE", 2), ("SALE", 3), ("STOCK_LOW", 4)),
                *(("STOCK_OUT", 5), ("RECEIPT", 6), ("BACK_IN_STOCK", 7)),
            ],
        )
        self.assertEqual(
            [event["reference"]["origin"] for event in events if not event["quantity"]],
            [
                "low available 3.0 low_at 5.0 out_at 0.0",
                "out available 0.0 low_at 5.0 out_at 0.0",
                "low available 1.0 low_at 5.0 out_at 0.0",
            ],
        )

    def delete_threshold(self, product_id):
        with self.committing() as env:
            env["stock.ledger.threshold"].search([("product_id", "=", product_id)]).unlink()

    def fold(self):
        with self.committing() as env:
            while env["stock.ledger.rollup"]._fold():
                pass
