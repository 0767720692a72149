from odoo import api, models
from odoo.fields import Domain


class StockLedgerSubjectMixin(models.AbstractModel):
    """What the ledger has entries about: its form has buttons that open them."""

    _name = "stock.ledger.subject.mixin"
    _description = "Subject of the Stock Ledger"

    def _get_ledger_domain(self):
        """Return the Domain of the ledger entries about these records."""
        raise NotImplementedError

    def _get_ledger_context(self):
        """Return the filters that the list of their entries begins with."""
        return {"search_default_in_stock": 1}

    @api.readonly
    def action_view_ledger_entries(self):
        """Open the ledger entries about these records.

        :return: a window action
        """
        return self.env["stock.ledger.entry"]._prepare_entries_action(
            self._get_ledger_domain(), self._get_ledger_context()
        )

    @api.readonly
    def action_view_events(self):
        """Open the events about these records: those to be sent, and those sent lately.

        :return: a window action
        """
        return self.env["stock.event.outbox"]._prepare_events_action(
            Domain("entry_id", "any", self._get_ledger_domain())
        )
