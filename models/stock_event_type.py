from odoo import fields, models


class StockEventType(models.Model):
    """An event type to choose in a channel's filter.

    The types themselves are those of ``stock.ledger.entry.event_type``. A module that
    adds one there adds a record here.
    """

    _name = "stock.event.type"
    _description = "Stock Event Type"
    _order = "id"

    name = fields.Char(required=True, translate=True)
    code = fields.Char(required=True)

    _unique_code = models.Constraint("UNIQUE (code)", "Two event types have this code.")
