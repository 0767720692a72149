from odoo.tools import SQL


def post_init_hook(env):
    """Open the ledger with the stock that the database already holds."""
    env["stock.ledger.entry"]._append_opening()


def uninstall_hook(env):
    """Drop what outlives the tables: Odoo drops those, with their triggers."""
    # Nobody would ever give back what is held.
    env["stock.hold"].search([("outcome", "=", False)])._release()
    env["stock.append.only.mixin"]._drop_refusals()
    env.cr.execute(
        SQL(
            """DROP FUNCTION IF EXISTS stock_ledger_entry_feed_delta() CASCADE;
            DROP FUNCTION IF EXISTS stock_ledger_archive_refuse_unfinished() CASCADE;
            DROP TABLE IF EXISTS stock_integration_bucket;
            DROP FUNCTION IF EXISTS stock_event_ledger_lock_keys;
            DROP FUNCTION IF EXISTS stock_event_ledger_lock_row"""
        )
    )
