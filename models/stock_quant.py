from decimal import Decimal

from odoo import api, models

from ..buffer import QuantState, note, remember
from ..cause import StockKey

KEY_FIELDS = ("product_id", "location_id", "lot_id", "package_id", "owner_id")
LEDGER_FIELDS = frozenset((*KEY_FIELDS, "quantity", "reserved_quantity"))


class StockQuant(models.Model):
    """Every effective change of a quant is recorded in the ledger."""

    _inherit = "stock.quant"

    @api.model_create_multi
    def create(self, vals_list):
        quants = self.browse()
        for vals in vals_list:
            # In inventory mode core adjusts an existing quant, or creates an empty
            # one and adjusts that: those changes come by here on their own.
            adjusts = self._is_inventory_mode() and (
                "inventory_quantity" in vals or "inventory_quantity_auto_apply" in vals
            )
            quant = super().create([vals])
            if not adjusts:
                quant._record_in_ledger(None, quant._get_ledger_state())
            quants |= quant
        return quants

    def write(self, vals):
        if LEDGER_FIELDS.isdisjoint(vals):
            return super().write(vals)
        before = {quant: quant._get_ledger_state() for quant in self}
        result = super().write(vals)
        for quant, state in before.items():
            quant._record_in_ledger(state, quant._get_ledger_state())
        return result

    @api.ondelete(at_uninstall=False)
    def _unlink_record_in_ledger(self):
        # Runs after core's _unlink_except_wrong_permission, which turns a manager's
        # deletion into an inventory adjustment: Odoo calls these methods by name.
        for quant in self:
            quant._record_in_ledger(quant._get_ledger_state(), None)

    def _get_ledger_state(self):
        """Return the quant's QuantState.

        Exact decimals, because the ledger's sums must equal the column's to the digit.
        """
        return QuantState(
            StockKey(*self._get_stock_key(), self.company_id.id or None),
            Decimal(repr(self.quantity)),
            Decimal(repr(self.reserved_quantity)),
        )

    def _get_stock_key(self):
        """Return the ids of KEY_FIELDS, None where there is none."""
        return tuple(self[name].id or None for name in KEY_FIELDS)

    def _record_in_ledger(self, before, after):
        """Note a change of this quant from one QuantState, or None, to another."""
        note(self.env, self.id, before, after, self.env["stock.ledger.entry"]._flush_buffer)

    @api.model
    def _record_changes_by_sql(self, states):
        """Have the ledger find out what SQL has changed.

        :param dict states: the QuantState, before that, of each quant's id
        """
        for quant_id, state in states.items():
            remember(self.env, quant_id, state, self.env["stock.ledger.entry"]._flush_buffer)
