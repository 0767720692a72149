"""One session validates a transfer of a thousand lines, on plain Odoo and with the addon."""

from .contention import Case, get_slowdown, start, wait_for_calm, warm_up
from .figures import get_figures, measure

__all__ = ["CASES", "start", "wait_for_calm", "warm_up"]


class LargeTransfer(Case):
    name = "validate 1,000 lines"
    processes = (1,)
    pairs = 9
    lines = 1000

    def prepare(self, warehouse, processes):
        products = warehouse.make_products(self.scaled(self.lines, 10), self.pairs)
        transfers = warehouse.make_deliveries([products] * self.pairs, confirm=True)
        warehouse.pick(transfers)
        return [(products, transfer) for transfer in transfers]

    def measure(self, warehouse, processes, prepared):
        products, transfer = prepared
        calls, counted = measure(
            warehouse.site,
            warehouse,
            [[("button_validate", [transfer])]],
            products,
            lambda: warehouse.count_done([transfer]),
            1,
        )
        return {"": get_figures(calls, **{**counted, "units": None})}

    def get_targets(self, processes, samples):
        return [get_slowdown(self.name, samples, "")]


CASES = (LargeTransfer,)
