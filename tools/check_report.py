"""check_report.py REPORT: fail when no test ran or one was skipped.

REPORT is pytest's JUnit file. A skip is allowed when its reason starts with
"allowed:": a test that is skipped where something is missing looks as green as
one that passed.
"""

import sys
from pathlib import Path
from xml.etree import ElementTree


def check(report):
    if not report.exists():
        return ["pytest wrote no report"]
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    problems = []
    ran = 0
    for case in cases:
        skipped = case.find("skipped")
        if skipped is None:
            ran += 1
            continue
        reason = (skipped.get("message") or "").removeprefix("Skipped: ")
        if not reason.startswith("allowed:"):
            problems.append(f"skipped: {case.get('classname')}.{case.get('name')}: {reason}")
    if not ran:
        problems.append("no test ran")
    return problems


def main():
    problems = check(Path(sys.argv[1]))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
