"""The operations of holds, for integrators: goods that are kept for somebody for a while."""

from typing import Annotated

from pydantic import Field, model_validator

from .integration import (
    MOST_LINES,
    PRODUCT_ERRORS,
    STOCK_ERRORS,
    Id,
    Input,
    LineError,
    LineInput,
    LineResult,
    Moment,
    Output,
    Text,
    WriteInput,
    WriteResult,
    _check_at_most_one,
    _check_one,
    define,
)

# PostgreSQL and Python both know the year that this leads to.
MOST_SECONDS = 10 * 366 * 24 * 3600


class ExpiryInput(Input):
    """Until when goods are held."""

    expires_in_seconds: Annotated[int, Field(ge=1, le=MOST_SECONDS)] | None = Field(
        None, description="From now on; the default is a setting of Inventory"
    )
    expires_at: Moment | None = None

    @model_validator(mode="after")
    def _check_expiry(self):
        _check_at_most_one(self, "expires_in_seconds", "expires_at")
        return self


class ReserveLineInput(LineInput):
    """How much of a product is to be held, and where."""

    warehouse: Text | None = Field(None, description="Short name of the warehouse")
    warehouse_id: Id | None = None

    @model_validator(mode="after")
    def _check_warehouse(self):
        _check_one(self, "warehouse", "warehouse_id")
        return self


class HoldInput(Input):
    """Names holds: one by its id, or all that are still held under a reference."""

    hold_id: Id | None = None
    reference: Text | None = Field(None, description="As given when the goods were reserved")

    @model_validator(mode="after")
    def _check_hold(self):
        _check_one(self, "hold_id", "reference")
        return self


class Hold(Output):
    """What is held, and until when."""

    id: int
    name: str
    reference: str | None = None
    product_id: int
    warehouse_id: int
    lot: str | None = None
    quantity: float = Field(description="In the product's unit of measure")
    state: str = Field(description="active, short, converted, released or expired")
    expires_at: str = Field(description="ISO 8601, UTC")


class HoldLineError(LineError):
    """Why goods are not held."""

    available: float | None = Field(None, description="How much could be held instead")


class HoldLineResult(LineResult):
    """What became of a line, and the holds as they are now."""

    error: HoldLineError | None = None
    holds: list[Hold] = []


class HoldResult(WriteResult):
    """What became of the lines."""

    lines: list[HoldLineResult]


Holds = Annotated[list[HoldInput], Field(min_length=1, max_length=MOST_LINES)]


class ReserveInput(ExpiryInput, WriteInput):
    """Goods to be held."""

    lines: Annotated[list[ReserveLineInput], Field(min_length=1, max_length=MOST_LINES)]
    reference: Text | None = Field(
        None, description="The caller's name of what the goods are held for, such as a basket"
    )
    partner_id: Id | None = Field(None, description="Contact who gets the goods")


class ReleaseInput(WriteInput):
    """Holds to be given up."""

    holds: Holds


class ExtendInput(ExpiryInput, WriteInput):
    """Holds that are to expire at another time."""

    holds: Holds


class ConvertInput(WriteInput):
    """Holds whose goods are to go into transfers."""

    holds: Holds
    partner_id: Id | None = Field(
        None, description="Contact who gets the goods, if another than was given before"
    )
    ship: bool = Field(False, description="Whether the goods leave stock at once")


HOLD_ERRORS = ("unknown_hold", "hold_ended")

define(
    name="reserve",
    summary="Hold goods for somebody until a point in time",
    input=ReserveInput,
    output=HoldResult,
    writes=True,
    line_errors=(*PRODUCT_ERRORS, *STOCK_ERRORS, "unknown_warehouse"),
)
define(
    name="release",
    summary="Give held goods back",
    input=ReleaseInput,
    output=HoldResult,
    writes=True,
    line_errors=(*HOLD_ERRORS, "refused"),
)
define(
    name="extend",
    summary="Hold goods until another time",
    input=ExtendInput,
    output=HoldResult,
    writes=True,
    line_errors=(*HOLD_ERRORS, "refused"),
)
define(
    name="convert",
    summary="Put held goods into transfers",
    input=ConvertInput,
    output=HoldResult,
    writes=True,
    line_errors=(*HOLD_ERRORS, *STOCK_ERRORS, "refused"),
)
