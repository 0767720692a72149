from odoo import fields


class HistoricalMany2one(fields.Many2one):
    """A many2one without a foreign key, for records that outlive what they name.

    The ledger is history: a move line is deleted when it is unreserved, a draft
    transfer may be deleted, and neither may be blocked by, or change, the entries
    that were written about it. A foreign key would do one or the other. It would also
    take a row lock on the product, the location and so on for each entry.
    A deleted target reads as an empty name; its id stays.
    """

    def update_db_foreign_key(self, model, column):
        """Create no foreign key."""


class BigInteger(fields.Integer):
    """A whole number of 64 bits."""

    _column_type = ("int8", "int8")


def to_array(numbers):
    """Return an array of numbers as PostgreSQL's literal, to be cast to its type.

    Of a list, psycopg2 makes ARRAY[...], each element of which PostgreSQL parses as an
    expression: for a thousand rows that takes as long as the statement itself.
    """
    return "{" + ",".join("NULL" if n is None else str(n) for n in numbers) + "}"
