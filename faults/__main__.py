"""The command line of tools/faults."""

import argparse
import random
import signal
import sys

from .scenarios import SCENARIOS
from .site import Site
from .stage import say

COLUMNS = (
    "scenario faults events lost phantom order gaps altered figures duplicates seconds".split()
)


def parse_arguments(argv=None):
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="tools/faults",
        description="Kills, cuts and misconfigures what events depend on, while stock "
        "changes are committed and rolled back, and compares what was committed with what a "
        "consumer got. Ends with status 1 when anything is lost, invented, out of order or "
        "missing. PostgreSQL and RabbitMQ are private ones that it starts and ends.",
    )
    parser.add_argument(
        "scenarios", nargs="*", metavar="SCENARIO", help=f"of: {', '.join(SCENARIOS)}"
    )
    parser.add_argument("--scale", type=float, default=1, help="0.1: a tenth of the faults")
    parser.add_argument("--seed", type=int, help="of all that is left to chance")
    parser.add_argument("--database", required=True, help="with the addon, to be copied")
    options = parser.parse_args(argv)
    unknown = set(options.scenarios) - SCENARIOS.keys()
    if unknown:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    options.scenarios = options.scenarios or list(SCENARIOS)
    if options.seed is None:
        options.seed = random.randrange(1_000_000)
    return options


def make_table(results):
    """Return the results as text."""
    rows = [COLUMNS]
    for result in results:
        verdict = result.verdict
        figures = [len(getattr(verdict, name)) for name in COLUMNS[3:9]]
        rows.append(
            [
                result.scenario,
                result.faults,
                verdict.events,
                *figures,
                verdict.duplicates,
                round(result.seconds),
            ]
        )
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(COLUMNS))]
    lines = []
    for name, *cells in rows:
        numbers = [str(cell).rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *numbers]))
    return "\n".join(lines)


def explain(result):
    """Return sentences about what is wrong."""
    verdict = result.verdict
    return [
        f"{result.scenario}: {name}: {item}"
        for name in verdict.FAILURES
        for item in getattr(verdict, name)[:10]
    ]


def main():
    """Run the chosen scenarios."""
    # So that what was started is ended.
    signal.signal(signal.SIGTERM, lambda *_args: sys.exit(143))
    options = parse_arguments()
    say(f"seed {options.seed}")
    results = []
    with Site(options.database, options.seed, options.scale) as site:
        for name in options.scenarios:
            results.append(site.run(name))
            for line in explain(results[-1]):
                say(line)
    print(make_table(results))
    if not all(result.verdict.is_good for result in results):
        say(f"data, logs and records are kept in {site.folder}")
        return 1
    site.discard()
    return 0


if __name__ == "__main__":
    sys.exit(main())
