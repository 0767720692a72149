"""What a history is made of: products, warehouses, and one movement of each kind through Odoo."""

from odoo.fields import Command

WAREHOUSES = 4
CATEGORIES = 12
PRODUCTS = 4000
LOTS = 4
DONE_KINDS = ("receipt", "delivery", "return", "loss", "transfer")
OPEN_KINDS = ("open_receipt", "open_delivery", "reserved_delivery")
KINDS = DONE_KINDS + OPEN_KINDS
STOCK = 1000


def make_templates(env):
    """Make products in categories, warehouses, and in each of these a move of each kind.

    :return: dictionary of the products' ids, of the id of the moves' own product, and of the
        moves' ids in the order of the kinds and, of each kind, of the warehouses
    """
    warehouses = _make_warehouses(env)
    products = _make_products(env)
    product = env["product.product"].create({"name": "Benchmark", "is_storable": True})
    for warehouse in warehouses:
        _count(env, product, warehouse, STOCK)
    moves = [
        _make_move(env, kind, product, warehouse, warehouses[(index + 1) % WAREHOUSES])
        for kind in KINDS
        for index, warehouse in enumerate(warehouses)
    ]
    env.cr.commit()
    return {
        "product_ids": products.ids,
        "template_product_id": product.id,
        "warehouse_ids": warehouses.ids,
        "move_ids": [move.id for move in moves],
    }


def _make_warehouses(env):
    warehouses = env["stock.warehouse"].search([], limit=1)
    for number in range(1, WAREHOUSES):
        warehouses += warehouses.create({"name": f"Benchmark {number}", "code": f"BM{number}"})
    # So that a delivery can be confirmed without being reserved.
    warehouses.out_type_id.reservation_method = "manual"
    return warehouses


def _make_products(env):
    categories = env["product.category"].create(
        [{"name": f"Benchmark {number}"} for number in range(CATEGORIES)]
    )
    products = env["product.product"].create(
        [
            {
                "name": f"Benchmark {number:04}",
                "default_code": f"BM-{number:04}",
                "is_storable": True,
                "tracking": "lot" if number % 10 == 1 else "none",
                "categ_id": categories[number % CATEGORIES].id,
            }
            for number in range(PRODUCTS)
        ]
    )
    env["stock.lot"].create(
        [
            {"name": str(number), "product_id": product.id}
            for product in products
            if product.tracking == "lot"
            for number in range(LOTS)
        ]
    )
    return products


def _count(env, product, warehouse, change):
    """Change a product's stock by an inventory adjustment; return its move."""
    quants = env["stock.quant"].with_context(inventory_mode=True)
    location = warehouse.lot_stock_id
    quant = quants.search(
        [("product_id", "=", product.id), ("location_id", "=", location.id)]
    ) or quants.create({"product_id": product.id, "location_id": location.id})
    quant.inventory_quantity = quant.quantity + change
    quant.action_apply_inventory()
    return env["stock.move"].search([("product_id", "=", product.id)], order="id desc", limit=1)


def _make_move(env, kind, product, warehouse, next_warehouse):
    """Make a move of one unit; return it."""
    if kind == "loss":
        return _count(env, product, warehouse, -1)
    stock = warehouse.lot_stock_id
    suppliers = env.ref("stock.stock_location_suppliers")
    customers = env.ref("stock.stock_location_customers")
    receipt = (warehouse.in_type_id, suppliers, stock)
    delivery = (warehouse.out_type_id, stock, customers)
    picking_type, source, destination = {
        "receipt": receipt,
        "delivery": delivery,
        "return": (warehouse.in_type_id, customers, stock),
        "transfer": (warehouse.int_type_id, stock, next_warehouse.lot_stock_id),
        "open_receipt": receipt,
        "open_delivery": delivery,
        "reserved_delivery": delivery,
    }[kind]
    places = {"location_id": source.id, "location_dest_id": destination.id}
    vals = {"product_id": product.id, "product_uom_qty": 1, **places}
    picking = env["stock.picking"].create(
        {"picking_type_id": picking_type.id, "move_ids": [Command.create(vals)], **places}
    )
    picking.action_confirm()
    if kind != "open_delivery":
        picking.action_assign()
    if kind in DONE_KINDS:
        picking.move_ids.picked = True
        picking.button_validate()
    return picking.move_ids
