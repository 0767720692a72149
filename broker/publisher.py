"""Publishing with confirms, many messages in flight, on a thread of its own."""

import time
from collections import deque

import pika

from .connection import Connection
from .target import describe

WINDOW = 500
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


class Publisher(Connection):
    """One connection that publishes to one target; see ``Connection``."""

    name = "stock_event_publisher"

    def __init__(self, target, wake, host_index=0):
        super().__init__(target, wake, host_index)
        self._batch = None
        self._stopping = False
        self._next_tag = 1
        self._messages = {}
        self._sendable = deque()
        self._in_flight = {}
        self._returned = {}

    # --- for the thread that uses it

    def publish(self, messages, window=WINDOW):
        """Send messages, each key's in the order given.

        One batch at a time. Messages that come after a returned or refused one of the
        same key are not sent. What is unconfirmed when it closes stays unconfirmed.

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

    # --- the thread: connecting

    def _get_steps(self):
        steps = self.target.topology()
        if not self.target.declares:
            # Publishing to an exchange that does not exist closes the channel and
            # confirms nothing: it has to be there before.
            steps = [step for step in steps if step[1].get("exchange_type") == "topic"]
        return steps

    def _describe_missing(self):
        return (
            f"no exchange {self.target.exchange} on the broker. If it was deleted, its "
            "bindings are gone too: declare it again, and have consumers bind their "
            "queues again"
        )

    def _begin_work(self):
        self._channel.add_on_return_callback(self._on_return)
        self._channel.confirm_delivery(self._on_confirm, callback=self._on_ready)

    def _end_work(self):
        self._finish_batch()

    def _on_ready(self, _frame):
        self.ready = True
        self._wake()

    def _on_interrupted(self, error):
        """Find out whether the channel was closed for the sake of one message."""
        sign = MESSAGE_REFUSED.get(getattr(error, "reply_code", None))
        if not sign or sign not in error.reply_text or not self._in_flight:
            return
        self._batch.has_culprit = True
        if self._batch.window == 1:
            [message] = self._in_flight.values()
            self._batch.returned[message.token] = describe(error)

    # --- the thread: publishing

    def _begin(self, batch, messages):
        self._batch = batch
        self._stopping = False
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
            and not self._closing
            and channel.is_open
        ):
            message = self._sendable.popleft()
            self._in_flight[self._next_tag] = message
            self._next_tag += 1
            channel.basic_publish(
                self.target.exchange if message.exchange is None else message.exchange,
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
