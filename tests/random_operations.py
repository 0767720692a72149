from contextlib import closing, contextmanager, nullcontext
from random import Random
from unittest.mock import patch

from odoo import Command

OPEN = ("assigned", "confirmed", "waiting")
QUANTITIES = (0.25, 1, 1, 2, 3.5, 10)


class RandomOperations:
    """What people do in two companies' warehouses, chosen by chance, by Odoo's public methods.

    :param env: the environment of a stock manager of both companies
    :param warehouses: one of each company
    :param products: their tracking decides how they are moved
    :param owners: partners whose goods are kept beside one's own
    """

    def __init__(self, env, warehouses, products, owners):
        self.env = env
        self.warehouses = warehouses.with_env(env)
        self.products = products.with_env(env)
        self.owners = owners.with_env(env)
        self.units = env.ref("uom.product_uom_unit") | env.ref("uom.product_uom_dozen")
        self.transit = env.ref("stock.stock_location_inter_company")

    @classmethod
    def get_names(cls):
        """Return the names of all operations, sorted."""
        return sorted(name[4:] for name in dir(cls) if name.startswith("_do_"))

    def perform(self, name, seed):
        """Perform an operation.

        :param str name: one of those of ``get_names``
        :param int seed: decides on everything that is chosen
        :return: whether there was anything to do
        :raises UserError: what Odoo refuses
        """
        self.chance = Random(seed)
        self.warehouse = self._any(self.warehouses)
        self.warehouse = self.warehouse.with_company(self.warehouse.company_id)
        busy = self._rows_being_busy() if self._one_in(6) else nullcontext()
        with busy:
            return getattr(self, f"_do_{name}")() is not False

    # --- chance ---

    def _any(self, records):
        return self.chance.choice(records) if records else records

    def _one_in(self, count):
        return not self.chance.randrange(count)

    def _any_quantity(self, product=None):
        serial = product and product.tracking == "serial"
        return 1 if serial else self.chance.choice(QUANTITIES)

    @contextmanager
    def _rows_being_busy(self):
        """As if other sessions held every quant: core inserts others beside them."""
        with patch.object(
            self.env.registry["stock.quant"],
            "try_lock_for_update",
            lambda quants, **_options: quants.browse(),
        ):
            yield

    # --- what there is ---

    def _any_place(self):
        places = self.env["stock.location"].search(
            [("warehouse_id", "=", self.warehouse.id), ("usage", "=", "internal")]
        )
        return self._any(places)

    def _any_picking(self, *states):
        pickings = self.env["stock.picking"].search([("state", "in", states)])
        return self._inside(self._any(pickings))

    def _any_line(self, *states, **conditions):
        domain = [("state", "in", states), ("product_id", "in", self.products.ids)]
        domain += [(name, "=", value) for name, value in conditions.items()]
        return self._inside(self._any(self.env["stock.move.line"].search(domain)))

    def _any_quant(self):
        quants = self.env["stock.quant"].search(
            [("location_id.usage", "=", "internal"), ("quantity", ">", 0)]
        )
        return self._inside(self._any(quants))

    def _inside(self, record):
        """Work in the record's company, as who opens it does."""
        return record.with_company(record.company_id) if record else record

    def _any_lot(self, product):
        if product.tracking == "none":
            return self.env["stock.lot"]
        lots = self.env["stock.lot"].search([("product_id", "=", product.id)])
        if len(lots) < 3 or (product.tracking == "serial" and self._one_in(2)):
            lots = lots.create({"product_id": product.id, "name": f"{product.name} {len(lots)}"})
        return self._any(lots)

    def _any_package(self, place):
        """Return a package that may be at the place, a new one, or none."""
        if self._one_in(2):
            return self.env["stock.package"]
        packages = self.env["stock.package"].search([("location_id", "=", place.id)])
        if not packages or self._one_in(3):
            return packages.create({})
        return self._any(packages)

    def _any_owner(self):
        return self._any(self.owners) if self._one_in(4) else self.owners.browse()

    # --- transfers ---

    def _create_picking(self, kind, source, destination, owner=None):
        products = self.chance.sample(self.products, self.chance.choice((1, 1, 2)))
        picking = self.warehouse.env["stock.picking"].create(
            {
                "picking_type_id": self.warehouse[f"{kind}_type_id"].id,
                "location_id": source.id,
                "location_dest_id": destination.id,
                "owner_id": owner.id if owner else False,
                "move_ids": [
                    Command.create(
                        {
                            "product_id": product.id,
                            "product_uom_qty": self._any_quantity(product),
                            "product_uom": self._any_unit(product).id,
                            "location_id": source.id,
                            "location_dest_id": destination.id,
                        }
                    )
                    for product in products
                ],
            }
        )
        picking.action_confirm()
        return picking

    def _any_unit(self, product):
        return product.uom_id if product.tracking == "serial" else self._any(self.units)

    def _validate(self, picking):
        picking.move_ids.picked = True
        leave = {"picking_ids_not_to_backorder": picking.ids} if self._one_in(3) else {}
        picking.with_context(skip_backorder=True, **leave).button_validate()
        return picking.state == "done"

    def _do_receive(self):
        source = self.transit if self._one_in(6) else self.env.ref("stock.stock_location_suppliers")
        picking = self._create_picking("in", source, self._any_place(), self._any_owner())
        for line in picking.move_line_ids:
            line.lot_id = self._any_lot(line.product_id)
            line.result_package_id = self._any_package(line.location_dest_id)
        return self._validate(picking)

    def _do_order(self):
        destination = self.env.ref("stock.stock_location_customers")
        if self._one_in(6):
            destination = self.transit
        self._create_picking("out", self.warehouse.lot_stock_id, destination)

    def _do_move(self):
        self._create_picking("int", self._any_place(), self._any_place())

    def _do_reserve(self):
        picking = self._any_picking("confirmed", "assigned")
        return picking.action_assign() if picking else False

    def _do_unreserve(self):
        picking = self._any_picking("confirmed", "assigned")
        return picking.do_unreserve() if picking else False

    def _do_validate(self):
        picking = self._any_picking("assigned")
        return bool(picking) and self._validate(picking)

    def _do_validate_part(self):
        picking = self._any_picking("assigned")
        lines = picking.move_line_ids.filtered("quantity")
        if not lines:
            return False
        self._any(lines).quantity /= 2
        return self._validate(picking)

    def _do_cancel(self):
        picking = self._any_picking(*OPEN)
        return bool(picking) and picking.action_cancel()

    def _do_return(self):
        picking = self._any_picking("done")
        if not picking:
            return False
        wizard = (
            picking.env["stock.return.picking"]
            .with_context(active_id=picking.id, active_model="stock.picking")
            .create({"picking_id": picking.id})
        )
        for line in wizard.product_return_moves:
            line.quantity = self._any_quantity(line.product_id)
        action = wizard.action_create_returns()
        returned = picking.browse(action["res_id"])
        return self._validate(returned) if self._one_in(2) else True

    def _do_change_demand(self):
        picking = self._any_picking(*OPEN)
        if not picking:
            return False
        move = self._any(picking.move_ids)
        move.product_uom_qty = self._any_quantity(move.product_id)
        return True

    # --- lines, before and after they are done ---

    def _do_change_open_line(self):
        return self._change_line(self._any_line("assigned", "partially_available"))

    def _do_change_done_line(self):
        return self._change_line(self._any_line("done"))

    def _change_line(self, line):
        if not line:
            return False
        change = self.chance.choice(("quantity", "lot", "package", "owner", "to", "into", "all"))
        if change in ("quantity", "all"):
            line.quantity = self._any_quantity(line.product_id)
        elif change == "owner":
            line.owner_id = self._any_owner()
        elif change == "to":
            line.location_dest_id = self._any_place()
        elif change == "into":
            line.result_package_id = self._any_package(line.location_dest_id)
        if change in ("lot", "all"):
            line.lot_id = self._any_lot(line.product_id)
        if change in ("package", "all"):
            line.package_id = self._any_package(line.location_id)
        return True

    def _do_delete_line(self):
        line = self._any_line("assigned", "partially_available", "confirmed")
        return bool(line) and line.unlink()

    def _do_add_line(self):
        picking = self._any_picking("assigned", "confirmed")
        if not picking:
            return False
        move = self._any(picking.move_ids)
        move.move_line_ids = [
            Command.create(
                {
                    "product_id": move.product_id.id,
                    "product_uom_id": self._any_unit(move.product_id).id,
                    "quantity": self._any_quantity(move.product_id),
                    "lot_id": self._any_lot(move.product_id).id,
                    "location_id": move.location_id.id,
                    "location_dest_id": move.location_dest_id.id,
                    "picking_id": picking.id,
                }
            )
        ]
        return True

    def _do_pack(self):
        picking = self._any_picking("assigned")
        return bool(picking.move_line_ids) and picking.action_put_in_pack()

    def _do_unpack(self):
        packages = self.env["stock.package"].search([("location_id.usage", "=", "internal")])
        package = self._inside(self._any(packages))
        return bool(package) and package.unpack()

    def _do_redate(self):
        picking = self._any_picking("done")
        picking.move_ids.date = f"2024-01-{self.chance.randrange(1, 29):02} 12:00:00"
        return bool(picking)

    # --- stock ---

    def _do_scrap(self):
        quant = self._any_quant()
        if not quant:
            return False
        scrap = quant.env["stock.scrap"].create(
            {
                "product_id": quant.product_id.id,
                "product_uom_id": self._any_unit(quant.product_id).id,
                "scrap_qty": self._any_quantity(quant.product_id),
                "location_id": quant.location_id.id,
                "lot_id": quant.lot_id.id,
                "package_id": quant.package_id.id,
                "owner_id": quant.owner_id.id,
            }
        )
        return scrap.action_validate() is True

    def _do_adjust(self):
        """Count what is there, or what nobody knew of."""
        product, place = self._any(self.products), self._any_place()
        count = "inventory_quantity_auto_apply" if self._one_in(3) else "inventory_quantity"
        quant = (
            self.warehouse.env["stock.quant"]
            .with_context(inventory_mode=True)
            .create(
                {
                    "product_id": product.id,
                    "location_id": place.id,
                    "lot_id": self._any_lot(product).id if self._one_in(2) else False,
                    "package_id": self._any_package(place).id,
                    "owner_id": self._any_owner().id,
                    count: self._any_quantity(product),
                }
            )
        )
        if count == "inventory_quantity" and self._one_in(2):
            quant.action_apply_inventory()

    def _do_adjust_all(self):
        """Apply all counts; where stock has moved since, one or the other figure is kept."""
        quants = self.warehouse.env["stock.quant"].search(
            [
                ("inventory_quantity_set", "=", True),
                ("company_id", "=", self.warehouse.company_id.id),
            ]
        )
        if not quants:
            return False
        wizard = quants.env["stock.inventory.adjustment.name"].create(
            {"quant_ids": quants.ids, "inventory_adjustment_name": "Yearly"}
        )
        if action := wizard.action_apply():
            conflict = quants.env[action["res_model"]].with_context(**action["context"]).create({})
            # Another request.
            self.env.invalidate_all()
            if self._one_in(2):
                conflict.action_keep_counted_quantity()
            else:
                conflict.action_keep_difference()
        return True

    def _do_revert_adjustment(self):
        line = self._any_line("done", is_inventory=True)
        return bool(line) and line.action_revert_inventory()

    def _do_relocate(self):
        quant = self._any_quant()
        if not quant:
            return False
        wizard = quant.env["stock.quant.relocate"].create(
            {
                "quant_ids": quant.ids,
                "dest_location_id": self._any_place().id,
                "message": "Relocated",
            }
        )
        wizard.action_relocate_quants()
        return True

    # --- what runs by itself ---

    def _do_merge_quants(self):
        self.env["stock.quant"].sudo()._quant_tasks()

    def _do_run_scheduler(self):
        self.env["stock.rule"].sudo().run_scheduler()

    def _do_fold(self):
        self.env["stock.ledger.balance"].sudo()._fold(self.chance.randrange(1, 20))

    def _do_undo(self):
        with closing(self.env.cr.savepoint(flush=self._one_in(2))):
            self._do_receive()
            self._do_order()
            self.env.flush_all()
        self.env.transaction.clear()
