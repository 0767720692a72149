from odoo import fields, models

from ..models.stock_ledger_reconciliation import Scope


class StockLedgerReconcile(models.TransientModel):
    """Reconciles now: everything, or some products and warehouses."""

    _name = "stock.ledger.reconcile"
    _description = "Reconcile Stock"

    is_full = fields.Boolean(
        "Add up the ledger",
        default=True,
        help="Takes seconds for millions of entries. Otherwise its balances are compared with the "
        "quants, and the ledger where they differ.",
    )
    product_ids = fields.Many2many("product.product", help="None: all of them")
    warehouse_ids = fields.Many2many("stock.warehouse", help="None: all of them, and elsewhere")

    def action_reconcile(self):
        """Compare, and show what was found.

        :return: a window action of the run
        :raises UserError: when another run is under way
        """
        self.ensure_one()
        # sudo: runs compare tables, and are written by themselves; the scope is the user's.
        runs = self.env["stock.ledger.reconciliation"].sudo()
        run = runs._reconcile(self._get_scope(), self.is_full)
        return {
            "type": "ir.actions.act_window",
            "res_model": run._name,
            "res_id": run.id,
            "view_mode": "form",
            "target": "current",
        }

    def _get_scope(self):
        # sudo: how many companies there are, to tell whether these are all of them.
        companies = self.env.companies
        is_all = self.env["res.company"].sudo().search_count([]) == len(companies)
        return Scope(
            () if is_all else tuple(companies.ids),
            tuple(self.product_ids.ids),
            tuple(self.warehouse_ids.ids),
        )
