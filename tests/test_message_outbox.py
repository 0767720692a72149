from odoo.exceptions import AccessError
from odoo.tests import new_test_user, tagged
from odoo.tools import SQL

from .channel_common import Answer, ChannelCase
from .event_common import EventCase


@tagged("post_install", "-at_install")
class TestMessageOutbox(ChannelCase):
    """What is queued beside events, without a broker."""

    def setUp(self):
        super().setUp()
        self.messages = self.env["stock.message.outbox"]

    def _send(self, **options):
        options = {"routing_key": "there", "body": {"a": "ä"}, **options}
        return self.messages._send(self.channel, "command.receive", **options)

    def _take_messages(self, in_flight=()):
        self.env.flush_all()
        messages, _looked_at = self.messages._take(self.channel.id, 100, in_flight)
        return messages

    def _settle(self, confirmed=(), returned=()):
        answer = Answer([message.token for message in confirmed])
        answer.returned.update({message.token: "no queue" for message in returned})
        self.messages._settle(self.channel.id, answer)
        self.env.invalidate_all()

    def _make_due(self):
        self.env.cr.execute(
            SQL("UPDATE stock_message_outbox SET retry_date = '2026-01-01' WHERE state = 'blocked'")
        )

    def test_a_message_as_it_is_sent(self):
        row = self._send(correlation_id="talk", causation_id="cause", reply_to="answers")
        [message] = self._take_messages()
        self.assertEqual((message.exchange, message.routing_key), ("", "there"))
        self.assertEqual(message.body, '{"a": "ä"}'.encode())
        properties = message.properties
        self.assertEqual(properties.message_id, row.message_id)
        self.assertEqual(properties.type, "command.receive")
        self.assertEqual(properties.correlation_id, "talk")
        self.assertEqual(properties.reply_to, "answers")
        headers = properties.headers
        self.assertEqual(headers["cloudEvents_type"], "com.odoo.inventory.command.receive.v1")
        self.assertEqual(headers["cloudEvents_id"], row.message_id)
        self.assertEqual(row.message_id[14], "7", "a UUIDv7")
        self.assertTrue(message.mandatory)

    def test_what_is_confirmed_is_not_sent_again(self):
        row = self._send()
        [message] = self._take_messages()
        self.assertEqual(self._take_messages(in_flight=[message.token]), [])
        self.assertTrue(self.messages._has_pending(self.channel.id))
        self._settle([message])
        self.assertEqual(row.state, "confirmed")
        self.assertEqual(self._take_messages(), [])
        self.assertFalse(self.messages._has_pending(self.channel.id))

    def test_one_that_no_queue_takes_holds_its_partition_only(self):
        first, second, other, alone = (
            self._send(partition_key=partition) for partition in ("a", "a", "b", None)
        )
        messages = self._take_messages()
        self.assertEqual(
            [message.token for message in messages], [*(first + second + other).ids, alone.id]
        )
        self.assertEqual(messages[0].key, messages[1].key)
        self._settle(messages[2:], messages[:1])
        self.assertEqual(
            [row.state for row in (first, second, other, alone)],
            ["blocked", "pending", "confirmed", "confirmed"],
        )
        self.assertEqual((first.error, first.attempts), ("no queue", 1))
        self.assertFalse(self.messages._has_pending(self.channel.id))
        self.assertEqual(self._take_messages(), [])
        self._make_due()
        self.assertTrue(self.messages._has_pending(self.channel.id))
        again = self._take_messages()
        self.assertEqual([message.token for message in again], [first.id, second.id])
        self.assertEqual(again[0].properties.message_id, messages[0].properties.message_id)

    def test_a_manager_sends_again_or_gives_up(self):
        first, second = (self._send(partition_key="a") for _number in range(2))
        self._settle(returned=self._take_messages()[:1])
        first.with_user(self.manager).action_cancel()
        self.assertEqual(first.state, "cancelled")
        self.assertEqual([message.token for message in self._take_messages()], [second.id])
        self._settle(self._take_messages())
        first.with_user(self.manager).action_retry()
        self.assertEqual([message.token for message in self._take_messages()], [first.id])
        for action in ("action_retry", "action_cancel"):
            with self.assertRaises(AccessError):
                getattr(first.with_user(self.user), action)()

    def test_one_that_stays_undelivered_is_told(self):
        self._send()
        for _attempt in range(5):
            self.assertNotIn("messages", self.channel._get_alerts(False))
            self._make_due()
            self._settle(returned=self._take_messages())
        self.assertIn("messages", self.channel._get_alerts(False))

    def test_who_may_read_messages(self):
        company = self.env["res.company"].create({"name": "Another"})
        own, others = self._send(company=self.env.company), self._send(company=company)
        self.assertEqual(self.messages.with_user(self.user).search([]) & (own + others), own)
        stranger = new_test_user(self.env, "stranger", groups="base.group_user")
        with self.assertRaises(AccessError):
            self.messages.with_user(stranger).search([])
        with self.assertRaises(AccessError):
            own.with_user(self.manager).write({"body": "{}"})

    def test_old_ones_are_deleted_when_they_are_settled(self):
        rows = [self._send() for _number in range(3)]
        confirmed, blocked, _pending = self._take_messages()
        self._settle([confirmed], [blocked])
        self.env.cr.execute(
            SQL("UPDATE stock_message_outbox SET created_date = created_date - interval '31 days'")
        )
        self.assertEqual(self.messages._gc_old(), (1, 0))
        self.assertEqual([bool(row.exists()) for row in rows], [False, True, True])

    def test_what_is_rolled_back_is_not_sent(self):
        with self.assertRaises(ZeroDivisionError), self.env.cr.savepoint():
            self._send()
            raise ZeroDivisionError
        self.assertEqual(self._take_messages(), [])


