import contextlib
import logging
import signal
import threading

import psycopg2

from odoo.modules.registry import Registry

from .leader import Leader, Session
from .relay import POLL_SECONDS, Alarm, Backoff, Relay

_logger = logging.getLogger(__name__)

# Model, method and how much it may do in one transaction.
JOBS = (
    ("stock.move", "_process_reservation_queue", 100),
    ("stock.ledger.balance", "_fold", 10000),
)
# A job that always has more to do must let the next one have its turn.
MOST_ROUNDS = 10


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
        self._stopping = False
        self._session = None
        self._outages = {job: Outage(".".join(job[:2])) for job in JOBS}

    def ring(self):
        """Look for work now."""
        self._woken.set()

    def stop(self, timeout_seconds=30):
        """End after what is being done."""
        self._stopping = True
        self.ring()
        self.join(timeout_seconds)

    def run(self):
        """Do the jobs in turn, each second and when rung."""
        threading.current_thread().dbname = self.dbname
        delay = 0
        while not self._stopping:
            self._woken.wait(delay)
            self._woken.clear()
            delay = max(self._run_guarded(job) for job in JOBS)
        self._close_session()

    def _run_guarded(self, job):
        """Do one job; no failure of it reaches the others.

        :return: how many seconds to wait before the next try
        """
        outage = self._outages[job]
        try:
            self._run_job(*job)
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            # A lost server, which the worker's own session reports, or a conflict.
            _logger.debug("%s is tried again: %s", job[1], error)
            self._close_session()
            return POLL_SECONDS
        except Exception as error:
            self._close_session()
            return outage.begin(error)
        outage.end()
        return POLL_SECONDS

    def _run_job(self, model_name, method_name, limit):
        registry = Registry(self.dbname).check_signaling()
        if model_name not in registry:
            return
        self._session = self._session or Session(self.dbname, "stock_event_worker")
        for _round in range(MOST_ROUNDS):
            count = self._session.transaction(
                lambda env: getattr(env[model_name], method_name)(limit)
            )
            if self._stopping or not count or count < limit:
                break

    def _close_session(self):
        if self._session:
            self._session.close()
        self._session = None


class Worker:
    """Publishes events, reserves what was queued and folds the rollup, until stopped.

    Any number of workers may run for a database: one leads, the others wait to take
    over. It outlives restarts of PostgreSQL and RabbitMQ.
    """

    def __init__(self, dbname):
        self.dbname = dbname
        self._stopping = False
        self._alarm = Alarm()
        self._outage = Outage("The stock event worker's database connection")

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
                self._alarm.wait(None, POLL_SECONDS)
                if self._stopping:
                    return
            self._outage.end()
            with contextlib.ExitStack() as stack:
                housekeeping = Housekeeping(self.dbname)
                relay = Relay(leader, self._alarm)
                # The broker first: without the lock, nothing may be published.
                stack.callback(housekeeping.stop)
                stack.callback(relay.close)
                housekeeping.start()
                self._lead(leader, relay, housekeeping)

    def _lead(self, leader, relay, housekeeping):
        while not self._stopping:
            registry = Registry(self.dbname).check_signaling()
            if "stock.event.outbox" in registry and relay.step():
                continue
            # Before waiting: a query may have brought the notification along, and then
            # there is nothing left to wait for.
            if leader.take_notifications():
                housekeeping.ring()
            elif not self._alarm.wait(leader, POLL_SECONDS):
                leader.check()
        relay.finish()
