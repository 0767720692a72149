from . import metrics, schemas
