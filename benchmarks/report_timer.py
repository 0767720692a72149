"""Times reports inside an Odoo process, as the web client calls them."""

import statistics
import time

import psycopg2.errors
from lxml import etree

from odoo import api, fields
from odoo.fields import Command
from odoo.tools import SQL

from .history import get_history
from .report import say
from .report_calls import TIMEOUT_SECONDS, get_cases

GROUPS = (
    "stock.group_stock_user",
    "stock.group_production_lot",
    "stock.group_stock_multi_locations",
)
REPEATS = 9
# A call that takes so long is not repeated.
SLOW_SECONDS = 5
# Of the fast moving ones.
PRODUCT = 4


def time_cases(env, names=("plain", "addon")):
    """Time each case in turn, plain Odoo and the addon alternating.

    :return: list of dictionaries: the case, and by name of the database the median seconds,
        None where there is none, and how many rows came
    """
    history = get_history(env)
    user = _get_user(env)
    now = fields.Datetime.to_datetime(history["end"])
    results = []
    for case in get_cases(history["product_ids"][PRODUCT], now):
        calls = {name: getattr(case, name) for name in names if getattr(case, name)}
        if missing := {name for call in calls.values() for name in _get_missing(env, call)}:
            say(f"  {case.name}: no {', '.join(missing)} in this version of the addon")
            continue
        results.append({"case": case.name, **_time_calls(env, user, calls)})
        say(f"  {_describe(results[-1])}")
    return results


def _get_missing(env, call):
    """Return the model, or those of the call's fields, that the addon does not have."""
    if call.model not in env:
        return [call.model]
    names = [*call.kwargs.get("groupby", ()), *call.kwargs.get("aggregates", ())]
    field_names = {name.partition(":")[0] for name in names} - {"__count"}
    return [f"{call.model}.{name}" for name in field_names - set(env[call.model]._fields)]


def _describe(result):
    figures = [
        f"{name} {result[name]['seconds'] * 1000:,.1f} ms ({result[name]['rows']} rows)"
        for name in ("plain", "addon")
        if name in result
    ]
    return f"{result['case']}: {', '.join(figures)}"


def _get_user(env):
    login = "benchmark"
    user = env["res.users"].search([("login", "=", login)])
    if not user:
        groups = [Command.link(env.ref(name).id) for name in GROUPS]
        user = user.create({"name": "Benchmark", "login": login, "group_ids": groups})
        env.cr.commit()
    return user


def _time_calls(env, user, calls):
    prepared = {name: _prepare(env, user, call) for name, call in calls.items()}
    seconds = {name: [] for name in calls}
    rows = {}
    for number in range(REPEATS + 1):
        order = list(calls) if number % 2 == 0 else list(calls)[::-1]
        for name in order:
            if max(seconds[name], default=0) > SLOW_SECONDS:
                continue
            spent, rows[name] = _run(env, *prepared[name])
            # The first one fills caches.
            if number or spent > SLOW_SECONDS:
                seconds[name].append(spent)
    return {
        name: {"seconds": statistics.median(seconds[name]), "rows": rows[name]} for name in calls
    }


def _prepare(env, user, call):
    """Return what _run needs; the view is not what is timed."""
    context = {"lang": "en_US", "tz": "UTC", "allowed_company_ids": user.company_ids.ids}
    context.update(call.context)
    kwargs = dict(call.kwargs)
    if call.view is not None:
        model = env(user=user, context=context)[call.model]
        view_id = env.ref(call.view).id if call.view else None
        kwargs["specification"] = _get_specification(model, view_id)
    return user.id, context, call.model, call.method, kwargs


def _get_specification(model, view_id):
    """Return what the web client reads for a list."""
    arch = etree.fromstring(model.get_view(view_id, "list")["arch"])
    names = [node.get("name") for node in arch.iterchildren("field")]
    return {
        name: {"fields": {"display_name": {}}} if model._fields[name].relational else {}
        for name in names
    }


def _run(env, user_id, context, model, method, kwargs):
    """Make a call in a transaction and with caches of its own.

    :return: its seconds, and how many rows it returned
    """
    with env.registry.cursor() as cr:
        cr.execute(SQL("SET LOCAL statement_timeout = %s", TIMEOUT_SECONDS * 1000))
        records = api.Environment(cr, user_id, context)[model]
        start = time.perf_counter()
        try:
            result = getattr(records, method)(**kwargs)
        except psycopg2.errors.QueryCanceled:
            cr.rollback()
            result = []
        return time.perf_counter() - start, _count_rows(result)


def _count_rows(result):
    if isinstance(result, dict):
        return len(result["records"])
    if result and isinstance(result[0], list):
        return sum(map(len, result))
    return len(result)


def time_fold(env, limit):
    """Fold all deltas, batch by batch, as the worker does; return their number and the seconds."""
    rollup = env["stock.ledger.balance"]
    start = time.perf_counter()
    total = 0
    while folded := rollup._fold(limit):
        env.cr.commit()
        total += folded
    return {"folded": total, "seconds": time.perf_counter() - start}
