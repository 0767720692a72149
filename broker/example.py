"""What an event of each type looks like, for the documents about them."""

from .envelope import GAP, SCHEMA_VERSION

SEE_ORIGIN = "see reference.origin for the limits and for what was available."

# Of the event types that are not a change of stock.
SUMMARIES = {
    "DRIFT_FOUND": "Stock and ledger were found to differ: see reference.origin.",
    "DRIFT_CLEARED": "Stock and ledger, found to differ before, agree again.",
    "STOCK_LOW": f"What is available fell to the threshold of low stock: {SEE_ORIGIN}",
    "STOCK_OUT": f"What is available fell to the threshold of no stock: {SEE_ORIGIN}",
    "BACK_IN_STOCK": f"Something is available again of what was out of stock: {SEE_ORIGIN}",
}
EXAMPLE_QUANTITIES = {
    "SALE": -5.0,
    "SUPPLIER_RETURN": -5.0,
    "TRANSFER_OUT": -5.0,
    "SCRAP": -5.0,
    "CONSUMPTION": -5.0,
    **dict.fromkeys(("RESERVE", "UNRESERVE", *SUMMARIES), 0.0),
}
EXAMPLE_REFERENCES = {
    "STOCK_LOW": ("Threshold 12", "low available 10.0 low_at 10.0 out_at 0.0"),
    "STOCK_OUT": ("Threshold 12", "out available 0.0 low_at 10.0 out_at 0.0"),
    "BACK_IN_STOCK": ("Threshold 12", "low available 10.0 low_at 10.0 out_at 0.0"),
}
EXAMPLE_RESERVED = {"RESERVE": 5.0, "UNRESERVE": -5.0}


def example_event(event_type):
    """Return an example of the flat event.

    :param str event_type: one of a ledger entry's types, or GAP
    """
    quantity = EXAMPLE_QUANTITIES.get(event_type, 5.0)
    reserved_quantity = EXAMPLE_RESERVED.get(event_type, 0.0)
    on_hand, reserved = 15.0 + quantity, 5.0 + reserved_quantity
    event = {
        "event_id": "01a1ffed-dbb5-7c9d-b870-bb252ddf7f12",
        "event_type": event_type,
        "schema_version": SCHEMA_VERSION,
        "product_id": 101,
        "sku": "ABC",
        "warehouse_id": 4,
        "warehouse_code": "WH",
        "quantity": quantity,
        "reserved_quantity": reserved_quantity,
        "uom": "Units",
        "on_hand_after": on_hand,
        "reserved_after": reserved,
        "available_after": on_hand - reserved,
        "sequence": 123,
        "location_id": 8,
        "lot": None,
        "package": None,
        "owner_id": None,
        "company_id": 1,
        "reference": {
            "model": "stock.move",
            "id": 991,
            "transfer": "WH/OUT/00042",
            "origin": "S00042",
        },
        "effective_at": "2026-01-02T03:04:05Z",
        "recorded_at": "2026-01-02T03:04:05.678Z",
        "user_id": 2,
        "correlation_id": None,
        "causation_id": None,
        "corrects_event_id": None,
        "replay": False,
    }
    if event_type in SUMMARIES:
        transfer, origin = EXAMPLE_REFERENCES.get(event_type, ("Drift 12", "on_hand 5.0"))
        event["reference"] = {
            **{"model": "stock.ledger.entry", "id": 991},
            **{"transfer": transfer, "origin": origin},
        }
    if event_type == GAP:
        event.update(
            reference=None,
            skipped_event_id="01a1ffed-dbb5-7c9d-b870-bb252ddf7f13",
            skipped_event_type="RECEIPT",
        )
    return event
