import datetime

from odoo import fields, models
from odoo.fields import Domain
from odoo.tools import SQL, str2bool

from ..fields import to_array


class ProductProduct(models.Model):
    _inherit = "product.product"

    def _compute_quantities_dict(
        self, lot_id, owner_id, package_id, from_date=False, to_date=False
    ):
        served, moment, locations = self.browse(), None, None
        if to_date and not from_date and (lot_id, owner_id, package_id) == (None, None, None):
            moment = self._get_moment_in_ledger(to_date)
        if moment:
            locations = self._get_counted_locations()
        if locations is not None:
            served = self.filtered(lambda product: product._is_in_ledger())
        figures = super(ProductProduct, self - served)._compute_quantities_dict(
            lot_id, owner_id, package_id, from_date=from_date, to_date=to_date
        )
        if served:
            figures |= served._compute_quantities_at(moment, locations)
        return figures

    def _get_moment_in_ledger(self, to_date):
        """Return the past moment whose stock the ledger is to tell, or None.

        :param to_date: a value that Odoo takes for a moment in UTC
        """
        to_date = fields.Datetime.to_datetime(to_date)
        # Of the goods of some owners, Odoo goes back through everybody's moves.
        if to_date >= fields.Datetime.now() or "owners" in self.env.context:
            return None
        # sudo: nobody else reads parameters.
        parameters = self.env["ir.config_parameter"].sudo()
        if not str2bool(parameters.get_param("stock_event_ledger.past_stock"), False):
            return None
        # Odoo compares whole seconds.
        moment = to_date.replace(microsecond=999999)
        known = self.env["stock.ledger.closing"]._is_stock_known_at(moment)
        return moment if known else None

    def _get_counted_locations(self):
        """Return the query of the locations whose quants the user and the context count.

        None if that depends on more than the quants' locations.
        """
        quants = Domain(self._get_domain_locations()[0])
        if not self.env.su:
            quants &= Domain(self.env["ir.rule"]._compute_domain("stock.quant", "read"))
        names = {"location_id": "id", "company_id": "company_id"}
        if any(condition.field_expr not in names for condition in quants.iter_conditions()):
            return None
        domain = quants.map_conditions(
            lambda condition: Domain(
                names[condition.field_expr], condition.operator, condition.value
            )
        )
        # sudo: which locations' quants the user may read is part of the domain.
        locations = self.env["stock.location"].sudo().with_context(active_test=False)
        return locations._search(domain).subselect()

    def _is_in_ledger(self):
        """Tell whether the product's stock is that of its own stock keys.

        That of kits, in Manufacturing, follows from their components'.
        """
        self.ensure_one()
        is_kit = "is_kits" in self._fields and self.is_kits
        return self.is_storable and not is_kit and self._origin == self

    def _compute_quantities_at(self, moment, locations):
        """Return what Odoo computes for a past moment, without going through all later moves.

        That is the stock at the moment, and what was to come and to go until then.

        :param datetime moment: the end of a second, in UTC
        :param SQL locations: the query of the ids of those that count
        :return: dictionary, by product id, of dictionaries of quantities by field
        """
        # Manufacturing notes what it computes in the context, where it is not for a moment.
        products = self.with_context(mrp_compute_quantities={})
        now = products._compute_quantities_dict(None, None, None)
        after = moment.replace(microsecond=0) + datetime.timedelta(seconds=1)
        later = products._compute_quantities_dict(None, None, None, from_date=after)
        stock = self._get_stock_at(moment, locations)
        return {
            product.id: product._set_back_quantities(
                now[product.id], later[product.id], stock.get(product.id, 0.0)
            )
            for product in self
        }

    def _set_back_quantities(self, now, later, quantity):
        round_quantity = self.uom_id.round
        change = quantity - now["qty_available"]
        planned = later["incoming_qty"] - later["outgoing_qty"]
        return {
            "qty_available": round_quantity(quantity),
            "free_qty": round_quantity(now["free_qty"] + change),
            "incoming_qty": round_quantity(now["incoming_qty"] - later["incoming_qty"]),
            "outgoing_qty": round_quantity(now["outgoing_qty"] - later["outgoing_qty"]),
            "virtual_available": round_quantity(now["virtual_available"] + change - planned),
        }

    def _get_stock_at(self, moment, locations):
        """Return dictionary of the quantity by product id, those without any aside."""
        self.env["stock.ledger.entry"]._flush_buffer()
        where = SQL(
            # As a table: of a long list, PostgreSQL looks up each in an index.
            "product_id IN (SELECT unnest(%s::integer[])) AND location_id IN %s",
            to_array(self.ids),
            locations,
        )
        stock = self.env["stock.ledger.closing"]._query_stock_at(moment, where)
        return dict(
            self.env.execute_query(
                SQL("SELECT product_id, SUM(quantity) FROM (%s) AS stock GROUP BY 1", stock)
            )
        )
