import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from odoo import SUPERUSER_ID, api

from .contention_common import ContentionCase


class TestSealOrder(ContentionCase):
    """Transactions commit in another order than they take ids."""

    def _append(self, env):
        product = env["product.product"].search([("is_storable", "=", True)], limit=1)
        [entry_id] = env["stock.ledger.entry"]._append(
            [
                {
                    "product_id": product.id,
                    "location_id": self.stock_id,
                    "event_type": "RECEIPT",
                    "quantity": 1,
                    "reserved_quantity": 0,
                    "effective_date": "2023-01-01",
                }
            ]
        )
        return entry_id

    def _get_settled_entry_id(self, wait_seconds):
        with self._session() as env:
            return env["stock.ledger.seal"]._get_settled_entry_id(wait_seconds)

    def _seal_and_verify(self, last_entry_id):
        with self._session() as env:
            while env["stock.ledger.seal"]._seal(last_entry_id):
                pass
        with self._session() as env:
            seals = env["stock.ledger.seal"].search([])
            self.assertEqual(seals._verify(), [])
            return seals[0].last_entry_id

    def test_late_commit(self):
        self._create_stock(1)
        with self._session() as slow:
            low = self._append(slow)
            with self._session() as quick:
                high = self._append(quick)
            self.assertGreater(high, low)
            self.assertIsNone(self._get_settled_entry_id(0.2))
        self.assertEqual(self._seal_and_verify(self._get_settled_entry_id(10)), high)

    def test_waits_for_those_before_it_only(self):
        self._create_stock(1)
        with self.registry.cursor() as slow_cursor, self.registry.cursor() as later_cursor:
            slow, later = (
                api.Environment(cursor, SUPERUSER_ID, {}) for cursor in (slow_cursor, later_cursor)
            )
            low = self._append(slow)
            with self._session() as quick:
                high = self._append(quick)
            settled = []
            sealer = threading.Thread(target=lambda: settled.append(self._get_settled_entry_id(60)))
            sealer.start()
            sealer.join(0.3)
            self.assertFalse(settled)
            # It takes a higher id, and is still there when the first one ends.
            self.assertGreater(self._append(later), high)
            slow_cursor.commit()
            sealer.join(60)
            self.assertEqual(settled, [high])
            self.assertLess(low, high)
            self.assertEqual(self._seal_and_verify(high), high)
            later_cursor.rollback()

    def test_sealing_while_others_write(self):
        """No entry appears in a range that is sealed."""
        self._create_stock(1)
        seals_before = self._count_seals()
        with ThreadPoolExecutor(4) as pool:
            writers = [pool.submit(self._write_at_random, seed) for seed in range(4)]
            while not all(writer.done() for writer in writers):
                self._seal_and_verify(self._get_settled_entry_id(60))
        for writer in writers:
            writer.result()
        self._seal_and_verify(self._get_settled_entry_id(60))
        self.assertGreater(self._count_seals(), seals_before + 1)
        with self._session() as env:
            self.assertFalse(env["stock.ledger.seal"]._count_unsealed())

    def _count_seals(self):
        with self._session() as env:
            return env["stock.ledger.seal"].search_count([])

    def _write_at_random(self, seed):
        choice = random.Random(seed)
        for _i in range(30):
            with self.registry.cursor() as cr:
                env = api.Environment(cr, SUPERUSER_ID, {})
                for _j in range(choice.randint(1, 3)):
                    self._append(env)
                    time.sleep(choice.random() / 50)
                (cr.rollback if choice.random() < 0.2 else cr.commit)()
