from . import (
    base_partner_merge,
    stock_event_replay,
    stock_hold_extend,
    stock_ledger_correction,
    stock_ledger_reconcile,
    stock_ledger_archive,
    stock_ledger_at_date,
    stock_ledger_card,
    stock_ledger_onboarding,
    stock_ledger_seal_verify,
    stock_quant_relocate,
)
