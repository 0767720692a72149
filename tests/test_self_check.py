from datetime import timedelta
from unittest.mock import patch

from odoo import fields
from odoo.tests import Form, new_test_user

from ..models import stock_ledger_self_check
from .channel_common import ChannelCase
from .reconciliation_common import ReconciliationCase


class TestSelfCheck(ReconciliationCase, ChannelCase):
    """What the settings page says of what the ledger relies on."""

    def _get_check(self, name):
        """Return whether a check, by the beginning of its name, is ok, and its text."""
        checks = self.env["stock.ledger.self.check"]._get_checks()
        [check] = [check for check in checks if check.name.startswith(name)]
        return check.is_ok, check.text

    def assertWarns(self, name, text):
        is_ok, found = self._get_check(name)
        self.assertFalse(is_ok)
        self.assertIn(text, found)

    def assertFine(self, name):
        is_ok, text = self._get_check(name)
        self.assertTrue(is_ok, text)

    def test_triggers(self):
        self.assertFine("Triggers")
        for table, name in (
            ("stock_ledger_entry", "stock_ledger_entry_feed_delta"),
            ("stock_ledger_entry", "stock_ledger_entry_no_change"),
            ("stock_ledger_archive", "stock_ledger_archive_finished"),
        ):
            self._execute(f"ALTER TABLE {table} DISABLE TRIGGER {name}")
            self.assertWarns("Triggers", name)
            self._execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")
            self.assertFine("Triggers")
        # Asleep under session_replication_role = replica.
        self._execute("ALTER TABLE stock_ledger_entry ENABLE TRIGGER stock_ledger_entry_no_change")
        self.assertWarns("Triggers", "stock_ledger_entry_no_change")
        self._execute("DROP TRIGGER stock_ledger_entry_no_change ON stock_ledger_entry")
        self.assertWarns("Triggers", "stock_ledger_entry_no_change")

    def test_they_are_made_again(self):
        self._execute("DROP TRIGGER stock_ledger_entry_no_change ON stock_ledger_entry")
        self._execute("ALTER TABLE stock_ledger_entry DISABLE TRIGGER USER")
        self.env["stock.ledger.entry"].init()
        self.assertFine("Triggers")

    def test_worker(self):
        workers = self.env["stock.event.worker"]
        workers.search([]).unlink()
        self.assertFine("Event worker")
        self.env.ref("stock_event_ledger.cron_relay").active = False
        self.assertWarns("Event worker", "inactive")
        workers._beat("host:1", is_leader=True)
        self.assertFine("Event worker")
        self._execute(
            "UPDATE stock_event_worker SET heartbeat_date = heartbeat_date - INTERVAL '1 hour'"
        )
        self.assertWarns("Event worker", "not been heard of")

    def test_channels(self):
        self.assertFine("Event channels")
        self._receive(self.product, 1)
        self._block(self._take()[0])
        self.assertWarns("Event channels", "Test: Of 1 products")
        self.channel.active = False
        self.assertFine("Event channels")

    def test_reconciliation(self):
        self.runs.search([]).started_date = "2020-01-01"
        self.assertWarns("Last clean", "Reconcile now")
        run = self._reconcile()
        self.assertFine("Last clean")
        self._receive(self.product, 1)
        quant = self._get_quants(self.product)
        self._execute("UPDATE stock_quant SET quantity = 3 WHERE id = %s", quant.id)
        self._reconcile()
        self.assertWarns("Last clean", "1 figures do not agree")
        self._correct(self._get_open(), "ledger")
        self.assertFine("Last clean")
        run.started_date = fields.Datetime.now() - timedelta(days=2)
        self.assertWarns("Last clean", "Reconcile now")

    def test_rollups(self):
        self.assertFine("Rollups")
        self._receive(self.product, 1)
        self.env["stock.ledger.entry"]._flush_buffer()
        with patch.object(stock_ledger_self_check, "MANY_DELTAS", 1):
            self.assertWarns("Rollups", "More than 1 changes")
            self._fold_all()
            self.assertFine("Rollups")

    def test_postgresql(self):
        for name, right, wrong in (
            ("synchronous_commit", "local", "off"),
            ("statement_timeout", "0", "60000"),
        ):
            self._execute(f"SET LOCAL {name} = {right}")
            self.assertFine(f"PostgreSQL: {name}")
            self._execute(f"SET LOCAL {name} = {wrong}")
            self.assertWarns(f"PostgreSQL: {name}", f"{wrong}. ")
            self._execute(f"SET LOCAL {name} = {right}")
        with patch.object(stock_ledger_self_check, "MUCH_USED", 0):
            self.assertWarns("PostgreSQL: connections", "raise max_connections")
        self.assertFine("PostgreSQL: connections")
        with patch.object(stock_ledger_self_check, "OLDEST_POSTGRESQL", 990000):
            checks = self.env["stock.ledger.self.check"]._get_checks()
            self.assertIn(("PostgreSQL", False), [check[:2] for check in checks])

    def test_page(self):
        user = new_test_user(
            self.env, "settings_user", groups="base.group_system,stock.group_stock_manager"
        )
        self._execute(
            "ALTER TABLE stock_ledger_entry DISABLE TRIGGER stock_ledger_entry_feed_delta"
        )
        page = Form(self.env["res.config.settings"].with_user(user)).stock_ledger_checks
        self.assertIn("stock_ledger_entry_feed_delta", page)
        self.assertIn("PostgreSQL: fsync", page)
