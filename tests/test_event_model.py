from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odoo import SUPERUSER_ID, api
from odoo.modules.registry import Registry
from odoo.tests import tagged
from odoo.tools import mute_logger

from ..broker import Batch, event_uuid, gap_event_uuid
from .event_common import EventCase

# Writing comes up more often than the rest.
OPERATIONS = (
    *("move", "append", "append", "commit", "commit") * 3,
    *("undo", "roll_back", "fold"),
    *("relay", "relay", "die_numbered", "die_numbered", "die_sent", "lose_settlement") * 2,
    *("unbind", "crowd", "retry", "skip", "skip") * 2,
    *("pause", "activate", "filter") * 2,
    *("replay", "clean_up") * 2,
)
QUANTITIES = (0.25, 1, 2, 3.5, 10)
# Quantity and reserved quantity of one unit.
APPENDED = {"RECEIPT": (1, 0), "SALE": (-1, 0), "RESERVE": (0, 1)}
FILTER = ("RECEIPT", "ADJUSTMENT")
# What must have come up, beside each operation, for the test to tell anything.
OUTCOMES = (
    *("repeat", "gap", "no route", "nack", "waiting"),
    *("replay with a number", "replay without a number"),
    *("missed while inactive", "left out by the filter"),
)


class Change(NamedTuple):
    """What a ledger entry tells, as far as the model knows."""

    product_id: int
    location_id: int
    event_type: str
    quantity: float
    reserved_quantity: float


@dataclass
class Writer:
    """A transaction that is under way, and what it is to add to the ledger."""

    cr: object
    # What it sees of the channel: the types that pass, or None where it is inactive.
    event_types: frozenset | None
    changes: list = field(default_factory=list)
    # Changes of quants that have not become entries, by product and location.
    noted: Counter = field(default_factory=Counter)

    @property
    def env(self):
        return api.Environment(self.cr, SUPERUSER_ID, {})

    def settle(self):
        """Take note of the entries that a flush writes."""
        self.changes += [
            Change(*key, "ADJUSTMENT", quantity, 0)
            for key, quantity in self.noted.items()
            if quantity
        ]
        self.noted.clear()


