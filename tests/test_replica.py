import contextlib
import pathlib
import tempfile

import psycopg2
import requests

from odoo import Command
from odoo.tests import BaseCase, get_db_name, tagged

from ..faults.servers import USER, PostgreSQL, Replica
from .processes import DEADLINE_SECONDS, OdooProcess, wait_until

DATABASE = "replicated"
LOGIN, PASSWORD = "replica_reader", "reads on the replica"
REPORT, LEDGER = "stock.ledger.report.stock", "stock.ledger.entry"
ON_HAND = "physical_quantity"
# Odoo leaves a replica that it cannot reach alone for twenty minutes.
RETRY_SECONDS = 1


class ReplicatedProcess(OdooProcess):
    """``odoo server`` with a database and a replica of it."""

    def __init__(self, folder, primary, replica):
        super().__init__(DATABASE)
        self._options = [
            f"--data-dir={folder}",
            f"--db_user={USER}",
            f"--db_host={primary.folder}",
            f"--db_port={primary.port}",
            f"--db_replica_host={replica.folder}",
            f"--db_replica_port={replica.port}",
        ]
        self.main = (
            "from odoo.orm import registry;"
            f"registry._REPLICA_RETRY_TIME = {RETRY_SECONDS}; {self.main}"
        )

    def _get_arguments(self):
        return [*super()._get_arguments(), *self._options]


