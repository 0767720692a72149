"""Takes commands from brokers into the inbox, and runs them."""

import contextlib
import logging
import threading
import time

import psycopg2

from odoo.exceptions import UserError
from odoo.modules.registry import Registry

from ..broker import Consumer
from .leader import INBOX_LOCK, Session
from .relay import CONFIGURATION_SECONDS, POLL_SECONDS, Backoff

_logger = logging.getLogger(__name__)

# How long a scheduled action waits for connections and for messages after the last one.
CONNECT_SECONDS, QUIET_SECONDS = 15, 1


class QueueConsumer:
    """One queue's consumer, made anew whenever it ends."""

    def __init__(self, queue_id, consumed, wake):
        """
        :param int queue_id: the stock.command.queue
        :param consumed: its name on the broker, whether it is declared, and the Target
        :param wake: called when there is something to do
        """
        self.queue_id = queue_id
        self.consumed = consumed
        self.error = None
        self._wake = wake
        self._consumer = None
        self._host_index = 0
        self._host_errors = []
        self._backoff = Backoff()
        self._retry_at = 0
        self._is_reported = False

    @property
    def is_settled(self):
        """Whether it consumes, or has found out that it cannot."""
        return self._is_reported or self.error is not None

    def step(self, transaction):
        """Connect where needed, and store and acknowledge what has come.

        :param transaction: of the session that stores
        :return: how many messages were stored
        """
        if self._consumer is None:
            self._connect()
            return 0
        deliveries = self._consumer.take()
        if deliveries:
            self._store(transaction, deliveries)
        if self._consumer.closed:
            self._after_failure(transaction)
        elif self._consumer.ready and not self._is_reported:
            self._report(transaction)
        return len(deliveries)

    def close(self):
        """End the connection; the broker delivers again what was not acknowledged."""
        if self._consumer:
            self._consumer.close()

    def take_leave(self, transaction):
        """Show that the queue is not consumed any more, and still the error, if there is one:
        a scheduled action comes again."""
        self._record(transaction, is_consuming=False, error=self.error)

    def _connect(self):
        if time.monotonic() >= self._retry_at:
            name, declares, target = self.consumed
            self._consumer = Consumer(target, name, declares, self._wake, self._host_index)
            self._consumer.start()

    def _store(self, transaction, deliveries):
        tags = [delivery.tag for delivery in deliveries]
        try:
            transaction(lambda env: env["stock.command"]._store(self.queue_id, deliveries))
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            # The session: the broker keeps what is not acknowledged.
            raise
        except Exception as error:
            if len(deliveries) > 1:
                # One of them is to blame, and the others are not.
                for delivery in deliveries:
                    self._store(transaction, [delivery])
                return
            _logger.exception("A message of queue %s cannot be stored: %s", self.consumed[0], error)
            self._consumer.reject(tags)
            return
        self._consumer.acknowledge(tags)

    def _after_failure(self, transaction):
        name, _declares, target = self.consumed
        self._host_errors.append(f"{target.address(self._host_index)}: {self._consumer.error}")
        self._consumer = None
        self._host_index += 1
        if len(self._host_errors) < len(target.hosts):
            # The next host, at once.
            return
        self._retry_at = time.monotonic() + self._backoff.next_seconds()
        errors, self._host_errors = "; ".join(self._host_errors), []
        if errors != self.error:
            _logger.warning("Queue %s is not consumed, and is tried again: %s", name, errors)
            self._record(transaction, is_consuming=False, error=errors)
        self.error = errors
        self._is_reported = False

    def _report(self, transaction):
        if self.error is not None:
            _logger.info("Queue %s is consumed again", self.consumed[0])
        self._record(transaction, is_consuming=True)
        self.error = None
        self._host_errors.clear()
        self._backoff.reset()
        self._is_reported = True

    def _record(self, transaction, is_consuming, error=None):
        transaction(
            lambda env: env["stock.command.queue"]._record_status(
                self.queue_id, is_consuming, error
            )
        )


