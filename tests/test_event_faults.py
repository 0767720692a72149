import os
import pathlib
import random
import tempfile
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

from odoo import sql_db
from odoo.tests import TransactionCase, tagged
from odoo.tools import config

from ..faults.launcher import Launcher
from ..faults.scenarios import cut_connection, kill_command_worker, kill_worker, sync_partners
from ..faults.stage import Account, Stage
from .database_copy import copy_database


@tagged("post_install", "-at_install")
class TestEventFaults(TransactionCase):
    """A short form of ``make test-faults``: what needs no server to be killed."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        url = urlsplit(os.environ["AMQP_URL"])
        cls.account = Account(
            host=url.hostname,
            port=url.port or 5672,
            virtual_host=unquote(url.path[1:]) or "/",
            username=unquote(url.username or "guest"),
            password=unquote(url.password or "guest"),
        )
        cls.broker_port = cls.account.port
        cls.random = random.Random()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        dbname = copy_database(cls.env.cr.dbname)
        _name, cls.connection = sql_db.connection_info_for(dbname)
        cls.launcher = cls.enterClassContext(cls._start_zygote(dbname, cls.folder))

    @classmethod
    def _start_zygote(cls, dbname, folder):
        options = [
            f"--config={config['config']}",
            "--addons-path=" + ",".join(config["addons_path"]),
            f"--database={dbname}",
        ]
        password = {"STOCK_EVENT_LEDGER_AMQP_PASSWORD": cls.account.password}
        return Launcher(options, folder, {**os.environ, **password})

    @contextmanager
    def open_partner(self, stage):
        """A Stage on a second database, as in a Site."""
        folder = self.folder / "partner"
        folder.mkdir()
        dbname = copy_database(self.env.cr.dbname, "partner")
        _name, connection = sql_db.connection_info_for(dbname)
        with self._start_zygote(dbname, folder) as launcher:
            with Stage("partner", launcher, [self.account], connection, folder) as partner:
                yield partner

    def scale(self, count):
        return count

    def play(self, scenario, has_events=True, **options):
        """Run a scenario, which finds in this test what it finds in a Site."""
        stage = Stage("test", self.launcher, [self.account], self.connection, self.folder)
        with stage:
            scenario(self, stage, **options)
            verdict = stage.judge()
        if has_events:
            self.assertGreater(verdict.events, 0)
        self.assertTrue(verdict.is_good, verdict)

    def test_killed_workers(self):
        self.play(kill_worker, rounds=2)

    def test_killed_workers_of_commands(self):
        self.play(kill_command_worker, has_events=False, rounds=1)

    def test_cut_connection(self):
        self.play(cut_connection, rounds=1, with_silence=False)

    def test_partners_in_two_databases(self):
        self.play(sync_partners, has_events=False, rounds=1, with_broker=False)
