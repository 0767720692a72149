"""A database without a server, and Odoo processes that do one thing in it."""

import json
import subprocess

import psycopg2

from .server import TOOLS

RESULT = "benchmark result: "
SCRIPT = """
import json
from odoo.addons.stock_event_ledger.benchmarks import {module}
result = {module}.{function}(env, **json.loads({arguments!r}))
print({mark!r} + json.dumps(result), flush=True)
"""


class Database:
    """A database with the addon; no process of its own."""

    def __init__(self, database):
        self.database = database
        self._connection = psycopg2.connect(dbname=database)
        self._connection.autocommit = True

    def close(self):
        """End the connection to the database."""
        self._connection.close()

    def query(self, query, *params):
        """Return the rows of a query."""
        with self._connection.cursor() as cr:
            cr.execute(query, params)
            return cr.fetchall() if cr.description else []

    def call(self, module, function, **arguments):
        """Run a function of this package in an Odoo process; return its result.

        What the process reports and logs is shown.
        """
        script = SCRIPT.format(
            module=module, function=function, arguments=json.dumps(arguments), mark=RESULT
        )
        process = subprocess.run(
            [TOOLS / "odoo", "shell", "-d", self.database, "--no-http", "--log-level=warn"],
            input=script,
            stdout=subprocess.PIPE,
            text=True,
        )
        for line in process.stdout.splitlines():
            if line.startswith(RESULT):
                return json.loads(line.removeprefix(RESULT))
        raise SystemExit(f"{module}.{function} failed")
