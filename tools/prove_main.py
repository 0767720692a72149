"""The command line of tools/prove: compares the reports with what they are made of."""

import argparse
import datetime
import os
import sys
from collections import defaultdict

SHOWN_DIFFERENCES = 5
DIGITS = 6
# Of how many products each movement is read in the stock card.
CARDS = 50


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(
        prog="tools/prove",
        description="Compares each report with slow, obvious queries and with Odoo's own figures.",
    )
    parser.add_argument(
        "--database", "-d", default=os.environ.get("DEMO_DB"), help="default: $DEMO_DB"
    )
    arguments = parser.parse_args(argv)
    if not arguments.database:
        parser.error("name a database: --database DB")
    return arguments


def start_odoo(database):
    """Return the database's registry, of an Odoo without web server and jobs."""
    from odoo.modules.registry import Registry
    from odoo.tools import config

    arguments = ["-d", database, "-c", os.environ["ODOO_RC"], "--log-level=warn"]
    config.parse_config(arguments, setup_logging=True)
    return Registry(database)


def without_zeros(rows):
    """Return {key: figures} of those rows that have any; a figure is the row's rest."""
    figures = {}
    for key, *amounts in rows:
        rounded = tuple(round(float(amount or 0), DIGITS) for amount in amounts)
        if any(rounded):
            figures[key] = rounded
    return figures


