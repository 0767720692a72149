"""The databases with histories of movements: made, or found again."""

import contextlib
import json

import psycopg2

from .database import Database
from .report import say
from .server import made_database

MOVEMENTS = [100_000, 1_000_000, 10_000_000]
# Where a database keeps the description of its history.
PARAMETER = "stock_event_ledger.benchmark_history"
# A transfer has the moves of a kind in a warehouse among so many movements.
BLOCK = 200


@contextlib.contextmanager
def made_history(name, movements, keep):
    """Make a database with so many movements, or use the one that was kept; yield Database."""
    with contextlib.ExitStack() as stack:
        found = keep and _find_history(name)
        if not found or found["movements"] != movements:
            stack.enter_context(made_database(name, keep))
            found = None
        database = Database(name)
        stack.callback(database.close)
        if not found:
            say(f"a history of {movements:,} movements")
            found = database.call("history", "make_history", movements=movements)
            say("  vacuum")
            database.query("VACUUM (ANALYZE)")
        database.odoo_version = found["odoo_version"]
        yield database


def _find_history(name):
    """Return the description of a database's history, or None."""
    try:
        connection = psycopg2.connect(dbname=name)
    except psycopg2.OperationalError:
        return None
    with contextlib.closing(connection), connection.cursor() as cr:
        cr.execute("SELECT value FROM ir_config_parameter WHERE key = %s", [PARAMETER])
        row = cr.fetchone()
        return row and json.loads(row[0])
