import ast
import re

from odoo import Command, api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.fields import Domain
from odoo.tools import SQL

from ..broker import Envelope, check_routing_key_pattern
from ..broker.envelope import DEFAULT_ROUTING_KEY_PATTERN

# What is left out of a channel is missing from the figures that it remembers.
FILTER_FIELDS = frozenset(
    ("active", "event_type_ids", "warehouse_ids", "company_ids", "product_domain")
)
# With another of these, what was declared may be missing.
TOPOLOGY_FIELDS = frozenset(
    ("host", "port", "virtual_host", "exchange", "alternate_exchange", "dead_letter_exchange")
)


class StockEventChannel(models.Model):
    """Where stock events go: an exchange on a RabbitMQ server or cluster, and which ones.

    Only an active channel gets events. The one that is installed is inactive, so that
    an Odoo without a broker queues nothing; events are published from its activation
    on, and earlier stock is in their ``on_hand_after``. A paused channel goes on
    queueing and sends later; an inactive one misses what happens meanwhile.
    """

    _name = "stock.event.channel"
    _description = "Stock Event Channel"
    _inherit = ["mail.thread", "mail.activity.mixin"]
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
    user_id = fields.Many2one(
        "res.users",
        "Responsible",
        default=lambda self: self.env.user,
        help="Gets an activity when the channel needs somebody's attention",
    )

    # --- which events
    event_type_ids = fields.Many2many(
        "stock.event.type",
        "stock_event_channel_type_rel",
        "channel_id",
        "event_type_id",
        ondelete="restrict",
        help="Of these types only; none: of all types. Figures after an event are then "
        "those of the moment when it is numbered.",
    )
    warehouse_ids = fields.Many2many(
        "stock.warehouse",
        "stock_event_channel_warehouse_rel",
        "channel_id",
        "warehouse_id",
        ondelete="restrict",
        help="In these warehouses only; none: in all of them, and in transit",
    )
    company_ids = fields.Many2many(
        "res.company",
        "stock_event_channel_company_rel",
        "channel_id",
        "company_id",
        ondelete="restrict",
        help="Of these companies only; none: of all of them",
    )
    product_domain = fields.Char(
        "Products",
        default="[]",
        help="Products that meet this condition when the event is sent",
    )

    # --- how they are written
    exchange = fields.Char(required=True, default="odoo.inventory", help="Durable topic exchange")
    routing_key_pattern = fields.Char(
        "Routing Key",
        required=True,
        default=DEFAULT_ROUTING_KEY_PATTERN,
        help="Of {event_type}, {warehouse}, {company}, {product} and {sku}, in lower case",
    )
    envelope = fields.Selection(
        [
            ("binary", "CloudEvents, binary: flat JSON, attributes in headers"),
            ("structured", "CloudEvents, structured: all in one JSON document"),
            ("epcis", "EPCIS 2.0: JSON-LD in GS1's vocabulary"),
        ],
        default="binary",
        required=True,
    )
    declares_topology = fields.Boolean(
        "Declare",
        default=True,
        help="Declare the exchange and the queues on the broker where they are missing. "
        "Once: what is deleted there later stays deleted until it is declared again.",
    )
    alternate_exchange = fields.Char(
        help="Gets what no queue wants, with a queue of its own name; without one, such an "
        "event stops its product. An exchange that exists already is not changed.",
    )
    dead_letter_exchange = fields.Char(
        help="Gets what consumers reject from the queues below, with a queue of its own name",
    )
    queue_ids = fields.One2many(
        "stock.event.queue",
        "channel_id",
        "Queues",
        copy=True,
        default=lambda self: self._default_queues(),
    )
    database_uuid = fields.Char(readonly=True, copy=False)
    is_copied_database = fields.Boolean(compute="_compute_is_copied_database")

    _unique_code = models.Constraint("UNIQUE (code)", "Two channels have this code.")

    @api.model
    def _default_queues(self):
        """Return a queue that keeps the newest events of all, whoever consumes any."""
        return [
            Command.create(
                {
                    "name": "odoo.inventory.audit",
                    "max_length": 100_000,
                    "has_single_active_consumer": False,
                }
            )
        ]

    @api.depends("database_uuid")
    def _compute_is_copied_database(self):
        uuid = self._get_database_uuid()
        for channel in self:
            channel.is_copied_database = channel.database_uuid not in (False, uuid)

    @api.constrains("code")
    def _check_code(self):
        for channel in self:
            if not re.fullmatch(r"[A-Za-z0-9_]+", channel.code):
                raise ValidationError(
                    self.env._("A channel's code has letters, digits and underscores.")
                )

    @api.constrains("routing_key_pattern")
    def _check_routing_key_pattern(self):
        for channel in self:
            try:
                check_routing_key_pattern(channel.routing_key_pattern)
            except ValueError as error:
                raise ValidationError(str(error)) from error

    @api.constrains("product_domain")
    def _check_product_domain(self):
        for channel in self:
            try:
                domain = channel._get_product_domain() or []
                self.env["product.product"].search_count(domain, limit=1)
            except Exception as error:
                raise ValidationError(
                    self.env._("The condition on products does not work: %s", error)
                ) from error

    @api.constrains("exchange", "alternate_exchange", "dead_letter_exchange")
    def _check_exchanges(self):
        for channel in self:
            names = [
                channel.exchange,
                channel.alternate_exchange,
                channel.dead_letter_exchange,
            ]
            names = [name for name in names if name]
            if len(set(names)) < len(names):
                raise ValidationError(
                    self.env._("The exchange, its alternate and the one for dead letters differ.")
                )
            if any(len(name.encode()) > 255 for name in names):
                raise ValidationError(self.env._("An exchange's name has at most 255 bytes."))

    @api.model_create_multi
    def create(self, vals_list):
        channels = super().create(vals_list)
        activated = channels.filtered("active")
        activated._adopt_database()
        self.env["stock.event.channel.status"]._record_change(activated.ids)
        return channels

    def write(self, vals):
        activated = self.browse()
        if vals.get("active"):
            activated = self.filtered(lambda channel: not channel.active)
        result = super().write(vals)
        activated._adopt_database()
        if not FILTER_FIELDS.isdisjoint(vals):
            self.env["stock.event.channel.status"]._record_change(self.ids)
        if not TOPOLOGY_FIELDS.isdisjoint(vals):
            self._declare_again()
        return result

    def unlink(self):
        """Delete the channels with their events, published or not."""
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

    def action_declare(self):
        """Have the exchange and the queues declared again where they are missing."""
        self.check_access("write")
        self._declare_again()
        self.env["stock.event.outbox"]._wake_relay()

    def action_adopt_database(self):
        """Publish from this database, though it is a copy."""
        self.check_access("write")
        self._adopt_database()

    @api.readonly
    def action_open_outbox(self):
        """Open what the broker has not confirmed."""
        return self._prepare_events_action([("state", "!=", "confirmed")])

    @api.readonly
    def action_open_blocked(self):
        """Open what could not be delivered."""
        return self._prepare_events_action([("state", "=", "blocked")])

    def _prepare_events_action(self, domain):
        domain = [("channel_id", "in", self.ids), *domain]
        return self.env["stock.event.outbox"]._prepare_events_action(domain)

    @api.readonly
    def action_replay(self):
        """Open the wizard that sends events again."""
        self.ensure_one()
        return {
            **self.env["ir.actions.act_window"]._for_xml_id(
                "stock_event_ledger.stock_event_replay_action"
            ),
            "context": {"default_channel_id": self.id},
        }

    def _adopt_database(self):
        """Bind channels to this database, so that no copy of it publishes for it."""
        for channel in self:
            channel.database_uuid = self._get_database_uuid()

    def _declare_again(self):
        if self:
            self.env["stock.event.channel.status"]._record_declared(self.ids, False)

    @api.model
    def _get_database_uuid(self):
        # sudo: the identifier of the database is no secret to those who see channels.
        return self.env["ir.config_parameter"].sudo().get_param("database.uuid")

    def _get_product_domain(self):
        """Return the Domain of the products whose events are sent, or None for all.

        :raises UserError: when it is not a domain
        """
        self.ensure_one()
        try:
            domain = Domain(ast.literal_eval(self.product_domain or "[]"))
        except (ValueError, SyntaxError, TypeError) as error:
            raise UserError(
                self.env._("Not a condition on products: %s", self.product_domain)
            ) from error
        return None if domain.is_true() else domain

    # --- for the relay

    def _prepare_envelope(self):
        """Return how the channel's messages are written."""
        self.ensure_one()
        return Envelope(
            database_uuid=self._get_database_uuid(),
            mode=self.envelope,
            routing_key_pattern=self.routing_key_pattern,
        )

    @api.model
    def _get_targets(self):
        """Return where to publish now: a dictionary of Target by channel id.

        A neutralized database publishes nothing, whatever its channels say.
        """
        if self._is_neutralized():
            return {}
        channels = self.search(self._get_publishing_domain(), order="id")
        return {channel.id: channel._prepare_target() for channel in channels}

    def _filter_publishing(self):
        """Return those of the channels that publish."""
        if self._is_neutralized():
            return self.browse()
        return self.filtered_domain(self._get_publishing_domain())

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
