"""Each way to decide on stock, while another session holds that stock uncommitted."""

from types import SimpleNamespace

from odoo import Command
from odoo.service.model import retrying
from odoo.tests import new_test_user, tagged
from odoo.tools import SQL, mute_logger

from ..locking import restartable
from .reservation_common import ReservationCase, Scenario


@tagged("post_install", "-at_install")
class PathCase(ReservationCase):
    """Scenarios with two deliveries of one product: the first holds, the second is tested."""

    def setUp(self):
        super().setUp()
        # Odoo lets up to two seconds pass before a replay.
        self.patch(retrying.__globals__["random"], "uniform", lambda _least, _most: 0.01)

    def _prepare_deliveries(
        self, stock, first, second, reserve_second=False, first_confirm=True, **vals
    ):
        """Return the function that prepares a product and two deliveries of it."""

        def prepare(env):
            product = self._create_product(env, stock)
            other = self._create_delivery(env, product, second, **vals)
            if reserve_second:
                self._reserve(other)
            return {
                "product_ids": product.ids,
                "first": self._create_delivery(env, product, first, confirm=first_confirm).id,
                "second": other.id,
            }

        return prepare

    def _hold_first(self, env, ids):
        env["stock.picking"].browse(ids.first).action_assign()

    def _confirm_first(self, env, ids):
        """Hold the stock for a delivery that others do not see yet."""
        picking = env["stock.picking"].browse(ids.first)
        picking.action_confirm()
        self.assertEqual(picking.state, "assigned")

    def _validate_first(self, env, ids):
        picking = env["stock.picking"].browse(ids.first)
        picking.action_assign()
        self._validate(picking)


