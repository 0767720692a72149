from odoo.tools import SQL

from .common import get_differences
from .rollup_common import get_period_differences


def find_drifts(env):
    """Compare all that the addon says about stock with what it is made of.

    Obvious queries on whole tables, on purpose unlike any in the addon.

    :return: dictionary of the rows that differ, by what was compared; empty if none do
    """
    env["stock.ledger.entry"]._flush_buffer()
    env.flush_all()
    drifts = {
        "ledger, quants and balances": get_differences(env),
        "reservations and move lines": env.execute_query(_query_reservation_drifts()),
        "double entry": env.execute_query(_query_double_entry_drifts()),
        **{
            f"ledger and {name} rollup": get_period_differences(env, name)
            for name in ("day", "month", "month.total", "month.location")
        },
    }
    return {name: rows for name, rows in drifts.items() if rows}


def _query_reservation_drifts():
    """Return what quants and open move lines say differently about a reservation.

    Lots are added up: Odoo reserves a lot that is not there on stock that has no lot yet.
    """
    return SQL(
        """
        SELECT product_id, location_id, package_id, owner_id,
               SUM(quant_reserved), SUM(line_reserved)
          FROM (
            SELECT product_id, location_id, package_id, owner_id,
                   reserved_quantity AS quant_reserved, 0 AS line_reserved
              FROM stock_quant
            UNION ALL
            SELECT line.product_id, line.location_id, line.package_id, line.owner_id,
                   0, line.quantity_product_uom
              FROM stock_move_line line
              JOIN stock_location location ON location.id = line.location_id
              JOIN product_product product ON product.id = line.product_id
              JOIN product_template template ON template.id = product.product_tmpl_id
             WHERE line.state NOT IN ('draft', 'done', 'cancel') AND template.is_storable
               AND location.usage NOT IN ('supplier', 'customer', 'inventory', 'production')
          ) AS figures
         GROUP BY product_id, location_id, package_id, owner_id
        HAVING ROUND(SUM(quant_reserved)::numeric, 6) <> ROUND(SUM(line_reserved)::numeric, 6)
        """
    )


def _query_double_entry_drifts():
    """Return the moves that do not add up to nothing: what leaves one place reaches another."""
    return SQL(
        """
        SELECT product_id, move_id, SUM(quantity) FROM stock_ledger_entry
         WHERE move_id IS NOT NULL
         GROUP BY product_id, move_id
        HAVING SUM(quantity) <> 0
        """
    )
