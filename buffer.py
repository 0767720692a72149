"""Changes of stock, noted in the cursor until they become ledger entries."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from odoo.tools import SQL

from .cause import LineBatch, LineCause, StockKey, current_cause

NAME = "stock_event_ledger.buffer"
# Less than any unit of measure tells apart: what floating point numbers leave.
RESIDUE = Decimal("1e-9")
# Beyond that many changes of one key, which ones were undone is not searched for.
MOST_SEARCHED = 500


class QuantState(NamedTuple):
    """One quant as it was at some moment."""

    key: StockKey
    quantity: Decimal
    reserved_quantity: Decimal


@dataclass(slots=True)
class Change:
    """One change of one quant, later the net change of a stock key by a move line."""

    key: StockKey
    quantity: Decimal
    reserved_quantity: Decimal
    user_id: int
    company_id: int
    cause: LineCause | None


@dataclass(slots=True)
class Buffer:
    """What a transaction has changed since it last wrote to the ledger."""

    changes: list = field(default_factory=list)
    # Each quant that it changed, as it was before; None where there was none.
    originals: dict = field(default_factory=dict)


def remember(env, quant_id, state, flush):
    """Remember a quant as it is before it is changed, unless it has been before.

    :param env: the environment that changes it
    :param int quant_id: the quant
    :param QuantState state: how it is, or None for a new one
    :param flush: function to call before the next commit or savepoint
    :return: the transaction's Buffer
    """
    precommit = env.cr.precommit
    if NAME not in precommit.data:
        precommit.data[NAME] = Buffer()
        precommit.add(flush)
    buffer = precommit.data[NAME]
    buffer.originals.setdefault(quant_id, state)
    return buffer


def note(env, quant_id, before, after, flush):
    """Note a change of a quant.

    :param env: the environment that made the change
    :param int quant_id: the quant
    :param QuantState before: how it was, or None for a new one
    :param QuantState after: how it is, or None when it is being deleted
    :param flush: function to call before the next commit or savepoint
    """
    if before == after:
        return
    buffer = remember(env, quant_id, before, flush)
    if before and after and before.key == after.key:
        deltas = [
            (
                after.key,
                after.quantity - before.quantity,
                after.reserved_quantity - before.reserved_quantity,
            )
        ]
    else:
        deltas = []
        if before:
            deltas.append((before.key, -before.quantity, -before.reserved_quantity))
        if after:
            deltas.append((after.key, after.quantity, after.reserved_quantity))
    cause = current_cause()
    for key, quantity, reserved_quantity in deltas:
        change = Change(
            key=key,
            quantity=quantity,
            reserved_quantity=reserved_quantity,
            user_id=env.uid,
            company_id=key.company_id or env.company.id,
            cause=None if isinstance(cause, LineBatch) else cause,
        )
        if isinstance(cause, LineBatch):
            cause.changes.append(change)
        buffer.changes.append(change)


def take(env):
    """Remove what was noted from the cursor.

    :return: list of Change, one per stock key, move line and user, without those that
        cancel out, in the order of each one's first change
    """
    if NAME not in env.cr.precommit.data:
        return []
    # Flushing may recompute, and so change quants that are still to be noted.
    quant_ids = list(env.cr.precommit.data[NAME].originals)
    env["stock.quant"].browse(quant_ids).flush_recordset()
    buffer = env.cr.precommit.data.pop(NAME)
    return _merge(_settle(env, buffer, _get_actual_changes(env, buffer)))


def _get_actual_changes(env, buffer):
    """Compare the quants as they were with what the database has now.

    :return: Counter of quantities and one of reserved quantities, by StockKey
    """
    rows = env.execute_query(
        SQL(
            """SELECT product_id, location_id, lot_id, package_id, owner_id, company_id,
                      COALESCE(quantity, 0)::text, COALESCE(reserved_quantity, 0)::text
                 FROM stock_quant WHERE id = ANY(%s)""",
            list(buffer.originals),
        )
    )
    quantities, reserved_quantities = Counter(), Counter()
    for *key, quantity, reserved_quantity in rows:
        quantities[StockKey(*key)] += Decimal(quantity)
        reserved_quantities[StockKey(*key)] += Decimal(reserved_quantity)
    for state in filter(None, buffer.originals.values()):
        quantities[state.key] -= state.quantity
        reserved_quantities[state.key] -= state.reserved_quantity
    return quantities, reserved_quantities


def _settle(env, buffer, actual):
    """Return the changes without those that a savepoint has undone.

    A savepoint that does not flush leaves the cursor's data alone when it is rolled
    back. What the database holds then tells which changes are left.
    """
    quantities, reserved_quantities = actual
    changes_by_key = defaultdict(list)
    for change in buffer.changes:
        changes_by_key[change.key].append(change)
    undone = set()
    unexplained = []
    for key in {**changes_by_key, **quantities}:
        changes = changes_by_key[key]
        excess = (
            sum(change.quantity for change in changes) - quantities[key],
            sum(change.reserved_quantity for change in changes) - reserved_quantities[key],
        )
        if not any(excess):
            continue
        run = _find_undone(changes, excess)
        undone.update(map(id, run))
        if not run:
            unexplained.append(_take_off(env, key, changes, excess))
    return [change for change in buffer.changes if id(change) not in undone] + [
        change for change in unexplained if change
    ]


def _find_undone(changes, excess):
    """Return the last changes in a row that make up the excess, or none."""
    if len(changes) > MOST_SEARCHED:
        return []
    for end in range(len(changes), 0, -1):
        quantity = reserved_quantity = 0
        for start in range(end - 1, -1, -1):
            quantity += changes[start].quantity
            reserved_quantity += changes[start].reserved_quantity
            if (quantity, reserved_quantity) == excess:
                return changes[start:end]
    return []


def _take_off(env, key, changes, excess):
    """Make the changes' sum right: in the last one, or by a change without a cause.

    :return: the additional Change, or None
    """
    quantity, reserved_quantity = excess
    if changes and max(abs(quantity), abs(reserved_quantity)) < RESIDUE:
        changes[-1].quantity -= quantity
        changes[-1].reserved_quantity -= reserved_quantity
        return None
    return Change(
        key=key,
        quantity=-quantity,
        reserved_quantity=-reserved_quantity,
        user_id=env.uid,
        company_id=key.company_id or env.company.id,
        cause=None,
    )


def _merge(changes):
    merged = {}
    for change in changes:
        identity = (change.key, change.cause, change.user_id, change.company_id)
        if identity in merged:
            merged[identity].quantity += change.quantity
            merged[identity].reserved_quantity += change.reserved_quantity
        else:
            merged[identity] = change
    return [c for c in merged.values() if c.quantity or c.reserved_quantity]
