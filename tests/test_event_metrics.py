from datetime import timedelta

from prometheus_client.parser import text_string_to_metric_families

from odoo import Command, fields
from odoo.tests import HttpCase, new_test_user, tagged
from odoo.tools import SQL

from .test_event_channel import ChannelCase

PATH = "/stock_event_ledger/metrics"
PREFIX = "stock_event_ledger_"


@tagged("post_install", "-at_install")
class TestEventMetrics(HttpCase, ChannelCase):
    """What Prometheus gets, over HTTP."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["stock.event.worker"].search([]).unlink()
        # The figures are of all companies, whatever the user's are.
        company = cls.env["res.company"].create({"name": "Of the Manager"})
        cls.metrics_manager = new_test_user(
            cls.env,
            "metrics_manager",
            groups="stock.group_stock_manager",
            company_id=company.id,
            company_ids=[Command.set(company.ids)],
        )

    @classmethod
    def _create_key(cls, user):
        keys = cls.env["res.users.apikeys"].with_user(user)
        return keys._generate("rpc", "Prometheus", fields.Datetime.now() + timedelta(days=1))

    def _get(self, key=None):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.env.flush_all()
        return self.url_open(PATH, headers=headers)

    def _scrape(self):
        """Return the values by name and labels, which are in the order of their names."""
        response = self._get(self._create_key(self.metrics_manager))
        self.assertEqual(response.status_code, 200)
        self.assertEqual(
            response.headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8"
        )
        self.assertNotIn("Set-Cookie", response.headers)
        families = list(text_string_to_metric_families(response.text))
        names = [family.name for family in families]
        self.assertEqual(len(names), len(set(names)))
        for family in families:
            self.assertTrue(family.name.startswith(PREFIX), family.name)
            self.assertTrue(family.documentation.endswith("."), family.name)
        return {
            (sample.name.removeprefix(PREFIX), *sample.labels.values()): sample.value
            for family in families
            for sample in family.samples
        }

    def _read(self, name, *label_values):
        return self._scrape().get((name, *label_values))

    # --- who gets them

    def test_without_a_key(self):
        response = self._get()
        self.assertEqual(response.status_code, 401)
        self.assertNotIn(PREFIX, response.text)

    def test_with_a_wrong_key(self):
        response = self._get("0123456789abcdef" * 3)
        self.assertEqual(response.status_code, 401)
        self.assertNotIn(PREFIX, response.text)

    def test_with_the_key_of_somebody_who_may_not_configure_channels(self):
        response = self._get(self._create_key(self.user))
        self.assertEqual(response.status_code, 403)
        self.assertNotIn(PREFIX, response.text)

    # --- what they are

    def test_events_of_several_channels(self):
        other = self.channel.copy({"name": "Other", "code": "other", "active": True})
        self._receive(self.product, 5)
        [first] = self._take()
        self._confirm([first])
        self._receive(self.product, 1)
        self._receive(self.product, 1)
        blocked, _behind = self._take()
        self._block(blocked)
        self._take()
        self._receive(self.product, 1)
        self.env.cr.flush()
        values = self._scrape()
        for channel, counts in (
            ("test", {"pending": 1, "waiting": 1, "blocked": 1}),
            ("other", {"pending": 4, "waiting": 0, "blocked": 0}),
        ):
            for state, count in counts.items():
                self.assertEqual(values["events", channel, state], count, (channel, state))
        self.assertEqual(values["confirmed_events_total", "test"], 1)
        self.assertEqual(values["confirmed_events_total", other.code], 0)
        confirmed = self.channel.last_confirm_date - fields.Datetime.to_datetime("1970-01-01")
        self.assertEqual(
            values["last_confirm_timestamp_seconds", "test"], confirmed.total_seconds()
        )
        self.assertNotIn(("last_confirm_timestamp_seconds", "other"), values)

    def test_lag(self):
        self.assertEqual(self._read("lag_seconds", "test"), 0)
        self._receive(self.product, 5)
        self.env.cr.flush()
        self.patch(
            type(self.channel),
            "_compute_lag_seconds",
            lambda channels: channels.update({"lag_seconds": 90}),
        )
        self.assertEqual(self._read("lag_seconds", "test"), 90)

    def test_state_of_channels(self):
        def read(values):
            return [values["channel_" + name, "test"] for name in ("up", "active", "paused")]

        status = self.env["stock.event.channel.status"]
        self.assertEqual(read(self._scrape()), [1, 1, 0])
        status._record_error(self.channel.id, "ACCESS_REFUSED")
        self.assertEqual(read(self._scrape()), [0, 1, 0])
        status._record_error(self.channel.id, None)
        self.channel.action_pause()
        self.assertEqual(read(self._scrape()), [0, 1, 1])
        self.channel.action_resume()
        self.channel.database_uuid = "another"
        self.assertEqual(read(self._scrape()), [0, 1, 0], "a copied database publishes nothing")
        self.channel.action_adopt_database()
        self.assertEqual(read(self._scrape()), [1, 1, 0])
        self.env["ir.config_parameter"].set_param("database.is_neutralized", True)
        self.assertEqual(read(self._scrape()), [0, 1, 0])
        self.channel.active = False
        self.assertEqual(read(self._scrape()), [0, 0, 0])

    def test_alerts(self):
        self.env["stock.event.channel.status"]._record_error(self.channel.id, None)
        self.channel.status_ids.alerts = {"lag": 1, "blocked": 2}
        values = self._scrape()
        alerts = {key[1:]: value for key, value in values.items() if key[0] == "open_alerts"}
        self.assertEqual(alerts, {("lag", "test"): 1, ("blocked", "test"): 1})

    def test_workers(self):
        values = self._scrape()
        self.assertEqual(values["workers",], 0)
        self.assertNotIn(("leader_heartbeat_timestamp_seconds",), values)
        workers = self.env["stock.event.worker"]
        workers._beat("host:1", is_leader=True)
        workers._beat("host:2", is_leader=False)
        workers._beat("host:3", is_leader=False)
        self.env.cr.execute(
            """UPDATE stock_event_worker SET heartbeat_date = '2026-01-02 03:04:05'
                WHERE name IN ('host:1', 'host:3')"""
        )
        values = self._scrape()
        self.assertEqual(values["workers",], 1)
        self.assertEqual(values["leader_heartbeat_timestamp_seconds",], 1767323045)

    def test_backlogs(self):
        before = self._scrape()
        self._receive(self.product, 5)
        picking = self._create_picking("out", {self.product: 3})
        picking.action_confirm()
        picking.do_unreserve()
        picking.move_ids._queue_reservation()
        self.env.cr.flush()
        after = self._scrape()
        self.assertGreater(after["unfolded_deltas",], before["unfolded_deltas",])
        self.assertEqual(after["queued_reservations",], before["queued_reservations",] + 1)

    def test_reconciliation(self):
        values = self._scrape()
        self.assertNotIn(("last_clean_reconciliation_timestamp_seconds",), values)
        runs = self.env["stock.ledger.reconciliation"]
        clean = runs._reconcile()
        self._receive(self.product, 5)
        self.env.cr.flush()
        self.env.cr.execute(
            "UPDATE stock_quant SET quantity = 6 WHERE product_id = %s AND quantity = 5",
            [self.product.id],
        )
        self.env.invalidate_all()
        runs._reconcile()
        values = self._scrape()
        self.assertEqual(
            (values["open_drifts", "on_hand"], values["open_drifts", "rollup"]), (1, 0)
        )
        date = clean.started_date - fields.Datetime.to_datetime("1970-01-01")
        self.assertEqual(
            values["last_clean_reconciliation_timestamp_seconds",], date.total_seconds()
        )

    def test_without_channels(self):
        self.env["stock.event.channel"].with_context(active_test=False).search([]).unlink()
        values = self._scrape()
        self.assertEqual(
            {name for name, *_labels in values},
            {
                *("workers", "unfolded_deltas", "queued_reservations"),
                *("low_stock_thresholds", "open_drifts"),
            },
        )

    def test_queries_do_not_grow_with_channels_and_events(self):
        metrics = self.env["stock.event.metrics"]

        def count_queries():
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            metrics._export()
            return self.env.cr.sql_log_count - before

        count_queries()
        few = count_queries()
        for number in range(3):
            self.channel.copy({"code": f"copy_{number}", "active": True})
        for _number in range(5):
            self._receive(self.product, 1)
        self._confirm(self._take())
        self.assertEqual(count_queries(), few)
        self.assertLess(few, 20)

    def test_what_is_confirmed_is_not_counted_row_by_row(self):
        """The counts are read from an index of what is not confirmed."""
        query = self.outbox._search(
            [("channel_id", "in", self.channel.ids), ("state", "!=", "confirmed")]
        ).select()
        self.env.cr.execute("SET LOCAL enable_seqscan = off")
        plan = self.env.execute_query(SQL("EXPLAIN %s", query))
        self.assertIn("stock_event_outbox_unconfirmed_key_idx", str(plan))
