"""Counts that are being applied, from where Odoo plans their moves to where it makes them."""

from contextlib import contextmanager
from contextvars import ContextVar

_current_counts = ContextVar("stock_event_ledger_counts", default=None)


class Counts:
    """The counts of one inventory adjustment, each with the move that it leads to."""

    def __init__(self):
        self.planned = []
        self.applied = []

    def plan(self, vals):
        """Note a count whose move is about to be created.

        :param dict vals: what is known of the count so far
        """
        self.planned.append(vals)

    def match(self, moves):
        """Give the planned counts their moves: Odoo makes one of each, in their order.

        :param moves: the stock.move that are being done; other ones come later
        """
        if self.planned:
            self.applied += zip(self.planned, moves, strict=True)
            self.planned = []


def current_counts():
    """Return the Counts of the inventory adjustment that is being applied, if any."""
    return _current_counts.get()


@contextmanager
def applying_counts():
    """Collect the counts that are applied inside the block."""
    counts = Counts()
    token = _current_counts.set(counts)
    try:
        yield counts
    finally:
        _current_counts.reset(token)
