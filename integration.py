"""The operations for integrators: one definition each, for all protocols.

Plain Python. The same models check the input and make the OpenAPI document.
"""

import datetime
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

MOST_LINES = 100
MOST_PRODUCTS = 1000
MOST_ENTRIES = 1000
MOST_QUANTITY = 1_000_000_000
MOST_ID = 2**31 - 1
MOST_PROBLEMS = 20
# A body has lines, and they have members.
KNOWN_DEPTH = 3
# A tab or a line feed in a reference is as wrong as a NUL, which PostgreSQL cannot store.
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
DAY = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]"
MOMENT = re.compile(rf"{DAY}(T{TIME}(:[0-5][0-9](\.[0-9]{{1,6}})?)?(Z|[+-]{TIME})?)?")


class InvalidBody(ValueError):
    """The input is wrong; ``problems`` is a list of dictionaries: member and message."""

    def __init__(self, problems):
        super().__init__("; ".join(f"{p['member']}: {p['message']}" for p in problems))
        self.problems = problems


# --- kinds of values


def _check_text(value):
    if CONTROL.search(value):
        raise ValueError("Control characters are not allowed")
    return value


def _parse_moment(value):
    """Return a moment in UTC, without a time zone as Odoo has them; a day is its end."""
    if not isinstance(value, str) or not MOMENT.fullmatch(value):
        raise ValueError("Should be a date or time as in 2026-01-31 or 2026-01-31T08:00:00Z")
    try:
        moment = datetime.datetime.fromisoformat(value)
        if len(value) == 10:
            return moment.replace(hour=23, minute=59, second=59)
        if moment.tzinfo:
            moment = moment.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise ValueError("There is no such date or time") from None
    return moment


# For the schema; the check says it in words.
NoControl = Field(json_schema_extra={"pattern": r"^[^\x00-\x1f\x7f]*$"})
Text = Annotated[
    str, StringConstraints(min_length=1, max_length=256), AfterValidator(_check_text), NoControl
]
Key = Annotated[
    str, StringConstraints(min_length=1, max_length=128), AfterValidator(_check_text), NoControl
]
Id = Annotated[int, Field(ge=1, le=MOST_ID)]
Position = Annotated[int, Field(ge=0, le=MOST_ID)]
Quantity = Annotated[float, Field(gt=0, le=MOST_QUANTITY)]
OnHand = Annotated[float, Field(ge=-MOST_QUANTITY, le=MOST_QUANTITY)]
# Where pydantic's own words are for those who wrote the model.
MESSAGES = {"extra_forbidden": "There is no such member", "missing": "It is missing"}
EventType = Annotated[str, StringConstraints(pattern=r"^[A-Z_]{1,64}$")]
Moment = Annotated[
    datetime.datetime,
    BeforeValidator(_parse_moment),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^{MOMENT.pattern}$",
            "description": "ISO 8601; UTC unless it has a time zone; a date is the end of its day",
            "examples": ["2026-01-31", "2026-01-31T08:00:00Z"],
        }
    ),
]


