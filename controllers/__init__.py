from . import metrics, schemas, seals, stock_card
