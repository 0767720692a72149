"""A stock event as an EPCIS 2.0 document, in the words of GS1's CBV 2.0.

A second view of the same ledger entry, for partners who exchange EPCIS. Actions and
business steps mean what the standard says they mean, which decides these:

- Only what begins or ceases to exist is ADD or DELETE; goods that come and go are
  OBSERVE. Where they are afterwards is the bizLocation, which is left out when they
  left. Quantities are positive; ``sel:quantity`` has the sign.
- CBV's *reserving* hands out identifiers of goods that do not exist yet, and its
  *available* means repaired. Reservations of stock therefore have steps of our own.
- An errorDeclaration repeats the erroneous event under its own id. Our corrections are
  events of their own and name the corrected one in ``sel:corrects``.
"""

import re
from typing import NamedTuple
from urllib.parse import quote

CONTENT_TYPE = "application/ld+json"
DATA_SCHEMA = "https://ref.gs1.org/standards/epcis/2.0.0/epcis-json-schema.json"
NAMESPACE = "urn:stock-event-ledger:epcis:"
CONTEXT = [
    "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld",
    {"sel": NAMESPACE},
]
DIGITAL_LINK = "https://id.gs1.org/01"
# What EPCIS has no field for, by its name in our namespace.
EXTENSIONS = {
    "sel:event_type": "event_type",
    "sel:sequence": "sequence",
    "sel:quantity": "quantity",
    "sel:reserved_quantity": "reserved_quantity",
    "sel:uom": "uom",
    "sel:on_hand_after": "on_hand_after",
    "sel:reserved_after": "reserved_after",
    "sel:available_after": "available_after",
    "sel:product_id": "product_id",
    "sel:sku": "sku",
    "sel:warehouse_id": "warehouse_id",
    "sel:warehouse_code": "warehouse_code",
    "sel:company_id": "company_id",
    "sel:owner_id": "owner_id",
    "sel:package": "package",
    "sel:skipped_event_type": "skipped_event_type",
    "sel:replay": "replay",
}
DETAIL_EXTENSIONS = {
    "sel:product_name": "product_name",
    "sel:location_name": "location_name",
    "sel:warehouse_name": "warehouse_name",
    "sel:move_source_usage": "move_source_usage",
    "sel:move_destination_usage": "move_destination_usage",
}
# UN/ECE Recommendation 20, by Odoo's English names of units. Pieces have no code.
UOM_CODES = {
    "Dozens": "DZN",
    "Hours": "HUR",
    "Days": "DAY",
    "Minutes": "MIN",
    "mm": "MMT",
    "cm": "CMT",
    "m": "MTR",
    "km": "KMT",
    "m²": "MTK",
    "ml": "MLT",
    "L": "LTR",
    "m³": "MTQ",
    "g": "GRM",
    "kg": "KGM",
    "Ton": "TNE",
    "oz": "ONZ",
    "lb": "LBR",
    "in": "INH",
    "ft": "FOT",
    "yd": "YRD",
    "mi": "SMI",
    "ft²": "FTK",
    "fl oz (US)": "OZA",
    "qt (US)": "QT",
    "gal (US)": "GLL",
    "in³": "INQ",
    "ft³": "FTQ",
    "KWH": "KWH",
}
PIECES = ("Units", "Unit", "Unit(s)", "Pieces", "pcs")


class Step(NamedTuple):
    """What an event is called in EPCIS and CBV."""

    action: str
    biz_step: str | None
    disposition: str | None = None


