"""Performs planned invoices through Odoo's own transfers and inventory adjustments.

How far it came is one row in the database, written in the transaction of the work:
whatever ends the process, a later run continues exactly there.
"""

import json
from collections import Counter
from functools import partial

import replay_data as data

from odoo import Command
from odoo.tools import SQL

STATE_KEY = "stock_event_ledger.replay"
PRODUCTS_PER_RECEIPT = 100
# A bulk load: no messages about every change, and nobody to follow the documents.
CONTEXT = {
    "tracking_disable": True,
    "mail_notrack": True,
    "mail_create_nosubscribe": True,
    "mail_create_nolog": True,
}


# --- how far it came


class Progress:
    """The state row: which data, how many lines are done, and the totals so far.

    It is a system parameter for want of a model, since the replay also runs without
    the addon. It is read and written by SQL because each write through the ORM would
    empty a cache of every Odoo process on the database.
    """

    def __init__(self, fingerprint, position=0, totals=None):
        self.fingerprint = fingerprint
        self.position = position
        self.totals = Counter(totals)

    def dump(self):
        return json.dumps(
            {
                "fingerprint": self.fingerprint,
                "position": self.position,
                "totals": dict(self.totals),
            },
            sort_keys=True,
        )

    @classmethod
    def load(cls, cr):
        """Return the state in the database, None before the first run."""
        cr.execute(SQL("SELECT value FROM ir_config_parameter WHERE key = %s", STATE_KEY))
        row = cr.fetchone()
        return row and cls(**json.loads(row[0]))

    @classmethod
    def open(cls, env, fingerprint):
        """Return the state for the data, which it makes in the first run."""
        state = cls.load(env.cr)
        if not state:
            state = cls(fingerprint)
            env["ir.config_parameter"].create({"key": STATE_KEY, "value": state.dump()})
        state.check(fingerprint)
        return state

    def check(self, fingerprint):
        if self.fingerprint != fingerprint:
            raise data.ReplayError(
                f"This database holds {self.position} lines of other data: continue "
                "with the same file (or --lines and --seed), or use a new database."
            )

    def advance(self, env, position, totals):
        """Write and return the state after a step.

        A state that another replay has moved on does not match, and its lines must
        not be performed twice.
        """
        after = Progress(self.fingerprint, position, self.totals + totals)
        env.cr.execute(
            SQL(
                "UPDATE ir_config_parameter SET value = %s WHERE key = %s AND value = %s",
                after.dump(),
                STATE_KEY,
                self.dump(),
            )
        )
        if env.cr.rowcount != 1:
            raise data.ReplayError("Another replay is at work on this database.")
        return after


class Replay:
    """Performs a source's lines up to ``stop``, one transaction after the other.

    :param transact: calls a function with an environment, commits, and returns its
        result; calls it again after a serialization failure
    :param report: called with the state after each transaction
    """

    def __init__(self, source, stop, transact, *, batch_lines=100, report=lambda s: None):
        self.source = source
        self.stop = stop
        self.transact = transact
        self.batch_lines = batch_lines
        self.report = report
        self.state = None

    def run(self):
        """Return the state when all lines are done."""
        self.state = self.transact(self._open)
        self.report(self.state)
        groups = data.read_groups(self.source, self.state.position, self.stop)
        for week in data.split_weeks(groups):
            self._receive(week)
            for batch in data.split_batches(week, self.batch_lines):
                self._step(partial(perform, groups=batch), batch[-1].stop)
        return self.state

    def _open(self, env):
        env = env(context=dict(env.context, **CONTEXT))
        ensure_warehouses(env)
        return Progress.open(env, self.source.fingerprint)

    def _receive(self, week):
        """Buy what the week takes and the warehouses lack.

        What they have is read anew for each chunk. So a run that was stopped in the
        middle of a week, or that ended there, buys nothing twice.
        """
        needed = data.demand(week)
        names = data.product_names(week)
        for chunk in data.split_chunks(sorted(needed), PRODUCTS_PER_RECEIPT):
            self._step(
                partial(
                    receive,
                    needed={key: needed[key] for key in chunk},
                    names=names,
                    date=data.receipt_date(week),
                ),
                self.state.position,
            )

    def _step(self, work, position):
        def step(env):
            env = env(context=dict(env.context, **CONTEXT))
            return self.state.advance(env, position, work(env))

        self.state = self.transact(step)
        self.report(self.state)


# --- what the transfers need


def ensure_warehouses(env):
    """Return the warehouse of each key in the data, made where it is missing."""
    model = env["stock.warehouse"]
    domain = [("company_id", "=", env.company.id)]
    others = {data.EUROPE: "Europe", data.WORLD: "Rest of World"}
    main = model.search([*domain, ("code", "not in", list(others))], limit=1)
    found = {data.MAIN: main}
    for code, name in others.items():
        found[code] = model.search([*domain, ("code", "=", code)], limit=1) or model.create(
            {"code": code, "name": name, "company_id": env.company.id}
        )
    return found


def find_products(env, codes):
    """Return the product of each code that has one; an archived one counts."""
    products = (
        env["product.product"]
        .with_context(active_test=False)
        .search([("default_code", "in", list(codes))], order="id desc")
    )
    return {product.default_code: product for product in products}


def ensure_products(env, names):
    """Return the product of each code, and how many had to be made."""
    products = find_products(env, names)
    missing = [code for code in names if code not in products]
    created = env["product.product"].create(
        [
            {
                "name": names[code],
                "default_code": code,
                "type": "consu",
                "is_storable": True,
            }
            for code in missing
        ]
    )
    products.update(zip(missing, created, strict=True))
    return products, len(missing)


