"""What the zygote's children do. Each function gets the database's name first."""

import contextlib
import secrets

from odoo import SUPERUSER_ID, api
from odoo.modules.registry import Registry

from odoo.addons.stock_event_ledger.broker import event_uuid
from odoo.addons.stock_event_ledger.relay.worker import Worker

from .partner_jobs import (  # noqa: F401
    prepare_partner,
    read_shipment,
    read_transit,
    receive_shipment,
    ship,
)
from .steps import arm
from .writer import Writer


@contextlib.contextmanager
def committing(dbname):
    """An environment; what it does is committed."""
    with Registry(dbname).cursor() as cr:
        yield api.Environment(cr, SUPERUSER_ID, {})


def work(dbname, step=None, count=0):
    """Be a worker, which dies at a step of ``steps``."""
    if step:
        arm(dbname, step, count)
    Worker(dbname).run()


def write(dbname, **options):
    """Be a writer."""
    Writer(dbname, **options).run()


def prepare(dbname, product_count):
    """Make products, and two warehouses for them, that nobody else uses.

    :return: the ids of the products, and of the locations of the warehouses' stock, and
        the warehouses' codes
    """
    with committing(dbname) as env:
        codes = [secrets.token_hex(3)[:5].upper() for _number in range(2)]
        warehouses = env["stock.warehouse"].create(
            [{"name": f"Warehouse {code}", "code": code} for code in codes]
        )
        # Only writers change stock, not the worker that reserves for them.
        warehouses.out_type_id.reservation_method = "manual"
        products = env["product.product"].create(
            [{"name": f"Thing {n}", "is_storable": True} for n in range(product_count)]
        )
        return products.ids, warehouses.lot_stock_id.ids, codes


def receive(dbname, origin, **options):
    """Be a writer that receives a unit for a source document."""
    Writer(dbname, **options).receive(origin)


def create_channel(dbname, vals):
    """Make a channel that publishes, and return its id."""
    with committing(dbname) as env:
        channels = env["stock.event.channel"]
        # No other queue than the consumer's.
        return channels.create({"active": True, "queue_ids": False, **vals}).id


def prepare_commands(dbname, channel_id):
    """Make a queue of commands with a user, and what its commands are about.

    :return: dictionary of the queue's name, the product's id and a command's body
    """
    with committing(dbname) as env:
        name = f"faults.commands.{secrets.token_hex(4)}"
        user = env["res.users"].create(
            {
                "name": name,
                "login": name,
                "group_ids": [(6, 0, env.ref("stock_event_ledger.group_integration").ids)],
            }
        )
        env["stock.command.queue"].create(
            {"channel_id": channel_id, "name": name, "user_id": user.id}
        )
        product = env["product.product"].create({"name": name, "is_storable": True})
        warehouse = env["stock.warehouse"].search([], limit=1)
        body = {
            "warehouse_id": warehouse.id,
            "lines": [{"product_id": product.id, "quantity": 1}],
        }
        return {"queue": name, "product_id": product.id, "body": body}


def read_error(dbname, channel_id):
    """Return what a channel shows as its error."""
    with committing(dbname) as env:
        return env["stock.event.channel"].browse(channel_id).last_error or ""


def write_values(dbname, model, ids, vals):
    """Change records."""
    with committing(dbname) as env:
        env[model].browse(ids).write(vals)


def press(dbname, model, ids, action):
    """Call a method of records that has a button."""
    with committing(dbname) as env:
        getattr(env[model].browse(ids), action)()


def read_ledger(dbname, product_ids):
    """Return the entries of products that have to be published, as Event's fields."""
    with committing(dbname) as env:
        database_uuid = env["stock.event.channel"]._get_database_uuid()
        env.cr.execute(
            """SELECT e.recorded_date, e.id, e.product_id, e.quantity::float
                 FROM stock_ledger_entry e JOIN stock_location l ON l.id = e.location_id
                WHERE e.product_id = ANY(%s) AND l.usage IN ('internal', 'transit')""",
            [product_ids],
        )
        return [
            (event_uuid(recorded_date, database_uuid, entry_id), entry_id, *rest)
            for recorded_date, entry_id, *rest in env.cr.fetchall()
        ]