RECEIVED = Step("OBSERVE", "receiving", "in_progress")
SHIPPED = Step("OBSERVE", "shipping", "in_transit")
UNSHIPPED = Step("OBSERVE", "void_shipping", "in_progress")
TRANSPORTED = Step("OBSERVE", "transporting", "in_transit")
STORED = Step("OBSERVE", "storing", "in_progress")
OTHER = Step("OBSERVE", "other")
FOUND = Step("ADD", "cycle_counting", "mismatch_quantity")
LOST = Step("DELETE", "cycle_counting", "mismatch_quantity")
# By event type: the step where stock grows, and the step where it shrinks. One of the two
# is the movement, the other one takes such a movement back.
STEPS = {
    "RECEIPT": (RECEIVED, OTHER),
    "SALE": (UNSHIPPED, SHIPPED),
    "CUSTOMER_RETURN": (Step("OBSERVE", "receiving", "returned"), OTHER),
    "SUPPLIER_RETURN": (UNSHIPPED, Step("OBSERVE", "shipping", "returned")),
    "TRANSFER_OUT": (UNSHIPPED, SHIPPED),
    "TRANSFER_IN": (RECEIVED, OTHER),
    "INTERNAL": (STORED, STORED),
    "ADJUSTMENT": (FOUND, LOST),
    "SCRAP": (Step("ADD", "other"), Step("DELETE", "destroying", "destroyed")),
    "CONSUMPTION": (Step("ADD", "other"), Step("DELETE", "assembling")),
    "PRODUCTION": (
        Step("ADD", "creating_class_instance", "active"),
        Step("DELETE", "decommissioning", "inactive"),
    ),
    "RESERVE": 2 * (Step("OBSERVE", NAMESPACE + "reserving_stock"),),
    "UNRESERVE": 2 * (Step("OBSERVE", NAMESPACE + "releasing_stock"),),
    "OPENING": 2 * (Step("OBSERVE", "stock_taking", "in_progress"),),
    "CORRECTION": (Step("ADD", "other"), Step("DELETE", "other")),
    "DRIFT_FOUND": 2 * (Step("OBSERVE", "inspecting", "mismatch_quantity"),),
    "DRIFT_CLEARED": 2 * (Step("OBSERVE", "inspecting", "conformant"),),
    "STOCK_LOW": 2 * (Step("OBSERVE", NAMESPACE + "watching_stock"),),
    "STOCK_OUT": 2 * (Step("OBSERVE", NAMESPACE + "watching_stock"),),
    "BACK_IN_STOCK": 2 * (Step("OBSERVE", NAMESPACE + "watching_stock"),),
    "GAP": 2 * (Step("OBSERVE", None),),
}
# Commissioning is for goods with an identifier each.
SERIAL_PRODUCTION = Step("ADD", "commissioning", "active")
SHIPPING_TYPES = ("SALE", "SUPPLIER_RETURN", "TRANSFER_OUT")
RECEIVING_TYPES = ("RECEIPT", "CUSTOMER_RETURN", "TRANSFER_IN")
PRODUCTION_TYPES = ("CONSUMPTION", "PRODUCTION")
# What GS1 allows in a lot or serial number: its character set 82, 20 characters at most.
ELEMENT = re.compile(r"""[!"%&'()*+,\-./0-9:;<=>?A-Z_a-z]{1,20}""")


def build_document(event, details, database_uuid):
    """Return an EPCISDocument, as a dictionary, with the one event.

    :param dict event: the flat event
    :param dict details: what the flat event lacks; each of these may be missing or None:
        ``barcode``, ``product_name``, ``tracking`` ('none', 'lot' or 'serial'),
        ``location_name``, ``warehouse_name``, ``move_source_usage`` and
        ``move_destination_usage`` (the usages of the move's locations)
    :param str database_uuid: Odoo's ``database.uuid``, part of the identifiers that are
        not GS1's
    """
    return {
        "@context": CONTEXT,
        "type": "EPCISDocument",
        "schemaVersion": "2.0",
        # The event's date and not now, so that a repeat is the same document.
        "creationDate": event["recorded_at"],
        "epcisBody": {"eventList": [_build_event(event, details, database_uuid)]},
    }


def _build_event(event, details, database_uuid):
    own = f"urn:odoo:{database_uuid}"
    step = _get_step(event, details)
    result = {
        "type": "ObjectEvent",
        "eventID": f"urn:uuid:{event['event_id']}",
        "eventTime": event["effective_at"] or event["recorded_at"],
        # Odoo keeps UTC and does not know the time zone of the warehouse.
        "eventTimeZoneOffset": "+00:00",
        "recordTime": event["recorded_at"],
        "action": step.action,
        "bizStep": step.biz_step,
        "disposition": step.disposition,
        **_get_what(event, details, own),
        **_get_where(event, own),
        "bizTransactionList": _get_transactions(event, own),
        **{name: event.get(key) for name, key in EXTENSIONS.items()},
        **{name: details.get(key) for name, key in DETAIL_EXTENSIONS.items()},
        "sel:corrects": _get_event_uri(event["corrects_event_id"]),
        "sel:skipped_event": _get_event_uri(event.get("skipped_event_id")),
    }
    return {name: value for name, value in result.items() if value not in (None, [])}


