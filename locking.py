"""What the code that decides on stock tells the code that locks it.

Context variables for the same reasons as in ``cause``.
"""

from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

_reservation = ContextVar("stock_event_ledger_reservation", default=None)
_update = ContextVar("stock_event_ledger_update", default=None)
_restartable = ContextVar("stock_event_ledger_restartable", default=False)


class Reservation:
    """A reservation being decided; ``contended`` when its quants were not to be had."""

    def __init__(self):
        self.contended = False


class QuantUpdate(NamedTuple):
    """The change that core is about to make to one of the quants of a stock key."""

    quantity: float
    reserved_quantity: float


@contextmanager
def _set(variable, value):
    token = variable.set(value)
    try:
        yield value
    finally:
        variable.reset(token)


def reserving():
    """Lock the quants that are chosen inside the block; yield the Reservation."""
    return _set(_reservation, Reservation())


def current_reservation():
    """Return the Reservation being decided, or None."""
    return _reservation.get()


def updating(quantity, reserved_quantity):
    """Choose the quant to update inside the block with this change in mind."""
    return _set(_update, QuantUpdate(quantity, reserved_quantity))


def current_update():
    """Return the QuantUpdate under way, or None."""
    return _update.get()


def restartable():
    """Say that a transaction that wrote nothing may be restarted inside the block.

    For code that opened the transaction itself and is in no savepoint; requests need
    not say so.
    """
    return _set(_restartable, True)


def is_restartable():
    """Tell whether the caller said that the transaction may be restarted."""
    return _restartable.get()
