"""A process that loads Odoo's registry once, and forks a child for each job.

To fork takes milliseconds where to load takes seconds, and a child is as real as a
process of its own: it has its own connections and is killed alone.
"""

import importlib
import json
import os
import random
import signal
import sys
import threading
import traceback

from odoo import sql_db
from odoo.modules.registry import Registry
from odoo.tools import config


def main():
    """Read requests, a line each, and answer each with a line, until the input ends."""
    config.parse_config(sys.argv[1:], setup_logging=True)
    [dbname] = config["db_name"]
    threading.current_thread().dbname = dbname
    Registry(dbname)
    # A connection must not be used by two processes.
    sql_db.close_all()
    # Not before the registry: it imports the addon.
    jobs = importlib.import_module(f"{__package__}.jobs")
    children = set()
    _answer({})
    for line in sys.stdin:
        request = json.loads(line)
        if "job" in request:
            children.add(pid := _fork(jobs, dbname, request))
            _answer({"pid": pid})
        else:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            children.discard(pid)
            _answer({"exit_code": os.waitstatus_to_exitcode(status) if pid else None})
    # Whoever asked has ended, in whatever way.
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def _answer(answer):
    print(json.dumps(answer), flush=True)


def _fork(jobs, dbname, request):
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        _redirect(request["log"])
        random.seed()
        result = getattr(jobs, request["job"])(dbname, **request["arguments"])
        if request["result"]:
            with open(request["result"], "w", encoding="utf-8") as file:
                json.dump(result, file)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        # Not into the parent's loop, nor its clean-up.
        os._exit(status)


def _redirect(log):
    # Only the parent reads requests and gives answers.
    with open(os.devnull, "rb") as source, open(log, "ab") as output:
        os.dup2(source.fileno(), 0)
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)


if __name__ == "__main__":
    main()
