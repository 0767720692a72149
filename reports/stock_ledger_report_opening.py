from odoo import fields, models
from odoo.tools import SQL


class StockLedgerReportOpening(models.Model):
    """What history leaves of the opening, by stock key: what it cannot explain.

    Stock from before the first movement, or changed by other means than movements.
    """

    _name = "stock.ledger.report.opening"
    _inherit = ["stock.ledger.report"]
    _description = "Stock That History Does Not Explain"
    _auto = False
    _rec_name = "product_id"
    _order = "product_id, location_id, lot_id, id"
    _depends = {
        "stock.ledger.entry": [
            "product_id",
            "location_id",
            "lot_id",
            "package_id",
            "owner_id",
            "company_id",
            "event_type",
            "quantity",
        ],
        "stock.ledger.backfill": ["opening_entry_id"],
        "stock.ledger.archive": ["state"],
    }

    product_id = fields.Many2one("product.product", readonly=True)
    location_id = fields.Many2one("stock.location", readonly=True)
    lot_id = fields.Many2one("stock.lot", "Lot/Serial Number", readonly=True)
    package_id = fields.Many2one("stock.package", readonly=True)
    owner_id = fields.Many2one("res.partner", readonly=True)
    company_id = fields.Many2one("res.company", readonly=True)
    product_uom_id = fields.Many2one(related="product_id.uom_id", string="Unit")
    opening_quantity = fields.Float(
        "Opening",
        digits="Product Unit",
        readonly=True,
        help="On hand when the ledger began, in the product's unit of measure",
    )
    history_quantity = fields.Float(
        "History",
        digits="Product Unit",
        readonly=True,
        help="What the movements from before add up to",
    )
    quantity = fields.Float(
        "Unexplained",
        digits="Product Unit",
        readonly=True,
        help="The opening less what history adds up to",
    )

    @property
    def _table_query(self):
        return SQL(
            """
            SELECT id, product_id, location_id, lot_id, package_id, owner_id, company_id,
                   opening_quantity, opening_quantity - quantity AS history_quantity, quantity
              FROM (%s) AS opening
             WHERE quantity <> 0
            """,
            self._query_opening(),
        )

    def _query_opening(self):
        return SQL(
            """
            SELECT MIN(entry.id) AS id, entry.product_id, entry.location_id, entry.lot_id,
                   entry.package_id, entry.owner_id, entry.company_id,
                   COALESCE(SUM(entry.quantity) FILTER (
                       WHERE entry.id <= backfill.opening_entry_id), 0) AS opening_quantity,
                   SUM(entry.quantity) AS quantity
              FROM stock_ledger_entry entry
             CROSS JOIN stock_ledger_backfill backfill
             WHERE entry.event_type = 'OPENING'
               -- An archive takes the opening, and leaves one that is no history's matter.
               AND NOT EXISTS (SELECT FROM stock_ledger_archive WHERE state = 'done')
             GROUP BY entry.product_id, entry.location_id, entry.lot_id, entry.package_id,
                      entry.owner_id, entry.company_id
            """
        )

    def action_view_entries(self):
        """Open the ledger entries of this stock key.

        :return: a window action
        """
        self.ensure_one()
        return self._prepare_entries_action(
            [
                (name, "=", self[name].id)
                for name in (
                    "product_id",
                    "location_id",
                    "lot_id",
                    "package_id",
                    "owner_id",
                    "company_id",
                )
            ]
        )
