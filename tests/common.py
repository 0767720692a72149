from odoo import Command
from odoo.tests import TransactionCase, new_test_user, tagged
from odoo.tools import SQL


def get_differences(env):
    """Return the stock keys whose ledger or rollup differs from the quants.

    An obvious query, on purpose unlike any in the addon.
    """
    key = SQL("product_id, location_id, lot_id, package_id, owner_id, company_id")
    query = SQL(
        """
        SELECT %(key)s,
               SUM(quant_on_hand), SUM(ledger_on_hand), SUM(rollup_on_hand),
               SUM(quant_reserved), SUM(ledger_reserved), SUM(rollup_reserved)
          FROM (
            SELECT %(key)s, COALESCE(quantity, 0) AS quant_on_hand,
                   reserved_quantity AS quant_reserved,
                   0 AS ledger_on_hand, 0 AS ledger_reserved,
                   0 AS rollup_on_hand, 0 AS rollup_reserved
              FROM stock_quant
            UNION ALL
            SELECT %(key)s, 0, 0, quantity, reserved_quantity, 0, 0
              FROM stock_ledger_entry
            UNION ALL
            SELECT %(key)s, 0, 0, 0, 0, quantity, reserved_quantity
              FROM stock_ledger_balance
            UNION ALL
            SELECT %(key)s, 0, 0, 0, 0, quantity, reserved_quantity
              FROM stock_ledger_delta
          ) figures
         GROUP BY %(key)s
        HAVING SUM(quant_on_hand) <> SUM(ledger_on_hand)
            OR SUM(quant_on_hand) <> SUM(rollup_on_hand)
            OR SUM(quant_reserved) <> SUM(ledger_reserved)
            OR SUM(quant_reserved) <> SUM(rollup_reserved)
        """,
        key=key,
    )
    return env.execute_query(query)


@tagged("post_install", "-at_install")
class LedgerCase(TransactionCase):
    """A warehouse, a few products, and what a test asks of the ledger."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env = cls.env(context=dict(cls.env.context, tracking_disable=True))
        cls.env.user.group_ids |= (
            cls.env.ref("stock.group_production_lot")
            | cls.env.ref("stock.group_tracking_lot")
            | cls.env.ref("stock.group_tracking_owner")
            | cls.env.ref("stock.group_stock_multi_locations")
            | cls.env.ref("uom.group_uom")
        )
        cls.warehouse = cls.env["stock.warehouse"].create(
            {"name": "Ledger Warehouse", "code": "LWH"}
        )
        cls.stock = cls.warehouse.lot_stock_id
        cls.shelf = cls.env["stock.location"].create({"name": "Shelf", "location_id": cls.stock.id})
        cls.other_warehouse = cls.env["stock.warehouse"].create(
            {"name": "Other Ledger Warehouse", "code": "LOW"}
        )
        cls.suppliers = cls.env.ref("stock.stock_location_suppliers")
        cls.customers = cls.env.ref("stock.stock_location_customers")
        cls.product = cls._create_product("Plain")
        cls.lot_product = cls._create_product("By lot", tracking="lot")
        cls.serial_product = cls._create_product("By serial", tracking="serial")
        cls.user = new_test_user(
            cls.env,
            "ledger_user",
            groups="stock.group_stock_user",
            context={"no_reset_password": True},
        )

    @classmethod
    def _create_product(cls, name, **vals):
        return cls.env["product.product"].create(
            {"name": name, "type": "consu", "is_storable": True, **vals}
        )

    # --- operations, as a user does them ---

    @classmethod
    def _create_lot(cls, product, name):
        return cls.env["stock.lot"].create({"product_id": product.id, "name": name})

    @classmethod
    def _create_picking(cls, kind, quantities, source=None, destination=None, **vals):
        """Create a draft transfer.

        :param str kind: in, out or int
        :param quantities: dictionary of quantity by product
        """
        picking_type = cls.warehouse[f"{kind}_type_id"]
        defaults = {
            "in": (cls.suppliers, cls.stock),
            "out": (cls.stock, cls.customers),
            "int": (cls.stock, cls.shelf),
        }[kind]
        source, destination = source or defaults[0], destination or defaults[1]
        return cls.env["stock.picking"].create(
            {
                "picking_type_id": picking_type.id,
                "location_id": source.id,
                "location_dest_id": destination.id,
                "move_ids": [
                    Command.create(
                        {
                            "product_id": product.id,
                            "product_uom_qty": quantity,
                            "product_uom": vals.get("uom", product.uom_id).id,
                            "location_id": source.id,
                            "location_dest_id": destination.id,
                        }
                    )
                    for product, quantity in quantities.items()
                ],
                "origin": vals.get("origin"),
            }
        )

    @classmethod
    def _validate(cls, picking):
        picking.move_ids.picked = True
        result = picking.with_context(skip_backorder=True).button_validate()
        assert result is True, result

    @classmethod
    def _receive(cls, product, quantity, destination=None, lots=(), **vals):
        """Receive into stock; with ``lots``, the quantity of each."""
        total = quantity * (len(lots) or 1)
        picking = cls._create_picking("in", {product: total}, destination=destination, **vals)
        picking.action_confirm()
        if lots:
            picking.move_ids.move_line_ids.unlink()
            picking.move_ids.move_line_ids = [
                Command.create(
                    {
                        "product_id": product.id,
                        "lot_id": lot.id,
                        "quantity": quantity,
                        "product_uom_id": product.uom_id.id,
                        "location_id": picking.location_id.id,
                        "location_dest_id": picking.location_dest_id.id,
                        "picking_id": picking.id,
                    }
                )
                for lot in lots
            ]
        cls._validate(picking)
        return picking

    @classmethod
    def _count(cls, product, location, quantity, **vals):
        """Adjust the stock to a counted quantity."""
        quant = (
            cls.env["stock.quant"]
            .with_context(inventory_mode=True)
            .create(
                {
                    "product_id": product.id,
                    "location_id": location.id,
                    "inventory_quantity": quantity,
                    **vals,
                }
            )
        )
        quant.action_apply_inventory()
        return quant

    # --- what the ledger says ---

    def _get_entries(self, domain=()):
        return self.env["stock.ledger.entry"].search([*domain], order="id")

    def _get_new_entries(self, since):
        return self._get_entries([("id", ">", since)])

    def _get_last_entry_id(self):
        return self.env["stock.ledger.entry"].search([], limit=1).id or 0

    def _get_differences(self):
        self.env["stock.ledger.entry"]._flush_buffer()
        self.env.flush_all()
        return get_differences(self.env)

    def assertLedgerBalanced(self):
        """Check ledger = quants = rollup for every stock key of the database."""
        self.assertEqual(self._get_differences(), [])

    def assertEntries(self, entries, expected):
        """Compare entries with (event type, location, on hand, reserved) tuples."""
        self.assertEqual(
            [(e.event_type, e.location_id, e.quantity, e.reserved_quantity) for e in entries],
            expected,
        )
