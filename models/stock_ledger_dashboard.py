from datetime import timedelta

from odoo import api, fields, models

from .retention_mixin import KEEP_DAYS
from .stock_move import QUEUED_STATES

# What is named one by one on a tile.
FEW = 5
# In these cases somebody else was deciding on the stock, and nobody decided beside them.
PREVENTED_KINDS = ("wait", "timeout", "queue")


class StockLedgerDashboard(models.AbstractModel):
    """The figures of the dashboard, tile by tile, as its user may read them.

    They come from the rollups, from queues and from tables with a row per channel, worker,
    drift or stock-out: what they cost depends on today and on what is still to be done, and
    not on history. Another module adds a tile by its name in ``_get_tiles`` and a method.
    """

    _name = "stock.ledger.dashboard"
    _description = "Stock Ledger Dashboard"

    @api.model
    @api.readonly
    def get_figures(self, warehouse_id=False):
        """Return the tiles of the dashboard for the companies that are switched on.

        A tile is a dictionary with ``name`` and ``title``; as far as it has them, ``value``
        (a number) or ``headline`` (a text), ``caption``, ``status`` (success, warning, danger
        or muted), ``rows``, ``empty`` (a text for where there are no rows) and ``action``. A
        row has ``key``, ``label`` and ``value``, ``text``, ``seconds`` or ``date`` (UTC), and
        may have ``share`` (0 to 1), ``status``, ``badge`` and an ``action`` of its own. An
        action has the external id ``xmlid`` of a window action, a ``domain`` that narrows it, and
        the ``name``, ``context`` and first ``view`` that take the place of its own.

        :param int warehouse_id: the warehouse that the figures are of, as far as they are of
            one; False, or one that is not in those companies: of all
        :return: dictionary of ``today``, the day in UTC that is meant by it, ``warehouses``
            (dictionaries of ``id`` and ``name``), ``warehouse_id`` and ``tiles``; tiles that
            the user may not read are left out
        """
        warehouses = self._get_warehouses()
        if warehouse_id not in warehouses.ids:
            warehouse_id = False
        dashboard = self.with_context(stock_event_ledger_warehouse_id=warehouse_id)
        tiles = []
        for name in self._get_tiles():
            figures = getattr(dashboard, f"_get_{name}_figures")()
            if figures is not None:
                tiles.append({"name": name, **figures})
        return {
            "today": fields.Date.to_string(fields.Date.today()),
            "warehouses": [
                {"id": warehouse.id, "name": warehouse.name} for warehouse in warehouses
            ],
            "warehouse_id": warehouse_id,
            "tiles": tiles,
        }

    @api.model
    def _get_warehouses(self):
        warehouses = self.env["stock.warehouse"]
        if not warehouses.has_access("read"):
            return warehouses
        return warehouses.search_fetch([("company_id", "in", self.env.companies.ids)], ["name"])

    @api.model
    def _narrow(self, domain, path="warehouse_id"):
        """Return a domain as a list, of the chosen warehouse if there is one.

        :param str path: the field that has the warehouse
        """
        warehouse_id = self.env.context.get("stock_event_ledger_warehouse_id")
        return [*domain, (path, "=", warehouse_id)] if warehouse_id else [*domain]

    @api.model
    def _get_tiles(self):
        """Return the names of the tiles in their order. Modules add theirs."""
        return [
            "movements",
            "products",
            "stockouts",
            "queue",
            "contention",
            "drift",
            "events",
            "worker",
        ]

    # --- movements ---

    @api.model
    def _get_movements_figures(self):
        report = self.env["stock.ledger.report.movement"]
        if not report.has_access("read"):
            return None
        groups = report._read_group(
            self._get_today_domain(),
            ["event_type"],
            ["entry_count:sum"],
            order="entry_count:sum DESC",
        )
        labels = dict(report._fields["event_type"]._description_selection(self.env))
        rows = [
            {
                "key": event_type,
                "label": labels.get(event_type, event_type),
                "value": count,
                "action": self._prepare_today_action([("event_type", "=", event_type)]),
            }
            for event_type, count in groups
        ]
        return {
            "title": self.env._("Today's Movements"),
            "value": sum(count for _event_type, count in groups),
            "caption": self.env._("ledger entries that moved goods in your locations"),
            "rows": self._add_shares(rows),
            "empty": self.env._(
                "Nothing has moved today. Receive, deliver or adjust something, and it appears "
                "here."
            ),
            "action": self._prepare_today_action([]),
        }

    @api.model
    def _get_products_figures(self):
        report = self.env["stock.ledger.report.movement"]
        if not report.has_access("read"):
            return None
        groups = report._read_group(
            self._get_today_domain(),
            ["product_id"],
            ["entry_count:sum"],
            order="entry_count:sum DESC, product_id:max",
            limit=FEW,
        )
        names = self._get_product_names(product for product, _count in groups)
        rows = [
            {
                "key": product.id,
                "label": names[product.id],
                "value": count,
                "action": self._prepare_today_action([("product_id", "=", product.id)]),
            }
            for product, count in groups
        ]
        return {
            "title": self.env._("Busiest Products"),
            "caption": self.env._("with the most ledger entries today"),
            "rows": self._add_shares(rows),
            "empty": self.env._("No product has moved today."),
            "action": {**self._prepare_today_action([]), "context": {"group_by": ["product_id"]}},
        }

    @api.model
    def _get_today_domain(self):
        return self._narrow([("date", "=", fields.Date.to_string(fields.Date.today()))])

    @api.model
    def _prepare_today_action(self, domain):
        return {
            "xmlid": "stock_event_ledger.action_stock_ledger_report_movement",
            "name": self.env._("Today's Movements"),
            "view": "list",
            "domain": [*self._get_today_domain(), *domain],
            "context": {},
        }

    @api.model
    def _get_stockouts_figures(self):
        stockouts = self.env["stock.ledger.stockout"]
        if not stockouts.has_access("read"):
            return None
        lasting = self._narrow([("last_day", "=", False)])
        latest = stockouts.search_fetch(
            lasting, ["product_id", "first_day"], order="first_day DESC, id DESC", limit=FEW
        )
        names = self._get_product_names(latest.product_id)
        count = stockouts.search_count(lasting)
        action = {
            "xmlid": "stock_event_ledger.action_stock_ledger_stockout",
            "domain": self._narrow([]),
            "context": {"search_default_lasting": 1},
        }
        return {
            "title": self.env._("Stock-outs"),
            "value": count,
            "caption": self.env._("products that a warehouse had, and ended yesterday without"),
            "status": "warning" if count else "success",
            "rows": [
                {
                    "key": stockout.id,
                    "label": names[stockout.product_id.id],
                    "date": f"{stockout.first_day} 00:00:00",
                    "action": {
                        **action,
                        "domain": [*action["domain"], ("product_id", "=", stockout.product_id.id)],
                    },
                }
                for stockout in latest
            ],
            "empty": self.env._("No product has run out. It is looked for every hour."),
            "action": action,
        }

    # --- reservations ---

    @api.model
    def _get_queue_figures(self):
        moves = self.env["stock.move"]
        if not moves.has_access("read"):
            return None
        place = "location_id.warehouse_id"
        domain = self._narrow(moves._get_reservation_queue_domain(), place)
        [[count, oldest_date]] = moves._read_group(
            domain, [], ["__count", "reservation_queued_date:min"]
        )
        failed_domain = self._narrow(self._get_failed_domain(), place)
        failed_count = moves.search_count(failed_domain)
        action = {
            "xmlid": "stock_event_ledger.action_stock_move_queued",
            "domain": self._narrow([], place),
        }
        rows = []
        if count:
            oldest_date = fields.Datetime.to_string(oldest_date)
            rows.append(
                {"key": "oldest", "label": self.env._("Oldest, queued"), "date": oldest_date}
            )
        if failed_count:
            rows.append(
                {
                    "key": "failed",
                    "label": self.env._("Failed"),
                    "value": failed_count,
                    "status": "danger",
                    "action": {**action, "domain": failed_domain},
                }
            )
        return {
            "title": self.env._("Queued Reservations"),
            "value": count,
            "caption": self.env._("moves that are reserved as soon as their stock is free"),
            "status": "danger" if failed_count else "warning" if count else "success",
            "rows": rows,
            "empty": self.env._("No reservation is waiting."),
            "action": action,
        }

    @api.model
    def _get_failed_domain(self):
        """Return which moves left the queue without being reserved, because of an error."""
        return [("reservation_queue_error", "!=", False), ("state", "in", QUEUED_STATES)]

    @api.model
    def _get_contention_figures(self):
        contentions = self.env["stock.contention"]
        if not contentions.has_access("read"):
            return None
        days = min(contentions._get_keep_days(), KEEP_DAYS)
        counts = self._count_contentions(fields.Datetime.now() - timedelta(days=days))
        today = fields.Datetime.to_datetime(fields.Date.today())
        labels = dict(contentions._fields["kind"]._description_selection(self.env))
        action = {
            "xmlid": "stock_event_ledger.action_stock_contention",
            "view": "list",
            "domain": self._narrow([("kind", "in", PREVENTED_KINDS)]),
            "context": {},
        }
        rows = [
            {
                "key": kind,
                "label": labels[kind],
                "value": counts[kind],
                "action": {**action, "domain": self._narrow([("kind", "=", kind)])},
            }
            for kind in PREVENTED_KINDS
            if kind in counts
        ]
        return {
            "title": self.env._("Oversell Prevented"),
            "value": sum(self._count_contentions(today).values()),
            "caption": self.env._(
                "times today that somebody wanted stock that somebody else was deciding on; "
                "%(count)s in %(days)s days",
                count=sum(counts.values()),
                days=days,
            ),
            "rows": self._add_shares(rows),
            "empty": self.env._("Nobody got in anybody's way."),
            "action": {
                **action,
                "domain": [*action["domain"], ("date", ">=", fields.Datetime.to_string(today))],
            },
        }

    @api.model
    def _count_contentions(self, since):
        """Return how often oversell was prevented since a moment, by kind."""
        return dict(
            self.env["stock.contention"]._read_group(
                self._narrow([("kind", "in", PREVENTED_KINDS), ("date", ">=", since)]),
                ["kind"],
                ["__count"],
            )
        )

    # --- helpers ---

    @api.model
    def _add_shares(self, rows):
        """Give rows the length of their bars, and return them."""
        most = max((row["value"] for row in rows), default=0)
        for row in rows:
            row["share"] = row["value"] / most if most else 0
        return rows

    @api.model
    def _get_product_names(self, products):
        """Return the names by id, also of what is archived or deleted by now."""
        # sudo: who may see that a product has moved or run out may know its name, whatever
        # company it has been given to since.
        products = self.env["product.product"].sudo().concat(*products)
        names = products._get_display_names()
        return {
            id_: names.get(id_) or self.env._("Deleted (%(id)s)", id=id_) for id_ in products.ids
        }
