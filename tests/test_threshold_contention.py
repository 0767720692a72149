import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg2

from odoo.tools import mute_logger

from ..models.stock_ledger_threshold import EVENT_TYPES
from .contention_common import ContentionCase
from .processes import ShellProcess

PROCESSES = 3
CHANGES = 80
# Takes and gives back, sometimes both in one transaction.
SCRIPT = """
import random, time
import psycopg2
chance = random.Random({number})
product = env["product.product"].browse({product_id})
places = env["stock.location"].browse({location_ids})
def change(*quantities):
    while True:
        try:
            for quantity, place in zip(quantities, places):
                env["stock.quant"]._update_available_quantity(product, place, quantity)
            env.cr.commit()
            break
        except psycopg2.OperationalError:
            env.cr.rollback()
    time.sleep(chance.random() / 50)
for _number in range({changes}):
    quantity = chance.choice([1, 3, 6])
    change(-quantity)
    change(-6, 6)
    change(quantity)
"""


class TestThresholdContention(ContentionCase):
    """Each crossing once, whoever moves stock around the limits and whoever folds."""

    def _create_threshold(self, product_id):
        """Create a threshold, and a shelf; return the ids of both."""
        with self._session() as env:
            stock = env["stock.location"].browse(self.stock_id)
            threshold = env["stock.ledger.threshold"].create(
                {"product_id": product_id, "warehouse_id": stock.warehouse_id.id, "low_at": 3}
            )
            shelf = env["stock.location"].create({"name": "Shelf", "location_id": stock.id})
            return threshold.id, shelf.id

    def _fold(self, limit=50_000):
        """Fold, and note what each of the transactions has changed that went.

        One snapshot has the deltas and what the fold makes of them.

        :return: how many deltas there were
        """
        with self._session() as env:
            deltas = env["stock.ledger.delta"].search_read(
                [("product_id", "=", self.product_id)],
                ["transaction_number", "quantity", "reserved_quantity"],
                order="id",
            )
            folded = env["stock.ledger.rollup"]._fold(limit)
            left = set(env["stock.ledger.delta"].search([]).ids)
            if folded:
                # The lock is held until the commit: they come in their order.
                self.steps += self._get_steps(row for row in deltas if row["id"] not in left)
        return folded

    def _get_steps(self, deltas):
        changes = {}
        for delta in deltas:
            # Where its last delta is.
            change = changes.pop(delta["transaction_number"], 0)
            change += delta["quantity"] - delta["reserved_quantity"]
            changes[delta["transaction_number"]] = change
        return list(changes.values())

    def _fold_until(self, stop):
        """Fold until told to stop; another session does, too."""
        while not stop.wait(0.01):
            with contextlib.suppress(psycopg2.OperationalError):
                self._fold(7)

    def _fold_all(self):
        while self._fold():
            pass

    @mute_logger("odoo.sql_db")
    def test_each_crossing_once(self):
        product_id = self.product_id = self._create_stock(6)
        threshold_id, shelf_id = self._create_threshold(product_id)
        self.steps = []
        self._fold_all()
        self.steps.clear()
        values = {
            "product_id": product_id,
            "location_ids": [self.stock_id, shelf_id],
            "changes": CHANGES,
        }
        scripts = [SCRIPT.format(number=number, **values) for number in range(PROCESSES)]
        stop = threading.Event()
        with contextlib.ExitStack() as stack, ThreadPoolExecutor(2) as pool:
            processes = [ShellProcess(self.registry.db_name, script) for script in scripts]
            for process in processes:
                process.start()
                stack.callback(process.__exit__)
            folding = [pool.submit(self._fold_until, stop) for _session in range(2)]
            try:
                for process in processes:
                    process.wait_until_ready()
            finally:
                stop.set()
            for task in folding:
                task.result()
        self._fold_all()
        self._check(threshold_id, product_id)

    def _check(self, threshold_id, product_id):
        with self._session() as env:
            threshold = env["stock.ledger.threshold"].browse(threshold_id)
            self.assertEqual((threshold.state, threshold.available_quantity), ("ok", 6))
            told = env["stock.ledger.entry"].search(
                [("product_id", "=", product_id), ("event_type", "in", EVENT_TYPES)], order="id"
            )
            types = told.mapped("event_type")
        self.assertEqual(types, self._get_expected(6, "ok"))
        self.assertEqual(sum(self.steps), 0)
        for event_type in EVENT_TYPES:
            self.assertGreater(types.count(event_type), 3, types)

    def _get_expected(self, available, state):
        """Return the types of the events that the steps have to lead to."""
        expected = []
        for step in self.steps:
            available += step
            was, state = state, "out" if available <= 0 else "low" if available <= 3 else "ok"
            if was == "out" != state:
                expected.append("BACK_IN_STOCK")
            elif state == "out" != was:
                expected.append("STOCK_OUT")
            elif (was, state) == ("ok", "low"):
                expected.append("STOCK_LOW")
        return expected
