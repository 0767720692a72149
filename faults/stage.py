"""What a scenario plays on: a channel, its consumer, writers, workers, and the verdict."""

import contextlib
import sys
import time
import uuid
from typing import NamedTuple

import pika
import psycopg2

from .consumer import Consumer
from .launcher import wait_until
from .verdict import Event, Verdict, judge_deliveries, judge_ledger, read_log

HEARTBEAT_SECONDS = 30
WRITERS = 3
PAUSE_SECONDS = 0.05


def say(text):
    """Print a line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Account(NamedTuple):
    """How to enter a broker."""

    host: str
    port: int
    virtual_host: str
    username: str
    password: str

    def get_parameters(self):
        """Return pika's parameters."""
        return pika.ConnectionParameters(
            host=self.host,
            port=self.port,
            virtual_host=self.virtual_host,
            credentials=pika.PlainCredentials(self.username, self.password),
            heartbeat=HEARTBEAT_SECONDS,
            blocked_connection_timeout=HEARTBEAT_SECONDS,
        )


class Outlet:
    """One channel of the database, with an exchange, a queue and a consumer of its own."""

    def __init__(self, stage, name, bindings, vals):
        self.stage = stage
        self.name = name
        self.exchange = f"faults.{name}"
        first = stage.accounts[0]
        with stage.amqp() as channel:
            channel.exchange_declare(self.exchange, exchange_type="topic", durable=True)
        self.consumer = Consumer(
            [account.get_parameters() for account in stage.accounts],
            self.exchange,
            [(self.exchange, routing_key) for routing_key in bindings],
            stage.folder / f"{name}.sqlite",
        )
        self.consumer.start()
        self.channel_id = stage.launcher.call(
            "create_channel",
            vals={
                "name": name,
                "code": name.replace("-", "_"),
                "host": first.host,
                "port": first.port,
                "virtual_host": first.virtual_host,
                "username": first.username,
                "exchange": self.exchange,
                **vals,
            },
        )

    def close(self):
        """Stop queueing for the channel, and leave nothing on the broker."""
        self.consumer.stop()
        self.write({"active": False})
        with contextlib.suppress(pika.exceptions.AMQPError), self.stage.amqp() as channel:
            channel.queue_delete(self.consumer.queue)
            channel.exchange_delete(self.exchange)

    def bind(self, routing_key="stock.#"):
        """Bind the consumer's queue again.

        :return: whether there is an exchange
        """
        try:
            with self.stage.amqp() as channel:
                channel.queue_bind(self.consumer.queue, self.exchange, routing_key)
        except pika.exceptions.ChannelClosedByBroker:
            return False
        return True

    def write(self, vals):
        """Change the channel."""
        self.stage.launcher.call(
            "write_values", model="stock.event.channel", ids=[self.channel_id], vals=vals
        )

    def press(self, action):
        """Call a method of the channel."""
        self.stage.launcher.call(
            "press", model="stock.event.channel", ids=[self.channel_id], action=action
        )

    def press_on_blocked(self, action):
        """Call a method of what is blocked."""
        blocked = self.read_ids("blocked")
        self.stage.launcher.call("press", model="stock.event.outbox", ids=blocked, action=action)

    def retry_blocked(self):
        """Have everything that is blocked sent again, until nothing is."""

        def is_unblocked():
            if not self.read_ids("blocked"):
                return True
            self.press_on_blocked("action_retry")
            return False

        wait_until(is_unblocked, lambda: f"unblocked keys of {self.name}")

    def drain(self):
        """Have what is blocked sent again until all is confirmed, when nobody writes any more.

        What was on its way while a queue was not bound is blocked a moment later.
        """

        def is_drained():
            if self.is_drained():
                return True
            if self.read_ids("blocked"):
                self.press_on_blocked("action_retry")
            return False

        wait_until(is_drained, lambda: f"drained outbox of {self.name}", poll_seconds=0.5)

    def read_error(self):
        """Return what the channel shows as its error."""
        return self.stage.launcher.call("read_error", channel_id=self.channel_id)

    def wait_for_error(self, text):
        """Wait until the channel shows an error with a text in it."""
        wait_until(
            lambda: text in self.read_error(),
            lambda: f"{text!r} in the error of {self.name}: {self.read_error()}",
            poll_seconds=0.5,
        )

    def read_ids(self, state):
        """Return the outbox rows in a state."""
        rows = self.stage.query(
            "SELECT id FROM stock_event_outbox WHERE channel_id = %s AND state = %s",
            self.channel_id,
            state,
        )
        return [row_id for [row_id] in rows]

    def is_drained(self):
        """Tell whether all events have been confirmed."""
        [[count]] = self.stage.query(
            """SELECT COUNT(*) FROM stock_event_outbox
                WHERE channel_id = %s AND state <> 'confirmed'""",
            self.channel_id,
        )
        return not count

    def wait_for_events(self, count=1):
        """Wait until so many more events have been consumed."""
        goal = self.consumer.count() + count
        wait_until(
            lambda: self.consumer.count() >= goal,
            lambda: f"{count} events of {self.name}; {self.read_error()}",
        )

    def judge(self, entries):
        """Compare what was consumed with the ledger's entries.

        :param list entries: as ``jobs.read_ledger`` returns them
        """
        events = [Event(*entry) for entry in entries]
        # All is confirmed, hence in the queue: what does not come now is lost.
        with contextlib.suppress(AssertionError):
            wait_until(lambda: self.consumer.count() >= len(events), "deliveries", 30)
        return judge_deliveries(events, self.consumer.read())