def available_quantities(env, warehouses, products):
    """Return what each warehouse has and nobody reserved: {(warehouse, code): n}."""
    ids = [product.id for product in products.values()]
    available = {}
    for key, warehouse in warehouses.items():
        groups = env["stock.quant"]._read_group(
            [
                ("location_id", "child_of", warehouse.lot_stock_id.id),
                ("product_id", "in", ids),
            ],
            ["product_id"],
            ["quantity:sum", "reserved_quantity:sum"],
        )
        for product, quantity, reserved in groups:
            available[key, product.default_code] = quantity - reserved
    return available


# --- the steps


def receive(env, needed, names, date):
    """Receive from the supplier what is needed beyond what is there."""
    warehouses = ensure_warehouses(env)
    names = {code: names[code] for _, code in needed}
    products, created = ensure_products(env, names)
    available = available_quantities(env, warehouses, products)
    supplier = env.ref("stock.stock_location_suppliers")
    vals_list = [
        _prepare_picking_vals(
            warehouses[key].in_type_id,
            supplier,
            warehouses[key].lot_stock_id,
            f"Supply {date:%Y-%m-%d}",
            date,
            {products[code]: quantity for code, quantity in quantities.items()},
        )
        for key, quantities in data.receipts(needed, available).items()
    ]
    totals = _transfer(env, vals_list, [date] * len(vals_list))
    return totals + Counter(products=created, receipts=len(vals_list))


def perform(env, groups):
    """Deliver, take back and adjust what the groups tell, in this order."""
    totals = Counter(lines=groups[-1].stop - groups[0].start)
    for group in groups:
        totals["used"] += len(group.lines)
        for reason, count in group.skipped.items():
            totals[f"skipped: {reason}"] += count
    warehouses = ensure_warehouses(env)
    products, created = ensure_products(env, data.product_names(groups))
    totals["products"] += created
    transfers = [transfer for group in groups for transfer in group.transfers()]
    for kind, name in (("delivery", "deliveries"), ("return", "returns")):
        chosen = [transfer for transfer in transfers if transfer.kind == kind]
        vals_list = [
            _prepare_invoice_vals(env, transfer, warehouses, products) for transfer in chosen
        ]
        totals += _transfer(env, vals_list, [transfer.date for transfer in chosen])
        totals[name] += len(chosen)
    for group in groups:
        for adjustment in group.adjustments():
            totals += _adjust(env, adjustment, warehouses, products)
    return totals


def _prepare_invoice_vals(env, transfer, warehouses, products):
    warehouse = warehouses[transfer.warehouse]
    customers = env.ref("stock.stock_location_customers")
    route = (warehouse.out_type_id, warehouse.lot_stock_id, customers)
    if transfer.kind == "return":
        route = (warehouse.in_type_id, customers, warehouse.lot_stock_id)
    quantities = {products[code]: quantity for code, quantity in transfer.quantities.items()}
    return _prepare_picking_vals(*route, f"INV {transfer.invoice}", transfer.date, quantities)


def _prepare_picking_vals(picking_type, source, destination, origin, date, quantities):
    return {
        "picking_type_id": picking_type.id,
        "location_id": source.id,
        "location_dest_id": destination.id,
        "origin": origin,
        "scheduled_date": date,
        "move_ids": [
            Command.create(
                {
                    "product_id": product.id,
                    "product_uom_qty": quantity,
                    "product_uom": product.uom_id.id,
                    "location_id": source.id,
                    "location_dest_id": destination.id,
                }
            )
            for product, quantity in quantities.items()
        ],
    }


def _transfer(env, vals_list, dates):
    """Make, confirm, reserve and validate transfers, then date them.

    Who moved stock by hand meanwhile may have left too little: what is there is
    delivered, the rest is cancelled and counted.
    """
    if not vals_list:
        return Counter()
    pickings = env["stock.picking"].create(vals_list)
    wanted = sum(pickings.move_ids.mapped("product_uom_qty"))
    pickings.action_confirm()
    pickings.action_assign()
    moves = pickings.move_ids
    short = wanted - sum(moves.mapped("quantity"))
    ready = pickings.filtered(lambda picking: any(picking.move_ids.mapped("quantity")))
    (pickings - ready).action_cancel()
    if ready:
        ready.with_context(
            skip_backorder=True, picking_ids_not_to_backorder=ready.ids
        ).button_validate()
    for picking, date in zip(pickings, dates, strict=True):
        if picking.state == "done":
            # Odoo writes it on the moves and their lines. In the transaction of the
            # validation, so that nobody ever sees the date of today.
            picking.date_done = date
        elif picking in ready:
            raise data.ReplayError(f"{picking.name} was not validated: {picking.state}")
    return Counter({"moves": len(moves), "units short": int(short)})


def _adjust(env, adjustment, warehouses, products):
    """Lower a product's stock, to zero at most, as a count in the warehouse would."""
    product = products[adjustment.code]
    location = warehouses[adjustment.warehouse].lot_stock_id
    name = f"INV {adjustment.invoice} {adjustment.reason}".strip()
    quant = env["stock.quant"]._gather(product, location, strict=True)[:1]
    lowered = max(min(adjustment.quantity, quant.quantity), 0)
    totals = Counter({"adjustments": 1, "units short": adjustment.quantity - lowered})
    if not lowered:
        return totals
    count = env["stock.quant"].with_context(inventory_mode=True, inventory_name=name)
    count = count.create(
        {
            "product_id": product.id,
            "location_id": location.id,
            "inventory_quantity": quant.quantity - lowered,
        }
    )
    count.action_apply_inventory(adjustment.date)
    return totals + Counter(moves=1)
