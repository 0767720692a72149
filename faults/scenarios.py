"""What is broken, and when. Each scenario plays on a Stage and leaves the verdict to it."""

import contextlib
import signal
import time

from .inlet import Inlet
from .launcher import wait_until
from .partner import Pair
from .proxy import Proxy
from .steps import COMMAND_STEPS, STEPS, STEPS_OF_MESSAGES

LEADER_LOCK = "locktype = 'advisory' AND granted AND classid = 5457228 AND objid = 1"


def kill_worker(site, stage, rounds=15):
    """The worker dies at each step of a batch."""
    stage.open_outlet()
    stage.start_writers()
    plan = list(STEPS) * site.scale(rounds)
    site.random.shuffle(plan)
    for step in plan:
        count = site.random.randint(1, 60 if step in STEPS_OF_MESSAGES else 4)
        worker = stage.start_worker(step=step, count=count)
        if worker.wait() != -signal.SIGKILL:
            stage.problems.append(f"a worker ended by itself, see {worker.log}")
        stage.count_fault(f"worker killed: {step}, passed {count} times")
    stage.finish(stage.start_worker())


def kill_writer(site, stage, kills=40):
    """Those who change stock die before, in and right after their commit."""
    stage.open_outlet()
    stage.start_writers(1)
    worker = stage.start_worker()
    for _number in range(site.scale(kills)):
        moment = site.random.choice(("before", "in", "after", "any"))
        if moment == "any":
            writer = stage.start_writer()
            time.sleep(site.random.uniform(0.2, 1))
            writer.end(signal.SIGKILL)
        else:
            writer = stage.start_writer(kill=[moment, site.random.randint(1, 5)])
            writer.wait()
        stage.count_fault(f"writer killed: {moment} commit")
    stage.finish(worker)


def kill_broker(site, stage, kills=10):
    """RabbitMQ is killed and started again."""
    outlet = stage.open_outlet()
    stage.start_writers()
    worker = stage.start_worker()
    for _number in range(site.scale(kills)):
        outlet.wait_for_events(30)
        site.broker.kill()
        # Nobody waits for the broker.
        stage.wait_for_commits(10)
        site.broker.launch()
        site.broker.wait_until_ready()
        stage.count_fault("broker killed and started")
    stage.finish(worker)


def crash_postgresql(site, stage, crashes=3):
    """PostgreSQL is stopped without a shutdown, and recovers."""
    outlet = stage.open_outlet()
    stage.start_writers()
    worker = stage.start_worker()
    for _number in range(site.scale(crashes)):
        outlet.wait_for_events(30)
        site.postgresql.restart_at_once()
        stage.count_fault("PostgreSQL restarted in immediate mode")
        stage.wait_for_commits(30)
    stage.finish(worker)


def cut_connection(site, stage, rounds=3, with_silence=True):
    """The connection to the broker is closed, reset, reset within a batch, and falls silent."""
    with Proxy(site.broker_port) as proxy:
        outlet = stage.open_outlet(port=proxy.port)
        stage.start_writers()
        worker = stage.start_worker()
        outlet.wait_for_events()
        for _number in range(site.scale(rounds)):
            proxy.cut()
            stage.count_fault("connection closed")
            outlet.wait_for_events(10)
            proxy.cut(with_reset=True)
            stage.count_fault("connection reset")
            outlet.wait_for_events(10)
            byte_count = site.random.randint(100, 10_000)
            proxy.reset_after(byte_count)
            wait_until(lambda: not proxy.is_reset_pending, "traffic")
            stage.count_fault(f"connection reset after {byte_count} bytes more")
            outlet.wait_for_events(10)
        if with_silence:
            proxy.silence()
            stage.count_fault("connection half open")
            outlet.wait_for_events(10)
        stage.finish(worker)


def raise_alarm(site, stage):
    """RabbitMQ runs out of memory, and blocks those who publish."""
    outlet = stage.open_outlet()
    stage.start_writers()
    worker = stage.start_worker()
    outlet.wait_for_events(30)
    site.broker.control("set_vm_memory_high_watermark", "absolute", "10MB")
    stage.count_fault("memory alarm")
    try:
        stage.wait_for_commits(100)
        outlet.wait_for_error("block")
        stage.wait_for_commits(100)
    finally:
        site.broker.control("set_vm_memory_high_watermark", "0.4")
    stage.finish(worker)


