import contextlib
import logging
import math
import os
import signal
import socket
import threading
import time
from typing import NamedTuple

import psycopg2

from odoo.modules.registry import Registry

from .inbox import InboxThread
from .leader import RESERVATION_AWAITED, RESERVATION_QUEUED, WORKER_LOCK, Leader, Session
from .relay import POLL_SECONDS, Alarm, Backoff, Relay

_logger = logging.getLogger(__name__)


class Job(NamedTuple):
    """A method that does some of what is to be done, and returns how much that was.

    It runs periodically. If it is urgent, it also runs when the bell rings.
    """

    model_name: str
    method_name: str
    limit: int
    period_seconds: float
    is_urgent: bool = False


# An urgent job that has just run waits a little: what has come by then is done together,
# and shares its reads and its commit. Less so if somebody is waiting for it.
GAP_SECONDS = {RESERVATION_QUEUED: 0.5, RESERVATION_AWAITED: 0.05}
JOBS = (
    Job("stock.move", "_process_reservation_queue", 100, POLL_SECONDS, is_urgent=True),
    Job("stock.ledger.rollup", "_fold", 50000, POLL_SECONDS),
    Job("stock.hold", "_expire", 100, 5),
    Job("stock.ledger.dashboard", "_notify_changes", 1, 5),
    Job("stock.quant", "_merge_duplicates", 200, 30),
    Job("stock.event.channel", "_check_alerts", 1, 15),
    Job("stock.ledger.stockout", "_refresh", 1, 3600),
)
# A job that always has more to do must let the next one have its turn.
MOST_ROUNDS = 10
HEARTBEAT_SECONDS = 10


class Outage:
    """Logs the start and the end of trouble, and not each failure in between."""

    def __init__(self, subject):
        self._subject = subject
        self._backoff = Backoff()

    def begin(self, error):
        """Note a failure.

        :return: how many seconds to wait before the next try
        """
        if not self._backoff.failures:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            _logger.warning("%s failed, and is tried again: %s", self._subject, reason)
            _logger.debug("%s failed", self._subject, exc_info=error)
        return self._backoff.next_seconds()

    def end(self):
        """Note that it works."""
        if self._backoff.failures:
            _logger.info("%s works again", self._subject)
        self._backoff.reset()


class Housekeeping(threading.Thread):
    """What else happens right after commits: reserving what was queued, and folding.

    On a thread of its own, so that a reservation never waits for a broker.
    """

    def __init__(self, dbname):
        super().__init__(name="stock_event_housekeeping", daemon=True)
        self.dbname = dbname
        self._woken = threading.Event()
        self._gap_seconds = math.inf
        self._stopping = False
        self._session = None
        self._outages = {job: Outage(".".join(job[:2])) for job in JOBS}

    def ring(self, gap_seconds=0):
        """Look for urgent work now.

        :param float gap_seconds: how long after the last time at the earliest
        """
        self._gap_seconds = min(self._gap_seconds, gap_seconds)
        self._woken.set()

    def stop(self, timeout_seconds=30):
        """End after what is being done."""
        self._stopping = True
        self.ring()
        self.join(timeout_seconds)

    def run(self):
        """Do the jobs in turn, each when it is due."""
        threading.current_thread().dbname = self.dbname
        ended = dict.fromkeys(JOBS, 0)
        due = dict.fromkeys(JOBS, 0)
        while not self._stopping:
            self._woken.wait(max(min(due.values()) - time.monotonic(), 0))
            self._woken.clear()
            # What is rung between these two is found at the end of the period.
            gap_seconds, self._gap_seconds = self._gap_seconds, math.inf
            for job in JOBS:
                if job.is_urgent:
                    due[job] = min(due[job], ended[job] + gap_seconds)
                if not self._stopping and time.monotonic() >= due[job]:
                    delay = self._run_guarded(job)
                    ended[job] = time.monotonic()
                    due[job] = ended[job] + delay
        self._close_session()

    def _run_guarded(self, job):
        """Do one job; no failure of it reaches the others.

        :return: how many seconds to wait before the next time
        """
        outage = self._outages[job]
        try:
            self._run_job(job)
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            # A lost server, which the worker's own session reports, or a conflict.
            _logger.debug("%s is tried again: %s", job.method_name, error)
            self._close_session()
            return POLL_SECONDS
        except Exception as error:
            self._close_session()
            return outage.begin(error)
        outage.end()
        return job.period_seconds

    def _run_job(self, job):
        registry = Registry(self.dbname).check_signaling()
        if job.model_name not in registry:
            return
        if not self._session:
            self._session = Session(self.dbname, "stock_event_worker")
            # It tells those who queue reservations that they are being taken.
            self._session.try_lock(WORKER_LOCK)
        for _round in range(MOST_ROUNDS):
            count = self._session.transaction(
                lambda env: getattr(env[job.model_name], job.method_name)(job.limit)
            )
            if self._stopping or not count or count < job.limit:
                break

    def _close_session(self):
        if self._session:
            self._session.close()
        self._session = None


