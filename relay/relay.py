import logging
import random
import selectors
import socket
import time
from dataclasses import replace
from itertools import product

import psycopg2

from ..broker import WINDOW, Publisher
from .leader import Leader

_logger = logging.getLogger(__name__)

BATCH_SIZE = 1000
POLL_SECONDS = 1
CONFIGURATION_SECONDS = 1
# A batch that takes longer, since one key has many events in it, is cut short, so that
# the events of other keys do not wait for it.
BATCH_SECONDS = 1
CONFIRM_SECONDS = 30
SHORTEST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.5, 30


class Backoff:
    """How long to wait after failures in a row: longer each time, and not in step with
    others, so that a server that comes back is not met by all of them at once."""

    def __init__(self):
        self.failures = 0

    def next_seconds(self):
        """Count a failure and return how long to wait."""
        delay = SHORTEST_BACKOFF_SECONDS * 2 ** min(self.failures, 10)
        self.failures += 1
        return min(delay, LONGEST_BACKOFF_SECONDS) * random.uniform(0.5, 1)

    def reset(self):
        """Count from the start again."""
        self.failures = 0


class Alarm:
    """Wakes a thread that waits, from any other thread or a signal handler."""

    def __init__(self):
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)

    def ring(self):
        """Wake whoever waits, or spare it the next wait."""
        try:
            self._sender.send(b"!")
        except OSError:
            # Full: it is about to wake up anyway. Closed: nobody waits any more.
            return

    def wait(self, leader, timeout_seconds):
        """Wait for a ring, a message from PostgreSQL, or the time to pass.

        :return: whether anything happened
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self._receiver, selectors.EVENT_READ)
            if leader:
                selector.register(leader, selectors.EVENT_READ)
            events = selector.select(timeout_seconds)
        try:
            while self._receiver.recv(4096):
                pass
        except BlockingIOError:
            return bool(events)

    def close(self):
        """Free the sockets."""
        self._receiver.close()
        self._sender.close()


class ChannelRelay:
    """The way of one channel's events to its broker. Waits for nothing: ``step`` does what
    can be done now."""

    outbox = "stock.event.outbox"

    def __init__(self, channel_id, target, leader, alarm):
        self.channel_id = channel_id
        self.target = target
        self.sent_count = 0
        self.may_have_more = True
        self.is_stopping = False
        self._leader = leader
        self._alarm = alarm
        self._publisher = None
        self._host_index = 0
        self._host_errors = []
        self._must_reconnect = False
        self._window = WINDOW
        self._batch = None
        # The messages of the batch, and those of the next one, numbered while it is sent.
        self._sent = []
        self._prepared = []
        self._stopped_sending = False
        self._backoff = Backoff()
        self._retry_at = 0
        self._error = None

    @property
    def is_sending(self):
        return self._batch is not None

    @property
    def has_failed(self):
        return self._error is not None

    def follow(self, target):
        """Take over a target that is equal but may have to be declared again."""
        if target.declares and not self.target.declares:
            self._must_reconnect = True
            self._retry_at = 0
        self.target = target

    def step(self):
        """Do what can be done now.

        :return: whether to call again at once
        """
        try:
            return self._step()
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            # The leader's session: nothing of it is this channel's own.
            raise
        except Exception as error:
            # One channel's trouble, as with a product domain whose field has gone.
            _logger.debug("Channel %s failed", self.channel_id, exc_info=True)
            self._batch = None
            self._sent, self._prepared = [], []
            self._after_failure(str(error) or type(error).__name__)
            return False

    def _step(self):
        if self._must_reconnect and not self._batch:
            self._must_reconnect = False
            self._discard_publisher()
        if self._publisher is None:
            self._connect()
        elif self._batch and (self._batch.finished or self._publisher.closed):
            self._settle()
            return True
        elif self._publisher.closed:
            self._after_failure(self._publisher.error)
        elif self._batch:
            self._watch()
            return self._prepare()
        elif self._publisher.ready and not self.is_stopping:
            return self._send()
        return False

    def close(self):
        """End the connection to the broker at once."""
        if self._publisher:
            self._publisher.close()

    def _connect(self):
        if time.monotonic() >= self._retry_at and not self.is_stopping:
            self._publisher = Publisher(self.target, self._alarm.ring, self._host_index)
            self._publisher.start()

    def _send(self):
        if self.target.declares and self._publisher.target.declares:
            self._record_declared()
        messages, looked_at = self._take()
        if messages:
            self._publish(messages)
        elif not looked_at:
            self._report_recovery()
        # Rows that were all put aside make room for those behind them, and where there
        # are more, they can be prepared.
        return bool(looked_at and (not messages or self.may_have_more))

    def _prepare(self):
        """Number the next events while the broker is busy with those before.

        :return: whether to call again at once
        """
        if (
            self._prepared
            or not self.may_have_more
            or self.is_stopping
            or self._stopped_sending
            or self._window == 1
        ):
            return False
        self._prepared, looked_at = self._take()
        return bool(looked_at and not self._prepared)

    def _take(self):
        in_flight = [message.token for message in self._sent]
        messages, looked_at = self._leader.transaction(
            lambda env: env[self.outbox]._take(self.channel_id, BATCH_SIZE, in_flight)
        )
        self.may_have_more = looked_at == BATCH_SIZE
        return messages, looked_at

    def _publish(self, messages):
        self._sent = messages
        self._batch = self._publisher.publish(messages, self._window)
        self._stopped_sending = False

    def _publish_prepared(self, batch):
        """Publish what was prepared, unless an earlier event of its key is not there yet.

        What is left out is pending, with its number, and comes first the next time.
        """
        confirmed = set(batch.confirmed)
        late = {message.key for message in self._sent if message.token not in confirmed}
        messages = [message for message in self._prepared if message.key not in late]
        if self.is_stopping or self._must_reconnect or not self._publisher.ready:
            messages = []
        if len(messages) < len(self._prepared):
            self.may_have_more = True
        self._sent, self._prepared = [], []
        if messages:
            self._publish(messages)

    def _watch(self):
        now = time.monotonic()
        is_late = now - self._batch.started_at > BATCH_SECONDS
        if (is_late or self.is_stopping) and not self._stopped_sending:
            self._stopped_sending = True
            self.may_have_more = True
            self._publisher.stop_sending()
        if now - self._batch.progress_at > CONFIRM_SECONDS:
            self._publisher.close()
            self._publisher.error = f"no confirm within {CONFIRM_SECONDS} seconds"

    def _settle(self):
        batch, self._batch = self._batch, None
        # A message that the broker closes the channel for is found by sending one at a
        # time, until a batch gets through without another one like it.
        self._window = 1 if batch.has_culprit else WINDOW
        self._publish_prepared(batch)
        self._leader.transaction(lambda env: env[self.outbox]._settle(self.channel_id, batch))
        self.sent_count += len(batch.confirmed)
        if batch.confirmed:
            self._backoff.reset()
            self._host_errors.clear()
            self._report_recovery()
        for reason in batch.returned.values():
            _logger.warning("A message of channel %s waits: %s", self.channel_id, reason)
        if batch.has_culprit:
            self.may_have_more = True
            self._discard_publisher()
        elif batch.refused and not batch.confirmed:
            # RabbitMQ may go on refusing all that comes by a channel on which something
            # was published while a quorum queue elected its leader. A new one is fine.
            self._after_failure("the broker refuses what is published (nack)")

    def _discard_publisher(self):
        if self._publisher:
            self._publisher.close()
        self._publisher = None

    def _after_failure(self, error):
        self._discard_publisher()
        self._host_errors.append(f"{self.target.address(self._host_index)}: {error}")
        self._host_index += 1
        if len(self._host_errors) < len(self.target.hosts):
            # The next host, at once.
            return
        self._retry_at = time.monotonic() + self._backoff.next_seconds()
        errors, self._host_errors = "; ".join(self._host_errors), []
        if errors != self._error:
            self._record_error(errors)
        self._error = errors

    def _report_recovery(self):
        """Note that it works: events are confirmed, or there are none to send.

        A connection alone says little: a broker in a memory alarm accepts it and then
        reads nothing.
        """
        if self._error is not None:
            self._record_error(None)
        self._error = None

    def _record_error(self, error):
        """Tell why the channel does not publish; None when it does again."""
        if error:
            _logger.warning(
                "Channel %s does not publish; events are kept and it is tried again: %s",
                self.channel_id,
                error,
            )
        else:
            _logger.info(
                "RabbitMQ at %s works again for channel %s",
                self.target.address(self._host_index),
                self.channel_id,
            )
        self._leader.transaction(
            lambda env: env["stock.event.channel.status"]._record_error(self.channel_id, error)
        )

    def _record_declared(self):
        self._leader.transaction(
            lambda env: env["stock.event.channel.status"]._record_declared([self.channel_id], True)
        )
        self.target = replace(self.target, declares=False)


class MessageRelay(ChannelRelay):
    """The way of what a channel sends beside its events, such as replies to commands.

    On a connection of its own, so that neither waits for the other, and only once there is
    something to send. How the channel is doing is told by its events' relay.
    """

    outbox = "stock.message.outbox"

    def __init__(self, channel_id, target, leader, alarm):
        super().__init__(channel_id, replace(target, declares=False), leader, alarm)

    def follow(self, target):
        """Declare nothing: that is for the relay of events."""

    def _connect(self):
        if time.monotonic() < self._retry_at or self.is_stopping:
            return
        self.may_have_more = self._leader.transaction(
            lambda env: env[self.outbox]._has_pending(self.channel_id)
        )
        if self.may_have_more:
            super()._connect()

    def _record_error(self, error):
        _logger.debug("Messages of channel %s: %s", self.channel_id, error or "sent again")


RELAYS = (ChannelRelay, MessageRelay)


class Relay:
    """Empties the outboxes of a database, for as long as its leader's session lives."""

    def __init__(self, leader, alarm):
        """
        :param Leader leader: a session that has become the leader
        :param Alarm alarm: rung when there is something to do
        """
        self._leader = leader
        self._alarm = alarm
        self._channels = {}
        self._retired_count = 0
        self._follow_at = 0

    @property
    def sent_count(self):
        """How many events were confirmed."""
        current = sum(channel.sent_count for channel in self._channels.values())
        return self._retired_count + current

    @property
    def is_sending(self):
        return any(channel.is_sending for channel in self._channels.values())

    @property
    def has_done_all(self):
        """Whether no channel has anything to do that it can do."""
        return not any(
            channel.is_sending or (channel.may_have_more and not channel.has_failed)
            for channel in self._channels.values()
        )

    @property
    def may_have_more(self):
        return any(channel.may_have_more for channel in self._channels.values())

    def step(self):
        """Do what can be done now, for each channel.

        :return: whether to call again at once
        :raises psycopg2.Error: when the session is lost; then only close
        """
        self._follow_configuration()
        busy = [channel.step() for channel in self._channels.values()]
        return any(busy)

    def finish(self, timeout_seconds=10):
        """Send nothing new, and settle what is in flight."""
        deadline = time.monotonic() + timeout_seconds
        for channel in self._channels.values():
            channel.is_stopping = True
        while self.is_sending and time.monotonic() < deadline:
            for channel in self._channels.values():
                channel.step()
            if self.is_sending:
                self._alarm.wait(self._leader, 0.1)
                self._leader.take_notifications()

    def close(self):
        """End all connections to brokers at once."""
        for channel in self._channels.values():
            channel.close()

    def _follow_configuration(self):
        if time.monotonic() < self._follow_at:
            return
        self._follow_at = time.monotonic() + CONFIGURATION_SECONDS
        targets = self._leader.transaction(lambda env: env["stock.event.channel"]._get_targets())
        for channel in list(self._channels.values()):
            if targets.get(channel.channel_id) != channel.target:
                self._retire(channel)
        for make, (channel_id, target) in product(RELAYS, targets.items()):
            channel = self._channels.get((make, channel_id))
            if not channel:
                self._channels[make, channel_id] = make(
                    channel_id, target, self._leader, self._alarm
                )
            # Equal, but it may be asked to declare again.
            elif not channel.is_stopping:
                channel.follow(target)

    def _retire(self, channel):
        """Stop a channel that was paused, changed or deleted, after what is in flight."""
        channel.is_stopping = True
        if not channel.is_sending:
            channel.close()
            del self._channels[type(channel), channel.channel_id]
            self._retired_count += channel.sent_count
            self._follow_at = 0


def run_bounded(dbname, on_progress):
    """Empty the outboxes of a database as far as a scheduled action's time allows.

    Does nothing where another process is the leader.

    :param str dbname: the database
    :param on_progress: called with the number of events confirmed since the last call
        and whether there may be more; returns how many seconds are left
    """
    with Leader(dbname) as leader:
        if not leader.acquire():
            return
        alarm = Alarm()
        relay = Relay(leader, alarm)
        try:
            _run_until_done(relay, leader, alarm, on_progress)
            relay.finish()
        finally:
            relay.close()
            alarm.close()


def _run_until_done(relay, leader, alarm, on_progress):
    reported = 0
    seconds_left = float("inf")
    while seconds_left > 0:
        if not relay.step():
            if relay.has_done_all:
                break
            alarm.wait(leader, POLL_SECONDS)
            leader.take_notifications()
        count = relay.sent_count - reported
        if count:
            reported += count
            seconds_left = on_progress(count, relay.may_have_more)
