import atexit
import subprocess
from contextlib import contextmanager

from odoo import sql_db
from odoo.modules.registry import Registry
from odoo.tools import config
from odoo.tools.misc import find_pg_tool

DROP_ATTEMPTS = 6

_copies = {}


def copy_database(source, name="copy"):
    """Copy what is committed in a database into one that tests may commit to.

    Several sessions, or a relay, work with committed rows, and ledger entries cannot be
    deleted. Made once per process: `createdb -T` asks for a source that nobody is connected to.
    """
    if (source, name) not in _copies:
        copy = f"{source[:50]}_{name}"
        drop_database(copy)
        _run_pg("createdb", copy)
        dump = subprocess.run(
            [find_pg_tool("pg_dump"), "--no-owner", source],
            check=True,
            capture_output=True,
        )
        _run_pg("psql", "--quiet", "--no-psqlrc", copy, input=dump.stdout)
        with no_test_mode():
            Registry(copy)
        _copies[source, name] = copy
        atexit.register(drop_database, copy, check=False)
    return _copies[source, name]


@contextmanager
def no_test_mode():
    # In test mode, loading a registry would start the tests of its modules.
    test_enable = config["test_enable"]
    config["test_enable"] = False
    try:
        yield
    finally:
        config["test_enable"] = test_enable


def drop_database(name, check=True):
    Registry.delete(name)
    sql_db.close_db(name)
    # PostgreSQL gives up on sessions that do not end within five seconds of being told to,
    # which on a busy machine some do not.
    for _attempt in range(DROP_ATTEMPTS):
        error = _get_drop_error(name)
        if not error:
            return
    if check:
        raise AssertionError(error)


def _get_drop_error(name):
    try:
        _run_pg("dropdb", "--if-exists", "--force", name)
    except subprocess.CalledProcessError as exc:
        return exc.stderr.decode()
    return None


def _run_pg(tool, *arguments, **kwargs):
    subprocess.run([find_pg_tool(tool), *arguments], check=True, capture_output=True, **kwargs)
