"""What is measured on one database, and how several measurements become one figure."""

import statistics
import time
from collections import Counter
from dataclasses import asdict, dataclass

from .load import get_percentile, get_seconds, run_at_once
from .report import say

POLL_SECONDS = 0.05
SETTLE_SECONDS = 180
# Without any progress for so long, what is still to come is taken for lost.
STALLED_SECONDS = 15

COUNTERS = ("oversold", "failed", "replays")
WORST = ("most_promised",)
COMPARED = ("requests_per_second", "reservations_per_second", "seconds", "p50", "p99")


@dataclass
class Figures:
    """One measurement.

    ``oversold`` counts products, ``seconds`` lasts until all that was asked for is really
    there, which may be after the last call has returned.
    """

    requests: int
    seconds: float
    requests_per_second: float
    p50: float
    p99: float
    oversold: int = 0
    most_promised: float = 0
    failed: int = 0
    replays: int = 0
    units: float | None = None
    reservations_per_second: float | None = None


def get_figures(calls, seconds=None, **counted):
    """Return the Figures of calls, by default those until the last of them returned."""
    call_seconds = get_seconds(calls)
    return Figures(
        requests=len(calls),
        seconds=seconds or call_seconds,
        requests_per_second=len(calls) / call_seconds,
        p50=get_percentile([call.seconds for call in calls], 50),
        p99=get_percentile([call.seconds for call in calls], 99),
        **{"failed": count_failed(calls), **counted},
    )


def count_failed(calls):
    """Return how many calls failed."""
    return sum(bool(call.error) for call in calls)


def measure(site, warehouse, jobs, products, count, expected):
    """Let the clients do their jobs at once, and wait for what follows.

    :param list jobs: for each client a list of (method, transfer ids)
    :param list products: those that may be oversold
    :param count: function that returns how much is there
    :param expected: how much there should be in the end
    :return: the Calls, and a dictionary of what Figures need
    """
    site.start_counting()
    calls = run_at_once(site.clients, jobs)
    units, more_seconds = settle(site, warehouse, count, expected)
    oversold = warehouse.get_oversold(products)
    for error, number in Counter(call.error for call in calls if call.error).items():
        say(f"    {number} x {error[:150]}")
    failed = count_failed(calls) + site.count_worker_warnings()
    # What nobody reported, but is not there either.
    failed += max(int(expected - units) - failed, 0)
    return calls, {
        "seconds": get_seconds(calls) + more_seconds,
        "units": units,
        "oversold": len(oversold),
        "most_promised": max((promised for promised, _on_hand in oversold), default=0),
        "failed": failed,
        "replays": site.count_replays(),
    }


def settle(site, warehouse, count, expected):
    """Wait until as much as expected is there, and nothing is queued.

    :return: how much there is, and the seconds until then
    """
    start = progress = time.monotonic()
    before = units = count()
    while units < expected or warehouse.count_queued():
        now = time.monotonic()
        if not site.has_addon or now - progress > STALLED_SECONDS or now - start > SETTLE_SECONDS:
            # The wait in vain is no time in which anything was done.
            return units, progress - start
        time.sleep(POLL_SECONDS)
        units = count()
        if units != before:
            before, progress = units, time.monotonic()
    return units, progress - start


def summarize(figures):
    """Return one dictionary for several Figures: sums of what must be 0, medians else."""
    return {
        name: combine(name, [getattr(each, name) for each in figures])
        for name in asdict(figures[0])
    }


def combine(name, values):
    """Combine the values of one figure in several measurements."""
    if None in values:
        return None
    if name in COUNTERS:
        return sum(values)
    if name in WORST:
        return max(values)
    return statistics.median(values)


def compare(plain, addon):
    """Return the addon's figures divided by plain's: the median of the measured pairs."""
    return {
        name: statistics.median(
            getattr(after, name) / getattr(before, name)
            for before, after in zip(plain, addon, strict=True)
        )
        for name in COMPARED
        if all(getattr(each, name) for each in (*plain, *addon))
    }
