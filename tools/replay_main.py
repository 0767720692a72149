"""The command line of tools/replay: connects, shows the progress, reports."""

import argparse
import os
import sys
import threading
import time
from functools import partial

import psycopg2
import replay_data
import replay_sample

PLAIN_SECONDS = 5
COUNTS = ("receipts", "deliveries", "returns", "adjustments", "moves", "products")


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(
        prog="tools/replay",
        description="Performs the invoices of an Online Retail CSV file through Odoo's "
        "own transfers: receipts that cover the demand, deliveries, returns and "
        "adjustments, dated like the invoices. Run again, it continues.",
    )
    parser.add_argument(
        "--database", "-d", default=os.environ.get("DEMO_DB"), help="default: $DEMO_DB"
    )
    parser.add_argument("--data", help="CSV file, plain or gzip (default: generated)")
    parser.add_argument("--limit", type=positive, help="only the first LIMIT lines")
    parser.add_argument(
        "--lines", type=positive, default=2000, help="lines to generate (default: 2000)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the generated lines")
    parser.add_argument(
        "--batch",
        type=positive,
        default=100,
        help="lines per transaction, rounded up to whole invoices (default: 100)",
    )
    arguments = parser.parse_args(argv)
    if not arguments.database:
        parser.error("name a database: --database DB")
    return arguments


def positive(text):
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


# --- progress and report


class Display:
    """A bar where someone watches, else a line of text every few seconds."""

    def __init__(self, stop, stream=sys.stderr, clock=time.monotonic):
        self.stop = stop
        self.stream = stream
        self.clock = clock
        self.bar = stream.isatty() and not os.environ.get("CI")
        self.started = self.shown = clock()
        self.first = None

    def update(self, state):
        self.first = self.first or state
        now = self.clock()
        if self.bar:
            self.stream.write(f"\r\x1b[K{self._bar(state)} {self.describe(state)}")
        elif now - self.shown >= PLAIN_SECONDS:
            self.shown = now
            self.stream.write(f"replay: {self.describe(state)}\n")
        self.stream.flush()

    def close(self):
        if self.bar and self.first:
            self.stream.write("\n")

    def _bar(self, state):
        filled = 24 * state.position // max(self.stop, 1)
        return f"[{'#' * filled}{'.' * (24 - filled)}]"

    def describe(self, state):
        lines, transfers, seconds = self.done(state)
        left = ""
        if lines and state.position < self.stop:
            eta = round((self.stop - state.position) * seconds / lines)
            left = f", {eta // 60}:{eta % 60:02} left"
        return (
            f"{state.position:,} of {self.stop:,} lines, {lines / seconds:,.0f} lines/s"
            f", {transfers / seconds:,.1f} transfers/s{left}"
        )

    def done(self, state):
        """Return the lines and transfers of this run, and its seconds."""
        lines = state.position - self.first.position
        transfers = count_transfers(state) - count_transfers(self.first)
        return lines, transfers, max(self.clock() - self.started, 0.001)


def count_transfers(state):
    return sum(state.totals[name] for name in COUNTS[:4])


def format_totals(state, warehouses):
    """Return the report's lines: everything that was performed, in all runs."""
    totals = state.totals
    skipped = {
        name.removeprefix("skipped: "): count
        for name, count in totals.items()
        if name.startswith("skipped: ")
    }
    rows = [
        ("lines read", totals["lines"]),
        ("lines used", totals["used"]),
        ("lines skipped", sum(skipped.values())),
        *((f"  {reason}", skipped[reason]) for reason in sorted(skipped)),
        *((name, totals[name]) for name in COUNTS),
        ("warehouses", warehouses),
    ]
    if totals["units short"]:
        rows.append(("units that were not there", totals["units short"]))
    return [f"{name:<32} {count:>10,}" for name, count in rows]


# --- Odoo


def start_odoo(database):
    """Configure Odoo as a library: no web server, no scheduled actions."""
    from odoo.tools import config

    arguments = ["-d", database, "--log-level=warn"]
    # It tells which of the errors that the database reports is tried again.
    arguments += ["--log-handler=odoo.service.model:INFO"]
    if os.environ.get("ODOO_RC"):
        arguments += ["-c", os.environ["ODOO_RC"]]
    config.parse_config(arguments, setup_logging=True)
    threading.current_thread().dbname = database


def load_state(database):
    """Return the state without loading Odoo's modules, which takes seconds."""
    from replay_stock import Progress

    from odoo.sql_db import db_connect

    with db_connect(database).cursor() as cr:
        cr.execute("SELECT to_regclass('stock_picking')")
        if not cr.fetchone()[0]:
            raise replay_data.ReplayError(f"{database}: Odoo's stock is not installed")
        return Progress.load(cr)


def transact(registry, work):
    """Call ``work`` with an environment and commit.

    Odoo's own loop for requests: a few tries when other sessions were faster, and the
    other processes' caches told what changed.
    """
    from odoo import SUPERUSER_ID, api
    from odoo.exceptions import ConcurrencyError, LockError
    from odoo.service.model import retrying

    with registry.cursor() as cr:
        env = api.Environment(cr, SUPERUSER_ID, {})

        def attempt():
            try:
                return work(env)
            except LockError as error:
                # A user is asked to come back later; this comes back by itself.
                raise ConcurrencyError(str(error)) from error

        try:
            return retrying(attempt, env)
        except ConcurrencyError as error:
            raise replay_data.ReplayError(f"{error}\nthe same command continues") from error


def count_warehouses(database):
    from odoo.sql_db import db_connect

    with db_connect(database).cursor() as cr:
        cr.execute("SELECT count(*) FROM stock_warehouse WHERE active")
        return cr.fetchone()[0]


def replay(arguments):
    if arguments.data:
        source = replay_data.Source.of_file(arguments.data)
    else:
        source = replay_sample.generate(arguments.lines, arguments.seed)
    # Refuses a file that lacks a column before the database remembers it.
    next(source.rows(), None)
    total = source.count()
    stop = min(arguments.limit or total, total)
    start_odoo(arguments.database)
    state = load_state(arguments.database)
    if state:
        state.check(source.fingerprint)
    if state and state.position >= stop:
        print(f"{source.name}: all {stop:,} lines have been performed before")
    else:
        state = run(arguments, source, stop)
    for line in format_totals(state, count_warehouses(arguments.database)):
        print(line)


def run(arguments, source, stop):
    from replay_stock import Replay

    from odoo.modules.registry import Registry

    registry = Registry(arguments.database)
    display = Display(stop)
    try:
        state = Replay(
            source,
            stop,
            partial(transact, registry),
            batch_lines=arguments.batch,
            report=display.update,
        ).run()
    finally:
        display.close()
    lines, transfers, seconds = display.done(state)
    print(
        f"{source.name}: {lines:,} lines and {transfers:,} transfers in {seconds:,.1f} s"
        f" ({lines / seconds:,.0f} lines/s, {transfers / seconds:,.1f} transfers/s)"
    )
    return state


def main():
    arguments = parse_arguments()
    try:
        replay(arguments)
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130
    except replay_data.ReplayError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except psycopg2.OperationalError as error:
        # No such database, a server that ended, or too many tries in vain.
        print(f"error: {error}\nthe same command continues", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
