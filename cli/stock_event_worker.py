import importlib
import sys
import threading

from odoo.cli import Command
from odoo.modules.registry import Registry
from odoo.tools import config


class StockEventWorker(Command):
    """Publish the stock events of a database, and do what else follows each commit.

    Runs until SIGTERM or SIGINT, and ends after the batch that is under way. Several
    workers may run for a database: one works, the others take over when it ends.
    """

    name = "stock_event_worker"

    def run(self, args):
        """Run the worker of the database that ``-d`` names.

        :param list args: Odoo's own options
        """
        config.parser.prog = self.prog
        config.parse_config(args, setup_logging=True)
        if len(config["db_name"]) != 1:
            sys.exit("Name one database: -d DATABASE")
        [dbname] = config["db_name"]
        threading.current_thread().dbname = dbname
        if "stock.event.outbox" not in Registry(dbname):
            sys.exit(f"The addon stock_event_ledger is not installed in {dbname}.")
        # Not before the registry: Odoo loads a command without its addon, and an
        # addon after those that it depends on.
        worker = importlib.import_module("odoo.addons.stock_event_ledger.relay.worker")
        worker.Worker(dbname).run()
