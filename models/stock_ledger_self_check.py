from datetime import timedelta
from typing import NamedTuple

from odoo import api, fields, models
from odoo.tools import SQL

from .stock_ledger_rollup import FOLD_BATCH

# By the scheduled action there is a clean run each hour, and a full one each day.
CLEAN_HOURS = 26
# More changes than these take a moment to be added to each figure that is read.
MANY_DELTAS = 2 * FOLD_BATCH
OLDEST_POSTGRESQL = 130000
# Share of PostgreSQL's connections from which on somebody should allow for more.
MUCH_USED = 0.8


class Check(NamedTuple):
    """What was looked at, whether it is as it should be, and if not, what to do."""

    name: str
    is_ok: bool
    text: str


class StockLedgerSelfCheck(models.AbstractModel):
    """Whether all that the ledger relies on is in place. Each check is cheap."""

    _name = "stock.ledger.self.check"
    _description = "Self-Check of the Stock Ledger"

    @api.model
    def _get_checks(self):
        """Return the list of Checks. Modules add theirs."""
        return [
            self._check_triggers(),
            self._check_worker(),
            self._check_channels(),
            self._check_reconciliation(),
            self._check_deltas(),
            *self._check_postgresql(),
            self._check_connections(),
        ]

    @api.model
    def _check_triggers(self):
        wanted = self._get_triggers()
        found = dict(self.env.execute_query(self._query_triggers(list(wanted))))
        bad = [name for name, states in wanted.items() if found.get(name, "-") not in states]
        text = self.env._("All are there and enabled.")
        if bad:
            text = self.env._(
                "Missing or disabled: %s. Update this app, which makes them again, find out who "
                "has disabled them, and reconcile everything.",
                ", ".join(bad),
            )
        return Check(self.env._("Triggers of the ledger"), not bad, text)

    @api.model
    def _get_triggers(self):
        """Return the states, as PostgreSQL has them, that each trigger may be in."""
        names = self.env["stock.append.only.mixin"]._get_refusal_triggers()
        always = [*names, "stock_ledger_archive_finished"]
        return {**dict.fromkeys(always, "A"), "stock_ledger_entry_feed_delta": "AO"}

    @api.model
    def _query_triggers(self, names):
        return SQL(
            """SELECT tgname, tgenabled::text FROM pg_trigger
                WHERE tgname = ANY(%s) AND NOT tgisinternal""",
            names,
        )

    @api.model
    def _check_worker(self):
        workers = self.env["stock.event.worker"]
        last = workers.search([], order="heartbeat_date desc", limit=1)
        cron = self.env.ref("stock_event_ledger.cron_relay", raise_if_not_found=False)
        is_ok = bool(last and not last.is_gone)
        if is_ok:
            text = self.env._("%s is at work.", last.name)
        elif last:
            text = self.env._(
                "The worker has not been heard of since %s. Start it again, or forget it under "
                "Stock Ledger > Events > Workers.",
                last.heartbeat_date,
            )
        elif cron and cron.active:
            is_ok = True
            text = self.env._("There is none: scheduled actions do its work.")
        else:
            text = self.env._(
                "There is none, and the scheduled action that publishes is inactive. Start a "
                "worker, or activate the scheduled action."
            )
        return Check(self.env._("Event worker"), is_ok, text)

    @api.model
    def _check_channels(self):
        channels = self.env["stock.event.channel"].search([("active", "=", True)])
        troubles = [
            f"{channel.name}: {text}"
            for channel in channels
            for text in channel._get_alerts(is_worker_missed=False).values()
        ]
        text = self.env._("Nothing waits for too long.")
        if troubles:
            text = " ".join(troubles)
        elif not channels:
            text = self.env._("None is active: nothing is published.")
        return Check(self.env._("Event channels"), not troubles, text)

    @api.model
    def _check_reconciliation(self):
        last_date = self.env["stock.ledger.reconciliation"]._get_last_clean().started_date
        drift_count = self.env["stock.ledger.drift"].search_count([("state", "=", "open")])
        limit = fields.Datetime.now() - timedelta(hours=CLEAN_HOURS)
        is_ok = bool(last_date and last_date >= limit and not drift_count)
        if is_ok:
            text = self.env._("Clean on %s (UTC).", last_date)
        elif drift_count:
            text = self.env._(
                "%s figures do not agree. Look at them under Stock Ledger > Reconciliation, and "
                "correct them.",
                drift_count,
            )
        else:
            text = self.env._(
                "The last clean run over everything: %s. Reconcile now, and see whether the "
                "scheduled actions run.",
                self.env._("%s (UTC)", last_date) if last_date else self.env._("none yet"),
            )
        return Check(self.env._("Last clean reconciliation"), is_ok, text)

    @api.model
    def _check_deltas(self):
        [[count]] = self.env.execute_query(
            SQL(
                "SELECT COUNT(*) FROM (SELECT FROM stock_ledger_delta LIMIT %s) AS delta",
                MANY_DELTAS + 1,
            )
        )
        is_ok = count <= MANY_DELTAS
        text = self.env._("%s changes wait to be added to the balances.", count)
        if not is_ok:
            text = self.env._(
                "More than %s changes wait to be added to the balances, which slows reports "
                "down. Start a worker, or see whether the scheduled action that folds runs.",
                MANY_DELTAS,
            )
        return Check(self.env._("Rollups"), is_ok, text)

    # --- PostgreSQL

    @api.model
    def _get_settings(self):
        """Return, by name of PostgreSQL's settings, the values that are right, and what to do
        about others."""
        lost = self.env._(
            "Off, a crash of the server can damage the database or undo what was committed: "
            "stock that has moved and events that were sent. Switch it on."
        )
        return {
            "fsync": (("on",), lost),
            "full_page_writes": (("on",), lost),
            "synchronous_commit": (("on", "local", "remote_write", "remote_apply"), lost),
            "autovacuum": (
                ("on",),
                self.env._("Off, the queues of changes and events grow slow. Switch it on."),
            ),
            "statement_timeout": (
                ("0",),
                self.env._(
                    "Long work, such as archiving or a full reconciliation, is broken off then. "
                    "Set it to 0 for Odoo's user."
                ),
            ),
        }

    @api.model
    def _check_postgresql(self):
        rules = self._get_settings()
        [[version]] = self.env.execute_query(
            SQL("SELECT current_setting('server_version_num')::integer")
        )
        is_ok = version >= OLDEST_POSTGRESQL
        text = self.env._("Version %s.", version // 10000)
        if not is_ok:
            text = self.env._("Version %s is too old for Odoo. Upgrade it.", version // 10000)
        yield Check(self.env._("PostgreSQL"), is_ok, text)
        query = SQL("SELECT name, setting FROM pg_settings WHERE name IN %s", tuple(rules))
        settings = dict(self.env.execute_query(query))
        for name, (right, advice) in rules.items():
            is_ok = settings[name] in right
            text = settings[name] if is_ok else f"{settings[name]}. {advice}"
            yield Check(f"PostgreSQL: {name}", is_ok, text)

    @api.model
    def _check_connections(self):
        [[used, most]] = self.env.execute_query(
            SQL(
                """SELECT COUNT(*), current_setting('max_connections')::integer
                     FROM pg_stat_activity WHERE backend_type = 'client backend'"""
            )
        )
        is_ok = used < MUCH_USED * most
        text = self.env._("%(used)s of %(most)s are in use.", used=used, most=most)
        if not is_ok:
            text = self.env._(
                "%(used)s of %(most)s are in use: raise max_connections, or lower Odoo's workers "
                "or db_maxconn.",
                used=used,
                most=most,
            )
        return Check(self.env._("PostgreSQL: connections"), is_ok, text)
