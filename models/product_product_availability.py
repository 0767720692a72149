import datetime

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.fields import Domain
from odoo.tools import SQL

from .stock_move import OPEN_STATES

MOST_DAYS = 3660


class ProductProduct(models.Model):
    _inherit = "product.product"

    @api.readonly
    def get_availability(self, date_from, date_to, warehouse_id=False):
        """Return what there was of these products day by day, and what is to be expected.

        Quantities are those at the end of a day, in the products' unit of measure, of all
        products together. Days are those of UTC. As in Odoo's On Hand, goods count that are in a
        warehouse, not those in transit between warehouses. What is expected is what is there and
        the open moves at their scheduled date, today where that has passed, as in Odoo's
        Forecasted.

        :param date_from: the first day, a date or 'YYYY-MM-DD'
        :param date_to: the last day, at most ten years later
        :param int warehouse_id: which warehouse; all those of the chosen companies if it is empty
        :return: list of dictionaries, one per day: ``date`` ('YYYY-MM-DD'), ``physical`` up to
            today, ``forecast`` from today on
        :raises AccessError: unless the user may read these products, the ledger and the warehouse
        :raises UserError: when the period is no period or too long, or units differ
        """
        self.check_access("read")
        self.env["stock.ledger.day"].check_access("read")
        first, last = fields.Date.to_date(date_from), fields.Date.to_date(date_to)
        if not first or not last or not 0 <= (last - first).days <= MOST_DAYS:
            raise UserError(self.env._("Choose a period of at most ten years."))
        if len(self.uom_id) > 1:
            raise UserError(self.env._("Products with different units cannot be added up."))
        warehouses = self._get_availability_warehouses(warehouse_id)
        today = fields.Datetime.now().date()
        start, end = min(first, today), max(last, today)
        physical, changes = self._get_daily_stock(start, end, warehouses)
        planned = self._get_daily_plan(today, end, warehouses)
        expected, days = 0.0, []
        for number in range((last - start).days + 1):
            day = start + datetime.timedelta(number)
            physical += changes.get(day, 0.0)
            expected += planned.get(day, 0.0)
            figures = {"date": fields.Date.to_string(day)}
            if day <= today:
                figures["physical"] = self.uom_id.round(physical) if self else 0.0
            if day >= today:
                figures["forecast"] = self.uom_id.round(physical + expected) if self else 0.0
            if day >= first:
                days.append(figures)
        return days

    @api.model
    def _get_availability_warehouses(self, warehouse_id):
        Warehouse = self.env["stock.warehouse"]
        if warehouse_id:
            warehouse = Warehouse.browse(warehouse_id)
            warehouse.check_access("read")
            return warehouse
        return Warehouse.search([("company_id", "in", self.env.companies.ids)])

    def _get_daily_stock(self, start, end, warehouses):
        """Return the stock when the first day began, and its change on each day that has one."""
        self.env["stock.ledger.entry"]._flush_buffer()
        self.env["stock.location"].flush_model(["warehouse_id"])
        [[opening]] = self.env.execute_query(self._query_stock_before(start, warehouses))
        rows = self.env.execute_query(self._query_daily_changes(start, end, warehouses))
        return opening, dict(rows)

    def _query_stock_before(self, day, warehouses):
        before = datetime.datetime.combine(day, datetime.time()) - datetime.timedelta.resolution
        return SQL(
            """
            SELECT COALESCE(SUM(stock.quantity), 0.0)
              FROM (%s) AS stock JOIN stock_location location ON location.id = stock.location_id
             WHERE stock.product_id = ANY(%s) AND location.warehouse_id = ANY(%s)
            """,
            self.env["stock.ledger.closing"]._query_stock_at(before),
            self.ids,
            warehouses.ids,
        )

    def _query_daily_changes(self, start, end, warehouses):
        # Day by day, since the index of days begins with the date: as a range it would be
        # read with those of all other products.
        days = [start + datetime.timedelta(number) for number in range((end - start).days + 1)]
        return SQL(
            """
            SELECT stock.date, SUM(stock.quantity)
              FROM (SELECT date, product_id, location_id,
                           in_quantity - out_quantity AS quantity
                      FROM stock_ledger_day
                     WHERE date = ANY(%(days)s) AND product_id = ANY(%(products)s)
                     UNION ALL
                    SELECT effective_date::date, product_id, location_id, quantity
                      FROM stock_ledger_delta
                     WHERE quantity <> 0 AND product_id = ANY(%(products)s)
                       AND effective_date >= %(start)s AND effective_date < %(after)s
                   ) AS stock
              JOIN stock_location location ON location.id = stock.location_id
             WHERE location.warehouse_id = ANY(%(warehouses)s)
             GROUP BY stock.date
            """,
            days=days,
            products=self.ids,
            warehouses=warehouses.ids,
            start=start,
            after=end + datetime.timedelta(1),
        )

    def _get_daily_plan(self, today, end, warehouses):
        """Return what open moves bring less what they take, by day."""
        context = {"warehouse_id": warehouses.ids, "location": False, "search_location": False}
        _quants, moves_in, moves_out = self.with_context(**context)._get_domain_locations()
        moves = self.env["stock.move"].with_context(active_test=False, tz="UTC")
        domain = Domain("product_id", "in", self.ids) & Domain("state", "in", OPEN_STATES)
        domain &= Domain("date", "<", end + datetime.timedelta(1))
        plan = {}
        for sign, moves_domain in ((1, moves_in), (-1, moves_out)):
            for date, quantity in moves._read_group(
                domain & Domain(moves_domain), ["date:day"], ["product_qty:sum"]
            ):
                day = max(date.date(), today)
                plan[day] = plan.get(day, 0.0) + sign * quantity
        return plan
