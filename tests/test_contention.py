import os
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

from odoo import Command, fields
from odoo.tools import SQL

from odoo.addons.base.models.ir_cron import IrCron

from ..waiting import LOCK_CLASS, StockHolder, get_lock_number
from .contention_common import ContentionCase
from .processes import OdooProcess, ShellProcess, WorkerProcess, wait_until

# What Odoo logs when it begins a request again, or when something is wrong.
TROUBLE = re.compile(r"^.*(?:tries left|deadlock detected| (?:ERROR|CRITICAL) ).*$", re.MULTILINE)
TIMEOUT_PARAMETER = "stock_event_ledger.lock_timeout_seconds"
DEFAULT_TIMEOUT_SECONDS = 10


class TestContention(ContentionCase):
    """Eight server processes and the worker, on the same stock at the same moment."""

    SESSIONS = 8

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.user_id = cls._create_user("contention_user")
        cls.holder_id = cls._create_user("contention_holder")
        cls.key = cls._create_key()
        name = cls.registry.db_name
        cls.worker = WorkerProcess(name, cls._has_worker)
        cls.worker.start()
        cls.addClassCleanup(cls.worker.__exit__)
        cls.server = cls.enterClassContext(OdooProcess(name, workers=cls.SESSIONS))
        cls.worker.wait_until_ready()
        cls.executor = cls.enterClassContext(ThreadPoolExecutor(cls.SESSIONS))
        wait_until(cls._warm_up, "an answer of each process")

    @classmethod
    def _create_user(cls, login):
        with cls._session() as env:
            users = env["res.users"].with_context(no_reset_password=True)
            group = env.ref("stock.group_stock_user")
            return (
                users.search([("login", "=", login)])
                or users.create(
                    {"name": login, "login": login, "group_ids": [Command.link(group.id)]}
                )
            ).id

    @classmethod
    def _create_key(cls):
        """Return what the user logs in with; a password would take each process a second."""
        with cls._session() as env:
            keys = env["res.users.apikeys"].with_user(cls.user_id)
            return keys._generate("rpc", "test", fields.Datetime.now() + timedelta(days=1))

    @classmethod
    def _warm_up(cls):
        """Have the processes check the login; return whether each of them has."""
        faults = cls._press_all([[("res.users", "read", [cls.user_id], ["login"])]] * cls.SESSIONS)
        assert not faults, faults
        return len(cls.server.get_answering_pids()) == cls.SESSIONS

    def setUp(self):
        super().setUp()
        self.read_lengths = {
            process: len(process.read_log()) for process in (self.server, self.worker)
        }

    def tearDown(self):
        for process, length in self.read_lengths.items():
            self.assertEqual(TROUBLE.findall(process.read_log()[length:]), [])
        super().tearDown()

    # --- sessions ---

    @classmethod
    def _call(cls, model, method, *args):
        """Call a method as a client, over a connection of its own."""
        return cls.server.get_session(cls.user_id, cls.key)(model, method, *args)

    @classmethod
    def _press_all(cls, jobs):
        """Work off each session's (model, method, arguments), all from the same moment on.

        :return: list of the faults
        """
        barrier = threading.Barrier(len(jobs), timeout=60)

        def press(job):
            barrier.wait()
            faults = []
            for call in job:
                try:
                    cls._call(*call)
                except Exception as fault:  # noqa: BLE001
                    faults.append(str(fault))
            return faults

        return [fault for faults in cls.executor.map(press, jobs) for fault in faults]

    def _press(self, method, picking_ids):
        """Call a transfer's method from all sessions at the same moment."""
        calls = [("stock.picking", method, [picking_id]) for picking_id in picking_ids]
        return self._press_all([calls[i :: self.SESSIONS] for i in range(self.SESSIONS)])

    def _press_one(self, method, picking_id):
        """Call a transfer's method; return its Future."""
        return self.executor.submit(self._call, "stock.picking", method, [picking_id])

    @contextmanager
    def _holding(self, picking_id):
        """Be in the midst of reserving a transfer while the block lasts, as another user."""
        with self._session() as env:
            picking = env["stock.picking"].browse(picking_id).with_user(self.holder_id)
            picking.action_assign()
            env.flush_all()
            yield picking

    @contextmanager
    def _worker_held_still(self):
        """Keep the worker out of the line, where it has moves of several sessions at once."""
        os.killpg(self.worker.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.worker.process.pid, signal.SIGCONT)

    def _set_timeout(self, seconds):
        self._set_timeout_parameter(str(seconds))
        self.addCleanup(self._set_timeout_parameter, False)

    def _set_timeout_parameter(self, value):
        with self._session() as env:
            env["ir.config_parameter"].set_param(TIMEOUT_PARAMETER, value)
        # The other processes have cached it.
        self.registry.signal_changes()

    def _set_picked(self, picking_ids):
        with self._session() as env:
            env["stock.picking"].browse(picking_ids).move_ids.picked = True

    # --- what is seen from outside ---

    def _count_in_line(self, product_id):
        """Return how many sessions wait for their turn with a product."""
        number = get_lock_number((product_id, self.stock_id, None, None, None))
        with self._session() as env:
            [[count]] = env.execute_query(
                SQL(
                    """SELECT COUNT(*) FROM pg_locks
                        WHERE locktype = 'advisory' AND NOT granted
                          AND classid = %s AND objid = %s::bigint::oid
                          AND database = (SELECT oid FROM pg_database
                                           WHERE datname = current_database())""",
                    LOCK_CLASS,
                    number % 2**32,
                )
            )
            return count

    def _get_kinds(self, product_id):
        """Return the kinds of contention that were noted of a product."""
        with self._session() as env:
            rows = env["stock.contention"].search([("product_id", "=", product_id)])
            return set(rows.mapped("kind"))

    def _wait_for_queue(self, picking_ids):
        wait_until(lambda: not self._count_queued(picking_ids), "queue to be worked off")
        with self._session() as env:
            moves = env["stock.picking"].browse(picking_ids).move_ids
            self.assertEqual(moves.filtered("reservation_queue_error"), moves.browse())

    # --- everybody at once ---

    def test_the_only_unit_is_reserved_once(self):
        for _product in range(3):
            product_id = self._create_stock(1)
            picking_ids = self._create_deliveries(product_id, self.SESSIONS)
            self.assertEqual(self._press("action_assign", picking_ids), [])
            self.assertEqual(self._get_figures(product_id), (1, 1, 1, 1))
            self.assertEqual(self._get_states(picking_ids).count("assigned"), 1)

    def test_check_availability_of_a_hot_product(self):
        product_id = self._create_stock(13)
        picking_ids = self._create_deliveries(product_id, 16)
        self.assertEqual(self._press("action_assign", picking_ids), [])
        self.assertEqual(self._get_figures(product_id), (13, 13, 13, 1))
        self.assertEqual(self._get_states(picking_ids).count("assigned"), 13)

    def test_confirming_a_hot_product_never_waits_and_reserves_in_the_end(self):
        product_id = self._create_stock(29)
        [held] = self._create_deliveries(product_id, 1)
        drafts = self._create_deliveries(product_id, 32, draft=True)
        with self._holding(held):
            self.assertEqual(self._press("action_confirm", drafts[:8]), [])
            self.assertEqual(self._count_queued(drafts), 8)
        # Beside the worker, which has begun to reserve.
        self.assertEqual(self._press("action_confirm", drafts[8:]), [])
        self._wait_for_queue(drafts)
        self.assertEqual(self._get_figures(product_id), (29, 29, 29, 1))
        self.assertEqual(self._get_states(drafts).count("assigned"), 28)
        self.assertLessEqual(self._get_kinds(product_id), {"queue"})

    def test_opposite_orders_do_not_block_each_other(self):
        product_ids = [self._create_stock(30, f"Contested {i}") for i in range(3)]
        demands = [product_ids, product_ids[::-1]] * 4
        drafts = self._create_transfers(demands, draft=True)
        reserved = self._create_transfers(demands, reserve=True)
        confirmed = self._create_transfers(demands)
        self._set_picked(reserved)
        # Each session does all three; at any time all three are going on.
        calls = [
            [("action_confirm", draft), ("action_assign", wanted), ("button_validate", ready)]
            for draft, wanted, ready in zip(drafts, confirmed, reserved, strict=True)
        ]
        jobs = [
            [("stock.picking", method, [id_]) for method, id_ in mine[i % 3 :] + mine[: i % 3]]
            for i, mine in enumerate(calls)
        ]
        self.assertEqual(self._press_all(jobs), [])
        self._wait_for_queue(drafts + confirmed)
        self.assertEqual(set(self._get_states(drafts + confirmed)), {"assigned"})
        self.assertEqual(set(self._get_states(reserved)), {"done"})
        for product_id in product_ids:
            self.assertEqual(self._get_figures(product_id)[:3], (22, 16, 16))

    def test_reserved_deliveries_of_a_hot_product_are_all_validated(self):
        product_id = self._create_stock(27)
        picking_ids = self._create_deliveries(product_id, 24, reserve=True)
        self._set_picked(picking_ids)
        self.assertEqual(self._press("button_validate", picking_ids), [])
        self.assertEqual(self._get_states(picking_ids), ["done"] * 24)
        self.assertEqual(self._get_figures(product_id)[:3], (3, 0, 0))

        def is_merged():
            with self._session() as env:
                env["stock.quant"]._merge_duplicates()
            # The worker merges as well, and what it is busy with is left to it.
            return self._get_figures(product_id) == (3, 0, 0, 1)

        wait_until(is_merged, "duplicates to be merged")

    # --- those who hold stock for long, or for ever ---

    def test_a_killed_session_leaves_nothing_behind(self):
        self._set_timeout(50)
        product_id = self._create_stock(3)
        held, *wanted = self._create_deliveries(product_id, 4)
        script = f"env['stock.picking'].browse({held}).action_assign()\nenv.flush_all()"
        with ShellProcess(self.registry.db_name, script) as holder:
            calls = [self._press_one("action_assign", picking_id) for picking_id in wanted]
            wait_until(lambda: self._count_in_line(product_id) == 3, "three in line")
            self.assertEqual(self._get_figures(product_id), (3, 0, 0, 1))
            holder.kill()
            for call in calls:
                call.result()
        self.assertEqual(self._get_states(wanted), ["assigned"] * 3)
        self.assertEqual(self._get_states([held]), ["confirmed"])
        self.assertEqual(self._get_figures(product_id), (3, 3, 3, 1))
        # None of them was left to wait for the end of the timeout.
        self.assertEqual(self._get_kinds(product_id), {"wait"})

    def test_a_long_wait_ends_in_the_queue_and_names_the_holder(self):
        self._set_timeout(0.5)
        with self._worker_held_still():
            product_id = self._create_stock(2)
            held, wanted = self._create_deliveries(product_id, 2)
            with self._holding(held) as picking:
                [[since]] = picking.env.execute_query(SQL("SELECT now() AT TIME ZONE 'UTC'"))
                started = time.monotonic()
                self._call("stock.picking", "action_assign", [wanted])
                seconds = time.monotonic() - started
                self.assertGreater(seconds, 0.4)
                self.assertLess(seconds, DEFAULT_TIMEOUT_SECONDS)
                self.assertEqual(self._count_queued([wanted]), 1)
                self.assertEqual(self._get_states([wanted]), ["confirmed"])
                self._check_who_was_told(product_id, StockHolder(self.holder_id, since))
        self._wait_for_queue([wanted])
        self.assertEqual(self._get_states([held, wanted]), ["assigned"] * 2)
        self.assertEqual(self._get_figures(product_id), (2, 2, 2, 1))

    def _check_who_was_told(self, product_id, holder):
        with self._session() as env:
            user = env["res.users"].browse(self.user_id)
            name = holder.get_name(user.with_user(user).env)
            self.assertIn("contention_holder", name)
            [row] = env["stock.contention"].search(
                [("product_id", "=", product_id), ("kind", "=", "timeout")]
            )
            self.assertEqual((row.holder, row.user_id), (name, user))
            self.assertEqual(row.location_id.id, self.stock_id)
            # PostgreSQL counts in whole milliseconds.
            self.assertGreater(row.seconds, 0.4)
            notes = [
                note["message"]["payload"]["message"]
                for note in env["bus.bus"]._poll([user.partner_id])
                if note["message"]["type"] == "simple_notification"
            ]
            self.assertIn(name, notes[-1])
            self.assertIn("Contested", notes[-1])

    def test_who_comes_first_is_served_first(self):
        self._set_timeout(50)
        calls = []
        with self._worker_held_still():
            product_id = self._create_stock(5)
            held, *wanted = self._create_deliveries(product_id, 6)
            # Not the order of their ids.
            wanted = wanted[1::2] + wanted[::2]
            with self._holding(held):
                for number, picking_id in enumerate(wanted, 1):
                    calls.append(self._press_one("action_assign", picking_id))
                    wait_until(
                        lambda number=number: self._count_in_line(product_id) == number,
                        "next in line",
                    )
            for call in calls:
                call.result()
        # The first one's line is the holder's; the last one finds nothing left.
        with self._session() as env:
            lines = env["stock.move.line"].search([("product_id", "=", product_id)], order="id")
            self.assertEqual(lines.picking_id.ids, [held, *wanted[:-1]])
        self.assertEqual(self._get_figures(product_id), (5, 5, 5, 1))

    # --- lots ---

    def _create_lots(self, tracking, quantity):
        """Create a product with two lots; return its id and theirs."""
        with self._session() as env:
            product = env["product.product"].create(
                {"name": tracking, "type": "consu", "is_storable": True, "tracking": tracking}
            )
            lots = env["stock.lot"].create(
                [{"name": name, "product_id": product.id} for name in "AB"]
            )
            location = env["stock.location"].browse(self.stock_id)
            for lot in lots:
                env["stock.quant"]._update_available_quantity(
                    product, location, quantity, lot_id=lot
                )
            return product.id, lots.ids

    def test_another_serial_number_is_as_good(self):
        product_id, lot_ids = self._create_lots("serial", 1)
        held, wanted = self._create_deliveries(product_id, 2)
        with self._holding(held) as picking:
            self._call("stock.picking", "action_assign", [wanted])
            self.assertEqual(self._get_states([wanted]), ["assigned"])
            with self._session() as env:
                other = env["stock.picking"].browse(wanted)
                lots = picking.move_line_ids.lot_id.ids + other.move_line_ids.lot_id.ids
                self.assertEqual(lots, lot_ids)
        self.assertEqual(self._get_kinds(product_id), set())
        self.assertEqual(self._get_figures(product_id), (2, 2, 2, 2))

    def test_different_lots_do_not_wait_for_each_other(self):
        product_id, lot_ids = self._create_lots("lot", 5)
        with self._session() as env:
            scraps = env["stock.scrap"].create(
                [
                    {
                        "product_id": product_id,
                        "lot_id": lot_id,
                        "location_id": self.stock_id,
                        "scrap_qty": 2,
                    }
                    for lot_id in lot_ids
                ]
            )
            first, second = scraps.ids
        with self._session() as env:
            env["stock.scrap"].browse(first).with_user(self.holder_id).action_validate()
            env.flush_all()
            self._call("stock.scrap", "action_validate", [second])
            with self._session() as other_env:
                states = other_env["stock.scrap"].browse([first, second]).mapped("state")
                self.assertEqual(states, ["draft", "done"])
        self.assertEqual(self._get_kinds(product_id), set())
        self.assertEqual(self._get_figures(product_id), (6, 0, 0, 2))


