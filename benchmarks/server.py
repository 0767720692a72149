"""The databases under test, each with its servers: started, watched and ended."""

import configparser
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
import xmlrpc.client

import psycopg2
from psycopg2 import sql

from .load import Client, run_at_once

TOOLS = pathlib.Path(__file__).parents[1] / "tools"
START_SECONDS = 120
STOP_SECONDS = 30
WARM_UP_ROUNDS = 12
# What Odoo logs when it begins a request again.
REPLAY = re.compile(r"odoo\.service\.model: .* tries left, try again in ")
REQUEST = re.compile(r"^\S+ \S+ (\d+) INFO \S+ werkzeug: ")
WORKER_STARTED = re.compile("worker started")
TROUBLE = re.compile(r"^\S+ \S+ \d+ (?:WARNING|ERROR|CRITICAL) ")


class Log:
    """A process's log, read from the last mark on."""

    def __init__(self, path):
        self.path = path
        self._offset = 0

    def mark(self):
        """Forget what was logged so far."""
        self._offset = self.path.stat().st_size

    def find(self, pattern):
        """Return the matches of a pattern in the lines since the mark."""
        with self.path.open(errors="replace") as file:
            file.seek(self._offset)
            return [match for line in file if (match := pattern.search(line))]


@contextlib.contextmanager
def running(command, path):
    """Run a process while the block lasts, its output in a file; yield process and Log."""
    with path.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for the benchmark, which then ends its processes in turn.
            start_new_session=True,
        )
    try:
        yield process, Log(path)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until(process, log, is_ready):
    """Wait until a process is ready; end the benchmark if it does not get there."""
    deadline = time.monotonic() + START_SECONDS
    while not is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{log.path.name}: no start:\n{log.path.read_text()[-4000:]}")
        time.sleep(0.2)


def wait_until_answers(process, log, address):
    """Wait until a server's web pages are there."""

    def answers():
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{address}/web/login", timeout=30).close()
            return True
        return False

    wait_until(process, log, answers)


@contextlib.contextmanager
def working(database, folder):
    """Run the addon's worker while the block lasts; yield its Log."""
    command = [TOOLS / "odoo", "stock_event_worker", "-d", database]
    with running(command, folder / "worker.log") as (process, log):
        log.mark()
        wait_until(process, log, lambda: log.find(WORKER_STARTED))
        yield log


def get_free_port():
    """Return a port of the loopback interface that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Site:
    """One of the compared databases, with a server that has a process per session."""

    def __init__(self, name, database, sessions):
        self.name = name
        self.database = database
        self.sessions = sessions
        self.has_addon = name == "addon"

    @contextlib.contextmanager
    def serve(self, folder):
        """Run the server, and beside it the addon's worker, while the block lasts."""
        with contextlib.ExitStack() as stack:
            self._connection = psycopg2.connect(dbname=self.database)
            stack.callback(self._connection.close)
            self._connection.autocommit = True
            port = get_free_port()
            process, self.log = stack.enter_context(
                running(self._get_command(port), folder / f"{self.name}.log")
            )
            self.address = f"http://127.0.0.1:{port}"
            wait_until_answers(process, self.log, self.address)
            self.worker_log = None
            if self.has_addon:
                self.worker_log = stack.enter_context(working(self.database, folder))
            self._log_in()
            yield self

    def _get_command(self, port):
        command = [TOOLS / "odoo", "server", "-d", self.database]
        command += ["--db-filter", f"^{self.database}$", f"--workers={self.sessions}"]
        command += ["--http-interface=127.0.0.1", f"--http-port={port}"]
        command += [f"--gevent-port={get_free_port()}", "--max-cron-threads=0"]
        # The replays, and which process answered.
        command += ["--log-level=warn", "--log-handler=odoo.service.model:INFO"]
        command += ["--log-handler=werkzeug:INFO"]
        return command

    def _log_in(self):
        common = xmlrpc.client.ServerProxy(f"{self.address}/xmlrpc/2/common")
        self.odoo_version = common.version()["server_version"]
        user_id = common.authenticate(self.database, "admin", "admin", {})
        self.clients = [Client(self.address, self.database, user_id) for _ in range(self.sessions)]

    def call(self, model, method, *args, **kwargs):
        """Call a method as the first client."""
        return self.clients[0].call(model, method, *args, **kwargs)

    def query(self, query, *params):
        """Return the rows of a query, which neither waits for Odoo nor occupies it."""
        with self._connection.cursor() as cr:
            cr.execute(query, params)
            return cr.fetchall() if cr.description else []

    def has_column(self, table, column):
        """Tell whether a table of the database has a column."""
        query = "SELECT FROM information_schema.columns WHERE table_name=%s AND column_name=%s"
        return bool(self.query(query, table, column))

    def warm_up(self, get_jobs):
        """Have each process do some of the work: it hashes a password and fills caches.

        :param get_jobs: function that returns a job for each client, on each call
        """
        self.log.mark()
        for _round in range(WARM_UP_ROUNDS):
            run_at_once(self.clients, get_jobs())
            answered = [match[1] for match in self.log.find(REQUEST)]
            if sum(answered.count(pid) > 1 for pid in set(answered)) >= self.sessions:
                return
        raise SystemExit(f"{self.name}: not all processes answer")

    def start_counting(self):
        """Count replays and the worker's warnings from now on."""
        self.log.mark()
        if self.worker_log:
            self.worker_log.mark()

    def count_replays(self):
        """Return how many requests Odoo has begun again."""
        return len(self.log.find(REPLAY))

    def count_worker_warnings(self):
        """Return how many warnings and errors the worker has logged."""
        return len(self.worker_log.find(TROUBLE)) if self.worker_log else 0


@contextlib.contextmanager
def serving(name, sessions, keep=False):
    """Make both databases and serve them while the block lasts.

    :param str name: the databases' names are this one with _plain and _addon
    :param int sessions: how many processes each server has
    :return: the Sites, by name
    """
    databases = {"plain": f"{name}_plain", "addon": f"{name}_addon"}
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for site, database in databases.items():
            option = ["--stock-only"] if site == "plain" else []
            stack.enter_context(made_database(database, keep, *option))
        yield {
            site: stack.enter_context(Site(site, database, sessions).serve(folder))
            for site, database in databases.items()
        }


@contextlib.contextmanager
def made_database(database, keep, *options):
    """Make a database, and drop it in the end unless it is to be kept."""
    try:
        subprocess.run([TOOLS / "database", *options, database], check=True)
        yield database
    finally:
        if not keep:
            drop_database(database)


def drop_database(database):
    """Remove a database and its files."""
    connection = psycopg2.connect(dbname="postgres")
    connection.autocommit = True
    with contextlib.closing(connection), connection.cursor() as cr:
        cr.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database))
        )
    configuration = configparser.ConfigParser(interpolation=None)
    configuration.read(os.environ["ODOO_RC"])
    filestore = pathlib.Path(configuration["options"]["data_dir"], "filestore", database)
    shutil.rmtree(filestore, ignore_errors=True)
