"""A PostgreSQL and RabbitMQ nodes that may be killed: private, thrown away afterwards."""

import contextlib
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import time

from .launcher import wait_until

RABBITMQ = pathlib.Path("/usr/lib/rabbitmq/bin")
USER = "odoo"
# Far below RabbitMQ's own limit, so that a long text makes a message too large.
MOST_MESSAGE_BYTES = 20_000
# Other checkouts' commands must not reach these servers, nor the other way round.
IGNORED = ("PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD", "PGOPTIONS", "PGSERVICE")


def get_free_port():
    """Return a port of the loopback interface that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class PostgreSQL:
    """A server with its settings as they are by default, where it is durable.

    Reached through a socket in its folder, as the user ``odoo``.
    """

    port = 5432

    def __init__(self, folder, is_durable=True):
        """
        :param pathlib.Path folder: to be made
        :param bool is_durable: whether it waits for the disk, and survives the machine
        """
        self.folder = folder
        self._sync = "on" if is_durable else "off"
        [*_older, newest] = sorted(pathlib.Path("/usr/lib/postgresql").iterdir())
        self._bin = newest / "bin"
        self._environment = {
            name: value for name, value in os.environ.items() if name not in IGNORED
        }

    def __enter__(self):
        self.folder.mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        self._make_data(self.folder / "data")
        self.start()
        return self

    def __exit__(self, *exc_info):
        with contextlib.suppress(subprocess.CalledProcessError):
            self.stop()

    def _make_data(self, data):
        encoding = ("--locale=C.UTF-8", "-E", "UTF8")
        self._run("initdb", "--no-sync", "-D", data, "-U", USER, "-A", "trust", *encoding)

    def start(self):
        """Start it, and wait until it accepts connections."""
        options = f"-p {self.port} -k {self.folder} -c listen_addresses= -c max_connections=100"
        options += f" -c fsync={self._sync}"
        self._control("start", "-t", "120", "-l", self.folder / "log", "-o", options)

    def stop(self, mode="immediate"):
        """End it: as a crash would, or in order with the mode ``fast``."""
        self._control("stop", "-m", mode)

    def restart_at_once(self):
        """End it as a crash would, and start it again."""
        self.stop()
        self.start()

    def restore(self, source, name):
        """Make a database like one of the server that the environment tells."""
        self._run("createdb", "-h", self.folder, "-U", USER, name)
        dump = subprocess.Popen(
            [self._bin / "pg_dump", "--no-owner", source], stdout=subprocess.PIPE
        )
        restore = [self._bin / "psql", "-X", "-q", "-h", self.folder, "-U", USER, "-d", name]
        subprocess.run(
            restore,
            stdin=dump.stdout,
            stdout=subprocess.DEVNULL,
            env=self._environment,
            check=True,
        )
        if dump.wait():
            raise AssertionError(f"pg_dump of {source} failed")

    def _control(self, action, *options):
        self._run("pg_ctl", "-D", self.folder / "data", "-w", *options, action)

    def _run(self, tool, *arguments):
        command = [str(self._bin / tool), *map(str, arguments)]
        if os.geteuid() == 0:
            # It refuses to run as root.
            command = ["runuser", "-u", "postgres", "--", *command]
        with open(self.folder.parent / "postgresql.log", "ab") as log:
            subprocess.run(
                command,
                cwd="/",
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=True,
            )


class Replica(PostgreSQL):
    """A streaming replica.

    :param PostgreSQL primary: the server that it follows
    """

    def __init__(self, folder, primary):
        super().__init__(folder, is_durable=False)
        self._primary = primary

    def _make_data(self, data):
        source = ("-h", self._primary.folder, "-p", self._primary.port, "-U", USER)
        options = ("--write-recovery-conf", "--no-sync", "-c", "fast")
        self._run("pg_basebackup", *source, "-D", data, *options)


class Brokers:
    """What the nodes of one cluster share: their port mapper, cookie and password."""

    def __init__(self, folder):
        self.folder = folder
        self.password = secrets.token_hex(16)
        self.mapper_port = get_free_port()

    def __enter__(self):
        self.folder.mkdir(mode=0o700)
        cookie = self.folder / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)
        with open(self.folder / "epmd.log", "ab") as log:
            self._mapper = subprocess.Popen(
                ["epmd", "-address", "127.0.0.1", "-port", str(self.mapper_port)],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(lambda: _is_listening(self.mapper_port), "epmd")
        return self

    def __exit__(self, *exc_info):
        self._mapper.kill()
        self._mapper.wait()


class Broker:
    """One node.

    :param Brokers brokers: what it shares
    :param str name: of the node
    :param list peers: names of all nodes of its cluster, itself included
    """

    def __init__(self, brokers, name, peers=()):
        self.name = f"{name}@localhost"
        self.port = get_free_port()
        self._brokers = brokers
        self._peers = peers
        self._folder = brokers.folder / name
        self._process = None

    def __enter__(self):
        self._folder.mkdir()
        peers = [
            f"cluster_formation.classic_config.nodes.{number} = {peer}@localhost"
            for number, peer in enumerate(self._peers, 1)
        ]
        if peers:
            peers.insert(0, "cluster_formation.peer_discovery_backend = classic_config")
        lines = [
            f"listeners.tcp.1 = 127.0.0.1:{self.port}",
            f"default_user = {USER}",
            f"default_pass = {self._brokers.password}",
            f"max_message_size = {MOST_MESSAGE_BYTES}",
            *peers,
        ]
        (self._folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (self._folder / "enabled_plugins").write_text("[].\n")
        (self._folder / "environment").touch()
        distribution_port = get_free_port()
        self._environment = {
            **os.environ,
            "HOME": str(self._brokers.folder),
            "LC_ALL": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._brokers.mapper_port),
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_DIST_PORT": str(distribution_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CONF_ENV_FILE": str(self._folder / "environment"),
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self._folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_PID_FILE": str(self._folder / "pid"),
        }
        self.launch()
        self.wait_until_ready()
        return self

    def __exit__(self, *exc_info):
        self.kill()

    def launch(self):
        """Start it, and do not wait."""
        (self._folder / "pid").unlink(missing_ok=True)
        with open(self._folder / "output.log", "ab") as log:
            self._process = subprocess.Popen(
                [RABBITMQ / "rabbitmq-server"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_ready(self):
        """Wait until it accepts connections."""
        wait_until(lambda: _is_listening(self.port), f"start of {self.name}")

    def kill(self):
        """End it in the midst of whatever it is doing, with SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        # Erlang's machine may be in a session of its own; the script writes its number.
        with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
            os.kill(int((self._folder / "pid").read_text()), signal.SIGKILL)
        self._process.wait()
        wait_until(lambda: not _is_listening(self.port), f"end of {self.name}")

    def restart_at_once(self):
        """Kill it, and start it again."""
        self.kill()
        self.launch()
        self.wait_until_ready()

    def control(self, *arguments, tool="rabbitmqctl"):
        """Run one of its command line tools and return what that printed."""
        for _attempt in range(5):
            result = subprocess.run(
                [RABBITMQ / tool, "-q", "-n", self.name, *arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
            )
            if not result.returncode:
                return result.stdout
            time.sleep(1)
        raise AssertionError(f"{tool} {' '.join(arguments)}: {result.stderr}{result.stdout}")
