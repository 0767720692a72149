"""What the zygote's children do for partners; as in ``jobs``, which runs them."""

import contextlib

from odoo import SUPERUSER_ID, api
from odoo.modules.registry import Registry

STOCK = 100_000


@contextlib.contextmanager
def committing(dbname):
    """An environment; what it does is committed."""
    with Registry(dbname).cursor() as cr:
        yield api.Environment(cr, SUPERUSER_ID, {})


def prepare_partner(dbname, channel_id, code, queue, partner_code, partner_queue, skus):
    """Make a warehouse, with stock, and enter the partner's warehouse beside it.

    :return: the id of the stock.partner.warehouse
    """
    with committing(dbname) as env:
        warehouse = env["stock.warehouse"].create({"name": f"Warehouse {code}", "code": code})
        user = env["res.users"].create(
            {
                "name": queue,
                "login": queue,
                "group_ids": [(6, 0, env.ref("stock_event_ledger.group_integration").ids)],
            }
        )
        command_queue = env["stock.command.queue"].create(
            {"channel_id": channel_id, "name": queue, "user_id": user.id}
        )
        for sku in skus:
            product = env["product.product"].create(
                {"name": f"Thing {sku}", "default_code": sku, "is_storable": True}
            )
            env["stock.quant"]._update_available_quantity(product, warehouse.lot_stock_id, STOCK)
        partner = env["stock.partner.warehouse"].create(
            {
                "name": f"Partner's {partner_code}",
                "code": partner_code,
                "queue_id": command_queue.id,
                "routing_key": partner_queue,
            }
        )
        return partner.id


def ship(dbname, partner_id, code, quantities):
    """Ship goods to the partner's warehouse, and return the shipment's uid.

    :param dict quantities: by internal reference
    """
    with committing(dbname) as env:
        location = env["stock.partner.warehouse"].browse(partner_id).location_id
        warehouse = env["stock.warehouse"].search([("code", "=", code)])
        places = {
            "location_id": warehouse.lot_stock_id.id,
            "location_dest_id": location.id,
        }
        products = env["product.product"].search([("default_code", "in", list(quantities))])
        picking = env["stock.picking"].create(
            {
                **places,
                "picking_type_id": warehouse.int_type_id.id,
                "move_ids": [
                    (
                        0,
                        0,
                        {
                            **places,
                            "product_id": product.id,
                            "product_uom_qty": quantities[product.default_code],
                        },
                    )
                    for product in products
                ],
            }
        )
        picking.action_confirm()
        picking.action_assign()
        _validate(picking)
        return picking.partner_shipment_id.uid


def receive_shipment(dbname, uid, share=1, backorder=True):
    """Validate the receipt of a shipment.

    :param float share: which part of each product, rounded down
    :param bool backorder: whether the rest is still expected
    """
    with committing(dbname) as env:
        shipment = env["stock.partner.shipment"].search([("uid", "=", uid)])
        [picking] = shipment.picking_ids.filtered(lambda picking: picking.state == "assigned")
        for move in picking.move_ids:
            move.quantity = move.product_uom_qty * share // 1
        _validate(picking, backorder)


def _validate(picking, backorder=True):
    picking.move_ids.picked = True
    context = {"skip_backorder": True}
    if not backorder:
        context["picking_ids_not_to_backorder"] = picking.ids
    picking.with_context(**context).button_validate()
    picking.env.cr.flush()


def read_shipment(dbname, uid):
    """Return what this side knows of a shipment, or None."""
    with committing(dbname) as env:
        shipment = env["stock.partner.shipment"].search([("uid", "=", uid)])
        if not shipment:
            return None
        [values] = shipment.read(
            ["direction", "state", "error", "has_difference", "version", "partner_version"]
        )
        return {
            **values,
            "lines": {
                line.sku: [line.quantity, line.received_quantity, line.transit_quantity]
                for line in shipment.line_ids
            },
            "pickings": len(shipment.picking_ids),
            "orders": len(shipment.picking_ids.filtered(lambda picking: not picking.backorder_id)),
            "done": _sum(shipment.picking_ids.move_ids),
            "departed": _sum(env["stock.move"].search([("partner_shipment_id", "=", shipment.id)])),
        }


def _sum(moves):
    quantities = {}
    for move in moves.filtered(lambda move: move.state == "done"):
        sku = move.product_id.default_code
        quantities[sku] = quantities.get(sku, 0) + move.quantity
    return quantities


def read_transit(dbname, partner_id):
    """Return what is in transit to the partner's warehouse, by internal reference."""
    with committing(dbname) as env:
        location = env["stock.partner.warehouse"].browse(partner_id).location_id
        quantities = {}
        for quant in env["stock.quant"].search([("location_id", "=", location.id)]):
            sku = quant.product_id.default_code
            quantities[sku] = quantities.get(sku, 0) + quant.quantity
        return {sku: quantity for sku, quantity in quantities.items() if quantity}
