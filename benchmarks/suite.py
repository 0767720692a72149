"""Runs the cases of a suite on both databases in turn.

A suite is a module with ``CASES``, with ``start(site)``, which returns what its cases work
on, and with ``warm_up`` and ``wait_for_calm`` for that.
"""

import time
from concurrent.futures import ThreadPoolExecutor

from .figures import compare, summarize
from .report import say


class Run:
    """One run of a suite's cases, and its results."""

    def __init__(self, suite, sites, options):
        self.suite = suite
        self.sites = sites
        self.options = options
        self.rows = []
        self.targets = []
        # By case and processes, for cases that share their figures on plain Odoo.
        self._samples = {}

    def run(self):
        """Run the chosen cases."""
        self._places = {name: self.suite.start(site) for name, site in self.sites.items()}
        for case_class in self.suite.CASES:
            if not self.options.cases or case_class.name in self.options.cases:
                for processes in self.options.processes or case_class.processes:
                    self._run_case(case_class(self.options.scale), processes)

    def _run_case(self, case, processes):
        if not case.is_available(self._places["addon"]):
            say(f"{case.name}: not available in this version of the addon")
            return
        key = case.same_on_plain, processes
        reused = [sample["plain"] for sample in self._samples.get(key, ())]
        samples = []
        for number in range(self.options.rounds):
            samples += self._run_round(case, processes, number, reused)
        self._samples[case.name, processes] = samples
        self._add_rows(case, processes, samples)
        self.targets += case.get_targets(processes, samples)

    def _run_round(self, case, processes, number, reused):
        say(f"{case.name}, {processes} processes, round {number + 1} of {self.options.rounds}")
        samples = [{"plain": figures} for figures in reused[number : number + 1]]
        samples = samples or [{} for _pair in range(case.pairs)]
        names = [name for name in self.sites if name not in samples[0]]
        # Nothing is timed yet, so that both may at the same time.
        with ThreadPoolExecutor() as executor:
            ready = executor.map(lambda name: case.prepare(self._places[name], processes), names)
            prepared = dict(zip(names, ready, strict=True))
        for name in names:
            # Without it, the plan of a query depends on when autovacuum comes by.
            self.sites[name].query("ANALYZE")
            # Not once for all: whoever makes a product empties the caches of all processes.
            self.suite.warm_up(self._places[name])
        for pair, sample in enumerate(samples):
            # Neither is always first.
            order = names if (number + pair) % 2 == 0 else names[::-1]
            for name in order:
                for place in self._places.values():
                    self.suite.wait_for_calm(place)
                started = time.monotonic()
                sample[name] = case.measure(self._places[name], processes, prepared[name][pair])
                say(f"  {name:5} {time.monotonic() - started:6.1f} s")
        return samples

    def _add_rows(self, case, processes, samples):
        for label in samples[0]["plain"]:
            figures = {
                name: [sample[name][label] for sample in samples] for name in ("plain", "addon")
            }
            self.rows.append(
                {
                    "case": f"{case.name} {label}".rstrip(),
                    "processes": processes,
                    "measurements": len(samples),
                    "plain": summarize(figures["plain"]),
                    "addon": summarize(figures["addon"]),
                    "ratio": compare(figures["plain"], figures["addon"]),
                }
            )
