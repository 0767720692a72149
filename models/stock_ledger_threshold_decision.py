from odoo import api, fields, models
from odoo.tools import SQL

from ..fields import to_array
from .stock_ledger_threshold import DECIDED, STOCK_USAGES

# By the state before and after. What becomes less low without having been out is told by the
# movement's own event; nobody has been waiting for it.
EVENT_TYPES_BY_TURN = {
    ("ok", "low"): "STOCK_LOW",
    ("ok", "out"): "STOCK_OUT",
    ("low", "out"): "STOCK_OUT",
    ("out", "low"): "BACK_IN_STOCK",
    ("out", "ok"): "BACK_IN_STOCK",
}


class StockLedgerThreshold(models.Model):
    """Deciding on thresholds, before deltas are folded, and telling the channels.

    Each crossing is a ledger entry that changes nothing: it has its place and number among
    the events of the product in the warehouse, and stays on record.
    """

    _inherit = "stock.ledger.threshold"

    @api.model
    def _decide(self, limit):
        """Decide what the next deltas to be folded change, and publish each crossing.

        One step per transaction: what takes from one shelf and puts on another one is no
        crossing, and what one transaction takes and another one gives back are two.
        To be committed with the fold.

        :param int limit: how many deltas are to be folded at most
        :return: the query of the ids of those to fold, or None when a threshold is just
            being changed by somebody: it is not waited for
        """
        [[is_all, cut_off_ids]] = self.env.execute_query(self._query_cut_off(limit))
        batch = self.env["stock.ledger.rollup"]._query_batch(limit, cut_off_ids)
        turns = self.env.execute_query_dict(self._query_turns(batch, is_all))
        if turns:
            thresholds = self.browse({turn["id"] for turn in turns})
            if len(thresholds.try_lock_for_update()) < len(thresholds):
                return None
            self._publish(turns)
            self._store(turns)
        return batch

    @api.model
    def _query_cut_off(self, limit):
        """Return the query of whether so many deltas are all, and of those to add to them.

        The limit may cut a transaction in two. Where there is a threshold, its other half
        is folded with it.
        """
        return SQL(
            """
            WITH oldest AS MATERIALIZED (
                SELECT id, transaction_number FROM stock_ledger_delta ORDER BY id LIMIT %(limit)s)
            SELECT (SELECT COUNT(*) FROM oldest) < %(limit)s,
                   ARRAY(SELECT id FROM stock_ledger_delta
                          WHERE (SELECT COUNT(*) FROM oldest) = %(limit)s
                            AND id > (SELECT MAX(id) FROM oldest)
                            AND transaction_number IN (SELECT transaction_number FROM oldest)
                            AND product_id IN (
                                SELECT product_id FROM stock_ledger_threshold WHERE active))
            """,
            limit=limit,
        )

    @api.model
    def _query_turns(self, batch, is_all):
        """Return the query of the states that these deltas lead to, in their order.

        A threshold that is new, or whose limits have changed, is decided once, by all that
        is known: what is not folded yet would else look like stock that is not there.

        :param SQL batch: the query of the deltas' ids
        :param bool is_all: whether there are no others
        :return: SQL with the columns id, old_state, state, is_due, available, and the
            threshold's other columns that ``_publish`` needs
        """
        return SQL(
            """
            WITH batch AS MATERIALIZED (
                SELECT id, product_id, location_id, transaction_number,
                       quantity - reserved_quantity AS amount
                  FROM stock_ledger_delta
                 WHERE id IN (%(batch)s) AND quantity <> reserved_quantity
                   AND product_id IN (
                       SELECT product_id FROM stock_ledger_threshold WHERE active)),
            threshold AS MATERIALIZED (
                SELECT id, product_id, warehouse_id, low_at, out_at, state, is_due
                  FROM stock_ledger_threshold
                 WHERE active
                   AND CASE WHEN is_due THEN %(is_all)s
                            ELSE product_id IN (SELECT product_id FROM batch) END),
            change AS (%(changes)s),
            step AS (
                SELECT id, MAX(delta_id) AS delta_id, SUM(amount) AS amount
                  FROM change GROUP BY id, transaction_number),
            level AS (
                SELECT threshold.*, delta_id,
                       %(folded)s + SUM(amount) OVER (
                           PARTITION BY threshold.id ORDER BY delta_id) AS available
                  FROM step JOIN threshold ON threshold.id = step.id),
            decided AS (
                SELECT level.*, state AS stored_state,
                       CASE WHEN available <= out_at THEN 'out'
                            WHEN available <= low_at THEN 'low' ELSE 'ok' END AS new_state
                  FROM level),
            turn AS (
                SELECT decided.*, LAG(new_state, 1, stored_state) OVER (
                           PARTITION BY id ORDER BY delta_id) AS old_state
                  FROM decided)
            SELECT id, product_id, warehouse_id, low_at, out_at, is_due, available, old_state,
                   new_state AS state
              FROM turn
             WHERE is_due OR old_state IS DISTINCT FROM new_state
             ORDER BY delta_id, id
            """,
            batch=batch,
            is_all=is_all,
            changes=self._query_changes(),
            folded=self._query_folded(),
        )

    @api.model
    def _query_changes(self):
        """What each delta changes. Those without a transaction are older than the column."""
        return SQL(
            """
            SELECT threshold.id, batch.id AS delta_id, amount,
                   CASE WHEN is_due THEN 0
                        ELSE COALESCE(transaction_number, -batch.id) END AS transaction_number
              FROM batch
              JOIN stock_location location ON location.id = batch.location_id
              JOIN threshold ON threshold.product_id = batch.product_id
                            AND threshold.warehouse_id = location.warehouse_id
             WHERE location.usage IN %s
             UNION ALL
            SELECT id, 0, 0, 0 FROM threshold WHERE is_due
            """,
            STOCK_USAGES,
        )

    @api.model
    def _query_folded(self):
        """What was available before. Looked up for each threshold, however many there are."""
        return SQL(
            """
            COALESCE((
                SELECT SUM(balance.quantity - balance.reserved_quantity)
                  FROM stock_ledger_balance balance
                  JOIN stock_location location ON location.id = balance.location_id
                 WHERE balance.product_id = threshold.product_id
                   AND location.warehouse_id = threshold.warehouse_id
                   AND location.usage IN %s), 0)
            """,
            STOCK_USAGES,
        )

    @api.model
    def _store(self, turns):
        """Note what was decided last of each threshold."""
        last = {turn["id"]: turn for turn in turns}
        changed = {
            turn["id"] for turn in turns if not turn["is_due"] or turn["state"] != turn["old_state"]
        }
        self.env.cr.execute(
            SQL(
                """UPDATE stock_ledger_threshold threshold
                      SET state = decided.state, is_due = FALSE,
                          state_date = CASE WHEN is_changed THEN now() AT TIME ZONE 'UTC'
                                            ELSE state_date END
                     FROM UNNEST(%s::int[], %s::text[], %s::boolean[])
                          AS decided (id, state, is_changed)
                    WHERE threshold.id = decided.id""",
                to_array(last),
                [turn["state"] for turn in last.values()],
                [threshold_id in changed for threshold_id in last],
            )
        )
        self.invalidate_model(list(DECIDED))

    @api.model
    def _reconsider(self):
        """Have all thresholds decided anew: the rollups were made again."""
        self.env.cr.execute(
            SQL("UPDATE stock_ledger_threshold SET is_due = TRUE WHERE active AND NOT is_due")
        )
        self.invalidate_model(["is_due"])

    # --- publishing

    @api.model
    def _publish(self, turns):
        """Enter each crossing in the ledger, in order."""
        vals_list = [
            self._prepare_entry_vals(turn, event_type)
            for turn in turns
            if (event_type := self._get_event_type(turn["old_state"], turn["state"]))
        ]
        self.env["stock.ledger.entry"]._append(vals_list)

    @api.model
    def _get_event_type(self, old_state, state):
        """Return the event type of a crossing, or None.

        :param old_state: None for a threshold that nothing was decided about yet
        """
        return EVENT_TYPES_BY_TURN.get((old_state or "ok", state))

    @api.model
    def _prepare_entry_vals(self, turn, event_type):
        warehouse = self.env["stock.warehouse"].browse(turn["warehouse_id"])
        figures = [f"{float(turn[name])}" for name in ("available", "low_at", "out_at")]
        return {
            "product_id": turn["product_id"],
            "location_id": warehouse.lot_stock_id.id,
            "lot_id": None,
            "package_id": None,
            "owner_id": None,
            "company_id": warehouse.company_id.id,
            "operating_company_id": warehouse.company_id.id,
            "warehouse_id": warehouse.id,
            "event_type": event_type,
            "quantity": 0,
            "reserved_quantity": 0,
            "effective_date": fields.Datetime.now(),
            "move_id": None,
            "move_line_id": None,
            "picking_id": None,
            "reference": self.env._("Threshold %s", turn["id"]),
            # For programs: the same in all languages.
            "origin": "{} available {} low_at {} out_at {}".format(turn["state"], *figures),
            "user_id": self.env.uid,
            "corrects_entry_id": None,
        }
