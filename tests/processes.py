"""Odoo's processes, for tests in which several sessions work at the same time.

They see what is committed only, so that tests with them commit their records.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import xmlrpc.client

from odoo.tools import config

DEADLINE_SECONDS = 60
MAIN = "from odoo.cli.command import main; main()"
# A server of several processes starts another one for websockets, which nobody opens here.
MAIN_WITHOUT_GEVENT = (
    "from odoo.service.server import PreforkServer;"
    f"PreforkServer.long_polling_spawn = lambda server: None; {MAIN}"
)


def get_free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, what):
    """Wait for a condition; the deadline only ends a test that is broken.

    :return: what the condition returned
    """
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"timed out: {what() if callable(what) else what}")
        time.sleep(0.02)
    return result


class Process:
    """One of Odoo's commands on a database, with what it logs and prints."""

    main = MAIN
    # What it reads.
    script = None

    def __init__(self, database):
        self.database = database
        self.log = tempfile.NamedTemporaryFile("r", suffix=".log")

    def _get_arguments(self):
        raise NotImplementedError

    def _is_ready(self):
        raise NotImplementedError

    def __enter__(self):
        self.start()
        self.wait_until_ready()
        return self

    def __exit__(self, *_exc):
        # Asked to end, a server takes seconds, and there is nothing to be saved.
        self.kill()
        self.log.close()

    def start(self):
        """Start it, and do not wait."""
        name, *options = self._get_arguments()
        command = [sys.executable, "-c", self.main]
        command.append("--addons-path=" + ",".join(config["addons_path"]))
        command += [name, f"--config={config['config']}", f"--database={self.database}", *options]
        with open(self.log.name, "ab") as output:
            self.process = subprocess.Popen(
                command,
                env=dict(os.environ),
                stdin=subprocess.PIPE if self.script else subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if self.script:
            self.process.stdin.write(self.script.encode())
            self.process.stdin.close()

    def wait_until_ready(self):
        try:
            wait_until(self._is_ready_or_ended, self.read_log)
        except BaseException:
            self.__exit__()
            raise

    def _is_ready_or_ended(self):
        if self.process.poll() is not None:
            raise AssertionError(f"Odoo ended early: {self.read_log()}")
        return self._is_ready()

    def kill(self):
        """End it, and what it has started, in the midst of whatever they are doing."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def read_log(self):
        self.log.seek(0)
        return self.log.read()


class Transport(xmlrpc.client.Transport):
    """Gives up a call in the end, and never repeats one behind the caller's back."""

    def make_connection(self, host):
        connection = super().make_connection(host)
        connection.timeout = DEADLINE_SECONDS
        return connection

    def request(self, host, handler, request_body, verbose=False):
        return self.single_request(host, handler, request_body, verbose)


class OdooProcess(Process):
    """``odoo server``, on a port of its own.

    :param int workers: how many processes answer, each one call at a time; threads if 0
    """

    def __init__(self, database, workers=0):
        super().__init__(database)
        self.port = get_free_port()
        self.workers = workers
        self.main = MAIN_WITHOUT_GEVENT if workers else MAIN

    def _get_arguments(self):
        return [
            "server",
            f"--db-filter=^{self.database}$",
            "--http-interface=127.0.0.1",
            f"--http-port={self.port}",
            f"--gevent-port={get_free_port()}",
            "--max-cron-threads=0",
            f"--workers={self.workers}",
        ]

    def _is_ready(self):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/web/login", timeout=30).close()
            return True
        except OSError:
            return False

    def get_answering_pids(self):
        """Return the ids of the processes that have answered XML-RPC calls."""
        return set(re.findall(r"^\S+ \S+ (\d+) .*POST /xmlrpc/", self.read_log(), re.MULTILINE))

    def get_session(self, user_id, password):
        """Return a function that calls a model's method over XML-RPC."""
        models = xmlrpc.client.ServerProxy(
            f"http://127.0.0.1:{self.port}/xmlrpc/2/object", Transport(), allow_none=True
        )

        def call(model, method, *args):
            return models.execute_kw(self.database, user_id, password, model, method, list(args))

        return call


class WorkerProcess(Process):
    """``odoo stock_event_worker``.

    :param is_ready: function that tells whether it works
    """

    def __init__(self, database, is_ready):
        super().__init__(database)
        self._is_ready = is_ready

    def _get_arguments(self):
        return ["stock_event_worker"]


class ShellProcess(Process):
    """``odoo shell`` with a script, which prints READY and then keeps its transaction."""

    READY = "what follows may be killed"

    def __init__(self, database, script):
        super().__init__(database)
        self.script = f"{script}\nprint({self.READY!r}, flush=True)\nimport time\ntime.sleep(600)\n"

    def _get_arguments(self):
        return ["shell", "--no-http"]

    def _is_ready(self):
        return self.READY in self.read_log()
