"""Wakes the scheduled action that publishes, where no worker does."""

import atexit
import logging
import os
import threading
import time

from odoo import SUPERUSER_ID, api
from odoo.modules.registry import Registry

from .leader import has_worker

_logger = logging.getLogger(__name__)

# Of all commits of this process within that time, the scheduled action is woken for once.
PAUSE_SECONDS = 0.5


class Bell:
    """Rung after commits; a thread of its own does what takes time.

    To wake a scheduled action takes a row and a connection to another database: five
    milliseconds that no commit should wait for.
    """

    def __init__(self):
        # Threads do not survive a fork, and a lock that one of them held would stay.
        os.register_at_fork(after_in_child=self.reset)
        # The thread may be pausing when the process ends.
        atexit.register(self._wake_all)
        self.reset()

    def reset(self):
        """Begin anew, in a process that was forked from this one."""
        self._dbnames = set()
        self._rung = threading.Condition()
        self._thread = None
        # Whether all that was rung for is done.
        self.is_quiet = True

    def ring(self, dbname):
        """Wake the scheduled action of a database soon. Never waits, never raises.

        :param str dbname: the database
        """
        with self._rung:
            self._dbnames.add(dbname)
            self.is_quiet = False
            if not self._thread:
                self._thread = threading.Thread(
                    target=self._run, name="stock_event_bell", daemon=True
                )
                self._thread.start()
            self._rung.notify()

    def _run(self):
        while True:
            with self._rung:
                while not self._dbnames:
                    self._rung.wait()
            self._wake_all()
            time.sleep(PAUSE_SECONDS)

    def _wake_all(self):
        with self._rung:
            dbnames, self._dbnames = self._dbnames, set()
        for dbname in dbnames:
            self._wake(dbname)
        with self._rung:
            self.is_quiet = not self._dbnames

    def _wake(self, dbname):
        threading.current_thread().dbname = dbname
        try:
            with Registry(dbname).cursor() as cr:
                if has_worker(cr):
                    return
                env = api.Environment(cr, SUPERUSER_ID, {})
                cron = env.ref("stock_event_ledger.cron_relay", raise_if_not_found=False)
                if cron and cron.active:
                    cron._trigger()
        except Exception:
            # It runs each minute anyway, and the database may be about to end.
            _logger.debug("Waking the scheduled action failed", exc_info=True)


bell = Bell()
