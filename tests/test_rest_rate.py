import time
import xmlrpc.client
from concurrent.futures import ThreadPoolExecutor

import psycopg2

from odoo import api
from odoo.exceptions import AccessError, ValidationError
from odoo.sql_db import db_connect
from odoo.tests import Form, new_test_user, tagged
from odoo.tools import mute_logger

from ..exceptions import RateLimitExceeded
from .rest_common import RestCase

PARAMETER = "stock_event_ledger.integration_rate"
SESSIONS = 8


@tagged("post_install", "-at_install")
class TestRestRate(RestCase):
    """How many calls a user may make, by all protocols together."""

    def setUp(self):
        super().setUp()
        self.service = self.env["stock.integration"].with_user(self.partner_user)
        self.rate = 600
        self.partner_user.stock_integration_rate = self.rate
        self._fill_bucket(0)
        self.addCleanup(self._forget_bucket, self.env.cr.dbname, self.partner_user.id)

    def _fill_bucket(self, seconds):
        """Have the bucket full again in so many seconds."""
        with db_connect(self.env.cr.dbname).cursor() as cr:
            cr.execute(
                """INSERT INTO stock_integration_bucket (user_id, full_at)
                   VALUES (%(user_id)s, now() + %(seconds)s * INTERVAL '1 second')
                       ON CONFLICT (user_id) DO UPDATE SET full_at = EXCLUDED.full_at""",
                {"user_id": self.partner_user.id, "seconds": seconds},
            )

    def _empty_bucket(self):
        # For longer than a test may take.
        self._fill_bucket(3600)

    # --- over the protocols

    def test_rest(self):
        response = self._get("availability?skus=REST-1")
        self.assertEqual(response.headers["RateLimit-Policy"], '"user";q=600;w=60')
        self.assertRegex(response.headers["RateLimit"], r'^"user";r=[0-9]+;t=[0-9]+$')
        self._empty_bucket()
        entry_id = self._get_last_entry_id()
        for send in (
            lambda: self._get("availability?skus=REST-1"),
            lambda: self._post("receipts", self._receipt(), "1"),
        ):
            response = send()
            problem = self.assertProblem(response, 429, "rate-limit-exceeded")
            self.assertIn("600", problem["detail"])
            self.assertGreater(int(response.headers["Retry-After"]), 3000)
            self.assertRegex(response.headers["RateLimit"], r'^"user";r=0;t=[0-9]+$')
        self.assertFalse(self._get_new_entries(entry_id))
        # The key was not used up.
        self._fill_bucket(0)
        response = self._post("receipts", self._receipt(), "1")
        self.assertEqual(response.json()["status"], "done")
        self.assertNotIn("Idempotency-Replayed", response.headers)

    def test_calls_that_fail_count(self):
        response = self._get("availability")
        self.assertProblem(response, 422, "invalid-input")
        self.assertIn("RateLimit", response.headers)

    def test_json2(self):
        def call():
            self.env.flush_all()
            return self.url_open(
                "/json/2/stock.integration/get_availability",
                json={"skus": ["REST-1"]},
                headers={"Authorization": f"Bearer {self.key}"},
                timeout=60,
            )

        response = call()
        self.assertEqual(response.status_code, 200)
        self.assertIn("RateLimit", response.headers)
        self._empty_bucket()
        with mute_logger("odoo.http"):
            response = call()
        self.assertEqual(response.status_code, 429)
        self.assertIn("600 calls", response.json()["message"])

    @mute_logger("odoo.addons.rpc.controllers.xmlrpc")
    def test_xmlrpc(self):
        def call():
            self.env.flush_all()
            return self.xmlrpc_object.execute_kw(
                self.env.cr.dbname,
                self.partner_user.id,
                self.key,
                "stock.integration",
                "get_availability",
                [["REST-1"]],
            )

        self.assertTrue(call()["availability"])
        self._empty_bucket()
        with self.assertRaisesRegex(xmlrpc.client.Fault, "600 calls"):
            call()

    def test_commands_from_a_queue_are_not_limited(self):
        self._empty_bucket()
        body = self._receipt()
        result = self.service._execute("receive", body, "1", protocol="amqp")
        self.assertEqual(result["status"], "done")
        with self.assertRaises(RateLimitExceeded):
            self.service._execute("receive", body, "2")

    def test_users_have_their_own(self):
        other = new_test_user(self.env, "rest_other", groups="stock_event_ledger.group_integration")
        self.addCleanup(self._forget_bucket, self.env.cr.dbname, other.id)
        self._empty_bucket()
        self.env["stock.integration"].with_user(other).get_availability(["REST-1"])
        with self.assertRaises(RateLimitExceeded):
            self.service.get_availability(["REST-1"])

    # --- the bucket

    def test_it_fills_again(self):
        # A minute's calls at most, however long there was none.
        self._fill_bucket(-3600)
        taken, seconds = self.service._take_from_bucket(600)
        self.assertTrue(taken)
        self.assertAlmostEqual(seconds, 0.1, places=3)
        # One is back: the sixtieth of a minute before a full minute.
        self._fill_bucket(59)
        self.assertTrue(self.service._take_from_bucket(60)[0])
        self._fill_bucket(120)
        taken, seconds = self.service._take_from_bucket(60)
        self.assertFalse(taken)
        self.assertGreater(seconds, 60)

    def test_sessions_at_once_get_what_there_is(self):
        """None waits for another's transaction, none is replayed, none is given too much."""
        user_id, rate, calls = self.partner_user.id, 30, 20
        self._forget_bucket(self.env.cr.dbname, user_id)
        registry = self.env.registry

        def take(_session):
            connection = db_connect(registry.db_name)
            with connection.cursor() as cr:
                # As a call does: a snapshot first, which it keeps.
                cr.execute("SELECT 1")
                service = api.Environment(cr, user_id, {})["stock.integration"]
                return sum(service._take_from_bucket(rate)[0] for _call in range(calls))

        before = time.monotonic()
        with ThreadPoolExecutor(SESSIONS) as executor:
            taken = sum(executor.map(take, range(SESSIONS)))
        came_back = (time.monotonic() - before) * rate / 60
        self.assertGreaterEqual(taken, min(rate, SESSIONS * calls))
        self.assertLessEqual(taken, rate + came_back + 1)

    def test_what_cannot_be_counted_is_allowed(self):
        def fail(*_args):
            raise psycopg2.OperationalError("the primary is away")

        self.patch(self.env.registry["stock.integration"], "_take_from_bucket", fail)
        with self.assertLogs("odoo.addons.stock_event_ledger", "WARNING"):
            self.assertTrue(self.service.get_availability(["REST-1"])["availability"])

    def test_full_buckets_are_forgotten(self):
        self._fill_bucket(-2 * 86400)
        self.env["stock.integration"]._gc_buckets()
        self.env.cr.execute(
            "SELECT FROM stock_integration_bucket WHERE user_id = %s", [self.partner_user.id]
        )
        self.assertFalse(self.env.cr.rowcount)

    # --- the limit

    def test_rate(self):
        self.assertEqual(self.service._get_rate(), 600)
        self.partner_user.stock_integration_rate = 0
        self.assertEqual(self.service._get_rate(), 600, "the default")
        self.env["res.config.settings"].create({"stock_integration_rate": 50}).execute()
        self.assertEqual(self.service._get_rate(), 50)
        self.partner_user.stock_integration_rate = 7
        self.assertEqual(self.service._get_rate(), 7)
        self.partner_user.stock_integration_rate = 0
        for value, rate in (("nonsense", 600), ("-5", 1)):
            self.env["ir.config_parameter"].set_param(PARAMETER, value)
            self.assertEqual(self.service._get_rate(), rate)

    def test_the_limit_is_on_the_form_of_partners_alone(self):
        with Form(self.partner_user, "base.view_users_form") as form:
            form.stock_integration_rate = 7
        self.assertEqual(self.partner_user.stock_integration_rate, 7)
        with Form(self.user, "base.view_users_form") as form, self.assertRaises(AssertionError):
            form.stock_integration_rate = 7

    def test_wrong_rates(self):
        with self.assertRaises(ValidationError):
            self.env["res.config.settings"].create({"stock_integration_rate": 0})
        with self.assertRaises(ValidationError):
            self.partner_user.stock_integration_rate = -1

    def test_partners_do_not_set_it(self):
        user = self.partner_user.with_user(self.partner_user)
        with self.assertRaises(AccessError):
            user.write({"stock_integration_rate": 10**6})
