"""Sessions that want the same stock at the same moment, and some that do not.

race      eight sessions reserve the only unit of a product, twenty products in turn
confirm   deliveries of one product confirmed and reserved; floor: confirmed alone
assign    Check Availability on confirmed deliveries of one product
queue     the same, where the addon queues every reservation
mixed     deliveries of different products: confirm, check availability, validate
single    one session, deliveries of five products: confirm with reserving, validate
validate  deliveries of one product, reserved and picked, are validated
"""

import time

from .figures import get_figures, measure
from .report import Target
from .warehouse import Warehouse

CALM_SECONDS = 10


class Case:
    """A load that is put on both databases.

    Round by round, transfers are prepared on both and then measured in turn, in as many
    ``pairs`` as there are elements in what ``prepare`` returns.
    """

    processes = (8,)
    pairs = 1
    # The case whose figures on plain Odoo are this one's too.
    same_on_plain = None
    # Whether the addon has, on this database, what the case is about.
    is_available = staticmethod(lambda warehouse: True)

    def __init__(self, scale):
        self._scale = scale

    def scaled(self, count, least=1):
        """Return a number of transfers or products for the chosen scale."""
        return max(round(count * self._scale), least)

    def prepare(self, warehouse, processes):
        """Make what one round needs; return an element per pair."""
        raise NotImplementedError

    def measure(self, warehouse, processes, prepared):
        """Put the load on one database; return Figures by label."""
        raise NotImplementedError

    def get_targets(self, processes, samples):
        """Return the Targets of the measured samples, each {site: {label: Figures}}."""
        return []


def share(calls, processes):
    """Deal out calls to the sessions."""
    return [calls[index::processes] for index in range(processes)]


def get_median_ratio(samples, get_ratio):
    """Return the median over the samples of a ratio."""
    ratios = sorted(get_ratio(sample) for sample in samples)
    middle = len(ratios) // 2
    return (ratios[middle] + ratios[~middle]) / 2


class Race(Case):
    name = "race"

    def prepare(self, warehouse, processes):
        products = warehouse.make_products(self.scaled(20, 2), 1)
        deliveries = [[product] for product in products for _ in range(processes)]
        return [(products, warehouse.make_deliveries(deliveries, confirm=True))]

    def measure(self, warehouse, processes, prepared):
        products, transfers = prepared
        warehouse.configure("manual")
        calls, counted = [], []
        for index, product in enumerate(products):
            racing = transfers[index * processes : (index + 1) * processes]
            more, figures = self._run_one(warehouse, product, racing)
            calls += more
            counted.append(figures)
        total = {
            name: sum(each[name] for each in counted)
            for name in ("units", "seconds", "failed", "replays", "oversold")
        }
        most = max(each["most_promised"] for each in counted)
        figures = get_figures(calls, **{**total, "most_promised": most})
        # Without the pauses from one race to the next.
        figures.requests_per_second = len(calls) / figures.seconds
        return {"": figures}

    @staticmethod
    def _run_one(warehouse, product, transfers):
        return measure(
            warehouse.site,
            warehouse,
            [[("action_assign", [transfer])] for transfer in transfers],
            [product],
            lambda: warehouse.count_reserved([product]),
            1,
        )


class Hot(Case):
    """Deliveries of one product, each reserved by a call."""

    reservation_method = "manual"
    policy = "contended"
    method = "action_assign"
    label = ""

    def prepare(self, warehouse, processes):
        return [self._make(warehouse, processes, confirm=True)]

    def _make(self, warehouse, processes, confirm):
        count = self.scaled(320 if processes >= 16 else 240, processes)
        [product] = warehouse.make_products(1, count + 10)
        return product, warehouse.make_deliveries([[product]] * count, confirm)

    def measure(self, warehouse, processes, prepared):
        warehouse.configure(self.reservation_method, self.policy)
        return {self.label: self._reserve(warehouse, processes, *prepared)}

    def _reserve(self, warehouse, processes, product, transfers):
        calls, counted = measure(
            warehouse.site,
            warehouse,
            share([(self.method, [transfer]) for transfer in transfers], processes),
            [product],
            lambda: warehouse.count_reserved([product]),
            len(transfers),
        )
        figures = get_figures(calls, **counted)
        figures.reservations_per_second = figures.units / figures.seconds
        return figures


class Confirm(Hot):
    name = "confirm"
    processes = (4, 8, 16)
    reservation_method = "at_confirm"
    method = "action_confirm"
    label = "reserving"

    def prepare(self, warehouse, processes):
        return [[self._make(warehouse, processes, confirm=False) for _ in range(2)]]

    def measure(self, warehouse, processes, prepared):
        floor, reserving = prepared
        warehouse.configure("manual")
        product, transfers = floor
        calls, counted = measure(
            warehouse.site,
            warehouse,
            share([(self.method, [transfer]) for transfer in transfers], processes),
            [product],
            lambda: 0,
            0,
        )
        figures = {"floor": get_figures(calls, **{**counted, "units": None})}
        return {**figures, **super().measure(warehouse, processes, reserving)}

    def get_targets(self, processes, samples):
        def get_ratio(site):
            return lambda sample: sample[site]["reserving"].seconds / sample[site]["floor"].seconds

        plain = get_median_ratio(samples, get_ratio("plain"))
        addon = get_median_ratio(samples, get_ratio("addon"))
        p99 = get_median_ratio(
            samples,
            lambda sample: sample["addon"]["reserving"].p99 / sample["plain"]["reserving"].p99,
        )
        targets = [
            Target(
                f"confirm, {processes} processes: time until all is reserved, in times of "
                f"confirming alone (plain Odoo: {plain:.2f})",
                addon,
                1.25,
            )
        ]
        if processes >= 16:
            targets.append(
                Target(f"confirm, {processes} processes: p99, in times of plain Odoo's", p99, 0.1)
            )
        return targets


