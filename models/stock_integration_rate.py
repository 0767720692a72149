import logging
import math
from typing import NamedTuple

import psycopg2
from psycopg2.extensions import ISOLATION_LEVEL_READ_COMMITTED
from psycopg2.pool import PoolError

from odoo import api, models
from odoo.http import request
from odoo.sql_db import db_connect
from odoo.tools import SQL

from ..exceptions import RateLimitExceeded
from .res_config_settings import DEFAULT_INTEGRATION_RATE

_logger = logging.getLogger(__name__)

# What may be saved up, in seconds of the rate.
WINDOW_SECONDS = 60


class Allowance(NamedTuple):
    """What is left of a user's calls: how many, of how many, and when all are back."""

    rate: int
    remaining: int
    reset_seconds: float


class StockIntegration(models.AbstractModel):
    """How many calls a partner may make.

    A bucket per user holds as many calls as are allowed per minute and is filled again at
    that rate. All processes share it: it is a row in PostgreSQL, which holds nothing but
    the moment at which the bucket will be full again (the generic cell rate algorithm).
    """

    _inherit = "stock.integration"

    def init(self):
        """Make the table of the buckets. Unlogged: a crash may well fill all of them."""
        self.env.cr.execute(
            SQL(
                """CREATE UNLOGGED TABLE IF NOT EXISTS stock_integration_bucket (
                       user_id integer PRIMARY KEY,
                       full_at timestamptz NOT NULL
                   ) WITH (fillfactor = 50)"""
            )
        )
        return super().init()

    @api.model
    def _get_rate(self):
        """Return how many calls per minute the user may make."""
        # sudo: partners read neither parameters nor what is set for them, but are bound by it.
        user = self.env.user.sudo()
        if user.stock_integration_rate > 0:
            return user.stock_integration_rate
        rate = user.env["ir.config_parameter"].get_param(
            "stock_event_ledger.integration_rate", DEFAULT_INTEGRATION_RATE
        )
        try:
            return max(int(rate), 1)
        except ValueError:
            return DEFAULT_INTEGRATION_RATE

    @api.model
    def _execute(self, operation, body, idempotency_key=None, protocol="rpc"):
        # Commands have been accepted already when they come here, from a queue.
        if protocol != "amqp":
            self._take_token()
        return super()._execute(operation, body, idempotency_key, protocol)

    @api.model
    def _take_token(self):
        """Take one of the calls that the user may make.

        :return: the Allowance that is left, or None where it cannot be told
        :raise RateLimitExceeded: when there was none left
        """
        rate = self._get_rate()
        try:
            is_taken, seconds = self._take_from_bucket(rate)
        except (psycopg2.Error, PoolError):
            # What cannot be counted is allowed: reads may come to a replica while the
            # primary is away.
            _logger.warning("A call of user %s was not counted.", self.env.uid, exc_info=True)
            return None
        remaining = int((WINDOW_SECONDS - seconds) * rate / WINDOW_SECONDS)
        allowance = Allowance(rate, max(remaining, 0), max(seconds, 0))
        self._tell_allowance(allowance)
        if is_taken:
            return allowance
        raise RateLimitExceeded(
            self.env._(
                "You may make %s calls per minute, and have made all of them. "
                "Wait a moment, and send the call again.",
                rate,
            ),
            max(seconds + WINDOW_SECONDS / rate - WINDOW_SECONDS, 0),
        )

    @api.model
    def _tell_allowance(self, allowance):
        """Tell an HTTP client what is left, as in the IETF's draft on RateLimit fields."""
        if not request:
            return
        headers = request.future_response.headers
        headers.set("RateLimit-Policy", f'"user";q={allowance.rate};w={WINDOW_SECONDS}')
        reset = math.ceil(allowance.reset_seconds)
        headers.set("RateLimit", f'"user";r={allowance.remaining};t={reset}')

    @api.model
    def _take_from_bucket(self, rate):
        """Take a call from the user's bucket.

        In a transaction of its own, on a connection of its own: in the caller's, calls at
        the same time would wait for each other's ends and then be replayed, and the call
        that fails would cost nothing. With read committed, they wait for each other's
        commit at most, which without write-ahead log is no wait.

        :return: whether one was taken, and in how many seconds the bucket is full
        """
        with db_connect(self.env.cr.dbname).cursor() as cr:
            cr.connection.set_isolation_level(ISOLATION_LEVEL_READ_COMMITTED)
            cr.execute(self._query_take(rate))
            is_taken = bool(cr.rowcount)
            if not is_taken:
                cr.execute(self._query_peek())
            [seconds] = cr.fetchone()
        return is_taken, seconds

    @api.model
    def _query_take(self, rate):
        """Return the query that takes a call and has a row, if there is one to take."""
        return SQL(
            """
            INSERT INTO stock_integration_bucket AS b (user_id, full_at)
            VALUES (%(user_id)s, statement_timestamp() + %(call)s)
                ON CONFLICT (user_id) DO UPDATE
               SET full_at = GREATEST(b.full_at, statement_timestamp()) + %(call)s
             WHERE b.full_at <= statement_timestamp() + %(window)s - %(call)s
            RETURNING EXTRACT(EPOCH FROM full_at - statement_timestamp())::float
            """,
            user_id=self.env.uid,
            call=SQL("%s * INTERVAL '1 second'", WINDOW_SECONDS / rate),
            window=SQL("%s * INTERVAL '1 second'", WINDOW_SECONDS),
        )

    @api.model
    def _query_peek(self):
        return SQL(
            """
            SELECT EXTRACT(EPOCH FROM full_at - statement_timestamp())::float
              FROM stock_integration_bucket
             WHERE user_id = %s
            """,
            self.env.uid,
        )

    @api.autovacuum
    def _gc_buckets(self):
        """Forget the buckets that have been full for long."""
        self.env.cr.execute(
            SQL("DELETE FROM stock_integration_bucket WHERE full_at < now() - INTERVAL '1 day'")
        )
