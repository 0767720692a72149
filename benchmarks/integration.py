"""What shops and warehouse systems ask for, over JSON-2.

availability  a hundred SKUs in one call, beside plain Odoo's product.product.read, and beside a
              call that reads next to nothing: what is left is the protocol and the API key
feed          pages of a thousand ledger entries
hold          sixteen clients reserve one hot SKU, until long after it is all promised
"""

import random
import statistics
import subprocess
import uuid
from collections import Counter

from .json2 import Session, run_at_once
from .load import get_percentile, get_seconds
from .report import Target, conclude_cases, get_environment, say
from .server import TOOLS, serving
from .warehouse import Warehouse

CLIENTS = (1, 16)
PRODUCTS = 300
SKUS = 100
LINES = 5
RATE_PARAMETER = "stock_event_ledger.integration_rate"
KEY_MARK = "benchmark key: "
KEY_SCRIPT = """
import datetime
keys = env["res.users.apikeys"].with_user(env.ref("base.user_admin"))
tomorrow = datetime.datetime.now() + datetime.timedelta(days=1)
key = keys._generate("rpc", "Benchmark", tomorrow)
env.cr.commit()
print({mark!r} + key, flush=True)
"""


class Place:
    """One of the compared databases, with products that have SKUs, stock and a past."""

    def __init__(self, site):
        self.site = site
        self.warehouse = Warehouse(site)
        self.session = Session(site.address, site.database, make_api_key(site.database))
        [warehouse] = site.call("stock.warehouse", "search_read", [], ["code"], limit=1)
        self.code = warehouse["code"]
        self.product_ids = []

    def prepare(self, deliveries):
        """Make the products, deliver some of each, and promise some of each."""
        # The limit on calls is not what is measured.
        self.site.call("ir.config_parameter", "set_param", RATE_PARAMETER, "1000000")
        self.product_ids = self.warehouse.make_products(PRODUCTS, 1000)
        for index, product_id in enumerate(self.product_ids):
            self.site.call("product.product", "write", [product_id], {"default_code": sku(index)})
        rows = [
            [self.product_ids[(index * LINES + line) % PRODUCTS] for line in range(LINES)]
            for index in range(deliveries)
        ]
        transfers = self.warehouse.make_deliveries(rows, confirm=True)
        for transfer in transfers[: deliveries // 2]:
            self.warehouse.pick([transfer])
            self.site.call("stock.picking", "button_validate", [transfer])
        self.site.call("stock.picking", "action_assign", transfers[deliveries // 2 :])


def sku(index):
    """Return the SKU of a product."""
    return f"BENCH-{index:04d}"


def make_api_key(database):
    """Return a new API key of the administrator, who is all that a new database has."""
    process = subprocess.run(
        [TOOLS / "odoo", "shell", "-d", database, "--no-http", "--log-level=error"],
        input=KEY_SCRIPT.format(mark=KEY_MARK),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    for line in process.stdout.splitlines():
        if KEY_MARK in line:
            return line.rpartition(KEY_MARK)[2].strip()
    raise SystemExit(f"no API key for {database}")


class Case:
    """A measurement; it adds to ``rows``, dictionaries of figures by title, and ``targets``."""

    def __init__(self, places, options):
        self.places = places
        self.rounds = max(options.rounds, 1)
        self._scale = options.scale
        self.rows = []
        self.targets = []
        # What never may be, as text.
        self.unsafe = []

    def scaled(self, count, least):
        """Return a number of calls for the chosen scale."""
        return max(round(count * self._scale), least)

    def add_row(self, title, clients, calls, **figures):
        """Note how long calls took; failed ones are unsafe."""
        for error, count in Counter(call.error for call in calls if call.error).items():
            self.unsafe.append(f"{self.name}, {clients} clients: {count} x {error[:300]}")
        self.rows.append(
            {
                "what": title,
                "clients": clients,
                "calls": len(calls),
                "calls/s": len(calls) / get_seconds(calls),
                "p50 ms": get_percentile([call.seconds for call in calls], 50) * 1000,
                "p99 ms": get_percentile([call.seconds for call in calls], 99) * 1000,
                **figures,
            }
        )
        return self.rows[-1]


class Availability(Case):
    name = "availability"
    pairs = 5
    wanted = 10

    def run(self):
        """Measure both in turn, the one call right after the other's."""
        for clients in CLIENTS:
            count = self.scaled(20 if clients == 1 else 5, 2)
            calls = {"plain": [], "addon": [], "nothing": []}
            ratios, net_ratios = [], []
            for number in range(self.pairs * self.rounds + 1):
                medians = {}
                order = list(calls) if number % 2 else list(calls)[::-1]
                for name in order:
                    session = self.places["plain" if name == "plain" else "addon"].session
                    made = run_at_once(session, self._get_jobs(name, clients, count))
                    medians[name] = statistics.median(call.seconds for call in made)
                    # The first pair fills caches.
                    calls[name] += made if number else []
                if number:
                    ratios.append(medians["plain"] / medians["addon"])
                    floor = medians["nothing"]
                    net_ratios.append((medians["plain"] - floor) / (medians["addon"] - floor))
            for name, made in calls.items():
                self.add_row(name, clients, made)
            text = f"availability of {SKUS} SKUs, {clients} clients: times faster than plain Odoo"
            ratio = statistics.median(ratios)
            self.targets.append(Target(text, ratio, self.wanted, at_least=True))
            ratio = statistics.median(net_ratios)
            text += ", less what a call costs that reads nothing"
            self.targets.append(Target(text, ratio, self.wanted, at_least=True))

    def _get_jobs(self, name, clients, count):
        choose = random.Random(clients)
        return [
            [self._get_call(name, choose.sample(range(PRODUCTS), SKUS)) for _ in range(count)]
            for _client in range(clients)
        ]

    def _get_call(self, name, indexes):
        if name == "nothing":
            return "res.users", "context_get", {}
        if name == "addon":
            skus = [sku(index) for index in indexes]
            return "stock.integration", "get_availability", {"skus": skus}
        ids = [self.places[name].product_ids[index] for index in indexes]
        fields = ["default_code", "qty_available", "free_qty"]
        return "product.product", "read", {"ids": ids, "fields": fields}


class Feed(Case):
    name = "feed"
    page = 1000

    def run(self):
        """Read the whole ledger, page by page, several times."""
        session = self.places["addon"].session
        calls, seen = [], []
        for _round in range(self.scaled(5, 1)):
            after, more = 0, True
            while more:
                pages = []
                job = [("stock.integration", "get_feed", {"after": after, "limit": self.page})]
                calls += run_at_once(session, [job], pages.append)
                if not pages:
                    break
                seen.append(len(pages[0]["entries"]))
                after, more = pages[0]["next_after"], pages[0]["has_more"]
        self.add_row(f"pages of {self.page:,}", 1, calls, entries=sum(seen))
        [[entries]] = self.places["addon"].site.query(
            """SELECT COUNT(*) FROM stock_ledger_entry entry
                 JOIN stock_location location ON location.id = entry.location_id
                WHERE location.usage IN ('internal', 'transit')"""
        )
        if sum(seen) != entries * self.scaled(5, 1):
            self.unsafe.append(f"the feed had {sum(seen)} entries, the ledger {entries}")


class Hold(Case):
    name = "hold"

    def run(self):
        """Let all clients want more than there is."""
        place = self.places["addon"]
        clients = CLIENTS[-1]
        each = self.scaled(30, 2)
        units = clients * each * 3 // 4
        [product_id] = place.warehouse.make_products(1, units)
        place.site.call("product.product", "write", [product_id], {"default_code": "BENCH-HOT"})
        results = []
        place.site.start_counting()
        line = {"sku": "BENCH-HOT", "quantity": 1, "warehouse": place.code}
        jobs = [
            [
                (
                    "stock.integration",
                    "reserve",
                    {"lines": [line], "idempotency_key": str(uuid.uuid4())},
                )
                for _ in range(each)
            ]
            for _client in range(clients)
        ]
        calls = run_at_once(place.session, jobs, results.append)
        held = sum(result["status"] == "done" for result in results)
        row = self.add_row("one SKU", clients, calls, held=held, replays=place.site.count_replays())
        row["held/s"] = held / get_seconds(calls)
        promised = place.warehouse.count_reserved([product_id])
        if promised != units or held != units or place.warehouse.get_oversold([product_id]):
            self.unsafe.append(f"{promised:g} units promised to {held} calls, of {units}")
        if row["replays"]:
            self.unsafe.append(f"{row['replays']} replays")


CASES = (Availability, Feed, Hold)


def run(options, command):
    """Measure the chosen cases, report, and keep the results of a full run.

    :return: whether nothing went wrong that never may
    """
    with serving(options.name, max(CLIENTS), options.keep) as sites:
        say("products with a past")
        places = {name: Place(site) for name, site in sites.items()}
        for place in places.values():
            place.prepare(max(round(200 * options.scale), 20))
            place.site.query("ANALYZE")
        cases = []
        for case_class in CASES:
            if not options.cases or case_class.name in options.cases:
                say(case_class.name)
                cases.append(case_class(places, options))
                cases[-1].run()
        environment = get_environment(sites, command)
    unsafe = [text for case in cases for text in case.unsafe]
    remark = "; ".join(unsafe) or "Nothing failed, was replayed, left out or promised twice."
    conclude_cases("integration", environment, cases, options, remark, _format)
    return not unsafe


def _format(value):
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
