from datetime import timedelta

from odoo import Command, fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import new_test_user
from odoo.tools import mute_logger

from ..models.stock_ledger_drift_correction import WAYS_BY_KIND
from .reconciliation_common import ReconciliationCase

CORRECTION_LOGGER = "odoo.addons.stock_event_ledger.models.stock_ledger_drift_correction"


class TestReconciliationRuns(ReconciliationCase):
    """Who is told, who may do what, and what happens by itself."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["mail.activity"].search([("res_model", "=", cls.runs._name)]).unlink()
        cls._receive(cls.product, 10)
        cls._fold_all()

    def _set(self, name, value):
        self.env["ir.config_parameter"].set_param(f"stock_event_ledger.{name}", value)

    def _change_quant(self, by=1, product=None):
        quant = self._get_quants(product or self.product)
        self._execute("UPDATE stock_quant SET quantity = quantity + %s WHERE id = %s", by, quant.id)

    # --- alerts

    def test_alert(self):
        self._set("reconciliation_user_id", self.manager.id)
        self._reconcile()
        self.assertFalse(self.runs._get_open_alerts())
        self._change_quant()
        run = self._reconcile()
        alert = self.runs._get_open_alerts()
        self.assertEqual((alert.user_id, alert.res_id), (self.manager, run.id))
        self._change_quant(product=self.product)
        self._reconcile()
        self.assertEqual(self.runs._get_open_alerts(), alert, "somebody knows already")
        self._reconcile(product_ids=(self.lot_product.id,))
        self.assertTrue(alert.exists(), "clean, where nobody said that it is not")
        self._correct(self._get_open(), "ledger")
        self.assertTrue(alert.exists())
        self.assertClean()
        self.assertFalse(self.runs._get_open_alerts())

    def test_who_has_done_the_activity_is_not_asked_again_for_the_same_drift(self):
        self._change_quant()
        self._reconcile()
        alert = self.runs._get_open_alerts()
        self.assertEqual(alert.user_id, self.env.ref("base.user_admin"))
        alert.action_feedback("I know")
        self._reconcile()
        self.assertFalse(self.runs._get_open_alerts())
        self._change_quant(by=-1)
        self._reconcile()
        self._change_quant()
        self._reconcile()
        self.assertTrue(self.runs._get_open_alerts(), "it is there again")

    @mute_logger("odoo.addons.stock_event_ledger.models.stock_ledger_reconciliation")
    def test_a_run_that_fails(self):
        self._change_quant()
        self._reconcile()
        known = self._get_open()
        self.runs._get_open_alerts().unlink()

        def fail(*_args):
            raise ValueError("broken")

        self.patch(type(self.runs), "_check_events", fail)
        run = self.runs._reconcile()
        self.assertEqual((run.state, run.error), ("failed", "broken"))
        self.assertEqual(self._get_open(), known, "nothing is known of them")
        self.assertIn("failed", self.runs._get_open_alerts().summary)

    def test_no_alert_from_a_neutralized_database(self):
        self.env["ir.config_parameter"].set_param("database.is_neutralized", True)
        self._change_quant()
        self._reconcile()
        self.assertFalse(self.runs._get_open_alerts())

    # --- the scheduled actions

    def _run_cron(self, name="cron_reconcile"):
        with self.enter_registry_test_mode():
            self.env.ref(f"stock_event_ledger.{name}").method_direct_trigger()
        self.env["stock.ledger.entry"]._flush_buffer()
        self.env.invalidate_all()
        return self.runs.search([], limit=1)

    def test_scheduled_actions_report_only(self):
        self._change_quant()
        self.assertFalse(self._run_cron("cron_reconcile_balances").is_full)
        run = self._run_cron()
        self.assertTrue(run.is_full)
        self.assertEqual(self._get_open().run_id, run)

    def test_policies(self):
        self._set("drift_policy_on_hand", "quants")
        self._set("drift_policy_reservation", "lines")
        self._set("drift_policy_rollup", "rollup")
        delivery = self._create_picking("out", {self.product: 4})
        delivery.action_confirm()
        self._receive(self.lot_product, 1, lots=self._create_lot(self.lot_product, "RECOUNTED"))
        self._change_quant(by=3)
        self._change_quant(by=1, product=self.lot_product)
        self._get_quants(self.lot_product).inventory_quantity = 5
        self._execute("DELETE FROM stock_move_line WHERE move_id = %s", delivery.move_ids.id)
        self._execute(
            "UPDATE stock_ledger_balance SET quantity = 0 WHERE product_id = %s", self.product.id
        )
        with self.assertLogs(CORRECTION_LOGGER, "WARNING"):
            self._run_cron()
        self.assertEqual(self._get_quants(self.product).quantity, 10)
        self.assertEqual(self._get_quants(self.product).reserved_quantity, 0)
        self.assertEqual(self._get_open().product_id, self.lot_product, "somebody is counting it")
        corrected = self.drifts.search([("state", "=", "corrected")])
        self.assertEqual(set(corrected.mapped("reason")), {"By policy"})
        self._get_quants(self.lot_product).action_clear_inventory_quantity()
        self._run_cron()
        self.assertClean()

    def test_settings_offer_what_can_be_done(self):
        fields_ = self.env["res.config.settings"]._fields
        for kind, ways in WAYS_BY_KIND.items():
            field = fields_.get(f"stock_drift_policy_{kind}")
            if field:
                self.assertCountEqual([way for way, _label in field.selection], ways)
                self._set(f"drift_policy_{kind}", "nonsense")
            self.assertFalse(self.drifts._get_policy(kind))

    def test_old_runs_are_deleted(self):
        self._set("reconciliation_keep_days", "10")
        old = fields.Datetime.now() - timedelta(days=11)
        clean = self._reconcile()
        self._change_quant()
        found = self._reconcile()
        self._reconcile()
        self._correct(self._get_open(), "ledger")
        self._change_quant()
        still_open = self._reconcile()
        self.runs.search([]).started_date = old
        recent = self._reconcile()
        self.runs._gc_old()
        self.assertFalse(found.exists())
        self.assertEqual(self.runs.search([]), recent | still_open | clean)
        self.assertEqual(self.drifts.search([]), self._get_open())

    # --- corrections

    def test_a_drift_that_has_changed_is_refused(self):
        self._change_quant()
        self._reconcile()
        drift = self._get_open()
        self._change_quant()
        for way in ("ledger", "quants"):
            with self.assertRaisesRegex(UserError, "has changed: the difference is 2.0 now"):
                self._correct(drift, way)
        self._receive(self.product, 2)
        self._reconcile()
        self._receive(self.product, 2)
        self._correct(drift, "ledger")
        with self.assertRaisesRegex(UserError, "not open any more"):
            self._correct(drift, "ledger")
        self.assertClean()

    def test_what_cannot_be_corrected_so(self):
        self._change_quant()
        self._execute(
            "UPDATE stock_quant SET quantity = quantity + 1 WHERE product_id = %s "
            "AND location_id = %s",
            self.product.id,
            self.suppliers.id,
        )
        self._reconcile()
        here, there = self._get_open().sorted(lambda drift: drift.location_id != self.stock)
        for way in ("lines", "rollup"):
            with self.assertRaisesRegex(UserError, "What can be done: The ledger follows"):
                self._correct(here, way)
        with self.assertRaisesRegex(UserError, "nothing to count"):
            self._correct(there, "quants")
        self._get_quants(self.product).inventory_quantity = 5
        with self.assertRaisesRegex(UserError, "entered a count"):
            self._correct(here, "quants")
        self._correct(here | there, "ledger")
        self.assertClean()

    def test_all_or_nothing(self):
        self._change_quant()
        self._reconcile()
        drift = self._get_open()
        self._execute(
            "UPDATE stock_quant SET reserved_quantity = 3 WHERE product_id = %s "
            "AND location_id = %s",
            self.product.id,
            self.stock.id,
        )
        self._reconcile()
        with self.assertRaises(UserError):
            self._correct(self._get_open(), "ledger")
        self.assertEqual(drift.state, "open")

    def test_corrections_are_events(self):
        self.env["stock.event.channel"].search([]).active = False
        channel = self.env["stock.event.channel"].create(
            {"name": "Test", "code": "corrections", "active": True}
        )
        self._change_quant(by=3)
        self._reconcile()
        self._correct(self._get_open(), "quants")
        events = self.env["stock.event.outbox"].search([("channel_id", "=", channel.id)])
        self.assertEqual(
            [(event.event_type, event.quantity) for event in events],
            [("DRIFT_FOUND", 0), ("CORRECTION", 3), ("ADJUSTMENT", -3), ("DRIFT_CLEARED", 0)],
        )

    # --- events

    def test_events(self):
        self.env["stock.event.channel"].search([]).active = False
        channel = self.env["stock.event.channel"].create(
            {"name": "Test", "code": "numbers", "active": True}
        )
        outbox = self.env["stock.event.outbox"]
        for _number in range(4):
            self._receive(self.product, 1)
        self.env["stock.ledger.entry"]._flush_buffer()
        outbox._take(channel.id, 100)
        self._receive(self.product, 1)
        self.assertClean()
        events = outbox.search([("channel_id", "=", channel.id), ("sequence", ">", 0)])
        self._execute(
            "UPDATE stock_event_outbox SET state = 'confirmed', "
            "confirmed_date = now() - %s * INTERVAL '1 day' WHERE id = %s",
            outbox._get_keep_days() + 1,
            events[0].id,
        )
        events[0].unlink()
        self.assertClean()
        self._execute("DELETE FROM stock_event_outbox WHERE id = %s", events[2].id)
        self._execute(
            "UPDATE stock_event_outbox SET entry_id = 2000000000 WHERE id = %s", events[3].id
        )
        self._reconcile()
        found = {drift.figure: drift.difference for drift in self._get_open()}
        self.assertEqual(found, {"sequence": 1, "entry": 1})
        self.assertEqual(self._get_open().channel_id, channel)
        with self.assertRaisesRegex(UserError, "who has changed the table"):
            self._correct(self._get_open(), "ledger")

    # --- archives

    def test_archived_months(self):
        """What an archive has taken is compared no more, and what follows it is."""
        lot = self._create_lot(self.lot_product, "ARCHIVED")
        for product, lots in ((self.product, ()), (self.lot_product, lot)):
            for date in ("2023-01-10 12:00:00", "2023-02-20 12:00:00", "2023-03-10 12:00:00"):
                self._receive(product, 3, lots=lots).move_ids.date = date
        self._fold_all()
        self.assertClean()
        self.manager.company_ids = self.env["res.company"].search([])
        archives = self.env["stock.ledger.archive"].with_user(self.manager)
        wizard = self.env["stock.ledger.archive.wizard"].with_user(self.manager)
        wizard.create({"month": "2023-02-01"}).action_archive()
        for archive in archives.search([], order="month"):
            archive._try_archive()
            self.assertEqual(archive.state, "done", archive.error)
        self.assertClean()
        self.assertClean(is_full=False)
        self._execute(
            "UPDATE stock_ledger_closing SET quantity = quantity + 1 "
            "WHERE product_id = %s AND location_id = %s AND date = '2023-03-08'",
            self.product.id,
            self.stock.id,
        )
        self._reconcile()
        self.assertEqual(set(self._get_open().mapped("rollup")), {"stock.ledger.closing"})
        self._correct(self._get_open(), "rollup")
        self._change_quant()
        self._reconcile()
        self._correct(self._get_open(), "ledger")
        self.assertClean()

    # --- who may do what

    def test_access(self):
        self._change_quant()
        self._reconcile()
        drift = self._get_open()
        drift.with_user(self.user).read(["kind", "difference", "entry_ids", "quant_ids"])
        self.runs.with_user(self.user).search([]).read(["state", "drift_count"])
        for name in ("stock.ledger.reconcile", "stock.ledger.correction"):
            with self.assertRaises(AccessError):
                self.env[name].with_user(self.user).create({})
        for user in (self.user, self.manager):
            for record in (drift, drift.run_id):
                with self.assertRaises(AccessError):
                    record.with_user(user).write({"state": "clean"})
                with self.assertRaises(AccessError):
                    record.with_user(user).unlink()
            with self.assertRaises(AccessError):
                self.drifts.with_user(user).create({})
        outsider = new_test_user(self.env, "outsider", groups="base.group_user")
        with self.assertRaises(AccessError):
            drift.with_user(outsider).read(["kind"])

    def test_wizard(self):
        self._change_quant()
        wizard = self.env["stock.ledger.reconcile"].with_user(self.manager).create({})
        action = wizard.action_reconcile()
        run = self.runs.browse(action["res_id"])
        self.assertEqual((run.user_id, run.state, run.is_full), (self.manager, "drift", True))
        correction = (
            self.env["stock.ledger.correction"]
            .with_user(self.manager)
            .create({"drift_ids": self._get_open().ids, "reason": "Default"})
        )
        self.assertEqual(correction.way, "ledger")
        wizard.write({"product_ids": self.lot_product.ids, "warehouse_ids": self.warehouse.ids})
        run = self.runs.browse(wizard.action_reconcile()["res_id"])
        self.assertEqual(run.state, "clean")
        self.assertIn(self.lot_product.display_name, run.scope)

    def test_companies(self):
        company = self.env["res.company"].create({"name": "Other Company"})
        manager = new_test_user(
            self.env,
            "manager_of_other_company",
            groups="stock.group_stock_manager",
            company_id=company.id,
            company_ids=[Command.set(company.ids)],
        )
        warehouse = self.env["stock.warehouse"].search([("company_id", "=", company.id)], limit=1)
        self.env["stock.quant"]._update_available_quantity(self.product, warehouse.lot_stock_id, 5)
        self._change_quant()
        wizard = self.env["stock.ledger.reconcile"].with_user(manager).create({})
        run = self.runs.browse(wizard.action_reconcile()["res_id"])
        self.assertEqual((run.state, run.company_ids), ("clean", company))
        everything = self._reconcile()
        drift = self._get_open()
        self.assertEqual(drift.company_id, self.env.company)
        runs = self.runs.with_user(manager).search([("id", ">=", run.id)])
        self.assertEqual(runs.ids, (everything | run).ids)
        self.assertNotIn(run, self.runs.with_user(self.manager).search([]))
        self.assertFalse(self.drifts.with_user(manager).search([]))
        with self.assertRaises(AccessError):
            self.env["stock.ledger.correction"].with_user(manager).create(
                {"drift_ids": drift.ids, "way": "ledger", "reason": "Not mine"}
            ).action_correct()
        other = self.env["stock.quant"].search(
            [("product_id", "=", self.product.id), ("company_id", "=", company.id)]
        )
        self._execute("UPDATE stock_quant SET quantity = 9 WHERE id = %s", other.id)
        wizard.action_reconcile()
        self.env["stock.ledger.correction"].with_user(manager).create(
            {
                "drift_ids": self.drifts.with_user(manager).search([]).ids,
                "way": "quants",
                "reason": "Mine",
            }
        ).action_correct()
        self.env.invalidate_all()
        self.assertEqual(other.quantity, 5)
        self._correct(drift, "ledger")
        self.assertClean()
