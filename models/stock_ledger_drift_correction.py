import logging
from decimal import Decimal

from odoo import api, fields, models
from odoo.exceptions import UserError

from .stock_ledger_reconciliation import Scope

_logger = logging.getLogger(__name__)

WAYS_BY_KIND = {
    "on_hand": ("ledger", "quants"),
    "reserved": ("lines", "ledger"),
    "reservation": ("lines",),
    "rollup": ("rollup",),
    "unbalanced": ("ledger",),
    "event": (),
}


class StockLedgerDrift(models.Model):
    """Putting a drift right: by entries, adjustments and reservations, never by overwriting."""

    _inherit = "stock.ledger.drift"

    def _correct(self, way, reason):
        """Correct the drifts, all of them or none.

        :param str way: one of WAYS
        :param str reason: why, for who audits it
        :raises UserError: when a drift cannot be corrected so, has changed, or its stock is busy
        """
        quants = self.env["stock.quant"]
        quants._decide(lambda: self.exists()._correct_claimed(way, reason))

    def _correct_claimed(self, way, reason):
        self._check_correctable(way)
        self.lock_for_update()
        self.env.flush_all()
        self.env["stock.ledger.entry"]._flush_buffer()
        if way == "rollup":
            self.env["stock.ledger.rollup"]._rebuild()
            every = self.search([("state", "=", "open"), ("kind", "=", "rollup")])
            every._note_correction(way, reason)
            return
        if not self._get_quants()._claim():
            raise UserError(self.env._("Somebody else is using this stock. Try again in a moment."))
        self._check_unchanged()
        for drift in self:
            getattr(drift, f"_correct_by_{way}")(reason)
        self._check_corrected()

    def _check_correctable(self, way):
        """Refuse what is not open, or cannot be corrected so.

        :raises UserError: naming the first one
        """
        for drift in self:
            if drift.state != "open":
                raise UserError(self.env._("%s is not open any more.", drift.display_name))
            if way not in WAYS_BY_KIND[drift.kind]:
                labels = drift._fields["way"]._description_selection(self.env)
                raise UserError(
                    self.env._(
                        "%(drift)s cannot be corrected so. What can be done: %(ways)s.",
                        drift=drift.display_name,
                        ways=", ".join(
                            label for name, label in labels if name in WAYS_BY_KIND[drift.kind]
                        )
                        or self.env._("find out who has changed the table"),
                    )
                )

    def _get_quants(self):
        # sudo: like core, which changes quants for those who may move stock.
        quants = self.env["stock.quant"].sudo()
        return quants.union(
            *(quants.search(drift._get_key_domain()) for drift in self if drift.location_id)
        )

    def _check_unchanged(self):
        """Refuse a drift that is not what the run has found.

        Movements change both sides alike: the difference is what may not have changed.

        :raises UserError: naming the first one
        """
        for drift, difference in self._get_current_differences().items():
            if float(difference) != drift.difference:
                raise UserError(
                    self.env._(
                        "%(drift)s has changed: the difference is %(now)s now, and was %(then)s. "
                        "Reconcile again.",
                        drift=drift.display_name,
                        now=float(difference),
                        then=drift.difference,
                    )
                )

    def _check_corrected(self):
        self.env.flush_all()
        self.env["stock.ledger.entry"]._flush_buffer()
        for drift, difference in self._get_current_differences().items():
            if difference:
                raise UserError(
                    self.env._(
                        "%(drift)s could not be corrected so: %(rest)s would be left.",
                        drift=drift.display_name,
                        rest=float(difference),
                    )
                )

    def _get_current_differences(self):
        """Return what the differences are now, as Decimals, by drift."""
        runs = self.env["stock.ledger.reconciliation"]
        keys = [drift._get_key() for drift in self]
        figures = runs._get_figures(keys)
        lines = runs._get_reserved_by_lines(keys)
        movements = {
            (product_id, company_id): Decimal(quantity)
            for product_id, company_id, quantity in self.env.execute_query(
                runs._query_movements(Scope(product_ids=tuple(self.product_id.ids)))
            )
        }
        differences = {}
        for drift in self:
            key = drift._get_key()
            if drift.kind == "unbalanced":
                difference = movements.get((key.product_id, key.company_id), Decimal())
            elif drift.kind == "reservation":
                difference = drift._get_reserved_on_quants() - lines[key]
            else:
                ledger, quants, _balance = figures.get(key, {}).get(drift.kind, (0, 0, 0))
                difference = Decimal(quants - ledger)
            differences[drift] = difference
        return differences

    def _get_reserved_on_quants(self):
        reserved = self._get_quants().mapped("reserved_quantity")
        return sum((Decimal(repr(quantity)) for quantity in reserved), Decimal())

    # --- the ledger follows the quants

    def _correct_by_ledger(self, reason):
        difference = self._get_current_differences()[self]
        if self.kind == "unbalanced":
            entry_ids = self._balance_movements(reason)
        elif self.kind == "on_hand":
            entry_ids = self._append_correction(reason, quantity=difference)
        else:
            entry_ids = self._append_correction(reason, reserved_quantity=difference)
        self._note_correction("ledger", reason, correction_entry_id=entry_ids[0])

    def _append_correction(self, reason, **vals):
        return self.env["stock.ledger.entry"]._append(
            [self._prepare_entry_vals(reason, **self._get_suspect_vals(vals), **vals)]
        )

    def _prepare_entry_vals(self, origin, **vals):
        return {
            **self._get_key()._asdict(),
            "operating_company_id": self.company_id.id or self.env.company.id,
            "warehouse_id": self.location_id.warehouse_id.id or None,
            "event_type": "CORRECTION",
            "quantity": 0,
            "reserved_quantity": 0,
            "effective_date": fields.Datetime.now(),
            "move_id": None,
            "move_line_id": None,
            "picking_id": None,
            "reference": self.display_name,
            "origin": origin,
            "user_id": self.env.uid,
            "corrects_entry_id": None,
            **vals,
        }

    def _get_suspect_vals(self, vals):
        """Return what makes the correction a side of the movement that misses it."""
        if not self.suspect_move_id or "quantity" not in vals:
            return {}
        runs = self.env["stock.ledger.reconciliation"]
        for suspect in runs._get_unbalanced_moves(self.product_id.ids):
            if (suspect["move_id"], suspect["quantity"]) == (
                self.suspect_move_id.id,
                -vals["quantity"],
            ):
                return self._prepare_movement_vals(suspect)
        return {}

    def _prepare_movement_vals(self, suspect):
        # sudo: the other side may be of another company.
        entry = self.env["stock.ledger.entry"].sudo().browse(suspect["entry_id"])
        return {
            "move_id": suspect["move_id"],
            "operating_company_id": suspect["operating_company_id"],
            "effective_date": entry.effective_date,
            "corrects_entry_id": entry.id,
        }

    def _balance_movements(self, reason):
        """Move what movements have too much or too little to corrections, where it stays.

        :return: ids of the new entries
        :raises UserError: when the stock itself does not agree
        """
        runs = self.env["stock.ledger.reconciliation"]
        figures = runs._get_figures([self._get_key()])
        if any(row["on_hand"][0] != row["on_hand"][1] for row in figures.values()):
            raise UserError(
                self.env._(
                    "%s: correct the on hand of this product first, which may be all.",
                    self.display_name,
                )
            )
        vals_list = []
        for suspect in runs._get_unbalanced_moves(self.product_id.ids):
            if suspect["operating_company_id"] != self._get_key().company_id:
                continue
            entry = self.env["stock.ledger.entry"].sudo().browse(suspect["entry_id"])
            place = {name: entry[name].id or None for name in self._get_key()._fields}
            place["warehouse_id"] = entry.warehouse_id.id or None
            movement = {**place, **self._prepare_movement_vals(suspect)}
            quantity = suspect["quantity"]
            vals_list += [
                self._prepare_entry_vals(reason, **movement, quantity=-quantity),
                self._prepare_entry_vals(
                    reason, **{**movement, "move_id": None}, quantity=quantity
                ),
            ]
        return self.env["stock.ledger.entry"]._append(vals_list)

    # --- the quants follow the ledger

    def _correct_by_quants(self, reason):
        """Note in the ledger what the quants hold, and adjust that to what the ledger had.

        The adjustment is Odoo's own, with its move and its ADJUSTMENT entry, which takes
        the correction off again: what changed past the ledger, and what was done about it,
        are both there.
        """
        key = self._get_key()
        quants = self._get_quants()
        if self.location_id.usage not in ("internal", "transit"):
            raise UserError(
                self.env._(
                    "%s: there is nothing to count at this location. Let the ledger follow.",
                    self.display_name,
                )
            )
        if any(quants.mapped("inventory_quantity_set")):
            raise UserError(
                self.env._(
                    "%s: somebody has entered a count that is not applied yet. Apply or clear it.",
                    self.display_name,
                )
            )
        ledger, held, _balance = self.env["stock.ledger.reconciliation"]._get_figures([key])[key][
            "on_hand"
        ]
        entry_ids = self._append_correction(reason, quantity=held - ledger)
        if len(quants) > 1:
            quants._merge_quants()
        move = self._adjust(float(ledger), reason)
        self._note_correction(
            "quants", reason, correction_entry_id=entry_ids[0], correction_move_id=move.id
        )

    def _adjust(self, quantity, reason):
        """Count the stock as this quantity.

        :return: the stock.move of the adjustment
        """
        vals = {name: value for name, value in self._get_key()._asdict().items() if value}
        vals.pop("company_id", None)
        quants = self.env["stock.quant"].with_company(self.company_id)
        quants = quants.with_context(
            inventory_mode=True, inventory_name=f"{self.display_name}: {reason}"
        )
        quants.create({**vals, "inventory_quantity": quantity}).action_apply_inventory()
        return self.env["stock.move"].search(
            [("product_id", "=", self.product_id.id), ("is_inventory", "=", True)],
            order="id desc",
            limit=1,
        )

    # --- reservations follow the move lines

    def _correct_by_lines(self, reason):
        key = self._get_key()
        runs = self.env["stock.ledger.reconciliation"]
        ledger, quants, _balance = (
            runs._get_figures([key]).get(key, {}).get("reserved", (Decimal(), Decimal(), 0))
        )
        entry_ids = [False]
        if ledger != quants:
            entry_ids = self._append_correction(reason, reserved_quantity=quants - ledger)
        rows = self._get_quants()
        if len(rows) > 1:
            rows._merge_quants()
        missing = runs._get_reserved_by_lines([key])[key] - self._get_reserved_on_quants()
        if missing:
            # sudo: as reserving does for whoever may move stock.
            self.env["stock.quant"].sudo()._update_reserved_quantity(
                self.product_id,
                self.location_id,
                float(missing),
                lot_id=self.lot_id,
                package_id=self.package_id,
                owner_id=self.owner_id,
            )
        same = self.search(
            [
                ("state", "=", "open"),
                ("kind", "in", ("reserved", "reservation")),
                *self._get_key_domain(),
            ]
        )
        same._note_correction("lines", reason, correction_entry_id=entry_ids[0])

    # --- what was done

    def _note_correction(self, way, reason, **vals):
        # sudo: drifts are written by runs and corrections only.
        self.sudo().write(
            {
                "state": "corrected",
                "way": way,
                "reason": reason,
                "corrected_date": fields.Datetime.now(),
                "corrected_uid": self.env.uid,
                **vals,
            }
        )
        self._announce_cleared()

    # --- policies

    @api.model
    def _get_policy(self, kind):
        """Return the way in which drifts of a kind are corrected by themselves, if any."""
        parameters = self.env["ir.config_parameter"].sudo()
        way = parameters.get_param(f"stock_event_ledger.drift_policy_{kind}")
        return way if way in WAYS_BY_KIND[kind] else False

    @api.model
    def _get_automatic(self):
        """Return the open drifts that a policy is for, rollups last."""
        kinds = [kind for kind in WAYS_BY_KIND if self._get_policy(kind)]
        drifts = self.search([("state", "=", "open"), ("kind", "in", kinds)])
        return drifts.sorted(lambda drift: (drift.kind == "rollup", drift.id))

    def _correct_by_policy(self, commit):
        """Correct each drift as the policy of its kind says, a transaction each.

        :param commit: function that commits
        """
        for drift in self:
            if drift.state != "open":
                continue
            try:
                with self.env.cr.savepoint():
                    drift._correct(self._get_policy(drift.kind), self.env._("By policy"))
            except UserError as error:
                _logger.warning("%s is left as it is: %s", drift.display_name, error)
            commit()
