"""Breaks what events depend on, and proves what arrived; not part of the addon."""
