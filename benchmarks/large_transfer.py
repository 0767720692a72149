"""One session validates a transfer of a thousand lines, on plain Odoo and with the addon."""

from .contention import Case, get_slowdown, start, wait_for_calm, warm_up
from .figures import get_figures, measure

__all__ = ["CASES", "start", "wait_for_calm", "warm_up"]


class LargeTransfer(Case):
    name = "write"
    processes = (1,)
    pairs = 9
    lines = 1000

    def prepare(self, warehouse, processes):
        products = warehouse.make_products(self.scaled(self.lines, 10), self.pairs)
        prepared = []
        for _pair in range(self.pairs):
            [transfer] = warehouse.make_deliveries([products], confirm=True)
            warehouse.pick([transfer])
            prepared.append((products, transfer))
        return prepared

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
        return {"": get_figures(calls, **{**counted, "units": len(products)})}

    def get_targets(self, processes, samples):
        return [get_slowdown("a large transfer validated", samples, "")]


CASES = (LargeTransfer,)
