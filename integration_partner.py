"""The operations by which the warehouses of two databases tell each other about shipments.

Each tells the whole state as it is now, with a version that grows: repeats and what arrives
late change nothing. Plain Python.
"""

from typing import Annotated

from pydantic import Field

from .integration import Id, Input, Moment, OnHand, Quantity, Text, WriteInput, WriteResult, define

MOST_SHIPMENT_LINES = 2000

Version = Annotated[Id, Field(description="Of what is told about the shipment: the highest counts")]
Shipment = Annotated[Text, Field(description="The shipment's id, a UUID given by the sender")]


class ShipmentLine(Input):
    """Goods that are under way."""

    sku: Text = Field(description="Internal reference, the same in both databases")
    quantity: Quantity = Field(description="In the product's unit of measure")
    lot: Text | None = Field(None, description="Name of the lot or serial number")
    uom: Text | None = Field(
        None, description="English name of the product's unit of measure, which is compared"
    )


class ReceivedLine(Input):
    """Goods that have arrived."""

    sku: Text = Field(description="Internal reference, the same in both databases")
    quantity: OnHand = Field(description="All that was received, in the product's unit")
    lot: Text | None = Field(None, description="Name of the lot or serial number")


class ExpectReceiptInput(WriteInput):
    """What was shipped; origin is the sender's transfer."""

    shipment: Shipment
    version: Version
    sender: Text = Field(description="Short name of the warehouse that it was shipped from")
    warehouse: Text = Field(description="Short name of the warehouse that is to receive it")
    shipped_at: Moment | None = None
    lines: list[ShipmentLine] = Field(max_length=MOST_SHIPMENT_LINES)


class ReportReceiptInput(WriteInput):
    """What was received of a shipment until now; origin are the receipts."""

    shipment: Shipment
    version: Version
    is_final: bool = Field(description="Whether nothing more is expected")
    lines: list[ReceivedLine] = Field(max_length=MOST_SHIPMENT_LINES)


LINE_ERRORS = (
    "unknown_product",
    "ambiguous_product",
    "below_rounding",
    "other_unit",
)

define(
    name="expect_receipt",
    summary="Expect, or expect otherwise than before, what a partner has shipped",
    input=ExpectReceiptInput,
    output=WriteResult,
    writes=True,
    line_errors=LINE_ERRORS,
)
define(
    name="report_receipt",
    summary="Report what was received of a shipment to the partner who has shipped it",
    input=ReportReceiptInput,
    output=WriteResult,
    writes=True,
)
