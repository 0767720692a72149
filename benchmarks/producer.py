"""What the suite ``events`` does inside an Odoo process, on an ``odoo shell``'s environment.

Each function takes the environment and what JSON can hold, and returns what JSON can hold.
"""

import statistics
import time

from odoo import fields
from odoo.fields import Command
from odoo.release import version
from odoo.tools import SQL

CHUNK = 50_000
BATCH = 1000
WARM_UP_CHANGES = 20
# Until the worker has seen that its channel was changed, and has failed to connect.
FOLLOW_SECONDS = 3
PAUSE_SECONDS = 0.01


def prepare(env, exchange, url, products):
    """Make the channel publish to an exchange, without queues, and make products.

    :return: dictionary of ids and of what else the benchmark has to know
    """
    channel = env["stock.event.channel"].with_context(active_test=False).search([], limit=1)
    channel.write({"exchange": exchange, "queue_ids": [Command.clear()]})
    product = {"name": "Benchmark", "is_storable": True}
    records = env["product.product"].create([product] * products)
    # Their first unit takes longest, and is not published yet.
    _get_changer(env)(records.ids)
    channel._configure_from_url(url)
    env.cr.commit()
    return {
        "channel_id": channel.id,
        "port": channel.port,
        "product_ids": records.ids,
        "odoo_version": version,
    }


def fill(env, product_ids, events):
    """Commit a backlog: receipts of one unit, of the products in turn."""
    for start in range(0, events, CHUNK):
        count = min(CHUNK, events - start)
        rows = env.execute_query(_query_fill(env, product_ids, count))
        env["stock.event.outbox"]._enqueue([entry_id for [entry_id] in rows])
        env.cr.commit()


def _query_fill(env, product_ids, count):
    warehouse = env["stock.warehouse"].search([], limit=1)
    company_id = warehouse.company_id.id
    return SQL(
        """INSERT INTO stock_ledger_entry (
               product_id, location_id, company_id, operating_company_id, warehouse_id,
               event_type, quantity, reserved_quantity, effective_date, recorded_date, user_id)
           SELECT (%(products)s::int[])[1 + number %% %(modulus)s], %(location)s, %(company)s,
                  %(company)s, %(warehouse)s, 'RECEIPT', 1, 0, now() AT TIME ZONE 'UTC',
                  clock_timestamp() AT TIME ZONE 'UTC', %(user)s
             FROM generate_series(0, %(last)s) number
           RETURNING id""",
        products=product_ids,
        modulus=len(product_ids),
        location=warehouse.lot_stock_id.id,
        company=company_id,
        warehouse=warehouse.id,
        user=env.uid,
        last=count - 1,
    )


def change_steadily(env, product_ids, commits_per_second, changes, seconds, with_orm):
    """Commit changes of stock at a steady rate.

    Each is due at a time of its own, whatever the ones before took: a slow commit delays
    those that follow as little as it would those of other users.

    :param list product_ids: those to change, in turn, and one more to warm up with
    :param int changes: how many products each commit changes
    :param bool with_orm: whether to change quants, or to write entries of the ledger alone
    :return: for each change its product and when its commit had returned, in nanoseconds of
        the machine's monotonic clock; and how late the last commit was
    """
    change = _get_changer(env) if with_orm else _get_appender(env)
    *product_ids, warm_up_id = product_ids
    for _index in range(WARM_UP_CHANGES):
        change([warm_up_id])
    committed = []
    due = start = time.monotonic()
    for number in range(round(commits_per_second * seconds)):
        due = start + number / commits_per_second
        time.sleep(max(due - time.monotonic(), 0))
        first = number * changes % len(product_ids)
        changed = product_ids[first : first + changes]
        change(changed)
        now = time.monotonic_ns()
        committed += [(product_id, now) for product_id in changed]
    return {"committed": committed, "late_seconds": max(time.monotonic() - due, 0)}


def _get_changer(env):
    location = env["stock.warehouse"].search([], limit=1).lot_stock_id

    def change(product_ids):
        for product in env["product.product"].browse(product_ids):
            env["stock.quant"]._update_available_quantity(product, location, 1)
        env.cr.commit()
        # As the next request would find it.
        env.invalidate_all()

    return change


def _get_appender(env):
    warehouse = env["stock.warehouse"].search([], limit=1)
    vals = {
        "location_id": warehouse.lot_stock_id.id,
        "company_id": warehouse.company_id.id,
        "operating_company_id": warehouse.company_id.id,
        "warehouse_id": warehouse.id,
        "event_type": "ADJUSTMENT",
        "quantity": 1,
        "reserved_quantity": 0,
        "user_id": env.uid,
    }

    def append(product_ids):
        now = fields.Datetime.now()
        env["stock.ledger.entry"]._append(
            [
                {**vals, "product_id": product_id, "effective_date": now}
                for product_id in product_ids
            ]
        )
        env.cr.commit()

    return append


def time_changes(env, channel_id, vals, product_ids):
    """Return the median seconds of changing one product's stock and committing it.

    :param dict vals: what to write to the channel before
    """
    env["stock.event.channel"].browse(channel_id).write(vals)
    change = _get_changer(env)
    for product_id in product_ids[:WARM_UP_CHANGES]:
        change([product_id])
    time.sleep(FOLLOW_SECONDS)
    seconds = []
    for product_id in product_ids:
        time.sleep(PAUSE_SECONDS)
        start = time.perf_counter()
        change([product_id])
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def time_polls(env, channel_id, polls):
    """Have the relay's query number events and roll back, again and again.

    :return: the seconds of the first time, when the keys' figures are read from the ledger;
        the median of those after it; and the bytes by which the process grew meanwhile
    """
    outbox = env["stock.event.outbox"]
    start = time.perf_counter()
    outbox._take(channel_id, BATCH)
    first = time.perf_counter() - start
    # What has its number would come first again, and need none.
    env.cr.execute(SQL("DELETE FROM stock_event_outbox WHERE sequence IS NOT NULL"))
    env.cr.commit()
    seconds = []
    before = _get_resident_bytes()
    for _poll in range(polls):
        start = time.perf_counter()
        messages, looked_at = outbox._take(channel_id, BATCH)
        seconds.append(time.perf_counter() - start)
        assert len(messages) == looked_at == BATCH
        env.cr.rollback()
    return {
        "first": first,
        "median": statistics.median(seconds),
        "resident": _get_resident_bytes(),
        "growth": _get_resident_bytes() - before,
    }


def _get_resident_bytes():
    with open("/proc/self/status") as file:
        [line] = [line for line in file if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024
