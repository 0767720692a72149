import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from freezegun import freeze_time
from psycopg2.errors import SerializationFailure

from odoo import Command, fields
from odoo.exceptions import UserError
from odoo.tools import mute_logger

from ..exceptions import CallBusy
from ..models.stock_hold_reservation import HoldEnded
from .contention_common import ContentionCase
from .processes import OdooProcess, WorkerProcess, wait_until

# What Odoo logs when it begins a request again, or when something is wrong.
TROUBLE = re.compile(r"^.*(?:tries left|deadlock detected| (?:ERROR|CRITICAL) ).*$", re.MULTILINE)
CLIENTS = 16


class HoldContentionCase(ContentionCase):
    """Several sessions that hold the same goods; everything is committed."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with cls._session() as env:
            cls.warehouse_id = env["stock.warehouse"].search([], limit=1).id
            users = env["res.users"].with_context(no_reset_password=True)
            user = users.search([("login", "=", "hold_contention")])
            group = env.ref("stock_event_ledger.group_integration")
            cls.user_id = (
                user
                or users.create(
                    {
                        "name": "Hold Contention",
                        "login": "hold_contention",
                        "group_ids": [Command.link(group.id)],
                    }
                )
            ).id

    def _hold(self, product_id, quantity=1, minutes=10):
        with self._session() as env:
            return (
                env["stock.hold"]
                .create(
                    {
                        "product_id": product_id,
                        "warehouse_id": self.warehouse_id,
                        "quantity": quantity,
                        "expiry_date": fields.Datetime.now() + timedelta(minutes=minutes),
                    }
                )
                .id
            )

    def _get_states(self, hold_ids):
        with self._session() as env:
            return env["stock.hold"].browse(hold_ids).mapped("state")


class TestHoldContention(HoldContentionCase):
    """Sixteen clients of one server, and the worker."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with cls._session() as env:
            keys = env["res.users.apikeys"].with_user(cls.user_id)
            cls.key = keys._generate("rpc", "test", fields.Datetime.now() + timedelta(days=1))
        name = cls.registry.db_name
        cls.worker = WorkerProcess(name, cls._has_worker)
        cls.worker.start()
        cls.addClassCleanup(cls.worker.__exit__)
        cls.server = cls.enterClassContext(OdooProcess(name))
        cls.worker.wait_until_ready()
        cls.executor = cls.enterClassContext(ThreadPoolExecutor(CLIENTS))

    def _press_all(self, work):
        """Have all clients work from the same moment on.

        :param work: function of a client's number and of a function that calls an operation
        :return: list of what it returned
        """
        barrier = threading.Barrier(CLIENTS, timeout=60)

        def press(number):
            session = self.server.get_session(self.user_id, self.key)
            barrier.wait()
            return work(number, lambda *args: session("stock.integration", *args))

        length = len(self.server.read_log())
        results = list(self.executor.map(press, range(CLIENTS)))
        # Nobody failed, and nobody had to begin again.
        self.assertEqual(TROUBLE.findall(self.server.read_log()[length:]), [])
        return results

    def _prepare_line(self, product_id):
        return {"product_id": product_id, "warehouse_id": self.warehouse_id, "quantity": 1}

    def test_a_hot_product_is_held_as_often_as_it_is_there(self):
        product_id = self._create_stock(21)

        def work(number, call):
            line = self._prepare_line(product_id)
            return [
                call("reserve", f"hot {product_id} {number} {i}", [line])["status"]
                for i in range(2)
            ]

        statuses = [status for part in self._press_all(work) for status in part]
        self.assertEqual(
            {status: statuses.count(status) for status in ("done", "refused")},
            {"done": 21, "refused": 11},
        )
        self.assertEqual(self._get_figures(product_id), (21, 21, 21, 1))

    def test_holds_of_a_hot_product_are_given_up_and_converted(self):
        product_id = self._create_stock(CLIENTS)

        def hold_and_end(number, call):
            name = f"goods {product_id} {number}"
            result = call("reserve", name, [self._prepare_line(product_id)])
            [hold] = result["lines"][0]["holds"]
            end = "release" if number % 2 else "convert"
            return call(end, f"{end} {name}", [{"hold_id": hold["id"]}])["status"]

        self.assertEqual(self._press_all(hold_and_end), ["done"] * CLIENTS)
        on_hand, reserved, on_lines, _rows = self._get_figures(product_id)
        self.assertEqual((on_hand, reserved, on_lines), (CLIENTS, CLIENTS / 2, CLIENTS / 2))

    def test_a_hold_is_converted_once(self):
        product_id = self._create_stock(1)
        hold_id = self._hold(product_id)
        with self._session() as env:
            env["stock.hold"].browse(hold_id).user_id = self.user_id
        barrier = threading.Barrier(4, timeout=60)

        def convert(number):
            session = self.server.get_session(self.user_id, self.key)
            barrier.wait()
            key = f"twice {hold_id} {number}"
            return session("stock.integration", "convert", key, [{"hold_id": hold_id}])["status"]

        statuses = list(self.executor.map(convert, range(4)))
        self.assertEqual(sorted(statuses), ["done", "refused", "refused", "refused"])
        with self._session() as env:
            moves = env["stock.move"].search([("product_id", "=", product_id)])
            self.assertEqual((len(moves), len(moves.picking_id)), (1, 1))

    def test_the_worker_gives_back_what_has_expired(self):
        product_id = self._create_stock(3)
        hold_id = self._hold(product_id)
        with self._session() as env:
            env["stock.hold"].browse(hold_id).expiry_date = fields.Datetime.now()
        wait_until(lambda: self._get_states([hold_id]) == ["expired"], "the hold to expire")
        self.assertEqual(self._get_figures(product_id)[:3], (3, 0, 0))


