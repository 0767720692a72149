"""Waits until the consumer has every event, then shows the totals and compares them."""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psycopg2

STOREFRONT = Path(__file__).resolve().parent.parent / "examples/storefront/storefront.py"
# Longer than the worker and the consumer wait before they try a broker again.
PATIENCE_SECONDS = 90
PLAIN_SECONDS = 5
MOST_TRIES = 5
SHOWN_DIFFERENCES = 10
DIGITS = 6
WARNING = re.compile(r"^\d{4}-\d\d-\d\d [\d:,]+ \d+ (WARNING|ERROR|CRITICAL) ")
LOGS = ("web", "worker", "replay")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True)
    parser.add_argument("--url", required=True, help="of the web client")
    parser.add_argument("--storefront", required=True, help="the consumer's SQLite file")
    parser.add_argument("--logs", required=True, type=Path, help="the folder of the logs")
    return parser.parse_args()


def ask_storefront(path):
    """Return what the consumer holds, as it tells itself."""
    command = [sys.executable, STOREFRONT, "--database", path, "totals", "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


# --- waiting


def ask_channel(connection):
    """Return how many events are to be sent, how many confirmed, and the last error."""
    with connection, connection.cursor() as cr:
        cr.execute(
            """SELECT (SELECT COUNT(*) FROM stock_event_outbox o
                        WHERE o.channel_id = d.res_id AND o.state <> 'confirmed'),
                      COALESCE(s.confirmed_count, 0), s.last_error
                 FROM ir_model_data d
                 LEFT JOIN stock_event_channel_status s ON s.channel_id = d.res_id
                WHERE d.module = 'stock_event_ledger' AND d.name = 'channel_default'"""
        )
        return cr.fetchone()


def wait(database, storefront):
    """Wait until all is published and consumed, or nothing has changed for too long."""
    started = changed = shown = time.monotonic()
    before = None
    is_terminal = sys.stderr.isatty() and not os.environ.get("CI")
    with closing(psycopg2.connect(dbname=database)) as connection:
        while True:
            pending, confirmed, error = ask_channel(connection)
            consumed = ask_storefront(storefront)["events"]
            now = time.monotonic()
            if (pending, confirmed, consumed) != before:
                before, changed = (pending, confirmed, consumed), now
            is_over = (not pending and consumed == confirmed) or now - changed > PATIENCE_SECONDS
            if is_terminal or now - shown > PLAIN_SECONDS or is_over:
                shown = now
                print(
                    "\r\x1b[K" if is_terminal else "",
                    f"events: {pending:,} pending, {confirmed:,} published,"
                    f" {consumed:,} consumed, {now - started:.0f} s",
                    f" ({error})" if error and pending else "",
                    "\n" if is_over or not is_terminal else "",
                    sep="",
                    end="",
                    file=sys.stderr,
                    flush=True,
                )
            if is_over:
                return
            time.sleep(0.3)


# --- reading


def start_odoo(database):
    """Return the database's registry, of an Odoo without web server and jobs."""
    from odoo.modules.registry import Registry
    from odoo.tools import config

    arguments = ["-d", database, "-c", os.environ["ODOO_RC"], "--log-level=warn"]
    config.parse_config(arguments, setup_logging=True)
    return Registry(database)


def read(registry, storefront):
    """Return the figures of one moment, the consumer's a little later."""
    from odoo import SUPERUSER_ID, api

    with registry.cursor() as cr:
        env = api.Environment(cr, SUPERUSER_ID, {})
        channel = env.ref("stock_event_ledger.channel_default")
        figures = {
            "entries": env["stock.ledger.entry"].search_count([]),
            "pending": channel.pending_count + channel.blocked_count,
            "confirmed": channel.confirmed_count,
            "worker": channel.worker,
            "warehouses": env["stock.warehouse"].search_count([]),
            "report": read_report(env),
            "names": read_names(env),
            "stocks": {
                "ledger": read_stock(cr, "stock_ledger_entry", "stock.company_id"),
                "quants": read_stock(cr, "stock_quant", "location.company_id"),
                "report": read_report_stock(env),
            },
        }
    figures["consumer"] = consumer = ask_storefront(storefront)
    figures["stocks"]["consumer"] = without_zeros(
        (
            (row["company_id"], row["warehouse_id"], row["product_id"]),
            row["on_hand"],
            row["reserved"],
        )
        for row in consumer["stock"]
    )
    return figures


def without_zeros(rows):
    """Return what is there: {(company, warehouse, product): (on hand, reserved)}."""
    stock = {
        tuple(part or None for part in key): (round(on_hand, DIGITS), round(reserved, DIGITS))
        for key, on_hand, reserved in rows
    }
    return {key: amounts for key, amounts in stock.items() if any(amounts)}


def read_stock(cr, table, company):
    """Return what a table adds up to by itself, behind the back of any model.

    :param str table: the ledger's or the quants'
    :param str company: the column with the company of the stock
    """
    from odoo.tools import SQL

    cr.execute(
        SQL(
            """SELECT %s, location.warehouse_id, stock.product_id, SUM(stock.quantity)::float8,
                      SUM(stock.reserved_quantity)::float8
                 FROM %s stock
                 JOIN stock_location location ON location.id = stock.location_id
                WHERE location.usage IN ('internal', 'transit')
                GROUP BY 1, 2, 3""",
            SQL.identifier(*company.split(".")),
            SQL.identifier(table),
        )
    )
    return without_zeros((row[:3], *row[3:]) for row in cr.fetchall())


def read_report_stock(env):
    rows = env["stock.ledger.report.stock"]._read_group(
        [],
        ["company_id", "warehouse_id", "product_id"],
        ["physical_quantity:sum", "reserved_quantity:sum"],
    )
    return without_zeros((tuple(record.id for record in row[:3]), *row[3:]) for row in rows)


def read_report(env):
    """Return what the report shows per warehouse: name, physical, reserved, available."""
    rows = env["stock.ledger.report.stock"]._read_group(
        [],
        ["warehouse_id"],
        ["physical_quantity:sum", "reserved_quantity:sum", "available_quantity:sum"],
    )
    return [(row[0].name or "in transit", *row[1:]) for row in rows]


def read_names(env):
    """Return what to call companies, warehouses and products."""
    models = ("res.company", "stock.warehouse", "product.product")
    return [
        {
            record.id: record.display_name
            for record in env[model].with_context(active_test=False).search([])
        }
        for model in models
    ]


# --- judging and showing


def find_faults(figures):
    """Return what is wrong, in sentences."""
    consumer = figures["consumer"]
    faults = []
    if figures["pending"]:
        faults.append(f"{figures['pending']:,} events are still in the outbox")
    if consumer["events"] != figures["confirmed"]:
        faults.append(
            f"{figures['confirmed']:,} events were published, {consumer['events']:,} consumed"
        )
    for name in ("gaps", "joined_late", "mismatches", "rejected"):
        if consumer.get(name):
            faults.append(f"the consumer counts {consumer[name]:,} as {name.replace('_', ' ')}")
    return faults + find_differences(figures)


def find_differences(figures):
    stocks, names = figures["stocks"], figures["names"]
    keys = sorted(set().union(*stocks.values()), key=str)
    faults = []
    for key in keys:
        amounts = {name: stock.get(key, (0, 0)) for name, stock in stocks.items()}
        if len(set(amounts.values())) > 1:
            label = ", ".join(known.get(part, "-") for known, part in zip(names, key, strict=True))
            told = ", ".join(
                f"{name} {on_hand:g}/{reserved:g}" for name, (on_hand, reserved) in amounts.items()
            )
            faults.append(f"{label}, on hand/reserved: {told}")
    shown = faults[:SHOWN_DIFFERENCES]
    if len(faults) > len(shown):
        shown.append(f"... and {len(faults) - len(shown):,} more of {len(keys):,}")
    return shown


def count_warnings(logs):
    """Return how many warnings and errors each log has."""
    counts = {}
    for name in LOGS:
        path = logs / f"{name}.log"
        if path.exists():
            with path.open(errors="replace") as lines:
                counts[name] = sum(bool(WARNING.match(line)) for line in lines)
    return {name: count for name, count in counts.items() if count}


def add_up(stock):
    columns = zip(*stock.values(), strict=True)
    return tuple(round(sum(column), DIGITS) for column in columns) or (0, 0)


def describe(figures, arguments, faults):
    """Return the lines of the summary."""
    consumer, stocks = figures["consumer"], figures["stocks"]
    keys = len(set().union(*stocks.values()))
    warnings = count_warnings(arguments.logs)
    lines = [
        "",
        f"address      {arguments.url}   (reachable from this machine only)",
        "login        admin, password admin",
        f"ledger       {figures['entries']:,} entries",
        f"events       {figures['confirmed']:,} published and confirmed,"
        f" {figures['pending']:,} left in the outbox",
        f"consumer     {consumer['events']:,} events, {consumer['duplicates']:,} duplicates"
        f" ignored, {consumer['gaps']:,} gaps",
        f"stock        {len({key[2] for key in stocks['quants']}):,} products"
        f" in {figures['warehouses']:,} warehouses",
        "",
        f"{'the report shows':<24}{'physical':>12}{'reserved':>12}{'available':>12}",
    ]
    total = [sum(column) for column in zip(*(row[1:] for row in figures["report"]), strict=True)]
    for name, *amounts in [*figures["report"], ("total", *total)]:
        lines.append(f"  {name:<22}" + "".join(f"{amount:>12,.10g}" for amount in amounts))
    lines += ["", f"{'totals':<24}{'on hand':>12}{'reserved':>12}"]
    for name, stock in stocks.items():
        lines.append(f"  {name:<22}" + "".join(f"{amount:>12,.10g}" for amount in add_up(stock)))
    lines += [
        "",
        f"check        ledger = quants = report = consumer for each of {keys:,} combinations of"
        f" company, warehouse and product: {'FAILED' if faults else 'OK'}",
        *(f"  {fault}" for fault in faults),
        f"warnings in the logs: {sum(warnings.values())}"
        + "".join(f", {count} in {name}.log" for name, count in warnings.items()),
        f"logs         {arguments.logs}",
        "stop         make stop   (the data stays, make demo continues)",
    ]
    return lines


def main():
    arguments = parse_arguments()
    registry = None
    for _try in range(MOST_TRIES):
        wait(arguments.database, arguments.storefront)
        registry = registry or start_odoo(arguments.database)
        figures = read(registry, arguments.storefront)
        faults = find_faults(figures)
        # Somebody who works in Odoo meanwhile only has to be waited for.
        if not figures["pending"] and figures["consumer"]["events"] == figures["confirmed"]:
            break
    print("\n".join(describe(figures, arguments, faults)))
    return bool(faults)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except psycopg2.OperationalError as error:
        sys.exit(f"error: {error}\nmake demo continues")
