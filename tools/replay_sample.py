"""Makes a small data set of the same shape as "Online Retail", always the same."""

import csv
import io
import random
from datetime import datetime, timedelta

from replay_data import COLUMNS, Source

PRODUCTS = 300
COUNTRIES = {
    "United Kingdom": 80,
    "Germany": 4,
    "France": 4,
    "EIRE": 3,
    "Netherlands": 2,
    "Australia": 2,
    "Japan": 1,
    "USA": 1,
}
COLOURS = "BLUE GREEN IVORY PINK RED RETROSPOT VINTAGE WHITE".split()
THINGS = (
    "APRON,BIRD CAGE,CAKE TIN,CANDLE,DOORMAT,JAM JAR,LANTERN,LUNCH BAG,MUG,NAPKINS,"
    "NIGHT LIGHT,PARTY BUNTING,PHOTO FRAME,TEA TOWEL,TRINKET BOX,WALL CLOCK"
).split(",")
REASONS = ("damaged", "thrown away", "check", "missing", "wet pallet", "?")
SERVICES = ("POST", "DOT", "M", "D", "BANK CHARGES", "AMAZONFEE", "C2")


def generate(lines, seed):
    """Return a source of so many lines; the same arguments give the same bytes."""
    sample = Sample(random.Random(seed))
    rows = []
    while len(rows) < lines:
        rows += sample.invoice()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows[:lines])
    return Source.of_bytes(f"{lines} generated lines, seed {seed}", text.getvalue().encode())


class Sample:
    """A shop's invoices, one after the other."""

    def __init__(self, random):
        self.random = random
        self.number = 600000
        self.time = datetime(2024, 1, 8, 8, 0)
        self.sold = []
        self.products = [self._product(index) for index in range(PRODUCTS)]
        # A few products make most of the sales.
        self.weights = [1 / (rank + 5) for rank in range(PRODUCTS)]

    def _product(self, index):
        name = f"{self.random.choice(COLOURS)} {self.random.choice(THINGS)}"
        suffix = self.random.choice(["", "", "", "A", "B"])
        price = self.random.randrange(29, 1295) / 100
        return f"{20000 + index * 7}{suffix}", f"{name} No{index}", price

    def invoice(self):
        """Return the rows of the next invoice."""
        self.number += 1
        self._pass_time()
        kind = self.random.random()
        if kind < 0.1 and self.sold:
            rows = self._return()
        elif kind < 0.18:
            rows = self._write_off()
        else:
            rows = self._sale()
        return [row for line in rows for row in self._disturbed(line)]

    def _pass_time(self):
        self.time += timedelta(minutes=self.random.randrange(3, 120))
        if self.time.hour >= 18:
            self.time = self.time.replace(hour=8, minute=0) + timedelta(days=1)

    def _sale(self):
        country = self.random.choices(list(COUNTRIES), list(COUNTRIES.values()))[0]
        customer = str(self.random.randrange(12346, 12600))
        chosen = self.random.choices(self.products, self.weights, k=self.random.randrange(1, 30))
        rows = []
        for product in chosen:
            quantity = self.random.choice([1, 1, 2, 3, 4, 6, 6, 12, 24])
            row = self._row(str(self.number), product, quantity, customer, country)
            self.sold.append((product, quantity, customer, country))
            rows.append(row)
        return rows

    def _return(self):
        product, quantity, customer, country = self.random.choice(self.sold)
        back = -self.random.randint(1, quantity)
        return [self._row(f"C{self.number}", product, back, customer, country)]

    def _write_off(self):
        code, _, _ = self.random.choice(self.products[: PRODUCTS // 4])
        product = (code, self.random.choice(REASONS), 0.0)
        lost = -self.random.randrange(1, 9)
        return [self._row(str(self.number), product, lost, "", "United Kingdom")]

    def _row(self, invoice, product, quantity, customer, country):
        code, name, price = product
        return [invoice, code, name, quantity, self.time, price, customer, country]

    def _disturbed(self, row):
        """Return the row, now and then followed by one that is not a movement."""
        if self.random.random() >= 0.02:
            return [row]
        damage = self.random.randrange(6)
        odd = list(row)
        if damage == 0:
            odd[1] = self.random.choice(SERVICES)
        elif damage == 1:
            odd[1] = ""
        elif damage == 2:
            odd[3] = 0
        elif damage == 3:
            odd[3] = "six"
        elif damage == 4:
            odd[4] = "yesterday"
        else:
            odd = odd[:5]
        return [row, odd]
