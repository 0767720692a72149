"""Let sessions race for the only unit of a product, as users' clients do, and count."""

import argparse
import contextlib
import pathlib
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
import xmlrpc.client
from concurrent.futures import ThreadPoolExecutor

ODOO = pathlib.Path(__file__).with_name("odoo")


def get_free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def run_server(database, workers):
    """Run Odoo on the database, with a process per session; yield its address."""
    port = get_free_port()
    command = [ODOO, "server", "-d", database, "--db-filter", f"^{database}$"]
    command += ["--http-interface=127.0.0.1", f"--http-port={port}", "--log-level=error"]
    command += [f"--gevent-port={get_free_port()}", "--max-cron-threads=0"]
    command += [f"--workers={workers}"]
    process = subprocess.Popen(command)
    address = f"http://127.0.0.1:{port}"
    try:
        for _attempt in range(300):
            try:
                urllib.request.urlopen(f"{address}/web/login", timeout=30).close()
                break
            except OSError:
                time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait()


class Client:
    """The calls that a shop or a warehouse's client would make."""

    def __init__(self, address, database):
        common = xmlrpc.client.ServerProxy(f"{address}/xmlrpc/2/common")
        self._models = xmlrpc.client.ServerProxy(f"{address}/xmlrpc/2/object", allow_none=True)
        self._login = database, common.authenticate(database, "admin", "admin", {}), "admin"

    def call(self, model, method, *args, **kwargs):
        return self._models.execute_kw(*self._login, model, method, args, kwargs)

    def prepare(self, sessions):
        """Put one unit of a new product in stock, and make a delivery of it per session.

        :return: the transfers' ids
        """
        [warehouse] = self.call(
            "stock.warehouse", "search_read", [], ["lot_stock_id", "out_type_id"], limit=1
        )
        stock, out_type = warehouse["lot_stock_id"][0], warehouse["out_type_id"][0]
        [customers] = self.call("stock.location", "search", [["usage", "=", "customer"]], limit=1)
        product = self.call(
            "product.product",
            "create",
            {"name": "Only one", "type": "consu", "is_storable": True},
        )
        self.call(
            "stock.quant",
            "create",
            {"product_id": product, "location_id": stock, "inventory_quantity_auto_apply": 1},
            context={"inventory_mode": True},
        )
        # Reserving is what the sessions are to do.
        self.call("stock.picking.type", "write", [out_type], {"reservation_method": "manual"})
        places = {"location_id": stock, "location_dest_id": customers}
        move = {"product_id": product, "product_uom_qty": 1, **places}
        transfer = {"picking_type_id": out_type, "move_ids": [(0, 0, move)], **places}
        transfers = self.call("stock.picking", "create", [transfer] * sessions)
        self.call("stock.picking", "action_confirm", transfers)
        return transfers

    def get_reserved(self, transfers):
        """Return how many units these transfers believe to have."""
        lines = self.call(
            "stock.move.line", "search_read", [["picking_id", "in", transfers]], ["quantity"]
        )
        return sum(line["quantity"] for line in lines)


def race(clients):
    """Run one race.

    :return: units reserved, failed calls, and each call's seconds
    """
    transfers = clients[0].prepare(len(clients))
    barrier = threading.Barrier(len(clients))

    def press(client, transfer):
        barrier.wait()
        start = time.monotonic()
        try:
            client.call("stock.picking", "action_assign", [transfer])
            failed = 0
        except xmlrpc.client.Fault:
            failed = 1
        return failed, time.monotonic() - start

    with ThreadPoolExecutor(len(clients)) as executor:
        results = list(executor.map(press, clients, transfers))
    reserved = clients[0].get_reserved(transfers)
    return reserved, sum(failed for failed, _ in results), [seconds for _, seconds in results]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("database")
    parser.add_argument("--products", type=int, default=20)
    parser.add_argument("--sessions", type=int, default=8)
    options = parser.parse_args()
    with run_server(options.database, options.sessions) as address:
        clients = [Client(address, options.database) for _ in range(options.sessions)]
        races = [race(clients) for _ in range(options.products)]
    reserved = [units for units, _, _ in races]
    seconds = [second for _, _, times in races for second in times]
    print(
        f"{options.database}: {options.sessions} sessions, {options.products} products with one "
        f"unit each: {sum(units > 1 for units in reserved)} oversold, at most "
        f"{max(reserved):g} reserved of 1, {sum(failed for _, failed, _ in races)} calls failed, "
        f"median {statistics.median(seconds):.2f} s, longest {max(seconds):.2f} s"
    )
    return 0 if max(reserved) <= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
