from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.fields import Domain

from .. import integration_hold  # noqa: F401 (adds its operations)
from ..exceptions import CallBusy
from .stock_hold_reservation import HoldEnded, HoldShort


class StockIntegration(models.AbstractModel):
    """Calls that hold goods, and what becomes of them."""

    _inherit = "stock.integration"

    @api.model
    def reserve(self, idempotency_key=None, lines=None, **options):
        """Hold goods for somebody: nobody else can take them until the hold expires.

        :param str idempotency_key: the caller's name of this call: called again with the same
            key and body, it does nothing and returns the first result
        :param list lines: dictionaries: ``sku``, ``barcode`` or ``product_id``; ``warehouse``
            (short name) or ``warehouse_id``; ``quantity`` in the product's unit of measure;
            ``lot``, a name, if it has to be that one
        :param options: ``expires_in_seconds`` or ``expires_at`` (ISO 8601), else the default
            of the settings; ``reference``, by which the holds can be named; ``partner_id``;
            ``origin``, the source document
        :return: dictionary: ``status`` (done, partial or refused), ``lines`` with what became
            of each and its ``holds``, ``transfers`` (none). A line is held in full or refused;
            its error tells how much is ``available``
        :raises InvalidInput: when the body is wrong
        :raises IdempotencyConflict: when the key came with another body
        :raises CallBusy: when others held the stock, or the key, for too long
        :raises AccessError: unless the user is an Integration User or an inventory user
        """
        return self._execute("reserve", {**options, "lines": lines}, idempotency_key)

    @api.model
    def release(self, idempotency_key=None, holds=None, **options):
        """Give held goods back. What is no longer held stays as it is.

        :param str idempotency_key: the caller's name of this call, as in ``reserve``
        :param list holds: dictionaries: ``hold_id``, or ``reference`` for all that is still
            held under it
        :return: dictionary: as of ``reserve``; holds that were converted are refused
        :raises InvalidInput, IdempotencyConflict, CallBusy, AccessError: as ``reserve``
        """
        return self._execute("release", {**options, "holds": holds}, idempotency_key)

    @api.model
    def extend(self, idempotency_key=None, holds=None, **options):
        """Let holds expire at another time, later or earlier.

        :param str idempotency_key: the caller's name of this call, as in ``reserve``
        :param list holds: as in ``release``
        :param options: ``expires_in_seconds`` (from now) or ``expires_at`` (ISO 8601), else
            the default of the settings, from now
        :return: dictionary: as of ``reserve``; what has expired is refused
        :raises InvalidInput, IdempotencyConflict, CallBusy, AccessError: as ``reserve``
        """
        return self._execute("extend", {**options, "holds": holds}, idempotency_key)

    @api.model
    def convert(self, idempotency_key=None, holds=None, **options):
        """Put held goods into transfers, one for each warehouse, contact and source document.

        :param str idempotency_key: the caller's name of this call, as in ``reserve``
        :param list holds: as in ``release``
        :param options: ``partner_id``, who gets the goods; ``origin``, the source document;
            ``ship``, true when the goods leave stock at once
        :return: dictionary: as of ``reserve``, and the ``transfers``; what has expired, or is
            no longer reserved and not available, is refused
        :raises InvalidInput, IdempotencyConflict, CallBusy, AccessError: as ``reserve``
        """
        return self._execute("convert", {**options, "holds": holds}, idempotency_key)

    # --- what they do

    @api.model
    def _run_reserve(self, data, origin):
        vals = {
            "expiry_date": self._get_expiry(data),
            "partner_id": self._get_partner(data).id,
            "reference": data.reference,
            "origin": origin,
        }
        holds, errors = {}, {}
        for number, products in enumerate(self._find_products(data.lines)):
            line = data.lines[number]
            error = self._get_line_error(line, products, lot_needed=False)
            if not error:
                holds[number], error = self._hold_line(line, products, vals)
            if error:
                errors[number] = error
        return self._prepare_hold_result(len(data.lines), holds, errors)

    @api.model
    def _hold_line(self, line, product, vals):
        """Hold the goods of a line.

        :return: the hold, or none, and the error, or None
        """
        holds = self.env["stock.hold"]
        warehouse, error = self._find_hold_warehouse(line)
        if error:
            return holds, error
        lot = self.env["stock.lot"]
        if line.lot and not (lot := self._find_lot(product, line.lot)):
            return holds, self._get_unknown_lot_error()
        line_vals = {
            **vals,
            "product_id": product.id,
            "warehouse_id": warehouse.id,
            "lot_id": lot.id,
            "quantity": line.quantity,
        }
        return self._try_hold(lambda holds: holds.create([line_vals]), holds)

    @api.model
    def _run_release(self, data, origin):
        def release(holds):
            # sudo: the holds are the user's to see, and so to end.
            holds.sudo()._release()
            return holds

        return self._do_with_holds(data, release)

    @api.model
    def _run_extend(self, data, origin):
        expiry_date = self._get_expiry(data)

        def extend(holds):
            holds._extend(expiry_date)
            return holds

        return self._do_with_holds(data, extend)

    @api.model
    def _run_convert(self, data, origin):
        partner = self._get_partner(data)

        def prepare(holds):
            holds.sudo()._prepare_conversion()
            return holds

        found, errors = self._try_with_holds(data, prepare)
        # sudo: the holds are the user's to see, and so to convert, without rights on transfers.
        ready = [holds for number, holds in found.items() if number not in errors]
        holds = self.env["stock.hold"].union(*ready).sudo()
        pickings = holds._hand_over(partner, data.origin, data.ship)
        return self._prepare_hold_result(len(data.holds), found, errors, pickings)

    # --- what they name

    @api.model
    def _get_expiry(self, data):
        """Return when holds are to expire.

        :raises InvalidInput: when that is not allowed
        """
        holds = self.env["stock.hold"]
        if data.expires_at is None and data.expires_in_seconds is None:
            return holds._get_default_expiry()
        expiry_date, member = data.expires_at, "expires_at"
        if expiry_date is None:
            seconds = timedelta(seconds=data.expires_in_seconds)
            expiry_date, member = fields.Datetime.now() + seconds, "expires_in_seconds"
        expiry_date = expiry_date.replace(microsecond=0)
        try:
            holds._check_expiry(expiry_date)
        except UserError as error:
            self._raise_invalid([{"member": member, "message": str(error)}])
        return expiry_date

    @api.model
    def _get_partner(self, data):
        """Return the contact that a body names, or none.

        :raises InvalidInput: when there is none that the user may see
        """
        partners = self.env["res.partner"]
        if data.partner_id is None:
            return partners
        partner = partners.search([("id", "=", data.partner_id)])
        if not partner:
            message = self.env._("There is no such contact")
            self._raise_invalid([{"member": "partner_id", "message": message}])
        return partner

    @api.model
    def _find_hold_warehouse(self, line):
        """Return the warehouse that a line names, or none, and the error, or None."""
        domain = (
            Domain("code", "=", line.warehouse)
            if line.warehouse
            else Domain("id", "=", line.warehouse_id)
        )
        domain &= Domain("company_id", "in", self.env.companies.ids)
        warehouses = self.env["stock.warehouse"].search(domain, limit=2)
        if len(warehouses) == 1:
            return warehouses, None
        message = self.env._("There is no such warehouse.")
        if warehouses:
            message = self.env._("Several companies have such a warehouse: use its id.")
        return warehouses, self._prepare_error("unknown_warehouse", message)

    @api.model
    def _find_holds(self, line):
        """Return the holds that a line names, as far as the user may see them."""
        holds = self.env["stock.hold"]
        if line.hold_id:
            return holds.search([("id", "=", line.hold_id)])
        found = holds.search([("reference", "=", line.reference)], order="id")
        # A basket that was given up may have been filled again.
        return found.filtered(lambda hold: not hold.outcome) or found[-1:]

    # --- doing it

    @api.model
    def _do_with_holds(self, data, operate):
        found, errors = self._try_with_holds(data, operate)
        return self._prepare_hold_result(len(data.holds), found, errors)

    @api.model
    def _try_with_holds(self, data, operate):
        """Do something with the holds of each line.

        :param operate: function of holds
        :return: the holds and the errors, both by the line's number
        """
        found, errors = {}, {}
        for number, line in enumerate(data.holds):
            holds = self._find_holds(line)
            if not holds:
                message = self.env._("There is no such hold.")
                errors[number] = self._prepare_error("unknown_hold", message)
                continue
            found[number], error = self._try_hold(operate, holds)
            if error:
                errors[number] = error
        return found, errors

    @api.model
    def _try_hold(self, operate, holds):
        """Do something with holds.

        :return: the holds, and the error or None
        """
        try:
            with self.env.cr.savepoint():
                return operate(holds), None
        except CallBusy:
            raise
        except HoldShort as short:
            error = self._prepare_error("not_available", str(short))
            return holds, {**error, "available": short.available}
        except HoldEnded as ended:
            return holds, self._prepare_error("hold_ended", str(ended))
        except UserError as error:
            return holds, self._prepare_error("refused", str(error))

    @api.model
    def _prepare_hold_result(self, count, holds, errors, pickings=()):
        """Return the result of a call.

        :param int count: how many lines it had
        :param dict holds: by the line's number
        :param dict errors: by the line's number
        :param pickings: the transfers that it made
        """
        lines = []
        for number in range(count):
            line = {"line": number, "status": "refused" if number in errors else "done"}
            if number in errors:
                line["error"] = errors[number]
            if line_holds := holds.get(number):
                line["holds"] = [hold._prepare_result() for hold in line_holds]
            lines.append(line)
        status = "partial" if errors else "done"
        return {
            "status": "refused" if len(errors) == count else status,
            "lines": lines,
            "transfers": [
                {"id": picking.id, "name": picking.name, "state": picking.state}
                for picking in pickings
            ],
        }
