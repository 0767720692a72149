"""Publishing with confirms, many messages in flight, on a thread of its own."""

import logging
import threading
import time
from collections import deque

import pika
from pika.adapters.select_connection import IOLoop

from .target import NOT_FOUND, describe

_logger = logging.getLogger(__name__)

WINDOW = 500
CLOSE_SECONDS = 1
# With these the broker closes a channel for one message's sake: its routing key is not
# allowed to the user, or it is larger than the broker takes. Other reasons that come with
# the same codes concern the whole target.
ACCESS_REFUSED, PRECONDITION_FAILED = 403, 406
MESSAGE_REFUSED = {ACCESS_REFUSED: "topic", PRECONDITION_FAILED: "message size"}


class Batch:
    """What became of messages that were handed over together.

    ``confirmed`` has the tokens of the messages that the broker took responsibility
    for. ``returned`` (no queue wanted it) and ``refused`` (the broker could not take
    it) have reasons by token. The rest was not sent, or its fate is unknown: send it
    again. All of it is final when ``finished`` is true.

    Where the broker has closed the channel for the sake of one message,
    ``has_culprit`` is true. With a window of 1 that message is among the returned ones;
    with a larger one it is among those whose fate is unknown.
    """

    def __init__(self, window):
        self.window = window
        self.has_culprit = False
        self.confirmed = []
        self.returned = {}
        self.refused = {}
        self.finished = False
        self.started_at = self.progress_at = time.monotonic()