class Proof:
    """The comparisons, all in one snapshot of the database."""

    def __init__(self, env):
        self.env = env(
            context={
                "allowed_company_ids": env["res.company"].search([]).ids,
                "active_test": False,
            }
        )
        self.products = self.env["product.product"].search([("is_storable", "=", True)])
        self.warehouses = self.env["stock.warehouse"].search([])

    def query(self, query, *arguments):
        """Return the rows of a query, its key first: two columns or more are its tuple."""
        from odoo.tools import SQL

        return self.env.execute_query(SQL(query, *arguments))

    # --- each comparison: a title, what the report has, and what it must be

    def compare_stock(self):
        """By product and warehouse, with the quants."""
        rows = self.env["stock.ledger.report.stock"]._read_group(
            [],
            ["product_id", "warehouse_id"],
            ["physical_quantity:sum", "reserved_quantity:sum", "available_quantity:sum"],
        )
        reported = without_zeros(((row[0].id, row[1].id or None), *row[2:]) for row in rows)
        quants = self.query(
            """SELECT product_id, warehouse_id, SUM(quantity), SUM(reserved_quantity),
                      SUM(quantity - reserved_quantity)
                 FROM stock_quant JOIN stock_location location ON location.id = location_id
                WHERE location.usage IN ('internal', 'transit')
                GROUP BY 1, 2"""
        )
        yield (
            "stock: physical, reserved, available = quants",
            reported,
            without_zeros((row[:2], *row[2:]) for row in quants),
        )

    def compare_forecast(self):
        """By product and warehouse, with Odoo's own figures."""
        rows = self.env["stock.ledger.report.stock"]._read_group(
            [("warehouse_id", "!=", False)],
            ["product_id", "warehouse_id"],
            [
                "physical_quantity:sum",
                "incoming_quantity:sum",
                "outgoing_quantity:sum",
                "forecast_quantity:sum",
            ],
        )
        names = ["qty_available", "incoming_qty", "outgoing_qty", "virtual_available"]
        yield (
            "stock: incoming, outgoing, forecast = Odoo's",
            without_zeros(((row[0].id, row[1].id), *row[2:]) for row in rows),
            without_zeros(
                ((product["id"], warehouse.id), *(product[name] for name in names))
                for warehouse in self.warehouses
                for product in self.products.with_context(warehouse_id=warehouse.id).read(names)
            ),
        )

    def compare_movements(self):
        """By product, location and event type, with the ledger."""
        measures = ["in_quantity:sum", "out_quantity:sum", "net_quantity:sum", "entry_count:sum"]
        for period in ("month", "day"):
            rows = self.env["stock.ledger.report.movement"]._read_group(
                [], [f"date:{period}", "product_id", "location_id", "event_type"], measures
            )
            ledger = self.query(
                """SELECT date_trunc(%s, effective_date)::date, product_id, location_id,
                          event_type, SUM(GREATEST(quantity, 0)), SUM(GREATEST(-quantity, 0)),
                          SUM(quantity), COUNT(*)
                     FROM stock_ledger_entry entry
                     JOIN stock_location location ON location.id = entry.location_id
                    WHERE quantity <> 0 AND location.usage IN ('internal', 'transit')
                    GROUP BY 1, 2, 3, 4""",
                period,
            )
            yield (
                f"movements by {period}: in, out, net, count = ledger",
                without_zeros(((row[0], row[1].id, row[2].id, row[3]), *row[4:]) for row in rows),
                without_zeros((row[:4], *row[4:]) for row in ledger),
            )

    def get_moments(self):
        """Return moments all over the ledger's time, borders of months among them."""
        [[first, last]] = self.query(
            "SELECT MIN(effective_date), MAX(effective_date) FROM stock_ledger_entry"
        )
        if not first:
            return []
        middle = (first + (last - first) / 2).replace(microsecond=0)
        border = datetime.datetime(middle.year, middle.month, 1)
        second = datetime.timedelta(seconds=1)
        return [first, middle, border - second, border, last]

    def compare_dates(self):
        """By stock key with the ledger, by product with Odoo's own figures."""
        for at in self.get_moments():
            report = self.env["stock.ledger.report.at_date"].with_context(
                stock_ledger_at=f"{at:%Y-%m-%d %H:%M:%S}"
            )
            rows = report._read_group([], ["product_id", "location_id", "lot_id"], ["quantity:sum"])
            ledger = self.query(
                """SELECT product_id, location_id, lot_id, SUM(quantity)
                     FROM stock_ledger_entry entry
                     JOIN stock_location location ON location.id = entry.location_id
                    WHERE effective_date <= %s AND location.usage IN ('internal', 'transit')
                    GROUP BY 1, 2, 3""",
                at,
            )
            yield (
                f"stock at {at} = ledger",
                without_zeros(((row[0].id, row[1].id, row[2].id or None), row[3]) for row in rows),
                without_zeros((row[:3], row[3]) for row in ledger),
            )
            rows = report._read_group(
                [("warehouse_id", "!=", False)], ["product_id"], ["quantity:sum"]
            )
            products = self.products.with_context(to_date=at)
            yield (
                f"stock at {at} = Odoo's",
                without_zeros((row[0].id, row[1]) for row in rows),
                without_zeros((product.id, product.qty_available) for product in products),
            )

    def compare_cards(self):
        """The balance after each movement, with the ledger."""
        moments = self.get_moments()
        if not moments:
            return
        start = moments[1]
        busiest = self.query(
            """SELECT product_id FROM stock_ledger_entry
                GROUP BY 1 ORDER BY COUNT(*) DESC, 1 LIMIT %s""",
            CARDS,
        )
        reported, ledger = {}, {}
        for [product_id] in busiest:
            card = self.env["stock.ledger.report.card"].with_context(
                stock_ledger_product_id=product_id,
                stock_ledger_from=f"{start:%Y-%m-%d %H:%M:%S}",
                stock_ledger_to=f"{moments[-1]:%Y-%m-%d %H:%M:%S}",
            )
            for row in card.search([("entry_id", "!=", False)]):
                reported[row.entry_id.id] = (round(row.balance_quantity, DIGITS),)
            balance = 0
            for entry_id, quantity, date in self.query(
                """SELECT entry.id, quantity, effective_date FROM stock_ledger_entry entry
                     JOIN stock_location location ON location.id = entry.location_id
                    WHERE product_id = %s AND quantity <> 0 AND effective_date <= %s
                      AND location.usage IN ('internal', 'transit')
                    ORDER BY effective_date, entry.id""",
                product_id,
                moments[-1],
            ):
                balance += quantity
                if date >= start:
                    ledger[entry_id] = (round(float(balance), DIGITS),)
        yield f"stock cards of {len(busiest)} products since {start} = ledger", reported, ledger

    def compare_ageing(self):
        """By product and warehouse, with the ledger."""
        rows = self.env["stock.ledger.report.ageing"]._read_group(
            [], ["product_id", "warehouse_id"], ["physical_quantity:sum", "last_movement_date:max"]
        )
        moved = {}
        for product_id, warehouse_id, quantity, date in self.query(
            """SELECT product_id, location.warehouse_id, SUM(quantity),
                      MAX(effective_date) FILTER (
                          WHERE quantity <> 0 AND event_type <> 'INTERNAL')
                 FROM stock_ledger_entry entry
                 JOIN stock_location location ON location.id = entry.location_id
                WHERE location.usage IN ('internal', 'transit')
                GROUP BY 1, 2"""
        ):
            moved[product_id, warehouse_id] = (round(float(quantity), DIGITS), date)
        reported = {
            (row[0].id, row[1].id or None): (round(row[2], DIGITS), row[3] or None) for row in rows
        }
        yield "ageing: physical and last movement = ledger", reported, moved

    def run(self):
        """Do all comparisons.

        :return: how many of them found a difference
        """
        count = 0
        for compare in (
            self.compare_stock,
            self.compare_forecast,
            self.compare_movements,
            self.compare_dates,
            self.compare_cards,
            self.compare_ageing,
        ):
            for title, reported, expected in compare():
                count += not show(title, reported, expected)
        return count


def show(title, reported, expected):
    """Print what a comparison found.

    :return: whether the two are equal
    """
    differences = defaultdict(list)
    for key in {**expected, **reported}:
        if reported.get(key) != expected.get(key):
            differences[key] = [reported.get(key), expected.get(key)]
    print(f"{'FAILED' if differences else 'OK':<8}{len(expected):>10,}  {title}", flush=True)
    for key, (has, should) in list(differences.items())[:SHOWN_DIFFERENCES]:
        print(f"{'':20}{key}: {has}, expected {should}")
    if len(differences) > SHOWN_DIFFERENCES:
        print(f"{'':20}... and {len(differences) - SHOWN_DIFFERENCES:,} more")
    return not differences


def main():
    from odoo import SUPERUSER_ID, api

    registry = start_odoo(parse_arguments().database)
    with registry.cursor() as cr:
        return min(Proof(api.Environment(cr, SUPERUSER_ID, {})).run(), 1)


if __name__ == "__main__":
    sys.exit(main())
