import re
import threading
from concurrent.futures import ThreadPoolExecutor

from odoo import Command
from odoo.exceptions import AccessError

from ..exceptions import CallBusy, InvalidInput
from ..locking import restartable
from .contention_common import ContentionCase
from .integration_common import create_key, create_partner_user, post
from .processes import OdooProcess

# What Odoo logs when it begins a request again, or when something is wrong.
TROUBLE = re.compile(r"^.*(?:tries left|deadlock detected| (?:ERROR|CRITICAL) ).*$", re.MULTILINE)


class TestIntegrationContention(ContentionCase):
    """Several server processes, called by many at the same moment."""

    PROCESSES = 4
    CALLERS = 16

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with cls._session() as env:
            user = create_partner_user(env, "integration_contention")
            cls.user_id = user.id
            cls.key = create_key(env, user)
            location = env["stock.location"].browse(cls.stock_id)
            cls.warehouse_id = location.warehouse_id.id
        cls.server = cls.enterClassContext(OdooProcess(cls.registry.db_name, workers=cls.PROCESSES))
        cls.executor = cls.enterClassContext(ThreadPoolExecutor(cls.CALLERS))

    def setUp(self):
        super().setUp()
        self.read_length = len(self.server.read_log())

    def tearDown(self):
        self.assertEqual(TROUBLE.findall(self.server.read_log()[self.read_length :]), [])
        super().tearDown()

    @classmethod
    def _create_empty(cls):
        with cls._session() as env:
            vals = {"name": "Empty", "type": "consu", "is_storable": True}
            return env["product.product"].create(vals).id

    def _call_all(self, calls):
        """Do the calls, as many at the same moment as there are callers.

        :param calls: triples of method, idempotency key and lines
        :return: the answers, in their order
        """
        barrier = threading.Barrier(min(len(calls), self.CALLERS), timeout=60)

        def call(numbered):
            number, (method, key, lines) = numbered
            if number < self.CALLERS:
                barrier.wait()
            body = {"idempotency_key": key, "lines": lines, "warehouse_id": self.warehouse_id}
            url = f"http://127.0.0.1:{self.server.port}"
            return post(url, self.registry.db_name, self.key, method, body)

        answers = list(self.executor.map(call, enumerate(calls)))
        self.assertEqual([body for status, body in answers if status != 200], [])
        return [body for _status, body in answers]

    def test_the_same_call_a_hundred_times_at_once_has_one_effect(self):
        product_id = self._create_stock(1000)
        lines = [{"product_id": product_id, "quantity": 7}]
        results = self._call_all([("issue", "once", lines)] * 100)
        self.assertEqual(results, results[:1] * 100)
        self.assertEqual(results[0]["status"], "done")
        self.assertEqual(self._get_figures(product_id)[:2], (993, 0))
        with self._session() as env:
            calls = env["stock.integration.call"].search(
                [("user_id", "=", self.user_id), ("idempotency_key", "=", "once")]
            )
            self.assertEqual(len(calls), 1)

    def test_a_hot_product_is_neither_oversold_nor_fails(self):
        product_id = self._create_stock(13)
        lines = [{"product_id": product_id, "quantity": 1}]
        results = self._call_all([("issue", f"hot {number}", lines) for number in range(40)])
        statuses = [result["status"] for result in results]
        self.assertEqual(statuses.count("done"), 13)
        self.assertEqual(statuses.count("refused"), 27)
        self.assertEqual(self._get_figures(product_id)[:2], (0, 0))

    def test_lines_in_opposite_orders_wait_and_do_not_block_each_other(self):
        products = [self._create_stock(20), self._create_stock(20)]
        lines = [{"product_id": product_id, "quantity": 1} for product_id in products]
        calls = [("issue", f"crossed {n}", lines if n % 2 else lines[::-1]) for n in range(24)]
        statuses = [result["status"] for result in self._call_all(calls)]
        self.assertEqual((statuses.count("done"), statuses.count("refused")), (20, 4))
        for product_id in products:
            self.assertEqual(self._get_figures(product_id)[:2], (0, 0))

    def test_one_of_many_adjustments_finds_what_it_expects(self):
        for on_hand in (3, 0):
            with self.subTest(on_hand=on_hand):
                # Without stock there is no row that could be locked.
                product_id = self._create_stock(on_hand) if on_hand else self._create_empty()
                line = {"product_id": product_id, "quantity": 5, "expected_quantity": on_hand}
                results = self._call_all(
                    [("adjust", f"adjust {product_id} {n}", [line]) for n in range(12)]
                )
                errors = [result["lines"][0].get("error", {}).get("code") for result in results]
                self.assertEqual(errors.count(None), 1)
                self.assertEqual(errors.count("quantity_differs"), 11)
                self.assertEqual(self._get_figures(product_id)[0], 5)

    def test_changes_add_up(self):
        product_id = self._create_empty()
        calls = [
            ("adjust", f"change {number}", [{"product_id": product_id, "change": 2}])
            for number in range(16)
        ]
        self.assertEqual({result["status"] for result in self._call_all(calls)}, {"done"})
        self.assertEqual(self._get_figures(product_id)[0], 32)


