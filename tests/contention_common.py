from contextlib import contextmanager

from odoo import SUPERUSER_ID, Command, api
from odoo.modules.registry import Registry
from odoo.tests import BaseCase, get_db_name, tagged

from ..relay.leader import has_worker
from .common import get_differences
from .database_copy import copy_database


@tagged("post_install", "-at_install")
class ContentionCase(BaseCase):
    """Several sessions: everything is committed, to a copy of the database."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.registry = Registry(copy_database(get_db_name()))
        with cls._session() as env:
            warehouse = env["stock.warehouse"].search([], limit=1)
            cls.stock_id = warehouse.lot_stock_id.id
            cls.out_type_id = warehouse.out_type_id.id
            cls.customers_id = env.ref("stock.stock_location_customers").id

    def setUp(self):
        super().setUp()
        # What other tests have left would be worked off, and counted, as this one's.
        with self._session() as env:
            moves, lines = env["stock.move"], env["stock.move.line"]
            moves.search(moves._get_reservation_queue_domain()).reservation_queued_date = False
            lines.search([("shortage_queued", "=", True)]).shortage_queued = False

    @classmethod
    @contextmanager
    def _session(cls):
        """A transaction of its own, committed when the block ends well."""
        with cls.registry.cursor() as cr:
            yield api.Environment(cr, SUPERUSER_ID, {"tracking_disable": True})

    @classmethod
    def _create_stock(cls, quantity, name="Contested"):
        with cls._session() as env:
            product = env["product.product"].create(
                {"name": name, "type": "consu", "is_storable": True}
            )
            env["stock.quant"]._update_available_quantity(
                product, env["stock.location"].browse(cls.stock_id), quantity
            )
            return product.id

    @classmethod
    def _create_deliveries(cls, product_id, count, quantity=1, **kwargs):
        return cls._create_transfers([[product_id]] * count, quantity, **kwargs)

    @classmethod
    def _create_transfers(cls, demands, quantity=1, reserve=False, draft=False, queue=False):
        """Create deliveries; confirmed and unreserved, unless the caller says otherwise.

        :param demands: for each transfer a list of the products' ids
        :param float quantity: how much of each
        """
        with cls._session() as env:
            pickings = env["stock.picking"].create(
                [cls._get_delivery_vals(product_ids, quantity) for product_ids in demands]
            )
            if draft:
                return pickings.ids
            picking_type = pickings.picking_type_id
            if queue:
                picking_type.reservation_policy = "always"
            pickings.action_confirm()
            picking_type.reservation_policy = "contended"
            if reserve:
                pickings.action_assign()
                assert set(pickings.mapped("state")) == {"assigned"}
            elif not queue:
                pickings.do_unreserve()
            return pickings.ids

    @classmethod
    def _get_delivery_vals(cls, product_ids, quantity):
        locations = {"location_id": cls.stock_id, "location_dest_id": cls.customers_id}
        return {
            **locations,
            "picking_type_id": cls.out_type_id,
            "move_ids": [
                Command.create({**locations, "product_id": product_id, "product_uom_qty": quantity})
                for product_id in product_ids
            ],
        }

    def _get_figures(self, product_id):
        """Return on hand, reserved on quants, reserved on lines, rows of the stock."""
        with self._session() as env:
            differences = [row for row in get_differences(env) if row[0] == product_id]
            self.assertEqual(differences, [], "ledger = rollup = quants")
            quants = env["stock.quant"].search(
                [("product_id", "=", product_id), ("location_id", "=", self.stock_id)]
            )
            lines = env["stock.move.line"].search(
                [("product_id", "=", product_id), ("state", "not in", ("done", "cancel"))]
            )
            return (
                sum(quants.mapped("quantity")),
                sum(quants.mapped("reserved_quantity")),
                sum(lines.mapped("quantity")),
                len(quants),
            )

    def _get_states(self, picking_ids):
        with self._session() as env:
            pickings = env["stock.picking"].browse(picking_ids)
            return [picking.state for picking in pickings]

    def _count_queued(self, picking_ids):
        with self._session() as env:
            moves = env["stock.move"]
            queued = moves._get_reservation_queue_domain()
            return moves.search_count([*queued, ("picking_id", "in", picking_ids)])

    @classmethod
    def _has_worker(cls):
        with cls._session() as env:
            return has_worker(env.cr)