def unbind(site, stage, rounds=3):
    """No queue wants the events of one of two warehouses, for a while."""
    bindings = [f"stock.*.{code.lower()}" for code in stage.codes]
    outlet = stage.open_outlet(bindings=bindings)
    stage.start_writers()
    worker = stage.start_worker()
    for number in range(site.scale(rounds)):
        routing_key = bindings[(number + 1) % 2]
        outlet.wait_for_events(30)
        with stage.amqp() as channel:
            channel.queue_unbind(outlet.exchange, outlet.exchange, routing_key)
        stage.count_fault(f"queue unbound from {routing_key}")
        wait_until(lambda: outlet.read_ids("blocked"), "blocked events")
        outlet.wait_for_events(30)
        outlet.bind(routing_key)
        outlet.retry_blocked()
    stage.stop_writers()
    outlet.drain()
    stage.finish(worker)


def refuse(site, stage, rounds=2):
    """A full queue makes the broker refuse messages (nack)."""
    outlet = stage.open_outlet()
    stage.start_writers()
    worker = stage.start_worker()
    for _number in range(site.scale(rounds)):
        outlet.wait_for_events(30)
        queue = f"{outlet.exchange}.full"
        with stage.amqp() as channel:
            arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
            channel.queue_declare(queue, durable=True, arguments=arguments)
            channel.queue_bind(queue, outlet.exchange, "stock.#")
            stage.count_fault("a full queue bound")
            wait_until(lambda: len(outlet.read_ids("blocked")) > 3, "refused events")
            channel.queue_delete(queue)
    stage.finish(worker)


def delete_exchange(site, stage):
    """The exchange is deleted: the channel stops until a person has it declared."""
    outlet = stage.open_outlet()
    stage.start_writers()
    worker = stage.start_worker()
    outlet.wait_for_events(30)
    with stage.amqp() as channel:
        channel.exchange_delete(outlet.exchange)
    stage.count_fault("exchange deleted")
    outlet.wait_for_error(outlet.exchange)
    stage.wait_for_commits(30)
    outlet.press("action_declare")
    wait_until(outlet.bind, "the exchange")
    stage.stop_writers()
    outlet.drain()
    stage.finish(worker)


def send_too_large(site, stage):
    """A message is too large for the broker: it stops its product, until it is skipped."""
    outlet = stage.open_outlet()
    stage.start_writers()
    worker = stage.start_worker()
    outlet.wait_for_events(30)
    for product_id in stage.products[:2]:
        receiver = stage.start_writer("receive", products=[product_id], origin="x" * 30_000)
        if receiver.wait():
            stage.problems.append(f"nothing was received, see {receiver.log}")
        stage.count_fault("message too large")
        wait_until(lambda: outlet.read_ids("blocked"), "a blocked event", 60)
        outlet.wait_for_events(30)
        outlet.press_on_blocked("action_skip")
    stage.finish(worker)


def deny_access(site, stage):
    """One of two channels has a user whom the broker does not know."""
    outlet = stage.open_outlet("-good")
    denied = stage.open_outlet("-denied", username="nobody")
    stage.start_writers()
    worker = stage.start_worker()
    stage.count_fault("wrong user")
    denied.wait_for_error("ACCESS_REFUSED")
    outlet.wait_for_events(50)
    if outlet.read_error() or denied.consumer.count():
        stage.problems.append("the error is not the one channel's alone")
    denied.write({"username": stage.accounts[0].username})
    stage.finish(worker)


def lose_leader(site, stage, rounds=6):
    """The leading one of two workers loses its database connection, or dies."""
    with Proxy(site.broker_port) as proxy:
        outlet = stage.open_outlet(port=proxy.port)
        stage.start_writers()
        workers = [stage.start_worker(), stage.start_worker()]
        for number in range(site.scale(rounds)):
            outlet.wait_for_events(30)
            if number % 2:
                leader = _find_leader(stage, workers)
                leader.end(signal.SIGKILL)
                workers[workers.index(leader)] = stage.start_worker()
                stage.count_fault("leading worker killed")
            else:
                stage.query(f"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE {LEADER_LOCK}")
                stage.count_fault("leading worker's database connection ended")
        outlet.wait_for_events(30)
        if proxy.most_links > 1:
            stage.problems.append(f"{proxy.most_links} workers connected to the broker at once")
        stage.stop_writers()
        wait_until(outlet.is_drained, "drained outbox")
        for worker in workers:
            stage.stop_worker(worker)


