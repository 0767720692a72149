"""A connection to a broker, on a thread of its own."""

import threading

import pika
from pika.adapters.select_connection import IOLoop

from .target import NOT_FOUND, describe

CLOSE_SECONDS = 1


class Connection:
    """One connection to one target: it connects once, works, and ends for good.

    Whoever uses it makes a new one to try again. pika belongs to the thread that this
    starts; other threads reach it through ``add_callback_threadsafe`` alone. To be made
    after a fork, never before.
    """

    name = "stock_event_connection"

    def __init__(self, target, wake, host_index=0):
        """
        :param Target target: where to
        :param wake: called, from the connection's thread, when something changed
        :param int host_index: which of the target's hosts
        """
        self.target = target
        self._host_index = host_index
        self.ready = False
        self.closed = False
        self.error = None
        self._wake = wake
        self._ioloop = IOLoop()
        self._connection = None
        self._channel = None
        self._steps = self._step = None
        self._missing = []
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    # --- for the thread that uses it

    def start(self):
        """Connect, in the background: ``ready`` or ``closed`` tells how it went.

        ``closed`` is final, and ``error`` says why where that was not asked for.
        """
        self._thread.start()

    def close(self, timeout_seconds=5):
        """End the connection."""
        if self._thread.ident is None:
            return
        if self._thread.is_alive():
            self._ioloop.add_callback_threadsafe(self._close)
            self._thread.join(timeout_seconds)

    # --- what it is for

    def _get_steps(self):
        """Return what there has to be on the broker, like ``Target.topology``."""
        raise NotImplementedError

    def _declares(self):
        """Return whether what is missing is made."""
        return self.target.declares

    def _describe_missing(self):
        """Return what to do where it is not made."""
        raise NotImplementedError

    def _begin_work(self):
        """Begin, now that all of it is there."""
        raise NotImplementedError

    def _on_interrupted(self, error):
        """Note that the broker has closed the channel in the midst of work."""

    def _end_work(self):
        """Note that the connection has ended."""

    # --- the thread

    def _run(self):
        try:
            self._connection = pika.SelectConnection(
                self.target.connection_parameters(self._host_index),
                on_open_callback=self._on_connected,
                on_open_error_callback=self._on_disconnected,
                on_close_callback=self._on_disconnected,
                custom_ioloop=self._ioloop,
            )
            self._ioloop.start()
        except Exception as error:
            # Nothing of a broker may reach the process; the traceback could hold the
            # password and stays out of the log.
            self._fail(error)
        finally:
            self.ready = False
            self._end_work()
            self._ioloop.close()
            self.closed = True
            self._wake()

    def _on_connected(self, _connection):
        self._open_channel()

    def _on_disconnected(self, _connection, error):
        self._fail(error)
        self._ioloop.stop()

    def _open_channel(self):
        self._channel = self._connection.channel(on_open_callback=self._on_channel_open)

    def _on_channel_open(self, channel):
        channel.add_on_close_callback(self._on_channel_closed)
        self._steps = iter(self._get_steps())
        self._take_step()

    def _take_step(self, _frame=None):
        """Look for, or make, the next thing that has to be on the broker.

        Passive first, for what is there: who may use it may not be allowed to declare,
        and what somebody declared in another way is theirs. A passive declaration of
        what is missing closes the channel, and the next channel makes it.
        """
        self._step = next(self._steps, None)
        if self._step is None:
            self._begin_work()
            return
        method, arguments = self._step
        if method != "queue_bind":
            arguments = {**arguments, "passive": self._step not in self._missing}
        getattr(self._channel, method)(**arguments, callback=self._take_step)

    def _on_channel_closed(self, _channel, error):
        if self.ready:
            self._on_interrupted(error)
        elif getattr(error, "reply_code", None) == NOT_FOUND:
            if self._declares() and self._step not in self._missing and self._connection.is_open:
                self._missing.append(self._step)
                self._open_channel()
                return
            if not self._declares():
                error = ConnectionError(self._describe_missing())
        self._fail(error)
        if self._connection.is_open:
            self._connection.close()

    def _fail(self, error):
        # The first error is the cause of those that follow.
        if self.error is None and not self._closing:
            self.error = describe(error)
        self.ready = False

    def _close(self):
        self._closing = True
        if self._connection is None or self._connection.is_closed:
            self._ioloop.stop()
        elif not self._connection.is_closing:
            self._connection.close()
            # A peer that has vanished never answers.
            self._ioloop.call_later(CLOSE_SECONDS, self._ioloop.stop)
