"""Events on their way from a commit to RabbitMQ, and what they cost those who commit.

latency  from commit to consumer at a steady rate, by the worker and by the scheduled action
drain    a backlog is published, beside pika alone with the same messages
cost     one change of stock is committed, with the broker up, down and blocked, and without
poll     the relay numbers a batch, of a small backlog and of a large one
"""

import contextlib
import os
import pathlib
import statistics
import tempfile
import time

from .load import get_percentile
from .outbox import Outbox
from .rabbitmq import Broker, Consumer, PlainPublisher
from .report import Target, conclude_cases, get_environment, say
from .server import get_free_port, made_database, working

PRODUCTS = 1000
MEBIBYTE = 2**20


class Case:
    """A measurement; it adds to ``rows``, dictionaries of figures by title, and ``targets``."""

    def __init__(self, outbox, options):
        self._outbox = outbox
        self._rounds = options.rounds
        self._scale = options.scale
        self.rows = []
        self.targets = []
        # Events that did not arrive.
        self.lost = 0

    def scaled(self, count, least):
        """Return a number of events for the chosen scale."""
        return max(round(count * self._scale), least)

    def run(self):
        """Measure."""
        raise NotImplementedError


class Latency(Case):
    name = "latency"
    seconds = 15
    # Changes per commit. Beyond 100 quants per second it is Odoo that is late, not the events:
    # then only the ledger is written, with its events.
    changes = {20: 1, 100: 1, 400: 4}
    most_with_orm = 100
    limits = {"worker": {50: 0.005, 99: 0.02}, "scheduled action": {99: 2}}
    products = 301

    def run(self):
        for publisher in self.limits:
            with self._publishing(publisher):
                for rate in self.changes:
                    say(f"latency, {publisher}, {rate} events/s")
                    for _round in range(self._rounds):
                        self._measure(publisher, rate)

    def _publishing(self, publisher):
        if publisher == "worker":
            return working(self._outbox.database, self._outbox.folder)
        return self._outbox.scheduled()

    def _measure(self, publisher, rate):
        changes = self.changes[rate]
        with Consumer(self._outbox.broker) as consumer:
            result = self._outbox.call(
                "change_steadily",
                product_ids=self._outbox.product_ids[: self.products],
                commits_per_second=rate / changes,
                changes=changes,
                seconds=max(self.seconds * self._scale, 2),
                with_orm=rate <= self.most_with_orm,
            )
            for _count in self._outbox.follow(0.2):
                pass
            # What is confirmed is in the queue, and still has to reach the consumer.
            time.sleep(1)
            arrivals = consumer.get_arrivals()
        seconds = []
        for product_id, committed in result["committed"]:
            arrived = arrivals.get(product_id)
            # Of one product, in the order of the commits.
            if arrived:
                seconds.append((arrived.pop(0) - committed) / 1e9)
        lost = len(result["committed"]) - len(seconds)
        self.lost += lost
        figures = {percent: get_percentile(seconds, percent) for percent in (50, 99)}
        self.rows.append(
            {
                "published by": publisher,
                "events/s": rate,
                "per commit": changes,
                "events": len(seconds),
                "lost": lost,
                "p50 ms": figures[50] * 1000,
                "p99 ms": figures[99] * 1000,
                "writer late ms": result["late_seconds"] * 1000,
            }
        )
        self.targets += [
            Target(
                f"latency, {publisher}, {rate} events/s: p{percent} ms",
                figures[percent] * 1000,
                limit * 1000,
            )
            for percent, limit in self.limits[publisher].items()
        ]


class Drain(Case):
    name = "drain"
    events = 100_000
    hot_events = 5000
    pairs = 3
    sampled = 1000
    least_ratio = 0.7

    def run(self):
        events = self.scaled(self.events, 5000)
        # Real ones, for pika alone to publish; and it takes the caches' first misses.
        self._drain(PRODUCTS, self.sampled)
        messages = self._outbox.broker.read(self.sampled)
        ratios = []
        for number in range(self.pairs * self._rounds):
            say(f"drain, pair {number + 1} of {self.pairs * self._rounds}")
            measures = {
                "relay": lambda: self._drain(PRODUCTS, events),
                "pika alone": lambda: self._publish(messages, events),
            }
            order = list(measures) if number % 2 == 0 else list(measures)[::-1]
            rates = {name: measures[name]() for name in order}
            ratios.append(rates["relay"] / rates["pika alone"])
            self._add_row(f"{PRODUCTS} products", events, rates, ratios[-1])
        self.targets.append(
            Target(
                "drain: events/s, in times of pika alone (median)",
                statistics.median(ratios),
                self.least_ratio,
                at_least=True,
            )
        )
        say("drain, one product")
        hot_events = self.scaled(self.hot_events, 2000)
        self._add_row("1 product", hot_events, {"relay": self._drain(1, hot_events)})

    def _add_row(self, backlog, events, rates, ratio=None):
        self.rows.append(
            {
                "backlog": backlog,
                "events": events,
                "relay/s": rates["relay"],
                "pika alone/s": rates.get("pika alone"),
                "ratio": ratio,
            }
        )

    def _drain(self, products, events):
        """Return how many events per second the worker has confirmed.

        From when it was first seen at work, since it takes seconds to start.
        """
        self._outbox.fill(products, events)
        seen = []
        with working(self._outbox.database, self._outbox.folder):
            for moment, pending in self._outbox.follow(0.1):
                if pending < events:
                    seen.append((moment, pending))
        self.lost += seen[-1][1]
        (start, before), (end, after) = seen[0], seen[-1]
        return (before - after) / (end - start) if end > start else 0

    def _publish(self, messages, events):
        self._outbox.broker.empty()
        return PlainPublisher(self._outbox.broker, messages, events).run()


