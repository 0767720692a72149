"""Reads retail invoices from a CSV text and plans the transfers that perform them.

The columns are those of the UCI data set "Online Retail". Nothing here knows Odoo.

Rules, where the data leave a choice:

- A product's code is five digits and at most two letters, or starts with DCGS
  (the shop's own party bags). The others are postage, fees, vouchers and manual
  corrections (POST, DOT, D, M, C2, AMAZONFEE, PADS, gift_0001_20 ...).
- The United Kingdom buys from the main warehouse, the rest of Europe from EU, any
  other country, or none, from ROW.
- An invoice that starts with C is a customer's return. A negative quantity on any
  other invoice is an adjustment, its description the reason.
- Consecutive lines of one invoice are one transfer, dated like its first line.
- Times are taken as UTC. Exact duplicates are real lines: an article scanned twice.
"""

import csv
import gzip
import hashlib
import io
import itertools
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

COLUMNS = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)
PRODUCT_CODE = re.compile(r"\d{5}[A-Za-z]{0,2}|DCGS\w+", re.ASCII)
LARGEST_QUANTITY = 10_000_000

MAIN, EUROPE, WORLD = "main", "EU", "ROW"
EUROPEAN_COUNTRIES = frozenset(
    "austria,belgium,channel islands,cyprus,czech republic,denmark,eire,"
    "european community,finland,france,germany,greece,iceland,ireland,italy,"
    "lithuania,malta,netherlands,norway,poland,portugal,spain,sweden,"
    "switzerland".split(",")
)

# Suppliers sell whole cartons, so that some stock is left when demand is met.
CARTON = 12


class ReplayError(Exception):
    """The replay cannot go on; the message tells the user why."""


class DataError(ReplayError):
    """The file as a whole cannot be read."""


class MalformedLine(Exception):
    """One line cannot be used; the message is the reason that the report counts."""


class Line(NamedTuple):
    """A line that names a product and a quantity."""

    invoice: str
    code: str
    description: str
    quantity: int
    date: datetime
    warehouse: str


class Transfer(NamedTuple):
    """A delivery to a customer or a return from one: a quantity per product's code."""

    kind: str
    invoice: str
    date: datetime
    warehouse: str
    quantities: dict


class Adjustment(NamedTuple):
    """A product's stock lowered by ``quantity`` without a customer."""

    invoice: str
    date: datetime
    warehouse: str
    code: str
    quantity: int
    reason: str


# --- reading


@dataclass(frozen=True)
class Source:
    """A CSV text and what identifies it."""

    name: str
    text: str
    fingerprint: str

    @classmethod
    def of_bytes(cls, name, data):
        """Take plain or gzip bytes, UTF-8 or Latin-1."""
        if data.startswith(b"\x1f\x8b"):
            try:
                data = gzip.decompress(data)
            except (EOFError, OSError, ValueError) as error:
                raise DataError(f"{name}: damaged gzip file: {error}") from error
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
        return cls(name, text, hashlib.sha256(data).hexdigest())

    @classmethod
    def of_file(cls, path):
        try:
            with open(path, "rb") as file:
                return cls.of_bytes(path, file.read())
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}") from error

    def count(self):
        """Return the number of lines, the header excluded."""
        unfinished = bool(self.text) and not self.text.endswith("\n")
        return max(self.text.count("\n") + unfinished - 1, 0)

    def rows(self, start=0, stop=None):
        """Yield the fields of the lines from ``start`` up to ``stop``.

        Each line is parsed alone: a quote that is never closed spoils its own line
        and does not swallow the ones that follow.
        """
        lines = io.StringIO(self.text)
        columns = [name.strip().lower() for name in self._fields(next(lines, ""))]
        try:
            order = [columns.index(name.lower()) for name in COLUMNS]
        except ValueError as error:
            raise DataError(
                f"{self.name}: the first line must name {', '.join(COLUMNS)}"
            ) from error
        for line in itertools.islice(lines, start, stop):
            fields = self._fields(line)
            # Kept short, for the reader to count as malformed.
            if len(fields) == len(columns):
                fields = [fields[index] for index in order]
            else:
                fields = []
            yield fields

    @staticmethod
    def _fields(line):
        try:
            return next(csv.reader([line.rstrip("\r\n")]), [])
        except csv.Error:
            return []


def parse_line(row):
    """Return the line in a row of fields; MalformedLine where it has no use."""
    if len(row) != len(COLUMNS):
        raise MalformedLine("wrong number of columns")
    invoice, code, description, quantity, date, price, _, country = map(str.strip, row)
    if not invoice:
        raise MalformedLine("no invoice number")
    if not code:
        raise MalformedLine("no product code")
    if not PRODUCT_CODE.fullmatch(code):
        raise MalformedLine("not a product")
    quantity = parse_quantity(quantity)
    if invoice.startswith("C") and quantity > 0:
        raise MalformedLine("positive quantity in a return")
    parse_price(price)
    return Line(invoice, code, description, quantity, parse_date(date), warehouse_of(country))