class Input(BaseModel):
    """Part of a body: of its members, no others, and of the right types, nothing converted."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Output(BaseModel):
    """Part of a result. Members without a value are left out: XML-RPC knows no null."""

    model_config = ConfigDict(extra="forbid")


def _check_one(model, *names):
    if sum(getattr(model, name) is not None for name in names) != 1:
        raise ValueError(f"Exactly one of {', '.join(names)} is needed")


def _check_at_most_one(model, *names):
    if sum(getattr(model, name) is not None for name in names) > 1:
        raise ValueError(f"At most one of {', '.join(names)} is allowed")


class ProductInput(Input):
    """Names a product."""

    sku: Text | None = Field(None, description="Internal reference of the product")
    barcode: Text | None = None
    product_id: Id | None = None

    @model_validator(mode="after")
    def _check_product(self):
        _check_one(self, "sku", "barcode", "product_id")
        return self


class LineInput(ProductInput):
    """A product and how much of it."""

    quantity: Quantity = Field(description="In the product's unit of measure")
    lot: Text | None = Field(None, description="Name of the lot or serial number")


class WarehouseInput(Input):
    """Names a warehouse and, if need be, a location in it."""

    warehouse: Text | None = Field(None, description="Short name of the warehouse")
    warehouse_id: Id | None = None
    location: Text | None = Field(
        None, description="Full name of a location in it, as in WH/Stock/Shelf 1; else its stock"
    )
    location_id: Id | None = None

    @model_validator(mode="after")
    def _check_warehouse(self):
        _check_one(self, "warehouse", "warehouse_id")
        _check_at_most_one(self, "location", "location_id")
        return self


Lines = Annotated[list[LineInput], Field(min_length=1, max_length=MOST_LINES)]


class WriteInput(Input):
    """What all writes take."""

    origin: Text | None = Field(
        None, description="Source document: the ledger and the transfer tell it"
    )


# --- results


class LineError(Output):
    """Why a line was refused."""

    code: str = Field(description="What is wrong, for programs")
    message: str = Field(description="What is wrong and what to do, for people")


class LineResult(Output):
    """What became of a line."""

    line: int = Field(description="Place in the body's lines, from 0 on")
    status: Literal["done", "refused"]
    product_id: int | None = None
    error: LineError | None = None
    move_ids: list[int] = Field([], description="Stock moves that it made")


class Transfer(Output):
    """A transfer that a call made."""

    id: int
    name: str
    state: str


class WriteResult(Output):
    """What a write did."""

    status: Literal["done", "partial", "refused"]
    lines: list[LineResult]
    transfers: list[Transfer]


# --- the operations


@dataclass(frozen=True)
class Operation:
    """What integrators may call.

    :ivar str name: of the method of ``stock.integration``
    :ivar str summary: one line about it
    :ivar type input: the pydantic model of the body
    :ivar type output: the pydantic model of the result
    :ivar bool writes: whether it changes something, and so needs an idempotency key
    :ivar tuple line_errors: codes for which it may refuse a line
    """

    name: str
    summary: str
    input: type[BaseModel]
    output: type[BaseModel]
    writes: bool = False
    line_errors: tuple = ()


OPERATIONS: dict[str, Operation] = {}


def define(**definition):
    """Add an operation to those that integrators may call."""
    operation = Operation(**definition)
    OPERATIONS[operation.name] = operation


_key = TypeAdapter(Key, config=ConfigDict(strict=True))


def _get_member(location):
    """Return the name of a part of the body, as in ``lines[0].quantity``."""
    member = ""
    for part in location:
        if isinstance(part, int):
            member += f"[{part}]"
            continue
        # A caller's own name may be anything.
        name = part if part.isidentifier() else ascii(part)
        member += f".{name[:64]}" if member else name[:64]
    return member or "body"


def _get_problems(error, *place):
    return [
        {
            "member": _get_member((*place, *problem["loc"])),
            "message": MESSAGES.get(problem["type"], problem["msg"].removeprefix("Value error, ")),
        }
        for problem in error.errors(include_url=False, include_input=False)[:MOST_PROBLEMS]
    ]


def check_input(operation, body):
    """Check the body of a call.

    :param Operation operation: which one
    :param dict body: the members
    :return: an instance of the operation's input model
    :raises InvalidBody: when something is wrong with it
    """
    try:
        return operation.input.model_validate(body)
    except ValidationError as error:
        raise InvalidBody(_get_problems(error)) from None


def check_key(key):
    """Check the idempotency key of a write, and return it.

    :raises InvalidBody: when it is missing or wrong
    """
    if key is None:
        raise InvalidBody([{"member": "idempotency_key", "message": MESSAGES["missing"]}])
    try:
        return _key.validate_python(key)
    except ValidationError as error:
        raise InvalidBody(_get_problems(error, "idempotency_key")) from None


# What each of them is refused for.
PRODUCT_ERRORS = (
    "unknown_product",
    "ambiguous_product",
    "not_storable",
    "below_rounding",
    "lot_required",
    "unknown_lot",
    "lot_not_allowed",
    "refused",
)
LOT_ERRORS = ("serial_in_stock",)
STOCK_ERRORS = ("not_available",)


class GetAvailabilityInput(Input):
    """Which products, in which warehouses, up to when."""

    skus: list[Text] | None = Field(None, description="Internal references", max_length=1000)
    barcodes: list[Text] | None = Field(None, max_length=1000)
    product_ids: list[Id] | None = Field(None, max_length=1000)
    warehouses: list[Text] | None = Field(
        None, description="Short names; all that you may see if left out", max_length=1000
    )
    warehouse_ids: list[Id] | None = Field(None, max_length=1000)
    date: Moment | None = Field(
        None, description="Count what is planned up to then; everything planned if left out"
    )

    @model_validator(mode="after")
    def _check_count(self):
        named = [*(self.skus or ()), *(self.barcodes or ()), *(self.product_ids or ())]
        if not 1 <= len(named) <= MOST_PRODUCTS:
            raise ValueError(
                f"1 to {MOST_PRODUCTS} products are needed: skus, barcodes, product_ids"
            )
        return self


class Availability(Output):
    """The six figures of a product in a warehouse, in the product's unit of measure."""

    product_id: int
    sku: str | None = None
    barcode: str | None = None
    uom: str
    warehouse_id: int
    warehouse: str
    physical: float = Field(description="On hand")
    reserved: float = Field(description="Promised to transfers")
    available: float = Field(description="Physical less reserved")
    incoming: float = Field(description="Planned to arrive from outside the warehouse")
    outgoing: float = Field(description="Planned to leave the warehouse")
    forecast: float = Field(description="Physical and incoming less outgoing")


