from . import (
    res_partner,
    stock_event_channel,
    stock_event_key,
    stock_event_outbox,
    stock_ledger_balance,
    stock_ledger_delta,
    stock_ledger_entry,
    stock_move,
    stock_move_line,
    stock_picking,
    stock_quant,
)
