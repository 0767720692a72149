"""Where messages go, and how to get there."""

import ssl
from dataclasses import dataclass, field

import pika

HEARTBEAT_SECONDS = 30
BLOCKED_SECONDS = 30
CONNECT_SECONDS = 10


@dataclass(frozen=True)
class Target:
    """One exchange on one RabbitMQ server, with what is needed to publish to it.

    ``audit_queue`` names a durable queue that gets every event, or is empty.
    """

    host: str
    port: int
    virtual_host: str
    username: str
    exchange: str
    audit_queue: str = ""
    use_tls: bool = False
    # Never shown, wherever the target is printed.
    password: str = field(default="", repr=False)

    @property
    def address(self):
        return f"{self.host}:{self.port}{self.virtual_host}"

    def connection_parameters(self):
        """Return pika's parameters: bounded waits, and no retries of its own."""
        tls = None
        if self.use_tls:
            # Verifies the server's certificate and its name.
            tls = pika.SSLOptions(ssl.create_default_context(), self.host)
        return pika.ConnectionParameters(
            host=self.host,
            port=self.port,
            virtual_host=self.virtual_host,
            credentials=pika.PlainCredentials(self.username, self.password),
            ssl_options=tls,
            heartbeat=HEARTBEAT_SECONDS,
            blocked_connection_timeout=BLOCKED_SECONDS,
            socket_timeout=CONNECT_SECONDS,
            stack_timeout=CONNECT_SECONDS,
            connection_attempts=1,
            client_properties={"connection_name": "stock_event_ledger"},
        )


def check(target):
    """Connect to a target and look for its exchange.

    :return: None, or what went wrong, as text
    """
    try:
        connection = pika.BlockingConnection(target.connection_parameters())
    except Exception as error:
        return describe(error)
    try:
        connection.channel().exchange_declare(target.exchange, passive=True)
    except pika.exceptions.ChannelClosedByBroker as error:
        # The publisher makes a missing exchange.
        return None if error.reply_code == 404 else describe(error)
    except Exception as error:
        return describe(error)
    finally:
        if connection.is_open:
            connection.close()
    return None


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
        return error.strerror
    return str(error) or type(error).__name__


def _get_cause(error):
    inner = list(getattr(error, "exceptions", ()))
    inner.append(getattr(error, "exception", None))
    inner.extend(error.args[:1])
    return next((cause for cause in inner if isinstance(cause, BaseException)), None)
