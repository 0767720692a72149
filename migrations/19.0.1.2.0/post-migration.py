from odoo import SUPERUSER_ID, api


def migrate(cr, _version):
    """Make the rollups, those that are new and those that deltas were dropped of."""
    env = api.Environment(cr, SUPERUSER_ID, {})
    env["stock.ledger.rollup"]._rebuild()
