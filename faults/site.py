"""The servers that scenarios break, and the stages between them."""

import contextlib
import os
import pathlib
import random
import shutil
import tempfile
import time
import traceback
from dataclasses import dataclass

from .launcher import Launcher
from .scenarios import SCENARIOS
from .servers import USER, Broker, Brokers, PostgreSQL
from .stage import Account, Stage, say
from .verdict import Verdict

DATABASE = "faults"
PARTNER = "faults_partner"
CLUSTER = ("one", "two", "three")
PASSWORD = "STOCK_EVENT_LEDGER_AMQP_PASSWORD"


@dataclass
class Result:
    """What came of one scenario."""

    scenario: str
    faults: int
    seconds: float
    verdict: Verdict


class Site:
    """A PostgreSQL with one database, and brokers: one, and a cluster for who needs it."""

    def __init__(self, source, seed, scale):
        """
        :param str source: a database with the addon, to be copied
        :param int seed: of all that is left to chance
        :param float scale: 0.1: a tenth of the faults
        """
        self.random = random.Random(seed)
        self.broker = None
        self._source = source
        self._scale = scale
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        with self._stack as stack:
            self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sel-faults-"))
            # PostgreSQL runs as another user than root, and has a folder in it.
            self.folder.chmod(0o711)
            say(f"servers, logs and records are in {self.folder}")
            self.postgresql = stack.enter_context(PostgreSQL(self.folder / "pg"))
            self.postgresql.restore(self._source, DATABASE)
            self.brokers = stack.enter_context(Brokers(self.folder / "mq"))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info):
        self._stack.close()

    def discard(self):
        """Delete data, logs and records, after the end."""
        shutil.rmtree(self.folder)

    @property
    def broker_port(self):
        return self.broker.port

    def scale(self, count):
        """Return how often something is done in this run."""
        return max(1, round(count * self._scale))

    def run(self, name):
        """Run a scenario and return its Result."""
        say(f"{name}: {SCENARIOS[name].__doc__}")
        started = time.monotonic()
        with contextlib.ExitStack() as stack:
            accounts = [self._get_account(broker) for broker in self._start_brokers(name)]
            folder = self.folder / name
            folder.mkdir()
            launcher = stack.enter_context(self._start_zygote(folder))
            stage = Stage(name, launcher, accounts, self._get_connection(), folder)
            with stage:
                try:
                    SCENARIOS[name](self, stage)
                except Exception as error:
                    # What was committed until then has a verdict all the same.
                    stage.problems.append(f"{type(error).__name__}: {error}")
                    traceback.print_exc()
                launcher.kill_children()
                verdict = stage.judge()
        return Result(name, stage.faults, time.monotonic() - started, verdict)

    @contextlib.contextmanager
    def open_partner(self, stage):
        """A Stage on a second database, for as long as the block.

        :param Stage stage: on the first one
        """
        self.postgresql.restore(self._source, PARTNER)
        folder = stage.folder / "partner"
        folder.mkdir()
        with self._start_zygote(folder, PARTNER) as launcher:
            connection = {**self._get_connection(), "dbname": PARTNER}
            with Stage("partner", launcher, stage.accounts, connection, folder) as partner:
                yield partner
                launcher.kill_children()

    def _start_brokers(self, name):
        if name == "cluster":
            nodes = [Broker(self.brokers, node, CLUSTER) for node in CLUSTER]
            # One after the other, so that the first one is there to be joined.
            self.cluster = [self._stack.enter_context(node) for node in nodes]
            return self.cluster
        if not self.broker:
            self.broker = self._stack.enter_context(Broker(self.brokers, "alone"))
        return [self.broker]

    def _get_account(self, broker):
        return Account("127.0.0.1", broker.port, "/", USER, self.brokers.password)

    def _get_connection(self):
        folder = str(self.postgresql.folder)
        return {"host": folder, "port": self.postgresql.port, "user": USER, "dbname": DATABASE}

    def _start_zygote(self, folder, database=DATABASE):
        options = [
            f"--addons-path={os.environ['ADDONS']}",
            f"--database={database}",
            f"--db_host={self.postgresql.folder}",
            f"--db_port={self.postgresql.port}",
            f"--db_user={USER}",
            f"--data-dir={folder}",
        ]
        return Launcher(options, folder, {**os.environ, PASSWORD: self.brokers.password})

    def find_queue_leader(self, queue):
        """Return the node of the cluster that leads a quorum queue."""
        for node in self.cluster:
            with contextlib.suppress(AssertionError):
                for line in node.control("list_queues", "name", "leader").splitlines():
                    name, _tab, leader = line.partition("\t")
                    if name == queue:
                        return next(node for node in self.cluster if node.name == leader)
        raise AssertionError(f"no leader of {queue}")
