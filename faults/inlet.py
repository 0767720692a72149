"""A partner that sends commands through what is broken, and judges what became of them."""

import contextlib
import json
import threading
import time
import uuid

import pika

from .launcher import wait_until

STATES_OF_THE_END = ("done", "rejected")
# No more are sent while so many are to be run.
MOST_WAITING = 20


class Inlet:
    """One queue of commands of an outlet's channel, its sender, and the replies."""

    def __init__(self, stage, outlet):
        self.stage = stage
        self.exchange = outlet.exchange
        self.replies = f"{outlet.exchange}.replies"
        self.ids = []
        prepared = stage.launcher.call("prepare_commands", channel_id=outlet.channel_id)
        self.queue, self.product_id = prepared["queue"], prepared["product_id"]
        self._body = json.dumps(prepared["body"]).encode()
        self._stopping = False
        self._sender = threading.Thread(target=self._send_until_stopped, daemon=True)
        with stage.amqp() as channel:
            channel.queue_declare(self.replies, durable=True)
            channel.queue_bind(self.replies, self.exchange, "command.#")

    def start(self):
        """Send commands from now on, once there is the queue, each until it is confirmed."""
        self._sender.start()

    def _send_until_stopped(self):
        message_id = None
        while not self._stopping:
            # The confirm may be lost after the message has arrived: then it is sent twice.
            with (
                contextlib.suppress(pika.exceptions.AMQPError, OSError),
                self.stage.amqp() as channel,
            ):
                channel.confirm_delivery()
                while not self._stopping:
                    message_id = message_id or str(uuid.uuid4())
                    properties = pika.BasicProperties(
                        message_id=message_id, type="receive", delivery_mode=2
                    )
                    channel.basic_publish("", self.queue, self._body, properties, mandatory=True)
                    self.ids.append(message_id)
                    message_id = None
                    while self._count_waiting() > MOST_WAITING and not self._stopping:
                        time.sleep(0.1)
            time.sleep(0.2)

    def _count_waiting(self):
        return len(self.ids) - self.count(*STATES_OF_THE_END)

    def count(self, *states):
        """Return how many commands are in one of these states, of all if none is named."""
        [[count]] = self.stage.query(
            """SELECT COUNT(*) FROM stock_command c
                 JOIN stock_command_queue q ON q.id = c.queue_id
                WHERE q.name = %s AND (%s OR c.state = ANY(%s))""",
            self.queue,
            not states,
            list(states),
        )
        return count

    def wait_for_commands(self, count):
        """Wait until so many more commands have been run."""
        goal = self.count(*STATES_OF_THE_END) + count
        wait_until(lambda: self.count(*STATES_OF_THE_END) >= goal, f"{count} more commands")

    def finish(self):
        """Stop sending, and wait until all commands are run."""
        self._stopping = True
        self._sender.join()
        wait_until(lambda: self.count() >= len(self.ids), "all commands stored")
        wait_until(
            lambda: self.count(*STATES_OF_THE_END) == self.count(),
            lambda: f"all commands run: {self.count()}, of them {self.count('failed')} failed",
        )

    def judge(self):
        """Return what is wrong: with effects, order or replies."""
        problems = []
        rows = self.stage.query(
            """SELECT c.message_id, c.state FROM stock_command c
                 JOIN stock_command_queue q ON q.id = c.queue_id
                WHERE q.name = %s ORDER BY c.id""",
            self.queue,
        )
        if not {message_id for message_id, _state in rows}.issuperset(self.ids):
            problems.append("a confirmed command was lost")
        if rejected := [message_id for message_id, state in rows if state != "done"]:
            problems.append(f"{len(rejected)} commands were not done: {rejected[:5]}")
        [[quantity]] = self.stage.query(
            """SELECT COALESCE(SUM(e.quantity), 0)::int FROM stock_ledger_entry e
                 JOIN stock_location l ON l.id = e.location_id
                WHERE e.product_id = %s AND l.usage = 'internal'""",
            self.product_id,
        )
        if quantity != len(rows):
            problems.append(f"{len(rows)} commands had {quantity} effects")
        wait_until(self._is_answered, "all replies sent")
        answered = self._read_replies()
        if missing := {message_id for message_id, _state in rows} - answered:
            problems.append(f"{len(missing)} commands were not answered")
        return problems

    def _is_answered(self):
        [[count]] = self.stage.query(
            """SELECT COUNT(*) FROM stock_message_outbox
                WHERE exchange = %s AND state <> 'confirmed'""",
            self.exchange,
        )
        return not count

    def _read_replies(self):
        answered = set()
        with self.stage.amqp() as channel:
            while True:
                method, _properties, body = channel.basic_get(self.replies, auto_ack=True)
                if not method:
                    return answered
                answered.add(json.loads(body)["command_id"])

    def close(self):
        """Leave nothing on the broker."""
        self._stopping = True
        with contextlib.suppress(pika.exceptions.AMQPError), self.stage.amqp() as channel:
            for queue in (self.queue, f"{self.queue}.dead", self.replies):
                channel.queue_delete(queue)
