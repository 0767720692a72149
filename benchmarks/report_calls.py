"""The calls that the web client makes for a report, beside those for plain Odoo's counterpart."""

import datetime
from typing import NamedTuple

# What takes longer is ended.
TIMEOUT_SECONDS = 60
PAGE = 80
COUNT_LIMIT = 10_001
MOVED = ("net_quantity:sum", "in_quantity:sum", "out_quantity:sum")
LINES = ("quantity_product_uom:sum",)
DONE = ("state", "=", "done")
ON_HAND = ("location_id.usage", "in", ["internal", "transit"])


class Call(NamedTuple):
    """A call of a model's method.

    ``view`` is the XML id of the list whose fields are read, '' for the model's own.
    """

    model: str
    method: str
    kwargs: dict
    context: dict = {}
    view: str | None = None


class Case(NamedTuple):
    """What is timed: ours, and plain Odoo's counterpart where it has one.

    ``limit`` is the most milliseconds that ours may take. ``grows`` says that more history
    has more rows to return.
    """

    name: str
    plain: Call | None
    addon: Call
    limit: float | None = 50
    grows: bool = False


def read_page(model, domain=(), context=None, view=""):
    """Return the Call for the first page of a list."""
    kwargs = {"domain": list(domain), "limit": PAGE, "count_limit": COUNT_LIMIT}
    return Call(model, "web_search_read", kwargs, context or {}, view)


def read_groups(model, domain, groupby, aggregates, context=None):
    """Return the Call for all groups of a list or chart, which the web client also counts."""
    aggregates = [*aggregates, "__count"]
    kwargs = {"domain": list(domain), "groupby": list(groupby), "aggregates": aggregates}
    return Call(model, "formatted_read_group", kwargs, context or {})


def read_pivot(model, domain, row, column, aggregates):
    """Return the Call for a pivot table: its cells, the totals of rows and columns, counts."""
    aggregates = [*aggregates, "__count"]
    sets = [[], [row], [column], [row, column]]
    kwargs = {"domain": list(domain), "grouping_sets": sets, "aggregates": aggregates}
    return Call(model, "formatted_read_grouping_sets", kwargs)


def read_products(field, domain=(), context=None):
    """Return the Call for one figure of products, all at once."""
    kwargs = {
        "domain": [("is_storable", "=", True), *domain],
        "specification": {field: {}},
    }
    return Call("product.product", "web_search_read", kwargs, context or {})


def get_cases(product_id, now):
    """Return the Cases.

    :param int product_id: the product of those about one product
    :param datetime now: when the history ends
    """
    product = [("product_id", "=", product_id)]
    return [
        *_get_stock_cases(),
        *_get_movement_cases(now),
        *_get_date_cases(product, now),
        *_get_list_cases(product, now),
        *_get_forecast_cases(product, now),
    ]


def _get_stock_cases():
    quantities = ["physical_quantity:sum", "reserved_quantity:sum", "available_quantity:sum"]
    return [
        Case(
            "stock by warehouse",
            read_groups(
                "stock.quant",
                [ON_HAND],
                ["warehouse_id"],
                ["quantity:sum", "reserved_quantity:sum"],
            ),
            read_groups("stock.ledger.report.stock", [], ["warehouse_id"], quantities),
        ),
        Case(
            "stock, first page",
            read_page("product.product", view="stock.product_product_stock_tree"),
            read_page("stock.ledger.report.stock"),
        ),
    ]


def _get_movement_cases(now):
    year = _month(now, -11)
    ours, plain = [("date", ">=", _date(year))], [DONE, ("date", ">=", _datetime(year))]
    month = "date:month"

    def get_case(name, plain_column, column, limit=50, grows=False):
        return Case(
            f"movements, month x {name}",
            plain_column and read_pivot("stock.move.line", plain, month, plain_column, LINES),
            read_pivot("stock.ledger.report.movement", ours, month, column, MOVED),
            limit,
            grows,
        )

    return [
        get_case("product", "product_id", "product_id", 300, True),
        get_case("category", "product_category_name", "product_categ_id"),
        # A move line has no warehouse; its location is nearest to it.
        get_case("warehouse", "location_id", "warehouse_id"),
        get_case("event type", None, "event_type"),
    ]