class Assign(Hot):
    name = "assign"
    processes = (16,)
    least_ratio = 2

    def get_targets(self, processes, samples):
        ratio = get_median_ratio(
            samples,
            lambda sample: (
                sample["addon"][""].reservations_per_second
                / (sample["plain"][""].reservations_per_second or float("nan"))
            ),
        )
        text = f"{self.name}, {processes} processes: reservations/s, in times of plain Odoo's"
        return [Target(text, ratio, self.least_ratio, at_least=True)]


class Queue(Assign):
    name = "queue"
    policy = "always"
    same_on_plain = "assign"
    least_ratio = 5
    is_available = staticmethod(lambda warehouse: warehouse.has_policy)


class Mixed(Case):
    name = "mixed"
    pairs = 6
    steps = ("action_confirm", "action_assign", "button_validate")

    def prepare(self, warehouse, processes):
        count = self.scaled(40, processes)
        products = warehouse.make_products(count * self.pairs, 10)
        transfers = warehouse.make_deliveries([[product] for product in products])
        return [
            (products[start : start + count], transfers[start : start + count])
            for start in range(0, len(products), count)
        ]

    def measure(self, warehouse, processes, prepared):
        products, transfers = prepared
        warehouse.configure("manual")
        jobs = [
            [(method, [transfer]) for transfer in mine for method in self.steps]
            for mine in share(transfers, processes)
        ]
        calls, counted = measure(
            warehouse.site,
            warehouse,
            jobs,
            products,
            lambda: warehouse.count_done(transfers),
            len(transfers),
        )
        return {"": get_figures(calls, **{**counted, "units": None})}

    def get_targets(self, processes, samples):
        return [get_slowdown(self.name, samples, "")]


class Single(Case):
    name = "single"
    processes = (1,)
    pairs = 10
    lines = 5

    def prepare(self, warehouse, processes):
        count = self.scaled(6, 2)
        chunks = []
        products = warehouse.make_products(count * self.lines, self.pairs * 2)
        rows = [products[start::count] for start in range(count)]
        transfers = warehouse.make_deliveries(rows * self.pairs)
        for start in range(0, len(transfers), count):
            chunks.append((products, transfers[start : start + count]))
        return chunks

    def measure(self, warehouse, processes, prepared):
        products, transfers = prepared
        warehouse.configure("at_confirm")
        steps = ("action_confirm", "button_validate")
        job = [(method, [transfer]) for method in steps for transfer in transfers]
        calls, counted = measure(
            warehouse.site,
            warehouse,
            [job],
            products,
            lambda: warehouse.count_done(transfers),
            len(transfers),
        )
        figures = {}
        for label, method in (("confirm", steps[0]), ("validate", steps[1])):
            own = [call for call in calls if call.method == method]
            figures[label] = get_figures(own)
        # What is counted for all of them must not be counted twice.
        for name in ("failed", "replays", "oversold"):
            setattr(figures["validate"], name, counted[name])
        figures["confirm"].failed = 0
        return figures

    def get_targets(self, processes, samples):
        return [get_slowdown(self.name, samples, label) for label in ("confirm", "validate")]


def get_slowdown(name, samples, label):
    """Return the Target of what no other session disturbs."""
    ratio = get_median_ratio(
        samples, lambda sample: sample["addon"][label].seconds / sample["plain"][label].seconds
    )
    return Target(f"{name} {label}".rstrip() + ": time, in times of plain Odoo's", ratio, 1.05)


class Validate(Case):
    name = "validate"

    def prepare(self, warehouse, processes):
        count = self.scaled(120, processes)
        [product] = warehouse.make_products(1, count + 10)
        transfers = warehouse.make_deliveries([[product]] * count, confirm=True)
        warehouse.pick(transfers)
        return [(product, transfers)]

    def measure(self, warehouse, processes, prepared):
        product, transfers = prepared
        calls, counted = measure(
            warehouse.site,
            warehouse,
            share([("button_validate", [transfer]) for transfer in transfers], processes),
            [product],
            lambda: warehouse.count_done(transfers),
            len(transfers),
        )
        figures = get_figures(calls, **counted)
        # What failed is no work done.
        figures.requests_per_second = figures.units / figures.seconds
        return {"": figures}

    def get_targets(self, processes, samples):
        ratio = get_median_ratio(
            samples,
            lambda sample: (
                sample["addon"][""].requests_per_second
                / (sample["plain"][""].requests_per_second or float("nan"))
            ),
        )
        text = f"validate, {processes} processes: validated/s, in times of plain Odoo's"
        return [Target(text, ratio, 1, at_least=True)]


CASES = (Race, Confirm, Assign, Queue, Mixed, Single, Validate)


def start(site):
    """Return the Warehouse that the cases work on."""
    warehouse = Warehouse(site)
    # More than any warming up takes.
    warehouse.common_products = warehouse.make_products(site.sessions, 10000)
    return warehouse


def warm_up(warehouse):
    """Have every process of a server go through what is measured."""
    warehouse.configure("manual")

    def get_jobs():
        products = [[product] for product in warehouse.common_products]
        transfers = warehouse.make_deliveries(products)
        return [[(method, [transfer]) for method in Mixed.steps] for transfer in transfers]

    warehouse.site.warm_up(get_jobs)


def wait_for_calm(warehouse):
    """Let what a database still does in the background not count for the other."""
    deadline = time.monotonic() + CALM_SECONDS
    while warehouse.count_queued() or warehouse.count_unfolded():
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)
