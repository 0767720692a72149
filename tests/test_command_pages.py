from datetime import timedelta

from odoo import fields
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, new_test_user, tagged

from .channel_common import ChannelCase


@tagged("post_install", "-at_install")
class TestCommandPages(ChannelCase):
    """Who configures queues, and who sees commands."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.partner = new_test_user(
            cls.env, "partner", groups="stock_event_ledger.group_integration"
        )

    def _create_queue(self, user=None, **vals):
        return self.env["stock.command.queue"].create(
            {"channel_id": self.channel.id, "user_id": (user or self.partner).id, **vals}
        )

    def _create_command(self, queue, state="done", **vals):
        command = self.env["stock.command"].create(
            {
                "queue_id": queue.id,
                "source": "test/commands",
                "message_id": f"message {self.env['stock.command'].search_count([])}",
                "operation": "receive",
                "payload": '{"lines": [{"sku": "Ä"}]}',
                "is_valid": True,
                "state": state,
                "received_date": fields.Datetime.now(),
                "attempts": 1,
                "repeat_count": 0,
                **vals,
            }
        )
        self.env.flush_all()
        self.env.invalidate_all()
        return command

    def test_a_manager_adds_a_queue_to_the_channel(self):
        with Form(self.channel.with_user(self.manager)) as form:
            with form.command_queue_ids.new() as line:
                line.name = "partner.commands"
                line.user_id = self.partner
        [queue] = self.channel.command_queue_ids
        self.assertEqual((queue.name, queue.active), ("partner.commands", True))
        consumed = self.env["stock.command.queue"]._get_consumed()
        self.assertEqual(consumed[queue.id][:2], ("partner.commands", True))
        with self.assertRaises(AccessError):
            queue.with_user(self.user).name = "mine"

    def test_only_an_integration_user_runs_commands(self):
        for user in (self.user, self.manager, self.env.ref("base.user_root")):
            with self.assertRaises(ValidationError):
                self._create_queue(user)
        queue = self._create_queue()
        with self.assertRaises(ValidationError):
            queue.user_id = self.user

    def test_a_queue_with_unfinished_commands_stays(self):
        queue = self._create_queue()
        command = self._create_command(queue, "failed")
        with self.assertRaises(UserError):
            queue.with_user(self.manager).unlink()
        command.with_user(self.manager).action_reject()
        queue.with_user(self.manager).unlink()
        self.assertEqual((command.state, command.source), ("rejected", "test/commands"))

    def test_commands_are_read_by_users_of_their_company(self):
        queue = self._create_queue()
        company = self.env["res.company"].create({"name": "Another"})
        own = self._create_command(queue, company_id=self.env.company.id)
        others = self._create_command(queue, company_id=company.id)
        commands = self.env["stock.command"].with_user(self.user)
        self.assertEqual(commands.search([]) & (own + others), own)
        form = Form(own.with_user(self.user))
        self.assertIn('"sku": "Ä"', form.payload_pretty)
        for model in ("stock.command", "stock.command.queue", "stock.message.outbox"):
            with self.assertRaises(AccessError):
                self.env[model].with_user(self.partner).search([])
        with self.assertRaises(AccessError):
            own.with_user(self.manager).state = "received"

    def test_what_a_command_caused(self):
        queue = self._create_queue()
        with self.env["stock.ledger.entry"]._caused_by("cause"):
            picking = self._receive(self.product, 1)
        result = {"transfers": [{"id": picking.id}]}
        command = self._create_command(queue, message_id="cause", result=result)
        command = command.with_user(self.user)
        self.assertEqual((command.entry_count, command.transfer_count), (2, 1))
        action = command.action_open_entries()
        entries = self.env["stock.ledger.entry"].search(action["domain"])
        self.assertEqual(entries.picking_id, picking)
        action = command.action_open_transfers()
        self.assertEqual(self.env["stock.picking"].search(action["domain"]), picking)

    def test_trouble_is_told(self):
        queue = self._create_queue()
        self.assertEqual(self.channel._get_alerts(False), {})
        self._create_command(queue, "failed")
        queue._record_status(queue.id, False, "no way")
        self.assertEqual(set(self.channel._get_alerts(False)), {"commands_failed"})
        queue.error_date -= timedelta(minutes=5)
        alerts = self.channel._get_alerts(False)
        self.assertIn("no way", alerts["commands_error"])
        self.channel._update_alerts(alerts)
        self.assertEqual(len(self.channel.activity_ids), 2)
        queue._record_status(queue.id, True)
        self.assertEqual(set(self.channel._get_alerts(False)), {"commands_failed"})

    def test_metrics(self):
        queue = self._create_queue(name="q")
        self._create_command(queue, "failed")
        queue._count("done")
        text = self.env["stock.event.metrics"]._export().decode()
        labels = 'channel="test",queue="q"'
        self.assertIn(f'stock_event_ledger_commands{{{labels},state="failed"}} 1.0', text)
        self.assertIn(f'stock_event_ledger_commands{{{labels},state="received"}} 0.0', text)
        self.assertIn(
            f'stock_event_ledger_finished_commands_total{{{labels},state="done"}} 1.0', text
        )
        self.assertIn(f"stock_event_ledger_command_queue_up{{{labels}}} 0.0", text)
