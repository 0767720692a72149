from odoo import SUPERUSER_ID, api


def migrate(cr, _version):
    """Make the rollups again: the opening of the ledger is no movement any more."""
    env = api.Environment(cr, SUPERUSER_ID, {})
    env["stock.ledger.rollup"]._rebuild()
