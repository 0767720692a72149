import babel.dates

from odoo import api, fields, models
from odoo.tools import SQL, get_lang

from ..fields import HistoricalMany2one

KINDS = [
    ("wait", "Waited"),
    ("timeout", "Waited in Vain"),
    ("queue", "Reservation Queued"),
    ("replay", "Request Replayed"),
]


class StockContention(models.Model):
    """One meeting of two operations that decided on the same stock at the same time.

    Written by ``_note``, in the transaction that met the other one; kept for some days.
    """

    _name = "stock.contention"
    _description = "Stock Contention"
    _inherit = ["stock.historical.mixin", "stock.retention.mixin"]
    _order = "id desc"
    _rec_name = "reference"
    _log_access = False
    _keep_parameter = "contention_days"

    date = fields.Datetime(required=True, readonly=True, index=True)
    kind = fields.Selection(
        KINDS,
        required=True,
        readonly=True,
        help="Waited: for the other operation to end, and then went on.\n"
        "Waited in Vain: the other operation took longer than the lock timeout.\n"
        "Reservation Queued: did not wait; the stock is reserved right after.\n"
        "Request Replayed: Odoo undid the request and did it again.",
    )
    product_id = HistoricalMany2one("product.product", required=True, readonly=True)
    location_id = HistoricalMany2one("stock.location", required=True, readonly=True)
    warehouse_id = HistoricalMany2one(
        "stock.warehouse", readonly=True, help="Warehouse of the location at that time"
    )
    company_id = HistoricalMany2one("res.company", readonly=True, help="Company of the location")
    seconds = fields.Float(
        "Waited (s)",
        digits=(16, 2),
        readonly=True,
        help="An operation that waited for several products counts in full for each.",
    )
    longest_seconds = fields.Float(
        "Longest Wait (s)", related="seconds", digits=(16, 2), aggregator="max"
    )
    holder = fields.Char("Held By", readonly=True, help="Who was deciding on the stock, as known")
    move_id = HistoricalMany2one("stock.move", string="Stock Move", readonly=True)
    reference = fields.Char(readonly=True, help="What the stock was wanted for")
    user_id = HistoricalMany2one("res.users", readonly=True)

    @api.model
    def _note(self, kind, stocks, seconds=0.0, holder=False, move=None):
        """Remember that this operation met another one that decided on the same stock.

        One statement, which bypasses access rights: whoever reserves stock leaves a
        trace here without a right to read or write others'. It flushes nothing, since
        the caller may be about to roll back.

        :param str kind: one of ``KINDS``
        :param stocks: iterable of (product_id, location_id) integer pairs
        :param float seconds: how long the operation waited
        :param holder: who had the stock, as text, or False
        :param move: the stock.move that the stock was wanted for, or None
        """
        stocks = set(stocks)
        if stocks:
            self.env.cr.execute(self._query_note(kind, stocks, seconds, holder, move))

    @api.model
    def _query_note(self, kind, stocks, seconds, holder, move):
        return SQL(
            """INSERT INTO stock_contention (
                   date, kind, product_id, location_id, warehouse_id, company_id, seconds,
                   holder, move_id, reference, user_id)
               SELECT clock_timestamp() AT TIME ZONE 'UTC', %s, stock.product_id,
                      stock.location_id, location.warehouse_id, location.company_id,
                      %s, %s, %s, %s, %s
                 FROM UNNEST(%s::int[], %s::int[]) AS stock (product_id, location_id)
                 LEFT JOIN stock_location location ON location.id = stock.location_id""",
            kind,
            seconds,
            holder or None,
            move.id if move else None,
            (move.reference or None) if move else None,
            self.env.uid,
            [product_id for product_id, _location_id in stocks],
            [location_id for _product_id, location_id in stocks],
        )

    @api.model
    def _query_old(self, before):
        return SQL("date < %s", before)

    @api.model
    def _web_read_group_groupby_formatter(self, groupby_spec, values):
        """Tell the hours of a day apart: Odoo's labels end at 12, and graphs add them up."""
        formatter = super()._web_read_group_groupby_formatter(groupby_spec, values)
        if groupby_spec != "date:hour":
            return formatter

        def format_hour(value):
            (start, _label), domain = formatter(value)
            # In the user's time zone already.
            label = babel.dates.format_datetime(
                value, "dd MMM HH:00", locale=get_lang(self.env).code
            )
            return (start, label), domain

        return format_hour

    @api.readonly
    def action_open_reference(self):
        """Open what the stock was wanted for, if it is known and still there.

        :return: a window action or False
        """
        self.ensure_one()
        move = self.move_id.exists()
        return move.action_open_reference() if move else False
