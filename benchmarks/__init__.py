"""Measures the addon beside plain Odoo, and the addon's events; not part of the addon."""
