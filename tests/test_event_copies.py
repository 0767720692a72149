import subprocess
import sys
import tempfile
from contextlib import contextmanager

from odoo import SUPERUSER_ID, api
from odoo.modules.registry import Registry
from odoo.service import db
from odoo.tests import tagged
from odoo.tools import config, mute_logger

from ..relay.bell import bell
from ..relay.relay import run_bounded
from .database_copy import drop_database, no_test_mode
from .event_common import EventCase
from .processes import MAIN

# What a user of plain Odoo does, and what the addon has left.
AFTER_UNINSTALL = """
env["ir.module.module"].search([("name", "=", "stock_event_ledger")]).button_immediate_uninstall()
env.cr.execute('''
    SELECT relname FROM pg_class WHERE relname ~ '^stock_(event|integration|ledger)_'
     UNION ALL
    SELECT proname FROM pg_proc WHERE proname ~ '^stock_(event|integration|ledger)_'
     UNION ALL
    SELECT s.code FROM ir_cron c JOIN ir_act_server s ON s.id = c.ir_actions_server_id
     WHERE s.usage = 'ir_cron' AND s.code LIKE '%%stock.event%%' ''')
print("LEFT", env.cr.fetchall())
product = env["product.product"].browse({product_id})
stock = env["stock.warehouse"].browse({warehouse_id}).lot_stock_id
env["stock.quant"]._update_available_quantity(product, stock, 7)
env.cr.commit()
print("STOCK", product.with_context(location=stock.id).qty_available)
"""


@tagged("post_install", "-at_install")
class TestEventCopies(EventCase):
    """Copies of a database, made by Odoo itself: which of them publish, and what."""

    def setUp(self):
        super().setUp()
        # Allows what Odoo's database manager does.
        self.addCleanup(config.__setitem__, "list_db", config["list_db"])
        config["list_db"] = True
        self.bind()
        self.twin = f"{self.dbname[:55]}_twin"
        self.addCleanup(drop_database, self.twin)
        self.product_id = self.create_product()

    @contextmanager
    def _in_twin(self):
        with Registry(self.twin).cursor() as cr:
            yield api.Environment(cr, SUPERUSER_ID, {})

    def _duplicate(self, neutralize=False):
        # Nobody may be connected to a database that is copied.
        self.wait_until(lambda: bell.is_quiet, "the bell")
        with no_test_mode(), mute_logger("odoo.sql_db"):
            db.exp_duplicate_database(self.dbname, self.twin, neutralize_database=neutralize)

    def _relay_twin(self):
        run_bounded(self.twin, lambda _count, _more: float("inf"))

    def _read_states(self):
        with self._in_twin() as env:
            events = env["stock.event.outbox"].search([("channel_id", "=", self.channel_id)])
            return [(event.state, event.sequence) for event in events]

    def _append_in_twin(self):
        with self._in_twin() as env:
            env["stock.ledger.entry"]._append([self.prepare_entry(env, self.product_id)])

    def test_a_duplicate_publishes_when_told_to_and_in_its_own_name(self):
        self.append((self.product_id, "RECEIPT"))
        self._duplicate()
        self._append_in_twin()
        self._relay_twin()
        self.assertEqual(self.receive(), [])
        self.assertEqual([state for state, _sequence in self._read_states()], ["pending"] * 2)
        self.assertEqual(self.relay(), 1)
        [(properties, event)] = self.receive()
        with self._in_twin() as env:
            channel = self.get_channel(env)
            self.assertTrue(channel.is_copied_database)
            channel.action_adopt_database()
        self._relay_twin()
        of_twin = self.receive()
        self.assertEqual([body["sequence"] for _properties, body in of_twin], [1, 2])
        # Nobody takes the one's events for repeats of the other's.
        self.assertNotEqual(of_twin[0][1]["event_id"], event["event_id"])
        source = "cloudEvents_source"
        self.assertNotEqual(of_twin[0][0].headers[source], properties.headers[source])

    def test_a_neutralized_duplicate_never_publishes(self):
        self.append((self.product_id, "RECEIPT"))
        self._duplicate(neutralize=True)
        self._append_in_twin()
        # What was pending is left; the channel is inactive and gets nothing new.
        self.assertEqual(len(self._read_states()), 1)
        self._relay_twin()
        with self._in_twin() as env:
            self.get_channel(env).active = True
        self._relay_twin()
        self.assertEqual(self.receive(), [])
        self.assertEqual(self.relay(), 1)

    def test_a_restored_backup_repeats_what_was_pending_in_it(self):
        self.append(*[(self.product_id, "RECEIPT")] * 3)
        with self.committing() as env:
            # Two have their numbers, as when the relay is at work.
            env["stock.event.outbox"]._take(self.channel_id, 2)
        with tempfile.NamedTemporaryFile(suffix=".dump") as backup:
            db.dump_db(self.dbname, backup, backup_format="dump")
            backup.flush()
            self.assertEqual(self.relay(), 3)
            originals = self.receive()
            with no_test_mode():
                db.restore_db(self.twin, backup.name)
        with self._in_twin() as env:
            self.assertFalse(self.get_channel(env).is_copied_database)
        self._relay_twin()
        self.assertEqual(self.receive(), originals)
        self._append_in_twin()
        self._relay_twin()
        [event] = self.receive_events()
        self.assertEqual((event["sequence"], event["on_hand_after"]), (4, 4))

    def test_updating_keeps_events_and_uninstalling_leaves_nothing_but_stock(self):
        self.append(*[(self.product_id, "RECEIPT")] * 2)
        with self.committing() as env:
            env["stock.event.outbox"]._take(self.channel_id, 1)
        self._duplicate()
        before = self._read_states()
        self.assertEqual(before, [("pending", 1), ("pending", 0)])
        self._run_odoo("server", "--update=stock_event_ledger", "--stop-after-init")
        self.assertEqual(self._read_states(), before)
        script = AFTER_UNINSTALL.format(product_id=self.product_id, warehouse_id=self.warehouse_id)
        output = self._run_odoo("shell", script=script)
        self.assertIn("LEFT []\n", output)
        self.assertIn("STOCK 7.0\n", output)
        self.assertNotIn(" ERROR ", output)

    def _run_odoo(self, command, *options, script=""):
        """Run one of Odoo's commands on the copy; return what it says."""
        process = subprocess.run(
            [
                *(sys.executable, "-c", MAIN, "--addons-path=" + ",".join(config["addons_path"])),
                *(command, f"--config={config['config']}", f"--database={self.twin}", "--no-http"),
                *options,
            ],
            input=script,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.assertEqual(process.returncode, 0, process.stdout)
        return process.stdout
