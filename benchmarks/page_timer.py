"""Times the first page of each list of the addon, and the dashboard, inside an Odoo process."""

import ast
import statistics
import time

from lxml import etree

from odoo import api
from odoo.exceptions import UserError
from odoo.fields import Command
from odoo.tools.safe_eval import safe_eval

from .report import say
from .report_calls import COUNT_LIMIT, PAGE
from .report_timer import GROUPS, _get_specification

REPEATS = 5
MODULE = "stock_event_ledger"
LOGIN = "benchmark manager"


def time_pages(env):
    """Time what the web client reads to show each page, as an inventory manager.

    :return: list of dictionaries: page, model, rows, queries, and seconds (the median)
    """
    user = _get_manager(env)
    pages = [_time(env, user, "Dashboard", "stock.ledger.dashboard", _read_dashboard)]
    data = env["ir.model.data"].search(
        [("module", "=", MODULE), ("model", "=", "ir.actions.act_window")], order="name"
    )
    for action in env["ir.actions.act_window"].browse(data.mapped("res_id")):
        model = env[action.res_model]
        if "list" in action.view_mode.split(",") and not model._transient:
            read = _get_reader(env, action)
            try:
                pages.append(_time(env, user, action.name, action.res_model, read))
            except UserError as error:
                # It is opened by way of a question.
                say(f"  {action.name}: left out, {error}")
    return pages


def _get_manager(env):
    user = env["res.users"].search([("login", "=", LOGIN)])
    if not user:
        names = (*GROUPS, "stock.group_stock_manager")
        groups = [Command.link(env.ref(name).id) for name in names]
        user = user.create({"name": "Manager", "login": LOGIN, "group_ids": groups})
        env.cr.commit()
    return user


def _read_dashboard(model):
    return model.get_figures()["tiles"]


def _get_reader(env, action):
    """Return a function that reads the first page of an action's list."""
    context = safe_eval(action.context or "{}", {"uid": env.uid, "active_id": False})
    domain = safe_eval(action.domain or "[]", {"uid": env.uid, "active_id": False})
    view_id = action.view_ids.filtered(lambda view: view.view_mode == "list").view_id.id
    if action.view_id.type == "list":
        view_id = view_id or action.view_id.id
    domain = domain + _get_default_filters(env, action, context)

    def read(model):
        model = model.with_context(**context)
        specification = _get_specification(model, view_id)
        return model.web_search_read(domain, specification, limit=PAGE, count_limit=COUNT_LIMIT)[
            "records"
        ]

    return read


def _get_default_filters(env, action, context):
    """Return the domain of the filters that the page begins with."""
    views = env[action.res_model].get_views([(action.search_view_id.id, "search")])
    arch = etree.fromstring(views["views"]["search"]["arch"])
    domain = []
    for name, value in context.items():
        if name.startswith("search_default_") and value:
            for node in arch.iter("filter"):
                if node.get("name") == name.removeprefix("search_default_") and node.get("domain"):
                    domain += ast.literal_eval(node.get("domain"))
    return domain


def _time(env, user, name, model_name, read):
    seconds = []
    for _repeat in range(REPEATS + 1):
        with env.registry.cursor() as cr:
            context = {"lang": "en_US", "tz": "UTC", "allowed_company_ids": user.company_ids.ids}
            model = api.Environment(cr, user.id, context)[model_name]
            queries, start = cr.sql_log_count, time.perf_counter()
            rows = read(model)
            seconds.append(time.perf_counter() - start)
            queries = cr.sql_log_count - queries
    return {
        "page": name,
        "model": model_name,
        "rows": len(rows),
        "queries": queries,
        # The first one fills caches.
        "seconds": statistics.median(seconds[1:]),
    }
