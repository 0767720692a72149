"""Commits stock changes in many ways, and keeps a log of what it knows about them."""

import contextlib
import json
import os
import random
import signal
import threading
import time
import uuid

import psycopg2

from odoo import SUPERUSER_ID, api
from odoo.exceptions import UserError
from odoo.modules.registry import Registry

from odoo.addons.stock_event_ledger.models.stock_ledger_entry import StockLedgerEntry

LATE_SECONDS = 1
# How often each kind of transaction is made, in relation to the others.
KINDS = {
    "change": 10,
    "rollback": 2,
    "undo_flushed": 2,
    "undo_unflushed": 2,
    "come_late": 1,
    "transfer": 2,
}


class Undone(Exception):
    """Rolls a savepoint back."""


class Writer:
    """Changes the stock of some products, at some locations, until SIGTERM.

    Its log is on the disk before it goes on: a line before each commit, with the ledger
    entries that the transaction has inserted, and a line after it.
    """

    def __init__(self, dbname, path, seed, products, locations, pause_seconds=0, kill=None):
        """
        :param str path: of the log
        :param list products: ids of products
        :param list locations: ids of internal locations
        :param float pause_seconds: between transactions, on average
        :param list kill: when to die, (before, in or after, number of the commit)
        """
        self._registry = Registry(dbname)
        self._path = path
        self._random = random.Random(seed)
        self._products = products
        self._locations = locations
        self._pause_seconds = pause_seconds
        self._kill_moment, self._kill_at = kill or (None, 0)
        self._is_stopping = False
        self._commits = 0
        self._inserted = []

    def run(self):
        """Write until told to stop."""
        signal.signal(signal.SIGTERM, self._stop)
        self._note_inserted()
        kinds, weights = list(KINDS), list(KINDS.values())
        with open(self._path, "a", encoding="utf-8") as self._log:
            while not self._is_stopping:
                [kind] = self._random.choices(kinds, weights)
                self._try(getattr(self, f"_{kind}"), is_rolled_back=kind == "rollback")
                time.sleep(self._random.uniform(0, 2 * self._pause_seconds))

    def receive(self, origin):
        """Receive a unit of the first product for a source document."""
        self._note_inserted()

        def receive(env, expected):
            product = env["product.product"].browse(self._products[0])
            self._make_transfer(env, product, 1, True, origin)
            expected.append((product.id, 1))

        with open(self._path, "a", encoding="utf-8") as self._log:
            while not self._try(receive):
                pass

    def _stop(self, *_args):
        self._is_stopping = True

    def _note_inserted(self):
        append = StockLedgerEntry._append

        def noting(ledger, vals_list):
            entry_ids = append(ledger, vals_list)
            self._inserted += entry_ids
            return entry_ids

        StockLedgerEntry._append = noting

    def _try(self, change, is_rolled_back=False):
        """Make a transaction.

        :return: whether it came to its end
        """
        try:
            self._write(change, is_rolled_back)
        except (psycopg2.Error, UserError):
            # Another transaction was faster, or PostgreSQL is away.
            time.sleep(0.1)
            return False
        return True

    def _write(self, change, is_rolled_back):
        self._inserted.clear()
        with contextlib.closing(self._registry.cursor()) as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            expected = []
            change(env, expected)
            if is_rolled_back:
                self._roll_back(env, expected)
            else:
                self._commit(env, expected)

    # --- the log

    def _roll_back(self, env, expected):
        transaction = self._log_intent(env, expected)
        env.cr.rollback()
        self._append_line(transaction=transaction, outcome="rolled back")

    def _commit(self, env, expected):
        self._commits += 1
        moment = self._kill_moment if self._commits == self._kill_at else None
        outcome = {"before": "rolled back", "after": "committed"}.get(moment)
        transaction = self._log_intent(env, expected, outcome)
        if moment == "before":
            _die()
        elif moment == "in":
            threading.Timer(self._random.uniform(0, 0.003), _die).start()
        env.cr.commit()
        if moment == "after":
            _die()
        self._append_line(transaction=transaction, outcome="committed")

    def _log_intent(self, env, expected, outcome_by_kill=None):
        """Write what the next commit commits: what the ledger has after the flush."""
        env.cr.flush()
        env.cr.execute(
            """SELECT e.id, e.product_id, e.quantity::float
                 FROM stock_ledger_entry e JOIN stock_location l ON l.id = e.location_id
                WHERE e.id = ANY(%s) AND l.usage IN ('internal', 'transit')""",
            [self._inserted],
        )
        transaction = uuid.uuid4().hex
        self._append_line(
            transaction=transaction,
            entries=env.cr.fetchall(),
            expected=expected,
            outcome_by_kill=outcome_by_kill,
        )
        return transaction

    def _append_line(self, **line):
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()
        os.fsync(self._log.fileno())

    # --- the kinds of transactions; each adds to what it expects to be committed

    def _change(self, env, expected):
        for _number in range(self._random.choice((1, 1, 2, 3))):
            product = env["product.product"].browse(self._random.choice(self._products))
            location = env["stock.location"].browse(self._random.choice(self._locations))
            quantity = self._random.choice((1, 2, 3, 5, -1))
            env["stock.quant"]._update_available_quantity(product, location, quantity)
            expected.append((product.id, quantity))

    _rollback = _change

    def _undo_flushed(self, env, expected):
        self._change(env, expected)
        with contextlib.suppress(Undone), env.cr.savepoint():
            self._change(env, [])
            raise Undone
        self._change(env, expected)

    def _undo_unflushed(self, env, expected):
        self._change(env, expected)
        # What was not flushed before would be undone as well.
        env.flush_all()
        with contextlib.suppress(Undone), env.cr.savepoint(flush=False):
            self._change(env, [])
            env.flush_all()
            raise Undone
        # Such a savepoint leaves the cache to its caller.
        env.invalidate_all(flush=False)
        if self._random.random() < 0.5:
            self._change(env, expected)

    def _come_late(self, env, expected):
        self._change(env, expected)
        env.cr.flush()
        # Its entries have lower ids than those that others commit meanwhile.
        time.sleep(LATE_SECONDS)

    def _transfer(self, env, expected):
        product = env["product.product"].browse(self._random.choice(self._products))
        quantity = self._random.choice((1, 2, 3))
        is_receipt = self._random.random() < 0.7
        self._make_transfer(env, product, quantity, is_receipt)
        expected.append((product.id, quantity if is_receipt else -quantity))

    def _make_transfer(self, env, product, quantity, is_receipt, origin=None):
        """Receive from a supplier, or deliver to a customer, at the first location."""
        stock = env["stock.location"].browse(self._locations[0])
        if is_receipt:
            picking_type = stock.warehouse_id.in_type_id
            source, destination = env.ref("stock.stock_location_suppliers"), stock
        else:
            picking_type = stock.warehouse_id.out_type_id
            source, destination = stock, env.ref("stock.stock_location_customers")
        places = {"location_id": source.id, "location_dest_id": destination.id}
        move = {"product_id": product.id, "product_uom_qty": quantity, **places}
        picking = env["stock.picking"].create(
            {
                "picking_type_id": picking_type.id,
                "origin": origin,
                "move_ids": [(0, 0, move)],
                **places,
            }
        )
        picking.action_confirm()
        picking.move_ids.write({"quantity": quantity, "picked": True})
        picking.button_validate()


def _die():
    os.kill(os.getpid(), signal.SIGKILL)