class Unknown(Output):
    """A product of the question that there is not, or that you may not see."""

    sku: str | None = None
    barcode: str | None = None
    product_id: int | None = None


class AvailabilityResult(Output):
    """By product and warehouse, in the order of their ids."""

    availability: list[Availability]
    unknown: list[Unknown]


define(
    name="get_availability",
    summary="Availability of products by warehouse",
    input=GetAvailabilityInput,
    output=AvailabilityResult,
)


class GetFeedInput(Input):
    """Which page of the feed."""

    after: Position = Field(0, description="next_after of the page before; 0: from the beginning")
    limit: Annotated[int, Field(ge=1, le=MOST_ENTRIES)] = Field(
        100, description="How many entries at most"
    )
    skus: list[Text] | None = Field(None, max_length=1000, description="Only of these products")
    warehouses: list[Text] | None = Field(
        None, max_length=1000, description="Short names: only of these warehouses"
    )
    warehouse_ids: list[Id] | None = Field(None, max_length=1000)
    event_types: list[EventType] | None = Field(None, max_length=100)


class FeedEntry(Output):
    """A change of the stock, in the product's unit of measure."""

    entry_id: int = Field(description="Place in the feed")
    event_type: str
    product_id: int
    sku: str | None = None
    warehouse_id: int | None = Field(None, description="Left out for goods in transit")
    warehouse: str | None = None
    location_id: int
    lot: str | None = None
    package: str | None = None
    owner_id: int | None = None
    company_id: int | None = None
    quantity: float = Field(description="Change of the quantity on hand")
    reserved_quantity: float = Field(description="Change of the reserved quantity")
    effective_at: str = Field(description="When the goods moved, UTC")
    recorded_at: str = Field(description="When Odoo was told, UTC")
    reference: str | None = None
    origin: str | None = None
    move_id: int | None = None
    transfer_id: int | None = None
    user_id: int | None = None
    corrects_entry_id: int | None = None


class FeedResult(Output):
    """A page of the feed."""

    entries: list[FeedEntry]
    next_after: int = Field(description="What the next page comes after")
    has_more: bool = Field(description="Whether the next page has something already")


define(
    name="get_feed",
    summary="Ledger entries after a position, without a gap",
    input=GetFeedInput,
    output=FeedResult,
)


class ReceiveInput(WarehouseInput, WriteInput):
    """Goods that a supplier has delivered."""

    lines: Lines


define(
    name="receive",
    summary="Receive goods of a supplier into a warehouse",
    input=ReceiveInput,
    output=WriteResult,
    writes=True,
    line_errors=(*PRODUCT_ERRORS, *LOT_ERRORS),
)


class IssueInput(WarehouseInput, WriteInput):
    """Goods that leave for a customer."""

    lines: Lines


define(
    name="issue",
    summary="Ship goods to a customer",
    input=IssueInput,
    output=WriteResult,
    writes=True,
    line_errors=(*PRODUCT_ERRORS, *STOCK_ERRORS),
)


