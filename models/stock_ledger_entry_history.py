from odoo import api, models
from odoo.tools import SQL

from ..buffer import Change
from ..cause import LineCause, StockKey
from .stock_ledger_closing import KEY, _same_key


class StockLedgerEntry(models.Model):
    """Movements from before the ledger, entered afterwards as history.

    They change no sum: what history explains is taken from the OPENING entries by the
    statement after the one that enters it. What is left of those was there before
    history began, and is effective then.
    """

    _inherit = "stock.ledger.entry"

    # Serves the opening of a product, and what history leaves of it.
    _opening_idx = models.Index("(product_id) WHERE event_type = 'OPENING'")

    @api.model
    def _append_history(self, lines, history_date, user_id):
        """Enter done move lines as history. Nothing of it is published.

        A line's amount is what it has now less what the ledger has recorded for it: what
        it was before the ledger began. Lines that were done or edited since, and lines
        that were entered before, are so never counted twice.

        :param SQL lines: query of the done ``stock.move.line``, all columns
        :param datetime history_date: when the opening is effective
        :param int user_id: who has history entered
        """
        self.env.cr.execute(self._query_make_history(lines))
        event_types = self._get_history_event_types()
        if event_types:
            self.env.cr.execute(self._query_insert_history(event_types))
            opening = self._query_explained(history_date)
            self.env.cr.execute(self._query_change_opening(opening, user_id))
        self.env.cr.execute(SQL("DROP TABLE stock_ledger_history"))
        self._invalidate_reports()

    @api.model
    def _date_opening(self, date, user_id):
        """Have what is left of the opening be effective at another date.

        :param datetime date: in UTC
        :param int user_id: who has history entered
        """
        opening = self._query_redated_opening(date)
        self.env.cr.execute(self._query_change_opening(opening, user_id))
        self._invalidate_reports()

    # --- movements

    @api.model
    def _query_make_history(self, lines):
        """Return the statement that makes a table of the lines' amounts by stock key.

        It has the columns of an entry, and is read three times.
        """
        return SQL(
            """
            CREATE TEMPORARY TABLE stock_ledger_history ON COMMIT DROP AS
            WITH line AS MATERIALIZED (%(lines)s),
            amount AS (%(amounts)s),
            change AS (
                SELECT move_line_id, %(key)s, SUM(quantity) AS quantity
                  FROM amount GROUP BY move_line_id, %(key)s HAVING SUM(quantity) <> 0)
            SELECT change.*, CONCAT_WS('/', %(kind)s) AS kind,
                   move.company_id AS operating_company_id, location.warehouse_id,
                   move.date AS effective_date, move.id AS move_id, picking.id AS picking_id,
                   NULLIF(move.reference, '') AS reference,
                   COALESCE(NULLIF(move.origin, ''), NULLIF(picking.origin, '')) AS origin,
                   line.write_uid AS user_id
              FROM change
              JOIN line ON line.id = change.move_line_id
              JOIN stock_move move ON move.id = line.move_id
              LEFT JOIN stock_picking picking
                     ON picking.id = COALESCE(line.picking_id, move.picking_id)
              JOIN stock_location source ON source.id = line.location_id
              JOIN stock_location destination ON destination.id = line.location_dest_id
              JOIN stock_location location ON location.id = change.location_id
            """,
            lines=lines,
            amounts=self._query_history_amounts(),
            key=KEY,
            kind=SQL(", ").join(self._get_history_kind_columns()),
        )

    @api.model
    def _query_history_amounts(self):
        """Return the query of what lines have now, and of what was recorded for them."""
        return SQL(
            """
            SELECT line.id AS move_line_id, line.product_id, line.location_id, line.lot_id,
                   line.package_id, line.owner_id, location.company_id,
                   -line.quantity_product_uom AS quantity
              FROM line JOIN stock_location location ON location.id = line.location_id
             UNION ALL
            SELECT line.id, line.product_id, line.location_dest_id, line.lot_id,
                   line.result_package_id, line.owner_id, location.company_id,
                   line.quantity_product_uom
              FROM line JOIN stock_location location ON location.id = line.location_dest_id
             UNION ALL
            SELECT line.id, %s, -recorded.quantity
              FROM line
             -- OFFSET: or else all of the ledger may be read, to be hashed.
             CROSS JOIN LATERAL (
                   SELECT * FROM stock_ledger_entry entry
                    WHERE entry.move_id = line.move_id AND entry.move_line_id = line.id
                   OFFSET 0) AS recorded
            """,
            SQL(", ").join(SQL.identifier("recorded", column) for column in StockKey._fields),
        )

    @api.model
    def _get_history_kind_columns(self):
        """Return what an event type depends on, as SQL without NULL.

        Of the line's ``move``, the locations ``source`` and ``destination``, and the
        ``location`` whose stock changes. Changes that have all of it in common have the
        same event type. Hook for modules that extend ``_get_event_type``.
        """
        return [
            SQL("source.usage"),
            SQL("COALESCE(source.warehouse_id, 0)"),
            SQL("destination.usage"),
            SQL("COALESCE(destination.warehouse_id, 0)"),
            SQL("COALESCE(location.warehouse_id, 0)"),
            SQL("location.id = source.id"),
            SQL("move.scrap_id IS NOT NULL"),
        ]

    @api.model
    def _get_history_event_types(self):
        """Return the event type of each kind of change: that of one such change."""
        event_types = {}
        for kind, line_id, quantity, *key in self.env.execute_query(
            SQL(
                """SELECT DISTINCT ON (kind) kind, move_line_id, quantity, %s
                     FROM stock_ledger_history ORDER BY kind, move_line_id""",
                KEY,
            )
        ):
            line = self.env["stock.move.line"].browse(line_id)
            change = Change(
                key=StockKey(*key),
                quantity=quantity,
                reserved_quantity=0,
                user_id=line.write_uid.id,
                company_id=line.company_id.id,
                cause=LineCause(line.id, line.move_id.id),
            )
            event_types[kind] = self._get_event_type(change, line.move_id, line)
        return event_types

    @api.model
    def _query_insert_history(self, event_types):
        """Return the statement that enters what the table has.

        :param dict event_types: by kind
        """
        return SQL(
            """
            INSERT INTO stock_ledger_entry (
                %(columns)s, event_type, reserved_quantity, recorded_date)
            SELECT %(columns)s, type.event_type, 0, clock_timestamp() AT TIME ZONE 'UTC'
              FROM stock_ledger_history history
              JOIN UNNEST(%(kinds)s, %(types)s) AS type (kind, event_type) USING (kind)
             -- By date, for the index on it: each page has a short period.
             ORDER BY effective_date, move_line_id, quantity
            """,
            columns=SQL(
                """%s, quantity, operating_company_id, warehouse_id, effective_date, move_id,
                move_line_id, picking_id, reference, origin, user_id""",
                KEY,
            ),
            kinds=list(event_types),
            types=list(event_types.values()),
        )

    # --- the opening

    @api.model
    def _query_change_opening(self, changes, user_id):
        """Return the statement that changes the opening.

        :param SQL changes: query of a stock key's columns, quantity, effective_date and
            corrects_entry_id
        :param int user_id: who has it changed
        """
        return SQL(
            """
            INSERT INTO stock_ledger_entry (
                product_id, location_id, lot_id, package_id, owner_id, company_id,
                operating_company_id, warehouse_id, event_type, quantity, reserved_quantity,
                effective_date, recorded_date, reference, user_id, corrects_entry_id)
            SELECT change.product_id, change.location_id, change.lot_id, change.package_id,
                   change.owner_id, change.company_id, change.company_id, location.warehouse_id,
                   'OPENING', change.quantity, 0, change.effective_date,
                   clock_timestamp() AT TIME ZONE 'UTC', %s, %s, change.corrects_entry_id
              FROM (%s) AS change
              JOIN stock_location location ON location.id = change.location_id
            """,
            self.env._("Opening balance"),
            user_id,
            changes,
        )

    @api.model
    def _query_explained(self, date):
        """Return what the table's history takes from the opening, of each stock key."""
        return SQL(
            """
            SELECT history.*, %(date)s::timestamp AS effective_date,
                   opening.entry_id AS corrects_entry_id
              FROM (SELECT %(key)s, -SUM(quantity) AS quantity
                      FROM stock_ledger_history GROUP BY %(key)s
                    HAVING SUM(quantity) <> 0) AS history
              LEFT JOIN (SELECT %(key)s, MIN(id) AS entry_id
                           FROM stock_ledger_entry
                          WHERE event_type = 'OPENING'
                            AND product_id IN (SELECT product_id FROM stock_ledger_history)
                          GROUP BY %(key)s) AS opening ON %(same_key)s
            """,
            key=KEY,
            date=date,
            same_key=_same_key("opening", "history"),
        )

    @api.model
    def _query_redated_opening(self, date):
        """Return what takes the opening from where it is effective, and puts it elsewhere."""
        return SQL(
            """
            SELECT %(key)s, side.sign * opening.quantity AS quantity,
                   CASE side.sign WHEN 1 THEN %(date)s ELSE opening.effective_date
                   END AS effective_date, opening.corrects_entry_id
              FROM (SELECT %(key)s, effective_date, SUM(quantity) AS quantity,
                           MIN(id) AS corrects_entry_id
                      FROM stock_ledger_entry
                     WHERE event_type = 'OPENING' AND effective_date <> %(date)s
                     GROUP BY %(key)s, effective_date
                    HAVING SUM(quantity) <> 0) AS opening
             CROSS JOIN (VALUES (-1), (1)) AS side (sign)
            """,
            key=KEY,
            date=date,
        )
