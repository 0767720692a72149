from . import metrics, rest, schemas, seals, stock_card