class TestIntegrationSessions(ContentionCase):
    """Two sessions that see what the other one has committed."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with cls._session() as env:
            cls.user_id = create_partner_user(env, "integration_sessions").id
            location = env["stock.location"].browse(cls.stock_id)
            cls.warehouse_id = location.warehouse_id.id

    def _get_service(self, env):
        return env["stock.integration"].with_user(self.user_id)

    def _receive(self, env, product_id, key):
        return self._get_service(env).receive(
            key, [{"product_id": product_id, "quantity": 1}], warehouse_id=self.warehouse_id
        )

    # --- the feed

    def _read_feed(self, after, **filters):
        with self._session() as env:
            return self._get_service(env).get_feed(after=after, **filters)

    def test_the_feed_waits_for_what_was_numbered_before(self):
        product_id = self._create_stock(1)
        start = self._read_feed(0, limit=1000)
        while start["has_more"]:
            start = self._read_feed(start["next_after"], limit=1000)
        after = start["next_after"]
        with self._session() as early:
            self._receive(early, product_id, "early")
            early["stock.ledger.entry"]._flush_buffer()
            with self._session() as late:
                self._receive(late, product_id, "late")
            page = self._read_feed(after)
            self.assertEqual(page, {"entries": [], "next_after": after, "has_more": False})
        page = self._read_feed(after)
        self.assertEqual(
            [entry["origin"] for entry in page["entries"]], ["receive early", "receive late"]
        )
        self.assertEqual(
            self._read_feed(page["next_after"]),
            {"entries": [], "next_after": page["next_after"], "has_more": False},
        )

    def test_the_feed_does_not_wait_for_others(self):
        product_id = self._create_stock(1)
        with self._session() as bystander:
            # It has an older snapshot and has written something.
            bystander["res.partner"].create({"name": "Unrelated"})
            bystander.flush_all()
            with self._session() as env:
                self._receive(env, product_id, "unrelated")
            entries, after, has_more = [], 0, True
            while has_more:
                page = self._read_feed(after, limit=1000)
                after, has_more = page["next_after"], page["has_more"]
                entries += page["entries"]
            self.assertEqual(entries[-1]["origin"], "receive unrelated")
            bystander.cr.rollback()

    # --- keys

    def test_a_key_in_use_is_busy_where_nobody_may_wait(self):
        product_id = self._create_stock(1)
        with self._session() as first, self._session() as second:
            self._receive(first, product_id, "in use")
            with self.assertRaises(CallBusy):
                self._receive(second, product_id, "in use")
            second.cr.rollback()
        with self._session() as env:
            # Now it is the first one's.
            self._receive(env, product_id, "in use")
        self.assertEqual(self._get_figures(product_id)[0], 2)

    def test_a_call_begins_again_where_it_may(self):
        product_id = self._create_stock(5)
        [picking_id] = self._create_deliveries(product_id, 1, quantity=5)
        holding, ended = threading.Event(), threading.Event()

        def hold():
            with self._session() as env:
                env["stock.picking"].browse(picking_id).action_assign()
                env.flush_all()
                holding.set()
                ended.wait(60)

        thread = threading.Thread(target=hold)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(ended.set)
        self.assertTrue(holding.wait(60))
        timer = threading.Timer(1, ended.set)
        timer.start()
        self.addCleanup(timer.join)
        with self._session() as env, restartable():
            result = self._get_service(env).issue(
                "after", [{"product_id": product_id, "quantity": 1}], warehouse_id=self.warehouse_id
            )
        self.assertEqual(result["lines"][0]["error"]["code"], "not_available")

    # --- the audit of what failed

    def _get_calls(self, env, **vals):
        return env["stock.integration.call"].search(
            [("user_id", "=", self.user_id), *((name, "=", value) for name, value in vals.items())]
        )

    def test_a_call_that_failed_is_on_record_and_leaves_its_key(self):
        product_id = self._create_stock(1)
        body = {"lines": [{"product_id": product_id, "quantity": -1, "token": "secret"}]}
        with self._session() as env:
            with self.assertRaises(InvalidInput) as caught:
                self._get_service(env).receive("wrong", password="secret", **body)
            env.cr.rollback()
        members = {problem["member"] for problem in caught.exception.problems}
        self.assertIn("lines[0].quantity", members)
        with self._session() as env:
            call = self._get_calls(env, idempotency_key="wrong")
            self.assertEqual(
                (call.state, call.operation, call.line_count), ("failed", "receive", 1)
            )
            self.assertIn("lines[0].quantity", call.error)
            self.assertIn('"quantity": -1', call.body)
            self.assertNotIn("secret", f"{call.body}{call.error}")
            self._receive(env, product_id, "wrong")
            self.assertEqual(len(self._get_calls(env, idempotency_key="wrong", state="done")), 1)
        self.assertEqual(self._get_figures(product_id)[0], 2)

    def test_whoever_may_not_call_is_on_record(self):
        product_id = self._create_stock(1)
        with self._session() as env:
            user = create_partner_user(env, "integration_stranger")
            user.group_ids = [Command.set(env.ref("base.group_user").ids)]
        with self._session() as env:
            with self.assertRaises(AccessError):
                env["stock.integration"].with_user(user.id).receive(
                    "no", [{"product_id": product_id, "quantity": 1}]
                )
            env.cr.rollback()
        with self._session() as env:
            call = env["stock.integration.call"].search([("user_id", "=", user.id)])
            self.assertEqual(set(call.mapped("state")), {"failed"})
        self.assertEqual(self._get_figures(product_id)[0], 1)
