"""Where a worker can die: precise points on the way of a batch, from outside its code."""

import functools
import importlib
import os
import signal

from odoo.modules.registry import Registry

# What is called at each step, and whether death comes before it or after it.
STEPS = {
    # In the first transaction, before its commit.
    "numbering": ("stock.event.outbox", "_take", "after"),
    # The first transaction is committed, nothing is sent.
    "numbered": ("Publisher", "publish", "before"),
    # Some messages are sent.
    "publishing": ("Channel", "basic_publish", "after"),
    # Some messages are confirmed.
    "confirming": ("Publisher", "_on_confirm", "before"),
    # All messages are confirmed, the second transaction has not begun.
    "confirmed": ("stock.event.outbox", "_settle", "before"),
    # In the second transaction, before its commit.
    "settling": ("stock.event.outbox", "_settle", "after"),
    # The second transaction is committed.
    "settled": ("ChannelRelay", "_settle", "after"),
}
# The same on the way of a command.
COMMAND_STEPS = {
    # Messages are stored, before the commit.
    "storing": ("stock.command", "_store", "after"),
    # They are committed, the broker does not know.
    "stored": ("BrokerConsumer", "acknowledge", "before"),
    # The broker is being told.
    "acknowledging": ("Channel", "basic_ack", "after"),
    # A command is chosen, before the commit.
    "claiming": ("stock.command", "_claim_next", "after"),
    # It is about to be run.
    "claimed": ("stock.command", "_run", "before"),
    # It has had its effect, and its reply is queued, before the commit.
    "ran": ("stock.command", "_run", "after"),
    # All of that is committed.
    "committed": ("Inbox", "_run_next", "after"),
    # The reply is sent, and not noted.
    "answered": ("stock.message.outbox", "_settle", "before"),
}
# Passed once for each message of a batch; the other ones once for the batch.
STEPS_OF_MESSAGES = ("publishing", "confirming")
MODULES = {
    "Publisher": "odoo.addons.stock_event_ledger.broker.publisher",
    "ChannelRelay": "odoo.addons.stock_event_ledger.relay.relay",
    "Channel": "pika.channel",
    "BrokerConsumer": "odoo.addons.stock_event_ledger.broker.consumer",
    "Inbox": "odoo.addons.stock_event_ledger.relay.inbox",
}
# Named alike in another module.
NAMES = {"BrokerConsumer": "Consumer"}


def _is_idle(step, result):
    """Tell whether there was nothing to do: that is no step."""
    if step == "numbering":
        return not result[0]
    return step in ("claiming", "committed") and not result


def arm(dbname, step, count):
    """Kill this process when it passes a step for the so-manieth time."""
    owner_name, name, moment = {**STEPS, **COMMAND_STEPS}[step]
    if owner_name in MODULES:
        module = importlib.import_module(MODULES[owner_name])
        owner = getattr(module, NAMES.get(owner_name, owner_name))
    else:
        owner = Registry(dbname)[owner_name]
    method = getattr(owner, name)
    passed = 0

    def pass_by():
        nonlocal passed
        passed += 1
        if passed == count:
            os.kill(os.getpid(), signal.SIGKILL)

    @functools.wraps(method)
    def wrapped(*args, **kwargs):
        if moment == "before":
            pass_by()
        result = method(*args, **kwargs)
        if moment == "after" and not _is_idle(step, result):
            pass_by()
        return result

    setattr(owner, name, wrapped)