class TransferInput(WriteInput):
    """Goods that go to another warehouse or location."""

    from_warehouse: Text | None = Field(None, description="Short name of the warehouse")
    from_warehouse_id: Id | None = None
    from_location: Text | None = Field(
        None, description="Full name of a location in it; else its stock"
    )
    from_location_id: Id | None = None
    to_warehouse: Text | None = Field(None, description="Short name of the warehouse")
    to_warehouse_id: Id | None = None
    to_location: Text | None = Field(
        None, description="Full name of a location in it; else its stock"
    )
    to_location_id: Id | None = None
    lines: Lines

    @model_validator(mode="after")
    def _check_warehouses(self):
        for prefix in ("from", "to"):
            _check_one(self, f"{prefix}_warehouse", f"{prefix}_warehouse_id")
            _check_at_most_one(self, f"{prefix}_location", f"{prefix}_location_id")
        return self


define(
    name="transfer",
    summary="Move goods to another warehouse or location",
    input=TransferInput,
    output=WriteResult,
    writes=True,
    line_errors=(*PRODUCT_ERRORS, *STOCK_ERRORS),
)


class ReturnGoodsInput(WarehouseInput, WriteInput):
    """Goods that come back from a customer, or go back to a supplier."""

    to_supplier: bool = Field(False, description="They go back to a supplier")
    lines: Lines


define(
    name="return_goods",
    summary="Take goods back from a customer, or send them back to a supplier",
    input=ReturnGoodsInput,
    output=WriteResult,
    writes=True,
    line_errors=(*PRODUCT_ERRORS, *LOT_ERRORS, *STOCK_ERRORS),
)


class AdjustLineInput(ProductInput):
    """A product and what is on hand of it, or by how much that is more or less."""

    quantity: Annotated[float, Field(ge=0, le=MOST_QUANTITY)] | None = Field(
        None, description="On hand from now on, in the product's unit of measure"
    )
    change: OnHand | None = Field(
        None, description="More (or below zero: less) on hand, in the product's unit of measure"
    )
    expected_quantity: OnHand | None = Field(
        None, description="What has to be on hand before; else the line is refused"
    )
    lot: Text | None = Field(None, description="Name of the lot or serial number")

    @model_validator(mode="after")
    def _check_quantity(self):
        _check_one(self, "quantity", "change")
        if self.change == 0:
            raise ValueError("change should not be 0")
        return self


class AdjustInput(WarehouseInput, WriteInput):
    """Corrections of the quantity on hand."""

    reason: Text | None = Field(None, description="Why; the reference of the stock moves")
    lines: Annotated[list[AdjustLineInput], Field(min_length=1, max_length=MOST_LINES)]


class AdjustLineResult(LineResult):
    """What became of a line."""

    on_hand: float | None = Field(None, description="What is on hand now")


class AdjustResult(WriteResult):
    """What an adjustment did; it makes no transfer."""

    lines: list[AdjustLineResult]


define(
    name="adjust",
    summary="Correct the quantity on hand",
    input=AdjustInput,
    output=AdjustResult,
    writes=True,
    line_errors=(*PRODUCT_ERRORS, *LOT_ERRORS, *STOCK_ERRORS, "quantity_differs"),
)


# --- for programs


def get_schema(operation) -> dict[str, Any]:
    """Return the JSON Schema of an operation's body."""
    return operation.input.model_json_schema()


def get_known_part(operation, body):
    """Return a body, checked or not, without members that nobody asked for.

    They might be anything, a password too.

    :param Operation operation: what was called
    :param body: what it was called with
    :return: a dictionary that can be written as JSON
    """
    schema = get_schema(operation)
    parts = [schema, *schema.get("$defs", {}).values()]
    known = {name for part in parts for name in part.get("properties", ())}

    def keep(value, depth):
        if isinstance(value, dict) and depth:
            return {name: keep(part, depth - 1) for name, part in value.items() if name in known}
        if isinstance(value, list | tuple) and depth:
            return [keep(part, depth - 1) for part in value[: MOST_LINES + 1]]
        return value if isinstance(value, str | int | float | None) else type(value).__name__

    return keep(body, KNOWN_DEPTH) if isinstance(body, dict) else {}
