from odoo.tools import SQL

KEY = SQL("product_id, location_id, lot_id, package_id, owner_id, company_id")


def get_stock_at(env, at):
    """Return what the ledger adds up to per stock key at a moment: the obvious query."""
    rows = env.execute_query(
        SQL(
            """SELECT %s, SUM(quantity) FROM stock_ledger_entry
                WHERE effective_date <= %s GROUP BY 1, 2, 3, 4, 5, 6 HAVING SUM(quantity) <> 0""",
            KEY,
            at,
        )
    )
    return {tuple(key): quantity for *key, quantity in rows}


def get_reported_stock_at(env, at):
    """Return the same as the rollup has it."""
    rows = env.execute_query(
        SQL(
            """SELECT %s, SUM(quantity) FROM (%s) AS stock
                GROUP BY 1, 2, 3, 4, 5, 6 HAVING SUM(quantity) <> 0""",
            KEY,
            env["stock.ledger.closing"]._query_stock_at(at),
        )
    )
    return {tuple(key): quantity for *key, quantity in rows}


def get_period_differences(env, name):
    """Return the periods whose rollup and deltas differ from the ledger.

    :param str name: the end of the rollup's name: day, month, month.total or month.location
    """
    columns = SQL("date, product_id, location_id, event_type")
    event_type = SQL("NULL::varchar" if name == "month.total" else "event_type")
    product_id = SQL("NULL::integer" if name == "month.location" else "product_id")
    query = SQL(
        """
        SELECT %(columns)s, SUM(ins), SUM(outs), SUM(entries) FROM (
            SELECT date, %(product_id)s AS product_id, location_id, %(event_type)s AS event_type,
                   in_quantity AS ins, out_quantity AS outs, entry_count AS entries
              FROM %(table)s
             UNION ALL
            SELECT date_trunc(%(period)s, effective_date)::date, %(product_id)s, location_id,
                   %(event_type)s, CASE WHEN quantity > 0 THEN quantity ELSE 0 END,
                   CASE WHEN quantity < 0 THEN -quantity ELSE 0 END, 1
              FROM stock_ledger_delta WHERE quantity <> 0
             UNION ALL
            SELECT date_trunc(%(period)s, effective_date)::date, %(product_id)s, location_id,
                   %(event_type)s, CASE WHEN quantity > 0 THEN -quantity ELSE 0 END,
                   CASE WHEN quantity < 0 THEN quantity ELSE 0 END, -1
              FROM stock_ledger_entry WHERE quantity <> 0
        ) AS figures
        GROUP BY %(columns)s
        HAVING SUM(ins) <> 0 OR SUM(outs) <> 0 OR SUM(entries) <> 0
        """,
        columns=columns,
        event_type=event_type,
        product_id=product_id,
        table=SQL.identifier(env[f"stock.ledger.{name}"]._table),
        period=name.partition(".")[0],
    )
    return env.execute_query(query)