class Worker:
    """Publishes events, reserves what was queued, folds the rollup and runs commands, until
    stopped.

    Any number of workers may run for a database: one leads, the others wait to take
    over. It outlives restarts of PostgreSQL and RabbitMQ.
    """

    def __init__(self, dbname):
        self.dbname = dbname
        self._stopping = False
        self._alarm = Alarm()
        self._outage = Outage("The stock event worker's database connection")
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._beat_at = 0

    def run(self):
        """Work until ``stop`` is called or a SIGTERM or SIGINT arrives."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_args: self.stop())
        _logger.info("Stock event worker started for database %s", self.dbname)
        while not self._stopping:
            try:
                self._run_session()
            except Exception as error:
                self._alarm.wait(None, self._outage.begin(error))
        self._alarm.close()
        _logger.info("Stock event worker stopped")

    def stop(self):
        """End after the batch that is under way."""
        self._stopping = True
        self._alarm.ring()

    def _run_session(self):
        with Leader(self.dbname) as leader:
            while not leader.acquire():
                self._outage.end()
                self._beat(leader, is_leader=False)
                self._alarm.wait(None, POLL_SECONDS)
                if self._stopping:
                    self._take_leave(leader)
                    return
            self._outage.end()
            self._beat_at = 0
            with contextlib.ExitStack() as stack:
                housekeeping = Housekeeping(self.dbname)
                inbox = InboxThread(self.dbname)
                relay = Relay(leader, self._alarm)
                # The broker first: without the lock, nothing may be published.
                stack.callback(housekeeping.stop)
                stack.callback(inbox.stop)
                stack.callback(relay.close)
                housekeeping.start()
                inbox.start()
                self._lead(leader, relay, housekeeping)
                self._take_leave(leader)

    def _beat(self, session, is_leader):
        """Let Odoo's users see, every few seconds, that this process is alive."""
        if time.monotonic() >= self._beat_at:
            self._beat_at = time.monotonic() + HEARTBEAT_SECONDS
            session.transaction(lambda env: env["stock.event.worker"]._beat(self._name, is_leader))

    def _take_leave(self, session):
        session.transaction(lambda env: env["stock.event.worker"]._forget(self._name))

    def _lead(self, leader, relay, housekeeping):
        checked = -math.inf
        while not self._stopping:
            if time.monotonic() - checked > POLL_SECONDS:
                # Modules may have been installed or updated.
                registry = Registry(self.dbname).check_signaling()
                checked = time.monotonic()
            busy = False
            if "stock.event.outbox" in registry:
                self._beat(leader, is_leader=True)
                busy = relay.step()
            # Before waiting: a query may have brought the notification along, and then
            # there is nothing left to wait for.
            announced = leader.take_notifications()
            for announcement in announced & GAP_SECONDS.keys():
                housekeeping.ring(GAP_SECONDS[announcement])
            if not (busy or announced or self._alarm.wait(leader, POLL_SECONDS)):
                leader.check()
        relay.finish()
