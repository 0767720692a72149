from . import stock_forecasted, stock_ledger_report

from . import (
    stock_ledger_report_ageing,
    stock_ledger_report_at_date,
    stock_ledger_report_card,
    stock_ledger_report_movement,
    stock_ledger_report_opening,
    stock_ledger_report_stock,
)
