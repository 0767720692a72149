"""Publishing with confirms, many messages in flight, on a thread of its own."""

import logging
import threading
import time
from collections import deque

import pika
from pika.adapters.select_connection import IOLoop

from .target import describe

_logger = logging.getLogger(__name__)

WINDOW = 500
NOT_FOUND = 404
# The newest events, the oldest dropped: nobody has to read the queue, and a queue that
# only grows would end in the broker's disk alarm. The delivery limit has a default in
# RabbitMQ 4 and none in 3: being explicit makes them alike.
AUDIT_QUEUE_ARGUMENTS = {
    "x-queue-type": "quorum",
    "x-delivery-limit": 20,
    "x-max-length": 100_000,
    "x-overflow": "drop-head",
}


class Batch:
    """What became of messages that were handed over together.

    ``confirmed`` has the tokens of the messages that the broker took responsibility
    for. ``returned`` (no queue wanted it) and ``refused`` (the broker could not take
    it) have reasons by token. The rest was not sent, or its fate is unknown: send it
    again. All of it is final when ``finished`` is true.
    """

    def __init__(self):
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

    def __init__(self, target, wake):
        """
        :param Target target: where to
        :param wake: called, from the publisher's thread, when a state or batch changed
        """
        self.target = target
        self.ready = False
        self.closed = False
        self.error = None
        self._wake = wake
        self._ioloop = IOLoop()
        self._connection = None
        self._channel = None
        self._step = None
        self._missing = set()
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

    def publish(self, messages):
        """Send messages, each key's in the order given.

        One batch at a time. Messages that come after a returned or refused one of the
        same key are not sent.

        :param messages: list of Message
        :return: their Batch
        """
        assert self._batch is None or self._batch.finished
        batch = Batch()
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
                self.target.connection_parameters(),
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
        self._declare_exchange()

    # Passive first, for what is there: who may publish may not be allowed to declare,
    # and what somebody declared in another way is theirs. A passive declaration of what
    # is missing closes the channel, and the next channel makes it.

    def _declare_exchange(self):
        # Publishing to an exchange that does not exist closes the channel and confirms
        # nothing: it has to be there before.
        self._step = "exchange"
        self._channel.exchange_declare(
            self.target.exchange,
            exchange_type="topic",
            durable=True,
            passive=self._step not in self._missing,
            callback=self._declare_audit_queue,
        )

    def _declare_audit_queue(self, _frame):
        if not self.target.audit_queue:
            self._ask_for_confirms()
            return
        self._step = "audit queue"
        self._channel.queue_declare(
            self.target.audit_queue,
            durable=True,
            passive=self._step not in self._missing,
            arguments=AUDIT_QUEUE_ARGUMENTS,
            callback=self._bind_audit_queue,
        )

    def _bind_audit_queue(self, _frame):
        self._channel.queue_bind(
            self.target.audit_queue,
            self.target.exchange,
            routing_key="stock.#",
            callback=self._ask_for_confirms,
        )

    def _ask_for_confirms(self, _frame=None):
        self._channel.confirm_delivery(self._on_confirm, callback=self._on_ready)

    def _on_ready(self, _frame):
        self.ready = True
        self._wake()

    def _on_channel_closed(self, _channel, error):
        is_missing = getattr(error, "reply_code", None) == NOT_FOUND and not self.ready
        if is_missing and self._step not in self._missing and self._connection.is_open:
            self._missing.add(self._step)
            self._open_channel()
            return
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
        self._stopping = True
        if self._connection is None or self._connection.is_closed:
            self._ioloop.stop()
        elif not self._connection.is_closing:
            self._connection.close()

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
            and len(self._in_flight) < WINDOW
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
                mandatory=True,
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
