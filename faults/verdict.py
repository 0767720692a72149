"""What was committed, compared with what a consumer recorded. Plain Python."""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

# What floating point numbers leave.
RESIDUE = 1e-6


class Event(NamedTuple):
    """What the ledger has, and a consumer must get."""

    event_id: str
    entry_id: int
    product_id: int
    quantity: float


class Delivery(NamedTuple):
    """What a consumer got, in the order of arrival."""

    message_id: str
    sequence: int
    body: bytes


@dataclass
class Verdict:
    """How many events there were, and what is wrong with them.

    ``duplicates`` are allowed. ``altered`` are repeats that differ from the first
    delivery, and messages whose properties contradict their body or the ledger.
    ``figures`` are events whose ``on_hand_after`` does not follow from their
    predecessor's. ``problems`` are sentences about anything else.
    """

    events: int = 0
    duplicates: int = 0
    lost: list = field(default_factory=list)
    phantom: list = field(default_factory=list)
    order: list = field(default_factory=list)
    gaps: list = field(default_factory=list)
    altered: list = field(default_factory=list)
    figures: list = field(default_factory=list)
    problems: list = field(default_factory=list)

    FAILURES = ("lost", "phantom", "order", "gaps", "altered", "figures", "problems")

    @property
    def is_good(self):
        return not any(getattr(self, name) for name in self.FAILURES)

    def add(self, other):
        """Take in what was found elsewhere."""
        self.events += other.events
        self.duplicates += other.duplicates
        for name in self.FAILURES:
            getattr(self, name).extend(getattr(other, name))


def judge_deliveries(events, deliveries):
    """Compare the ledger's events with their deliveries.

    An event that a person skipped arrives as a GAP that names it.

    :param list events: of Event, all that were committed
    :param list deliveries: of Delivery, in the order of arrival
    :return: Verdict
    """
    verdict = Verdict(events=len(events))
    committed = {event.event_id: event for event in events}
    first_by_id, numbers_by_key, accounted = {}, defaultdict(dict), set()
    for delivery in deliveries:
        if delivery.message_id in first_by_id:
            verdict.duplicates += 1
            if first_by_id[delivery.message_id] != delivery:
                verdict.altered.append(delivery.message_id)
            continue
        first_by_id[delivery.message_id] = delivery
        body = json.loads(delivery.body)
        event_id = body["event_id"]
        if body["event_type"] == "GAP":
            event_id = body["skipped_event_id"]
        accounted.add(event_id)
        _judge_contents(verdict, delivery, body, committed.get(event_id))
        _judge_order(verdict, numbers_by_key[_get_key(body)], body)
    for key, bodies in numbers_by_key.items():
        _judge_numbers(verdict, key, bodies)
    verdict.lost.extend(sorted(committed.keys() - accounted))
    return verdict


def _get_key(body):
    return body["company_id"], body["warehouse_id"], body["product_id"]


def _judge_contents(verdict, delivery, body, event):
    if event is None:
        verdict.phantom.append(delivery.message_id)
        return
    in_ledger = (event.product_id, event.quantity)
    if (
        (body["product_id"], body["quantity"]) != in_ledger
        or body["event_id"] != delivery.message_id
        or body["sequence"] != delivery.sequence
    ):
        verdict.altered.append(delivery.message_id)


def _judge_order(verdict, bodies, body):
    sequence = body["sequence"]
    if bodies and sequence <= max(bodies):
        verdict.order.append((*_get_key(body), sequence))
    bodies.setdefault(sequence, body)


def _judge_numbers(verdict, key, bodies):
    on_hand = 0
    for sequence in range(1, max(bodies) + 1):
        if sequence not in bodies:
            verdict.gaps.append((*key, sequence))
            continue
        body = bodies[sequence]
        is_next = sequence == 1 or sequence - 1 in bodies
        if is_next and abs(on_hand + body["quantity"] - body["on_hand_after"]) > RESIDUE:
            verdict.figures.append((*key, sequence))
        on_hand = body["on_hand_after"]


# --- the writers' commit logs against the ledger


def read_log(path):
    """Return the lines of a writer's log; the last one may be cut off by a kill."""
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.endswith("\n")]


def judge_ledger(logs, entries):
    """Compare what writers know to have committed with the ledger.

    A transaction whose fate its writer did not learn is in the ledger as a whole or
    not at all.

    :param list logs: of the lines of each log, as ``read_log`` returns them
    :param dict entries: of (product id, quantity) by the id of each ledger entry
    :return: Verdict
    """
    verdict = Verdict()
    explained = set()
    for lines in logs:
        outcomes = {line["transaction"]: line["outcome"] for line in lines if "outcome" in line}
        for line in lines:
            if "entries" in line:
                outcome = outcomes.get(line["transaction"]) or line.get("outcome_by_kill")
                _judge_transaction(verdict, line, outcome, entries, explained)
    verdict.phantom.extend(f"entry {entry_id}" for entry_id in sorted(entries.keys() - explained))
    return verdict


def _judge_transaction(verdict, intent, outcome, entries, explained):
    intended = {entry_id: (product, quantity) for entry_id, product, quantity in intent["entries"]}
    found = intended.keys() & entries.keys()
    missing = intended.keys() - entries.keys()
    if outcome == "committed" or (found and outcome != "rolled back"):
        explained.update(found)
        verdict.lost.extend(f"entry {entry_id}" for entry_id in sorted(missing))
        _judge_sums(verdict, intent, [entries[entry_id] for entry_id in found])


def _judge_sums(verdict, intent, found):
    """What a rolled back savepoint did must not be in a transaction's entries."""
    sums = defaultdict(float)
    for product_id, quantity in found:
        sums[product_id] += quantity
    for product_id, quantity in intent["expected"]:
        sums[product_id] -= quantity
    if any(abs(difference) > RESIDUE for difference in sums.values()):
        verdict.phantom.append(f"transaction {intent['transaction']}: {dict(sums)}")
