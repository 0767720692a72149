from odoo.tools import SQL
from odoo.tools.sql import column_exists


def migrate(cr, _version):
    """Move what a channel's columns held to where it is now."""
    if column_exists(cr, "stock_event_channel", "has_audit_queue"):
        _make_queues(cr)
    if column_exists(cr, "stock_event_channel", "confirmed_count"):
        _make_status(cr)


def _make_queues(cr):
    cr.execute(
        SQL(
            """INSERT INTO stock_event_queue (
                   channel_id, name, binding_key, max_length, has_single_active_consumer)
               SELECT id, audit_queue, '#', 100000, FALSE
                 FROM stock_event_channel
                WHERE has_audit_queue AND audit_queue <> ''
                   ON CONFLICT DO NOTHING"""
        )
    )


def _make_status(cr):
    """What a channel has published through is declared.

    Odoo drops the columns of fields that have gone, but not of those that are computed.
    """
    cr.execute(
        SQL(
            """INSERT INTO stock_event_channel_status (
                   channel_id, confirmed_count, last_confirm_date, is_declared)
               SELECT id, confirmed_count, last_confirm_date, last_confirm_date IS NOT NULL
                 FROM stock_event_channel
                   ON CONFLICT DO NOTHING"""
        )
    )
    cr.execute(
        SQL(
            """ALTER TABLE stock_event_channel DROP COLUMN confirmed_count,
                     DROP COLUMN last_confirm_date, DROP COLUMN last_error"""
        )
    )
