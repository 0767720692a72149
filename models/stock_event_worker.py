from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import SQL

# A worker that has not been heard of for so long is taken for gone.
GONE_SECONDS = 60
# Rows of workers that nobody misses any more.
FORGOTTEN_DAYS = 7


class StockEventWorker(models.Model):
    """A process of ``odoo stock_event_worker``, as it was last heard of.

    A worker that is asked to end deletes its row; one that is killed, or hangs, leaves
    it behind, and the row's age tells.
    """

    _name = "stock.event.worker"
    _description = "Stock Event Worker"
    _order = "is_leader desc, started_date"
    _log_access = False

    name = fields.Char(required=True, readonly=True, help="Host and process")
    is_leader = fields.Boolean(
        "Leader", readonly=True, help="The leader works; the others wait to take over."
    )
    started_date = fields.Datetime("Started", required=True, readonly=True)
    heartbeat_date = fields.Datetime("Last Heartbeat", required=True, readonly=True)
    is_gone = fields.Boolean(
        "Gone", compute="_compute_is_gone", help="Not heard of for more than a minute"
    )

    _unique_name = models.UniqueIndex("(name)")

    @api.depends("heartbeat_date")
    def _compute_is_gone(self):
        limit = self._get_gone_date()
        for worker in self:
            worker.is_gone = worker.heartbeat_date < limit

    @api.model
    def _get_gone_date(self):
        return fields.Datetime.now() - timedelta(seconds=GONE_SECONDS)

    @api.model
    def _beat(self, name, is_leader):
        """Note that a worker is alive.

        :param str name: host and process
        :param bool is_leader: whether it works, or waits to take over
        """
        self.env.cr.execute(
            SQL(
                """INSERT INTO stock_event_worker AS w (
                       name, is_leader, started_date, heartbeat_date)
                   VALUES (%s, %s, now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC')
                       ON CONFLICT (name) DO UPDATE
                      SET is_leader = EXCLUDED.is_leader,
                          heartbeat_date = EXCLUDED.heartbeat_date""",
                name,
                is_leader,
            )
        )

    @api.model
    def _forget(self, name):
        """Delete a worker that ends as it was asked to, and those long gone."""
        self.env.cr.execute(
            SQL(
                """DELETE FROM stock_event_worker
                    WHERE name = %s
                       OR heartbeat_date < now() AT TIME ZONE 'UTC' - %s * INTERVAL '1 day'""",
                name,
                FORGOTTEN_DAYS,
            )
        )

    @api.model
    def _is_missed(self):
        """Return whether there was a worker that has not ended in order, and no other is there."""
        is_alive = [("heartbeat_date", ">=", self._get_gone_date())]
        return bool(self.search_count([], limit=1)) and not self.search_count(is_alive, limit=1)

    def action_forget(self):
        """Delete workers that are gone for good, so that nobody misses them."""
        self.check_access("unlink")
        self.filtered("is_gone").unlink()