class Stage:
    """One scenario's products and processes, on servers that others have started."""

    def __init__(self, name, launcher, accounts, database, folder, product_count=8):
        """
        :param Launcher launcher: the database's zygote
        :param list accounts: Account of each broker
        :param dict database: arguments of psycopg2.connect
        :param pathlib.Path folder: for what is recorded
        """
        self.name = f"{name}-{uuid.uuid4().hex[:6]}"
        self.launcher = launcher
        self.accounts = accounts
        self.folder = folder
        self.writers = []
        self.logs = []
        self.outlets = []
        self.problems = []
        self.faults = 0
        self._database = database
        self.products, self.locations, self.codes = launcher.call(
            "prepare", product_count=product_count
        )

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.launcher.kill_children()
        for outlet in self.outlets:
            outlet.close()

    @contextlib.contextmanager
    def amqp(self):
        """A channel to the broker, for a moment."""
        connection = pika.BlockingConnection(self.accounts[0].get_parameters())
        try:
            yield connection.channel()
        finally:
            if connection.is_open:
                connection.close()

    def query(self, statement, *parameters):
        """Return the rows of a statement, when PostgreSQL is there."""
        while True:
            try:
                with contextlib.closing(psycopg2.connect(**self._database)) as connection:
                    with connection, connection.cursor() as cr:
                        cr.execute(statement, parameters)
                        return cr.fetchall()
            # The latter where the server goes away in the midst of the statement.
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                time.sleep(0.2)

    def open_outlet(self, name="", bindings=("stock.#",), **vals):
        """Make a channel with a consumer."""
        outlet = Outlet(self, f"{self.name}{name}", bindings, vals)
        self.outlets.append(outlet)
        return outlet

    def count_fault(self, description):
        """Note that something was broken."""
        self.faults += 1
        say(f"{self.name}: {self.faults}. {description}")

    # --- processes

    def start_writers(self, count=WRITERS, **options):
        """Start writers of the stage's products."""
        for _number in range(count):
            self.writers.append(self.start_writer(**options))

    def start_writer(self, job="write", **options):
        """Start a writer and return its Child."""
        log = self.folder / f"{self.name}-{len(self.logs)}.commits"
        # Its verdict is due even if it is killed before its first line.
        log.touch()
        self.logs.append(log)
        defaults = {
            "locations": self.locations,
            "products": self.products,
            "pause_seconds": PAUSE_SECONDS,
            "seed": f"{self.name} {len(self.logs)}",
        }
        return self.launcher.start(job, path=str(log), **{**defaults, **options})

    def count_commits(self):
        """Return how many commits the writers know of."""
        return sum(
            line.get("outcome") == "committed" for log in self.logs for line in read_log(log)
        )

    def wait_for_commits(self, count):
        """Wait until the writers have made so many more commits."""
        goal = self.count_commits() + count
        wait_until(lambda: self.count_commits() >= goal, f"{count} commits")

    def stop_writers(self):
        """End the writers after their transactions."""
        for writer in self.writers:
            if writer.end():
                self.problems.append(f"a writer failed, see {writer.log}")
        self.writers.clear()

    def start_worker(self, **options):
        """Start a worker, which may be told where to die."""
        return self.launcher.start("work", **options)

    def stop_worker(self, worker):
        """Ask a worker to end."""
        if worker.end():
            self.problems.append(f"a worker failed, see {worker.log}")

    # --- the end

    def finish(self, worker, *outlets):
        """End the writers, and the worker when it has published everything."""
        self.stop_writers()
        for outlet in outlets or self.outlets:
            wait_until(
                outlet.is_drained,
                lambda outlet=outlet: f"drained outbox of {outlet.name}: {outlet.read_error()}",
            )
        self.stop_worker(worker)

    def judge(self):
        """Return the verdict on all channels, when everything has ended."""
        ledger = self.launcher.call("read_ledger", product_ids=self.products)
        entries = {entry_id: (product, quantity) for _event, entry_id, product, quantity in ledger}
        verdict = Verdict(problems=list(self.problems))
        verdict.add(judge_ledger([read_log(log) for log in self.logs], entries))
        for outlet in self.outlets:
            verdict.add(outlet.judge(ledger))
        return verdict