class Cost(Case):
    name = "cost"
    states = ("no events", "up", "down", "blocked")
    rounds = 5
    changes = 200
    limit = 0.001

    def run(self):
        self._down_port = get_free_port()
        medians = {state: [] for state in self.states}
        with working(self._outbox.database, self._outbox.folder):
            for number in range(self.rounds * self._rounds):
                say(f"cost, round {number + 1} of {self.rounds * self._rounds}")
                shift = number % len(self.states)
                for state in self.states[shift:] + self.states[:shift]:
                    medians[state].append(self._measure(state))
        for state in self.states:
            more = statistics.median(
                each - base for each, base in zip(medians[state], medians["no events"], strict=True)
            )
            self.rows.append(
                {
                    "broker": state,
                    "p50 ms": statistics.median(medians[state]) * 1000,
                    "more ms": more * 1000,
                }
            )
            if state != "no events":
                text = f"cost, broker {state}: ms more than without events (median of rounds)"
                self.targets.append(Target(text, more * 1000, self.limit * 1000))

    def _measure(self, state):
        vals = {
            "active": state != "no events",
            "port": self._down_port if state == "down" else self._outbox.port,
        }
        broker = self._outbox.broker
        with broker.blocked() if state == "blocked" else contextlib.nullcontext():
            return self._outbox.call(
                "time_changes",
                channel_id=self._outbox.channel_id,
                vals=vals,
                product_ids=self._outbox.product_ids[: self.scaled(self.changes, 40)],
            )


class Poll(Case):
    name = "poll"
    backlogs = (1000, 1_000_000)
    polls = 20
    ratio_limit = 1.5
    growth_limit = 10

    def run(self):
        measured = []
        for backlog in self.backlogs:
            if backlog > self.backlogs[0]:
                backlog = self.scaled(backlog, 10_000)
            say(f"poll, a backlog of {backlog:,}")
            # The first batch is taken away.
            self._outbox.fill(PRODUCTS, backlog + PRODUCTS)
            result = self._outbox.call(
                "time_polls", channel_id=self._outbox.channel_id, polls=self.polls
            )
            measured.append(result)
            self.rows.append(
                {
                    "backlog": backlog,
                    "first ms": result["first"] * 1000,
                    "p50 ms": result["median"] * 1000,
                    "memory MiB": result["resident"] / MEBIBYTE,
                    "growth MiB": result["growth"] / MEBIBYTE,
                }
            )
        small, large = measured
        self.targets += [
            Target(
                "poll: time with the large backlog, in times of the small one",
                large["median"] / small["median"],
                self.ratio_limit,
            ),
            Target(
                "poll: memory with the large backlog, MiB more than with the small one",
                (large["resident"] - small["resident"]) / MEBIBYTE,
                self.growth_limit,
            ),
        ]
        self._outbox.query("TRUNCATE stock_event_outbox")


# The polls last: they make the ledger large.
CASES = (Latency, Drain, Cost, Poll)


def run(options, command):
    """Measure the chosen cases, report, and keep the results of a full run.

    :return: whether all events arrived
    """
    database = f"{options.name}_events"
    with contextlib.ExitStack() as stack:
        stack.enter_context(made_database(database, options.keep))
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = stack.enter_context(Broker(os.environ["AMQP_URL"], f"bench.{database}").open())
        outbox = Outbox(database, broker, folder)
        stack.callback(outbox.close)
        outbox.prepare(PRODUCTS)
        cases = []
        for case_class in CASES:
            if not options.cases or case_class.name in options.cases:
                cases.append(case_class(outbox, options))
                cases[-1].run()
        environment = get_environment({"addon": outbox}, command)
        environment["rabbitmq"] = broker.version
    lost = sum(case.lost for case in cases)
    remark = f"Events that did not arrive: {lost}."
    conclude_cases("events", environment, cases, options, remark, _format)
    return not lost


def _format(value):
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else value