def _get_event_uri(event_id):
    return event_id and f"urn:uuid:{event_id}"


def _get_step(event, details):
    event_type, quantity = event["event_type"], event["quantity"]
    if event_type in ("TRANSFER_OUT", "TRANSFER_IN") and not event["warehouse_id"]:
        # The warehouse's own event is the shipping or receiving, this is in between.
        return TRANSPORTED
    # Other modules may have event types of their own.
    grows, shrinks = STEPS.get(event_type, (OTHER, OTHER))
    if event_type == "PRODUCTION" and quantity > 0 and _is_serial(event, details):
        return SERIAL_PRODUCTION
    return grows if quantity > 0 else shrinks


# --- what


def _get_what(event, details, own):
    """Return the epcList of a serial number, or the quantityList of anything else."""
    gtin = get_gtin(details.get("barcode"))
    product = f"{own}:product:{event['product_id']}"
    if _is_serial(event, details):
        return {"epcList": [_get_class_uri(gtin, product, "21", "serial", event["lot"])]}
    element = {
        "epcClass": _get_class_uri(gtin, product, "10", "lot", event["lot"]),
        **_get_quantity(event),
    }
    return {"quantityList": [element]}


def _is_serial(event, details):
    return bool(details.get("tracking") == "serial" and event["lot"])


def _get_class_uri(gtin, product, application_identifier, kind, number):
    """Return a GS1 Digital Link URI where GS1's rules allow it, otherwise our own."""
    if gtin and not number:
        return f"{DIGITAL_LINK}/{gtin}"
    if gtin and ELEMENT.fullmatch(number):
        return f"{DIGITAL_LINK}/{gtin}/{application_identifier}/{quote(number, safe='')}"
    return f"{product}:{kind}:{quote(number, safe='')}" if number else product


def _get_quantity(event):
    """Return the quantity of a quantityList's element, with its unit's code.

    Without a code a quantity counts pieces: that of a unit without one is left out, and
    only told in ``sel:quantity``. Words about stock are of none.
    """
    quantity = abs(event["quantity"] or event["reserved_quantity"])
    if not quantity:
        return {}
    uom = event["uom"]
    if uom in UOM_CODES:
        return {"quantity": quantity, "uom": UOM_CODES[uom]}
    return {"quantity": quantity} if uom in PIECES else {}


def get_gtin(barcode):
    """Return a barcode as a GTIN of 14 digits, or None where it is not one.

    GTIN-8, -12, -13 and -14 with their check digits (GS1 General Specifications, 7.9).
    Numbers that companies give out for use in their own stores are no GTINs to others.

    :param str barcode: digits, or anything else, or None
    """
    if not barcode or not re.fullmatch(r"[0-9]{8}|[0-9]{12,14}", barcode):
        return None
    gtin = barcode.zfill(14)
    if sum(int(digit) * (3, 1)[index % 2] for index, digit in enumerate(gtin)) % 10:
        return None
    restricted = ("0", "2") if len(barcode) == 8 else ("0000000", "02", "04", "2")
    prefix = barcode if len(barcode) == 8 else gtin[1:]
    return None if prefix.startswith(restricted) else gtin


# --- where and why


def _get_where(event, own):
    """Return where it happened, and where the goods are since then."""
    if not event["location_id"]:
        return {}
    location = {"id": f"{own}:location:{event['location_id']}"}
    # Reserving takes nothing away.
    if event["quantity"] < 0:
        return {"readPoint": location}
    return {"readPoint": location, "bizLocation": location}


def _get_transactions(event, own):
    """Return the transfer and its source document, with CBV's types where they have one."""
    reference, event_type = event["reference"] or {}, event["event_type"]
    transfer_type = origin_type = None
    if event_type in SHIPPING_TYPES:
        transfer_type = "desadv"
    elif event_type in RECEIVING_TYPES:
        transfer_type = "recadv"
    elif event_type in PRODUCTION_TYPES:
        transfer_type = "prodorder"
    if event_type in ("RECEIPT", "SALE"):
        # A sales order is the seller's record of the buyer's purchase order.
        origin_type = "po"
    documents = (
        (transfer_type, "transfer", reference.get("transfer")),
        (origin_type, "document", reference.get("origin")),
    )
    return [
        {
            **({"type": document_type} if document_type else {}),
            "bizTransaction": f"{own}:{kind}:{quote(name, safe='')}",
        }
        for document_type, kind, name in documents
        if name
    ]
