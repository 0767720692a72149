"""Measures plain Odoo and Odoo with the addon under the same load; not part of the addon."""
