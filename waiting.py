"""Standing in line for stock that somebody else is deciding on."""

import contextlib
import time
import zlib
from datetime import datetime
from typing import NamedTuple

import psycopg2

from odoo.tools import SQL, format_time

# Advisory locks are per database and take two numbers: these are for stock keys, and for the
# keys by which integrators call something once.
LOCK_CLASS = 0x53454D
CALL_LOCK_CLASS = 0x53454E


def get_lock_number(key):
    """Return the number of the advisory lock where those who want a stock key line up.

    Two keys with the same number only wait for each other without need.

    :param tuple key: ids of product, location, lot, package and owner
    :return: a signed 32-bit integer
    """
    return zlib.crc32(repr(key).encode()) - 2**31


class StockLine:
    """A place in line, which outlives the rollbacks that get fresh snapshots.

    The locks are the session's for as long as the ``with`` block lasts. Inside it the
    transaction takes them too, and has them until it ends.
    """

    def __init__(self, cr, lock_class=LOCK_CLASS):
        self._cr = cr
        self._lock_class = lock_class
        self._numbers = []
        self.joined = False

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._leave()

    @property
    def numbers(self):
        """Those for which it is this session's turn."""
        return list(self._numbers)

    def holds(self, numbers):
        """Tell whether it is this session's turn for all these numbers."""
        return set(self._numbers).issuperset(numbers)

    def join(self, numbers, timeout_seconds):
        """Wait until it is this session's turn for all these numbers.

        :param list numbers: in ascending order, so that no two sessions block each other
        :param float timeout_seconds: how long to wait for all of them
        :raises psycopg2.errors.LockNotAvailable: when that was not enough
        """
        self._leave()
        self.joined = True
        deadline = time.monotonic() + timeout_seconds
        for number in numbers:
            # It is all of them together that may take so long.
            self.limit(deadline - time.monotonic())
            query = SQL("SELECT pg_advisory_lock(%s, %s)", self._lock_class, number)
            self._cr.execute(query, log_exceptions=False)
            self._numbers.append(number)

    def limit(self, seconds):
        """Let no lock of this transaction be waited for any longer than this."""
        milliseconds = max(int(seconds * 1000), 1)
        self._cr.execute(SQL("SELECT set_config('lock_timeout', %s, true)", str(milliseconds)))

    def _leave(self):
        if not self._numbers:
            return
        query = SQL(
            "SELECT pg_advisory_unlock(%s, number) FROM UNNEST(%s) AS number",
            self._lock_class,
            self._numbers,
        )
        # Where the connection is lost, so are the locks.
        with contextlib.suppress(psycopg2.OperationalError, psycopg2.InterfaceError):
            try:
                self._cr.execute(query, log_exceptions=False)
            except psycopg2.errors.InFailedSqlTransaction:
                self._cr.rollback()
                self._cr.execute(query)
        self._numbers = []


class StockHolder(NamedTuple):
    """Who had locked stock; the user is unknown where it was not for a decision."""

    user_id: int | None
    since: datetime

    def get_name(self, env):
        """Return who it is and since when, for the user of this environment."""
        # sudo: to wait for a colleague is reason enough to learn the name.
        user = env["res.users"].sudo().browse(self.user_id or []).exists()
        return env._(
            "%(user)s since %(time)s",
            user=user.name or env._("another operation"),
            time=format_time(env, self.since),
        )


class StockWait(NamedTuple):
    """How long an operation waited for which products and locations."""

    seconds: float
    stocks: set
    holder: StockHolder | None = None

    def get_holder_name(self, env):
        """Return who had the stock and since when, or False if it is not known."""
        return self.holder.get_name(env) if self.holder else False

    def get_message(self, env):
        """Return what to tell a user who has waited in vain."""
        return env._(
            "Waited %(seconds)d seconds for %(stocks)s, held by %(holder)s. What could not be "
            "reserved is queued, and reserved as soon as the stock is free.",
            seconds=round(self.seconds),
            stocks=self.get_stock_names(env),
            holder=self.get_holder_name(env) or env._("another operation"),
        )

    def get_stock_names(self, env):
        """Return what was waited for."""
        return ", ".join(
            env._(
                "%(product)s at %(location)s",
                product=env["product.product"].browse(product_id).display_name,
                location=env["stock.location"].browse(location_id).display_name,
            )
            for product_id, location_id in sorted(self.stocks)
        )


class StockBusy(Exception):
    """Others held the stock for longer than the operation was to wait."""

    def __init__(self, wait):
        super().__init__("The stock is busy.")
        self.wait = wait
