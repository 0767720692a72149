from psycopg2 import errors

from odoo import api, models
from odoo.exceptions import UserError

from ..takings import collecting_takings
from ..waiting import StockLine
from .stock_quant import KEY_FIELDS
from .stock_quant_locking import REPLAYED


class StockQuant(models.Model):
    """Stock below zero is refused where the warehouse says so."""

    _inherit = "stock.quant"

    @api.model
    def _update_available_quantity(
        self,
        product_id,
        location_id,
        quantity=False,
        reserved_quantity=False,
        lot_id=None,
        package_id=None,
        owner_id=None,
        in_date=None,
    ):
        def update():
            return super(StockQuant, self)._update_available_quantity(
                product_id,
                location_id,
                quantity=quantity,
                reserved_quantity=reserved_quantity,
                lot_id=lot_id,
                package_id=package_id,
                owner_id=owner_id,
                in_date=in_date,
            )

        if not quantity or not self._refuses_negative(location_id):
            return update()
        # Core takes a lot's stock from what has no number, where the lot has no row.
        keys = [
            (product_id, location_id, lot, package_id, owner_id)
            for lot in ([lot_id, None] if lot_id else [None])
        ]
        with collecting_takings(self._check_takings) as takings:
            if quantity < 0:
                for key in keys:
                    self._get_quants_of_key(*key)._lock_to_take()
            before = [self._get_on_hand(*key) for key in keys]
            result = update()
            for key, on_hand in zip(keys, before, strict=True):
                record_ids = tuple(record.id if record else None for record in key)
                takings.add(record_ids, self._get_on_hand(*key) - on_hand)
            return result

    @api.model
    def _refuses_negative(self, location):
        return (
            location.usage == "internal"
            and location.warehouse_id.id in self.env["stock.warehouse"]._get_refusing_ids()
        )

    @api.model
    def _get_quants_of_key(self, product, location, lot, package, owner):
        """Return the quants of one stock key; core's gathering adds those without lot."""
        quants = self.sudo()._gather(
            product, location, lot_id=lot, package_id=package, owner_id=owner, strict=True
        )
        return quants.filtered(lambda quant: quant.lot_id == (lot or quant.lot_id.browse()))

    @api.model
    def _get_on_hand(self, *key):
        return sum(self._get_quants_of_key(*key).mapped("quantity"))

    def _lock_to_take(self):
        """Lock these quants, so that their sum cannot become negative unnoticed.

        In a transaction that has written, this may wait, and may make Odoo replay the
        request when the quants have changed: there is no other way to be sure.

        :raises UserError: when somebody else holds them for too long
        """
        if self._claim():
            return
        try:
            with self.env.cr.savepoint(flush=False):
                StockLine(self.env.cr).limit(self._get_lock_timeout_seconds())
                self._execute_lock(self._query_lock_rows())
        except errors.LockNotAvailable as error:
            holder = self._get_holder(self._get_lock_numbers())
            raise UserError(
                self.env._(
                    "%(product)s at %(location)s is busy: held by %(holder)s. Try again when that "
                    "operation has ended.",
                    product=self.product_id.display_name,
                    location=self.location_id.display_name,
                    holder=holder.get_name(self.env) if holder else self.env._("another operation"),
                )
            ) from error
        except REPLAYED:
            self._note_replay(self.product_id.id, self.location_id.id)
            raise

    @api.model
    def _check_takings(self, takings):
        """Refuse an operation that leaves less than nothing of a stock key that it took from.

        :param Takings takings: what the operation took and added
        :raises UserError: naming what is missing, and where
        """
        messages = []
        for key, change in takings.changes.items():
            product, location, lot, package, owner = (
                self.env[self._fields[name].comodel_name].browse(record_id or [])
                for name, record_id in zip(KEY_FIELDS, key, strict=True)
            )
            if product.uom_id.compare(change, 0) >= 0:
                continue
            quants = self._get_quants_of_key(product, location, lot, package, owner)
            left = sum(quants.mapped("quantity"))
            if product.uom_id.compare(left, 0) < 0:
                of_lot = self.env._(" (lot %s)", lot.name) if lot else ""
                messages.append(
                    self.env._(
                        "%(product)s%(lot)s at %(location)s: %(on_hand)g %(unit)s on hand, "
                        "%(wanted)g wanted.",
                        product=product.display_name,
                        lot=of_lot,
                        location=location.display_name,
                        on_hand=left - change,
                        unit=product.uom_id.name,
                        wanted=-change,
                    )
                )
        if messages:
            raise UserError(
                "\n".join(
                    [
                        self.env._("There is not enough on hand, and the warehouse refuses more:"),
                        *messages,
                        self.env._("Take less, or correct the stock by a count or a receipt."),
                    ]
                )
            )
