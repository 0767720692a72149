"""Consuming a queue of commands, on a connection and a thread of its own."""

from collections import deque
from typing import NamedTuple

import pika

from .connection import Connection
from .target import QUEUE_ARGUMENTS

# How many messages the broker hands over before the first of them is acknowledged.
PREFETCH = 100
DEAD_LETTER_SUFFIX = ".dead"


class Delivery(NamedTuple):
    """A message as it came from the broker, not acknowledged yet."""

    tag: int
    properties: pika.BasicProperties
    body: bytes


def command_queue_steps(name):
    """Return what there has to be on the broker for a queue of commands.

    A quorum queue, with one consumer at a time, so that the order is kept, also where
    several workers stand by. What was handed over too often, or was rejected, goes to
    another queue instead of round in circles.

    :param str name: the queue
    :return: list of pairs of a channel's method and its arguments, in order
    """
    dead = name + DEAD_LETTER_SUFFIX
    arguments = {
        **QUEUE_ARGUMENTS,
        "x-single-active-consumer": True,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": dead,
    }
    return [
        ("queue_declare", {"queue": queue, "durable": True, "arguments": queue_arguments})
        for queue, queue_arguments in ((dead, dict(QUEUE_ARGUMENTS)), (name, arguments))
    ]


class Consumer(Connection):
    """One connection that consumes one queue; see ``Connection``.

    What was delivered and not acknowledged when it closes, the broker delivers again.
    """

    name = "stock_event_consumer"

    def __init__(self, target, queue, declares, wake, host_index=0):
        """
        :param Target target: where the queue is
        :param str queue: its name
        :param bool declares: whether the queue is made where it is missing
        """
        super().__init__(target, wake, host_index)
        self.queue = queue
        self._declares_queue = declares
        self._deliveries = deque()

    # --- for the thread that uses it

    def take(self):
        """Return what was delivered since the last call, as a list of Delivery."""
        deliveries = []
        while self._deliveries:
            deliveries.append(self._deliveries.popleft())
        return deliveries

    def acknowledge(self, tags):
        """Tell the broker that these messages are safe, and need not be kept.

        :param tags: list of delivery tags
        """
        self._ioloop.add_callback_threadsafe(lambda: self._settle(tags, "basic_ack"))

    def reject(self, tags):
        """Have the broker put these messages into the queue for dead letters."""
        self._ioloop.add_callback_threadsafe(lambda: self._settle(tags, "basic_reject"))

    # --- the thread

    def _get_steps(self):
        return command_queue_steps(self.queue)

    def _declares(self):
        return self._declares_queue

    def _describe_missing(self):
        return f"no queue {self._step[1]['queue']} on the broker: declare it there"

    def _begin_work(self):
        self._channel.add_on_cancel_callback(self._on_cancelled)
        self._channel.basic_qos(prefetch_count=PREFETCH, callback=self._on_limited)

    def _on_limited(self, _frame):
        self._channel.basic_consume(self.queue, self._on_message, callback=self._on_consuming)

    def _on_consuming(self, _frame):
        self.ready = True
        self._wake()

    def _on_cancelled(self, _frame):
        self._fail(ConnectionError(f"the queue {self.queue} was deleted on the broker"))
        self._connection.close()

    def _on_message(self, _channel, method, properties, body):
        self._deliveries.append(Delivery(method.delivery_tag, properties, body))
        self._wake()

    def _settle(self, tags, method):
        # Tags are those of this connection's channel: of a closed one, the broker has
        # taken the messages back already.
        if not self._channel.is_open:
            return
        for tag in tags:
            if method == "basic_ack":
                self._channel.basic_ack(tag)
            else:
                self._channel.basic_reject(tag, requeue=False)
