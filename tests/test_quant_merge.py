"""Rows that were inserted beside a lock become one again, where nobody is using them."""

from concurrent.futures import ThreadPoolExecutor

from odoo.tests import tagged

from .reservation_common import ReservationCase


@tagged("post_install", "-at_install")
class TestQuantMerge(ReservationCase):
    """Everything is committed: a merge has transactions of its own."""

    def setUp(self):
        super().setUp()
        # Not those that other tests have left.
        self._merge()

    def _merge(self, **kwargs):
        with self._session() as env:
            return env["stock.quant"]._merge_duplicates(**kwargs)

    def _hold(self, env, product_id):
        """Lock the stock of a product, as a decision on it does."""
        quants = env["stock.quant"].search(
            [("product_id", "=", product_id), ("location_id", "=", self.stock_id)]
        )
        self.assertTrue(quants._try_lock_stock_keys())

    def _create_duplicates(self, operate, *args, product_id=None):
        """Operate beside a lock.

        :param operate: function of an environment
        :return: id of a product of which there are two rows, where there was one
        """
        product_id = product_id or self._create_stock(3)
        rows = self._count_rows([product_id])
        with self._session() as env:
            self._hold(env, product_id)
            with self._session() as other_env:
                operate(other_env, product_id, *args)
        self.assertEqual(self._count_rows([product_id]), rows + 1)
        return product_id

    def _receive(self, env, product_id, quantity=2):
        product = env["product.product"].browse(product_id)
        self._validate(self._create_delivery(env, product, quantity, kind="in"))

    def _validate_id(self, env, _product_id, picking_id):
        self._validate(env["stock.picking"].browse(picking_id))

    def _get_last_entry_id(self):
        with self._session() as env:
            return env["stock.ledger.entry"].search([], limit=1).id

    def assertMerged(self, product_id, stock):
        """Check that a product's only row has this on hand and reserved."""
        self.assertEqual(self._get_figures(product_id), (*stock, stock[1], 1))
        self.assertSound([product_id])

    # --- where they come from ---

    def test_additions(self):
        product_id = self._create_duplicates(self._receive)
        entry_id = self._get_last_entry_id()
        self.assertEqual(self._merge(), 1)
        self.assertMerged(product_id, (5, 0))
        self.assertEqual(self._get_last_entry_id(), entry_id, "nothing has changed")
        self.assertEqual(self._merge(), 0)

    def test_validations(self):
        product_id = self._create_stock(5)
        first, second = self._create_deliveries(product_id, 2, quantity=2, reserve=True)
        self._create_duplicates(self._validate_id, first, product_id=product_id)
        with self._session() as env:
            quants = env["stock.quant"].search(
                [("product_id", "=", product_id), ("location_id", "=", self.stock_id)], order="id"
            )
            self.assertEqual(quants.mapped("quantity"), [5, -2])
            self.assertEqual(quants.mapped("reserved_quantity"), [4, -2])
        entry_id = self._get_last_entry_id()
        self.assertEqual(self._merge(), 1)
        self.assertMerged(product_id, (3, 2))
        self.assertEqual(self._get_last_entry_id(), entry_id)
        with self._session() as env:
            self._validate_id(env, product_id, second)
        self.assertMerged(product_id, (1, 0))

    def test_reservations_given_back(self):
        product_id = self._create_stock(5)
        [picking_id] = self._create_deliveries(product_id, 1, quantity=2, reserve=True)
        self._create_duplicates(
            lambda env, _product_id: env["stock.picking"].browse(picking_id).do_unreserve(),
            product_id=product_id,
        )
        entry_id = self._get_last_entry_id()
        self.assertEqual(self._merge(), 1)
        self.assertMerged(product_id, (5, 0))
        self.assertEqual(self._get_last_entry_id(), entry_id)

    def test_three_rows(self):
        product_id = self._create_stock(3)
        with self._session() as env:
            self._hold(env, product_id)
            with self._session() as second_env:
                self._receive(second_env, product_id, 1)
                second_env.flush_all()
                with self._session() as third_env:
                    self._receive(third_env, product_id, 1)
        self.assertEqual(self._count_rows([product_id]), 3)
        # Also the two that the receipts left at the supplier's side.
        self.assertEqual(self._merge(), 2)
        self.assertMerged(product_id, (5, 0))

    def test_keys_are_kept_apart(self):
        with self._session() as env:
            product = self._create_product(env, tracking="lot")
            lots = env["stock.lot"].create(
                [{"product_id": product.id, "name": f"{product.id}-{i}"} for i in range(2)]
            )
            for lot in (*lots, None):
                self._add_stock(env, product, 2, lot_id=lot)
        with self._session() as env:
            self._hold(env, product.id)
            with self._session() as other_env:
                product, lots = product.with_env(other_env), lots.with_env(other_env)
                for lot in (*lots, None):
                    self._add_stock(other_env, product, 1, lot_id=lot)
        self.assertEqual(self._count_rows(product.ids), 6)
        self.assertEqual(self._merge(), 1, "one product at one location")
        stock = self._get_stock(product.ids)
        self.assertEqual(
            {(key[2], figures[0]) for key, figures in stock.items()},
            {(lots[0].id, 3), (lots[1].id, 3), (None, 3)},
        )
        self.assertEqual(self._count_rows(product.ids), 3)

    # --- a negative sum, which core makes zero ---

    def test_negative_sum_of_reservations(self):
        product_id = self._create_duplicates(self._receive)
        with self._session() as env:
            quants = env["stock.quant"].search(
                [("product_id", "=", product_id), ("location_id", "=", self.stock_id)]
            )
            quants[0].reserved_quantity = -2
            quants[1].reserved_quantity = 1
        self.assertEqual(self._get_figures(product_id)[1], -1)
        self.assertEqual(self._merge(), 1)
        # The ledger, which is compared here, has learnt of it.
        self.assertMerged(product_id, (5, 0))

    # --- others are at work ---

    def test_busy_ones_are_left_for_later(self):
        busy_id, free_id = (self._create_duplicates(self._receive) for _i in range(2))
        with ThreadPoolExecutor(1) as executor:
            with self._session() as env:
                self._hold(env, busy_id)
                # In a thread: if it waited, it would wait for this one.
                merged = executor.submit(self._merge).result(10)
                self.assertEqual(merged, 1)
                self.assertEqual(self._count_rows([busy_id]), 2)
                self.assertMerged(free_id, (5, 0))
        self.assertEqual(self._merge(), 1)
        self.assertMerged(busy_id, (5, 0))

    def test_rows_that_others_change_without_a_decision(self):
        product_id = self._create_duplicates(self._receive)
        with ThreadPoolExecutor(1) as executor:
            with self._session() as env:
                self._receive(env, product_id)
                env.flush_all()
                self.assertEqual(executor.submit(self._merge).result(10), 0)
        self.assertEqual(self._merge(), 1)
        self.assertMerged(product_id, (7, 0))

    def test_others_need_not_wait(self):
        """A merge that has not committed makes those who add insert, as any lock does."""
        product_id = self._create_duplicates(self._receive)

        def receive():
            with self._session() as env:
                self._receive(env, product_id)

        with ThreadPoolExecutor(1) as executor:
            with self._session() as env:
                quants = env["stock.quant"].search(
                    [("product_id", "=", product_id), ("location_id", "=", self.stock_id)]
                )
                self.assertTrue(quants._try_lock_stock_keys())
                quants._merge_quants()
                executor.submit(receive).result(10)
        self.assertEqual(self._merge(), 1)
        self.assertMerged(product_id, (7, 0))

    def test_limit(self):
        product_ids = [self._create_duplicates(self._receive) for _i in range(3)]
        self.assertEqual(self._merge(limit=2), 2)
        self.assertEqual(self._count_rows(product_ids), 4)
        self.assertEqual(self._merge(limit=2), 1)
        self.assertEqual(self._count_rows(product_ids), 3)

    def test_scheduled_action(self):
        product_id = self._create_duplicates(self._receive)
        with self._session() as env:
            env.ref("stock_event_ledger.cron_merge_duplicates").method_direct_trigger()
        self.assertMerged(product_id, (5, 0))