class Inbox:
    """Stores commands and runs them, one after the other, for as long as its session lives.

    At most one per database. To store comes first: what is stored is safe, and seen.
    """

    def __init__(self, dbname, wake):
        """
        :param str dbname: the database
        :param wake: called, from another thread, when there is something to do
        """
        self._session = Session(dbname, "stock_event_inbox")
        self._wake = wake
        self._consumers = {}
        self._follow_at = 0
        self.done_count = 0

    def acquire(self):
        """Try to become the one that takes commands in. Never waits."""
        return self._session.try_lock(INBOX_LOCK)

    @property
    def is_settled(self):
        """Whether each queue is consumed, or cannot be."""
        return all(consumer.is_settled for consumer in self._consumers.values())

    def step(self):
        """Store what has come, and run one command.

        :return: whether to call again at once
        :raises psycopg2.Error: when the session is lost; then only close
        """
        self._follow_configuration()
        stored = 0
        for consumer in self._consumers.values():
            stored += consumer.step(self._session.transaction)
        return bool(self._run_next() or stored)

    def close(self):
        """End all connections, to brokers and to the database."""
        for consumer in self._consumers.values():
            consumer.close()
        with contextlib.suppress(psycopg2.Error):
            for consumer in self._consumers.values():
                consumer.take_leave(self._session.transaction)
        self._session.close()

    def _follow_configuration(self):
        if time.monotonic() < self._follow_at:
            return
        self._follow_at = time.monotonic() + CONFIGURATION_SECONDS
        consumed = self._session.transaction(lambda env: env["stock.command.queue"]._get_consumed())
        for queue_id, consumer in list(self._consumers.items()):
            if consumed.get(queue_id) != consumer.consumed:
                consumer.close()
                consumer.take_leave(self._session.transaction)
                del self._consumers[queue_id]
        for queue_id, how in consumed.items():
            if queue_id not in self._consumers:
                self._consumers[queue_id] = QueueConsumer(queue_id, how, self._wake)

    def _run_next(self):
        """Run the next command.

        :return: whether there was one
        """
        transaction = self._session.transaction
        command_id = transaction(
            lambda env: env["stock.command"]._claim_next(list(self._consumers)).id
        )
        if not command_id:
            return False
        try:
            transaction(lambda env: env["stock.command"].browse(command_id)._run())
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            if self._session.cr.connection.closed:
                raise
            self._after_failure(command_id, error)
        except Exception as error:
            self._after_failure(command_id, error)
        self.done_count += 1
        return True

    def _after_failure(self, command_id, error):
        """Reject a command that was refused; try one again that failed in another way."""

        def settle(env):
            command = env["stock.command"].browse(command_id)
            if command._is_refusal(error):
                command._reject(error)
            else:
                command._postpone(error)

        if not isinstance(error, UserError):
            _logger.warning("Command %s failed", command_id, exc_info=error)
        self._session.transaction(settle)


class InboxThread(threading.Thread):
    """The inbox of a worker, which outlives restarts of PostgreSQL and of brokers."""

    def __init__(self, dbname):
        super().__init__(name="stock_event_inbox", daemon=True)
        self.dbname = dbname
        self._woken = threading.Event()
        self._stopping = False
        self._backoff = Backoff()

    def stop(self, timeout_seconds=30):
        """End after what is being done."""
        self._stopping = True
        self._woken.set()
        self.join(timeout_seconds)

    def run(self):
        """Take commands in and run them, until stopped."""
        threading.current_thread().dbname = self.dbname
        while not self._stopping:
            try:
                self._run_session()
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
                # A lost server, which the worker's own session reports.
                _logger.debug("The inbox is opened again: %s", error)
                self._woken.wait(self._backoff.next_seconds())
            except Exception:
                _logger.exception("The inbox failed, and is opened again")
                self._woken.wait(self._backoff.next_seconds())

    def _run_session(self):
        # Modules may have been installed or updated.
        if "stock.command" not in Registry(self.dbname).check_signaling():
            self._woken.wait(POLL_SECONDS)
            return
        inbox = Inbox(self.dbname, self._woken.set)
        try:
            while not inbox.acquire():
                self._woken.wait(POLL_SECONDS)
                if self._stopping:
                    return
            self._backoff.reset()
            checked = time.monotonic()
            while not self._stopping and "stock.command" in Registry(self.dbname):
                self._woken.clear()
                if not inbox.step():
                    self._woken.wait(POLL_SECONDS)
                if time.monotonic() - checked > POLL_SECONDS:
                    Registry(self.dbname).check_signaling()
                    checked = time.monotonic()
        finally:
            inbox.close()


def take_in_bounded(dbname, on_progress):
    """Take in and run what commands there are, as far as a scheduled action's time allows.

    Does nothing where a worker does it.

    :param str dbname: the database
    :param on_progress: called with the number of commands run since the last call; returns
        how many seconds are left
    """
    woken = threading.Event()
    inbox = Inbox(dbname, woken.set)
    try:
        if inbox.acquire():
            _take_in_until_quiet(inbox, woken, on_progress)
    finally:
        inbox.close()


def _take_in_until_quiet(inbox, woken, on_progress):
    reported = 0
    connect_until = time.monotonic() + CONNECT_SECONDS
    quiet_at = None
    seconds_left = float("inf")
    while seconds_left > 0:
        woken.clear()
        if inbox.step():
            quiet_at = None
        elif inbox.is_settled or time.monotonic() > connect_until:
            quiet_at = quiet_at or time.monotonic() + QUIET_SECONDS
            if time.monotonic() >= quiet_at:
                break
            woken.wait(QUIET_SECONDS / 4)
        else:
            woken.wait(QUIET_SECONDS / 4)
        count = inbox.done_count - reported
        if count:
            reported += count
            seconds_left = on_progress(count)