class TestHoldRace(HoldContentionCase):
    """Two sessions that change the same hold."""

    def setUp(self):
        super().setUp()
        # What other tests hold would expire as well.
        with self._session() as env:
            env["stock.hold"].search([("outcome", "=", False)])._release()

    def _expire(self, env):
        with freeze_time(fields.Datetime.now() + timedelta(hours=1)):
            return env["stock.hold"]._expire()

    def _convert(self, hold_id):
        with self._session() as env:
            env["stock.hold"].browse(hold_id)._convert()

    def test_what_is_being_converted_does_not_expire(self):
        product_id = self._create_stock(2)
        hold_id = self._hold(product_id, 2)
        with self._session() as env:
            env["stock.hold"].browse(hold_id)._convert()
            env.flush_all()
            with self._session() as other_env:
                self.assertEqual(self._expire(other_env), 0)
        with self._session() as env:
            self.assertEqual(self._expire(env), 0)
        self.assertEqual(self._get_states([hold_id]), ["converted"])
        self.assertEqual(self._get_figures(product_id), (2, 2, 2, 1))

    def test_what_is_expiring_is_not_converted(self):
        product_id = self._create_stock(2)
        hold_id = self._hold(product_id, 2)
        with ThreadPoolExecutor(1) as executor, mute_logger("odoo.sql_db"):
            with self._session() as env:
                self.assertEqual(self._expire(env), 1)
                env.flush_all()
                # By its own clock there is time left.
                conversion = executor.submit(self._convert, hold_id)
                wait_until(self._is_somebody_waiting, "the conversion to wait")
            # Odoo does a request again that fails like this.
            self.assertIsInstance(conversion.exception(60), SerializationFailure)
        with self.assertRaises(HoldEnded):
            self._convert(hold_id)
        self.assertEqual(self._get_states([hold_id]), ["expired"])
        self.assertEqual(self._get_figures(product_id)[:3], (2, 0, 0))

    def _is_somebody_waiting(self):
        with self._session() as env:
            env.cr.execute(
                """SELECT FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event_type = 'Lock'"""
            )
            return bool(env.cr.rowcount)

    def test_where_nobody_may_wait_a_hold_is_refused_and_not_queued(self):
        product_id = self._create_stock(5)
        [picking_id] = self._create_deliveries(product_id, 1)
        with self._session() as env:
            env["stock.picking"].browse(picking_id).action_assign()
            env.flush_all()
            with self._session() as other_env, self.assertRaisesRegex(UserError, "Try again"):
                other_env["res.partner"].create({"name": "Written already"})
                other_env.flush_all()
                other_env["stock.hold"].create(
                    {"product_id": product_id, "warehouse_id": self.warehouse_id}
                )
        with self._session() as env:
            self.assertFalse(env["stock.hold"].search([("product_id", "=", product_id)]))
        self.assertEqual(self._get_figures(product_id), (5, 1, 1, 1))

    def test_a_short_hold_is_refused_where_nobody_may_wait(self):
        product_id = self._create_stock(5)
        hold_id = self._hold(product_id, 2)
        [picking_id] = self._create_deliveries(product_id, 1)
        with self._session() as env:
            env["stock.hold"].browse(hold_id).move_ids._do_unreserve()
        with self._session() as env:
            env["stock.picking"].browse(picking_id).action_assign()
            env.flush_all()
            with self.assertRaises(CallBusy):
                self._convert(hold_id)
        self._convert(hold_id)
        self.assertEqual(self._get_figures(product_id), (5, 3, 3, 1))
