import json
from contextlib import closing, suppress
from datetime import timedelta
from unittest.mock import patch

from odoo import SUPERUSER_ID, Command, api
from odoo.exceptions import AccessError, UserError
from odoo.modules.registry import Registry
from odoo.tests import new_test_user, tagged
from odoo.tools import SQL, file_open, mute_logger

from ..broker import Consumer
from ..exceptions import CallBusy
from ..models import stock_command_run
from ..relay.leader import REPLAYED
from .command_common import CommandCase

FEW_ATTEMPTS = 3


@tagged("post_install", "-at_install")
class TestCommandInbox(CommandCase):
    """What a partner sends, what it does, and what the partner is told."""

    def test_a_command_has_its_effect_and_is_answered(self):
        self.bind("#")
        reply_queue = f"{self.queue}.reply"
        self.broker.queue_declare(reply_queue)
        self.addCleanup(self.broker.queue_delete, reply_queue)
        message_id = self.send(
            self.get_body(5), correlation_id="conversation", reply_to=reply_queue
        )
        self.assertEqual(self.take_in(), 1)
        self.assertEqual(self.get_on_hand(), 5)
        [command] = self.read_commands(
            "state", "message_id", "operation", "user_id", "entry_count", "transfer_count"
        )
        self.assertEqual(command["state"], "done")
        self.assertEqual(command["user_id"], self.user_id)
        self.assertEqual((command["entry_count"], command["transfer_count"]), (2, 1))
        self.relay()
        [event, reply] = sorted(
            self.receive(), key=lambda message: message[0].type == "command.accepted"
        )
        self.assertEqual(event[0].type, "RECEIPT")
        self.assertEqual(event[1]["causation_id"], message_id)
        self.assertEqual(event[1]["correlation_id"], "conversation")
        self.assertEqual(event[0].correlation_id, "conversation")
        self.assertEqual(reply[0].correlation_id, "conversation")
        self.assertEqual(reply[1]["command_id"], message_id)
        self.assertEqual(reply[1]["result"]["status"], "done")
        self.queue = reply_queue
        [(properties, body)] = self.receive()
        self.assertEqual(body, reply[1])
        self.assertEqual(
            properties.headers["cloudEvents_type"], "com.odoo.inventory.command.accepted.v1"
        )

    def test_a_repeat_does_nothing_and_is_answered_again(self):
        self.bind("#")
        message_id = self.send()
        self.take_in()
        [(first, body)] = self.receive_replies()
        for _number in range(99):
            self.send(message_id=message_id)
        self.take_in()
        self.assertEqual(self.get_on_hand(), 1)
        [command] = self.read_commands()
        self.assertEqual((command["state"], command["repeat_count"]), ("done", 99))
        [(again, same_body)] = self.receive_replies()
        self.assertEqual((again.message_id, same_body), (first.message_id, body))

    def test_another_command_with_the_same_id_is_rejected(self):
        self.bind("command.#")
        message_id = self.send(self.get_body(1))
        self.send(self.get_body(2), message_id=message_id)
        self.take_in()
        self.assertEqual(self.get_on_hand(), 1)
        self.assertEqual(self.get_states(), ["done", "rejected"])
        codes = [
            body["reasons"] and body["reasons"][0]["code"] for _p, body in self.receive_replies()
        ]
        self.assertCountEqual(codes, [[], "conflict"])

    def test_what_is_no_command_is_kept_with_the_reason(self):
        self.bind("command.#")
        good = {"message_id": "m", "type": "receive"}
        cases = [
            (b"{", good, "valid JSON"),
            (b"[]", good, "JSON object"),
            (b"", good, "valid JSON"),
            (b"\xff\x00\xfe", good, "valid JSON"),
            (b'{"a": NaN}', good, "no number"),
            (b'{"a": 1e999}', good, "too large"),
            (b'{"a": "\\u0000"}', good, "are no text"),
            (b'{"\\ud800": 1}', good, "are no text"),
            (b"[" * 100_000, good, "valid JSON"),
            (b'{"a": "' + b"x" * 1_000_001 + b'"}', good, "smaller"),
            (b"{}", {"type": "receive"}, "message_id"),
            (b"{}", {"message_id": "m"}, "property type"),
            (b"{}", {**good, "type": "SALE"}, "name of an operation"),
            (b"{}", {**good, "type": "com.odoo.inventory.command.receive.v2"}, "operation"),
            (b"{}", {**good, "content_type": "text/xml"}, "application/json"),
            (b"{}", {**good, "content_encoding": "gzip"}, "without compression"),
            (b"{}", {**good, "correlation_id": "a\nb"}, "control characters"),
            (b"{}", {"type": "receive", "headers": {"cloudEvents_id": 7}}, "text in UTF-8"),
        ]
        for body, properties, _reason in cases:
            self.publish(body, **properties)
        self.take_in()
        commands = self.read_commands("state", "reason", "is_valid", "payload", "attempts")
        self.assertEqual(len(commands), len(cases))
        for command, (_body, _properties, reason) in zip(commands, cases, strict=True):
            with self.subTest(reason=reason):
                self.assertEqual(command["state"], "rejected")
                self.assertIn(reason, command["reason"])
                self.assertFalse(command["is_valid"])
                self.assertLessEqual(len(command["payload"]), 1_000_000)
        replies = self.receive_replies()
        self.assertEqual(len(replies), len(cases))
        self.assertEqual({body["reasons"][0]["code"] for _p, body in replies}, {"malformed"})
        # None of them has used up its message id.
        self.send(message_id="m")
        self.take_in()
        self.assertEqual(self.get_states()[-1], "done")

    def test_names_of_types_and_headers(self):
        for number, properties in enumerate(
            [
                {"type": "receive"},
                {"type": "command.receive"},
                {"type": "com.odoo.inventory.command.receive.v1"},
                {"headers": {"cloudEvents_type": "com.odoo.inventory.command.receive.v1"}},
                {"headers": {"cloudEvents:type": "receive"}},
            ]
        ):
            headers = {"cloudEvents_id": f"h{number}", **properties.pop("headers", {})}
            self.publish(json.dumps(self.get_body()).encode(), headers=headers, **properties)
        self.take_in()
        self.assertEqual(self.get_states(), ["done"] * 5)
        self.assertEqual(self.get_on_hand(), 5)

    def test_replies_that_come_in_are_not_answered(self):
        self.bind("command.#")
        # By mistake; else each reply would be answered.
        self.broker.queue_bind(self.commands, self.exchange, "#")
        self.send(operation="no_such_thing")
        for _round in range(3):
            self.take_in()
            self.relay()
        self.assertEqual(self.get_states(), ["rejected", "rejected"])
        self.assertEqual(len(self.receive()), 1)

    def test_what_is_refused_says_why_and_does_nothing(self):
        self.bind("command.#")
        body = self.get_body()
        cases = [
            ("receive", {**body, "lines": [{"sku": "nothing", "quantity": 1}]}, "unknown_product"),
            ("receive", {**body, "lines": [{"sku": self.sku, "quantity": -1}]}, "invalid"),
            ("receive", {**body, "lines": []}, "invalid"),
            ("receive", {**body, "warehouse": "nowhere"}, None),
            ("receive", {**body, "colour": "red"}, "invalid"),
            ("receive", {**body, "idempotency_key": "x"}, "invalid"),
            ("steal", body, "invalid"),
            ("_execute", body, "invalid"),
        ]
        ids = [self.send(members, operation) for operation, members, _code in cases]
        ids.append(self.send(message_id="x" * 200))
        self.take_in()
        self.assertEqual(set(self.get_states()), {"rejected"})
        self.assertEqual(self.get_on_hand(), 0)
        replies = {body["command_id"]: body for _properties, body in self.receive_replies()}
        self.assertEqual(set(replies), set(ids))
        for message_id, (operation, _members, code) in zip(ids, cases, strict=False):
            with self.subTest(operation=operation, code=code):
                reply = replies[message_id]
                self.assertEqual(reply["reply_type"], "command.rejected")
                self.assertTrue(reply["reasons"][0]["message"])
                if code:
                    self.assertEqual(reply["reasons"][0]["code"], code)

    def test_they_run_in_the_order_of_receipt(self):
        for number in range(12):
            self.send(self.get_body(1, origin=f"order {number}"))
        self.take_in()
        with self.committing() as env:
            entries = env["stock.ledger.entry"].search(
                [("product_id", "=", self.product_id), ("quantity", ">", 0)], order="id"
            )
            self.assertEqual(entries.mapped("origin"), [f"order {number}" for number in range(12)])

    def test_a_user_of_another_company_cannot_reach_this_one(self):
        with self.committing() as env:
            company = env["res.company"].create({"name": f"Company {self.sku}"})
            stranger = new_test_user(
                env,
                f"stranger {self.sku}",
                groups="stock_event_ledger.group_integration",
                company_id=company.id,
                company_ids=[Command.set(company.ids)],
            )
            env["stock.command.queue"].browse(self.queue_id).user_id = stranger
        self.send()
        self.take_in()
        self.assertEqual(self.get_states(), ["rejected"])
        self.assertEqual(self.get_on_hand(), 0)
        with self.committing() as env:
            command = env["stock.command"].search([("queue_id", "=", self.queue_id)])
            self.assertEqual(command.company_id.name, f"Company {self.sku}")

    def test_a_queue_whose_user_lost_the_right_is_not_consumed(self):
        self.send()
        with self.committing() as env:
            group = env.ref("stock_event_ledger.group_integration")
            user = env["res.users"].browse(self.user_id)
            user.group_ids -= group
        self.take_in(is_consumed=False)
        self.assertEqual(self.get_states(), [])
        with self.committing() as env:
            self.assertIn("commands_error", self.get_channel(env)._get_alerts(False))
            env["res.users"].browse(self.user_id).group_ids += group.with_env(env)
        self.take_in()
        self.assertEqual(self.get_states(), ["done"])

    def test_a_read_is_answered(self):
        self.bind("command.#")
        self.send({"skus": [self.sku]}, "get_availability")
        self.take_in()
        [(_properties, body)] = self.receive_replies()
        self.assertEqual(body["result"]["availability"][0]["sku"], self.sku)

    # --- what is not the sender's fault

    def _patch_attempts(self):
        self.patch(stock_command_run, "MOST_ATTEMPTS", FEW_ATTEMPTS)

    def _break(self, error):
        """Have all commands fail; return what is to be called to end that."""
        model = Registry(self.dbname)["stock.integration"]
        patcher = patch.object(model, "_execute", autospec=True, side_effect=error)
        patcher.start()
        self.addCleanup(patcher.stop)
        return patcher.stop

    def _make_due(self):
        with self.committing() as env:
            env["stock.command"].search([("state", "=", "received")]).retry_date = False

    @mute_logger("odoo.addons.stock_event_ledger.relay.inbox")
    def test_what_passes_is_tried_again_and_holds_those_behind(self):
        stop = self._break(CallBusy("Somebody else has it."))
        self.send()
        self.send()
        self.take_in()
        first, second = self.read_commands()
        self.assertEqual(first["state"], "received")
        self.assertGreater(first["attempts"], 0)
        self.assertIn("Somebody", first["reason"])
        self.assertEqual((second["state"], second["attempts"]), ("received", 0))
        stop()
        self._make_due()
        self.take_in()
        self.assertEqual(self.get_states(), ["done", "done"])
        self.assertFalse(self.read_commands()[0]["reason"])

    @mute_logger("odoo.addons.stock_event_ledger.relay.inbox")
    def test_a_bug_ends_as_failed_and_a_manager_decides(self):
        self._patch_attempts()
        self.bind("command.#")
        stop = self._break(ZeroDivisionError("oops"))
        self.send()
        self.send()
        for _attempt in range(2 * FEW_ATTEMPTS):
            self.take_in()
            self._make_due()
        for command in self.read_commands():
            self.assertEqual((command["state"], command["attempts"]), ("failed", FEW_ATTEMPTS))
            self.assertEqual(command["reason"], "ZeroDivisionError: oops")
        self.assertEqual(self.receive_replies(), [])
        stop()
        with self.committing() as env:
            self.assertIn("commands_failed", self.get_channel(env)._get_alerts(False))
            commands = env["stock.command"].search([("queue_id", "=", self.queue_id)], order="id")
            user, manager = (
                new_test_user(env, f"{name} {self.sku}", groups=f"stock.group_stock_{name}")
                for name in ("user", "manager")
            )
            for action in ("action_retry", "action_reject"):
                with self.assertRaises(AccessError):
                    getattr(commands.with_user(user), action)()
            commands[0].with_user(manager).action_retry()
            commands[1].with_user(manager).action_reject()
            with self.assertRaises(UserError):
                commands.with_user(manager).action_retry()
        self.take_in()
        self.assertEqual(self.get_states(), ["done", "rejected"])
        self.assertEqual(self.get_on_hand(), 1)
        codes = [
            body["reasons"] and body["reasons"][0]["code"] for _p, body in self.receive_replies()
        ]
        self.assertCountEqual(codes, [[], "given_up"])

    def test_one_that_takes_the_worker_down_is_not_begun_for_ever(self):
        self._patch_attempts()
        self.send()
        stop = self._break(KeyboardInterrupt())
        for _attempt in range(FEW_ATTEMPTS):
            with self.assertRaises(KeyboardInterrupt):
                self.take_in(is_consumed=False)
        self.take_in()
        self.assertEqual(self.get_states(), ["failed"])
        stop()

    def test_two_that_run_it_at_once_have_one_effect(self):
        self.send()
        model = Registry(self.dbname)["stock.command"]
        with patch.object(model, "_claim_next", lambda self, _queue_ids: self):
            self.take_in()
        [command_id] = [command["id"] for command in self.read_commands()]
        with (
            closing(Registry(self.dbname).cursor()) as first,
            closing(Registry(self.dbname).cursor()) as second,
        ):
            runs = [
                api.Environment(cr, SUPERUSER_ID, {})["stock.command"].browse(command_id)
                for cr in (first, second)
            ]
            # Both have their snapshot before either has written.
            self.assertEqual([run.state for run in runs], ["received", "received"])
            runs[0]._run()
            first.commit()
            with suppress(*REPLAYED), mute_logger("odoo.sql_db"):
                runs[1]._run()
                second.commit()
        self.assertEqual(self.get_states(), ["done"])
        with self.committing() as env:
            command = env["stock.command"].browse(command_id)
            self.assertEqual(len(command.reply_ids), 1)
            self.assertEqual(command.queue_id.done_count, 1)
        self.assertEqual(self.get_on_hand(), 1)

    # --- crashes, step by step

    def test_a_crash_before_the_acknowledgement(self):
        self.bind("command.#")
        self.send()
        with patch.object(Consumer, "acknowledge", lambda self, tags: None):
            self.take_in(is_consumed=False)
        self.assertEqual(self.get_states(), ["done"])
        self.wait_until(self.count_ready, "what the broker takes back")
        self.take_in()
        [command] = self.read_commands()
        self.assertEqual((command["state"], command["repeat_count"]), ("done", 1))
        self.assertEqual(self.get_on_hand(), 1)
        self.take_in()
        self.assertEqual(self.read_commands()[0]["repeat_count"], 1, "acknowledged")

    def test_what_cannot_be_stored_is_a_dead_letter(self):
        model = Registry(self.dbname)["stock.command"]
        insert = model._insert

        def fail(self, vals):
            if vals["message_id"] == "bad":
                raise ValueError("cannot be stored")
            return insert(self, vals)

        self.send(message_id="good")
        self.send(message_id="bad")
        self.send(message_id="better")
        logger = "odoo.addons.stock_event_ledger.relay.inbox"
        with patch.object(model, "_insert", fail), mute_logger(logger):
            self.take_in()
        self.assertEqual(
            [command["message_id"] for command in self.read_commands()], ["good", "better"]
        )
        self.wait_until(self._get_dead, "dead letter")

    def _get_dead(self):
        method, properties, _body = self.broker.basic_get(f"{self.commands}.dead", auto_ack=True)
        return method and self.assertEqual(properties.message_id, "bad") is None

    # --- where nothing may be consumed

    def test_a_neutralized_database_a_copy_and_a_paused_channel_consume_nothing(self):
        self.send()
        for vals in ({"state": "paused"}, {"active": False}, {"database_uuid": "another"}):
            with self.committing() as env:
                before = {name: self.get_channel(env)[name] for name in vals}
                self.get_channel(env).write(vals)
            self.take_in(is_consumed=False)
            with self.committing() as env:
                self.get_channel(env).write(before)
        with self.committing() as env:
            env["ir.config_parameter"].set_param("database.is_neutralized", "true")
        self.take_in(is_consumed=False)
        with self.committing() as env:
            env["ir.config_parameter"].set_param("database.is_neutralized", False)
        self.assertEqual(self.get_states(), [])
        with self.committing() as env:
            with file_open("stock_event_ledger/data/neutralize.sql") as file:
                env.cr.execute(SQL(file.read()))
            env.invalidate_all()
            self.assertFalse(env["stock.command.queue"].search([]))
            self.assertFalse(env["stock.event.channel"].search([("active", "=", True)]))
            env.cr.rollback()
        self.take_in()
        self.assertEqual(self.get_states(), ["done"])

    def test_a_scheduled_action_tells_what_keeps_it_from_consuming(self):
        with self.committing() as env:
            port = self.get_channel(env).port
            self.get_channel(env).port = 1
        dates = []
        for _run in range(2):
            self.take_in(is_consumed=False)
            with self.committing() as env:
                queue = env["stock.command.queue"].browse(self.queue_id)
                self.assertIn("refused", queue.last_error)
                dates.append(queue.error_date)
        self.assertEqual(*dates, "since when")
        with self.committing() as env:
            self.get_channel(env).port = port
        self.take_in()
        with self.committing() as env:
            self.assertFalse(env["stock.command.queue"].browse(self.queue_id).last_error)

    def test_old_finished_commands_are_deleted(self):
        self.send()
        self.take_in()
        with self.committing() as env:
            commands = env["stock.command"]
            self.assertEqual(commands._gc_old(), (0, 0))
            command = commands.search([("queue_id", "=", self.queue_id)])
            command.finished_date -= timedelta(days=31)
            env.flush_all()
            self.assertEqual(commands._gc_old(), (1, 0))
            self.assertFalse(command.exists())
