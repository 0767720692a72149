from . import (
    test_event_envelope,
    test_event_outbox,
    test_event_relay,
    test_event_worker,
    test_install,
    test_ledger_entry,
    test_ledger_invariant,
    test_locking,
    test_replay,
    test_report_stock,
    test_storefront,
    test_tours,
)
