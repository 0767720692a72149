from odoo import fields, models
from odoo.tools import format_date, format_datetime, formatLang

# Locations that a sentence names; the stock report has all of them.
MOST_PLACES = 8


class StockMove(models.Model):
    """The words of ``explain_reservation``."""

    _inherit = "stock.move"

    # --- reasons ---

    def _get_unreserved_reasons(self, data):
        """Return the codes of why the move is not reserved, the most telling first.

        :param dict data: what ``_explain_reservation`` has found out
        """
        if self.state in ("done", "cancel", "draft"):
            return [{"cancel": "cancelled"}.get(self.state, self.state)]
        if self._should_bypass_reservation():
            return ["bypassed"]
        if not data["missing"]:
            return ["reserved"]
        return [*self._get_waiting_reasons(), *self._get_stock_reasons(data)]

    def _get_waiting_reasons(self):
        """Return the codes of why nobody has tried to reserve it, or not with success."""
        method = self.picking_type_id.reservation_method
        today = fields.Date.context_today(self)
        tests = {
            "picked": self.picked,
            "queued": self.reservation_queued_date,
            "failed": self.reservation_queue_error,
            "waiting": self._is_chained(),
            "manual": method == "manual",
            "by_date": method == "by_date"
            and self.reservation_date
            and self.reservation_date > today,
        }
        return [code for code, applies in tests.items() if applies]

    def _get_stock_reasons(self, data):
        compare = self.product_id.uom_id.compare
        tests = {
            "whole_packs": self._get_whole_pack() and compare(data["free"], 0) > 0,
            "free": compare(data["free"], data["missing"]) >= 0,
            "held": data["held"] and compare(data["free"], data["missing"]) < 0,
            "orphaned": data["orphaned"],
            "short": compare(data["on_hand"], data["wanted"]) < 0,
        }
        return [code for code, applies in tests.items() if applies]

    def _is_chained(self):
        """Tell whether the move takes only what other moves bring for it."""
        return bool(self.move_orig_ids) or self.procure_method == "make_to_order"

    def _get_whole_pack(self):
        """Return the packaging that Odoo reserves whole ones of only, or none."""
        is_whole = self.product_id.categ_id.packaging_reserve_method == "full"
        return self.packaging_uom_id if is_whole else self.packaging_uom_id.browse()

    # --- sentences ---

    def _get_reservation_sentences(self, data):
        """Return what there is to say, as a list of sentences in the user's language."""
        words = [self._say_demand(data)]
        sayings = {
            "done": self.env._("It is done: there is nothing to reserve any more."),
            "cancelled": self.env._("It is cancelled: there is nothing to reserve."),
            "draft": self.env._("Nothing is reserved before the transfer is marked as to do."),
            "bypassed": self.env._(
                "Nothing has to be reserved at %s.", self.location_id.display_name
            ),
            "reserved": self.env._("All of it is reserved."),
            "picked": self.env._("It is marked as picked: Odoo reserves nothing more for it."),
            "queued": self._say_queued(),
            "failed": self.env._(
                "The last try to reserve it failed: %s", self.reservation_queue_error or ""
            ),
            "waiting": self._say_waiting(data),
            "manual": self.env._(
                "%s reserves by hand only: when somebody checks the availability.",
                self.picking_type_id.display_name or "",
            ),
            "by_date": self.env._(
                "%(operation)s reserves it on %(date)s, not before.",
                operation=self.picking_type_id.display_name or "",
                date=format_date(self.env, self.reservation_date),
            ),
            "whole_packs": self.env._(
                "Only whole packagings are reserved: %s.", self._get_whole_pack().display_name or ""
            ),
        }
        words += [sayings[code] for code in data["reasons"] if code in sayings]
        if data["missing"]:
            words += self._say_stock(data) + self._say_holders(data) + self._say_outlook(data)
        return words

    def _say_quantity(self, quantity):
        digits = 0 if quantity == int(quantity) else None
        options = {"digits": 0} if digits == 0 else {"dp": "Product Unit"}
        return f"{formatLang(self.env, quantity, **options)} {self.product_id.uom_id.name}"

    def _say_demand(self, data):
        values = {
            "product": self.product_id.display_name,
            "wanted": self._say_quantity(data["wanted"]),
            "reserved": self._say_quantity(data["reserved"]),
            "missing": self._say_quantity(data["missing"]),
        }
        if not data["missing"]:
            return self.env._("%(product)s: %(wanted)s wanted.", **values)
        return self.env._(
            "%(product)s: %(wanted)s wanted, %(reserved)s reserved, %(missing)s missing.", **values
        )

    def _say_queued(self):
        if not self.reservation_queued_date:
            return ""
        date = format_datetime(self.env, self.reservation_queued_date)
        user = self.reservation_queued_user_id.display_name
        if user:
            return self.env._(
                "It has been queued since %(date)s for %(user)s, and is reserved as soon as nobody "
                "else is deciding on the same stock.",
                date=date,
                user=user,
            )
        return self.env._(
            "It has been queued since %s, and is reserved as soon as nobody else is deciding on "
            "the same stock.",
            date,
        )

    def _say_waiting(self, data):
        if data["waits_for"]:
            return self.env._(
                "It waits for what other transfers bring: %s.",
                ", ".join(self._say_document(vals) for vals in data["waits_for"][:MOST_PLACES]),
            )
        if not self.move_orig_ids:
            return self.env._(
                "It is made to order, and nothing has been ordered for it: no transfer brings it."
            )
        brought = self.env._("nothing that is left")
        lines = self._get_available_move_lines(set(), set())
        if lines:
            brought = ", ".join(
                self._say_brought(location, lot, quantity)
                for (location, lot, _package, _owner), quantity in list(lines.items())[:MOST_PLACES]
            )
        return self.env._("It takes only what the transfers before it have brought: %s.", brought)

    def _say_brought(self, location, lot, quantity):
        place = location.display_name
        if lot:
            place = f"{place}, {lot.display_name}"
        return f"{self._say_quantity(quantity)} ({place})"

    def _say_document(self, vals):
        if not vals["date"]:
            return vals["name"]
        return f"{vals['name']} ({format_date(self.env, vals['date'])})"

    def _say_stock(self, data):
        words = [
            self.env._(
                "At %(place)s there are %(on_hand)s, of which %(reserved)s are reserved: "
                "%(free)s are free.",
                place=self.location_id.display_name,
                on_hand=self._say_quantity(data["on_hand"]),
                reserved=self._say_quantity(data["reserved_there"]),
                free=self._say_quantity(data["free"]),
            )
            if data["stock"]
            else self.env._("There is nothing at %s.", self.location_id.display_name)
        ]
        if len(data["stock"]) > 1:
            words += [
                self.env._(
                    "%(place)s: %(on_hand)s, %(reserved)s reserved.",
                    place=row["location"],
                    on_hand=self._say_quantity(row["on_hand"]),
                    reserved=self._say_quantity(row["reserved"]),
                )
                for row in data["stock"][:MOST_PLACES]
            ]
        if "free" in data["reasons"] and not {"queued", "waiting"} & set(data["reasons"]):
            words.append(self.env._("Enough is free: check the availability, and it is reserved."))
        return words

    def _say_holders(self, data):
        words = []
        if data["held"]:
            words.append(
                self.env._(
                    "Other transfers or orders (%(count)s) hold %(quantity)s.",
                    quantity=self._say_quantity(data["held"]),
                    count=data["holder_count"],
                )
            )
        if data["hidden_company"]:
            words.append(
                self.env._(
                    "Of this, another company's transfers hold %s.",
                    self._say_quantity(data["hidden_company"]),
                )
            )
        elif data["hidden"]:
            words.append(
                self.env._(
                    "Of this, transfers that you may not see hold %s.",
                    self._say_quantity(data["hidden"]),
                )
            )
        if data["orphaned"]:
            words.append(
                self.env._(
                    "%s are reserved, but no transfer holds them: have an inventory manager "
                    "reconcile the ledger.",
                    self._say_quantity(data["orphaned"]),
                )
            )
        return words

    def _say_outlook(self, data):
        words = [self._say_incoming(data)]
        if data["elsewhere"]:
            words.append(
                self.env._(
                    "Free at other places: %s.",
                    ", ".join(
                        f"{self._say_quantity(row['free'])} ({row['warehouse']})"
                        for row in data["elsewhere"][:MOST_PLACES]
                    ),
                )
            )
        elif "short" in data["reasons"]:
            words.append(self.env._("Nothing is free at other places either."))
        return words

    def _say_incoming(self, data):
        if not data["incoming"]:
            return self.env._("Nothing is on its way to %s.", self.location_id.display_name)
        last = data["incoming"][-1]
        values = {
            "quantity": self._say_quantity(last["total"]),
            "last": format_date(self.env, last["date"]),
            "ahead": self._say_quantity(data["ahead"]),
            "enough": data["enough_date"] and format_date(self.env, data["enough_date"]),
        }
        if self._is_overdue(last["date"]):
            words = self.env._("%(quantity)s should have come by %(last)s.", **values)
        else:
            words = self.env._("%(quantity)s are to come by %(last)s.", **values)
        if data["ahead"]:
            words += " " + self.env._("Moves that come first still want %(ahead)s.", **values)
        if data["enough_date"] and self._is_overdue(data["enough_date"]):
            words += " " + self.env._("That is enough for this one, as soon as it is here.")
        elif data["enough_date"]:
            words += " " + self.env._("That is enough for this one on %(enough)s.", **values)
        else:
            words += " " + self.env._("That is not enough for this one.")
        return words

    def _is_overdue(self, date):
        """Tell whether this was for a day before the user's today.

        Receipts are scheduled for the minute in which they are ordered; that is not late yet.
        """
        return fields.Datetime.context_timestamp(self, date).date() < fields.Date.context_today(
            self
        )
