from . import metrics, schemas, stock_card
