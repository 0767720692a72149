from odoo import api, fields, models
from odoo.fields import Domain
from odoo.tools import SQL

from ..models.stock_move import OPEN_STATES, STOCK_USAGES

# Ids of rows that exist only because of an open move begin here, below zero: beyond those of
# the deltas, and within the 32 bits that XML-RPC can carry.
PLANNED_ID = 1 << 30


class StockLedgerReportStock(models.Model):
    """Stock by stock key: physical, reserved, available, and what is planned.

    Rollup plus unfolded deltas plus open moves. What is planned is not known by lot,
    package or owner: it is on the row of its product and location without them.
    """

    _name = "stock.ledger.report.stock"
    _inherit = ["stock.ledger.report"]
    _description = "Stock by Product and Location"
    _auto = False
    _rec_name = "product_id"
    _order = "product_id, location_id, id"
    _depends = {
        "stock.ledger.balance": [
            "product_id",
            "location_id",
            "lot_id",
            "package_id",
            "owner_id",
            "company_id",
            "quantity",
            "reserved_quantity",
        ],
        "stock.ledger.delta": [
            "product_id",
            "location_id",
            "lot_id",
            "package_id",
            "owner_id",
            "company_id",
            "quantity",
            "reserved_quantity",
        ],
        "stock.location": ["company_id", "usage", "warehouse_id"],
        "stock.move": [
            "product_id",
            "location_id",
            "location_dest_id",
            "location_final_id",
            "product_qty",
            "state",
        ],
        "product.product": ["product_tmpl_id"],
        "product.template": ["categ_id", "is_storable"],
    }

    product_id = fields.Many2one("product.product", readonly=True)
    product_categ_id = fields.Many2one("product.category", string="Product Category", readonly=True)
    warehouse_id = fields.Many2one(
        "stock.warehouse",
        readonly=True,
        help="Empty for goods in transit between warehouses",
    )
    location_id = fields.Many2one("stock.location", readonly=True)
    lot_id = fields.Many2one("stock.lot", string="Lot/Serial Number", readonly=True)
    package_id = fields.Many2one("stock.package", readonly=True)
    owner_id = fields.Many2one("res.partner", readonly=True)
    company_id = fields.Many2one("res.company", readonly=True)
    product_uom_id = fields.Many2one(related="product_id.uom_id", string="Unit")
    physical_quantity = fields.Float(
        "Physical",
        digits="Product Unit",
        readonly=True,
        help="On hand, in the product's unit of measure",
    )
    reserved_quantity = fields.Float(
        "Reserved",
        digits="Product Unit",
        readonly=True,
        help="Promised to transfers, in the product's unit of measure",
    )
    available_quantity = fields.Float(
        "Available",
        digits="Product Unit",
        readonly=True,
        help="Physical less reserved, in the product's unit of measure",
    )
    incoming_quantity = fields.Float(
        "Incoming",
        digits="Product Unit",
        readonly=True,
        help="Planned to arrive from outside the warehouse, in the product's unit of measure",
    )
    outgoing_quantity = fields.Float(
        "Outgoing",
        digits="Product Unit",
        readonly=True,
        help="Planned to leave the warehouse, in the product's unit of measure",
    )
    internal_quantity = fields.Float(
        "Planned Inside",
        digits="Product Unit",
        readonly=True,
        help="Planned to arrive from, or (below zero) to leave for, another location of the "
        "same warehouse, in the product's unit of measure",
    )
    forecast_quantity = fields.Float(
        "Forecast",
        digits="Product Unit",
        readonly=True,
        help="Physical and incoming less outgoing, and what is planned inside the warehouse",
    )

    @property
    def _table_query(self):
        # Changes are few: once for both uses, and planned once, is what makes this quick.
        return SQL(
            """
            WITH place AS MATERIALIZED (%s), change AS MATERIALIZED (%s)
            SELECT %s FROM %s WHERE %s
            """,
            self._query_places(),
            self._query_known_changes(),
            self._query_select(),
            self._query_from(),
            self._query_where(),
        )

    def _query_select(self):
        return SQL(
            """
            stock.id, stock.product_id, template.categ_id AS product_categ_id,
            location.warehouse_id, stock.location_id, stock.lot_id, stock.package_id,
            stock.owner_id, stock.company_id,
            stock.quantity AS physical_quantity,
            stock.reserved AS reserved_quantity,
            stock.quantity - stock.reserved AS available_quantity,
            stock.incoming AS incoming_quantity,
            stock.outgoing AS outgoing_quantity,
            stock.internal AS internal_quantity,
            stock.quantity + stock.incoming - stock.outgoing + stock.internal
                AS forecast_quantity
            """
        )

    def _query_from(self):
        # What a query does not ask for, PostgreSQL does not join: hence the outer joins.
        return SQL(
            """
            (%s UNION ALL %s) AS stock
            JOIN stock_location location ON location.id = stock.location_id
            LEFT JOIN product_product product ON product.id = stock.product_id
            LEFT JOIN product_template template ON template.id = product.product_tmpl_id
            """,
            self._query_known(),
            self._query_new(),
        )

    def _query_where(self):
        return SQL(
            """
            location.usage IN %s AND (stock.quantity <> 0 OR stock.reserved <> 0)
            OR stock.incoming <> 0 OR stock.outgoing <> 0 OR stock.internal <> 0
            """,
            STOCK_USAGES,
        )

    def _query_known(self):
        """Stock keys that have a balance, which gives them their id."""
        return SQL(
            """
            SELECT balance.id, balance.product_id, balance.location_id, balance.lot_id,
                   balance.package_id, balance.owner_id, balance.company_id,
                   balance.quantity + COALESCE(change.quantity, 0) AS quantity,
                   balance.reserved_quantity + COALESCE(change.reserved, 0) AS reserved,
                   COALESCE(change.incoming, 0) AS incoming,
                   COALESCE(change.outgoing, 0) AS outgoing,
                   COALESCE(change.internal, 0) AS internal
              FROM stock_ledger_balance balance
              LEFT JOIN change ON change.balance_id = balance.id
             WHERE balance.location_id IN (SELECT id FROM place WHERE place IS NOT NULL)
            """
        )

    def _query_new(self):
        """Stock keys that have none yet: below zero, the id of what came first."""
        return SQL(
            """
            SELECT -id, product_id, location_id, lot_id, package_id, owner_id, company_id,
                   quantity, reserved, incoming, outgoing, internal
              FROM change WHERE balance_id IS NULL
            """
        )

    def _query_known_changes(self):
        """What the balances do not have, by stock key, with the balance that has its key."""
        return SQL(
            """
            SELECT change.*, balance.id AS balance_id
              FROM (%s) AS change
              LEFT JOIN stock_ledger_balance balance ON
                   change.product_id = balance.product_id
                   AND change.location_id = balance.location_id
                   AND COALESCE(change.lot_id, 0) = COALESCE(balance.lot_id, 0)
                   AND COALESCE(change.package_id, 0) = COALESCE(balance.package_id, 0)
                   AND COALESCE(change.owner_id, 0) = COALESCE(balance.owner_id, 0)
                   AND COALESCE(change.company_id, 0) = COALESCE(balance.company_id, 0)
            """,
            self._query_changes(),
        )

    def _query_changes(self):
        """Unfolded deltas and open moves, by stock key."""
        return SQL(
            """
            SELECT product_id, location_id, lot_id, package_id, owner_id, company_id,
                   MIN(id) AS id, SUM(quantity) AS quantity, SUM(reserved) AS reserved,
                   SUM(incoming) AS incoming, SUM(outgoing) AS outgoing,
                   SUM(internal) AS internal
              FROM (SELECT id, product_id, location_id, lot_id, package_id, owner_id,
                           company_id, quantity, reserved_quantity AS reserved,
                           0 AS incoming, 0 AS outgoing, 0 AS internal
                      FROM stock_ledger_delta
                     UNION ALL
                    SELECT id, product_id, location_id, NULL, NULL, NULL, company_id, 0, 0,
                           incoming, outgoing, internal
                      FROM (%s) AS planned) AS changes
             GROUP BY 1, 2, 3, 4, 5, 6
            """,
            self._query_planned(),
        )

    def _query_planned(self, condition=SQL("TRUE")):  # noqa: B008
        """Both ends of the open moves, those that lie outside of our stock aside.

        As Odoo's ``incoming_qty`` and ``outgoing_qty`` see it: what leaves a warehouse for
        another, or for outside, is outgoing, by its final destination if it has one.

        :param SQL condition: of the ``move``
        """
        return SQL(
            """
            SELECT %(first_id)s + 2 * move.id + side.number AS id, move.product_id,
                   side.location_id, side.company_id,
                   CASE WHEN side.number = 1 AND crosses THEN product_qty ELSE 0 END AS incoming,
                   CASE WHEN side.number = 0 AND crosses THEN product_qty ELSE 0 END AS outgoing,
                   CASE WHEN crosses THEN 0 WHEN side.number = 0 THEN -product_qty
                        ELSE product_qty END AS internal
              FROM (%(moves)s) AS move
             CROSS JOIN LATERAL (
                VALUES (0, source_id, source_company_id, source_place),
                       (1, target_id, target_company_id, target_place)
             ) AS side (number, location_id, company_id, place)
             WHERE side.place IS NOT NULL
            """,
            first_id=PLANNED_ID,
            moves=self._query_open_moves(condition),
        )

    def _query_open_moves(self, condition=SQL("TRUE")):  # noqa: B008
        """Open moves with where they begin and where they are planned to end.

        That is the next location, unless only the final one is in the warehouse that Odoo
        counts the move for.
        """
        return SQL(
            """
            SELECT move.id, move.product_id, move.product_qty,
                   source.id AS source_id, source.company_id AS source_company_id,
                   source.place AS source_place,
                   target.id AS target_id, target.company_id AS target_company_id,
                   target.place AS target_place,
                   source.place IS DISTINCT FROM target.place AS crosses
              FROM (SELECT move.id, product_id, product_qty, location_id, location_dest_id,
                           location_final_id
                      FROM stock_move move
                      JOIN product_product product ON product.id = move.product_id
                      JOIN product_template template ON template.id = product.product_tmpl_id
                     WHERE move.state IN %s AND template.is_storable AND %s
                    -- The planner takes the joins below for a filter, and would look the
                    -- products up one by one.
                    OFFSET 0) AS move
              JOIN place AS source ON source.id = move.location_id
              JOIN place AS next ON next.id = move.location_dest_id
              JOIN place AS final
                   ON final.id = COALESCE(move.location_final_id, move.location_dest_id)
              JOIN place AS target
                   ON target.id = CASE WHEN next.place IS NOT DISTINCT FROM final.place
                                       THEN next.id ELSE final.id END
            """,
            OPEN_STATES,
            condition,
        )

    def _query_places(self):
        """Which warehouse each location is in; 0 for other stock, NULL for outside."""
        return SQL(
            """
            SELECT id, company_id,
                   COALESCE(warehouse_id, CASE WHEN usage IN %s THEN 0 END) AS place
              FROM stock_location
            """,
            STOCK_USAGES,
        )

    def _get_entries_domain(self):
        """Return which ledger entries are behind this row."""
        self.ensure_one()
        return Domain.AND(
            [(name, "=", self[name].id)]
            for name in (
                "product_id",
                "location_id",
                "lot_id",
                "package_id",
                "owner_id",
                "company_id",
            )
        )

    def _get_planned_moves_domain(self):
        """Return which open moves are behind this row."""
        self.ensure_one()
        if not (self.incoming_quantity or self.outgoing_quantity or self.internal_quantity):
            return Domain.FALSE
        here = self.location_id.id
        final_is_near = Domain("location_final_id.warehouse_id", "=", self.warehouse_id.id)
        if not self.warehouse_id:
            final_is_near &= Domain("location_final_id.usage", "in", STOCK_USAGES)
        final_is_near |= Domain("location_final_id", "=", False)
        return (
            Domain("product_id", "=", self.product_id.id)
            & Domain("state", "in", OPEN_STATES)
            & (
                Domain("location_id", "=", here)
                | Domain("location_dest_id", "=", here) & final_is_near
                | Domain("location_final_id", "=", here)
                & Domain("location_dest_id.warehouse_id", "!=", self.warehouse_id.id)
            )
        )

    @api.readonly
    def action_view_entries(self):
        """Open the ledger entries behind this row.

        :return: a window action
        """
        return self._prepare_entries_action(self._get_entries_domain())

    @api.readonly
    def action_view_planned_moves(self):
        """Open the open moves behind what is planned on this row.

        :return: a window action
        """
        action = self.env["ir.actions.act_window"]._for_xml_id("stock.stock_move_action")
        return {
            **action,
            "name": self.env._("Planned Moves"),
            "domain": list(self._get_planned_moves_domain()),
            "context": {},
        }

    @api.readonly
    def action_view_transfers(self):
        """Open the transfers behind this row: those that changed it and those that will.

        :return: a window action
        """
        return self._prepare_transfers_action(
            Domain("ledger_entry_ids", "any", self._get_entries_domain())
            | Domain("move_ids", "any", self._get_planned_moves_domain())
        )
