"""Reports on histories of several lengths, and what the rollups behind them cost.

read     the reports as the web client calls them, beside plain Odoo's in the same database
pages    the first page of each list of the addon, and the dashboard
size     bytes per movement: the ledger, each rollup, and Odoo's own tables
waiting  the reports again, while deltas wait to be folded
fold     deltas folded per second
write    a transfer of a thousand lines is validated, on plain Odoo and with the addon
"""

import datetime

from . import large_transfer
from .histories import BLOCK, MOVEMENTS, made_history
from .report import (
    Target,
    describe_environment,
    get_environment,
    get_unsafe,
    join_paragraphs,
    make_table,
    make_targets_table,
    say,
    write_results,
)
from .report_calls import TIMEOUT_SECONDS, get_cases
from .server import serving
from .suite import Run

LEDGER_TABLES = (
    "stock_ledger_entry",
    "stock_ledger_balance",
    "stock_ledger_day",
    "stock_ledger_month",
    "stock_ledger_month_total",
    "stock_ledger_month_location",
    "stock_ledger_closing",
)
ODOO_TABLES = ("stock_move", "stock_move_line")


class Case:
    """A measurement in each history; it adds to ``rows``, dictionaries by title, and ``targets``.

    ``rows`` are for machines; ``get_table`` is for people.
    """

    # Whether it measures in the histories.
    in_histories = True

    def __init__(self, options, command):
        self._options = options
        self.command = command
        self.environment = None
        self.unsafe = []
        self.rows = []
        self.targets = []

    def measure(self, database, movements):
        """Measure in one Database, whose history has so many movements."""

    def conclude(self):
        """Set the targets, when all that was to be measured is."""

    def get_table(self):
        """Return the table of the results."""
        return make_table(
            (self.name, *self.rows[0]),
            [("\\", *map(_format, row.values())) for row in self.rows],
        )


class Read(Case):
    name = "read"
    flat_limit = 2

    def measure(self, database, movements):
        for result in database.call("report_timer", "time_cases"):
            plain, addon = result.get("plain"), result["addon"]
            self.rows.append(
                {
                    "case": result["case"],
                    "movements": movements,
                    "plain ms": plain and plain["seconds"] * 1000,
                    "plain rows": plain and plain["rows"],
                    "addon ms": addon["seconds"] * 1000,
                    "addon rows": addon["rows"],
                    "faster": plain and plain["seconds"] / addon["seconds"],
                }
            )

    def conclude(self):
        for case in get_cases(0, datetime.datetime.now()):
            rows = self._get_rows(case.name)
            if not rows:
                continue
            longest = rows[-1]
            text = f"{case.name}, {longest['movements']:,} movements: ms"
            self.targets.append(Target(text, longest["addon ms"], case.limit))
            if len(rows) > 1 and not case.grows:
                times = [row["addon ms"] for row in rows]
                text = f"{case.name}: slowest history, in times of the fastest"
                self.targets.append(Target(text, max(times) / min(times), self.flat_limit))

    def _get_rows(self, case_name):
        return [row for row in self.rows if row["case"] == case_name]

    def get_table(self):
        """Return a line per case, and columns for each history."""
        histories = sorted({row["movements"] for row in self.rows})
        titles = ["plain", "addon", "faster"]
        lines = []
        for name in dict.fromkeys(row["case"] for row in self.rows):
            line = [name]
            for row in self._get_rows(name):
                plain = row["plain ms"]
                line += [
                    f"> {TIMEOUT_SECONDS:,} s"
                    if plain and plain > TIMEOUT_SECONDS * 1000
                    else _format(plain),
                    _format(row["addon ms"]),
                    f"{row['faster']:,.1f}x" if plain else "",
                ]
            lines.append(line)
        header = [f"{title} {_shorten(number)}" for number in histories for title in titles]
        return make_table(("report, ms", *header), lines)


class Pages(Case):
    name = "pages"
    milliseconds_limit = 500
    # It has a tile for each of several lists.
    dashboard_milliseconds_limit = 1000
    queries_limit = 100

    def measure(self, database, movements):
        for page in database.call("page_timer", "time_pages"):
            self.rows.append(
                {
                    "page": page["page"],
                    "model": page["model"],
                    "movements": movements,
                    "rows": page["rows"],
                    "queries": page["queries"],
                    "ms": page["seconds"] * 1000,
                }
            )

    def conclude(self):
        longest = max(row["movements"] for row in self.rows)
        rows = [row for row in self.rows if row["movements"] == longest]
        [dashboard, *lists] = rows
        self.targets += [
            Target(
                f"dashboard, {longest:,} movements: ms",
                dashboard["ms"],
                self.dashboard_milliseconds_limit,
            ),
            Target(
                f"slowest page, {longest:,} movements: ms",
                max(row["ms"] for row in lists),
                self.milliseconds_limit,
            ),
            Target(
                "most queries of a page", max(row["queries"] for row in rows), self.queries_limit
            ),
        ]