def parse_quantity(text):
    try:
        quantity = int(text)
    except ValueError:
        raise MalformedLine("unreadable quantity") from None
    if not quantity:
        raise MalformedLine("zero quantity")
    if abs(quantity) > LARGEST_QUANTITY:
        raise MalformedLine("unreadable quantity")
    return quantity


def parse_price(text):
    """Only checked: stock has no use for it, but a line that lacks it is damaged."""
    try:
        float(text)
    except ValueError:
        raise MalformedLine("unreadable price") from None


def parse_date(text):
    """Read the ISO notation or that of the original spreadsheet (12/1/2010 8:26)."""
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        try:
            date = datetime.strptime(text, "%m/%d/%Y %H:%M")
        except ValueError:
            raise MalformedLine("unreadable date") from None
    if date.tzinfo or not 1970 <= date.year <= 2100:
        raise MalformedLine("unreadable date")
    return date.replace(microsecond=0)


def warehouse_of(country):
    country = country.lower()
    if country == "united kingdom":
        return MAIN
    return EUROPE if country in EUROPEAN_COUNTRIES else WORLD


# --- planning


@dataclass
class Group:
    """Consecutive lines of one invoice, and the malformed ones among them.

    ``stop`` is the number of the line after the last.
    """

    start: int
    stop: int
    lines: list = field(default_factory=list)
    skipped: Counter = field(default_factory=Counter)

    @property
    def invoice(self):
        return self.lines[0].invoice if self.lines else None

    @property
    def date(self):
        return self.lines[0].date if self.lines else None

    def adjustments(self):
        return [
            Adjustment(
                line.invoice,
                self.date,
                line.warehouse,
                line.code,
                -line.quantity,
                line.description,
            )
            for line in self.lines
            if is_adjustment(line)
        ]

    def transfers(self):
        """Return one transfer per kind and warehouse: in sane data, one at most."""
        found = {}
        for line in self.lines:
            if is_adjustment(line):
                continue
            kind = "return" if line.quantity < 0 else "delivery"
            transfer = found.setdefault(
                (kind, line.warehouse),
                Transfer(kind, line.invoice, self.date, line.warehouse, Counter()),
            )
            transfer.quantities[line.code] += abs(line.quantity)
        return list(found.values())


def is_adjustment(line):
    return line.quantity < 0 and not line.invoice.startswith("C")


def read_groups(source, start=0, stop=None):
    """Yield the groups of the lines from ``start`` up to ``stop``."""
    group = None
    for number, row in enumerate(source.rows(start, stop), start):
        try:
            line = parse_line(row)
        except MalformedLine as error:
            group = group or Group(number, number)
            group.skipped[str(error)] += 1
        else:
            if group and group.lines and group.invoice != line.invoice:
                yield group
                group = None
            group = group or Group(number, number)
            group.lines.append(line)
        group.stop = number + 1
    if group:
        yield group


def split_weeks(groups):
    """Yield lists of consecutive groups of the same week."""
    week, current = None, []
    for group in groups:
        its_week = group.date and group.date.isocalendar()[:2]
        # A group without a date has no line to perform and belongs anywhere.
        if current and its_week and week and its_week != week:
            yield current
            current = []
        week = its_week or week
        current.append(group)
    if current:
        yield current


def split_batches(groups, lines):
    """Yield lists of groups that have, together, at least so many lines."""
    batch = []
    for group in groups:
        batch.append(group)
        if batch[-1].stop - batch[0].start >= lines:
            yield batch
            batch = []
    if batch:
        yield batch


def split_chunks(items, size):
    items = list(items)
    return [items[start : start + size] for start in range(0, len(items), size)]


def product_names(groups):
    """Return a name per code: a description from a sale or return, else the code.

    Descriptions of adjustments tell what went wrong, not what the product is.
    """
    names = {}
    for group in groups:
        for line in group.lines:
            if line.description and not is_adjustment(line):
                names.setdefault(line.code, line.description)
    for group in groups:
        for line in group.lines:
            names.setdefault(line.code, line.code)
    return names


def demand(groups):
    """Return what leaves each warehouse: {(warehouse, code): quantity}.

    Returns are not set against it, so that it is met in whatever order.
    """
    needed = Counter()
    for group in groups:
        for transfer in group.transfers():
            if transfer.kind == "delivery":
                for code, quantity in transfer.quantities.items():
                    needed[transfer.warehouse, code] += quantity
        for adjustment in group.adjustments():
            needed[adjustment.warehouse, adjustment.code] += adjustment.quantity
    return needed


def receipts(needed, available):
    """Return what to buy, in whole cartons: {warehouse: {code: quantity}}."""
    orders = {}
    for (warehouse, code), quantity in sorted(needed.items()):
        cartons = -(-(quantity - available.get((warehouse, code), 0)) // CARTON)
        if cartons > 0:
            orders.setdefault(warehouse, {})[code] = int(cartons) * CARTON
    return orders


def receipt_date(groups):
    """Return a time before the first invoice, for what covers the demand."""
    return min(group.date for group in groups if group.date) - timedelta(hours=1)
