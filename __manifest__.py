{
    "name": "Stock Event Ledger",
    "summary": "Append-only stock ledger, locked reservations, inventory events on "
    "RabbitMQ and reports that never read the transaction tables",
    "version": "19.0.1.0.0",
    "category": "Supply Chain/Inventory",
    "author": "Stock Event Ledger contributors",
    "license": "LGPL-3",
    "depends": ["stock"],
    "external_dependencies": {"python": ["pika"]},
    "data": [
        "security/ir.model.access.csv",
        "security/stock_event_ledger_security.xml",
        "views/menus.xml",
        "views/stock_ledger_entry_views.xml",
        "views/stock_picking_views.xml",
        "reports/stock_ledger_report_stock_views.xml",
        "data/stock_event_channel_data.xml",
        "data/ir_cron_data.xml",
        "views/stock_event_channel_views.xml",
        "views/stock_event_outbox_views.xml",
    ],
    "assets": {
        "web.assets_tests": ["stock_event_ledger/static/tests/tours/*.js"],
    },
    "post_init_hook": "post_init_hook",
    "uninstall_hook": "uninstall_hook",
}