class Size(Case):
    name = "size"

    def measure(self, database, movements):
        [[count]] = database.query("SELECT COUNT(*) FROM stock_move WHERE state = 'done'")
        bytes_by_table = {
            table: database.query("SELECT pg_total_relation_size(%s)", table)[0][0] / count
            for table in LEDGER_TABLES + ODOO_TABLES
        }
        for table in LEDGER_TABLES + ODOO_TABLES:
            [[rows]] = database.query("SELECT reltuples FROM pg_class WHERE relname = %s", table)
            self.rows.append(
                {
                    "movements": movements,
                    "table": table,
                    "rows": int(rows),
                    "bytes per movement": bytes_by_table[table],
                }
            )
        for title, tables in (("ledger and rollups", LEDGER_TABLES), ("Odoo", ODOO_TABLES)):
            self.rows.append(
                {
                    "movements": movements,
                    "table": f"all of {title}",
                    "rows": None,
                    "bytes per movement": sum(bytes_by_table[table] for table in tables),
                }
            )


class Waiting(Case):
    name = "waiting"
    deltas = 1000
    ratio_limit = 1.2
    # Less than anybody notices, though it is more than the ratio of the quickest reports.
    milliseconds_limit = 5

    def measure(self, database, movements):
        calm = self._time(database)
        database.call("history", "add_movements", count=self.deltas // 2)
        waiting = self._time(database)
        for name, before in calm.items():
            after = waiting[name]
            row = {
                "case": name,
                "movements": movements,
                "calm ms": before,
                "waiting ms": after,
                "ratio": after / before,
            }
            self.rows.append(row)

    def _time(self, database):
        results = database.call("report_timer", "time_cases", names=["addon"])
        return {result["case"]: result["addon"]["seconds"] * 1000 for result in results}

    def conclude(self):
        longest = max(row["movements"] for row in self.rows)
        for row in self.rows:
            if row["movements"] != longest:
                continue
            more = row["waiting ms"] - row["calm ms"]
            text = f"{row['case']}, {self.deltas:,} deltas waiting"
            if more <= self.milliseconds_limit:
                self.targets.append(Target(f"{text}: ms more", more, self.milliseconds_limit))
            else:
                self.targets.append(Target(f"{text}: ratio", row["ratio"], self.ratio_limit))


class Fold(Case):
    name = "fold"
    deltas = 100_000
    # As the worker's batches.
    batch = 20_000
    least = 50_000

    def measure(self, database, movements):
        database.call("report_timer", "time_fold", limit=self.batch)
        database.call("history", "add_movements", count=self.deltas // 2)
        result = database.call("report_timer", "time_fold", limit=self.batch)
        self.rows.append(
            {
                "movements": movements,
                "deltas": result["folded"],
                "seconds": result["seconds"],
                "deltas/s": result["folded"] / result["seconds"],
            }
        )
        database.call("history", "write_quants")

    def conclude(self):
        self.targets.append(
            Target(
                f"fold, {self.rows[-1]['movements']:,} movements: deltas/s",
                self.rows[-1]["deltas/s"],
                self.least,
                at_least=True,
            )
        )


class Write(Case):
    name = "write"
    in_histories = False

    def conclude(self):
        name, sessions = f"{self._options.name}_write", max(self._options.processes or [1])
        with serving(name, sessions, self._options.keep) as sites:
            measured = Run(large_transfer, sites, self._options)
            measured.run()
            self.environment = get_environment(sites, self.command)
        self.unsafe = get_unsafe(measured.rows)
        self.targets += measured.targets
        for row in measured.rows:
            self.rows.append(
                {
                    "lines": int(row["plain"]["units"]),
                    "pairs": row["measurements"],
                    "plain seconds": row["plain"]["seconds"],
                    "addon seconds": row["addon"]["seconds"],
                    "ratio": row["ratio"]["seconds"],
                }
            )


# The cases that change the history are the last.
CASES = (Read, Pages, Size, Waiting, Fold, Write)


def run(options, command):
    """Measure the chosen cases, report, and keep the results of a full run.

    :return: whether nothing failed
    """
    cases = [
        case_class(options, command)
        for case_class in CASES
        if not options.cases or case_class.name in options.cases
    ]
    for movements in options.movements:
        measure_history(options, [case for case in cases if case.in_histories], movements)
    for case in cases:
        case.conclude()
    environment = cases[0].environment
    targets = [target for case in cases for target in case.targets]
    report = join_paragraphs(
        [
            describe_environment(environment),
            *(case.get_table() for case in cases),
            make_targets_table(targets),
        ]
    )
    print(report)
    # A trial must not replace the figures that the documentation quotes.
    if not options.cases and options.scale == 1 and options.movements == MOVEMENTS:
        rows = [{"measure": case.name, **row} for case in cases for row in case.rows]
        write_results("reports", environment, rows, targets, report)
        say("written to benchmarks/results/reports.json and .rst")
    return not any(case.unsafe for case in cases)


def measure_history(options, cases, movements):
    """Measure the cases in a history of so many movements, times the chosen scale."""
    if not cases:
        return
    movements = max(round(movements * options.scale / BLOCK), 1) * BLOCK
    with made_history(f"{options.name}_{movements}", movements, options.keep) as database:
        for case in cases:
            say(f"{case.name}, {movements:,} movements")
            case.measure(database, movements)
            case.environment = get_environment({"addon": database}, case.command)


def _shorten(number):
    """Return 10M for ten millions."""
    for size, letter in ((1_000_000, "M"), (1000, "k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return str(number)


def _format(value):
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) < 10 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else value
