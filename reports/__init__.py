from . import stock_forecasted, stock_ledger_report

from . import stock_ledger_report_opening, stock_ledger_report_stock
