"""What an operation takes from places where stock must not become negative."""

from collections import defaultdict
from contextlib import contextmanager
from contextvars import ContextVar

_current_takings = ContextVar("stock_event_ledger_takings", default=None)


class Takings:
    """The net change of each stock key that one operation takes from or adds to."""

    def __init__(self):
        self.changes = defaultdict(float)

    def add(self, key, quantity):
        """Note a change of a stock key, in the product's unit of measure."""
        self.changes[key] += quantity


@contextmanager
def collecting_takings(check):
    """Collect takings until the outermost block ends well, and check them then.

    Core corrects itself on the way: it takes stock from a lot that has too little, and
    then gives the lot what has no number yet.

    :param check: function to call with the Takings
    """
    if takings := _current_takings.get():
        yield takings
        return
    takings = Takings()
    token = _current_takings.set(takings)
    try:
        yield takings
    finally:
        _current_takings.reset(token)
    if takings.changes:
        check(takings)
