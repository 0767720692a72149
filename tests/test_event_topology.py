import tempfile
from urllib.parse import urlsplit

from odoo import Command
from odoo.tests import tagged

from ..relay.bell import bell
from ..relay.leader import WORKER_LOCK, Session
from .event_common import EventCase
from .processes import get_free_port
from .tls import Authority, TlsFront


@tagged("post_install", "-at_install")
class TestEventTopology(EventCase):
    """What is on the broker, and what happens when it is not."""

    def _write(self, **vals):
        with self.committing() as env:
            self.get_channel(env).write(vals)

    def _read(self, name):
        with self.committing() as env:
            return self.get_channel(env)[name]

    def _act(self, state, action):
        with self.committing() as env:
            events = env["stock.event.outbox"].search(
                [("channel_id", "=", self.channel_id), ("state", "=", state)]
            )
            getattr(events, action)()

    def _get_messages(self, queue):
        """Return the properties and bodies of the messages in a queue."""
        messages = []
        while (message := self.broker.basic_get(queue, auto_ack=True))[0]:
            messages.append(message[1:])
        return messages

    def _relay_with_warning(self, pattern):
        with self.assertLogs("odoo.addons.stock_event_ledger.relay", "WARNING") as logs:
            count = self.relay()
        self.assertRegex(str(logs.output), pattern)
        return count

    # --- declaring

    def test_what_no_queue_wants_goes_to_the_alternate_exchange(self):
        self.broker.exchange_delete(self.exchange)
        alternate = f"{self.exchange}.unrouted"
        self._write(alternate_exchange=alternate)
        self.addCleanup(self.broker.exchange_delete, alternate)
        self.addCleanup(self.broker.queue_delete, alternate)
        self.append((self.create_product(), "RECEIPT"))
        self.assertEqual(self.relay(), 1)
        self.assertEqual(len(self._get_messages(alternate)), 1)
        self.assertEqual(self.read_outbox(), [])

    def test_what_a_consumer_rejects_goes_to_the_dead_letter_exchange(self):
        self.broker.exchange_delete(self.exchange)
        dead, shop = f"{self.exchange}.dead", f"{self.exchange}.shop"
        self._write(
            dead_letter_exchange=dead,
            queue_ids=[
                Command.create(
                    {
                        "name": shop,
                        "binding_key": "stock.receipt.*",
                        "has_single_active_consumer": False,
                    }
                )
            ],
        )
        self.addCleanup(self.broker.exchange_delete, dead)
        for queue in (dead, shop):
            self.addCleanup(self.broker.queue_delete, queue)
        self.append((self.create_product(), "RECEIPT"))
        self.assertEqual(self.relay(), 1)
        method, _properties, body = self.broker.basic_get(shop)
        self.broker.basic_reject(method.delivery_tag, requeue=False)
        messages = []
        self.wait_until(lambda: messages or messages.extend(self._get_messages(dead)), "letter")
        self.assertEqual([dead_body for _properties, dead_body in messages], [body])

    def test_a_queue_keeps_the_newest_messages(self):
        self.broker.exchange_delete(self.exchange)
        newest = f"{self.exchange}.newest"
        vals = {"name": newest, "max_length": 2, "has_single_active_consumer": False}
        self._write(queue_ids=[Command.create(vals)])
        self.addCleanup(self.broker.queue_delete, newest)
        product_id = self.create_product()
        self.append(*[(product_id, "RECEIPT")] * 5)
        self.assertEqual(self.relay(), 5)
        bodies = [body for _properties, body in self._get_messages(newest)]
        self.assertEqual([b'"sequence":4' in bodies[0], b'"sequence":5' in bodies[1]], [True] * 2)

    def test_an_exchange_that_was_deleted_stops_its_channel_until_it_is_declared_again(self):
        self.bind()
        product_id = self.create_product()
        self.append((product_id, "RECEIPT"))
        self.assertEqual(self.relay(), 1)
        self.assertTrue(self._read("is_declared"))
        self.broker.exchange_delete(self.exchange)
        self.append((product_id, "RECEIPT"))
        self.assertEqual(self._relay_with_warning("no exchange"), 0)
        self.assertIn(f"no exchange {self.exchange}", self._read("last_error"))
        self.assertEqual(len(self.read_outbox()), 1)
        # A consumer that binds its queue to the exchange that is declared again.
        with self.committing() as env:
            self.get_channel(env).action_declare()
        self._relay_with_warning("NO_ROUTE")
        self.assertTrue(self._read("is_declared"))
        self.broker.queue_bind(self.queue, self.exchange, "stock.#")
        self._act("blocked", "action_retry")
        self.assertEqual(self.relay(), 1)
        self.assertEqual([e["sequence"] for e in self.receive_events()], [1, 2])
        self.assertFalse(self._read("last_error"))

    def test_a_channel_that_declares_nothing_wants_the_exchange_to_be_there(self):
        self.broker.exchange_delete(self.exchange)
        self._write(declares_topology=False)
        self.append((self.create_product(), "RECEIPT"))
        self.assertEqual(self._relay_with_warning("no exchange"), 0)
        self.broker.exchange_declare(self.exchange, exchange_type="topic", durable=True)
        self.bind()
        self.assertEqual(self.relay(), 1)

    # --- several channels, several hosts

    def test_a_channel_whose_condition_breaks_stops_alone(self):
        self.bind()
        with self.committing() as env:
            other = self.get_channel(env).copy({"code": f"{self.exchange[5:]}_2", "active": True})
            other_id = other.id
            # As when the field has gone with its module.
            env.cr.execute(
                "UPDATE stock_event_channel SET product_domain = %s WHERE id = %s",
                ["[('no_such_field', '=', 1)]", other_id],
            )

        def delete():
            with self.committing() as env:
                env["stock.event.channel"].browse(other_id).unlink()

        self.addCleanup(delete)
        self.append((self.create_product(), "RECEIPT"))
        self.assertEqual(self._relay_with_warning("no_such_field"), 1)
        self.assertEqual(len(self.receive_events()), 1)
        with self.committing() as env:
            other = env["stock.event.channel"].browse(other_id)
            self.assertIn("no_such_field", other.last_error)
            self.assertEqual(other.pending_count, 1)

    def test_the_next_host_is_tried_at_once(self):
        self.bind()
        with self.committing() as env:
            channel = self.get_channel(env)
            channel.host = f"127.0.0.1:{get_free_port()},{channel.host}:{channel.port}"
        self.append((self.create_product(), "RECEIPT"))
        self.assertEqual(self.relay(), 1)
        self.assertFalse(self._read("last_error"))

    # --- skipping

    def test_a_gap_is_published_in_place_of_a_skipped_event(self):
        self.bind("stock.receipt.*")
        product_id = self.create_product()
        self.append((product_id, "RECEIPT", 5), (product_id, "SALE", 1), (product_id, "RECEIPT", 2))
        self._relay_with_warning("NO_ROUTE")
        self.broker.queue_bind(self.queue, self.exchange, "stock.gap.*")
        self._act("blocked", "action_skip")
        self.assertEqual(self.relay(), 2)
        events = self.receive_events()
        self.assertEqual(
            [(e["event_type"], e["sequence"], e["on_hand_after"]) for e in events],
            [("RECEIPT", 1, 5), ("GAP", 2, 4), ("RECEIPT", 3, 6)],
        )
        self.assertEqual(events[1]["skipped_event_type"], "SALE")

    def test_nobody_has_to_listen_for_gaps(self):
        self.bind("stock.receipt.*")
        product_id = self.create_product()
        self.append((product_id, "RECEIPT", 5), (product_id, "SALE", 1), (product_id, "RECEIPT", 2))
        self._relay_with_warning("NO_ROUTE")
        self._act("blocked", "action_skip")
        self.assertEqual(self.relay(), 2)
        self.assertEqual([e["sequence"] for e in self.receive_events()], [1, 3])

    # --- the connection test

    def _test_connection(self):
        with self.committing() as env:
            action = self.get_channel(env).action_test_connection()
        return action["params"]["type"], action["params"]["message"]

    def test_a_message_goes_to_the_broker_and_back(self):
        self.bind()
        level, message = self._test_connection()
        self.assertEqual(level, "success", message)
        self.assertRegex(message, r"back in \d+ ms")
        self.assertEqual(self.receive(), [])
        self.broker.exchange_delete(self.exchange)
        level, message = self._test_connection()
        self.assertEqual(level, "success", message)
        self.assertIn("not there yet", message)
        self._write(declares_topology=False)
        level, message = self._test_connection()
        self.assertEqual(level, "danger", message)
        self.assertIn("NOT_FOUND", message)

    # --- TLS

    def test_tls_checks_the_server_and_shows_a_client_certificate(self):
        self.bind()
        with tempfile.TemporaryDirectory() as folder:
            authority = Authority(folder, "authority")
            ca_file = authority.file
            certificate, key = authority.issue("client")
            port = self._serve_tls(authority, authority.issue("localhost", ["localhost"]))
            settings = {
                "host": "localhost",
                "port": port,
                "use_tls": True,
                "ca_file": ca_file,
                "certificate_file": certificate,
                "key_file": key,
            }
            self._write(**settings)
            self.assertEqual(self._test_connection()[0], "success")
            self.append((self.create_product(), "RECEIPT"))
            self.assertEqual(self.relay(), 1)
            self.assertEqual(len(self.receive_events()), 1)
            stranger = Authority(folder, "stranger")
            for vals, reason in (
                ({"host": "127.0.0.1"}, "IP address mismatch"),
                ({"ca_file": stranger.file}, "certificate verify failed"),
                ({"ca_file": False}, "certificate verify failed"),
                ({"certificate_file": False, "key_file": False}, "."),
                ({"ca_file": f"{folder}/missing.pem"}, "No such file"),
            ):
                with self.subTest(vals=vals):
                    self._write(**{**settings, **vals})
                    level, message = self._test_connection()
                    self.assertEqual(level, "danger", message)
                    self.assertRegex(message, reason)

    def _serve_tls(self, authority, certificate):
        parts = urlsplit(self.amqp_url)
        front = TlsFront(parts.port or 5672, parts.hostname, authority, certificate)
        self.addCleanup(front.close)
        return front.port


@tagged("post_install", "-at_install")
class TestEventBell(EventCase):
    """Without a worker, a commit wakes the scheduled action."""

    def _count_triggers(self):
        with self.committing() as env:
            cron = env.ref("stock_event_ledger.cron_relay")
            return env["ir.cron.trigger"].search_count([("cron_id", "=", cron.id)])

    def test_the_scheduled_action_is_woken(self):
        product_id = self.create_product()
        before = self._count_triggers()
        self.append((product_id, "RECEIPT"))
        self.wait_until(lambda: self._count_triggers() > before, "a trigger")

    def test_nobody_is_woken_where_a_worker_works_or_nothing_is_queued(self):
        product_id = self.create_product()
        with Session(self.dbname, "test") as worker:
            worker.try_lock(WORKER_LOCK)
            self.append((product_id, "RECEIPT"))
            before = self._count_triggers()
            self.wait_until(lambda: bell.is_quiet, "the bell")
            self.assertEqual(self._count_triggers(), before)
