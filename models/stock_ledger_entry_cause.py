from contextlib import contextmanager

from odoo import api, fields, models
from odoo.tools import SQL

from ..cause import caused_by_message, current_message
from ..fields import HistoricalMany2one


class StockLedgerEntryCause(models.Model):
    """The message or call from outside that a ledger entry was written for.

    Beside the ledger and not in it: few entries have one, and a column of the ledger would
    change what is sealed and archived.
    """

    _name = "stock.ledger.entry.cause"
    _description = "Cause of a Stock Ledger Entry"
    _order = "entry_id"
    _rec_name = "causation_id"
    _log_access = False

    entry_id = HistoricalMany2one("stock.ledger.entry", required=True, readonly=True)
    causation_id = fields.Char(
        "Causation ID",
        required=True,
        readonly=True,
        index=True,
        help="The id of the command, or the idempotency key of the call",
    )
    correlation_id = fields.Char(
        "Correlation ID", readonly=True, help="The conversation that the command belongs to"
    )

    _unique_entry = models.UniqueIndex("(entry_id)")

    @api.model
    def _record(self, entry_ids):
        """Note the cause of new entries, if they are written for one."""
        message = current_message()
        if message and entry_ids:
            self.env.cr.execute(
                SQL(
                    """INSERT INTO stock_ledger_entry_cause (
                           entry_id, causation_id, correlation_id)
                       SELECT UNNEST(%s::int[]), %s, %s""",
                    entry_ids,
                    message.causation_id,
                    message.correlation_id,
                )
            )
            self.invalidate_model(flush=False)


class StockLedgerEntry(models.Model):
    """Entries name the message that they were written for."""

    _inherit = "stock.ledger.entry"

    cause_ids = fields.One2many("stock.ledger.entry.cause", "entry_id", readonly=True)
    causation_id = fields.Char("Causation ID", related="cause_ids.causation_id")
    correlation_id = fields.Char("Correlation ID", related="cause_ids.correlation_id")

    @api.model
    def _after_append(self, entry_ids):
        self.env["stock.ledger.entry.cause"]._record(entry_ids)
        return super()._after_append(entry_ids)

    @api.model
    @contextmanager
    def _caused_by(self, causation_id, correlation_id=None):
        """Attribute the entries of what is done inside the block to a message or call.

        Of blocks inside each other the outer one counts: a command's call has a key of its
        own, and the partner knows the message.

        :param str causation_id: the id of the command, or the key of the call
        :param str correlation_id: the conversation that it belongs to
        """
        if current_message():
            yield
            return
        # What was noted before has another cause, or none.
        self._flush_buffer()
        with caused_by_message(causation_id, correlation_id or None):
            yield
            # Entries are written before the commit, when the block has ended.
            self.env.flush_all()
            self._flush_buffer()
