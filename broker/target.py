"""Where messages go, and how to get there."""

import ssl
import time
import uuid
from dataclasses import dataclass, field

import pika

HEARTBEAT_SECONDS = 30
BLOCKED_SECONDS = 30
CONNECT_SECONDS = 10
NOT_FOUND = 404
# The delivery limit has a default in RabbitMQ 4 and none in 3: being explicit makes them
# alike.
QUEUE_ARGUMENTS = {"x-queue-type": "quorum", "x-delivery-limit": 20}


@dataclass(frozen=True)
class Queue:
    """A durable queue to declare and to bind to the exchange.

    Of more than ``max_length`` messages it keeps the newest; 0 stands for no limit.
    """

    name: str
    binding_key: str = "#"
    max_length: int = 0
    single_active_consumer: bool = False

    def arguments(self, dead_letter_exchange=""):
        """Return the queue's arguments for the broker."""
        arguments = dict(QUEUE_ARGUMENTS)
        if self.max_length:
            arguments.update({"x-max-length": self.max_length, "x-overflow": "drop-head"})
        if self.single_active_consumer:
            arguments["x-single-active-consumer"] = True
        if dead_letter_exchange:
            arguments["x-dead-letter-exchange"] = dead_letter_exchange
        return arguments


@dataclass(frozen=True)
class Target:
    """One exchange on a RabbitMQ server or cluster, with what is needed to publish to it.

    ``hosts`` are pairs of name and port, tried in turn. ``declares`` tells whether what
    is missing on the broker is made: the exchange, an alternate exchange for what no
    queue wants, a dead-letter exchange for what consumers reject (each with a queue of
    its own name), and ``queues``.
    """

    hosts: tuple
    virtual_host: str
    username: str
    exchange: str
    alternate_exchange: str = ""
    dead_letter_exchange: str = ""
    queues: tuple = ()
    use_tls: bool = False
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    # Not compared: what was declared once is there, and the connection stays as it is.
    declares: bool = field(default=True, compare=False)
    # Never shown, wherever the target is printed.
    password: str = field(default="", repr=False)

    def address(self, host_index=0):
        """Return one of the hosts, for messages."""
        host, port = self.hosts[host_index % len(self.hosts)]
        return f"{host}:{port}"

    def connection_parameters(self, host_index=0):
        """Return pika's parameters: bounded waits, and no retries of its own.

        :param int host_index: which of the hosts; counted beyond the last one, it is the
            first again
        :raises OSError: when a file for TLS cannot be read
        """
        host, port = self.hosts[host_index % len(self.hosts)]
        return pika.ConnectionParameters(
            host=host,
            port=port,
            virtual_host=self.virtual_host,
            credentials=pika.PlainCredentials(self.username, self.password),
            ssl_options=self._tls_options(host) if self.use_tls else None,
            heartbeat=HEARTBEAT_SECONDS,
            blocked_connection_timeout=BLOCKED_SECONDS,
            socket_timeout=CONNECT_SECONDS,
            stack_timeout=CONNECT_SECONDS,
            connection_attempts=1,
            client_properties={"connection_name": "stock_event_ledger"},
        )

    def _tls_options(self, host):
        # Verifies the server's certificate and its name.
        context = ssl.create_default_context(cafile=self.ca_file or None)
        if self.certificate_file:
            context.load_cert_chain(self.certificate_file, self.key_file or None)
        return pika.SSLOptions(context, host)

    def topology(self):
        """Return what there has to be on the broker: pairs of a channel's method and its
        arguments, in order."""
        steps = []
        for name in filter(None, (self.alternate_exchange, self.dead_letter_exchange)):
            arguments = dict(QUEUE_ARGUMENTS)
            steps += [
                _exchange(name, "fanout"),
                ("queue_declare", {"queue": name, "durable": True, "arguments": arguments}),
                ("queue_bind", {"queue": name, "exchange": name}),
            ]
        arguments = {"alternate-exchange": self.alternate_exchange}
        steps.append(
            _exchange(self.exchange, "topic", arguments if self.alternate_exchange else None)
        )
        for queue in self.queues:
            arguments = queue.arguments(self.dead_letter_exchange)
            bind = {
                "queue": queue.name,
                "exchange": self.exchange,
                "routing_key": queue.binding_key,
            }
            steps += [
                ("queue_declare", {"queue": queue.name, "durable": True, "arguments": arguments}),
                ("queue_bind", bind),
            ]
        return steps


def _exchange(name, exchange_type, arguments=None):
    return "exchange_declare", {
        "exchange": name,
        "exchange_type": exchange_type,
        "durable": True,
        "arguments": arguments,
    }


@dataclass(frozen=True)
class RoundTrip:
    """How a message went to the broker and back."""

    address: str
    seconds: float
    has_exchange: bool


def try_round_trip(target):
    """Send a message through the target's exchange to a queue of its own, and fetch it.

    Nothing of it stays on the broker, and no queue of others gets it unless it is bound
    to every routing key. Where the exchange is still to be declared, the message goes
    through the default exchange.

    :param Target target: where to; the first of its hosts that answers is taken
    :return: a RoundTrip
    :raises ConnectionError: with the reason in words, when it fails
    """
    errors = []
    for index in range(len(target.hosts)):
        try:
            return _try_host(target, index)
        except Exception as error:
            errors.append(f"{target.address(index)}: {describe(error)}")
    raise ConnectionError("; ".join(errors))


def _try_host(target, host_index):
    started = time.monotonic()
    connection = pika.BlockingConnection(target.connection_parameters(host_index))
    try:
        has_exchange = _has_exchange(connection, target)
        channel = connection.channel()
        channel.confirm_delivery()
        queue = channel.queue_declare("", exclusive=True, auto_delete=True).method.queue
        exchange, routing_key = "", queue
        if has_exchange:
            exchange, routing_key = target.exchange, f"test.{uuid.uuid4()}"
            channel.queue_bind(queue, exchange, routing_key)
        channel.basic_publish(exchange, routing_key, b"", mandatory=True)
        method, _properties, _body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            raise ConnectionError("the message did not come back")
    finally:
        if connection.is_open:
            connection.close()
    return RoundTrip(target.address(host_index), time.monotonic() - started, has_exchange)


def _has_exchange(connection, target):
    channel = connection.channel()
    try:
        channel.exchange_declare(target.exchange, passive=True)
    except pika.exceptions.ChannelClosedByBroker as error:
        if error.reply_code == NOT_FOUND and target.declares:
            return False
        raise
    channel.close()
    return True


def describe(error):
    """Return the cause of one of pika's errors in words, which it nests deeply."""
    while cause := _get_cause(error):
        error = cause
    if isinstance(error, pika.exceptions.AMQPHeartbeatTimeout):
        return "no heartbeat from the broker"
    if isinstance(error, pika.exceptions.ConnectionBlockedTimeout):
        return "the broker blocks publishers (a memory or disk alarm?)"
    reply = getattr(error, "reply_text", None)
    if reply:
        return f"{reply} ({error.reply_code})"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _get_cause(error):
    inner = list(getattr(error, "exceptions", ()))
    inner.append(getattr(error, "exception", None))
    inner.extend(error.args[:1])
    return next((cause for cause in inner if isinstance(cause, BaseException)), None)
