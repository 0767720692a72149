"""Compares what came out of Odoo's own tests without the addon and with it.

upstream_report.py failures FOLDER MODULE     prints the tests that fail without the addon
upstream_report.py suspects FOLDER MODULE     prints those that fail with the addon only
upstream_report.py report FOLDER MODULE...    counts and differences; fails when there is one

FOLDER holds pytest's JUnit files: MODULE-plain.xml and MODULE-addon.xml, MODULE-plain-again.xml
of a second run of the failures, and of one of the suspects MODULE-plain-suspects.xml and
MODULE-addon-suspects.xml. A suspect counts when it is one in the second run as well.
"""

import re
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

# From the best to the worst: a test that also fails while it cleans up has two.
OUTCOMES = ("skipped", "passed", "failed", "error")
COLUMNS = ("passed", "failed", "error", "skipped")
BAD = {"failed", "error"}
RAN = BAD | {"passed"}
# Of a traceback: where, and what; not the source lines.
TELLING_LINE = re.compile(r"E  |\S+:\d+: ")


class Result:
    """One JUnit file: outcome and message of each test, by the name that pytest takes."""

    def __init__(self, path):
        self.outcomes, self.messages, self.seconds = {}, {}, 0.0
        if not path.exists():
            return
        for suite in ElementTree.parse(path).getroot().iter("testsuite"):
            self.seconds += float(suite.get("time"))
            for case in suite.iter("testcase"):
                self._add(case)

    def _add(self, case):
        name = _get_name(case)
        outcome, message = _get_outcome(case)
        known = self.outcomes.get(name)
        if known is None or OUTCOMES.index(outcome) > OUTCOMES.index(known):
            self.outcomes[name] = outcome
            self.messages[name] = message


def _get_name(case):
    # module.tests.test_file.Class. A file that cannot be imported has no class, and its own name.
    parts = (case.get("classname") or case.get("name")).split(".")
    if not case.get("classname"):
        return "/".join(parts) + ".py"
    return "::".join(["/".join(parts[:-1]) + ".py", parts[-1], case.get("name")])


def _get_outcome(case):
    for tag, outcome in (("error", "error"), ("failure", "failed"), ("skipped", "skipped")):
        element = case.find(tag)
        if element is not None:
            return outcome, element.get("message") if tag == "skipped" else element.text or ""
    return "passed", ""


def read_sides(folder, module):
    """Return the results without the addon and with it, and who failed at first without it."""
    plain, addon = (Result(folder / f"{module}-{side}.xml") for side in ("plain", "addon"))
    again = Result(folder / f"{module}-plain-again.xml")
    unsteady = [name for name, outcome in again.outcomes.items() if outcome == "passed"]
    plain.outcomes.update(dict.fromkeys(unsteady, "passed"))
    return plain, addon, unsteady


def find_suspects(plain, addon):
    """Return the tests that fail with the addon only."""
    return sorted(
        name
        for name, outcome in addon.outcomes.items()
        if outcome in BAD and plain.outcomes.get(name) not in BAD
    )


def find_missing(plain, addon):
    """Return the tests that run without the addon only, which is no matter of chance."""
    return sorted(
        name
        for name, outcome in plain.outcomes.items()
        if outcome in RAN and addon.outcomes.get(name) not in RAN
    )


def report(folder, modules):
    print(f"{'':22}{'without the addon':>38}{'with the addon':>38}")
    print(f"{'module':22}" + 2 * "".join(f"{title:>8}" for title in (*COLUMNS, "s")))
    regressions, flaky, skips = [], [], Counter()
    for module in modules:
        plain, addon, unsteady = read_sides(folder, module)
        print(f"{module:22}" + "".join(_format_counts(result) for result in (plain, addon)))
        skips.update(
            (module, addon.messages[name])
            for name, outcome in addon.outcomes.items()
            if outcome == "skipped"
        )
        twice = [Result(folder / f"{module}-{side}-suspects.xml") for side in ("plain", "addon")]
        suspects, still = find_suspects(plain, addon), find_suspects(*twice)
        flaky += sorted({*unsteady, *suspects} - {*still})
        regressions += [(name, addon) for name in find_missing(plain, addon)]
        regressions += [(name, twice[1]) for name in still]
    print()
    for (module, reason), count in skips.items():
        print(f"skipped, {module}: {count} ({reason})")
    for name in flaky:
        print(f"fails now and then, hence not counted: {name}")
    for name, result in regressions:
        print(f"\nwith the addon only: {name}: {result.outcomes.get(name, 'did not run')}")
        lines = result.messages.get(name, "").splitlines()
        print("\n".join(line for line in lines if TELLING_LINE.match(line)))
    print(f"fail or do not run with the addon only: {len(regressions)}")
    return 1 if regressions else 0


def _format_counts(result):
    counts = Counter(result.outcomes.values())
    return "".join(f"{counts[column]:8}" for column in COLUMNS) + f"{result.seconds:8.0f}"


def main():
    command, folder, *modules = sys.argv[1:]
    if command == "report":
        return report(Path(folder), modules)
    plain, addon, _unsteady = read_sides(Path(folder), *modules)
    if command == "suspects":
        names = find_suspects(plain, addon)
    else:
        names = sorted(name for name, outcome in plain.outcomes.items() if outcome in BAD)
    for name in names:
        print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
