"""Writes the files of tools/schemas."""

import os
from pathlib import Path

from odoo.modules import initialize_sys_path
from odoo.tools import config

FOLDER = Path(__file__).resolve().parent.parent / "schemas"


def main():
    config.parse_config(["--config", os.environ["ODOO_RC"]])
    initialize_sys_path()
    from odoo.addons.stock_event_ledger.broker.command_schema import schema_files
    from odoo.addons.stock_event_ledger.integration import OPERATIONS
    from odoo.addons.stock_event_ledger.models.stock_ledger_entry import EVENT_TYPES
    from odoo.addons.stock_event_ledger.openapi import FILE, openapi_file

    event_types = [value for value, _label in EVENT_TYPES]
    files = schema_files(event_types, list(OPERATIONS.values()))
    for name, text in {**files, FILE: openapi_file()}.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
