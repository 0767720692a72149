"""What the code that decides on stock tells the code that locks it.

Context variables for the same reasons as in ``cause``.
"""

from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from .cause import LineBatch

_reservation = ContextVar("stock_event_ledger_reservation", default=None)
_update = ContextVar("stock_event_ledger_update", default=None)
_deciding = ContextVar("stock_event_ledger_deciding", default=False)
_restartable = ContextVar("stock_event_ledger_restartable", default=False)
_working_off_queue = ContextVar("stock_event_ledger_working_off_queue", default=False)
_collector = ContextVar("stock_event_ledger_collector", default=None)
_gathered = ContextVar("stock_event_ledger_gathered", default=None)


class StockContended(BaseException):
    """An operation that can begin again needs quants that are not to be had.

    No Exception: nobody on the way up to whoever begins again may take it for a failure.
    """

    def __init__(self, quant_ids, keys=()):
        super().__init__("Somebody else is deciding on the same stock.")
        self.quant_ids = quant_ids
        # Stock keys without a quant.
        self.keys = keys


class Reservation:
    """A reservation being decided; ``contended`` when its quants were not to be had."""

    def __init__(self, is_entered):
        self.is_entered = is_entered
        self.contended = False

    def note_contended(self, quants):
        """Note it, or let the operation begin again where it can."""
        if is_deciding():
            raise StockContended(quants.ids)
        self.contended = True


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


def reserving(is_entered=False):
    """Lock the quants that are chosen inside the block; yield the Reservation.

    :param bool is_entered: whether somebody has entered the quantity, and so has the
        goods: then busy quants are chosen as well as free ones
    """
    return _set(_reservation, Reservation(is_entered))


def current_reservation():
    """Return the Reservation being decided, or None."""
    return _reservation.get()


def updating(quantity, reserved_quantity):
    """Choose the quant to update inside the block with this change in mind."""
    return _set(_update, QuantUpdate(quantity, reserved_quantity))


def current_update():
    """Return the QuantUpdate under way, or None."""
    return _update.get()


def deciding():
    """Raise StockContended inside the block where stock is busy."""
    return _set(_deciding, True)


def is_deciding():
    """Tell whether the operation begins again where stock is busy."""
    return _deciding.get()


def restartable():
    """Say that a transaction that wrote nothing may be restarted inside the block.

    For code that opened the transaction itself and is in no savepoint; requests need
    not say so.
    """
    return _set(_restartable, True)


def is_restartable():
    """Tell whether the caller said that the transaction may be restarted."""
    return _restartable.get()


def working_off_queue():
    """Reserve queued moves inside the block, rather than queueing them again."""
    return _set(_working_off_queue, True)


def is_working_off_queue():
    """Tell whether queued moves are being reserved."""
    return _working_off_queue.get()


class LineCollector:
    """Move lines of many moves, to be created at once after their stock was reserved.

    To create them one by one is half of what reserving costs.
    """

    def __init__(self):
        self.vals_list = []
        # Whose changes of stock they will be found to explain.
        self.batch = LineBatch()
        # Whether lines are being collected, and whether they are being created.
        self.is_collecting = False
        self.is_creating = False

    @contextmanager
    def collecting(self):
        """Collect the lines that are created inside the block."""
        self.is_collecting = True
        try:
            yield
        finally:
            self.is_collecting = False

    @contextmanager
    def creating(self):
        """Create lines inside the block whose stock is reserved; yield their values."""
        vals_list, self.vals_list = self.vals_list, []
        self.is_creating = True
        try:
            yield vals_list
        finally:
            self.is_creating = False


def collecting_lines():
    """Create the lines of the moves that are reserved inside the block together."""
    return _set(_collector, LineCollector())


def current_collector():
    """Return the LineCollector, or None."""
    return _collector.get()


def remembering_gathered():
    """Search for the quants of the same stock once inside the block."""
    return _set(_gathered, {})


def current_gathered():
    """Return what was found so far: ids of quants by what was searched for, or None."""
    return _gathered.get()


def get_unsure_keys(cr):
    """Return the stock keys that somebody entered a quantity of while they were busy.

    :param cr: the cursor, whose transaction may have done so
    :return: set of tuples of ids: product, location, lot, package, owner
    """
    return cr.postcommit.data.setdefault("stock_event_ledger.unsure_keys", set())