@tagged("post_install", "-at_install")
class TestEventModel(EventCase):
    """Whatever is done, dies or is refused, and in whatever order: what was committed is
    what arrives."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.done = Counter()
        with cls.committing() as env:
            warehouse = env["stock.warehouse"].browse(cls.warehouse_id)
            cls.stock_id = warehouse.lot_stock_id.id
            cls.company_id = warehouse.company_id.id
            transit = warehouse.company_id.internal_transit_location_id
            customers = env.ref("stock.stock_location_customers")
            # Location: its warehouse and company, and whether its entries are events.
            cls.locations = {
                cls.stock_id: (cls.warehouse_id, cls.company_id, True),
                transit.id: (None, cls.company_id, True),
                customers.id: (None, None, False),
            }
            transit.active = True
            cls.database_uuid = env["stock.event.channel"]._get_database_uuid()
            cls.type_ids = env["stock.event.type"].search([("code", "in", FILTER)]).ids

    def setUp(self):
        super().setUp()
        self.bind("stock.gap.*")
        for event_type in (*APPENDED, "ADJUSTMENT"):
            self.broker.queue_bind(self.queue, self.exchange, f"stock.{event_type.lower()}.*")
        # Takes its copy of a receipt or, once full, has the broker refuse the message,
        # which the other queue has then got all the same.
        self.full_queue = f"{self.queue}.full"
        self.broker.queue_declare(
            self.full_queue, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
        )
        self.addCleanup(self.broker.queue_delete, self.full_queue)
        self.broker.basic_publish("", self.full_queue, b"")
        with self.committing() as env:
            self.get_channel(env).active = False

    @mute_logger("odoo.sql_db", "odoo.addons.stock_event_ledger.relay.relay")
    def test_random_interleavings(self):
        self._check_random_interleavings()
        missing = {*OPERATIONS, *OUTCOMES} - {name for name, count in self.done.items() if count}
        self.assertFalse(missing, "something never came up")

    @settings(
        max_examples=40,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    # A generator of its own: what hypothesis draws by itself is too alike for an event to
    # get blocked, and then skipped, more than once in a while. It prints the seed.
    @given(random=st.randoms(use_true_random=True), count=st.integers(30, 70))
    def _check_random_interleavings(self, random, count):
        self._begin()
        try:
            for _step in range(count):
                operation, pick = random.choice(OPERATIONS), random.randrange(12)
                quantity = random.choice(QUANTITIES)
                if getattr(self, f"_do_{operation}")(pick, quantity) is not False:
                    self.done[operation] += 1
            self._drain()
            self._check_deliveries(self.receive_events())
        finally:
            self._end()

    # --- the model

    def _begin(self):
        """Start with products, keys and a channel that nobody has used."""
        self.product_ids = [self.create_product(), self.create_product()]
        with self.committing() as env:
            channel = self.get_channel(env).copy(
                {"code": f"{self.queue[5:]}_example", "active": True}
            )
            self.example_channel_id, self.channel_id = self.channel_id, channel.id
        self.writers = {}
        # Committed entries by id, and the ids of those that the channel has to deliver.
        self.entries, self.expected = {}, set()
        self.skipped, self.replayed, self.dropped = set(), set(), set()
        self.is_active, self.event_types = True, ()
        self.is_paused = self.is_unbound = self.is_crowded = self.was_changed = False

    def _end(self):
        for writer in self.writers.values():
            writer.cr.close()
        self._bind_again()
        self.delete_channel()
        self.channel_id = self.example_channel_id
        self.receive()

    def _get_passing_types(self):
        """Return which types the channel publishes now, or None where it is inactive."""
        return frozenset(self.event_types or (*APPENDED, "ADJUSTMENT")) if self.is_active else None

    def _passes(self, entry, event_types):
        is_event = self.locations[entry.location_id][2]
        return is_event and event_types is not None and entry.event_type in event_types

    def _get_key(self, entry):
        return entry.product_id, self.locations[entry.location_id][0]

    def _get_writer(self, pick):
        """Return one of three transactions, whose snapshot is from its first operation."""
        number = pick % 3
        if number not in self.writers:
            cr = Registry(self.dbname).cursor()
            cr.execute("SELECT FROM stock_event_channel")
            self.writers[number] = Writer(cr, self._get_passing_types())
        return self.writers[number]

    def _move(self, writer, pick, quantity):
        """Change a quant, as whatever moves stock does."""
        env = writer.env
        product = env["product.product"].browse(self.product_ids[pick % 2])
        location = env["stock.location"].browse(self.stock_id)
        env["stock.quant"]._update_available_quantity(product, location, quantity)

    def _read_entries(self, env):
        """Return the ids and Changes of committed entries."""
        env.cr.execute(
            """SELECT id, product_id, location_id, event_type, quantity::float,
                      reserved_quantity::float
                 FROM stock_ledger_entry WHERE product_id = ANY(%s)""",
            [self.product_ids],
        )
        return {entry_id: Change(*values) for entry_id, *values in env.cr.fetchall()}

    def _take_note(self, writer):
        """Take note of what a transaction has committed."""
        with self.committing() as env:
            entries = self._read_entries(env)
        new = {entry_id: entries[entry_id] for entry_id in entries.keys() - self.entries}
        self.assertEqual(Counter(new.values()), Counter(writer.changes))
        self.entries.update(new)
        for entry_id, entry in new.items():
            if self._passes(entry, writer.event_types):
                self.expected.add(entry_id)
            elif self.locations[entry.location_id][2]:
                is_active = writer.event_types is not None
                self.done["left out by the filter" if is_active else "missed while inactive"] += 1

    def _change_channel(self, **vals):
        """Write to the channel what makes it read its figures anew."""
        with self.committing() as env:
            self.get_channel(env).write(vals)
        self.was_changed = True

    # --- writing

    def _do_move(self, pick, quantity):
        signed = quantity if pick % 4 else -quantity

        writer = self._get_writer(pick)
        self._move(writer, pick, signed)
        writer.noted[self.product_ids[pick % 2], self.stock_id] += signed

    def _do_append(self, pick, quantity):
        event_type = list(APPENDED)[pick % 3]
        change = Change(
            self.product_ids[pick % 2],
            # Mostly in stock, where the other transactions are at work too.
            list(self.locations)[max(pick // 2 - 3, 0)],
            event_type,
            *(unit * quantity for unit in APPENDED[event_type]),
        )
        # Not by the same number as the product or the type.
        self._append(self._get_writer(pick // 4), change)

    def _append(self, writer, change):
        """Write an entry for a change of stock that no quant shows."""
        warehouse_id, company_id, _is_event = self.locations[change.location_id]
        vals = self.prepare_entry(writer.env, change.product_id)
        vals.update(change._asdict(), warehouse_id=warehouse_id, company_id=company_id)
        writer.env["stock.ledger.entry"]._append([vals])
        writer.changes.append(change)

    def _do_undo(self, pick, quantity):
        """Roll back to a savepoint, which flushes before it or does not."""
        flush = pick % 3 != 0

        writer = self._get_writer(pick // 3)
        # What was written before the savepoint is not to be undone with it.
        writer.env.flush_all()
        with closing(writer.cr.savepoint(flush=flush)):
            if flush:
                writer.settle()
            self._move(writer, pick, quantity)
            # Even what has been written by then.
            (writer.cr.flush if flush else writer.env.flush_all)()
        writer.env.invalidate_all()

    def _do_commit(self, pick, _quantity):
        if pick % 3 not in self.writers:
            return False
        writer = self.writers.pop(pick % 3)
        with closing(writer.cr):
            writer.cr.commit()
        writer.settle()
        self._take_note(writer)
        return True

    def _do_roll_back(self, pick, _quantity):
        if pick % 3 not in self.writers:
            return False
        self.writers.pop(pick % 3).cr.close()
        return True

    def _do_fold(self, pick, _quantity):
        with self.committing() as env:
            env["stock.ledger.balance"]._fold(pick + 1)

    # --- relays that end, or die

    def _do_relay(self, _pick, _quantity):
        self.relay()
        for row in self.read_outbox():
            if row["state"] == "blocked":
                self.done["nack" if "nack" in row["error"] else "no route"] += 1
            elif row["state"] == "waiting":
                self.done["waiting"] += 1

    def _do_die_numbered(self, pick, _quantity):
        with self.committing() as env:
            messages, _looked_at = env["stock.event.outbox"]._take(self.channel_id, pick + 1)
        return bool(messages)

    def _do_die_sent(self, pick, _quantity):
        with self.committing() as env:
            messages, _looked_at = env["stock.event.outbox"]._take(self.channel_id, pick + 1)
        return bool(self._send(messages))

    def _do_lose_settlement(self, pick, _quantity):
        with self.committing() as env:
            messages, _looked_at = env["stock.event.outbox"]._take(self.channel_id, pick + 1)
        sent = self._send(messages)
        batch = Batch(1)
        batch.confirmed = [message.token for message in sent]
        batch.returned = {message.token: "no queue" for message in messages[len(sent) :][:1]}
        with Registry(self.dbname).cursor() as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            env["stock.event.outbox"]._settle(self.channel_id, batch)
            cr.rollback()
        return bool(sent)

    def _send(self, messages):
        """Send messages up to the first one that no queue takes; return those sent."""
        sent = []
        for message in messages:
            if self.is_unbound and message.properties.type == "SALE":
                break
            self.broker.basic_publish(
                self.exchange, message.routing_key, message.body, message.properties
            )
            sent.append(message)
        return sent

    # --- the broker, and people

    def _do_unbind(self, _pick, _quantity):
        self.is_unbound = not self.is_unbound
        change = self.broker.queue_unbind if self.is_unbound else self.broker.queue_bind
        change(self.queue, self.exchange, "stock.sale.*")

    def _do_crowd(self, _pick, _quantity):
        self.is_crowded = not self.is_crowded
        change = self.broker.queue_bind if self.is_crowded else self.broker.queue_unbind
        change(self.full_queue, self.exchange, "stock.receipt.*")

    def _bind_again(self):
        if self.is_unbound:
            self._do_unbind(None, None)
        if self.is_crowded:
            self._do_crowd(None, None)

    def _find_events(self, env, *domain):
        return env["stock.event.outbox"].search([("channel_id", "=", self.channel_id), *domain])

    def _do_retry(self, _pick, _quantity):
        with self.committing() as env:
            blocked = self._find_events(env, ("state", "=", "blocked"))
            blocked.action_retry()
            return bool(blocked)

    def _do_skip(self, pick, _quantity):
        with self.committing() as env:
            blocked = self._find_events(env, ("state", "=", "blocked"))
            if not blocked:
                return False
            event = blocked[pick % len(blocked)]
            (self.dropped if event.is_replay else self.skipped).add(event.entry_id.id)
            event.action_skip()
            return True

    # Mostly the channel publishes, or little would ever be refused.

    def _do_pause(self, pick, _quantity):
        if self.is_paused == (pick % 4 == 1):
            return False
        self.is_paused = not self.is_paused
        with self.committing() as env:
            channel = self.get_channel(env)
            channel.action_pause() if self.is_paused else channel.action_resume()
        return True

    def _do_activate(self, pick, _quantity):
        if self.is_active == (pick % 4 != 1):
            return False
        self.is_active = not self.is_active
        self._change_channel(active=self.is_active)
        return True

    def _do_filter(self, pick, _quantity):
        if bool(self.event_types) == (pick % 4 == 1):
            return False
        self.event_types = () if self.event_types else FILTER
        self._change_channel(event_type_ids=[(6, 0, self.type_ids if self.event_types else [])])
        return True

    def _do_replay(self, _pick, _quantity):
        with self.committing() as env:
            unconfirmed = self._find_events(env, ("state", "!=", "confirmed")).entry_id.ids
            wanted = {
                entry_id
                for entry_id, entry in self.entries.items()
                if self._passes(entry, self._get_passing_types()) and entry_id not in unconfirmed
            }
            if not wanted:
                return False
            wizard = env["stock.event.replay"].create(
                {
                    "channel_id": self.channel_id,
                    "date_from": "2000-01-01",
                    "date_to": "2100-01-01",
                    "product_ids": [(6, 0, self.product_ids)],
                }
            )
            self.assertEqual(wizard.event_count, len(wanted))
            wizard.action_replay()
        self.replayed |= wanted
        return True

    def _do_clean_up(self, pick, _quantity):
        with self.committing() as env:
            env.cr.execute(
                """UPDATE stock_event_outbox SET confirmed_date = '2020-01-01'
                    WHERE channel_id = %s AND state = 'confirmed'""",
                [self.channel_id],
            )
            return bool(env["stock.event.outbox"]._clean_up(pick + 1))

    # --- what has to hold in the end

    def _drain(self):
        """End all transactions, remedy everything, add an event to each key, and relay."""
        for number in list(self.writers):
            self._do_commit(number, None)
        self._bind_again()
        self._do_pause(0, None)
        self._do_activate(0, None)
        self._do_filter(0, None)
        for product_id in self.product_ids:
            for location_id in list(self.locations)[:2]:
                change = Change(product_id, location_id, "RECEIPT", 1, 0)
                self._append(self._get_writer(0), change)
        self._do_commit(0, None)
        self.wait_until(self._relay_all, "drained outbox")

    def _relay_all(self):
        self._do_retry(None, None)
        self._do_relay(None, None)
        return not self.read_outbox()

    def _check_deliveries(self, events):
        live = [event for event in events if not event["replay"]]
        self._check_delivered_set(events)
        self._check_repeats(live)
        by_key = defaultdict(list)
        for event in live:
            by_key[event["product_id"], event["warehouse_id"]].append(event)
        with self.committing() as env:
            self.assertEqual(self._read_entries(env), self.entries)
        for key, of_key in by_key.items():
            first = self._check_numbers(of_key)
            self._check_figures(key, first)
        self._check_replays(live, [event for event in events if event["replay"]])

    def _get_ids(self, entry_ids):
        """Return entries by the ids of their events, and of the GAPs in their place."""
        with self.committing() as env:
            entries = env["stock.ledger.entry"].browse(entry_ids)
            dates = {entry.id: entry.recorded_date for entry in entries}
        ids = {event_uuid(date, self.database_uuid, i): i for i, date in dates.items()}
        gap_ids = {gap_event_uuid(date, self.database_uuid, i): i for i, date in dates.items()}
        return ids, gap_ids

    def _check_delivered_set(self, events):
        """Committed = delivered; a GAP stands for an event that was skipped."""
        self.entry_by_id, self.entry_by_gap_id = self._get_ids(list(self.entries))
        for replay, wanted, optional in (
            (False, self.expected, set()),
            (True, self.replayed, self.dropped),
        ):
            ids = {event["event_id"] for event in events if event["replay"] == replay}
            self.assertLessEqual(ids, self.entry_by_id.keys() | self.entry_by_gap_id.keys())
            delivered = {self.entry_by_id[i] for i in ids if i in self.entry_by_id}
            gaps = {self.entry_by_gap_id[i] for i in ids if i in self.entry_by_gap_id}
            self.assertLessEqual(delivered | gaps, wanted)
            self.assertLessEqual(gaps, self.skipped)
            self.assertLessEqual(wanted - optional, delivered | gaps)
            if not replay:
                self.assertEqual(gaps, self.skipped)
            self.done["replay of a gap" if replay else "gap"] += len(gaps)

    def _check_repeats(self, events):
        first = {}
        for event in events:
            if event["event_id"] in first:
                self.done["repeat"] += 1
            self.assertEqual(event, first.setdefault(event["event_id"], event))

    def _check_numbers(self, events):
        """Check that a key's events first arrive as 1, 2, 3 ...; return these."""
        first = {}
        for event in events:
            sequence = event["sequence"]
            if sequence not in first:
                self.assertEqual(sequence, len(first) + 1)
                first[sequence] = event
            for name in ("quantity", "reserved_quantity", "on_hand_after", "reserved_after"):
                self.assertEqual(event[name], first[sequence][name])
            self.assertEqual(self._get_entry_id(event), self._get_entry_id(first[sequence]))
        return list(first.values())

    def _get_entry_id(self, event):
        return self.entry_by_id[event.get("skipped_event_id") or event["event_id"]]

    def _check_figures(self, key, events):
        if not self.was_changed:
            on_hand = reserved = 0
            for event in events:
                on_hand += event["quantity"]
                reserved += event["reserved_quantity"]
                figures = event["on_hand_after"], event["reserved_after"]
                self.assertEqual(figures, (on_hand, reserved))
        of_key = [
            entry
            for entry in self.entries.values()
            if self.locations[entry.location_id][2] and self._get_key(entry) == key
        ]
        self.assertEqual(
            (events[-1]["on_hand_after"], events[-1]["reserved_after"]),
            (
                sum(entry.quantity for entry in of_key),
                sum(entry.reserved_quantity for entry in of_key),
            ),
        )

    def _check_replays(self, live, replays):
        """A replay is what was published, or has neither number nor figures."""
        published = {event["event_id"]: event for event in live}
        without_number = dict.fromkeys(
            ("sequence", "on_hand_after", "reserved_after", "available_after")
        )
        for event in replays:
            original = published.get(event["event_id"], event)
            if event["sequence"] is None:
                self.done["replay without a number"] += 1
                original = {**original, **without_number}
            else:
                self.done["replay with a number"] += 1
                self.assertIn(event["event_id"], published)
            self.assertEqual(event, {**original, "replay": True})
