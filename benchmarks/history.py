"""Fills a database with a history of movements, by SQL; runs inside an Odoo process.

One movement of each kind goes through Odoo in each warehouse. What it wrote, to Odoo's tables
and to the ledger, is then repeated with other ids, products, quantities and dates, so that
every column is as Odoo fills it. The transfers have no messages in their chatter.
"""

import json
import math
from contextlib import contextmanager

from odoo import fields
from odoo.release import version
from odoo.tools import SQL

from .bulk import insert, without_indexes
from .histories import BLOCK, PARAMETER
from .history_templates import DONE_KINDS, KINDS, LOTS, OPEN_KINDS, WAREHOUSES, make_templates
from .report import say

YEARS_SECONDS = 2 * 365 * 24 * 3600
# Of the fast moving products, one in five, which make up half of the history.
FAST_SLOTS = 5
CHUNK = 500_000
OPEN_MOVES = 4000
OPEN_DAYS = 60
# Each table with the temporary table of the rows that are repeated in it.
TEMPLATES = {
    "stock_picking": "history_picking",
    "stock_move": "history_move",
    "stock_move_line": "history_line",
    "stock_ledger_entry": "history_entry",
    "stock_quant": "history_quant",
}
TABLES = tuple(TEMPLATES)[:-1]
CODES = len(KINDS) * WAREHOUSES
TRIGGER = SQL.identifier("stock_ledger_entry_feed_delta")
MOVEMENT = SQL.identifier("history_movement")
PICKING = SQL("(SELECT code, block, MIN(date) AS date FROM history_movement GROUP BY code, block)")


def get_history(env):
    """Return the description of the database's history, or None where it has none."""
    return json.loads(env["ir.config_parameter"].get_param(PARAMETER, "null"))


def make_history(env, movements):
    """Make products, warehouses, and a history of so many movements that ends now; commit.

    :return: its description
    """
    say("  products, warehouses and a movement of each kind")
    description = {
        "movements": movements,
        "next": 0,
        "odoo_version": version,
        "end": fields.Datetime.to_string(fields.Datetime.now()),
        **make_templates(env),
    }
    history = History(env, description)
    with without_indexes(env, TABLES), without_trigger(env):
        history.add(movements)
        history.add_open_moves()
    env.cr.execute(SQL("ANALYZE stock_ledger_entry"))
    say("  the ledger's rollups")
    env["stock.ledger.balance"]._rebuild()
    env.cr.commit()
    say("  quants")
    history.write_quants()
    history.save()
    return history.description


def add_movements(env, count):
    """Add movements of the last minute, whose entries wait to be folded; commit."""
    history = History(env, get_history(env))
    history.add(count)
    history.save()


def write_quants(env):
    """Bring the quants up to what was added, and folded, since; commit."""
    History(env, get_history(env)).write_quants()


@contextmanager
def without_trigger(env):
    """Do not feed the rollups, which are made in the end, while the block lasts."""
    env.cr.execute(SQL("ALTER TABLE stock_ledger_entry DISABLE TRIGGER %s", TRIGGER))
    yield
    env.cr.execute(SQL("ALTER TABLE stock_ledger_entry ENABLE TRIGGER %s", TRIGGER))
    env.cr.commit()


