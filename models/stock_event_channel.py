import os
import re
from urllib.parse import unquote, urlsplit

from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.tools import SQL, config

from ..broker import Target, check
from ..relay.leader import LEADER_LOCK, LOCK_CLASS

DEFAULT_PORTS = {"amqp": 5672, "amqps": 5671}
PASSWORD_OPTION = "stock_event_ledger_amqp_password"


class StockEventChannel(models.Model):
    """Where stock events go: an exchange on a RabbitMQ server.

    Only an active channel gets events. The one that is installed is inactive, so that
    an Odoo without a broker queues nothing; events are published from its activation
    on, and earlier stock is in their ``on_hand_after``. A paused channel goes on
    queueing and sends later; an inactive one misses what happens meanwhile.

    The password is not in the database. It is read where it is needed from the
    environment, STOCK_EVENT_LEDGER_AMQP_PASSWORD_<CODE> or
    STOCK_EVENT_LEDGER_AMQP_PASSWORD, or from the option of the same name in lower case
    of Odoo's configuration file.
    """

    _name = "stock.event.channel"
    _description = "Stock Event Channel"
    _order = "name, id"

    name = fields.Char(required=True)
    code = fields.Char(
        required=True,
        copy=False,
        help="Short technical name; the variable with the password ends with it",
    )
    active = fields.Boolean(
        "Publish",
        default=False,
        copy=False,
        help="Events are queued for the channel from its activation on, "
        "and not while it is inactive.",
    )
    state = fields.Selection(
        [("running", "Running"), ("paused", "Paused")],
        default="running",
        required=True,
        copy=False,
        help="A paused channel goes on queueing events and sends none.",
    )
    host = fields.Char(required=True, default="localhost")
    port = fields.Integer(required=True, default=DEFAULT_PORTS["amqp"])
    virtual_host = fields.Char(required=True, default="/")
    username = fields.Char("User", required=True, default="guest")
    use_tls = fields.Boolean("TLS", help="Encrypt, and verify the server's name")
    exchange = fields.Char(
        required=True,
        default="odoo.inventory",
        help="Topic exchange; declared as a durable one where it is missing",
    )
    has_audit_queue = fields.Boolean(
        "Audit Queue",
        default=True,
        help="Declare a durable queue that gets every event and keeps the newest "
        "100,000. Without any queue for an event, the broker would return it and the "
        "event would stop its product.",
    )
    audit_queue = fields.Char("Audit Queue Name", default="odoo.inventory.audit")
    database_uuid = fields.Char(readonly=True, copy=False)
    is_copied_database = fields.Boolean(compute="_compute_is_copied_database")
    confirmed_count = fields.Integer("Confirmed Events", readonly=True, copy=False)
    last_confirm_date = fields.Datetime(readonly=True, copy=False)
    last_error = fields.Char(readonly=True, copy=False)
    pending_count = fields.Integer(compute="_compute_outbox_counts")
    blocked_count = fields.Integer(compute="_compute_outbox_counts")
    worker = fields.Char(compute="_compute_worker", help="Who empties the outbox at this moment")

    _unique_code = models.Constraint("UNIQUE (code)", "Two channels have this code.")
    _valid_port = models.Constraint(
        "CHECK (port BETWEEN 1 AND 65535)", "A port is between 1 and 65535."
    )

    @api.constrains("code")
    def _check_code(self):
        for channel in self:
            if not re.fullmatch(r"[A-Za-z0-9_]+", channel.code):
                raise ValidationError(
                    self.env._("A channel's code has letters, digits and underscores.")
                )

    @api.depends("database_uuid")
    def _compute_is_copied_database(self):
        uuid = self._get_database_uuid()
        for channel in self:
            channel.is_copied_database = channel.database_uuid not in (False, uuid)

    def _compute_outbox_counts(self):
        groups = self.env["stock.event.outbox"]._read_group(
            [("channel_id", "in", self.ids)], ["channel_id", "state"], ["__count"]
        )
        counts = {(channel.id, state): count for channel, state, count in groups}
        for channel in self:
            channel.blocked_count = counts.get((channel.id, "blocked"), 0)
            channel.pending_count = counts.get((channel.id, "pending"), 0) + counts.get(
                (channel.id, "waiting"), 0
            )

    def _compute_worker(self):
        rows = self.env.execute_query(self._query_worker())
        for channel in self:
            channel.worker = rows[0][0] if rows else False

    @api.model
    def _query_worker(self):
        """Return the query of the session with the leader's lock: a live heartbeat."""
        return SQL(
            """SELECT a.application_name
                 FROM pg_locks l
                 JOIN pg_database d ON d.oid = l.database
                 JOIN pg_stat_activity a ON a.pid = l.pid
                WHERE l.locktype = 'advisory' AND l.granted
                  AND d.datname = current_database()
                  AND l.classid = %s AND l.objid = %s""",
            LOCK_CLASS,
            LEADER_LOCK,
        )

    @api.model_create_multi
    def create(self, vals_list):
        channels = super().create(vals_list)
        channels.filtered("active")._adopt_database()
        return channels

    def write(self, vals):
        activated = self.browse()
        if vals.get("active"):
            activated = self.filtered(lambda channel: not channel.active)
        result = super().write(vals)
        activated._adopt_database()
        # What happened while a channel was inactive is not in its figures.
        self.env["stock.event.key"]._forget_figures(activated)
        return result

    def unlink(self):
        """Delete the channels with what was not published."""
        channel_ids = self.ids
        result = super().unlink()
        for table in ("stock_event_outbox", "stock_event_key"):
            self.env.cr.execute(
                SQL(
                    "DELETE FROM %s WHERE channel_id = ANY(%s)",
                    SQL.identifier(table),
                    channel_ids,
                )
            )
        self.env["stock.event.outbox"].invalidate_model(flush=False)
        self.env["stock.event.key"].invalidate_model(flush=False)
        return result

    def action_pause(self):
        """Stop sending; go on queueing."""
        self.state = "paused"

    def action_resume(self):
        """Send what was queued, and go on."""
        self.state = "running"

    def action_adopt_database(self):
        """Publish from this database, though it is a copy."""
        self.check_access("write")
        self._adopt_database()

    def action_open_outbox(self):
        """Open the channel's outbox."""
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "stock_event_ledger.stock_event_outbox_action"
        )
        return {**action, "domain": [("channel_id", "in", self.ids)], "context": {}}

    def action_test_connection(self):
        """Connect with the saved settings and say how it went."""
        self.ensure_one()
        self.check_access("write")
        error = check(self._prepare_target())
        if error:
            message = self.env._(
                "No connection to %(host)s: %(error)s", host=self.host, error=error
            )
        else:
            message = self.env._("Connected to %(host)s.", host=self.host)
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {"type": "danger" if error else "success", "message": message},
        }

    def _adopt_database(self):
        """Bind channels to this database, so that no copy of it publishes for it."""
        for channel in self:
            channel.database_uuid = self._get_database_uuid()

    @api.model
    def _get_database_uuid(self):
        # sudo: the identifier of the database is no secret to those who see channels.
        return self.env["ir.config_parameter"].sudo().get_param("database.uuid")

    def _configure_from_url(self, url):
        """Set where to publish, and activate the channel.

        :param str url: amqp(s)://user:password@host:port/virtual-host. The password is
            ignored: it belongs into the environment or the configuration file.
        :raises UserError: when the address is not of that form
        """
        self.ensure_one()
        self.write(self._prepare_url_vals(url))

    @api.model
    def _prepare_url_vals(self, url):
        try:
            parts = urlsplit(url)
            port = parts.port or DEFAULT_PORTS[parts.scheme]
        except (KeyError, ValueError):
            port = None
        if not port or not parts.hostname:
            # The address is not repeated: it may have a password in it.
            raise UserError(
                self.env._("The address must be like amqp://user@host:port/virtual-host.")
            )
        return {
            "host": parts.hostname,
            "port": port,
            "virtual_host": unquote(parts.path[1:]) or "/",
            "username": unquote(parts.username or "guest"),
            "use_tls": parts.scheme == "amqps",
            "active": True,
        }

    # --- for the relay

    @api.model
    def _get_targets(self):
        """Return where to publish now: a dictionary of Target by channel id.

        A neutralized database publishes nothing, whatever its channels say.
        """
        if self._is_neutralized():
            return {}
        channels = self.search(self._get_publishing_domain(), order="id")
        return {channel.id: channel._prepare_target() for channel in channels}

    @api.model
    def _get_publishing_domain(self):
        return [
            ("active", "=", True),
            ("state", "=", "running"),
            ("database_uuid", "=", self._get_database_uuid()),
        ]

    @api.model
    def _is_neutralized(self):
        rows = self.env.execute_query(
            SQL(
                """SELECT FROM ir_config_parameter
                    WHERE key = 'database.is_neutralized'
                      AND lower(value) NOT IN ('false', '0', '')"""
            )
        )
        return bool(rows)

    def _prepare_target(self):
        self.ensure_one()
        return Target(
            host=self.host,
            port=self.port,
            virtual_host=self.virtual_host,
            username=self.username,
            password=self._get_password(),
            exchange=self.exchange,
            audit_queue=(self.has_audit_queue and self.audit_queue) or "",
            use_tls=self.use_tls,
        )

    def _get_password(self):
        self.ensure_one()
        for name in (PASSWORD_OPTION + "_" + self.code, PASSWORD_OPTION):
            password = os.environ.get(name.upper()) or config.get(name.lower())
            if password:
                return password
        return ""

    @api.model
    def _record_confirms(self, channel_id, count):
        """Count confirmed events; they end an outage."""
        self.env.cr.execute(
            SQL(
                """UPDATE stock_event_channel
                      SET confirmed_count = COALESCE(confirmed_count, 0) + %s,
                          last_confirm_date = now() AT TIME ZONE 'UTC',
                          last_error = NULL
                    WHERE id = %s""",
                count,
                channel_id,
            )
        )

    @api.model
    def _record_error(self, channel_id, error):
        """Show why a channel does not publish; None when it does again."""
        self.env.cr.execute(
            SQL(
                """UPDATE stock_event_channel SET last_error = %(error)s
                    WHERE id = %(id)s AND last_error IS DISTINCT FROM %(error)s""",
                error=error,
                id=channel_id,
            )
        )
