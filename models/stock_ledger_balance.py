from odoo import api, fields, models
from odoo.tools import SQL

from ..fields import HistoricalMany2one

# What changes a stock key, and is no movement of goods into or out of a warehouse.
STILL_TYPES = ("INTERNAL", "OPENING")


class StockLedgerBalance(models.Model):
    """What each stock key has now: on hand, reserved, and when goods last moved."""

    _name = "stock.ledger.balance"
    _inherit = ["stock.ledger.rollup"]
    _description = "Stock Ledger Balance"
    _log_access = False

    product_id = HistoricalMany2one("product.product", required=True, readonly=True)
    location_id = HistoricalMany2one("stock.location", required=True, readonly=True)
    lot_id = HistoricalMany2one("stock.lot", readonly=True)
    package_id = HistoricalMany2one("stock.package", readonly=True)
    owner_id = HistoricalMany2one("res.partner", readonly=True)
    company_id = HistoricalMany2one("res.company", readonly=True)
    quantity = fields.Float(digits="Product Unit", required=True, readonly=True)
    reserved_quantity = fields.Float(digits="Product Unit", required=True, readonly=True)
    last_movement_date = fields.Datetime(
        readonly=True,
        help="Effective date of the last change of the on-hand quantity, "
        "movements inside a warehouse and the opening of the ledger aside",
    )

    # An expression index, because the parts of a key that are empty must be equal,
    # and NULLS NOT DISTINCT asks for PostgreSQL 15.
    _key_uniq = models.UniqueIndex(
        "(product_id, location_id, (COALESCE(lot_id, 0)), (COALESCE(package_id, 0)), "
        "(COALESCE(owner_id, 0)), (COALESCE(company_id, 0)))"
    )

    @api.model
    def _query_fold(self, source):
        query = SQL(
            """
            INSERT INTO stock_ledger_balance AS balance (
                product_id, location_id, lot_id, package_id, owner_id, company_id,
                quantity, reserved_quantity, last_movement_date)
            SELECT product_id, location_id, lot_id, package_id, owner_id, company_id,
                   SUM(quantity), SUM(reserved_quantity),
                   MAX(effective_date)
                       FILTER (WHERE quantity <> 0 AND event_type NOT IN %(still)s)
              FROM %(source)s GROUP BY 1, 2, 3, 4, 5, 6
                ON CONFLICT (product_id, location_id, COALESCE(lot_id, 0),
                             COALESCE(package_id, 0), COALESCE(owner_id, 0),
                             COALESCE(company_id, 0))
                DO UPDATE SET
                    quantity = balance.quantity + EXCLUDED.quantity,
                    reserved_quantity = balance.reserved_quantity + EXCLUDED.reserved_quantity,
                    last_movement_date =
                        GREATEST(balance.last_movement_date, EXCLUDED.last_movement_date)
            """,
            still=STILL_TYPES,
            source=source,
        )
        return [("balance", query)]

    @api.model
    def _forget(self, since):
        # Archives leave what there is, but not when it last moved.
        self.env.cr.execute(
            SQL(
                """DELETE FROM stock_ledger_balance
                    WHERE last_movement_date IS NULL OR last_movement_date >= %s""",
                since,
            )
        )
        self.env.cr.execute(
            SQL("UPDATE stock_ledger_balance SET quantity = 0, reserved_quantity = 0")
        )

    @api.model
    def _query_remaining(self, since):
        # What was archived has opening entries, which are no movements.
        return SQL("stock_ledger_entry")