class History:
    """A database's history, and how it is continued."""

    def __init__(self, env, description):
        self.env = env
        self.description = description
        # Sorting, so that the rollups' rows come in the order of their indexes.
        self._execute(
            SQL(
                """SET synchronous_commit = off; SET maintenance_work_mem = '1GB';
                SET work_mem = '512MB'; SET enable_hashagg = off"""
            )
        )
        self._execute(self._query_slots())
        self._execute(self._query_templates())
        [[self._slots]] = self._read(SQL("SELECT COUNT(*) FROM history_slot"))

    def _execute(self, query):
        self.env.cr.execute(query)

    def _read(self, query):
        self._execute(query)
        return self.env.cr.fetchall()

    def save(self):
        """Keep the description, by which the history is found again; commit."""
        self.env["ir.config_parameter"].set_param(PARAMETER, json.dumps(self.description))
        self.env.cr.commit()

    # --- what is repeated ---

    def _query_slots(self):
        """A slot is a product in a warehouse, and its lot if it has lots; fast ones have more."""
        return SQL(
            """
            CREATE TEMP TABLE history_slot AS
            SELECT (ROW_NUMBER() OVER (ORDER BY number, warehouse, copy) - 1)::int AS slot,
                   product.id AS product_id, warehouse, lot.id AS lot_id,
                   (1 + number %% 3)::int AS quantity
              FROM UNNEST(%(products)s::int[]) WITH ORDINALITY AS product (id, number)
             CROSS JOIN GENERATE_SERIES(0, %(warehouses)s - 1) AS warehouse
              JOIN GENERATE_SERIES(0, %(fast)s - 1) AS copy ON copy = 0 OR number %% 5 = 0
              LEFT JOIN stock_lot lot ON lot.product_id = product.id
                    AND lot.name = ((warehouse + copy) %% %(lots)s)::text;
            ANALYZE history_slot
            """,
            products=self.description["product_ids"],
            warehouses=WAREHOUSES,
            fast=FAST_SLOTS,
            lots=LOTS,
        )

    def _query_templates(self):
        """The rows to repeat. Each has the code of its kind and warehouse.

        Done moves were reserved and are not any more, which the ledger's entries do not say.
        """
        return SQL(
            """
            CREATE TEMP TABLE history_move AS
            SELECT template.code, move.*
              FROM UNNEST(%(moves)s::int[]) WITH ORDINALITY AS made (id, number)
             CROSS JOIN LATERAL (SELECT (number - 1)::int AS code) AS template
              JOIN stock_move move ON move.id = made.id;
            CREATE TEMP TABLE history_line AS
            SELECT code, line.* FROM stock_move_line line
              JOIN history_move move ON move.id = line.move_id;
            CREATE TEMP TABLE history_picking AS
            SELECT code, picking.* FROM stock_picking picking
              JOIN history_move move ON move.picking_id = picking.id;
            CREATE TEMP TABLE history_entry AS
            SELECT code, (ROW_NUMBER() OVER (PARTITION BY code ORDER BY entry.id) - 1)::int AS side,
                   entry.*
              FROM stock_ledger_entry entry JOIN history_move move ON move.id = entry.move_id
             WHERE entry.quantity <> 0 OR move.state <> 'done';
            UPDATE history_entry SET reserved_quantity = 0 WHERE quantity <> 0;
            CREATE TEMP TABLE history_quant AS
            SELECT * FROM stock_quant WHERE product_id = %(product)s
            """,
            product=self.description["template_product_id"],
            moves=self.description["move_ids"],
        )

    # --- movements ---

    def add(self, count):
        """Add done movements, in turn with those that there are; commit."""
        first = self.description["next"]
        for start in range(first, first + count, CHUNK):
            end = min(start + CHUNK, first + count)
            self._repeat(self._query_done(start, end))
            say(f"  {end:,} movements")
        # The next transfers are new ones.
        self.description["next"] = math.ceil((first + count) / BLOCK) * BLOCK

    def add_open_moves(self):
        """Add receipts and deliveries of the next days, a part of these reserved; commit."""
        self._repeat(self._query_open())

    def _repeat(self, movements):
        self._execute(SQL("DROP TABLE IF EXISTS history_movement"))
        self._execute(SQL("CREATE TEMP TABLE history_movement AS %s", movements))
        self._execute(SQL("ANALYZE history_movement"))
        values = self._get_values()
        for table in TABLES:
            source = PICKING if table == "stock_picking" else MOVEMENT
            insert(
                self.env,
                table,
                SQL(
                    "%s AS movement JOIN %s AS template USING (code)",
                    source,
                    SQL.identifier(TEMPLATES[table]),
                ),
                values[table],
            )
        self.env.cr.commit()

    def _query_done(self, first, end):
        """The done movements of some numbers.

        Each slot's turn comes once in a round, in the first one with a receipt. Ten rounds
        have a receipt, deliveries, a return or a loss, and a transfer to the next warehouse
        with a delivery from there. What is received covers all of it, so that no stock is
        ever below zero.
        """
        return SQL(
            """
            SELECT number, number / %(block)s AS block, product_id, lot_id, date,
                   CASE kind WHEN 'receipt' THEN 6 * quantity + CASE round WHEN 0 THEN 12 ELSE 3 END
                        WHEN 'delivery' THEN CASE phase WHEN 9 THEN 2 ELSE quantity END
                        WHEN 'transfer' THEN 2 ELSE 1 END AS quantity,
                   array_position(%(kinds)s, kind) * %(warehouses)s - %(warehouses)s
                   + CASE WHEN phase = 9 AND round > 1 THEN (warehouse + 1) %% %(warehouses)s
                          ELSE warehouse END AS code
              FROM GENERATE_SERIES(%(first)s, %(last)s) AS number
             CROSS JOIN LATERAL (SELECT number / %(slots)s AS round) AS rounds
             CROSS JOIN LATERAL (
                    SELECT (number %% %(slots)s * 7919 + round * 1009) %% %(slots)s AS slot
                   ) AS turns
             CROSS JOIN LATERAL (SELECT (slot + round) %% 10 AS phase) AS phases
             CROSS JOIN LATERAL (
                    SELECT CASE WHEN round = 0 OR phase = 0 THEN 'receipt'
                                WHEN phase = 8 THEN 'transfer'
                                WHEN phase <> 7 THEN 'delivery'
                                WHEN (round / 10 + slot) %% 3 = 0 THEN 'return'
                                ELSE 'loss' END AS kind
                   ) AS kinds
             CROSS JOIN LATERAL (
                    SELECT date_trunc('second', %(end)s::timestamp - make_interval(
                        secs => GREATEST(%(movements)s - number, 0) * %(seconds)s)) AS date
                   ) AS dates
              JOIN history_slot USING (slot)
             ORDER BY number
            """,
            block=BLOCK,
            kinds=list(DONE_KINDS),
            warehouses=WAREHOUSES,
            first=first,
            last=end - 1,
            slots=self._slots,
            end=self.description["end"],
            movements=self.description["movements"],
            seconds=YEARS_SECONDS / self.description["movements"],
        )

    def _query_open(self):
        """Receipts to come, deliveries, and deliveries that are reserved; each of a slot."""
        return SQL(
            """
            SELECT number, number / %(block)s - 1 AS block, product_id, lot_id, 1 AS quantity,
                   (%(done)s + -number %% %(open)s) * %(warehouses)s + warehouse AS code,
                   %(end)s::timestamp + (1 - number %% %(days)s) * INTERVAL '1 day' AS date
              FROM GENERATE_SERIES(-%(count)s, -1) AS number
              JOIN history_slot ON slot = (-number - 1) * (%(slots)s / %(count)s)
             ORDER BY number
            """,
            block=BLOCK,
            end=self.description["end"],
            done=len(DONE_KINDS),
            open=len(OPEN_KINDS),
            warehouses=WAREHOUSES,
            days=OPEN_DAYS,
            count=OPEN_MOVES,
            slots=self._slots,
        )

    # --- rows ---

    def _get_values(self):
        """Return, by table and column, what the new rows do not have from their template."""
        first = self._get_first_ids()
        now = SQL("LEAST(movement.date, now() AT TIME ZONE 'UTC')")
        written = {"create_date": now, "write_date": now}
        moved = {"product_id": SQL("movement.product_id"), "lot_id": SQL("movement.lot_id")}
        # Above the numbers that Odoo gives; a receipt and a return have the same sequence.
        number = SQL("1000000 + movement.block * %s + movement.code / %s", len(KINDS), WAREHOUSES)
        move_id = SQL("%s + movement.number", first["stock_move"])
        line_id = SQL("%s + movement.number", first["stock_move_line"])
        picking_id = SQL("%s + movement.block * %s + movement.code", first["stock_picking"], CODES)
        in_picking = SQL("CASE WHEN template.picking_id > 0 THEN %s END", picking_id)
        return {
            "stock_picking": {
                **written,
                "id": picking_id,
                "name": self._query_numbered("name", number),
                "scheduled_date": SQL("movement.date"),
                "date_done": SQL("CASE WHEN template.state = 'done' THEN movement.date END"),
            },
            "stock_move": {
                **written,
                "id": move_id,
                "picking_id": in_picking,
                "product_id": moved["product_id"],
                "reference": self._query_numbered("reference", number),
                "date": SQL("movement.date"),
                **_multiply("product_qty", "product_uom_qty", "quantity"),
            },
            "stock_move_line": {
                **written,
                **moved,
                "id": line_id,
                "move_id": move_id,
                "picking_id": in_picking,
                "date": SQL("movement.date"),
                **_multiply("quantity", "quantity_product_uom"),
            },
            "stock_ledger_entry": {
                **moved,
                "id": SQL("%s + movement.number * 2 + side", first["stock_ledger_entry"]),
                "move_id": move_id,
                "move_line_id": line_id,
                "picking_id": in_picking,
                "reference": self._query_numbered("reference", number),
                "effective_date": now,
                "recorded_date": now,
                **_multiply("quantity", "reserved_quantity"),
            },
        }

    def _get_first_ids(self):
        """Return by table the id that the movement (or block of movements) 0 would have."""
        [[number, block]] = self._read(SQL("SELECT MIN(number), MIN(block) FROM history_movement"))
        per_number = {
            "stock_picking": block * CODES,
            "stock_move": number,
            "stock_move_line": number,
            "stock_ledger_entry": number * 2,
        }
        first_ids = {}
        for table, used in per_number.items():
            query = SQL("SELECT COALESCE(MAX(id), 0) + 1 FROM %s", SQL.identifier(table))
            [[free_id]] = self._read(query)
            first_ids[table] = free_id - used
        return first_ids

    def _query_numbered(self, column, number):
        """A reference such as WH/OUT/00012 with another number."""
        return SQL(
            "regexp_replace(%s, %s, (%s)::text)",
            SQL.identifier("template", column),
            r"\d+$",
            number,
        )

    def write_quants(self):
        """Make the products' quants of what the ledger's balances are; commit."""
        self._execute(
            SQL(
                "DELETE FROM stock_quant WHERE product_id <> %s",
                self.description["template_product_id"],
            )
        )
        values = {
            name: SQL.identifier("movement", name)
            for name in ("product_id", "lot_id", "quantity", "reserved_quantity")
        }
        values["in_date"] = SQL("COALESCE(movement.last_movement_date, template.in_date)")
        values["id"] = SQL("nextval('stock_quant_id_seq')")
        source = SQL(
            """stock_ledger_balance AS movement
               JOIN history_quant AS template ON template.location_id = movement.location_id
                    AND movement.product_id <> template.product_id"""
        )
        insert(self.env, "stock_quant", source, values)
        self.env.cr.commit()


def _multiply(*columns):
    return {
        name: SQL("%s * movement.quantity", SQL.identifier("template", name)) for name in columns
    }
