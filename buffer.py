"""Changes of stock, noted in the cursor until they become ledger entries."""

import itertools
from dataclasses import dataclass
from decimal import Decimal

from odoo.tools import SQL

from .cause import LineBatch, LineCause, StockKey, current_cause

NAME = "stock_event_ledger.buffer"
# Never used again in a process, so that a mark restored by a rolled back savepoint is
# lower than the mark of every change that was made inside it.
_marks = itertools.count(1)


@dataclass(slots=True)
class Change:
    """One change of one quant, later the net change of a stock key by a move line."""

    mark: int
    key: StockKey
    quantity: Decimal
    reserved_quantity: Decimal
    user_id: int
    company_id: int
    cause: LineCause | None


def note(env, key, quantity, reserved_quantity, flush):
    """Note a change of a quant that has just reached the database.

    :param env: the environment that made the change
    :param StockKey key: whose stock changed
    :param Decimal quantity: change of the on-hand quantity
    :param Decimal reserved_quantity: change of the reserved quantity
    :param flush: function to call before the next commit or savepoint
    """
    precommit = env.cr.precommit
    if NAME not in precommit.data:
        precommit.data[NAME] = []
        precommit.add(flush)
    changes = precommit.data[NAME]
    mark = next(_marks)
    _drop_undone(changes, _exchange_mark(env, mark))
    cause = current_cause()
    change = Change(
        mark=mark,
        key=key,
        quantity=quantity,
        reserved_quantity=reserved_quantity,
        user_id=env.uid,
        company_id=key.company_id or env.company.id,
        cause=None if isinstance(cause, LineBatch) else cause,
    )
    if isinstance(cause, LineBatch):
        cause.changes.append(change)
    changes.append(change)


def take(env):
    """Remove what was noted from the cursor.

    :return: list of Change, one per stock key, move line and user, without those that
        cancel out, in the order of each one's first change
    """
    changes = env.cr.precommit.data.pop(NAME, None)
    if not changes:
        return []
    [[mark]] = env.execute_query(SQL("SELECT current_setting('stock_event_ledger.mark', true)"))
    _drop_undone(changes, int(mark or 0))
    return _merge(changes)


def _exchange_mark(env, mark):
    """Set the transaction's mark; return the mark that it had.

    A local setting is undone with the savepoint that it was made in, exactly as the
    change of the quant is. ``cr.savepoint(flush=False)`` clears nothing in the cursor
    when it rolls back, so the mark is how its changes are told from effective ones.
    """
    [[before, _now]] = env.execute_query(
        SQL(
            """SELECT current_setting('stock_event_ledger.mark', true),
                      set_config('stock_event_ledger.mark', %s, true)""",
            str(mark),
        )
    )
    return int(before or 0)


def _drop_undone(changes, mark):
    while changes and changes[-1].mark > mark:
        changes.pop()


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