def _find_leader(stage, workers):
    def find():
        rows = stage.query(
            f"""SELECT application_name FROM pg_stat_activity
                  JOIN pg_locks USING (pid) WHERE {LEADER_LOCK}"""
        )
        pids = [int(name.rpartition(":")[2]) for [name] in rows]
        return next((worker for worker in workers if worker.pid in pids), None)

    return wait_until(find, "a leader")


def kill_queue_leader(site, stage, kills=2):
    """The node that leads the queue of a cluster of three is killed."""
    hosts = ",".join(f"{account.host}:{account.port}" for account in stage.accounts)
    outlet = stage.open_outlet(host=hosts)
    stage.start_writers()
    worker = stage.start_worker()
    for _number in range(kills):
        outlet.wait_for_events(30)
        leader = site.find_queue_leader(outlet.exchange)
        leader.kill()
        stage.count_fault(f"{leader.name}, the queue's leader, killed")
        outlet.wait_for_events(30)
        leader.launch()
        leader.wait_until_ready()
    stage.finish(worker)


@contextlib.contextmanager
def _commanding(stage):
    """An Inlet whose commands come in inside the block, and are judged after it."""
    # Its events are of no interest here, and are left out.
    outlet = stage.open_outlet(product_domain="[('id', '=', 0)]")
    inlet = Inlet(stage, outlet)
    try:
        inlet.start()
        yield inlet
        inlet.finish()
        stage.problems += inlet.judge()
    finally:
        inlet.close()


def kill_command_worker(site, stage, rounds=4):
    """The worker dies at each step of a command's way."""
    with _commanding(stage) as inlet:
        plan = list(COMMAND_STEPS) * site.scale(rounds)
        site.random.shuffle(plan)
        for step in plan:
            count = site.random.randint(1, 5)
            worker = stage.start_worker(step=step, count=count)
            if worker.wait() != -signal.SIGKILL:
                stage.problems.append(f"a worker ended by itself, see {worker.log}")
            stage.count_fault(f"worker killed: {step}, passed {count} times")
        worker = stage.start_worker()
        inlet.wait_for_commands(1)
    stage.finish(worker)


def break_command_servers(site, stage, rounds=3):
    """RabbitMQ and PostgreSQL are killed in turn while commands come in."""
    with _commanding(stage) as inlet:
        worker = stage.start_worker()
        for _number in range(site.scale(rounds)):
            inlet.wait_for_commands(20)
            site.broker.kill()
            site.broker.launch()
            site.broker.wait_until_ready()
            stage.count_fault("broker killed and started")
            inlet.wait_for_commands(20)
            site.postgresql.restart_at_once()
            stage.count_fault("PostgreSQL restarted in immediate mode")
        inlet.wait_for_commands(20)
    stage.finish(worker)


def sync_partners(site, stage, rounds=4, with_broker=True):
    """Two databases ship to each other; their workers and the broker are killed in between."""
    with site.open_partner(stage) as partner, Proxy(site.broker_port) as proxy:

        def break_link():
            if with_broker and site.random.random() < 0.5:
                site.broker.restart_at_once()
                stage.count_fault("broker killed and started")
            else:
                proxy.cut(with_reset=site.random.random() < 0.5)
                stage.count_fault("connections cut")

        pair = Pair(site, (stage, partner), proxy.port, break_link)
        try:
            for number in range(site.scale(rounds)):
                pair.play(number)
            pair.wait_until_quiet()
            stage.problems += pair.judge()
        finally:
            stage.problems += partner.problems
            stage.faults += partner.faults
            pair.close()


SCENARIOS = {
    "worker": kill_worker,
    "writer": kill_writer,
    "broker": kill_broker,
    "postgresql": crash_postgresql,
    "connection": cut_connection,
    "alarm": raise_alarm,
    "unroutable": unbind,
    "nack": refuse,
    "exchange": delete_exchange,
    "too-large": send_too_large,
    "credentials": deny_access,
    "leader": lose_leader,
    "cluster": kill_queue_leader,
    "commands": kill_command_worker,
    "command-servers": break_command_servers,
    "partner": sync_partners,
}
