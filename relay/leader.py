import contextlib
import logging
import os
import socket

import psycopg2

from odoo import SUPERUSER_ID, api, sql_db
from odoo.tools import SQL

_logger = logging.getLogger(__name__)

NOTIFY_CHANNEL = "stock_event_ledger"
# The notifications that are not about events.
RESERVATION_QUEUED = "reservation queued"
RESERVATION_AWAITED = "reservation awaited"
# Advisory locks are per database; these numbers are this module's own.
LOCK_CLASS, LEADER_LOCK, WORKER_LOCK, INBOX_LOCK = 0x53454C, 1, 2, 3
REPLAYS = 5
REPLAYED = (
    psycopg2.errors.SerializationFailure,
    psycopg2.errors.DeadlockDetected,
    psycopg2.errors.LockNotAvailable,
)


def announce_reservation(cr, announcement):
    """Tell the leader, when this transaction commits, that there are moves to reserve.

    :param cr: the cursor
    :param str announcement: RESERVATION_AWAITED if somebody is waiting for it, or
        RESERVATION_QUEUED
    """
    cr.execute(SQL("SELECT pg_notify(%s, %s)", NOTIFY_CHANNEL, announcement))


def has_worker(cr):
    """Tell whether a worker is there at this moment to do what follows commits."""
    cr.execute(
        SQL(
            """SELECT EXISTS (
                SELECT FROM pg_locks
                 WHERE locktype = 'advisory' AND granted AND classid = %s AND objid = %s
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            )""",
            LOCK_CLASS,
            WORKER_LOCK,
        )
    )
    [is_there] = cr.fetchone()
    return is_there


class QuietCursor(sql_db.Cursor):
    """A cursor whose failed queries are reported by the caller alone.

    A serialization failure is replayed and a restart of PostgreSQL is waited for:
    neither is an error to alarm anyone with.
    """

    def execute(self, query, params=None, log_exceptions=False):
        """Execute without logging a failure."""
        return super().execute(query, params, log_exceptions=log_exceptions)


class Session:
    """A connection to a database outside of Odoo's pool, for as long as it lives.

    Closing it closes the connection, and with it ends the session's locks, which a
    connection given back to a pool would keep.
    """

    def __init__(self, dbname, role, options=""):
        """
        :param str dbname: the database
        :param str role: what PostgreSQL calls the session in its lists
        :param str options: of PostgreSQL's command line, for the session
        """
        _name, info = sql_db.connection_info_for(dbname)
        name = f"{role} {socket.gethostname()}:{os.getpid()}"
        info.update(application_name=name[:63], options=options)
        self.cr = QuietCursor(sql_db.ConnectionPool(1), dbname, info)

    def close(self):
        """Close the connection, whatever state it is in."""
        connection = self.cr.connection
        with contextlib.suppress(psycopg2.Error):
            self.cr.close()
        with contextlib.suppress(psycopg2.Error):
            connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def try_lock(self, number):
        """Take one of this module's locks for as long as the session lives. Never waits.

        :return: whether the session has it
        """
        self.cr.execute(SQL("SELECT pg_try_advisory_lock(%s, %s)", LOCK_CLASS, number))
        [is_locked] = self.cr.fetchone()
        self.cr.commit()  # pylint: disable=invalid-commit
        return is_locked

    def transaction(self, work):
        """Run ``work(env)`` in a transaction of its own and return its result.

        Replayed at once when another transaction was faster: there is nobody to wait
        for the answer here, and the work is short.

        :raises psycopg2.Error: when the connection is lost, or replays do not help
        """
        for attempt in range(REPLAYS):
            try:
                # Modules may have been installed or updated since the last time.
                self.cr.reset()
                result = work(api.Environment(self.cr, SUPERUSER_ID, {}))
                # The connection is this session's own: no caller's work is committed.
                self.cr.commit()  # pylint: disable=invalid-commit
                return result
            except REPLAYED:
                self.cr.rollback()
                if attempt == REPLAYS - 1:
                    raise
            except BaseException:
                with contextlib.suppress(psycopg2.Error):
                    self.cr.rollback()
                raise
        raise AssertionError("unreachable")


class Leader(Session):
    """The session that may relay: at most one per database.

    The lock belongs to the connection that also numbers and settles events. A process
    that loses the lock has lost the connection, and cannot write any more.
    """

    def __init__(self, dbname):
        # The relay's queries name their tables in the order in which they are best
        # joined; to plan them takes longer than to run them for one event.
        super().__init__(dbname, "stock_event_relay", "-c join_collapse_limit=1")

    def acquire(self):
        """Try to become the leader, and listen for new events. Never waits.

        :return: whether this session is the leader
        """
        is_leader = self.try_lock(LEADER_LOCK)
        if is_leader:
            self.cr.execute(SQL("LISTEN %s", SQL.identifier(NOTIFY_CHANNEL)))
            # It is from its commit on that the session listens.
            self.cr.commit()  # pylint: disable=invalid-commit
        return is_leader

    def fileno(self):
        """Return the descriptor that is readable when PostgreSQL has something."""
        return self.cr.connection.fileno()

    def take_notifications(self):
        """Return what was announced since the last call.

        :return: set of notifications' payloads
        :raises psycopg2.Error: when the connection, and with it the lock, is lost
        """
        connection = self.cr.connection
        connection.poll()
        announced = {notification.payload for notification in connection.notifies}
        connection.notifies.clear()
        return announced

    def check(self):
        """Make sure that the session is still there.

        :raises psycopg2.Error: when it is not
        """
        self.cr.execute(SQL("SELECT 1"))
        self.cr.rollback()
