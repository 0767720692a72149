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
        if not (keep and _has_history(name, movements)):
            stack.enter_context(made_database(name, keep))
        database = Database(name)
        stack.callback(database.close)
        if not _has_history(name, movements):
            say(f"a history of {movements:,} movements")
            database.call("history", "make_history", movements=movements)
            say("  vacuum")
            database.query("VACUUM (ANALYZE)")
        yield database


def _has_history(name, movements):
    try:
        connection = psycopg2.connect(dbname=name)
    except psycopg2.OperationalError:
        return False
    with contextlib.closing(connection), connection.cursor() as cr:
        cr.execute("SELECT value FROM ir_config_parameter WHERE key = %s", [PARAMETER])
        return any(json.loads(value)["movements"] == movements for [value] in cr.fetchall())