@tagged("post_install", "-at_install")
class TestReplica(BaseCase):
    """What only reads is read on a streaming replica.

    The replica is made to lag behind, so that the answer tells whose it is. A call that is
    marked read-only and writes all the same is repeated by Odoo on the primary, and would
    have the primary's answer.
    """

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        # PostgreSQL runs as another user than root, and has folders in it.
        folder.chmod(0o711)
        cls.primary = cls.enterClassContext(PostgreSQL(folder / "primary", is_durable=False))
        cls.primary.restore(get_db_name(), DATABASE)
        cls.replica = cls.enterClassContext(Replica(folder / "replica", cls.primary))
        server = ReplicatedProcess(folder, cls.primary, cls.replica)
        cls.server = cls.enterClassContext(server)
        cls.url = f"http://127.0.0.1:{server.port}"
        cls._create_records()
        cls.client = cls._get_client(LOGIN, PASSWORD)
        # XML-RPC is Odoo's one way in that always asks the primary.
        cls.call_primary = staticmethod(server.get_session(cls.user_id, PASSWORD))

    @classmethod
    def _create_records(cls):
        cls.admin = cls._get_client("admin", "admin")
        product = {"name": "Read", "type": "consu", "is_storable": True}
        cls.product_id = cls._call_as(cls.admin, "product.product", "create", product)
        user = {"name": LOGIN, "login": LOGIN, "password": PASSWORD}
        cls.user_id = cls._call_as(cls.admin, "res.users", "create", user)
        group = [("module", "=", "stock"), ("name", "=", "group_stock_user")]
        [group] = cls._call_as(cls.admin, "ir.model.data", "search_read", group, ["res_id"])
        groups = {"user_ids": [Command.link(cls.user_id)]}
        cls._call_as(cls.admin, "res.groups", "write", [group["res_id"]], groups)
        [warehouse] = cls._call_as(
            cls.admin,
            "stock.warehouse",
            "search_read",
            [],
            ["lot_stock_id", "out_type_id"],
            limit=1,
        )
        [cls.location_id, _name] = warehouse["lot_stock_id"]
        [cls.picking_type_id, _name] = warehouse["out_type_id"]

    def setUp(self):
        super().setUp()
        self._count(10)
        self._wait_for_replay()

    # --- servers ---

    @classmethod
    def _query(cls, server, query, parameters=None):
        connection = psycopg2.connect(
            host=str(server.folder), port=server.port, user=USER, dbname=DATABASE
        )
        with contextlib.closing(connection), connection.cursor() as cr:
            connection.autocommit = True
            cr.execute(query, parameters)
            return cr.fetchone()[0]

    @classmethod
    def _wait_for_replay(cls):
        position = cls._query(cls.primary, "SELECT pg_current_wal_lsn()")
        query = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        wait_until(lambda: cls._query(cls.replica, query, [position]), "replay")

    @contextlib.contextmanager
    def _lagging_replica(self):
        """The replica shows what there is now, whatever is committed meanwhile."""
        self._query(self.replica, "SELECT pg_wal_replay_pause()::text")
        state = "SELECT pg_get_wal_replay_pause_state()"
        wait_until(lambda: self._query(self.replica, state) == "paused", "pause")
        try:
            yield
        finally:
            self._query(self.replica, "SELECT pg_wal_replay_resume()::text")
        self._wait_for_replay()

    # --- calls ---

    @classmethod
    def _get_client(cls, login, password):
        client = requests.Session()
        cls.addClassCleanup(client.close)
        params = {"db": DATABASE, "login": login, "password": password}
        cls._post(client, "/web/session/authenticate", params)
        cls._wait_for_replay()
        return client

    @classmethod
    def _post(cls, client, path, params):
        response = client.post(cls.url + path, json={"params": params}, timeout=DEADLINE_SECONDS)
        answer = response.json()
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer.get("result")

    @classmethod
    def _call_as(cls, client, model, method, *args, path="call_kw", **kwargs):
        params = {"model": model, "method": method, "args": args, "kwargs": kwargs}
        return cls._post(client, f"/web/dataset/{path}/{model}/{method}", params)

    def _call(self, *args, **kwargs):
        """Call a method as the web client does."""
        return self._call_as(self.client, *args, **kwargs)

    def _count(self, quantity):
        """Set the stock on hand: calls that write."""
        quant = {
            "product_id": self.product_id,
            "location_id": self.location_id,
            "inventory_quantity": quantity,
        }
        inventory = {"inventory_mode": True}
        quant_id = self._call("stock.quant", "create", quant, context=inventory)
        self._call("stock.quant", "action_apply_inventory", [quant_id])

    def _read_figures(self):
        """Return the stock on hand, by the web client's method that read it."""
        domain = [("product_id", "=", self.product_id)]
        total = f"{ON_HAND}:sum"
        rows = self._call(REPORT, "web_search_read", domain, {ON_HAND: {}})["records"]
        ids = [row["id"] for row in rows]
        groups = self._call(REPORT, "web_read_group", domain, ["warehouse_id"], [total])["groups"]
        pivot = self._call(
            REPORT, "formatted_read_grouping_sets", domain, [["product_id"]], [total]
        )
        entries = [*domain, ("location_id", "=", self.location_id)]
        in_ledger = self._call(LEDGER, "formatted_read_group", entries, [], ["quantity:sum"])
        return {
            "list": [row[ON_HAND] for row in rows],
            "form": [row[ON_HAND] for row in self._call(REPORT, "web_read", ids, {ON_HAND: {}})],
            "groups": [group[total] for group in groups],
            "pivot": [group[total] for [group] in pivot],
            "ledger": [group["quantity:sum"] for group in in_ledger],
        }

    def _read_from_primary(self):
        domain = [("product_id", "=", self.product_id)]
        return [row[ON_HAND] for row in self.call_primary(REPORT, "search_read", domain, [ON_HAND])]

    def assertFigures(self, quantity):
        for method, figures in self._read_figures().items():
            with self.subTest(method):
                self.assertEqual(figures, [quantity])

    # --- tests ---

    def test_reports_are_read_on_the_replica(self):
        self.assertFigures(10)
        with self._lagging_replica():
            self._count(13)
            self.assertFigures(10)
            self.assertEqual(self._read_from_primary(), [13])
        self.assertFigures(13)

    def test_json2(self):
        headers = {"Authorization": f"Bearer {self._create_key()}"}
        self._wait_for_replay()

        def read():
            arguments = {"domain": [("product_id", "=", self.product_id)], "fields": [ON_HAND]}
            response = requests.post(
                f"{self.url}/json/2/{REPORT}/search_read",
                json=arguments,
                headers=headers,
                timeout=DEADLINE_SECONDS,
            )
            return [row[ON_HAND] for row in response.json()]

        with self._lagging_replica():
            self._count(14)
            self.assertEqual(read(), [10])
        self.assertEqual(read(), [14])

    def _create_key(self):
        model = "res.users.apikeys.description"
        key_id = self._call(model, "create", {"name": "Replica", "duration": "1"})
        check_id = self._call(model, "make_key", [key_id])["res_id"]
        password = {"password": PASSWORD}
        action = self._call("res.users.identitycheck", "run_check", [check_id], context=password)
        return action["context"]["default_key"]

    def test_buttons_are_answered_by_the_replica(self):
        [row_id] = self._call(REPORT, "search", [("product_id", "=", self.product_id)])
        picking_id = self._call(
            "stock.picking", "create", {"picking_type_id": self.picking_type_id}
        )
        self._wait_for_replay()
        buttons = [
            (self.client, REPORT, "action_view_entries", row_id),
            (self.client, "stock.picking", "action_view_ledger_entries", picking_id),
            (self.admin, "stock.event.channel", "action_open_outbox", 0),
            (self.admin, "stock.event.channel", "action_open_blocked", 0),
        ]

        def press(client, model, method, record_id):
            return self._call_as(client, model, method, [record_id], path="call_button")

        actions = [press(*button) for button in buttons]
        with self._lagging_replica():
            ids = [action["id"] for action in actions]
            self._call_as(self.admin, "ir.actions.act_window", "write", ids, {"name": "Renamed"})
            for button, action in zip(buttons, actions, strict=True):
                with self.subTest(button=button[1:]):
                    self.assertEqual(press(*button)["name"], action["name"])
        self.assertEqual({press(*button)["name"] for button in buttons}, {"Renamed"})

    def test_a_contention_is_opened_by_the_replica(self):
        [move_id, *_older] = self._call(
            "stock.move", "search", [("product_id", "=", self.product_id)]
        )
        row_id = self._query(
            self.primary,
            """INSERT INTO stock_contention (date, kind, product_id, location_id, move_id)
               VALUES (now(), 'wait', %s, %s, %s) RETURNING id""",
            [self.product_id, self.location_id, move_id],
        )
        self._wait_for_replay()
        press = ("stock.contention", "action_open_reference", [row_id])
        with self._lagging_replica():
            forget = "UPDATE stock_contention SET move_id = NULL RETURNING id"
            self._query(self.primary, forget)
            action = self._call_as(self.admin, *press, path="call_button")
            self.assertEqual(action["res_id"], move_id)
        self.assertFalse(self._call_as(self.admin, *press, path="call_button"))

    def test_a_stopped_replica(self):
        self.replica.stop("fast")
        self._count(15)
        self.assertFigures(15)
        self._restart_replica()

    def test_a_crashed_replica(self):
        self.replica.stop()
        # A connection that Odoo had kept open may cost the call that finds it broken.
        wait_until(self._is_answered, "an answer")
        self._count(15)
        self.assertFigures(15)
        self._restart_replica()

    def _is_answered(self):
        try:
            return self._read_figures()
        except requests.JSONDecodeError:
            return False

    def _restart_replica(self):
        """Start the replica; the next calls are answered by the primary, later ones by it."""
        self.replica.start()
        self._wait_for_replay()
        with self._lagging_replica():
            self._count(16)
            wait_until(lambda: self._read_figures()["list"] == [15], "the replica's answer")
            self.assertFigures(15)
        self.assertFigures(16)
