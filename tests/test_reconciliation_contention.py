import contextlib
import threading
import xmlrpc.client
from concurrent.futures import ThreadPoolExecutor

from ..models.stock_ledger_reconciliation import Scope
from .contention_common import ContentionCase
from .processes import OdooProcess

SESSIONS = 8


class TestReconciliationContention(ContentionCase):
    """No false alarm, whoever works while figures are compared."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with cls._session() as env:
            cls.user_id = env.ref("base.user_admin").id
            cls.password = "admin"
            env["res.users"].browse(cls.user_id).password = cls.password

    def _work(self, server, picking_ids, stop):
        """Reserve transfers, and validate or cancel them.

        :return: how many calls worked; Odoo refuses to validate what waits to be reserved
        """
        call = server.get_session(self.user_id, self.password)
        calls = 0
        for picking_id in picking_ids:
            end = "button_validate" if picking_id % 3 else "action_cancel"
            for method in ("action_assign", end):
                if stop.is_set():
                    return calls
                with contextlib.suppress(xmlrpc.client.Fault):
                    call("stock.picking", method, [picking_id])
                    calls += 1
        return calls

    def _reconcile(self, products, is_full):
        """Return a run's state and the drifts, of what other tests left in the ledger aside."""
        with self._session() as env:
            env["stock.ledger.rollup"]._fold(20)
        with self._session() as env:
            run = env["stock.ledger.reconciliation"]._reconcile(
                Scope(product_ids=tuple(products)), is_full
            )
            drifts = env["stock.ledger.drift"].search(
                [("state", "=", "open"), ("product_id", "in", products)]
            )
            found = drifts.read(["kind", "ledger_quantity", "quant_quantity", "line_quantity"])
            return run.state, found

    def test_no_false_alarm(self):
        products = [self._create_stock(100, f"Busy {number}") for number in range(2)]
        demands = [[products[number % 2], products[1 - number % 2]] for number in range(32)]
        pickings = self._create_transfers(demands)
        stop = threading.Event()
        self.assertEqual(self._reconcile(products, is_full=True), ("clean", []))
        runs = 0
        with (
            OdooProcess(self.registry.db_name, workers=SESSIONS) as server,
            ThreadPoolExecutor(SESSIONS) as pool,
        ):
            shares = [pickings[number::SESSIONS] for number in range(SESSIONS)]
            tasks = [pool.submit(self._work, server, share, stop) for share in shares]
            try:
                while not all(task.done() for task in tasks):
                    result = self._reconcile(products, is_full=runs % 2 == 0)
                    self.assertEqual(result, ("clean", []))
                    runs += 1
            finally:
                stop.set()
            # Half of the calls are reservations, and each of them works.
            for task, share in zip(tasks, shares, strict=True):
                self.assertGreaterEqual(task.result(), len(share))
            self.assertEqual(len(server.get_answering_pids()), SESSIONS)
        self.assertGreater(runs, 3)
        self.assertEqual(self._reconcile(products, is_full=True), ("clean", []))
