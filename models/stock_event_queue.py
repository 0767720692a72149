from odoo import api, fields, models
from odoo.exceptions import ValidationError

from ..broker import Queue

# AMQP sends names and keys with their length in one byte.
MOST_BYTES = 255


class StockEventQueue(models.Model):
    """A queue that a channel declares on the broker and binds to its exchange.

    A durable quorum queue, which RabbitMQ replicates. Consumers may as well declare
    theirs; a queue that is declared here gets events from the channel's first one on.
    """

    _name = "stock.event.queue"
    _description = "Stock Event Queue"
    _order = "name, id"

    channel_id = fields.Many2one(
        "stock.event.channel", required=True, ondelete="cascade", index=True
    )
    name = fields.Char(required=True)
    binding_key = fields.Char(
        required=True,
        default="#",
        help="Which routing keys the queue gets: * stands for one word, # for any number of "
        "them, as in stock.sale.*",
    )
    max_length = fields.Integer(
        "Most Messages",
        help="Beyond that the broker drops the oldest ones. 0: it keeps all of them until "
        "they are consumed.",
    )
    has_single_active_consumer = fields.Boolean(
        "Single Active Consumer",
        default=True,
        help="Of several consumers one gets the messages, in order; the others take over "
        "when it ends.",
    )

    _unique_name = models.UniqueIndex(
        "(channel_id, name)", "The channel has a queue of this name already."
    )
    _valid_max_length = models.Constraint(
        "CHECK (max_length >= 0)", "The most messages of a queue cannot be negative."
    )

    @api.constrains("name", "binding_key")
    def _check_lengths(self):
        for queue in self:
            if max(len(queue.name.encode()), len(queue.binding_key.encode())) > MOST_BYTES:
                raise ValidationError(
                    self.env._("A queue's name and binding key have at most 255 bytes.")
                )

    @api.model_create_multi
    def create(self, vals_list):
        queues = super().create(vals_list)
        queues.channel_id._declare_again()
        return queues

    def write(self, vals):
        channels = self.channel_id
        result = super().write(vals)
        (channels | self.channel_id)._declare_again()
        return result

    def _prepare_queue(self):
        """Return the queue as the publisher declares it."""
        self.ensure_one()
        return Queue(
            name=self.name,
            binding_key=self.binding_key,
            max_length=self.max_length,
            single_active_consumer=self.has_single_active_consumer,
        )
