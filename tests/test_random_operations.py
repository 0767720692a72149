import os
from collections import Counter
from contextlib import closing

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odoo import Command
from odoo.exceptions import UserError
from odoo.tests import new_test_user

from ..models.stock_ledger_reconciliation import EVERYTHING
from .common import LedgerCase
from .drift import find_drifts
from .random_operations import RandomOperations

OPERATIONS = RandomOperations.get_names()
STEPS_PER_EXAMPLE = 25
# More of them: RANDOM_OPERATIONS=10000 make test ARGS="tests/test_random_operations.py"
STEPS = int(os.environ.get("RANDOM_OPERATIONS", 400))


class TestRandomOperations(LedgerCase):
    """Whatever is done, and in whatever order: ledger = quants = move lines = rollups.

    Reconciliation is not asked alone: what it does not see, obvious queries do.
    """

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other_company = cls.env["res.company"].create({"name": "Other Company"})
        other_warehouse = cls.env["stock.warehouse"].search(
            [("company_id", "=", cls.other_company.id)]
        )
        cls.warehouses = cls.warehouse | other_warehouse
        cls.env["stock.location"].create(
            {
                "name": "Other Shelf",
                "location_id": other_warehouse.lot_stock_id.id,
                "company_id": cls.other_company.id,
            }
        )
        cls.env.ref("stock.stock_location_inter_company").active = True
        dozen = cls.env.ref("uom.product_uom_dozen")
        cls.products = cls.product | cls._create_product("In dozens", uom_id=dozen.id)
        cls.products |= cls.lot_product | cls.serial_product
        cls.owners = cls.env["res.partner"].create([{"name": "Consignor"}, {"name": "Other"}])
        cls.manager = new_test_user(
            cls.env,
            "random_operator",
            groups="stock.group_stock_manager,stock.group_production_lot,stock.group_tracking_lot,"
            "stock.group_tracking_owner,stock.group_stock_multi_locations,uom.group_uom",
            company_ids=[Command.set((cls.env.company | cls.other_company).ids)],
            context={"no_reset_password": True},
        )
        cls._create_orderpoint()
        cls._create_stock()
        companies = (cls.env.company | cls.other_company).ids
        env = cls.env(
            user=cls.manager, context=dict(cls.env.context, allowed_company_ids=companies)
        )
        cls.operations = RandomOperations(env, cls.warehouses, cls.products, cls.owners)
        cls.done = Counter()

    @classmethod
    def _create_stock(cls):
        """Have something to begin with."""
        for warehouse in cls.warehouses:
            for product in cls.products:
                serial = product.tracking == "serial"
                vals = {}
                if product.tracking != "none":
                    vals["lot_id"] = cls._create_lot(product, warehouse.code).id
                cls._count(product, warehouse.lot_stock_id, 1 if serial else 20, **vals)

    @classmethod
    def _create_orderpoint(cls):
        """Have the scheduler refill the shelf from the warehouse's other stock."""
        cls.env["stock.warehouse.orderpoint"].create(
            {
                "product_id": cls.product.id,
                "location_id": cls.shelf.id,
                "warehouse_id": cls.warehouse.id,
                "product_min_qty": 3,
                "product_max_qty": 8,
                "route_id": cls._create_route().id,
            }
        )

    @classmethod
    def _create_route(cls):
        return cls.env["stock.route"].create(
            {
                "name": "Refill the shelf",
                "rule_ids": [
                    Command.create(
                        {
                            "name": "Refill",
                            "action": "pull",
                            "procure_method": "make_to_stock",
                            "location_src_id": cls.stock.id,
                            "location_dest_id": cls.shelf.id,
                            "picking_type_id": cls.warehouse.int_type_id.id,
                        }
                    )
                ],
            }
        )

    def test_random_operations(self):
        self._check_random_operations()
        self.assertEqual(set(OPERATIONS) - set(self.done), set(), "something never worked")

    @settings(
        max_examples=max(1, STEPS // STEPS_PER_EXAMPLE),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        steps=st.lists(
            st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 2**32), st.booleans()),
            min_size=STEPS_PER_EXAMPLE,
            max_size=STEPS_PER_EXAMPLE,
        )
    )
    def _check_random_operations(self, steps):
        with closing(self.env.cr.savepoint()):
            for operation, seed, flush in steps:
                # What Odoo refuses, it rolls back: so does the ledger.
                try:
                    with self.env.cr.savepoint(flush=flush):
                        worked = self.operations.perform(operation, seed)
                        self.env.flush_all()
                except UserError:
                    self.env.transaction.clear()
                else:
                    self.done[operation] += worked
                self.assertEqual(find_drifts(self.env), {}, (operation, seed))
            unexplained = [
                ("product_id", "in", self.products.ids),
                ("quantity", "!=", 0),
                ("move_id", "=", False),
            ]
            self.assertFalse(self._get_entries(unexplained), "no change without its move")
            finding = self.env["stock.ledger.reconciliation"]._find(EVERYTHING, is_full=True)
            self.assertFalse(finding.drifts, "reconciliation raises no false alarm")
