import os
import signal
import tempfile
import threading

import pika

from odoo.tests import tagged

from .command_common import CommandCase


@tagged("post_install", "-at_install")
class TestCommandWorker(CommandCase):
    """Commands and a real worker process, which may be killed at any moment."""

    def setUp(self):
        super().setUp()
        self.bind("#")
        descriptor, self.log = tempfile.mkstemp(suffix=".log")
        os.close(descriptor)
        self.addCleanup(os.remove, self.log)
        self.received = []

    def _is_all_finished(self, count):
        states = self.get_states()
        return len(states) == count and not {"received", "failed"} & set(states)

    def _get_replies(self):
        self.received += self.receive()
        return {
            body["command_id"]: body
            for properties, body in self.received
            if properties.type.startswith("command.")
        }

    def test_the_same_command_100_times_at_once_has_one_effect(self):
        worker = self.start_worker(self.log)
        message_id = self.send()

        def publish():
            connection = pika.BlockingConnection(pika.URLParameters(self.amqp_url))
            channel = connection.channel()
            properties = pika.BasicProperties(message_id=message_id, type="receive")
            for _number in range(10):
                channel.basic_publish("", self.commands, body, properties)
            connection.close()

        body = self.encode(self.get_body())
        partners = [threading.Thread(target=publish) for _number in range(10)]
        for partner in partners:
            partner.start()
        for partner in partners:
            partner.join()
        self.wait_until(lambda: self._get_repeats() == [100], "all repeats")
        self.wait_until(lambda: self._is_all_finished(1), "the command")
        self.wait_until(self._get_replies, "the reply")
        self.assertEqual(self.end(worker), 0)
        self.assertEqual(self.get_on_hand(), 1)
        self.assertEqual(self.get_states(), ["done"])
        with open(self.log, encoding="utf-8") as log:
            self.assertNotRegex(log.read(), r" (WARNING|ERROR|CRITICAL) (?!\? )")

    def _get_repeats(self):
        return [command["repeat_count"] for command in self.read_commands()]

    def test_killed_workers_lose_no_command_and_repeat_no_effect(self):
        ids = []
        for kill in range(2):
            worker = self.start_worker(self.log)
            before = len(self.read_commands())
            ids += [self.send(self.get_body(origin=f"{kill}/{n}")) for n in range(8)]
            # In the midst of storing, running, replying or none of them.
            self.wait_until(
                lambda before=before, kill=kill: len(self.read_commands()) > before + 2 * kill,
                "commands before the kill",
            )
            self.end(worker, signal.SIGKILL)
        worker = self.start_worker(self.log)
        self.wait_until(
            lambda: self._is_all_finished(len(ids)), f"all commands: {self.get_states()}"
        )
        self.wait_until(lambda: set(self._get_replies()) == set(ids), "all replies")
        self.end(worker)
        self.assertEqual(self.get_on_hand(), len(ids))
        commands = self.read_commands()
        self.assertEqual([command["message_id"] for command in commands], ids, "in order")
        events = {
            body["event_id"]: body
            for properties, body in self.received + self.receive()
            if properties.type == "RECEIPT"
        }
        self.assertCountEqual([event["causation_id"] for event in events.values()], ids)
        # Whoever gets a reply twice can tell.
        replies = {}
        for properties, body in self.received:
            if properties.type.startswith("command."):
                self.assertEqual(replies.setdefault(properties.message_id, body), body)
        self.assertEqual(len(replies), len(ids))

    def test_a_queue_that_was_deleted_is_made_again_and_consumed(self):
        worker = self.start_worker(self.log)
        self.send()
        self.wait_until(lambda: self._is_all_finished(1), "first command")
        self.broker.queue_delete(self.commands)
        self.wait_until(self._is_declared, "the queue")
        self.send()
        self.wait_until(lambda: self._is_all_finished(2), "second command")
        self.end(worker)
        with self.committing() as env:
            self.assertFalse(env["stock.command.queue"].browse(self.queue_id).is_consuming)

    def _is_declared(self):
        # What is not there closes the channel that asks.
        probe = self.broker.connection.channel()
        try:
            probe.queue_declare(self.commands, passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            return False
        probe.close()
        return True

    def test_a_broker_that_cannot_be_reached_is_told_and_tried_again(self):
        with self.committing() as env:
            port = self.get_channel(env).port
            self.get_channel(env).port = 1
        self.send()
        worker = self.start_worker(self.log)
        self.wait_until(self._get_error, "the error")
        with self.committing() as env:
            self.get_channel(env).port = port
        self.wait_until(lambda: self._is_all_finished(1), "the command")
        self.assertFalse(self._get_error())
        self.end(worker)

    def _get_error(self):
        with self.committing() as env:
            return env["stock.command.queue"].browse(self.queue_id).last_error
