from . import stock_ledger_report_stock
