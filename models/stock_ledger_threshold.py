from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.tools import SQL

# Whose stock is that of a warehouse, as in the events' figures.
STOCK_USAGES = ("internal", "transit")
STATES = [("ok", "In Stock"), ("low", "Low"), ("out", "Out of Stock")]
EVENT_TYPES = ("STOCK_LOW", "STOCK_OUT", "BACK_IN_STOCK")
LIMITS = {"low_at", "out_at", "active"}
PLACES = {"product_id", "warehouse_id"}
DECIDED = {"state", "state_date", "is_due"}


class StockLedgerThreshold(models.Model):
    """From which available quantity on a product counts as low, or out, in a warehouse.

    Available is what is on hand less what is reserved. Whoever folds the ledger decides,
    transaction by transaction: folding is the one place where a product's stock changes
    in one order without anybody having to wait. Each crossing is a ledger entry that
    changes nothing, and so an event with its number among those of the product.
    """

    _name = "stock.ledger.threshold"
    _description = "Low Stock Threshold"
    _order = "product_id, warehouse_id, id"
    _check_company_auto = True

    active = fields.Boolean(default=True)
    product_id = fields.Many2one(
        "product.product",
        required=True,
        check_company=True,
        ondelete="cascade",
        domain=[("is_storable", "=", True)],
    )
    product_uom_id = fields.Many2one(related="product_id.uom_id", string="Unit")
    warehouse_id = fields.Many2one(
        "stock.warehouse",
        required=True,
        check_company=True,
        index=True,
        ondelete="cascade",
        default=lambda self: self._get_default_warehouse(),
    )
    company_id = fields.Many2one(related="warehouse_id.company_id", store=True, index=True)
    low_at = fields.Float(
        digits="Product Unit",
        required=True,
        help="The stock is low when this quantity or less is available, in the product's unit",
    )
    out_at = fields.Float(
        digits="Product Unit",
        required=True,
        default=0.0,
        help="The product is out of stock when this quantity or less is available: zero, or "
        "what is kept back",
    )
    available_quantity = fields.Float(
        "Available",
        digits="Product Unit",
        compute="_compute_available_quantity",
        help="On hand in the warehouse less reserved, now",
    )
    state = fields.Selection(
        STATES, readonly=True, copy=False, index=True, help="As it was last decided and published"
    )
    state_date = fields.Datetime("Since", readonly=True, copy=False)
    is_due = fields.Boolean(
        "To Be Decided",
        default=True,
        readonly=True,
        copy=False,
        help="New, or its limits have changed: it is decided when the ledger is folded next.",
    )

    _product_warehouse_uniq = models.UniqueIndex(
        "(product_id, warehouse_id)",
        "There is a threshold of this product and warehouse already. It may be archived.",
    )
    _limits_ordered = models.Constraint(
        "CHECK (low_at >= out_at)",
        "Stock is low before it is out: Low At may not be less than Out At.",
    )

    @api.model
    def _get_default_warehouse(self):
        warehouses = self.env["stock.warehouse"].search(
            [("company_id", "=", self.env.company.id)], limit=2
        )
        return warehouses if len(warehouses) == 1 else warehouses.browse()

    @api.depends("product_id", "warehouse_id")
    def _compute_display_name(self):
        for threshold in self:
            product, warehouse = threshold.product_id, threshold.warehouse_id
            threshold.display_name = f"{product.display_name}: {warehouse.display_name}"

    @api.depends("product_id", "warehouse_id")
    def _compute_available_quantity(self):
        self.env["stock.ledger.entry"]._flush_buffer()
        self.flush_recordset(["product_id", "warehouse_id"])
        available = dict(self.env.execute_query(self._query_available(self._origin.ids)))
        for threshold in self:
            threshold.available_quantity = available.get(threshold._origin.id, 0.0)

    @api.model
    def _query_available(self, threshold_ids):
        """Return the query of what is available now, by id."""
        return SQL(
            """
            SELECT threshold.id, SUM(quantity - reserved_quantity)
              FROM stock_ledger_threshold threshold
              JOIN (SELECT product_id, location_id, quantity, reserved_quantity
                      FROM stock_ledger_balance
                     UNION ALL
                    SELECT product_id, location_id, quantity, reserved_quantity
                      FROM stock_ledger_delta) AS stock
                ON stock.product_id = threshold.product_id
              JOIN stock_location location ON location.id = stock.location_id
             WHERE threshold.id = ANY(%s) AND location.usage IN %s
               AND location.warehouse_id = threshold.warehouse_id
             GROUP BY 1
            """,
            threshold_ids,
            STOCK_USAGES,
        )

    @api.constrains("product_id")
    def _check_product(self):
        for threshold in self:
            if not threshold.product_id.is_storable:
                raise ValidationError(
                    self.env._(
                        "%s has no stock that is tracked. Choose another product, or track its "
                        "inventory.",
                        threshold.product_id.display_name,
                    )
                )

    @api.model_create_multi
    def create(self, vals_list):
        for vals in vals_list:
            self._check_not_decided(vals)
        return super().create(vals_list)

    def write(self, vals):
        self._check_not_decided(vals)
        if PLACES & set(vals):
            # Of other stock nothing was decided yet.
            vals = {**vals, "state": False, "state_date": False, "is_due": True}
        elif LIMITS & set(vals):
            vals = {**vals, "is_due": True}
        return super().write(vals)

    def _check_not_decided(self, vals):
        """Refuse to be told what follows from the stock.

        :raises UserError: when there is any such value
        """
        if DECIDED & set(vals):
            raise UserError(
                self.env._("The state of a threshold follows from the stock. Change its limits.")
            )

    def action_view_events(self):
        """Open the ledger entries of these thresholds' crossings.

        :return: a window action
        """
        domain = [
            ("product_id", "in", self.product_id.ids),
            ("warehouse_id", "in", self.warehouse_id.ids),
            ("event_type", "in", EVENT_TYPES),
        ]
        return self.env["stock.ledger.entry"]._prepare_entries_action(domain)
