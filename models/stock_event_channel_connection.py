import os
from urllib.parse import unquote, urlsplit

from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.tools import config

from ..broker import Target, try_round_trip

DEFAULT_PORTS = {"amqp": 5672, "amqps": 5671}
PASSWORD_OPTION = "stock_event_ledger_amqp_password"


class StockEventChannel(models.Model):
    """How a channel reaches its broker.

    The password is not in the database. It is read where it is needed from the
    environment, STOCK_EVENT_LEDGER_AMQP_PASSWORD_<CODE> or
    STOCK_EVENT_LEDGER_AMQP_PASSWORD, or from the option of the same name in lower case
    of Odoo's configuration file. Nor is the key of a client certificate: the channel has
    the paths of the files, on the machines where Odoo and the worker run.
    """

    _inherit = "stock.event.channel"

    host = fields.Char(
        "Hosts",
        required=True,
        default="localhost",
        help="The servers of a cluster, separated by commas, each with its port where that "
        "differs: they are tried in turn.",
    )
    port = fields.Integer(required=True, default=DEFAULT_PORTS["amqp"])
    virtual_host = fields.Char(required=True, default="/")
    username = fields.Char("User", required=True, default="guest")
    use_tls = fields.Boolean("TLS", help="Encrypt, and verify the server's certificate and name")
    # Paths of files on the server are for its administrators to choose.
    ca_file = fields.Char(
        "CA Certificates",
        groups="base.group_system",
        help="Path of a PEM file with the authorities to trust; empty: the system's",
    )
    certificate_file = fields.Char(
        "Client Certificate",
        groups="base.group_system",
        help="Path of a PEM file with the certificate that the broker asks for, if it does",
    )
    key_file = fields.Char(
        "Client Key",
        groups="base.group_system",
        help="Path of the certificate's key, unless that is in the same file",
    )

    _valid_port = models.Constraint(
        "CHECK (port BETWEEN 1 AND 65535)", "A port is between 1 and 65535."
    )

    @api.constrains("host")
    def _check_host(self):
        for channel in self:
            channel._get_hosts()

    def _get_hosts(self):
        """Return the hosts' names and ports.

        :return: list of pairs
        :raises ValidationError: when one of them is not a host
        """
        self.ensure_one()
        hosts = []
        for text in self.host.split(","):
            try:
                parts = urlsplit(f"//{text.strip()}")
                host, port = parts.hostname, parts.port or self.port
            except ValueError:
                host = port = None
            if not host or parts.path or parts.username or parts.query:
                raise ValidationError(
                    self.env._(
                        "Hosts are names or addresses with or without a port, separated by "
                        "commas, such as mq1.example.com, mq2.example.com:5673."
                    )
                )
            hosts.append((host, port))
        return hosts

    def action_test_connection(self):
        """Send a message to the broker and back, with the saved settings; say how it went."""
        is_connected, message = self._try_connection()
        return self._prepare_notification("success" if is_connected else "danger", message)

    def _try_connection(self):
        """Send a message to the broker and back, with the saved settings.

        :return: whether it came back, and a sentence about it
        :raises AccessError: unless the user may change channels
        """
        self.ensure_one()
        self.check_access("write")
        try:
            trip = try_round_trip(self._prepare_target())
        except ConnectionError as error:
            return False, self.env._("The message did not come back. %s", error)
        message = self.env._(
            "A message went to %(host)s and back in %(milliseconds)s ms.",
            host=trip.address,
            milliseconds=round(trip.seconds * 1000),
        )
        if not trip.has_exchange:
            message += " " + self.env._(
                "The exchange %s is not there yet; it is declared before the first event.",
                self.exchange,
            )
        return True, message

    @api.model
    def _prepare_notification(self, level, message):
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {"type": level, "message": message, "sticky": level == "danger"},
        }

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

    def _prepare_target(self):
        """Return where the relay publishes the channel's events to."""
        self.ensure_one()
        # sudo: managers may test a connection without reading the paths of its files.
        files = self.sudo()
        return Target(
            hosts=tuple(self._get_hosts()),
            virtual_host=self.virtual_host,
            username=self.username,
            password=self._get_password(),
            exchange=self.exchange,
            alternate_exchange=self.alternate_exchange or "",
            dead_letter_exchange=self.dead_letter_exchange or "",
            queues=tuple(queue._prepare_queue() for queue in self.queue_ids),
            use_tls=self.use_tls,
            ca_file=files.ca_file or "",
            certificate_file=files.certificate_file or "",
            key_file=files.key_file or "",
            declares=self.declares_topology and not self.is_declared,
        )

    def _get_password(self):
        self.ensure_one()
        for name in (PASSWORD_OPTION + "_" + self.code, PASSWORD_OPTION):
            password = os.environ.get(name.upper()) or config.get(name.lower())
            if password:
                return password
        return ""