class TestReservationQueue(ContentionCase):
    """Who reserves what is queued when the worker is killed, or not there at all."""

    def setUp(self):
        super().setUp()
        wait_until(lambda: not self._has_worker(), "another test's worker to be gone")

    def _start_worker(self):
        worker = WorkerProcess(self.registry.db_name, self._has_worker)
        worker.start()
        self.addCleanup(worker.__exit__)
        return worker

    def _set_cron(self, **vals):
        with self._session() as env:
            cron = env.ref("stock_event_ledger.cron_reservation_queue")
            before = {name: cron[name] for name in vals}
            cron.write(vals)
            env["ir.cron.trigger"].search([("cron_id", "=", cron.id)]).unlink()
        return before, cron.id

    def _restore_cron_afterwards(self, **vals):
        """Change the scheduled action for this test; return its id."""
        before, cron_id = self._set_cron(**vals)
        self.addCleanup(self._set_cron, **before)
        return cron_id

    @contextmanager
    def _queueing(self, product_id):
        """Confirm a delivery beside another one, which is committed before the block.

        :return: the id of the one that is queued, committed after the block
        """
        held, queued = self._create_deliveries(product_id, 2, draft=True)
        with self._session() as env:
            with self._session() as holder_env:
                holder_env["stock.picking"].browse(held).action_confirm()
                holder_env.flush_all()
                picking = env["stock.picking"].browse(queued)
                picking.action_confirm()
                self.assertTrue(picking.reservation_queued)
                env.flush_all()
            yield queued

    def test_a_killed_worker_loses_and_doubles_nothing(self):
        done_ids = [self._create_stock(25, f"Contested {i}") for i in range(5)]
        lost_ids = [self._create_stock(25, f"Contested {i}") for i in range(2)]
        before = self._create_transfers([done_ids] * 30, queue=True)
        after = self._create_transfers([[i] for i in lost_ids] * 30, queue=True)
        self.assertEqual(self._count_queued(before + after), 210)
        with self._session() as env:
            # Here the worker stops, in the midst of the last batch but one.
            env.execute_query(
                SQL("SELECT id FROM stock_picking WHERE id = %s FOR NO KEY UPDATE", after[40])
            )
            [[pid]] = env.execute_query(SQL("SELECT pg_backend_pid()"))
            worker = self._start_worker()
            wait_until(lambda: self._count_waiting_for(pid), worker.read_log)
            worker.kill()
        self.assertEqual(self._count_queued(before), 0)
        self.assertEqual(self._count_queued(after), 60)
        for product_id in lost_ids:
            self.assertEqual(self._get_figures(product_id), (25, 0, 0, 1))
        worker = self._start_worker()
        wait_until(lambda: not self._count_queued(after), worker.read_log)
        for product_id in done_ids + lost_ids:
            self.assertEqual(self._get_figures(product_id), (25, 25, 25, 1))
        self.assertEqual(self._get_states(after).count("assigned"), 50)

    def _count_waiting_for(self, pid):
        with self._session() as env:
            [[count]] = env.execute_query(
                SQL(
                    """SELECT COUNT(*) FROM pg_stat_activity
                        WHERE datname = current_database() AND %s = ANY(pg_blocking_pids(pid))""",
                    pid,
                )
            )
            return count

    def test_without_a_worker_the_scheduled_action_is_due_at_once(self):
        cron_id = self._restore_cron_afterwards(nextcall="2100-01-01", active=True)
        product_id = self._create_stock(2)
        with self._session() as env:
            self.assertIsNone(IrCron._acquire_one_job(env.cr, cron_id))
        with self._queueing(product_id) as queued:
            pass
        self.assertEqual(self._get_states([queued]), ["confirmed"])
        with self._session() as env:
            job = IrCron._acquire_one_job(env.cr, cron_id)
            self.assertTrue(job, "due before its time")
            env["ir.cron"]._process_job(env.cr, job)
        self.assertEqual(self._get_states([queued]), ["assigned"])
        self.assertEqual(self._get_figures(product_id), (2, 2, 2, 1))

    def test_with_nobody_else_the_request_reserves_after_its_commit(self):
        cron_id = self._restore_cron_afterwards(active=False)
        product_id = self._create_stock(2)
        with self._queueing(product_id) as queued:
            self.assertEqual(self._count_queued([queued]), 0, "not before")
        self.assertEqual(self._get_states([queued]), ["assigned"])
        self.assertEqual(self._get_figures(product_id), (2, 2, 2, 1))
        with self._session() as env:
            triggers = env["ir.cron.trigger"].search_count([("cron_id", "=", cron_id)])
            self.assertFalse(triggers)
