"""Two databases that ship goods to each other, and the judgement on what came of it."""

import secrets
import signal

from .launcher import wait_until
from .steps import COMMAND_STEPS

# Where a worker that sends a command can die.
SENDING_STEPS = ("numbered", "publishing", "confirming", "settled")


class Side:
    """One of the two databases, with its channel, its warehouse and its worker."""

    def __init__(self, stage, port):
        self.stage = stage
        self.code = secrets.token_hex(3)[:5].upper()
        self.queue = f"faults.partner.{self.code.lower()}.{secrets.token_hex(3)}"
        # Events are of no interest here.
        self.outlet = stage.open_outlet(product_domain="[('id', '=', 0)]", port=port)
        self.partner_id = None
        self.worker = None
        self.shipped = []

    def enter_partner(self, other, skus):
        """Enter the other side's warehouse."""
        self.partner_id = self.stage.launcher.call(
            "prepare_partner",
            channel_id=self.outlet.channel_id,
            code=self.code,
            queue=self.queue,
            partner_code=other.code,
            partner_queue=other.queue,
            skus=skus,
        )

    def stop(self):
        """Kill the worker, whatever it is doing."""
        if self.worker:
            self.worker.end(signal.SIGKILL)
        self.worker = None

    def start(self):
        """Start a worker."""
        self.worker = self.stage.start_worker()

    def die(self, step):
        """Have a worker die at a step, and start another one."""
        worker = self.stage.start_worker(step=step, count=1)
        if worker.wait() != -signal.SIGKILL:
            self.stage.problems.append(f"a worker ended by itself, see {worker.log}")
        self.stage.count_fault(f"worker killed: {step}")
        self.start()

    def read(self, uid):
        """Return what this side knows of a shipment."""
        return self.stage.launcher.call("read_shipment", uid=uid)

    def read_transit(self):
        """Return what is in transit to the other side."""
        return self.stage.launcher.call("read_transit", partner_id=self.partner_id)

    def ship(self, quantities):
        """Ship goods to the other side, and return the shipment's uid."""
        uid = self.stage.launcher.call(
            "ship", partner_id=self.partner_id, code=self.code, quantities=quantities
        )
        self.shipped.append(uid)
        return uid

    def count_open(self):
        """Return how many messages and commands are still to be dealt with."""
        [[count]] = self.stage.query(
            """SELECT (SELECT COUNT(*) FROM stock_message_outbox
                        WHERE channel_id = %s AND state <> 'confirmed')
                    + (SELECT COUNT(*) FROM stock_command c
                         JOIN stock_command_queue q ON q.id = c.queue_id
                        WHERE q.name = %s AND c.state NOT IN ('done', 'rejected'))""",
            self.outlet.channel_id,
            self.queue,
        )
        return count

    def count_rejected(self):
        """Return how many commands were rejected."""
        [[count]] = self.stage.query(
            """SELECT COUNT(*) FROM stock_command c
                 JOIN stock_command_queue q ON q.id = c.queue_id
                WHERE q.name = %s AND c.state = 'rejected'""",
            self.queue,
        )
        return count


class Pair:
    """Two sides, and what happens between them."""

    def __init__(self, site, stages, port, break_link):
        """
        :param site: with ``random``
        :param stages: the Stage of each
        :param int port: of the broker
        :param break_link: called to break the way to the broker
        """
        self._random = site.random
        self._break_link = break_link
        self.sides = [Side(stage, port) for stage in stages]
        self.skus = [f"sku-{secrets.token_hex(4)}" for _number in range(3)]
        for side, other in (self.sides, self.sides[::-1]):
            side.enter_partner(other, self.skus)

    def close(self):
        """Leave nothing on the broker."""
        for side in self.sides:
            side.stop()
            with side.stage.amqp() as channel:
                for queue in (side.queue, f"{side.queue}.dead"):
                    channel.queue_delete(queue)

    def play(self, number):
        """Ship once, in one direction or the other, and receive in two parts.

        Who acts and who is told of it die in between, each time, and the link breaks.
        """
        sender, receiver = self.sides if number % 2 == 0 else self.sides[::-1]
        quantities = {sku: self._random.randint(4, 20) for sku in self.skus}
        uid = self._act(sender, receiver, lambda: sender.ship(quantities))
        wait_until(lambda: self._is(sender, uid, "expected"), lambda: sender.read(uid))
        self._act(receiver, sender, lambda: self._receive(receiver, uid, share=0.5))
        wait_until(lambda: self._is(sender, uid, "received"), lambda: sender.read(uid))
        for sku, (sent, received, transit) in sender.read(uid)["lines"].items():
            if (received, transit) != (sent // 2, sent - sent // 2):
                sender.stage.problems.append(f"of {sku} {received} of {sent} were shown")
        # Every other time not all of the rest is there.
        share = 0.5 if number % 2 else 1
        self._act(
            receiver, sender, lambda: self._receive(receiver, uid, share=share, backorder=False)
        )
        wait_until(lambda: self._is(sender, uid, "closed"), lambda: sender.read(uid))
        if sender.read(uid)["has_difference"] != (share < 1):
            sender.stage.problems.append(f"the difference of {uid} is not shown")

    def _receive(self, side, uid, **options):
        side.stage.launcher.call("receive_shipment", uid=uid, **options)

    def _is(self, side, uid, state):
        return side.read(uid)["state"] == state

    def _act(self, actor, other, action):
        """Have one side do something while no worker is there, and then workers that die."""
        for side in self.sides:
            side.stop()
        result = action()
        actor.die(self._random.choice(SENDING_STEPS))
        self._break_link()
        other.die(self._random.choice(list(COMMAND_STEPS)))
        return result

    def wait_until_quiet(self):
        """Wait until nobody has anything to tell any more."""
        wait_until(
            lambda: not any(side.count_open() for side in self.sides),
            lambda: f"open: {[side.count_open() for side in self.sides]}",
        )

    def judge(self):
        """Return what is wrong: with figures of either side, or the number of effects."""
        problems = []
        for side, other in (self.sides, self.sides[::-1]):
            if count := side.count_rejected():
                problems.append(f"{count} commands were rejected in {side.queue}")
            in_transit = {}
            for uid in side.shipped:
                mine, theirs = side.read(uid), other.read(uid)
                problems += self._compare(uid, mine, theirs)
                for sku, (_sent, _received, transit) in mine["lines"].items():
                    in_transit[sku] = in_transit.get(sku, 0) + transit
            in_transit = {sku: quantity for sku, quantity in in_transit.items() if quantity}
            if in_transit != side.read_transit():
                problems.append(f"in transit: {side.read_transit()}, and not {in_transit}")
        return problems

    def _compare(self, uid, mine, theirs):
        """Compare both sides' figures of a shipment, and those with what was moved."""
        if not theirs:
            return [f"{uid} was never expected"]
        problems = []
        if theirs["orders"] != 1:
            problems.append(f"{uid} is expected {theirs['orders']} times")
        if (mine["version"], theirs["version"]) != (
            theirs["partner_version"],
            mine["partner_version"],
        ):
            problems.append(f"{uid}: the last word of a side was not heard")
        for sku, (sent, received, transit) in mine["lines"].items():
            figures = {
                "shipped": (sent, mine["done"][sku]),
                "announced": (sent, theirs["lines"][sku][0]),
                "received": (received, theirs["done"].get(sku, 0)),
                "departed": (received, mine["departed"].get(sku, 0)),
                "under way": (sent, received + transit),
            }
            for name, (figure, fact) in figures.items():
                if figure != fact:
                    problems.append(f"{uid}: of {sku} {figure} {name}, and not {fact}")
        return problems