@tagged("post_install", "-at_install")
class TestMessageRelay(EventCase):
    """What a real broker gets of it."""

    def _send(self, count=1, **options):
        with self.committing() as env:
            for number in range(count):
                env["stock.message.outbox"]._send(
                    self.get_channel(env), "command.receive", {"number": number}, **options
                )

    def _get_states(self):
        with self.committing() as env:
            messages = env["stock.message.outbox"].search(
                [("channel_id", "=", self.channel_id)], order="id"
            )
            return messages.mapped("state")

    def test_messages_go_to_queues_and_to_the_exchange_in_order(self):
        self.bind("command.#")
        self._send(20, routing_key=self.queue, partition_key="a")
        self._send(20, routing_key="command.any", exchange=self.exchange, partition_key="a")
        self.assertEqual(self.relay(), 40)
        numbers = [body["number"] for _properties, body in self.receive()]
        self.assertEqual(numbers, [*range(20), *range(20)])
        self.assertEqual(set(self._get_states()), {"confirmed"})
        self.assertEqual(self.relay(), 0)

    def test_what_no_queue_takes_stops_no_event_and_no_other_message(self):
        self.bind("stock.#")
        self._send(routing_key="nowhere")
        self._send(routing_key="nowhere", is_mandatory=False)
        self._send(routing_key=self.queue)
        self.append((self.create_product(), "RECEIPT"))
        self.relay()
        self.assertEqual({p.type for p, _body in self.receive()}, {"RECEIPT", "command.receive"})
        self.assertEqual(self._get_states(), ["blocked", "confirmed", "confirmed"])

    def test_a_paused_channel_sends_nothing(self):
        self.bind()
        with self.committing() as env:
            self.get_channel(env).action_pause()
        self._send(routing_key=self.queue)
        self.relay()
        self.assertEqual(self.receive(), [])
        with self.committing() as env:
            self.get_channel(env).action_resume()
        self.relay()
        self.assertEqual(len(self.receive()), 1)

    def test_an_unreachable_broker_gets_them_later(self):
        self.bind()
        with self.committing() as env:
            port = self.get_channel(env).port
            self.get_channel(env).port = 1
        self._send(routing_key=self.queue)
        self.relay()
        self.assertEqual(self._get_states(), ["pending"])
        with self.committing() as env:
            self.get_channel(env).port = port
        self.relay()
        self.assertEqual(len(self.receive()), 1)
