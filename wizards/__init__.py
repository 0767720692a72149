from . import (
    base_partner_merge,
    stock_event_replay,
    stock_ledger_correction,
    stock_ledger_reconcile,
    stock_quant_relocate,
)
