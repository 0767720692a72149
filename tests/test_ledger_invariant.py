from collections import Counter
from contextlib import closing

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odoo.exceptions import UserError

from .common import LedgerCase

OPERATIONS = (
    "receive",
    "reserve",
    "unreserve",
    "deliver",
    "return",
    "scrap",
    "adjust",
    "move",
    "edit_done_line",
    "redate",
    "cancel",
    "pack",
    "duplicate_quant",
    "quant_tasks",
    "fold",
    "undo",
)
QUANTITIES = st.sampled_from([0.25, 1, 2, 3.5, 10])
STEPS = st.lists(
    st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 20), QUANTITIES, st.booleans()),
    min_size=8,
    max_size=16,
)


class TestLedgerInvariant(LedgerCase):
    """Whatever is done, and in whatever order: ledger = quants = rollup."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.products = cls.product | cls._create_product(
            "In dozens", uom_id=cls.env.ref("uom.product_uom_dozen").id
        )
        cls.products |= cls.lot_product
        cls.lot = cls._create_lot(cls.lot_product, "RANDOM")
        cls.done = Counter()

    def test_random_operations(self):
        self._check_random_operations()
        self.assertEqual(set(self.done), set(OPERATIONS), "something never worked")

    @settings(
        max_examples=50,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(steps=STEPS)
    def _check_random_operations(self, steps):
        with closing(self.env.cr.savepoint()):
            self.pickings = self.env["stock.picking"]
            for operation, pick, quantity, flag in steps:
                # What Odoo refuses, it rolls back: so does the ledger.
                try:
                    with self.env.cr.savepoint(flush=flag):
                        self._perform(operation, pick, quantity)
                        self.env.flush_all()
                except UserError:
                    self.env.invalidate_all()
                else:
                    self.done[operation] += 1
                self.assertLedgerBalanced()

    def _perform(self, operation, pick, quantity):
        product = self.products[pick % len(self.products)]
        getattr(self, f"_do_{operation}")(product, quantity, pick)

    def _pick(self, pick, *states):
        pickings = self.pickings.exists().filtered(lambda p: p.state in states)
        return pickings[pick % len(pickings)] if pickings else pickings

    def _do_receive(self, product, quantity, pick):
        lots = self.lot if product == self.lot_product else ()
        destination = self.shelf if pick % 3 == 0 else self.stock
        self.pickings |= self._receive(product, quantity, destination=destination, lots=lots)

    def _do_reserve(self, product, quantity, pick):
        uom = self.env.ref("uom.product_uom_dozen" if pick % 2 else "uom.product_uom_unit")
        picking = self._create_picking("out", {product: quantity}, uom=uom)
        picking.action_confirm()
        self.pickings |= picking

    def _do_unreserve(self, _product, _quantity, pick):
        self._pick(pick, "assigned", "confirmed").do_unreserve()

    def _do_deliver(self, _product, _quantity, pick):
        if picking := self._pick(pick, "assigned"):
            self._validate(picking)

    def _do_return(self, _product, quantity, pick):
        if picking := self._pick(pick, "done"):
            wizard = (
                self.env["stock.return.picking"]
                .with_context(active_id=picking.id, active_model="stock.picking")
                .create({"picking_id": picking.id})
            )
            wizard.product_return_moves.quantity = quantity
            action = wizard.action_create_returns()
            returned = self.env["stock.picking"].browse(action["res_id"])
            self._validate(returned)
            self.pickings |= returned

    def _do_scrap(self, product, quantity, _pick):
        self.env["stock.scrap"].create(
            {
                "product_id": product.id,
                "scrap_qty": quantity,
                "location_id": self.stock.id,
                "lot_id": self.lot.id if product == self.lot_product else False,
            }
        ).action_validate()

    def _do_adjust(self, product, quantity, pick):
        lot = self.lot if product == self.lot_product and pick % 2 else self.lot.browse()
        location = self.shelf if pick % 3 else self.stock
        self._count(product, location, quantity, lot_id=lot.id)

    def _do_move(self, product, quantity, pick):
        destination = self.shelf if pick % 2 else self.other_warehouse.lot_stock_id
        picking = self._create_picking("int", {product: quantity}, destination=destination)
        picking.action_confirm()
        if picking.state == "assigned":
            self._validate(picking)
        self.pickings |= picking

    def _do_edit_done_line(self, _product, quantity, pick):
        if line := self._pick(pick, "done").move_line_ids[:1]:
            line.quantity = quantity
            if pick % 2:
                line.location_dest_id = self.shelf

    def _do_redate(self, _product, _quantity, pick):
        self._pick(pick, "done").move_ids.date = f"2024-01-{pick % 28 + 1:02} 12:00:00"

    def _do_cancel(self, _product, _quantity, pick):
        self._pick(pick, "assigned", "confirmed").action_cancel()

    def _do_pack(self, _product, _quantity, pick):
        if picking := self._pick(pick, "assigned"):
            picking.move_line_ids.result_package_id = self.env["stock.package"].create({})

    def _do_duplicate_quant(self, product, quantity, pick):
        # What core inserts when another session has locked the row.
        self.env["stock.quant"].create(
            {
                "product_id": product.id,
                "location_id": self.stock.id,
                "quantity": quantity,
                "reserved_quantity": -(pick % 3),
            }
        )

    def _do_quant_tasks(self, _product, _quantity, _pick):
        self.env["stock.quant"]._quant_tasks()

    def _do_fold(self, _product, _quantity, pick):
        self.env["stock.ledger.balance"]._fold(pick + 1)

    def _do_undo(self, product, quantity, pick):
        with closing(self.env.cr.savepoint(flush=pick % 2)):
            self._do_receive(product, quantity, pick)
            self.env.flush_all()
        self.env.invalidate_all()
