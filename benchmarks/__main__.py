"""The command line of tools/bench."""

import argparse
import importlib
import signal
import sys

from .histories import MOVEMENTS
from .report import get_environment, get_unsafe, make_report, say, write_results
from .server import serving
from .suite import Run

SUITES = ("contention", "events", "reports", "integration")


def parse_arguments(argv=None):
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="tools/bench",
        description="Puts the same load on plain Odoo and on Odoo with the addon, compares "
        "them, measures the events and the reports of the addon, and keeps the results of a full "
        "run in benchmarks/results. Ends with status 1 when anything is oversold, fails or is "
        "replayed with the addon, or when an event does not arrive.",
    )
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of: {', '.join(SUITES)}")
    parser.add_argument("--cases", type=names, help="only these, as in race,confirm")
    parser.add_argument(
        "--processes", type=numbers, help="so many in each case, as in 4,8 (default: the case's)"
    )
    parser.add_argument("--rounds", type=int, default=1, help="medians of so many rounds")
    parser.add_argument(
        "--scale", type=float, default=1, help="0.1: a tenth of the transfers or movements"
    )
    parser.add_argument(
        "--movements",
        type=numbers,
        default=MOVEMENTS,
        help="of the reports' histories, as in 100000,1000000 (default: to ten millions)",
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep the databases; kept histories are used again"
    )
    parser.add_argument(
        "--name",
        default="bench",
        help="of the databases: NAME_plain, NAME_addon, NAME_1000000 ... (default: bench)",
    )
    options = parser.parse_args(argv)
    options.suites = options.suites or list(SUITES)
    for suite in options.suites:
        if suite not in SUITES:
            parser.error(f"no such suite: {suite}")
    return options


def names(text):
    """Return the elements of a list with commas."""
    return text.split(",")


def numbers(text):
    """Return the numbers of a list with commas."""
    return [int(number) for number in text.split(",")]


def choose_suites(options):
    """Return the modules of the suites that have any of the chosen cases, by name."""
    suites = {name: importlib.import_module(f"benchmarks.{name}") for name in options.suites}
    if not options.cases:
        return suites
    names_by_suite = {name: {case.name for case in suite.CASES} for name, suite in suites.items()}
    unknown = set(options.cases).difference(*names_by_suite.values())
    if unknown:
        raise SystemExit(f"no such case: {', '.join(sorted(unknown))}")
    return {
        name: suite
        for name, suite in suites.items()
        if not names_by_suite[name].isdisjoint(options.cases)
    }


def run_suite(name, suite, options, command):
    """Run a suite and report.

    :return: whether nothing went wrong that never may
    """
    if hasattr(suite, "run"):
        return suite.run(options, command)
    processes = options.processes or [
        number
        for case in suite.CASES
        if not options.cases or case.name in options.cases
        for number in case.processes
    ]
    with serving(options.name, max(processes), options.keep) as sites:
        run = Run(suite, sites, options)
        run.run()
        environment = get_environment(sites, command)
    report = make_report(environment, run.rows, run.targets)
    print(report)
    # A trial must not replace the figures that the documentation quotes.
    if not options.cases and not options.processes and options.scale == 1:
        write_results(name, environment, run.rows, run.targets, report)
        say(f"written to benchmarks/results/{name}.json and .rst")
    return not get_unsafe(run.rows)


def main():
    """Run the chosen suites."""
    # So that what was started is ended.
    signal.signal(signal.SIGTERM, lambda *_args: sys.exit(143))
    options = parse_arguments()
    command = " ".join(["tools/bench", *sys.argv[1:]])
    suites = choose_suites(options)
    results = [run_suite(name, suite, options, command) for name, suite in suites.items()]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
