"""Results as a table and as JSON."""

import datetime
import json
import os
import pathlib
import sys
from typing import NamedTuple

RESULTS = pathlib.Path(__file__).with_name("results")
# What must be 0 with the addon.
SAFETY = ("oversold", "failed", "replays")
VERSIONS = (
    ("Odoo", "odoo"),
    ("PostgreSQL", "postgresql"),
    ("RabbitMQ", "rabbitmq"),
    ("addon", "addon"),
)
COLUMNS = (
    ("oversold", "oversold"),
    ("failed", "failed"),
    ("replays", "replays"),
    ("requests/s", "requests_per_second"),
    ("reserved/s", "reservations_per_second"),
    ("seconds", "seconds"),
    ("p50 ms", "p50"),
    ("p99 ms", "p99"),
)


class Target(NamedTuple):
    """A figure that the addon should reach."""

    text: str
    figure: float
    limit: float
    at_least: bool = False

    @property
    def is_reached(self):
        if self.at_least:
            return self.figure >= self.limit
        return self.figure <= self.limit


def say(text):
    """Report progress."""
    print(f"{datetime.datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)


def get_environment(sites, command):
    """Return what the figures depend on."""
    addon = sites["addon"]
    [[postgresql]] = addon.query("SHOW server_version")
    [[version]] = addon.query(
        "SELECT latest_version FROM ir_module_module WHERE name = 'stock_event_ledger'"
    )
    return {
        "date": f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}",
        "command": command,
        "cores": os.cpu_count(),
        "odoo": addon.odoo_version,
        "postgresql": postgresql.split()[0],
        "addon": version,
    }


def get_unsafe(rows):
    """Return what must be 0 with the addon and is not, as text."""
    return [
        f"{row['case']}, {row['processes']} processes: {name} {row['addon'][name]:g}"
        for row in rows
        for name in SAFETY
        if row["addon"][name]
    ]


def make_report(environment, rows, targets):
    """Return the results for people, as reStructuredText."""
    paragraphs = [
        describe_environment(environment),
        make_table(
            ("case", "processes", "database", *(title for title, _ in COLUMNS)),
            [line for row in rows for line in _get_lines(row)],
        ),
        make_targets_table(targets),
        *_get_remarks(rows),
    ]
    return join_paragraphs(paragraphs)


def join_paragraphs(paragraphs):
    """Return a text of those paragraphs that are not empty."""
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


def conclude_cases(suite, environment, cases, options, remark, format_figure):
    """Print the results of cases with ``rows`` and ``targets``, and keep those of a full run.

    :param str suite: the name of the results' files
    :param dict environment: what the figures depend on
    :param str remark: the last sentence, about what never may be
    :param format_figure: function that makes a text of a figure
    """
    targets = [target for case in cases for target in case.targets]
    tables = [
        make_table(
            (case.name, *case.rows[0]),
            [("\\", *map(format_figure, row.values())) for row in case.rows],
        )
        for case in cases
    ]
    report = join_paragraphs(
        [describe_environment(environment), *tables, make_targets_table(targets), remark]
    )
    print(report)
    # A trial must not replace the figures that the documentation quotes.
    if not options.cases and options.scale == 1:
        rows = [{"case": case.name, **row} for case in cases for row in case.rows]
        write_results(suite, environment, rows, targets, report)
        say(f"written to benchmarks/results/{suite}.json and .rst")


def describe_environment(environment):
    """Return a sentence about what the figures depend on."""
    cores = "core" if environment["cores"] == 1 else "cores"
    versions = ", ".join(
        f"{title} {environment[key]}" for title, key in VERSIONS if key in environment
    )
    return (
        f"``{environment['command']}`` on {environment['cores']} {cores}, "
        f"{environment['date']}: {versions}."
    )


def make_targets_table(targets):
    """Return a table of what was to be reached."""
    return make_table(
        ("target", "figure", "wanted", "result"),
        [
            (
                target.text,
                f"{target.figure:.2f}",
                f"{'>=' if target.at_least else '<='} {target.limit:g}",
                "reached" if target.is_reached else "missed",
            )
            for target in targets
        ],
    )


def _get_remarks(rows):
    unsafe = get_unsafe(rows)
    zero = "; ".join(unsafe) or "0 in every case: reached"
    yield f"Oversold, failed and replays with the addon: {zero}."
    for row in rows:
        for name in ("plain", "addon"):
            if most := row[name]["most_promised"]:
                yield (
                    f"{row['case']}, {name}: {row[name]['oversold']} products oversold, "
                    f"{most:g} units promised of one at most."
                )


def _get_lines(row):
    titles = [row["case"], str(row["processes"])]
    for name in ("plain", "addon"):
        yield (
            *titles,
            name,
            *(_format(key, row[name][key]) for _title, key in COLUMNS),
        )
        titles = ["\\", ""]
    yield (
        *titles,
        "ratio",
        *(f"{row['ratio'][key]:.2f}" if key in row["ratio"] else "" for _title, key in COLUMNS),
    )


def _format(key, value):
    if value is None:
        return ""
    if key in SAFETY:
        return str(value)
    if key in ("p50", "p99"):
        return f"{value * 1000:,.0f}"
    return f"{value:,.1f}"


def make_table(titles, lines):
    """Return a simple table of reStructuredText."""
    if not lines:
        return ""
    widths = [max(map(len, column)) for column in zip(titles, *lines, strict=True)]
    border = "  ".join("=" * width for width in widths)
    texts = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in (titles, *lines)]
    return "\n".join((border, texts[0], border, *texts[1:], border))


def write_results(suite, environment, rows, targets, report):
    """Keep the results with the source."""
    RESULTS.mkdir(exist_ok=True)
    content = {
        **environment,
        "cases": [_round(row) for row in rows],
        "targets": [
            {**target._asdict(), "figure": _round(target.figure), "reached": target.is_reached}
            for target in targets
        ],
    }
    (RESULTS / f"{suite}.json").write_text(json.dumps(content, indent=2) + "\n")
    (RESULTS / f"{suite}.rst").write_text(report)


def _round(value):
    if isinstance(value, dict):
        return {key: _round(each) for key, each in value.items()}
    return round(value, 4) if isinstance(value, float) else value