class Publisher:
    """One connection to one target: it connects once, publishes, and ends for good.

    Whoever uses it makes a new one to try again. pika belongs to the thread that this
    starts; other threads reach it through ``add_callback_threadsafe`` alone. To be made
    after a fork, never before.
    """

    def __init__(self, target, wake, host_index=0):
        """
        :param Target target: where to
        :param wake: called, from the publisher's thread, when a state or batch changed
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
        self._batch = None
        self._stopping = False
        self._closing = False
        self._next_tag = 1
        self._messages = {}
        self._sendable = deque()
        self._in_flight = {}
        self._returned = {}
        self._thread = threading.Thread(target=self._run, name="stock_event_publisher", daemon=True)

    # --- for the thread that uses it

    def start(self):
        """Connect, in the background: ``ready`` or ``closed`` tells how it went.

        ``closed`` is final, and ``error`` says why where that was not asked for.
        """
        self._thread.start()

    def publish(self, messages, window=WINDOW):
        """Send messages, each key's in the order given.

        One batch at a time. Messages that come after a returned or refused one of the
        same key are not sent.

        :param messages: list of Message
        :param int window: how many may be on their way at once
        :return: their Batch
        """
        assert self._batch is None or self._batch.finished
        batch = Batch(window)
        self._ioloop.add_callback_threadsafe(lambda: self._begin(batch, messages))
        return batch

    def stop_sending(self):
        """Let the batch end with what is in flight."""
        self._ioloop.add_callback_threadsafe(self._stop_sending)

    def close(self, timeout_seconds=5):
        """End the connection; what is unconfirmed stays unconfirmed."""
        if self._thread.ident is None:
            return
        if self._thread.is_alive():
            self._ioloop.add_callback_threadsafe(self._close)
            self._thread.join(timeout_seconds)

    # --- the thread: connecting

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
            self._finish_batch()
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
        channel.add_on_return_callback(self._on_return)
        steps = self.target.topology()
        if not self.target.declares:
            # Publishing to an exchange that does not exist closes the channel and
            # confirms nothing: it has to be there before.
            steps = [step for step in steps if step[1].get("exchange_type") == "topic"]
        self._steps = iter(steps)
        self._take_step()

    def _take_step(self, _frame=None):
        """Look for, or make, the next thing that has to be on the broker.

        Passive first, for what is there: who may publish may not be allowed to declare,
        and what somebody declared in another way is theirs. A passive declaration of
        what is missing closes the channel, and the next channel makes it.
        """
        self._step = next(self._steps, None)
        if self._step is None:
            self._channel.confirm_delivery(self._on_confirm, callback=self._on_ready)
            return
        method, arguments = self._step
        if method != "queue_bind":
            arguments = {**arguments, "passive": self._step not in self._missing}
        getattr(self._channel, method)(**arguments, callback=self._take_step)

    def _on_ready(self, _frame):
        self.ready = True
        self._wake()

    def _on_channel_closed(self, _channel, error):
        if self.ready:
            self._accuse_message(error)
        elif getattr(error, "reply_code", None) == NOT_FOUND and self._connection.is_open:
            if self.target.declares and self._step not in self._missing:
                self._missing.append(self._step)
                self._open_channel()
                return
            if not self.target.declares:
                error = ConnectionError(
                    f"no exchange {self.target.exchange} on the broker. If it was deleted, its "
                    "bindings are gone too: declare it again, and have consumers bind their "
                    "queues again"
                )
        self._fail(error)
        if self._connection.is_open:
            self._connection.close()

    def _accuse_message(self, error):
        """Find out whether the channel was closed for the sake of one message."""
        sign = MESSAGE_REFUSED.get(getattr(error, "reply_code", None))
        if not sign or sign not in error.reply_text or not self._in_flight:
            return
        self._batch.has_culprit = True
        if self._batch.window == 1:
            [message] = self._in_flight.values()
            self._batch.returned[message.token] = describe(error)

    def _fail(self, error):
        # The first error is the cause of those that follow.
        if self.error is None and not self._closing:
            self.error = describe(error)
        self.ready = False

    def _close(self):
        self._closing = True
        self._stopping = True
        if self._connection is None or self._connection.is_closed:
            self._ioloop.stop()
        elif not self._connection.is_closing:
            self._connection.close()
            # A peer that has vanished never answers.
            self._ioloop.call_later(CLOSE_SECONDS, self._ioloop.stop)

    # --- the thread: publishing

    def _begin(self, batch, messages):
        self._batch = batch
        self._stopping = self._closing
        self._returned.clear()
        for message in messages:
            if message.key in self._messages:
                self._messages[message.key].append(message)
            else:
                # A key has a queue here while one of its messages is on its way.
                self._messages[message.key] = deque()
                self._sendable.append(message)
        self._send()

    def _send(self):
        """Fill the window.

        At most one message of a key is on its way: were a second one sent before the
        confirm of the first, a refusal of the first would put the key out of order.
        """
        channel = self._channel
        while (
            self._sendable
            and len(self._in_flight) < self._batch.window
            and not self._stopping
            and channel.is_open
        ):
            message = self._sendable.popleft()
            self._in_flight[self._next_tag] = message
            self._next_tag += 1
            channel.basic_publish(
                self.target.exchange,
                message.routing_key,
                message.body,
                message.properties,
                mandatory=message.mandatory,
            )
        if not self._in_flight:
            self._finish_batch()

    def _on_return(self, _channel, method, properties, _body):
        # The confirm comes after it, and is positive: the broker dealt with it.
        self._returned[properties.message_id] = (
            f"{method.reply_text} ({method.reply_code}): no queue is bound for {method.routing_key}"
        )

    def _on_confirm(self, frame):
        method = frame.method
        nack = isinstance(method, pika.spec.Basic.Nack)
        for message in self._pop_in_flight(method.delivery_tag, method.multiple):
            reason = self._returned.pop(message.properties.message_id, None)
            if nack:
                self._batch.refused[message.token] = "refused by the broker (nack)"
            elif reason:
                self._batch.returned[message.token] = reason
            else:
                self._batch.confirmed.append(message.token)
            self._after_confirm(message, may_continue=not nack and not reason)
        self._batch.progress_at = time.monotonic()
        self._send()

    def _pop_in_flight(self, tag, multiple):
        if not multiple:
            return [self._in_flight.pop(tag)]
        # Tags are given in ascending order, and a dictionary keeps it. Tag 0: all.
        tags = []
        for sent in self._in_flight:
            if tag and sent > tag:
                break
            tags.append(sent)
        return [self._in_flight.pop(sent) for sent in tags]

    def _after_confirm(self, message, may_continue):
        following = self._messages[message.key]
        if may_continue and following:
            self._sendable.append(following.popleft())
        else:
            del self._messages[message.key]

    def _stop_sending(self):
        self._stopping = True
        if not self._in_flight:
            self._finish_batch()

    def _finish_batch(self):
        self._messages.clear()
        self._sendable.clear()
        self._in_flight.clear()
        if self._batch is not None and not self._batch.finished:
            self._batch.finished = True
            self._wake()
