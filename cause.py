"""Why stock changes: told by the move lines, read where quants are written.

A context variable and not a key of Odoo's context: any RPC caller can send a
context, and a new context per move line would make a new environment for each.
"""

from collections import Counter, defaultdict
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

_current_cause = ContextVar("stock_event_ledger_cause", default=None)
_current_message = ContextVar("stock_event_ledger_message", default=None)


class StockKey(NamedTuple):
    """What stock is kept by: one quant, or a few that core has not merged yet."""

    product_id: int
    location_id: int
    lot_id: int | None
    package_id: int | None
    owner_id: int | None
    company_id: int | None


class LineCause(NamedTuple):
    """The move line (and its move) that changes stock."""

    move_line_id: int | None = None
    move_id: int | None = None


NO_CAUSE = LineCause()


class MessageCause(NamedTuple):
    """The message or call from outside that stock is changed for."""

    causation_id: str
    correlation_id: str | None = None


class LineSnapshot(NamedTuple):
    """What is needed of a move line to recognise the changes that it made."""

    cause: LineCause
    product_id: int
    location_ids: tuple
    lot_id: int | None
    package_ids: tuple
    owner_id: int | None

    def explains(self, key):
        """Tell whether the line may change this key's stock, product and lot being its own."""
        return (
            key.location_id in self.location_ids
            and key.package_id in self.package_ids
            and key.owner_id == self.owner_id
        )


class LineBatch:
    """Changes made by one call of core that works on many move lines.

    Core creates and deletes move lines in batches and changes the quants in a loop
    inside, where nothing says which line is being worked on. The lines are matched to
    the changes afterwards by stock key, in order, the least used line first.
    """

    def __init__(self):
        self.changes = []

    def attribute(self, snapshots):
        """Set the cause of each change to the line that explains it best."""
        lines = defaultdict(list)
        for line in snapshots:
            for lot_id in {line.lot_id, None}:
                lines[line.product_id, lot_id].append(line)
        used = Counter()
        for change in self.changes:
            key = change.key
            candidates = [line for line in lines[key.product_id, key.lot_id] if line.explains(key)]
            if not candidates:
                continue
            effect = (key, change.quantity > 0, change.reserved_quantity > 0)
            line = min(candidates, key=lambda line: used[line.cause, effect])
            used[line.cause, effect] += 1
            change.cause = line.cause


def current_cause():
    """Return the LineCause or LineBatch that stock is being changed for, if any."""
    return _current_cause.get()


@contextmanager
def caused_by(cause):
    """Attribute the changes of stock made inside the block to ``cause``."""
    token = _current_cause.set(cause)
    try:
        yield cause
    finally:
        _current_cause.reset(token)


def current_message():
    """Return the MessageCause that stock is being changed for, if any."""
    return _current_message.get()


@contextmanager
def caused_by_message(causation_id, correlation_id=None):
    """Name the message that the block acts on: see ``stock.ledger.entry._caused_by``."""
    token = _current_message.set(MessageCause(causation_id, correlation_id))
    try:
        yield
    finally:
        _current_message.reset(token)