def _get_date_cases(product, now):
    middle = _month(now, -7) + datetime.timedelta(days=14, hours=12)
    end = _month(now, -7) - datetime.timedelta(seconds=1)
    dates = {"a month's middle": _datetime(middle), "a month's end": _datetime(end)}
    one = [("id", "=", product[0][2])]
    cases = []
    for name, date in dates.items():
        context = {"stock_ledger_at": date}
        for domain, own_domain, title, limit in (
            ([], [], "all products", 150),
            (one, product, "one product", 50),
        ):
            cases.append(
                Case(
                    f"stock at {name}, {title}",
                    read_products("qty_available", domain, {"to_date": date}),
                    read_groups(
                        "stock.ledger.report.at_date",
                        own_domain,
                        ["product_id"],
                        ["quantity:sum"],
                        context,
                    ),
                    limit,
                )
            )
    context = {"stock_ledger_at": _datetime(middle), "stock_ledger_compare_at": _datetime(now)}
    return [
        *cases,
        Case(
            "stock at a month's middle, first page",
            read_page(
                "product.product",
                context={"to_date": _datetime(middle)},
                view="stock.product_product_stock_tree",
            ),
            read_page(
                "stock.ledger.report.at_date", context={"stock_ledger_at": _datetime(middle)}
            ),
        ),
        Case(
            "difference of two dates, first page",
            None,
            read_page("stock.ledger.report.at_date", context=context),
        ),
    ]


def _get_list_cases(product, now):
    month, end = _month(now, -1), _month(now, 0) - datetime.timedelta(seconds=1)
    context = {
        "stock_ledger_product_id": product[0][2],
        "stock_ledger_from": _datetime(month),
        "stock_ledger_to": _datetime(end),
    }
    lines = "stock.view_move_line_tree"
    period = [("date", ">=", _datetime(month)), ("date", "<=", _datetime(end))]
    return [
        Case(
            "ledger, first page",
            read_page("stock.move.line", [DONE], view=lines),
            read_page("stock.ledger.entry"),
        ),
        Case(
            "stock card of a product, a month",
            read_page("stock.move.line", [DONE, *product, *period], view=lines),
            read_page("stock.ledger.report.card", context=context),
        ),
        Case("ageing, first page", None, read_page("stock.ledger.report.ageing")),
    ]


def _get_forecast_cases(product, now):
    quantities = ["incoming_quantity:sum", "outgoing_quantity:sum", "forecast_quantity:sum"]
    forecast = ("state", "=", "forecast")
    later = ("date", "=", _date(now + datetime.timedelta(days=30)))

    def get_case(name, plain, domain):
        ours = read_groups("stock.ledger.report.stock", domain, ["product_id"], quantities)
        return Case(f"forecast of {name}", plain, ours)

    one = [forecast, later, *product]
    report, figure = "report.stock.quantity", ["product_qty:sum"]
    return [
        get_case("one product", read_groups(report, one, ["product_id"], figure), product),
        get_case("all products", read_products("virtual_available"), []),
        get_case(
            "all products (Odoo's report by day)",
            read_groups(report, [forecast, later], ["product_id"], figure),
            [],
        ),
    ]


def _month(now, months):
    """Return the beginning of a month, so many after that of a moment."""
    number = now.year * 12 + now.month - 1 + months
    return datetime.datetime(number // 12, number % 12 + 1, 1)


def _date(moment):
    return f"{moment:%Y-%m-%d}"


def _datetime(moment):
    return f"{moment:%Y-%m-%d %H:%M:%S}"
