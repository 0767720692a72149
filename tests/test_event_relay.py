import socket

from odoo.tests import tagged

from ..relay.leader import Leader
from .event_common import EventCase


@tagged("post_install", "-at_install")
class TestEventRelay(EventCase):
    def test_a_transfer_arrives(self):
        self.bind()
        product_id = self.create_product("ABC")
        with self.committing() as env:
            picking = self._receive(env, product_id, 3)
            move_id, name = picking.move_ids.id, picking.name
        self.assertEqual(self.relay(), 1)
        [(properties, event)] = self.receive()
        self.assertEqual(properties.message_id, event["event_id"])
        self.assertEqual(properties.type, "RECEIPT")
        expected = {
            "event_type": "RECEIPT",
            "schema_version": 1,
            "product_id": product_id,
            "sku": "ABC",
            "warehouse_id": self.warehouse_id,
            "warehouse_code": "WH",
            "quantity": 3.0,
            "reserved_quantity": 0.0,
            "uom": "Units",
            "on_hand_after": 3.0,
            "reserved_after": 0.0,
            "available_after": 3.0,
            "sequence": 1,
            "lot": None,
            "package": None,
            "owner_id": None,
            "reference": {
                "model": "stock.move",
                "id": move_id,
                "transfer": name,
                "origin": None,
            },
            "correlation_id": None,
            "causation_id": None,
            "corrects_event_id": None,
            "replay": False,
        }
        self.assertEqual({name: event[name] for name in expected}, expected)
        self.assertEqual(
            set(event) - set(expected),
            {
                "event_id",
                "location_id",
                "company_id",
                "effective_at",
                "recorded_at",
                "user_id",
            },
        )
        self.assertEqual(self.read_outbox(), [])
        with self.committing() as env:
            channel = self.get_channel(env)
            self.assertEqual(channel.confirmed_count, 1)
            self.assertTrue(channel.last_confirm_date)

    def _receive(self, env, product_id, quantity):
        warehouse = env["stock.warehouse"].browse(self.warehouse_id)
        suppliers = env.ref("stock.stock_location_suppliers")
        move_vals = {
            "product_id": product_id,
            "product_uom_qty": quantity,
            "location_id": suppliers.id,
            "location_dest_id": warehouse.lot_stock_id.id,
        }
        picking = env["stock.picking"].create(
            {
                "picking_type_id": warehouse.in_type_id.id,
                "location_id": suppliers.id,
                "location_dest_id": warehouse.lot_stock_id.id,
                "move_ids": [(0, 0, move_vals)],
            }
        )
        picking.action_confirm()
        picking.move_ids.picked = True
        picking.button_validate()
        return picking

    def test_each_key_is_in_order_and_adds_up(self):
        self.bind()
        products = [self.create_product() for _number in range(3)]
        for _round in range(40):
            self.append(
                (products[0], "RECEIPT", 5),
                (products[0], "SALE", 2),
                (products[1], "RECEIPT", 0.25),
                (products[2], "RECEIPT", 1),
            )
        self.assertEqual(self.relay(), 160)
        events = self.receive_events()
        self.assertEqual(len(events), 160)
        for product_id in products:
            of_product = [e for e in events if e["product_id"] == product_id]
            self.assertEqual(
                [e["sequence"] for e in of_product],
                list(range(1, len(of_product) + 1)),
            )
            on_hand = 0
            for event in of_product:
                on_hand += event["quantity"]
                self.assertEqual(event["on_hand_after"], on_hand)

    def test_a_lower_id_that_commits_later_is_published(self):
        self.bind()
        product_id = self.create_product()
        with self.committing() as late:
            ledger = late["stock.ledger.entry"]
            [low_id] = ledger._append([self.prepare_entry(late, product_id)])
            [high_id] = self.append((product_id, "RECEIPT", 10))
            self.assertLess(low_id, high_id)
            self.assertEqual(self.relay(), 1)
        self.assertEqual(self.relay(), 1)
        self.assertEqual(
            [(e["sequence"], e["quantity"], e["on_hand_after"]) for e in self.receive_events()],
            [(1, 10, 10), (2, 1, 11)],
        )

    def test_a_numbered_event_goes_before_a_lower_id_without_a_number(self):
        self.bind()
        product_id = self.create_product()
        with self.committing() as late:
            late["stock.ledger.entry"]._append([self.prepare_entry(late, product_id)])
            self.append((product_id, "RECEIPT", 10))
            # A relay that dies after it has given numbers.
            with self.committing() as env:
                env["stock.event.outbox"]._take(self.channel_id, 10)
        self.assertEqual(self.relay(), 2)
        self.assertEqual(
            [(e["sequence"], e["quantity"]) for e in self.receive_events()],
            [(1, 10), (2, 1)],
        )

    def test_figures_tell_of_a_transaction_from_before_the_activation(self):
        self.bind()
        product_id = self.create_product()
        with self.committing() as env:
            self.get_channel(env).active = False
        with self.committing() as early:
            # Its snapshot: the channel gets nothing of what it does.
            early.cr.execute("SELECT FROM stock_event_channel")
            with self.committing() as env:
                self.get_channel(env).active = True
            self.append((product_id, "RECEIPT", 1))
            self.assertEqual(self.relay(), 1)
            ledger = early["stock.ledger.entry"]
            ledger._append([self.prepare_entry(early, product_id, quantity=10)])
        self.append((product_id, "RECEIPT", 1))
        self.assertEqual(self.relay(), 1)
        self.append((product_id, "RECEIPT", 1))
        self.assertEqual(self.relay(), 1)
        self.assertEqual([e["on_hand_after"] for e in self.receive_events()], [1, 12, 13])

    def test_an_event_without_a_queue_stops_its_key_alone(self):
        self.bind("stock.receipt.*")
        blocked, free = self.create_product("Blocked"), self.create_product("Free")
        self.append(
            (blocked, "RECEIPT", 9),
            (blocked, "SALE", 1),
            (free, "RECEIPT", 1),
            (blocked, "RECEIPT", 1),
        )
        self.relay()
        self.append((blocked, "RECEIPT", 2), (free, "RECEIPT", 2))
        self.relay()
        self.assertEqual(
            [(e["product_id"], e["sequence"]) for e in self.receive_events()],
            [(blocked, 1), (free, 1), (free, 2)],
        )
        rows = self.read_outbox()
        self.assertEqual([row["state"] for row in rows], ["blocked", "waiting", "waiting"])
        self.assertIn("NO_ROUTE", rows[0]["error"])
        self.assertEqual(rows[0]["attempts"], 1)

        # Tried again without a remedy: nothing gets past it.
        self._retry()
        self.relay()
        self.assertEqual(self.receive_events(), [])
        self.assertEqual(len(self.read_outbox()), 3)

        self.broker.queue_bind(self.queue, self.exchange, "stock.#")
        self._retry()
        self.assertEqual(self.relay(), 3)
        self.assertEqual(
            [(e["product_id"], e["sequence"]) for e in self.receive_events()],
            [(blocked, 2), (blocked, 3), (blocked, 4)],
        )
        self.assertEqual(self.read_outbox(), [])

    def _retry(self):
        with self.committing() as env:
            env["stock.event.outbox"].search(
                [("channel_id", "=", self.channel_id), ("state", "=", "blocked")]
            ).action_retry()

    def test_a_refused_event_is_tried_again_in_order(self):
        self.bind(**{"x-max-length": 1, "x-overflow": "reject-publish"})
        product_id = self.create_product()
        self.append(*[(product_id, "RECEIPT", 1)] * 3)
        self.relay()
        received = self.receive_events()
        [refused, waiting] = self.read_outbox()[-2:]
        self.assertEqual((refused["state"], waiting["state"]), ("blocked", "waiting"))
        self.assertIn("nack", refused["error"])
        while self.read_outbox():
            self._make_retry_due()
            self.relay()
            received += self.receive_events()
        self.assertEqual([event["sequence"] for event in received], [1, 2, 3])

    def _make_retry_due(self):
        with self.committing() as env:
            env.cr.execute(
                "UPDATE stock_event_outbox SET retry_date = now() AT TIME ZONE 'UTC'"
                " WHERE channel_id = %s AND retry_date IS NOT NULL",
                [self.channel_id],
            )

    def test_one_leader_publishes(self):
        self.bind()
        self.append((self.create_product(), "RECEIPT"))
        with Leader(self.dbname) as leader:
            self.assertTrue(leader.acquire())
            with Leader(self.dbname) as other:
                self.assertFalse(other.acquire())
            self.assertEqual(self.relay(), 0)
        self.wait_until(lambda: self.relay() == 1, "the next leader")

    def test_an_unreachable_broker_costs_a_movement_nothing(self):
        self.bind()
        with self.committing() as env:
            port = self.get_channel(env).port
            self.get_channel(env).port = self._get_closed_port()
        product_id = self.create_product()
        with self.committing() as env:
            self._receive(env, product_id, 1)
        self.assertEqual(self._relay_with_warning(), 0)
        with self.committing() as env:
            self.assertIn("refused", self.get_channel(env).last_error)
            self._receive(env, product_id, 2)
            self.get_channel(env).port = port
        self.assertEqual(self.relay(), 2)
        self.assertEqual([e["sequence"] for e in self.receive_events()], [1, 2])
        with self.committing() as env:
            self.assertFalse(self.get_channel(env).last_error)

    def _get_closed_port(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            return listener.getsockname()[1]

    def _relay_with_warning(self):
        with self.assertLogs("odoo.addons.stock_event_ledger.relay", "WARNING") as logs:
            count = self.relay()
        self.assertEqual(len(logs.output), 1)
        return count

    def test_a_wrong_password_is_reported_without_it(self):
        self.bind()
        self.set_password("distinctive-wrong-password")
        self.append((self.create_product(), "RECEIPT"))
        with self.assertLogs("odoo.addons.stock_event_ledger", "DEBUG") as logs:
            self.assertEqual(self.relay(), 0)
        self.assertNotIn("distinctive", str(logs.output))
        with self.committing() as env:
            error = self.get_channel(env).last_error
            self.assertIn("ACCESS_REFUSED", error)
            self.assertNotIn("distinctive", str(self.get_channel(env).read()))
            action = self.get_channel(env).action_test_connection()
            self.assertEqual(action["params"]["type"], "danger")
            self.assertNotIn("distinctive", str(action))

    def test_the_connection_test_says_how_it_went(self):
        with self.committing() as env:
            action = self.get_channel(env).action_test_connection()
            self.assertEqual(action["params"]["type"], "success")
            self.get_channel(env).port = self._get_closed_port()
            action = self.get_channel(env).action_test_connection()
            self.assertEqual(action["params"]["type"], "danger")
            self.assertIn("refused", action["params"]["message"])

    def test_exchange_and_audit_queue_are_declared(self):
        self.broker.exchange_delete(self.exchange)
        with self.committing() as env:
            self.get_channel(env).queue_ids = [
                (0, 0, {"name": self.queue, "has_single_active_consumer": False})
            ]
        self.addCleanup(self.broker.queue_delete, self.queue)
        self.append((self.create_product(), "RECEIPT"))
        self.assertEqual(self.relay(), 1)
        self.assertEqual(len(self.receive_events()), 1)