class TestReservationPaths(PathCase):
    """Operations of a warehouse with one step."""

    def test_check_availability(self):
        for hold in (self._hold_first, self._validate_first):
            self.assertAsOneAfterTheOther(
                Scenario(
                    self._prepare_deliveries(3, 2, 2),
                    hold,
                    lambda env, ids: env["stock.picking"].browse(ids.second).action_assign(),
                )
            )

    def test_confirming(self):
        # Not a call that begins again: what it cannot have at once is queued.
        self.assertAsOneAfterTheOther(
            Scenario(
                self._prepare_deliveries(3, 2, 2, confirm=False),
                self._hold_first,
                lambda env, ids: env["stock.picking"].browse(ids.second).action_confirm(),
            ),
            waits=False,
        )

    def test_validating_what_is_reserved(self):
        # Takes what is its own: nobody waits, and the row is a merge's business.
        self.assertAsOneAfterTheOther(
            Scenario(
                self._prepare_deliveries(3, 1, 2, reserve_second=True),
                self._hold_first,
                lambda env, ids: self._validate(env["stock.picking"].browse(ids.second)),
            ),
            queued=0,
            inserted=1,
            waits=None,
        )

    def test_validating_what_is_not_reserved(self):
        # Somebody has taken the goods, so that the first delivery has one less.
        def validate(env, ids):
            picking = env["stock.picking"].browse(ids.second)
            picking.move_ids.quantity = 2
            self._validate(picking)

        self.assertAsOneAfterTheOther(
            Scenario(self._prepare_deliveries(3, 2, 2), self._hold_first, validate),
            queued=0,
            inserted=1,
            waits=None,
        )

    def test_validating_what_others_have_reserved(self):
        """More is promised than there is; whose it is cannot be told beside a lock."""

        def prepare(env):
            ids = self._prepare_deliveries(3, 2, 3)(env)
            self._reserve(env["stock.picking"].browse(ids["first"]))
            move = env["stock.picking"].browse(ids["second"]).move_ids
            move.write({"quantity": 3, "picked": True})
            return ids

        self.assertAsOneAfterTheOther(
            Scenario(
                prepare,
                lambda env, ids: env["stock.picking"].browse(ids.first).do_unreserve(),
                lambda env, ids: env["stock.picking"].browse(ids.second).button_validate(),
            ),
            queued=0,
            # Two lines: of the one that was free, and of the two that were not.
            inserted=2,
        )

    def test_validating_a_draft(self):
        scenario = Scenario(
            self._prepare_deliveries(3, 2, 2, confirm=False),
            self._hold_first,
            lambda env, ids: (
                env["stock.picking"].browse(ids.second).with_context(skip_backorder=True)
            ).button_validate(),
        )
        serial, restarted = self._play(scenario, "serial"), self._play(scenario, "restartable")
        self.assertTrue(restarted.waited)
        self.assertSound(restarted.ids.product_ids)
        self.assertEqual(restarted.outcome, serial.outcome)
        # Odoo delivers the one that it could reserve.
        self.assertEqual(
            [move[:3] for move in serial.outcome["moves"]],
            [("done", 1, 1), ("assigned", 2, 2), ("confirmed", 1, 0)],
        )

    def test_validating_a_draft_beside_a_lock(self):
        """Where it can reserve nothing, Odoo delivers all that is wanted."""
        scenario = Scenario(
            self._prepare_deliveries(3, 2, 2, confirm=False),
            self._hold_first,
            lambda env, ids: (
                env["stock.picking"].browse(ids.second).with_context(skip_backorder=True)
            ).button_validate(),
        )
        play = self._play(scenario, "written")
        self.assertSound(play.ids.product_ids)
        self.assertEqual(
            [move[:3] for move in play.outcome["moves"]],
            [("done", 2, 2), ("partially_available", 2, 1)],
        )

    def test_backorder(self):
        def validate_partly(env, ids):
            picking = env["stock.picking"].browse(ids.second)
            picking.move_ids.quantity = 1
            self._validate(picking)

        self.assertAsOneAfterTheOther(
            Scenario(
                self._prepare_deliveries(5, 2, 4, reserve_second=True),
                self._hold_first,
                validate_partly,
            ),
            # One row that gives back four, and one that takes one of them again.
            inserted=2,
            waits=None,
        )

    def test_backorder_in_a_request_of_its_own(self):
        def prepare(env):
            ids = self._prepare_deliveries(5, 2, 4, reserve_second=True)(env)
            move = env["stock.picking"].browse(ids["second"]).move_ids
            move.write({"quantity": 1, "picked": True})
            return ids

        def validate(env, ids):
            env["stock.picking"].browse(ids.second).with_context(
                skip_backorder=True
            ).button_validate()

        self.assertAsOneAfterTheOther(
            Scenario(prepare, self._hold_first, validate), inserted=1, waits=True
        )

    def test_giving_back(self):
        for method in ("do_unreserve", "action_cancel", "unlink"):
            with self.subTest(method):
                self.assertAsOneAfterTheOther(
                    Scenario(
                        self._prepare_deliveries(3, 1, 2, reserve_second=True),
                        self._hold_first,
                        lambda env, ids, method=method: (
                            getattr(env["stock.picking"].browse(ids.second), method)() and None
                        ),
                    ),
                    queued=0,
                    inserted=1,
                    waits=False,
                )

    def test_receipt_for_those_who_wait(self):
        # Goods come in beside a lock, and core reserves them for the second delivery.
        def prepare(env):
            ids = self._prepare_deliveries(1, 1, 2, first_confirm=False)(env)
            product = env["product.product"].browse(ids["product_ids"])
            receipt = self._create_delivery(env, product, 2, kind="in")
            return {**ids, "receipt": receipt.id}

        self.assertAsOneAfterTheOther(
            Scenario(
                prepare,
                self._confirm_first,
                lambda env, ids: self._validate(env["stock.picking"].browse(ids.receipt)),
            ),
            inserted=1,
            waits=None,
        )

    def test_return_to_the_supplier(self):
        def prepare(env):
            product = self._create_product(env)
            receipt = self._create_delivery(env, product, 3, kind="in")
            self._validate(receipt)
            return {
                "product_ids": product.ids,
                "first": self._create_delivery(env, product, 2).id,
                "receipt": receipt.id,
            }

        def send_back(env, ids):
            wizard = (
                env["stock.return.picking"]
                .with_context(active_id=ids.receipt, active_model="stock.picking")
                .create({})
            )
            wizard.product_return_moves.quantity = 2
            wizard.action_create_returns()

        self.assertAsOneAfterTheOther(Scenario(prepare, self._hold_first, send_back), waits=False)

    def test_return_from_the_customer(self):
        def prepare(env):
            ids = self._prepare_deliveries(3, 1, 2, reserve_second=True, first_confirm=False)(env)
            self._validate(env["stock.picking"].browse(ids["second"]))
            return ids

        def take_back(env, ids):
            wizard = (
                env["stock.return.picking"]
                .with_context(active_id=ids.second, active_model="stock.picking")
                .create({})
            )
            wizard.product_return_moves.quantity = 1
            returned = env["stock.picking"].browse(wizard.action_create_returns()["res_id"])
            self._validate(returned)

        self.assertAsOneAfterTheOther(
            Scenario(prepare, self._confirm_first, take_back), queued=0, inserted=1, waits=False
        )

    def test_scheduler(self):
        self.assertAsOneAfterTheOther(
            Scenario(
                self._prepare_deliveries(3, 2, 2, first_confirm=False),
                self._confirm_first,
                lambda env, ids: env["stock.rule"].run_scheduler(),
            ),
            waits=False,
        )

    def test_reserving_the_same_move(self):
        """Two sessions that reserve one move change its row: Odoo replays the second."""

        def prepare(env):
            ids = self._prepare_deliveries(1, 1, 2)(env)
            product = env["product.product"].browse(ids["product_ids"])
            return {**ids, "receipt": self._create_delivery(env, product, 2, kind="in").id}

        def receive(env, ids):
            self._validate(env["stock.picking"].browse(ids.receipt))

        for operate in (receive, lambda env, _ids: env["stock.rule"].run_scheduler()):
            scenario = Scenario(prepare, self._hold_first, operate)
            serial = self._play(scenario, "serial")
            with mute_logger("odoo.sql_db", "odoo.addons.stock.models.stock_rule"):
                replayed = self._play_replayed(scenario)
            self.assertTrue(replayed.waited)
            self.assertSound(replayed.ids.product_ids)
            self.assertEqual(replayed.outcome, serial.outcome)

    def test_forecast_report(self):
        self.assertAsOneAfterTheOther(
            Scenario(
                self._prepare_deliveries(3, 2, 2),
                self._hold_first,
                lambda env, ids: (
                    env["stock.forecasted_product_product"]
                    .action_reserve_linked_picks(
                        env["stock.picking"].browse(ids.second).move_ids.id
                    )
                    .ids
                ),
            )
        )

    def test_units_of_measure(self):
        # Of 20 units, 7 are taken: one dozen is left, and not one and a bit.
        def prepare(env):
            product = self._create_product(env, 20)
            dozen = env.ref("uom.product_uom_dozen").id
            return {
                "product_ids": product.ids,
                "first": self._create_delivery(env, product, 7).id,
                "second": self._create_delivery(env, product, 2, product_uom=dozen).id,
            }

        self.assertAsOneAfterTheOther(
            Scenario(
                prepare,
                self._hold_first,
                lambda env, ids: env["stock.picking"].browse(ids.second).action_assign(),
            )
        )

    # --- counts, scraps and relocations ---

    def _prepare_count(self, env):
        ids = self._prepare_deliveries(5, 2, 1)(env)
        quant = env["stock.quant"].search(
            [("product_id", "in", ids["product_ids"]), ("location_id", "=", self.stock_id)]
        )
        quant.with_context(inventory_mode=True).inventory_quantity = 4
        return {**ids, "quant": quant.id}

    def _apply_count(self, env, ids):
        return env["stock.quant"].browse(ids.quant).action_apply_inventory()

    def _play_replayed(self, scenario):
        """Play it in a transaction that has written, and that Odoo replays when it has to."""
        with self._session() as env:
            ids = SimpleNamespace(**scenario.prepare(env))

        def operate():
            with self._session() as env:

                def call():
                    self._write_something(env)
                    return scenario.operate(env, ids)

                return retrying(call, env)

        result, waited = self._operate_beside(lambda env: scenario.hold(env, ids), operate)
        self._process_queue()
        outcome = self._get_outcome(ids.product_ids)
        return SimpleNamespace(ids=ids, result=result, waited=waited, outcome=outcome)

    def test_count_beside_a_reservation(self):
        scenario = Scenario(self._prepare_count, self._hold_first, self._apply_count)
        serial, restarted = self._play(scenario, "serial"), self._play(scenario, "restartable")
        # Core writes the counted quant: it waits for that row, and Odoo replays it.
        replayed = self._play_replayed(scenario)
        for play in (restarted, replayed):
            self.assertTrue(play.waited)
            self.assertSound(play.ids.product_ids)
            self.assertEqual(play.outcome, serial.outcome)

    def test_count_beside_a_delivery(self):
        # The one less was of five, of which two have left: a conflict to be resolved.
        scenario = Scenario(self._prepare_count, self._validate_first, self._apply_count)
        plays = [self._play(scenario, mode) for mode in ("serial", "restartable")]
        for play in [*plays, self._play_replayed(scenario)]:
            self.assertEqual(play.result["res_model"], "stock.inventory.conflict")
            self.assertSound(play.ids.product_ids)
            [stock] = play.outcome["stock"]
            self.assertEqual(stock[1], 3)

    def _prepare_scrap(self, quantity):
        def prepare(env):
            ids = self._prepare_deliveries(3, 2, 1)(env)
            scrap = env["stock.scrap"].create(
                {
                    "product_id": ids["product_ids"][0],
                    "scrap_qty": quantity,
                    "location_id": self.stock_id,
                }
            )
            return {**ids, "scrap": scrap.id}

        return prepare

    def test_scrap(self):
        scenario = Scenario(
            self._prepare_scrap(1),
            self._hold_first,
            lambda env, ids: env["stock.scrap"].browse(ids.scrap).action_validate(),
        )
        self.assertAsOneAfterTheOther(scenario, queued=0, inserted=1)

    def test_scrap_of_what_has_left(self):
        scenario = Scenario(
            self._prepare_scrap(2),
            self._validate_first,
            lambda env, ids: env["stock.scrap"].browse(ids.scrap).action_validate(),
        )
        for mode in ("serial", "restartable"):
            play = self._play(scenario, mode)
            self.assertEqual(play.result["res_model"], "stock.warn.insufficient.qty.scrap")
            [stock] = play.outcome["stock"]
            self.assertEqual(stock[1], 1)

    def _prepare_relocation(self, env):
        ids = self._prepare_deliveries(3, 2, 1)(env)
        wizard = env["stock.quant.relocate"].create(
            {
                "quant_ids": env["stock.quant"]
                .search(
                    [("product_id", "in", ids["product_ids"]), ("location_id", "=", self.stock_id)]
                )
                .ids,
                "dest_location_id": self.shelf_id,
            }
        )
        return {**ids, "wizard": wizard.id}

    def _relocate(self, env, ids):
        env["stock.quant.relocate"].browse(ids.wizard).action_relocate_quants()

    def test_relocation(self):
        scenario = Scenario(self._prepare_relocation, self._hold_first, self._relocate)
        serial, restarted = self._play(scenario, "serial"), self._play(scenario, "restartable")
        # As for counts: core writes the row that is moved.
        replayed = self._play_replayed(scenario)
        for play in (restarted, replayed):
            self.assertTrue(play.waited)
            self.assertSound(play.ids.product_ids)
            self.assertEqual(play.outcome, serial.outcome)

    def test_relocation_of_what_has_left(self):
        scenario = Scenario(self._prepare_relocation, self._validate_first, self._relocate)
        serial, restarted = self._play(scenario, "serial"), self._play(scenario, "restartable")
        self.assertTrue(restarted.waited)
        self.assertEqual(restarted.outcome, serial.outcome)
        [stock] = restarted.outcome["stock"]
        self.assertEqual(stock[:2], (self.shelf_id, 1))


