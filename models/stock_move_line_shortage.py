import logging

from psycopg2 import OperationalError

from odoo import SUPERUSER_ID, api, fields, models

from ..locking import get_unsure_keys, restartable
from ..waiting import StockBusy
from .stock_quant import KEY_FIELDS

_logger = logging.getLogger(__name__)

SHORTAGE_WAIT_SECONDS = 0.1


class StockMoveLine(models.Model):
    """Done lines that took more than was reserved for them.

    Odoo then takes the reservations of others, as far as the stock is short. Where
    somebody else is deciding on it, nobody can tell yet, and it is done after commit.
    """

    _inherit = "stock.move.line"

    shortage_queued = fields.Boolean(readonly=True, copy=False)

    _shortage_queued_idx = models.Index("(id) WHERE shortage_queued")

    def _action_done(self):
        result = super()._action_done()
        unsure = get_unsure_keys(self.env.cr)
        if unsure:
            lines = self.exists()
            lines.filtered(lambda line: line._get_source_key() in unsure)._queue_shortage()
        return result

    def _get_source_key(self):
        return tuple(self[name].id or None for name in KEY_FIELDS)

    def _free_reservation(
        self,
        product_id,
        location_id,
        quantity,
        lot_id=None,
        package_id=None,
        owner_id=None,
        ml_ids_to_ignore=None,
    ):
        key = {"lot_id": lot_id, "package_id": package_id, "owner_id": owner_id}
        # At suppliers and the like nothing is reserved, and stock is below zero always.
        if not self.move_id._should_bypass_reservation(location_id):
            # sudo: like core, for whoever may move stock without rights on quants.
            quants = self.env["stock.quant"].sudo()
            if not quants._gather(product_id, location_id, strict=True, **key)._claim():
                self._queue_shortage()
                return None
        # Core turns its cache of quants off by None, which it cannot insert a quant with: it
        # does where no row of the stock key holds all of the reservation that is given up.
        context = dict(self.env.context)
        if context.get("quants_cache", False) is None:
            del context["quants_cache"]
        line = self.with_context(context)  # pylint: disable=context-overridden
        return super(StockMoveLine, line)._free_reservation(
            product_id, location_id, quantity, ml_ids_to_ignore=ml_ids_to_ignore, **key
        )

    def _queue_shortage(self):
        """Find out after commit whether others' reservations are to be taken."""
        if self:
            self.shortage_queued = True
            self.env["stock.move"]._wake_reservation_queue()

    @api.model
    def _process_shortages(self, limit=100):
        """Settle queued shortages, each in a transaction of its own.

        :param int limit: how many lines at most
        :return: how many were settled; others are tried again by the next call
        """
        lines = self.search([("shortage_queued", "=", True)], limit=limit, order="id")
        return sum(self._settle_shortage(line_id) for line_id in lines.ids)

    @api.model
    def _settle_shortage(self, line_id):
        with self.pool.cursor() as cr, restartable():
            line = self.with_env(self.env(cr=cr)).browse(line_id)
            try:
                settled, _wait = line.env["stock.quant"]._decide_in_turn(
                    line._free_shortage, SHORTAGE_WAIT_SECONDS
                )
                cr.flush()
                return settled
            except (StockBusy, OperationalError):
                cr.rollback()
                return False
            except Exception:
                cr.rollback()
                _logger.warning("Settling a shortage failed: line %s", line_id, exc_info=True)
                line.shortage_queued = False
                return True

    def _free_shortage(self):
        """Take others' reservations as far as the stock that this line took from is short.

        sudo: what is finished here began with the user's right to validate the line.

        :return: whether that was still to be done
        """
        line = self.exists().filtered("shortage_queued")
        line = line.with_env(self.env(user=line.write_uid.id or SUPERUSER_ID, su=True))
        if not line:
            return False
        line.shortage_queued = False
        key = {
            "lot_id": line.lot_id,
            "package_id": line.package_id,
            "owner_id": line.owner_id,
        }
        quants = self.env["stock.quant"]._gather(
            line.product_id, line.location_id, strict=True, **key
        )
        quants._claim()
        available = quants._get_available_quantity(
            line.product_id, line.location_id, strict=True, allow_negative=True, **key
        )
        if line.product_id.uom_id.compare(available, 0) < 0:
            line._free_reservation(line.product_id, line.location_id, -available, **key)
        return True
