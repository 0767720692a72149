"""tools/replay: reading and planning, the generated data, and the transfers."""

import gzip
import importlib.util
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from unittest import skipUnless
from unittest.mock import patch

from odoo.exceptions import ConcurrencyError, LockError
from odoo.sql_db import close_db, db_connect
from odoo.tests import BaseCase, TransactionCase, tagged
from odoo.tools import config

TOOLS = Path(__file__).resolve().parents[1] / "tools"


def load(name):
    """Import a module of tools/, which is no package, under its own name."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


# In the order in which they import each other.
data = load("replay_data")
sample = load("replay_sample")
stock = load("replay_stock")
main = load("replay_main")

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,"
HEADER += "Country\n"
UK = "2.55,17850,United Kingdom"
GOOD = f"536365,85123A,WHITE LANTERN,6,2010-12-01 08:26:00,{UK}\n"


def source_of(*lines):
    return data.Source.of_bytes("test", (HEADER + "".join(lines)).encode())


def groups_of(*lines):
    return list(data.read_groups(source_of(*lines)))


def line(invoice, code, quantity, date="2010-12-01 08:26:00", country="France"):
    return f"{invoice},{code},NAME {code},{quantity},{date},1.0,,{country}\n"


@tagged("post_install", "-at_install")
class TestReplayReading(BaseCase):
    def reason(self, text):
        (group,) = groups_of(text)
        self.assertFalse(group.lines)
        (reason,) = group.skipped
        return reason

    def test_good_line(self):
        (group,) = groups_of(GOOD)
        self.assertEqual(
            group.lines,
            [
                data.Line(
                    "536365",
                    "85123A",
                    "WHITE LANTERN",
                    6,
                    datetime(2010, 12, 1, 8, 26),
                    data.MAIN,
                )
            ],
        )

    def test_malformed_lines(self):
        date = "2010-12-01 08:26:00"
        for text, reason in (
            (f",85123A,X,6,{date},{UK}", "no invoice number"),
            (f"1,,X,6,{date},{UK}", "no product code"),
            (f"1,85123A,X,0,{date},{UK}", "zero quantity"),
            (f"1,85123A,X,six,{date},{UK}", "unreadable quantity"),
            (f"1,85123A,X,1.5,{date},{UK}", "unreadable quantity"),
            (f"1,85123A,X,99999999999,{date},{UK}", "unreadable quantity"),
            (f"1,85123A,X,6,{date},free,1,EIRE", "unreadable price"),
            (f"1,85123A,X,6,yesterday,{UK}", "unreadable date"),
            (f"1,85123A,X,6,0001-01-01 00:00:00,{UK}", "unreadable date"),
            (f"1,85123A,X,6,{date},2.55,17850", "wrong number of columns"),
            (f"1,85123A,X,6,{date},{UK},more", "wrong number of columns"),
            (f'1,85123A,"never closed,6,{date},{UK}', "wrong number of columns"),
            ("", "wrong number of columns"),
            (f"C1,85123A,X,6,{date},{UK}", "positive quantity in a return"),
        ):
            with self.subTest(text=text):
                self.assertEqual(self.reason(f"{text}\n"), reason)

    def test_codes(self):
        for code in (
            *("POST", "DOT", "M", "m", "D", "C2", "S", "B", "PADS", "CRUK"),
            *("BANK CHARGES", "AMAZONFEE", "gift_0001_20", "8512", "85123ABC"),
        ):
            self.assertEqual(self.reason(line("1", code, 1)), "not a product", code)
        for code in ("85123", "85123A", "85123a", "15056BL", "DCGSSGIRL", "DCGS0066P"):
            self.assertEqual(groups_of(line("1", code, 1))[0].lines[0].code, code)

    def test_a_malformed_line_leaves_its_neighbours(self):
        groups = groups_of(GOOD, '1,85123A,"open,1\n', GOOD, "\n", line("7", "22222", 1))
        self.assertEqual([len(group.lines) for group in groups], [2, 1])
        self.assertEqual([(g.start, g.stop) for g in groups], [(0, 4), (4, 5)])
        self.assertEqual(groups[0].skipped["wrong number of columns"], 2)

    def test_plain_gzip_and_encodings(self):
        text = HEADER + GOOD.replace("WHITE", "5£ \N{LATIN SMALL LETTER E WITH ACUTE}")
        sources = [
            data.Source.of_bytes("x", raw)
            for raw in (
                text.encode(),
                text.encode("latin-1"),
                text.encode("utf-8-sig"),
                gzip.compress(text.encode()),
            )
        ]
        self.assertEqual({source.text for source in sources}, {text})
        # Compressed or not, the data are the same.
        self.assertEqual(sources[0].fingerprint, sources[3].fingerprint)
        self.assertNotEqual(sources[0].fingerprint, sources[1].fingerprint)

    def test_damaged_files(self):
        damaged = gzip.compress(GOOD.encode())[:-12]
        with self.assertRaisesRegex(data.DataError, "damaged gzip"):
            data.Source.of_bytes("x", damaged)
        with self.assertRaisesRegex(data.DataError, "No such file"):
            data.Source.of_file("/does/not/exist")
        for text in ("", "a,b\n1,2\n"):
            with self.assertRaisesRegex(data.DataError, "first line must name"):
                list(data.Source.of_bytes("x", text.encode()).rows())

    def test_other_order_of_columns_and_the_spreadsheet_date(self):
        text = (
            "Country,CustomerID,UnitPrice,InvoiceDate,Quantity,Description,StockCode,"
            "InvoiceNo\r\nJapan,,1.5,12/9/2010 8:26,3,X,22222,9\r\n"
        )
        (group,) = data.read_groups(data.Source.of_bytes("x", text.encode()))
        self.assertEqual(group.lines[0].date, datetime(2010, 12, 9, 8, 26))
        self.assertEqual(group.lines[0].warehouse, data.WORLD)

    def test_limit_and_count(self):
        source = source_of(GOOD, line("7", "22222", 1), GOOD.rstrip())
        self.assertEqual(source.count(), 3)
        for stop in range(4):
            groups = list(data.read_groups(source, 0, stop))
            self.assertEqual(sum(len(group.lines) for group in groups), stop)
        self.assertEqual([g.start for g in data.read_groups(source, 2)], [2])


@tagged("post_install", "-at_install")
class TestReplayPlanning(BaseCase):
    def test_one_transfer_per_invoice(self):
        groups = groups_of(
            line("1", "11111", 2),
            line("1", "22222", 1),
            line("1", "11111", 2),
            line("2", "11111", 1, country="Japan"),
        )
        (first,), (second,) = (group.transfers() for group in groups)
        self.assertEqual(first.quantities, {"11111": 4, "22222": 1})
        self.assertEqual((first.kind, first.warehouse), ("delivery", data.EUROPE))
        self.assertEqual(second.warehouse, data.WORLD)

    def test_returns_and_adjustments(self):
        returned, adjusted = groups_of(line("C1", "11111", -2), line("2", "11111", -3))
        (transfer,) = returned.transfers()
        self.assertEqual((transfer.kind, transfer.quantities), ("return", {"11111": 2}))
        self.assertFalse(returned.adjustments())
        (adjustment,) = adjusted.adjustments()
        self.assertEqual((adjustment.quantity, adjustment.reason), (3, "NAME 11111"))
        self.assertFalse(adjusted.transfers())

    def test_warehouses(self):
        for country, warehouse in (
            ("United Kingdom", data.MAIN),
            ("EIRE", data.EUROPE),
            ("Germany", data.EUROPE),
            ("USA", data.WORLD),
            ("Unspecified", data.WORLD),
            ("", data.WORLD),
        ):
            self.assertEqual(data.warehouse_of(country), warehouse)

    def test_receipts_cover_the_demand_in_cartons(self):
        groups = groups_of(
            line("1", "11111", 13),
            line("C2", "11111", -5),
            line("3", "22222", -2),
            line("4", "33333", 12),
        )
        needed = data.demand(groups)
        self.assertEqual(
            needed,
            {("EU", "11111"): 13, ("EU", "22222"): 2, ("EU", "33333"): 12},
        )
        available = {("EU", "11111"): 0.5, ("EU", "22222"): 2.0, ("EU", "33333"): -1.0}
        self.assertEqual(data.receipts(needed, available), {"EU": {"11111": 24, "33333": 24}})
        self.assertEqual(data.receipt_date(groups), groups[0].date - timedelta(hours=1))

    def test_weeks_and_batches(self):
        dates = ["2010-12-30", "2011-01-01", "2011-01-03", "2011-01-04"]
        lines = [line(n, "11111", 1, f"{date} 10:00:00") for n, date in enumerate(dates)]
        groups = groups_of(*lines, "damaged\n")
        weeks = list(data.split_weeks(groups))
        self.assertEqual([len(week) for week in weeks], [2, 2])
        self.assertEqual([g for week in weeks for g in week], groups)
        batches = list(data.split_batches(groups, 2))
        self.assertEqual([len(batch) for batch in batches], [2, 2])

    def test_names_come_from_sales(self):
        groups = groups_of(
            GOOD.replace("WHITE LANTERN", "damaged").replace(",6,", ",-6,"),
            GOOD,
            GOOD.replace("85123A", "11111").replace("WHITE LANTERN", ""),
        )
        self.assertEqual(data.product_names(groups), {"85123A": "WHITE LANTERN", "11111": "11111"})


@tagged("post_install", "-at_install")
class TestReplaySample(BaseCase):
    def test_deterministic(self):
        first, again, other = (sample.generate(500, seed) for seed in (1, 1, 2))
        self.assertEqual(first, again)
        self.assertNotEqual(first.fingerprint, other.fingerprint)

    def test_shape(self):
        source = sample.generate(2000, 1)
        self.assertEqual(source.count(), 2000)
        groups = list(data.read_groups(source))
        kinds = Counter(t.kind for group in groups for t in group.transfers())
        self.assertGreater(kinds["delivery"], 80)
        self.assertGreater(kinds["return"], 3)
        self.assertGreater(sum(len(group.adjustments()) for group in groups), 3)
        self.assertGreater(len(sum((g.skipped for g in groups), Counter())), 4)
        self.assertEqual(
            {t.warehouse for group in groups for t in group.transfers()},
            {data.MAIN, data.EUROPE, data.WORLD},
        )


@tagged("post_install", "-at_install")
class TestReplayDisplay(BaseCase):
    def test_plain_lines_and_totals(self):
        stream, now = io.StringIO(), iter(range(0, 1000, 10))
        display = main.Display(100, stream, lambda: next(now))
        display.update(stock.Progress("x"))
        done = stock.Progress("x", 50, {"lines": 50, "used": 49, "skipped: zero quantity": 1})
        done.totals["deliveries"] = 4
        display.update(done)
        self.assertIn("50 of 100 lines", stream.getvalue())
        report = "\n".join(main.format_totals(done, 3))
        self.assertRegex(report, r"lines skipped +1\n +zero quantity +1\n")
        self.assertRegex(report, r"deliveries +4\n")


class ExpectedStock:
    """What the lines alone, without planning, make of the stock."""

    def __init__(self, source):
        self.sold, self.returned, self.lost = Counter(), Counter(), Counter()
        for row in source.rows():
            try:
                parsed = data.parse_line(row)
            except data.MalformedLine:
                continue
            key = parsed.warehouse, parsed.code
            if parsed.quantity > 0:
                self.sold[key] += parsed.quantity
            elif parsed.invoice.startswith("C"):
                self.returned[key] -= parsed.quantity
            else:
                self.lost[key] -= parsed.quantity

    def on_hand(self, received):
        stock = Counter(received)
        stock.update(self.returned)
        stock.subtract(self.sold)
        stock.subtract(self.lost)
        return {key: quantity for key, quantity in stock.items() if quantity}


@tagged("post_install", "-at_install")
class TestReplayStock(TransactionCase):
    maxDiff = None

    def replay(self, source, stop=None, **kwargs):
        return stock.Replay(
            source,
            stop or source.count(),
            lambda work: work(self.env),
            batch_lines=40,
            **kwargs,
        ).run()

    def warehouses(self):
        warehouses = stock.ensure_warehouses(self.env)
        return {warehouse.lot_stock_id: key for key, warehouse in warehouses.items()}

    def totals(self, domain, location, quantity):
        """Return what moves or quants hold: {(warehouse, code): quantity}."""
        keys = self.warehouses()
        model = "stock.quant" if location == "location_id" else "stock.move"
        groups = self.env[model]._read_group(
            [*domain, (location, "in", [place.id for place in keys])],
            [location, "product_id"],
            [f"{quantity}:sum"],
        )
        return Counter(
            {
                (keys[place], product.default_code): total
                for place, product, total in groups
                if total
            }
        )

    def received(self):
        domain = [("location_id.usage", "=", "supplier"), ("state", "=", "done")]
        return self.totals(domain, "location_dest_id", "product_qty")

    def assertStock(self, source):
        quants = self.totals([], "location_id", "quantity")
        self.assertEqual(dict(quants), ExpectedStock(source).on_hand(self.received()))
        self.assertGreaterEqual(min(quants.values()), 0)

    def test_stock_is_what_the_lines_make_of_it(self):
        source = sample.generate(120, 3)
        state = self.replay(source)
        self.assertStock(source)
        self.assertEqual(state.position, 120)
        self.assertEqual(state.totals["lines"], 120)
        skipped = sum(n for name, n in state.totals.items() if name.startswith("skip"))
        self.assertEqual(state.totals["used"] + skipped, 120)
        self.assertFalse(state.totals["units short"])
        pickings = self.env["stock.picking"].search([("origin", "=like", "INV %")])
        self.assertEqual(set(pickings.mapped("state")), {"done"})
        self.assertEqual(len(pickings), state.totals["deliveries"] + state.totals["returns"])
        self.assertFalse(self.env["stock.quant"].search([("reserved_quantity", ">", 0)]))

    def test_effective_dates(self):
        source = source_of(
            line("1", "91111", 5, "2010-12-01 08:26:00", "United Kingdom"),
            line("2", "91111", -1, "2010-12-02 09:00:00", "United Kingdom"),
            line("C3", "91111", -2, "2010-12-03 10:00:00", "United Kingdom"),
        )
        self.replay(source)
        product = stock.find_products(self.env, ["91111"])["91111"]
        moves = self.env["stock.move"].search([("product_id", "=", product.id)])
        dates = [
            datetime(2010, 12, 1, 7, 26),
            datetime(2010, 12, 1, 8, 26),
            datetime(2010, 12, 2, 9, 0),
            datetime(2010, 12, 3, 10, 0),
        ]
        self.assertEqual(sorted(moves.mapped("date")), dates)
        self.assertEqual(sorted(moves.move_line_ids.mapped("date")), dates)
        for picking in moves.picking_id:
            self.assertEqual(picking.date_done, picking.move_ids.date)
            self.assertEqual(picking.scheduled_date, picking.date_done)
        self.assertEqual(moves.filtered("is_inventory").reference, "INV 2 NAME 91111")
        self.assertEqual(product.qty_available, 12 - 5 - 1 + 2)

    def test_resume(self):
        source = sample.generate(100, 4)
        # In the middle of an invoice, too: its rest is a transfer of its own.
        for stop in (1, 37, 38, 100, 100):
            state = self.replay(source, stop)
            self.assertEqual(state.position, stop)
        self.assertEqual(state.totals["lines"], 100)
        self.assertStock(source)

    def test_other_data_are_refused(self):
        self.replay(sample.generate(10, 1))
        with self.assertRaisesRegex(data.ReplayError, "10 lines of other data"):
            self.replay(sample.generate(10, 2))

    def test_another_replay_is_noticed(self):
        self.replay(source_of(GOOD))
        state = stock.Progress.load(self.env.cr)
        state.advance(self.env, 1, Counter(lines=1))
        with self.assertRaisesRegex(data.ReplayError, "Another replay"):
            state.advance(self.env, 1, Counter(lines=1))

    def test_stock_that_is_missing_is_counted(self):
        warehouses = stock.ensure_warehouses(self.env)
        products, _ = stock.ensure_products(self.env, {"92222": "X", "93333": "Y"})
        self.env["stock.quant"]._update_available_quantity(
            products["92222"], warehouses[data.EUROPE].lot_stock_id, 3
        )
        groups = groups_of(
            line("1", "92222", 2),
            line("2", "92222", 2),
            line("3", "93333", 4),
            line("4", "93333", -1),
        )
        totals = stock.perform(self.env, groups)
        self.assertEqual(totals["units short"], 1 + 4 + 1)
        quants = (
            self.env["stock.quant"]
            .search([("product_id.default_code", "in", ("92222", "93333"))])
            .filtered(lambda quant: quant.location_id.usage == "internal")
        )
        self.assertEqual(sum(quants.mapped("quantity")), 0)
        self.assertFalse(quants.filtered(lambda quant: quant.quantity < 0))

    def test_products_are_found_again(self):
        first, created = stock.ensure_products(self.env, {"94444": "X"})
        first["94444"].active = False
        again, none = stock.ensure_products(self.env, {"94444": "X"})
        self.assertEqual((first, created, none), (again, 1, 0))
        self.assertTrue(first["94444"].is_storable)

    def test_a_serialization_failure_is_tried_again(self):
        tries = []

        def work(env):
            tries.append(env)
            if len(tries) < 3:
                raise (ConcurrencyError, LockError)[len(tries) - 1]("faster")
            return "done"

        def never(env):
            raise ConcurrencyError("always faster")

        with patch("odoo.service.model.time.sleep"):
            self.assertEqual(main.transact(self.registry, work), "done")
            self.assertEqual(len(tries), 3)
            with self.assertRaisesRegex(data.ReplayError, "same command continues"):
                main.transact(self.registry, never)


@tagged("post_install", "-at_install")
@skipUnless(os.environ.get("ADDONS"), "needs what tools/env exports")
class TestReplayKilled(BaseCase):
    """A real process, killed with SIGKILL again and again, in a database of its own."""

    ARGUMENTS = ("--lines", "150", "--seed", "3", "--batch", "10")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.database = f"replay_killed_{os.getpid()}"
        cls.addClassCleanup(cls.drop_database)
        subprocess.run(
            [TOOLS / "database", "--stock-only", cls.database],
            check=True,
            capture_output=True,
            timeout=300,
        )

    @classmethod
    def drop_database(cls):
        close_db(cls.database)
        subprocess.run(["dropdb", "--if-exists", "--force", cls.database], check=True)
        shutil.rmtree(config.filestore(cls.database), ignore_errors=True)

    def start(self):
        return subprocess.Popen(
            [TOOLS / "replay", "-d", self.database, *self.ARGUMENTS],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def query(self, query):
        with closing(db_connect(self.database).cursor()) as cr:
            cr.execute(query)
            return cr.fetchall()

    def position(self):
        with closing(db_connect(self.database).cursor()) as cr:
            state = stock.Progress.load(cr)
            return state.position if state else 0

    def wait_beyond(self, position, process):
        deadline = time.monotonic() + 120
        while process.poll() is None and self.position() <= position:
            self.assertLess(time.monotonic(), deadline, "the replay does not move")
            time.sleep(0.05)

    def test_killed_and_continued(self):
        for _ in range(3):
            process = self.start()
            self.wait_beyond(self.position(), process)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            self.assertEqual(process.returncode, -signal.SIGKILL)
        process = self.start()
        output, _ = process.communicate(timeout=300)
        self.assertEqual(process.returncode, 0, output)

        source = sample.generate(150, 3)
        groups = list(data.read_groups(source))
        transfers = [transfer for group in groups for transfer in group.transfers()]
        performed = self.query(
            "SELECT origin, state, date_done FROM stock_picking"
            " WHERE origin LIKE 'INV %' ORDER BY id"
        )
        self.assertEqual(
            sorted(performed),
            sorted((f"INV {t.invoice}", "done", t.date) for t in transfers),
        )
        expected = ExpectedStock(source)
        moved = self.query(
            "SELECT sum(product_qty) FILTER (WHERE target.usage = 'customer'),"
            "       sum(product_qty) FILTER (WHERE source.usage = 'customer'),"
            "       sum(product_qty) FILTER (WHERE is_inventory)"
            "  FROM stock_move move"
            "  JOIN stock_location source ON source.id = move.location_id"
            "  JOIN stock_location target ON target.id = move.location_dest_id"
            " WHERE move.state = 'done'"
        )
        expected = ExpectedStock(source)
        counters = (expected.sold, expected.returned, expected.lost)
        self.assertEqual(moved, [tuple(counter.total() for counter in counters)])
        again, _ = self.start().communicate(timeout=60)
        self.assertIn("have been performed before", again)
