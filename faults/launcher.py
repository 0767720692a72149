"""Starts the zygote, and jobs in children of it."""

import contextlib
import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

DEADLINE_SECONDS = 180
ROOT = pathlib.Path(__file__).parents[1]


def wait_until(condition, what, timeout_seconds=DEADLINE_SECONDS, poll_seconds=0.05):
    """Wait for a condition; the deadline only ends what is broken.

    :return: what the condition returned
    """
    deadline = time.monotonic() + timeout_seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"timed out: {what() if callable(what) else what}")
        time.sleep(poll_seconds)
    return result


class Child:
    """A job in a process of its own."""

    def __init__(self, launcher, pid, log, result):
        self.pid = pid
        self.log = log
        self._launcher = launcher
        self._result = result
        self._exit_code = None

    def poll(self):
        """Return the exit code, negative for a signal, or None while it runs."""
        if self._exit_code is None:
            self._exit_code = self._launcher.ask({"poll": self.pid})["exit_code"]
        return self._exit_code

    def wait(self):
        """Return the exit code once it has ended."""
        wait_until(lambda: self.poll() is not None, f"end of process {self.pid}, see {self.log}")
        return self._exit_code

    def end(self, number=signal.SIGTERM):
        """Send a signal, and return the exit code once it has ended."""
        # Its number is not given to others before it has been waited for.
        if self.poll() is None:
            os.kill(self.pid, number)
        return self.wait()

    def read_result(self):
        """Return what the job returned.

        :raises AssertionError: when it failed
        """
        if self.wait():
            raise AssertionError(f"failed: {self.log.read_text(errors='replace')[-3000:]}")
        return json.loads(self._result.read_text())


class Launcher:
    """The zygote of a database, from this side.

    :param list options: Odoo's options that tell the database
    :param pathlib.Path folder: for logs and results
    :param dict environment: of the processes
    """

    def __init__(self, options, folder, environment):
        self._options = options
        self._folder = folder
        self._environment = environment
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self.children = []

    def __enter__(self):
        with open(self._folder / "zygote.log", "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "faults.zygote", *self._options],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                # Ctrl-C is for this process, which then ends its children.
                start_new_session=True,
            )
        self._read_answer()
        return self

    def __exit__(self, *exc_info):
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(DEADLINE_SECONDS)
        self._process.stdout.close()

    def ask(self, request):
        """Send the zygote a request and return its answer."""
        with self._lock:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return self._read_answer()

    def _read_answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError((self._folder / "zygote.log").read_text()[-3000:])
        return json.loads(line)

    def start(self, job, **arguments):
        """Start a function of ``jobs`` in a process of its own.

        :return: Child
        """
        name = f"{next(self._numbers):04}-{job}"
        log, result = self._folder / f"{name}.log", self._folder / f"{name}.json"
        request = {"job": job, "arguments": arguments, "log": str(log), "result": str(result)}
        child = Child(self, self.ask(request)["pid"], log, result)
        self.children.append(child)
        return child

    def kill_children(self):
        """End whatever still runs."""
        for child in self.children:
            child.end(signal.SIGKILL)
        self.children.clear()

    def call(self, job, **arguments):
        """Run a function of ``jobs`` in a process of its own, and return its result."""
        child = self.start(job, **arguments)
        result = child.read_result()
        self.children.remove(child)
        return result
