"""The engine that empties the outboxes: processes, locks and connections, no tables.

What it does with the tables is on the models, which other modules can extend.
"""
