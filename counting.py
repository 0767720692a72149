"""Counts that are being applied, from where Odoo plans their moves to where it makes them."""

import logging
from contextlib import contextmanager
from contextvars import ContextVar

_logger = logging.getLogger(__name__)

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

        Where a module makes fewer moves or others, what it makes none of is not recorded:
        nothing that Odoo accepts may fail for the sake of a record.

        :param moves: the stock.move that are being done; other ones come later
        """
        remaining = list(moves)
        for vals in self.planned:
            move = next((move for move in remaining if _is_move_of(move, vals)), None)
            if move is None:
                _logger.warning("The count %s has no move, and is not recorded", vals)
                continue
            remaining.remove(move)
            self.applied.append((vals, move))
        self.planned = []


def _is_move_of(move, vals):
    places = (move.location_id.id, move.location_dest_id.id)
    return move.product_id.id == vals["product_id"] and vals["location_id"] in places


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
