from odoo import api, fields, models, modules
from odoo.exceptions import AccessError, UserError
from odoo.http import request
from odoo.tools import SQL, config, str2bool

from ..fields import HistoricalMany2one
from ..relay.bell import bell
from ..relay.leader import NOTIFY_CHANNEL
from ..relay.relay import run_bounded

RUNG = "stock_event_ledger.bell_rung"
DEFAULT_KEEP_DAYS = 30
CLEAN_UP_BATCH = 10_000


class StockEventOutbox(models.Model):
    """The events of the channels: what is to be sent, and for some time what was.

    A row is written with its ledger entry, numbered by the relay, and kept for a while
    after the broker has confirmed the message. Rows have these states:

    - pending: to be sent;
    - blocked: could not be delivered; it stops its key until someone retries or skips
      it, or until its retry date;
    - waiting: behind a blocked row of its key;
    - confirmed: the broker has it.
    """

    _name = "stock.event.outbox"
    _description = "Stock Event"
    _inherit = ["stock.historical.mixin"]
    _order = "id"
    _rec_name = "entry_id"
    _log_access = False

    channel_id = HistoricalMany2one("stock.event.channel", required=True, readonly=True)
    entry_id = HistoricalMany2one("stock.ledger.entry", required=True, readonly=True)
    company_id = HistoricalMany2one("res.company", readonly=True)
    warehouse_id = HistoricalMany2one("stock.warehouse", readonly=True)
    product_id = HistoricalMany2one("product.product", required=True, readonly=True)
    sequence = fields.Integer(readonly=True, help="Number of the event in its key")
    on_hand_after = fields.Float(digits="Product Unit", readonly=True)
    reserved_after = fields.Float(digits="Product Unit", readonly=True)
    state = fields.Selection(
        [
            ("pending", "Pending"),
            ("waiting", "Waiting"),
            ("blocked", "Blocked"),
            ("confirmed", "Confirmed"),
        ],
        required=True,
        readonly=True,
    )
    confirmed_date = fields.Datetime("Confirmed", readonly=True)
    is_replay = fields.Boolean(
        "Replay", required=True, default=False, readonly=True, help="Sent again by request"
    )
    is_skipped = fields.Boolean(
        "Skipped",
        required=True,
        default=False,
        readonly=True,
        help="A GAP event takes the place of this one, which could not be delivered.",
    )
    attempts = fields.Integer(required=True, readonly=True)
    error = fields.Char(readonly=True)
    retry_date = fields.Datetime("Next Try", readonly=True)
    event_type = fields.Selection(related="entry_id.event_type")
    quantity = fields.Float(related="entry_id.quantity")
    reserved_quantity = fields.Float(related="entry_id.reserved_quantity")
    reference = fields.Char(related="entry_id.reference")
    recorded_date = fields.Datetime(related="entry_id.recorded_date")
    waiting_count = fields.Integer(
        "Waiting Behind",
        compute="_compute_waiting_count",
        help="Events of the same product, warehouse and company that wait for this one",
    )

    # The relay's reading order. A numbered row comes before those that are not, even
    # if its id is higher: ids do not commit in order, numbers are given in order.
    _live_idx = models.Index("(channel_id, sequence, id) WHERE state = 'pending' AND NOT is_replay")
    _replay_idx = models.Index("(channel_id, id) WHERE state = 'pending' AND is_replay")
    # Serves what waits behind a blocked row, and the figures of a key.
    _unconfirmed_key_idx = models.Index("(channel_id, product_id) WHERE state <> 'confirmed'")
    _blocked_idx = models.Index("(channel_id) WHERE state = 'blocked'")
    # Serves a channel's rate and the clean-up.
    _confirmed_idx = models.Index("(channel_id, confirmed_date) WHERE state = 'confirmed'")
    # Serves a ledger entry's events.
    _entry_idx = models.Index("(entry_id)")

    def _compute_waiting_count(self):
        rows = self.env.execute_query(self._query_waiting_counts())
        counts = dict(rows)
        for event in self:
            event.waiting_count = counts.get(event.id, 0)

    def _query_waiting_counts(self):
        return SQL(
            """SELECT b.id, COUNT(*)
                 FROM stock_event_outbox b
                 JOIN stock_event_outbox w
                   ON w.channel_id = b.channel_id AND w.state = 'waiting' AND %s
                WHERE b.id = ANY(%s) AND b.state = 'blocked'
                GROUP BY b.id""",
            self.env["stock.event.key"]._query_same_key("w", "b"),
            self.ids,
        )

    @api.model
    def _prepare_events_action(self, domain):
        """Return the window action of some events, confirmed ones included.

        :param domain: which ones
        """
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "stock_event_ledger.stock_event_outbox_action"
        )
        return {**action, "domain": list(domain), "context": {}}

    # --- writing, in the transaction that changes stock

    @api.model
    def _enqueue(self, entry_ids):
        """Queue new ledger entries for each active channel, and wake the relay.

        One statement without a row lock or a connection of its own. Entries of virtual
        locations are not published. The notification is sent by PostgreSQL if and when
        the transaction commits; it serialises commits at very high rates and can be
        switched off by the system parameter stock_event_ledger.notify = False: the
        relay looks by itself each second.

        :param list entry_ids: ids of ledger entries that this transaction inserted
        """
        self.env["stock.event.channel"].flush_model()
        if self.env.execute_query(self._query_enqueue(entry_ids, self._should_notify())):
            self._ring_after_commit()

    @api.model
    def _ring_after_commit(self):
        """Wake the scheduled action that publishes, once this transaction has committed."""
        after_commit = self.env.cr.postcommit
        if RUNG not in after_commit.data:
            after_commit.data[RUNG] = True
            dbname = self.env.cr.dbname
            after_commit.add(lambda: bell.ring(dbname))

    @api.model
    def _should_notify(self):
        # sudo: whoever moves stock may not read system parameters.
        parameters = self.env["ir.config_parameter"].sudo()
        return str2bool(parameters.get_param("stock_event_ledger.notify", "True"), True)

    @api.model
    def _query_enqueue(self, entry_ids, notify):
        """Return the statement that queues entries; it returns a row if there were any."""
        return SQL(
            """WITH queued AS (
                   INSERT INTO stock_event_outbox (
                       channel_id, entry_id, company_id, warehouse_id, product_id,
                       state, attempts, is_replay, is_skipped)
                   SELECT c.id, e.id, e.company_id, e.warehouse_id, e.product_id,
                          'pending', 0, FALSE, FALSE
                     FROM stock_event_channel c
                     JOIN stock_ledger_entry e ON e.id = ANY(%s)
                     JOIN stock_location l ON l.id = e.location_id
                    WHERE c.active AND %s
                    ORDER BY e.id
                   RETURNING id)
               SELECT CASE WHEN %s THEN pg_notify(%s, '') END
                 FROM (SELECT FROM queued LIMIT 1) any_queued""",
            entry_ids,
            self._get_enqueue_condition(),
            notify,
            NOTIFY_CHANNEL,
        )

    @api.model
    def _get_enqueue_condition(self):
        """Return which entry ``e``, at location ``l``, goes to which channel ``c``.

        Not by the channel's product domain: that is for the relay, for it may be slow
        or fail, and must not cost a user anything.
        """
        types = SQL(
            """e.event_type IN (
                   SELECT t.code FROM stock_event_type t
                    WHERE t.id = r.event_type_id)"""
        )
        company = SQL("r.company_id = COALESCE(e.company_id, e.operating_company_id)")
        return SQL(" AND ").join(
            (
                SQL("l.usage IN ('internal', 'transit')"),
                self._query_filter("stock_event_channel_type_rel", types),
                self._query_filter(
                    "stock_event_channel_warehouse_rel", SQL("r.warehouse_id = e.warehouse_id")
                ),
                self._query_filter("stock_event_channel_company_rel", company),
            )
        )

    @api.model
    def _query_filter(self, relation, condition):
        """Return the condition that channel ``c`` has no such filter, or that it matches."""
        return SQL(
            """(NOT EXISTS (SELECT FROM %(relation)s r WHERE r.channel_id = c.id)
                OR EXISTS (SELECT FROM %(relation)s r
                            WHERE r.channel_id = c.id AND %(condition)s))""",
            relation=SQL.identifier(relation),
            condition=condition,
        )

    # --- replaying

    @api.model
    def _replay(self, channel, entries_query):
        """Queue entries again, whether they were published or not, and wake the relay.

        What was published goes with its number and figures. Entries that are still to be
        sent are left out: they will be.

        :param channel: the stock.event.channel; only what passes its filter is queued
        :param SQL entries_query: query of the entries' ids
        :return: how many were queued
        """
        channel.flush_recordset()
        self.env.cr.execute(self._query_replay(channel, entries_query))
        count = self.env.cr.rowcount
        self._wake_relay()
        self.invalidate_model(flush=False)
        return count

    @api.model
    def _query_replay(self, channel, entries_query):
        return SQL(
            """INSERT INTO stock_event_outbox (
                   channel_id, entry_id, company_id, warehouse_id, product_id, sequence,
                   on_hand_after, reserved_after, state, attempts, is_replay, is_skipped)
               SELECT c.id, e.id, e.company_id, e.warehouse_id, e.product_id, o.sequence,
                      o.on_hand_after, o.reserved_after, 'pending', 0, TRUE,
                      COALESCE(o.is_skipped, FALSE)
                 FROM %s
                -- What was never published is older, by and large.
                ORDER BY o.sequence NULLS FIRST, e.id""",
            self._query_replayable(channel, entries_query),
        )

    @api.model
    def _query_replayable(self, channel, entries_query):
        """Return a relation of channel ``c``, entries ``e`` and, of those that were
        published, outbox rows ``o``."""
        return SQL(
            """stock_event_channel c
                 JOIN stock_ledger_entry e ON e.id IN (%(entries)s)
                 JOIN stock_location l ON l.id = e.location_id
                 LEFT JOIN stock_event_outbox o
                        ON o.entry_id = e.id AND o.channel_id = c.id AND NOT o.is_replay
                WHERE c.id = %(channel_id)s AND %(condition)s
                  AND NOT EXISTS (
                      SELECT FROM stock_event_outbox p
                       WHERE p.entry_id = e.id AND p.channel_id = c.id
                         AND p.state <> 'confirmed')""",
            entries=entries_query,
            channel_id=channel.id,
            condition=self._get_enqueue_condition(),
        )

    @api.model
    def _count_replayable(self, channel, entries_query):
        """Return how many events ``_replay`` would queue, and how many of them have a
        number."""
        [counts] = self.env.execute_query(
            SQL(
                "SELECT COUNT(*), COUNT(o.sequence) FROM %s",
                self._query_replayable(channel, entries_query),
            )
        )
        return counts

    # --- blocked events

    @api.model
    def _query_release(self, condition):
        """Return the statement that makes blocked rows, and those behind, pending."""
        same_key = self.env["stock.event.key"]._query_same_key
        return SQL(
            """
            WITH released AS (
                UPDATE stock_event_outbox SET state = 'pending', retry_date = NULL
                 WHERE state = 'blocked' AND %s
             RETURNING channel_id, company_id, warehouse_id, product_id),
            keys AS (
                UPDATE stock_event_key r SET is_blocked = FALSE FROM released
                 WHERE r.channel_id = released.channel_id AND %s)
            UPDATE stock_event_outbox o SET state = 'pending' FROM released
             WHERE o.state = 'waiting' AND o.channel_id = released.channel_id AND %s
            """,
            condition,
            same_key("r", "released"),
            same_key("o", "released"),
        )

    def action_retry(self):
        """Send blocked events again, and then what waits behind them.

        :raises AccessError: unless the user may change channels
        """
        self._check_may_release(self.env._("Retrying an event"))
        self._release(SQL("id = ANY(%s)", self.ids))

    def action_skip(self):
        """Give blocked events up, and send what waits behind them.

        A GAP event with the number of each tells consumers that it was skipped; one
        that was sent again by request is just dropped.

        :raises AccessError: unless the user may change channels
        :raises UserError: when one of the events is not blocked
        """
        self._check_may_release(self.env._("Skipping an event"))
        if any(event.state != "blocked" for event in self):
            raise UserError(self.env._("Only a blocked event can be skipped."))
        self.env.cr.execute(
            SQL(
                """UPDATE stock_event_outbox SET is_skipped = TRUE
                    WHERE id = ANY(%s) AND state = 'blocked'""",
                self.ids,
            )
        )
        self._release(SQL("id = ANY(%s)", self.ids))
        self.env.cr.execute(
            SQL("DELETE FROM stock_event_outbox WHERE id = ANY(%s) AND is_replay", self.ids)
        )

    def _check_may_release(self, what):
        if not self.env["stock.event.channel"].has_access("write"):
            raise AccessError(self.env._("%s takes the right to configure event channels.", what))
        self.check_access("read")

    @api.model
    def _release(self, condition):
        self.env.cr.execute(self._query_release(condition))
        self._wake_relay()
        self.invalidate_model(flush=False)

    @api.model
    def _wake_relay(self):
        self.env.cr.execute(SQL("SELECT pg_notify(%s, '')", NOTIFY_CHANNEL))

    # --- what was confirmed

    @api.model
    def _get_keep_days(self):
        """Return for how many days confirmed events are kept."""
        # sudo: how long they are kept is no secret to those who see events.
        parameters = self.env["ir.config_parameter"].sudo()
        days = parameters.get_param("stock_event_ledger.event_keep_days", DEFAULT_KEEP_DAYS)
        try:
            return max(int(days), 1)
        except ValueError:
            return DEFAULT_KEEP_DAYS

    @api.model
    def _cron_clean_up(self):
        """Delete what was confirmed long ago; never anything else."""
        cron = self.env["ir.cron"]
        while deleted := self._clean_up(CLEAN_UP_BATCH):
            if not cron._commit_progress(deleted, remaining=int(deleted == CLEAN_UP_BATCH)):
                break

    @api.model
    def _clean_up(self, limit):
        """Delete confirmed events that are older than the days to keep.

        :param int limit: how many at most
        :return: how many were deleted
        """
        self.env.cr.execute(
            SQL(
                """DELETE FROM stock_event_outbox WHERE id IN (
                       SELECT o.id FROM stock_event_channel c, LATERAL (
                           SELECT id FROM stock_event_outbox
                            WHERE channel_id = c.id AND state = 'confirmed'
                              AND confirmed_date < now() AT TIME ZONE 'UTC'
                                                   - %s * INTERVAL '1 day'
                            LIMIT %s) o
                        LIMIT %s)""",
                self._get_keep_days(),
                limit,
                limit,
            )
        )
        deleted = self.env.cr.rowcount
        self.invalidate_model(flush=False)
        return deleted

    # --- the scheduled action

    @api.model
    def _cron_relay(self):
        """Publish what is pending, for a bounded time, where no worker does."""
        if not self._may_relay() or not self._has_work():
            return
        cron = self.env["ir.cron"]
        run_bounded(
            self.env.cr.dbname,
            lambda count, more: cron._commit_progress(count, remaining=int(more)),
        )

    @api.model
    def _may_relay(self):
        """Return whether this process may talk to the broker.

        Not a web request, whose time is a user's; not a test or an installation, whose
        database may be a copy or be about to be rolled back.
        """
        return not (
            request
            or modules.module.current_test
            or config["stop_after_init"]
            or config["test_enable"]
        )

    @api.model
    def _has_work(self):
        messages = self.env["stock.message.outbox"]
        return any(
            self._has_pending(channel_id) or messages._has_pending(channel_id)
            for channel_id in self.env["stock.event.channel"]._get_targets()
        )

    @api.model
    def _has_pending(self, channel_id):
        """Return whether a channel has events that can be sent now."""
        return bool(
            self.env.execute_query(
                SQL(
                    """SELECT FROM stock_event_outbox
                        WHERE channel_id = %(channel_id)s AND state = 'pending'
                          AND NOT is_replay
                        UNION ALL
                       SELECT FROM stock_event_outbox
                        WHERE channel_id = %(channel_id)s AND state = 'pending'
                          AND is_replay
                        UNION ALL
                       SELECT FROM stock_event_outbox
                        WHERE channel_id = %(channel_id)s AND state = 'blocked'
                          AND retry_date <= now() AT TIME ZONE 'UTC'
                        LIMIT 1""",
                    channel_id=channel_id,
                )
            )
        )