class TestChainedPaths(PathCase):
    """Moves that follow one another: several steps, and make to order."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with cls._session() as env:
            warehouse = env["stock.warehouse"].create(
                {"name": "Three Steps", "code": "TS3", "delivery_steps": "pick_pack_ship"}
            )
            cls.chain_warehouse_id = warehouse.id
            cls.chain_stock_id = warehouse.lot_stock_id.id
            cls.chain_pack_id = warehouse.wh_pack_stock_loc_id.id
            counter = env["stock.location"].create(
                {"name": "Counter", "location_id": warehouse.view_location_id.id}
            )
            cls.counter_id = counter.id
            cls.order_route_id = cls._create_order_route(env, warehouse, counter).id

    @classmethod
    def _create_order_route(cls, env, warehouse, counter):
        def rule(picking_type, source, destination, method):
            return Command.create(
                {
                    "name": f"{source.name} to {destination.name}",
                    "action": "pull",
                    "picking_type_id": picking_type.id,
                    "location_src_id": source.id,
                    "location_dest_id": destination.id,
                    # And not where the operation type would bring it.
                    "location_dest_from_rule": True,
                    "procure_method": method,
                    "warehouse_id": warehouse.id,
                }
            )

        customers = env["stock.location"].browse(cls.customers_id)
        stock = warehouse.lot_stock_id
        return env["stock.route"].create(
            {
                "name": "To order from the counter",
                "product_selectable": True,
                "rule_ids": [
                    rule(warehouse.out_type_id, counter, customers, "make_to_order"),
                    rule(warehouse.int_type_id, stock, counter, "make_to_stock"),
                ],
            }
        )

    def _order(self, env, product, quantity):
        """Have a need fulfilled, as a sale does it."""
        customers = env["stock.location"].browse(self.customers_id)
        known = env["stock.move"].search([("product_id", "=", product.id)])
        # Without a reference of its own, it would be merged with others' needs.
        reference = env["stock.reference"].create({"name": f"order {len(known)}"})
        env["stock.rule"].run(
            [
                env["stock.rule"].Procurement(
                    product,
                    quantity,
                    product.uom_id,
                    customers,
                    "order",
                    reference.name,
                    env.company,
                    {
                        "warehouse_id": env["stock.warehouse"].browse(self.chain_warehouse_id),
                        "reference_ids": reference,
                    },
                )
            ]
        )
        return env["stock.move"].search([("product_id", "=", product.id)]) - known

    def _assign(self, env, ids):
        env["stock.move"].browse(ids.first)._action_assign()

    def test_first_step(self):
        def prepare(env):
            product = self._create_product(env, 3, self.chain_stock_id)
            first = self._order(env, product, 2)
            first._do_unreserve()
            return {"product_ids": product.ids, "first": first.ids}

        def order(env, ids):
            return self._order(env, env["product.product"].browse(ids.product_ids), 2).ids

        self.assertAsOneAfterTheOther(Scenario(prepare, self._assign, order), waits=False)

    def test_next_step(self):
        """Two picks arrive in the packing zone, where each pack takes what its pick brought."""

        def prepare(env):
            product = self._create_product(env, 5, self.chain_stock_id)
            # Somebody else's at the same place, so that there is a row to hold.
            self._add_stock(env, product, 1, self.chain_pack_id)
            picks = [self._order(env, product, quantity).picking_id for quantity in (2, 3)]
            return {"product_ids": product.ids, "picks": [pick.id for pick in picks]}

        def validate(env, ids, index):
            self._validate(env["stock.picking"].browse(ids.picks[index]))

        scenario = Scenario(
            prepare,
            lambda env, ids: validate(env, ids, 0),
            lambda env, ids: validate(env, ids, 1),
        )
        # One row at the packing zone and one at stock: both were busy.
        self.assertAsOneAfterTheOther(scenario, queued=1, inserted=2, waits=None)
        play = self._play(scenario, "written")
        with self._session() as env:
            picks = env["stock.picking"].browse(play.ids.picks)
            packs = picks.move_ids.move_dest_ids
            self.assertEqual(packs.mapped("quantity"), [2, 3])
            self.assertEqual(packs.location_id.id, self.chain_pack_id)
            for pack in packs:
                self._validate(pack.picking_id)
            ships = packs.move_dest_ids
            self.assertEqual(ships.mapped("state"), ["assigned"] * 2)
            for ship in ships:
                self._validate(ship.picking_id)
        self.assertSound(play.ids.product_ids)

    def test_make_to_order(self):
        def prepare(env):
            product = self._create_product(env, 3, self.chain_stock_id)
            product.route_ids = [Command.link(self.order_route_id)]
            first = self._order(env, product, 2)
            first.filtered(lambda move: move.location_id.id == self.chain_stock_id)._do_unreserve()
            return {"product_ids": product.ids, "first": first.ids}

        def order(env, ids):
            return self._order(env, env["product.product"].browse(ids.product_ids), 1).ids

        scenario = Scenario(prepare, self._assign, order)
        self.assertAsOneAfterTheOther(scenario, waits=False)
        play = self._play(scenario, "written")
        with self._session() as env:
            replenishment, delivery = env["stock.move"].browse(play.result).sorted("state")
            self.assertEqual((replenishment.state, delivery.state), ("assigned", "waiting"))
            self._validate(replenishment.picking_id)
            self.assertEqual(delivery.state, "assigned")
            self._validate(delivery.picking_id)
        self.assertSound(play.ids.product_ids)


class TestReservationPolicies(PathCase):
    """What operation types say about how their transfers reserve."""

    def setUp(self):
        super().setUp()
        quants = self.registry["stock.quant"]
        self.locked = []
        original = quants._try_lock_stock_keys

        def try_lock(quants):
            self.locked.extend(quants.ids)
            return original(quants)

        self.patch(quants, "_try_lock_stock_keys", try_lock)

    def test_always(self):
        scenario = Scenario(
            self._prepare_deliveries(3, 2, 2),
            self._hold_first,
            lambda env, ids: env["stock.picking"].browse(ids.second).action_assign(),
        )
        serial = self._play(scenario, "serial")
        self._set_policy("always")
        # The first is reserved before this policy could keep it from it.
        scenario = scenario._replace(
            hold=lambda env, ids: (
                env["stock.picking"].browse(ids.first).move_ids._action_assign(force_qty=2)
            )
        )
        for mode in ("written", "restartable"):
            play = self._play(scenario, mode)
            self.assertEqual((play.queued, play.waited), (1, False))
            self.assertSound(play.ids.product_ids)
            self.assertEqual(play.outcome, serial.outcome)

    def test_always_locks_nothing(self):
        self._set_policy("always")
        with self._session() as env:
            picking = self._create_delivery(env, self._create_product(env, 1), 1, confirm=False)
            picking.action_confirm()
            picking.action_assign()
            self.assertEqual((self.locked, picking.state), ([], "confirmed"))
            self.assertTrue(picking.reservation_queued)
        self._process_queue()
        self.assertTrue(self.locked)
        with self._session() as env:
            picking = env["stock.picking"].browse(picking.id)
            self.assertEqual((picking.state, picking.reservation_queued), ("assigned", False))

    def test_always_of_what_needs_no_decision(self):
        # Goods from a supplier are not reserved, and so there is nothing to queue.
        self._set_policy("always", self.in_type_id)
        with self._session() as env:
            receipt = self._create_delivery(env, self._create_product(env), 1, kind="in")
            self.assertEqual((receipt.state, receipt.reservation_queued), ("assigned", False))

    def test_odoo(self):
        self._set_policy("odoo")
        scenario = Scenario(
            self._prepare_deliveries(1, 1, 1),
            self._hold_first,
            lambda env, ids: env["stock.picking"].browse(ids.second).action_assign(),
        )
        for mode in ("written", "restartable"):
            play = self._play(scenario, mode)
            self.assertEqual((self.locked, play.queued, play.waited), ([], 0, False))
            # One unit, promised twice: what the other policies are there for.
            self.assertEqual([move[0] for move in play.outcome["moves"]], ["assigned"] * 2)
            [stock] = play.outcome["stock"]
            self.assertEqual(stock[1:], (1, 2, 2, 1, 2))


class TestReservationQueue(PathCase):
    """Who gets what, when there is less than wanted."""

    def _create_queued(self, product_id, moves_vals, **kwargs):
        with self._session() as env:
            product = env["product.product"].browse(product_id)
            pickings = env["stock.picking"]
            for vals in moves_vals:
                quantity = vals.pop("quantity", 1)
                picking = self._create_delivery(env, product, quantity, **kwargs)
                picking.move_ids.write(vals)
                pickings |= picking
            pickings.move_ids._queue_reservation()
            return pickings.move_ids.ids

    def _get_quantities(self, move_ids):
        with self._session() as env:
            return env["stock.move"].browse(move_ids).mapped("quantity")

    def test_order(self):
        product_id = self._create_stock(4)
        late, soon, urgent, later_of_two = self._create_queued(
            product_id,
            [
                {"date": "2030-03-03", "quantity": 1},
                {"date": "2030-02-02", "quantity": 2},
                {"date": "2030-04-04", "quantity": 1, "priority": "1"},
                {"date": "2030-02-02", "quantity": 2},
            ],
        )
        with self._session() as env:
            self.assertEqual(
                env["stock.move"]._get_reservation_batches(), [[urgent, soon, later_of_two, late]]
            )
        self._process_queue()
        self.assertEqual(self._get_quantities([urgent, soon, later_of_two, late]), [1, 2, 1, 0])
        self.assertSound([product_id])

    def test_batches(self):
        first_id, second_id = self._create_stock(3), self._create_stock(1)
        with self._session() as env:
            other = env["stock.warehouse"].create({"name": "Other Queue", "code": "OQ"})
            product = env["product.product"].browse(first_id)
            self._add_stock(env, product, 1, other.lot_stock_id.id)
            elsewhere_id = other.lot_stock_id.id
        # Mixed up, so that it is not their order which keeps them together.
        [one] = self._create_queued(first_id, [{}])
        [alone] = self._create_queued(second_id, [{}])
        [elsewhere] = self._create_queued(first_id, [{}], location_id=elsewhere_id)
        two, three = self._create_queued(first_id, [{}, {}])
        self._process_queue()
        move_ids = [one, two, three, alone, elsewhere]
        self.assertEqual(self._get_quantities(move_ids), [1] * 5)
        with self._session() as env:
            rows = env.execute_query(
                SQL(
                    """SELECT ARRAY_AGG(move_id ORDER BY move_id) FROM stock_ledger_entry
                        WHERE move_id = ANY(%s) AND event_type = 'RESERVE'
                        GROUP BY xmin::text""",
                    move_ids,
                )
            )
        self.assertCountEqual(
            [sorted(ids) for [ids] in rows], [[one, two, three], [alone], [elsewhere]]
        )

    def test_in_the_name_of_who_asked(self):
        product_id = self._create_stock(3)
        first, second = self._create_deliveries(product_id, 2)
        with self._session() as env:
            env["stock.picking"].browse(first).action_assign()
            env.flush_all()
            with self._session() as other_env:
                self._write_something(other_env)
                picking = other_env["stock.picking"].with_user(self.user_id).browse(second)
                picking.action_assign()
                self.assertEqual(picking.move_ids.reservation_queued_user_id.id, self.user_id)
        self._process_queue()
        with self._session() as env:
            entry = env["stock.ledger.entry"].search([("picking_id", "=", second)])
            self.assertEqual((entry.event_type, entry.user_id.id), ("RESERVE", self.user_id))

    def test_other_companies(self):
        with self._session() as env:
            company = env["res.company"].create({"name": "Other Reserving Company"})
            warehouse = env["stock.warehouse"].search([("company_id", "=", company.id)], limit=1)
            user = new_test_user(
                env,
                "reservation_user_elsewhere",
                groups="stock.group_stock_user",
                company_id=company.id,
                company_ids=[Command.set(company.ids)],
            )
            product = self._create_product(env, 2, warehouse.lot_stock_id.id)
            picking = env["stock.picking"].create(
                {
                    "picking_type_id": warehouse.out_type_id.id,
                    "location_id": warehouse.lot_stock_id.id,
                    "location_dest_id": self.customers_id,
                    "move_ids": [
                        Command.create(
                            {
                                "product_id": product.id,
                                "product_uom_qty": 1,
                                "product_uom": product.uom_id.id,
                                "location_id": warehouse.lot_stock_id.id,
                                "location_dest_id": self.customers_id,
                                "company_id": company.id,
                            }
                        )
                    ],
                }
            )
            picking.action_confirm()
            picking.do_unreserve()
            picking.with_user(user).move_ids._queue_reservation()
        self._process_queue()
        with self._session() as env:
            self.assertEqual(env["stock.picking"].browse(picking.id).state, "assigned")
            entry = env["stock.ledger.entry"].search([("picking_id", "=", picking.id)])
            self.assertEqual(entry.company_id.id, company.id)
            self.assertEqual(entry.operating_company_id.id, company.id)
            self.assertEqual(entry.user_id.id, user.id)
        self.assertSound(product.ids)


class TestReservingSerials(PathCase):
    """Serial numbers: each is a stock key of its own, and any free one will do."""

    def _prepare_serials(self, count, first, second):
        with self._session() as env:
            product = self._create_product(env, tracking="serial")
            lots = self._create_serials(env, product, count)
            return (
                product.id,
                lots.ids,
                self._create_delivery(env, product, first).id,
                self._create_delivery(env, product, second).id,
            )

    def _get_lots(self, picking_id):
        with self._session() as env:
            lines = env["stock.picking"].browse(picking_id).move_line_ids
            return sorted(lines.lot_id.ids)

    def test_next_free_one(self):
        product_id, lots, first, second = self._prepare_serials(3, 1, 2)
        with self._session() as env:
            env["stock.picking"].browse(first).action_assign()
            env.flush_all()
            with self._session() as other_env, restartable():
                # It need not wait either, although it could.
                picking = other_env["stock.picking"].browse(second)
                picking.action_assign()
                self.assertEqual((picking.state, picking.reservation_queued), ("assigned", False))
        self.assertEqual((self._get_lots(first), self._get_lots(second)), (lots[:1], lots[1:]))
        self.assertSound([product_id])

    def test_too_few_of_them(self):
        for commits in (True, False):
            product_id, lots, first, second = self._prepare_serials(4, 2, 3)
            with self._session() as env:
                env["stock.picking"].browse(first).action_assign()
                env.flush_all()
                with self._session() as other_env:
                    self._write_something(other_env)
                    picking = other_env["stock.picking"].browse(second)
                    picking.action_assign()
                    self.assertEqual(picking.move_ids.quantity, 2)
                    self.assertTrue(picking.reservation_queued)
                if not commits:
                    env.cr.rollback()
            self.assertEqual(self._get_lots(second), lots[2:])
            self._process_queue()
            expected = lots[2:] if commits else [lots[0], *lots[2:]]
            self.assertEqual(self._get_lots(second), expected)
            with self._session() as env:
                self.assertFalse(env["stock.picking"].browse(second).reservation_queued)
            self.assertSound([product_id])
