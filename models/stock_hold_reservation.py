import logging

from psycopg2 import OperationalError

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError
from odoo.tools import SQL

from ..exceptions import CallBusy
from ..locking import reserving

_logger = logging.getLogger(__name__)

# How long to wait for somebody who is changing the same hold.
LOCK_TIMEOUT = "10s"
EXPIRY_BATCH = 100
# What is not about the goods, and may be changed while they are held.
CHANGEABLE_FIELDS = {"expiry_date", "partner_id", "reference", "origin"}


class HoldShort(UserError):
    """There is less than was to be held; ``available`` says how much there is."""

    def __init__(self, message, available):
        super().__init__(message)
        self.available = available


class HoldEnded(UserError):
    """The hold has been converted or released, or has expired."""


class StockHold(models.Model):
    """How holds take goods, and give them back."""

    _inherit = "stock.hold"

    # --- made, and so reserved ---

    @api.model_create_multi
    def create(self, vals_list):
        """Hold goods: all that is asked for, now, or nothing.

        :raises UserError: when they are not available, saying what is
        """

        def create_reserved():
            holds = self.browse()
            for vals in vals_list:
                hold = super(StockHold, self).create([self._prepare_claimed_vals(vals)])
                hold.sudo()._reserve(hold.quantity)
                holds |= hold
            return holds

        return self.env["stock.quant"]._decide(create_reserved)

    @api.model
    def _prepare_claimed_vals(self, vals):
        """Return the values of a hold whose goods are there, and are locked now.

        It writes nothing: what is refused leaves nothing behind.

        :raises HoldShort: when the goods are not available
        :raises UserError: when the hold makes no sense, or others decide on the goods
        """
        self.check_access("create")
        vals = self._add_missing_default_values(vals)
        # One's own, and not at its end yet, whatever the caller says.
        vals.update(user_id=self.env.uid, outcome=False, closed_date=False, picking_id=False)
        # sudo: those who may hold goods need no rights on warehouses, quants and moves.
        wanted = self.new(vals).sudo()
        wanted._check_makes_sense()
        wanted._claim_stock(wanted.quantity)
        name = self.env["ir.sequence"].sudo().next_by_code("stock.hold")
        return {**vals, "name": name or "/"}

    def _check_makes_sense(self):
        product = self.product_id
        if self.warehouse_id.company_id not in self.env.companies:
            raise AccessError(self.env._("You may not hold goods in this company's warehouses."))
        self._check_expiry(self.expiry_date)
        if not product.is_storable:
            raise UserError(
                self.env._(
                    "The stock of %s is not tracked: there is nothing to hold.", product.name
                )
            )
        if product.uom_id.compare(self.quantity, 0) <= 0:
            raise UserError(self.env._("The quantity of a hold must be more than zero."))
        if product.tracking == "serial" and self.quantity % 1:
            raise UserError(
                self.env._("%s has serial numbers: hold a whole number of them.", product.name)
            )
        if self.lot_id and self.lot_id.product_id != product:
            raise UserError(
                self.env._(
                    "%(lot)s is not a lot or serial number of %(product)s.",
                    lot=self.lot_id.name,
                    product=product.name,
                )
            )

    def _claim_stock(self, quantity):
        """Lock the stock that the hold is going to reserve.

        :param float quantity: how much is wanted, in the product's unit of measure
        :raises HoldShort: when there is less
        :raises CallBusy: when others are deciding on it, and this may not wait for them
        """
        product, lot = self.product_id, self.lot_id
        place = (product, self.warehouse_id.lot_stock_id)
        quants = self.env["stock.quant"]
        with reserving() as reservation:
            chosen = quants._get_reserve_quantity(*place, quantity, lot_id=lot)
        if reservation.contended:
            raise CallBusy(
                self.env._("Others are deciding on %s at this moment. Try again.", product.name)
            )
        # Besides a lot's stock, Odoo offers stock that has no lot.
        found = sum(amount for quant, amount in chosen if not lot or quant.lot_id == lot)
        if product.uom_id.compare(found, quantity) >= 0:
            return
        available = found if lot else max(quants._get_available_quantity(*place), 0)
        raise HoldShort(
            self.env._(
                "%(wanted)s %(unit)s of %(product)s cannot be held in %(warehouse)s: "
                "%(available)s are available.",
                wanted=quantity,
                unit=product.uom_id.name,
                product=lot and f"{product.display_name} {lot.name}" or product.display_name,
                warehouse=self.warehouse_id.name,
                available=available,
            ),
            available,
        )

    def _reserve(self, quantity):
        """Reserve stock that was claimed."""
        move = self.move_ids
        if not move:
            move = move.create(self._prepare_move_vals())._action_confirm(merge=False)
        move._reserve_for_hold(quantity)
        if move.state != "assigned":
            # As another addon may have it, by a rule of its own.
            raise UserError(
                self.env._("%s could not be reserved in full.", self.product_id.display_name)
            )

    def _prepare_move_vals(self):
        picking_type = self.warehouse_id.out_type_id
        return {
            "hold_id": self.id,
            "product_id": self.product_id.id,
            "product_uom": self.product_id.uom_id.id,
            "product_uom_qty": self.quantity,
            "location_id": self.warehouse_id.lot_stock_id.id,
            "location_dest_id": self._get_destination(self.partner_id).id,
            "picking_type_id": picking_type.id,
            "company_id": self.company_id.id,
            "partner_id": self.partner_id.id,
            "origin": self.origin,
        }

    def _get_destination(self, partner):
        """Return where goods for a contact go to."""
        customers, _suppliers = self.env["stock.warehouse"]._get_partner_locations()
        return partner.with_company(self.company_id).property_stock_customer or customers

    # --- changed ---

    def write(self, vals):
        """Change whom holds are for, or until when.

        :raises HoldEnded: when a hold is at its end
        :raises UserError: when something else is to be changed, or the time is out of bounds
        """
        if not self.env.su:
            self.check_access("write")
            if vals.keys() - CHANGEABLE_FIELDS:
                raise UserError(
                    self.env._("What is held cannot be changed: release it, and hold other goods.")
                )
            # sudo: locks no more than what may be written.
            self.sudo()._lock()
            self._check_usable()
            if "expiry_date" in vals:
                self._check_expiry(fields.Datetime.to_datetime(vals["expiry_date"]))
        return super().write(vals)

    def _lock(self):
        """Be the only one to change these holds.

        Whoever changed them meanwhile makes Odoo begin again, and see what has become of
        them: so a hold is not converted and expired at once.
        """
        cr = self.env.cr
        cr.execute(SQL("SELECT set_config('lock_timeout', %s, true)", LOCK_TIMEOUT))
        self.env.execute_query(
            SQL(
                "SELECT id FROM stock_hold WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE",
                self.ids,
            )
        )
        cr.execute(SQL("SET LOCAL lock_timeout TO DEFAULT"))

    def _check_usable(self):
        """Refuse holds that are at their end, whether or not that was noted already.

        :raises HoldEnded: saying what has become of the first one
        """
        now = fields.Datetime.now()
        for hold in self:
            if hold.state == "converted":
                raise HoldEnded(self._get_converted_message(hold))
            if hold.state == "released":
                message = self.env._("%s was released. Hold the goods again.", hold.name)
                raise HoldEnded(message)
            if hold.state == "expired" or hold.expiry_date <= now:
                raise HoldEnded(self.env._("%s has expired. Hold the goods again.", hold.name))

    @api.model
    def _get_converted_message(self, hold):
        return self.env._(
            "The goods of %(hold)s went into the transfer %(transfer)s: change that.",
            hold=hold.name,
            transfer=hold.picking_id.exists().name or "",
        )

    def action_release(self):
        """Give the goods back to everybody.

        What was released or has expired already stays as it is.

        :raises HoldEnded: when one was converted
        """
        self.check_access("read")
        # sudo: who may see a hold may end it, without rights on moves.
        self.sudo()._release()

    def _release(self):
        self._lock()
        for hold in self:
            if hold.state == "converted":
                raise HoldEnded(self._get_converted_message(hold))
        self.filtered(lambda hold: not hold.outcome)._close("released")

    def _extend(self, expiry_date):
        """Hold the goods until another time.

        :param datetime expiry_date: in UTC, without a time zone
        :raises HoldEnded: when a hold is at its end
        :raises UserError: when the time is out of bounds
        """
        self.check_access("read")
        # sudo: who may see a hold may extend it, and change nothing else.
        holds = self.sudo()
        holds._lock()
        holds._check_usable()
        holds._check_expiry(expiry_date)
        holds.expiry_date = expiry_date

    def _close(self, outcome):
        self.write({"outcome": outcome, "closed_date": fields.Datetime.now()})
        moves = self.move_ids.filtered(lambda move: move.state not in ("done", "cancel"))
        moves._action_cancel()

    # --- expired ---

    @api.model
    def _expire(self, limit=EXPIRY_BATCH):
        """Give back the goods of holds whose time is over.

        Those that somebody is changing are left for the next time.

        :param int limit: how many at most
        :return: how many have expired
        """
        self.flush_model(["outcome", "expiry_date"])
        rows = self.env.execute_query(
            SQL(
                """SELECT id FROM stock_hold
                    WHERE outcome IS NULL AND expiry_date <= %s
                    ORDER BY expiry_date LIMIT %s
                      FOR NO KEY UPDATE SKIP LOCKED""",
                fields.Datetime.now(),
                limit,
            )
        )
        # sudo: time passes for everybody's holds.
        holds = self.sudo().browse([hold_id for [hold_id] in rows])
        try:
            with self.env.cr.savepoint():
                holds._close("expired")
            return len(holds)
        except OperationalError:
            raise
        except Exception:
            # One hold must not keep the others from expiring.
            return sum(hold._expire_alone() for hold in holds)

    def _expire_alone(self):
        try:
            with self.env.cr.savepoint():
                self._close("expired")
            return 1
        except OperationalError:
            raise
        except Exception:
            _logger.exception("Expiring %s failed", self.name)
            return 0

    @api.model
    def _cron_expire(self):
        """Let holds expire where no worker does it."""
        cron = self.env["ir.cron"]
        while expired := self._expire():
            if not cron._commit_progress(expired, remaining=int(expired == EXPIRY_BATCH)):
                break
