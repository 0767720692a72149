"""A real Odoo server for tests in which several sessions work at the same time."""

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import xmlrpc.client

from odoo.tools import config


def get_free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class OdooProcess:
    """``odoo server`` on the database of the test, on a port of its own.

    It sees what is committed only, so that tests with one commit their records.
    """

    def __init__(self, database):
        self.database = database
        self.port = get_free_port()
        self.log = tempfile.NamedTemporaryFile("r", suffix=".log")

    def __enter__(self):
        command = [
            sys.executable,
            "-c",
            "from odoo.cli.command import main; main()",
            "server",
            f"--config={config['config']}",
            f"--database={self.database}",
            f"--db-filter=^{self.database}$",
            "--http-interface=127.0.0.1",
            f"--http-port={self.port}",
            f"--gevent-port={get_free_port()}",
            "--max-cron-threads=0",
            f"--logfile={self.log.name}",
        ]
        self.process = subprocess.Popen(
            command, env=dict(os.environ), stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        try:
            self._wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def _wait_until_ready(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"Odoo ended early: {self.read_log()}")
            try:
                urllib.request.urlopen(
                    f"http://127.0.0.1:{self.port}/web/login", timeout=30
                ).close()
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"Odoo did not answer: {self.read_log()}")

    def read_log(self):
        self.log.seek(0)
        return self.log.read()

    def get_session(self, user_id, password):
        """Return a function that calls a model's method over XML-RPC."""
        models = xmlrpc.client.ServerProxy(
            f"http://127.0.0.1:{self.port}/xmlrpc/2/object", allow_none=True
        )

        def call(model, method, *args):
            return models.execute_kw(self.database, user_id, password, model, method, list(args))

        return call
