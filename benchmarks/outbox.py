"""The database whose events are measured."""

import contextlib
import time

from .database import Database
from .report import say
from .server import TOOLS, get_free_port, running, wait_until_answers

STALLED_SECONDS = 120


class Outbox(Database):
    """A database with the addon, one channel and some products; no process of its own."""

    def __init__(self, database, broker, folder):
        super().__init__(database)
        self.broker = broker
        self.folder = folder

    def prepare(self, products):
        """Have the channel publish to the broker, and make products."""
        broker = self.broker
        made = self.call("prepare", exchange=broker.name, url=broker.url, products=products)
        self.channel_id, self.product_ids = made["channel_id"], made["product_ids"]
        self.port = made["port"]
        self.odoo_version = made["odoo_version"]

    def call(self, function, **arguments):
        """Run a function of ``producer`` in an Odoo process; return its result."""
        return super().call("producer", function, **arguments)

    def fill(self, products, events):
        """Make a backlog of events, of so many products in turn, and nothing else."""
        self.broker.empty()
        self.query("TRUNCATE stock_event_outbox, stock_event_key, stock_ledger_delta")
        self.call("fill", product_ids=self.product_ids[:products], events=events)
        # Without it, the plan of a query depends on when autovacuum comes by.
        self.query("VACUUM ANALYZE stock_event_outbox")
        self.query("VACUUM ANALYZE stock_ledger_entry")

    def count_pending(self):
        """Return how many events are not confirmed."""
        [[count]] = self.query("SELECT COUNT(*) FROM stock_event_outbox WHERE state <> 'confirmed'")
        return count

    def follow(self, period_seconds):
        """Yield (seconds of the monotonic clock, pending events) until there are none.

        Ends early where nothing moves any more.
        """
        before, progress = None, time.monotonic()
        while True:
            count, now = self.count_pending(), time.monotonic()
            yield now, count
            if count != before:
                before, progress = count, now
            if not count:
                return
            if now - progress > STALLED_SECONDS:
                say(f"    {count} events are not published")
                return
            time.sleep(period_seconds)

    @contextlib.contextmanager
    def scheduled(self):
        """Run a server with one thread for scheduled actions, while the block lasts."""
        port = get_free_port()
        command = [TOOLS / "odoo", "server", "-d", self.database, "--max-cron-threads=1"]
        command += ["--db-filter", f"^{self.database}$", "--http-interface=127.0.0.1"]
        command += [f"--http-port={port}", f"--gevent-port={get_free_port()}"]
        command += ["--workers=0", "--log-level=warn"]
        with running(command, self.folder / "server.log") as (process, log):
            wait_until_answers(process, log, f"http://127.0.0.1:{port}")
            yield log
