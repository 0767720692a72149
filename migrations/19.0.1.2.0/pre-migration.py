from odoo.tools import SQL


def migrate(cr, _version):
    """Drop the deltas of the version before, which do not tell enough."""
    cr.execute(SQL("DELETE FROM stock_ledger_delta"))
