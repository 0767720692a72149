from odoo.exceptions import AccessError
from odoo.fields import Domain
from odoo.tests import tagged

from .channel_common import ChannelCase


@tagged("post_install", "-at_install")
class TestEventMonitor(ChannelCase):
    def _age(self, seconds):
        """Let the channel's unconfirmed events be so old."""
        self.env.cr.flush()
        self.env.cr.execute(
            """ALTER TABLE stock_ledger_entry DISABLE TRIGGER USER;
            UPDATE stock_ledger_entry
               SET recorded_date = now() AT TIME ZONE 'UTC' - %s * INTERVAL '1 second';
            ALTER TABLE stock_ledger_entry ENABLE TRIGGER USER""",
            [seconds],
        )
        self.env.invalidate_all()

    def _get_alerts(self):
        self.env["stock.event.channel"]._check_alerts()
        return dict(self.channel.status_ids.alerts or {})

    def _get_notes(self):
        return " ".join(self.channel.activity_ids.mapped("note"))

    def test_lag_counts_and_rate(self):
        self.assertEqual(self.channel.lag_seconds, 0)
        self._receive(self.product, 5)
        self._receive(self.product, 1, destination=self.other_warehouse.lot_stock_id)
        self._age(100)
        self.assertGreaterEqual(self.channel.lag_seconds, 100)
        self.assertLess(self.channel.lag_seconds, 200)
        first, second = self._take()
        self.env.invalidate_all()
        self.assertGreaterEqual(self.channel.lag_seconds, 100)
        self._confirm([first])
        self._block(second)
        self.assertGreaterEqual(self.channel.lag_seconds, 100)
        self.assertEqual((self.channel.pending_count, self.channel.blocked_count), (0, 1))
        self.assertAlmostEqual(self.channel.rate, 1 / 60)
        self.assertEqual(self.channel.confirmed_count, 1)
        action = self.channel.action_open_blocked()
        self.assertEqual(self.outbox.search(action["domain"]).id, second.token)

    def test_lag_alert(self):
        self.channel.lag_alert_seconds = 60
        self._receive(self.product, 5)
        self.env.cr.flush()
        self.assertEqual(self._get_alerts(), {})
        self._age(100)
        alerts = self._get_alerts()
        self.assertEqual(list(alerts), ["lag"])
        [activity] = self.channel.activity_ids
        self.assertEqual(activity.user_id, self.channel.user_id)
        self.assertIn("waiting", activity.note)
        self.assertEqual(self._get_alerts(), alerts, "the same activity, not another one")
        self._confirm(self._take())
        self.assertEqual(self._get_alerts(), {})
        self.assertFalse(self.channel.activity_ids)
        self.assertIn("over", self.channel.message_ids[0].body)

    def test_who_has_done_an_activity_is_not_asked_again_for_the_same_trouble(self):
        self.channel.lag_alert_seconds = 60
        self._receive(self.product, 5)
        self._age(100)
        self._get_alerts()
        self.channel.activity_ids.action_feedback("I know")
        self._get_alerts()
        self.assertFalse(self.channel.activity_ids)

    def test_no_lag_alert_for_who_wants_none_or_has_paused(self):
        self._receive(self.product, 5)
        self._age(1000)
        self.channel.lag_alert_seconds = 0
        self.assertEqual(self._get_alerts(), {})
        self.channel.lag_alert_seconds = 10
        self.channel.action_pause()
        self.assertEqual(self._get_alerts(), {})
        self.channel.action_resume()
        self.assertEqual(list(self._get_alerts()), ["lag"])

    def test_blocked_alert(self):
        self.channel.lag_alert_seconds = 0
        self._receive(self.product, 5)
        [message] = self._take()
        self._block(message, refused=True)
        self.assertEqual(self._get_alerts(), {}, "a refused event is tried again by itself")
        self._block(message)
        self.assertEqual(list(self._get_alerts()), ["blocked"])
        self.assertIn("Retry or skip", self._get_notes())
        self.outbox.browse(message.token).action_retry()
        self.assertEqual(self._get_alerts(), {})

    def test_error_alert(self):
        status = self.env["stock.event.channel.status"]
        status._record_error(self.channel.id, "ACCESS_REFUSED <b>")
        self.env.invalidate_all()
        self.assertEqual(self._get_alerts(), {}, "it may pass")
        self.env.cr.execute(
            "UPDATE stock_event_channel_status SET error_date = error_date - INTERVAL '2 minutes'"
        )
        # Another failure of the same outage does not make it younger.
        status._record_error(self.channel.id, "ACCESS_REFUSED again <b>")
        self.env.invalidate_all()
        self.assertEqual(list(self._get_alerts()), ["error"])
        self.assertIn("ACCESS_REFUSED again &lt;b&gt;", self._get_notes())
        status._record_error(self.channel.id, None)
        self.env.invalidate_all()
        self.assertEqual(self._get_alerts(), {})
        self.assertFalse(self.channel.last_error)

    def test_worker_alert(self):
        workers = self.env["stock.event.worker"]
        self.assertEqual(self._get_alerts(), {}, "a site may do without a worker")
        workers._beat("host:1", is_leader=True)
        workers._beat("host:2", is_leader=False)
        self.assertEqual(self._get_alerts(), {})
        self._silence("host:1")
        self.assertEqual(self._get_alerts(), {}, "the other one takes over")
        self._silence("host:2")
        self.assertEqual(list(self._get_alerts()), ["worker"])
        workers._beat("host:2", is_leader=True)
        self.env.invalidate_all()
        self.assertEqual(self._get_alerts(), {})
        self._silence("host:2")
        self.assertEqual(list(self._get_alerts()), ["worker"])
        gone = workers.search([])
        self.assertEqual(gone.mapped("is_gone"), [True, True])
        with self.assertRaises(AccessError):
            gone.with_user(self.user).action_forget()
        gone.with_user(self.manager).action_forget()
        self.assertEqual(self._get_alerts(), {})

    def _silence(self, name):
        self.env.cr.execute(
            """UPDATE stock_event_worker
                  SET heartbeat_date = heartbeat_date - INTERVAL '61 seconds'
                WHERE name = %s""",
            [name],
        )
        self.env.invalidate_all()

    def test_a_worker_that_ends_in_order_is_not_missed(self):
        workers = self.env["stock.event.worker"]
        workers._beat("host:1", is_leader=True)
        self.assertEqual(self.channel.worker_heartbeat_date, workers.search([]).heartbeat_date)
        workers._forget("host:1")
        self.env.invalidate_all()
        self.assertFalse(workers.search([]))
        self.assertEqual(self._get_alerts(), {})

    def test_channels_show_who_publishes(self):
        workers = self.env["stock.event.worker"]
        self.assertFalse(self.channel.worker)
        workers._beat("host:1", is_leader=True)
        workers._beat("host:2", is_leader=False)
        self.env.invalidate_all()
        self.assertEqual(self.channel.worker, "host:1")
        # Killed: its row says that it leads until the next one does.
        self._silence("host:1")
        self.assertFalse(self.channel.worker)
        self.assertTrue(self.channel.worker_heartbeat_date)
        workers._beat("host:2", is_leader=True)
        self.env.invalidate_all()
        self.assertEqual(self.channel.worker, "host:2")

    def test_no_alerts_where_nothing_may_be_published(self):
        self.channel.lag_alert_seconds = 60
        self._receive(self.product, 5)
        self._age(100)
        self.env["ir.config_parameter"].set_param("database.is_neutralized", True)
        self.assertEqual(self._get_alerts(), {})
        self.env["ir.config_parameter"].set_param("database.is_neutralized", False)
        self.env["ir.config_parameter"].set_param("database.uuid", "a copy")
        self.assertEqual(self._get_alerts(), {})

    def test_the_scheduled_action_checks(self):
        self.channel.lag_alert_seconds = 60
        self._receive(self.product, 5)
        self._age(100)
        with self.enter_registry_test_mode():
            self.env.ref("stock_event_ledger.cron_check_alerts").method_direct_trigger()
        self.assertTrue(self.channel.activity_ids)

    def test_channels_with_an_error_are_found(self):
        self.env["stock.event.channel.status"]._record_error(self.channel.id, "down")
        self.env.invalidate_all()
        found = self.env["stock.event.channel"].search(Domain("last_error", "!=", False))
        self.assertEqual(found, self.channel)
