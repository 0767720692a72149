"""Calls of many clients at the same moment, and how long they took."""

import http.client
import math
import threading
import time
import xml.parsers.expat
import xmlrpc.client
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

CALL_SECONDS = 150
FAILURES = (
    xmlrpc.client.Error,
    http.client.HTTPException,
    xml.parsers.expat.ExpatError,
    OSError,
)


class Transport(xmlrpc.client.Transport):
    """Gives up a call in the end, and never repeats one behind the caller's back."""

    def make_connection(self, host):
        connection = super().make_connection(host)
        connection.timeout = CALL_SECONDS
        return connection

    def request(self, host, handler, request_body, verbose=False):
        return self.single_request(host, handler, request_body, verbose)


class Client:
    """One session, as a shop's or a warehouse's client would have it."""

    def __init__(self, address, database, user_id, password="admin"):
        self._models = xmlrpc.client.ServerProxy(
            f"{address}/xmlrpc/2/object", Transport(), allow_none=True
        )
        self._login = database, user_id, password

    def call(self, model, method, *args, **kwargs):
        """Call a method of a model; return what it returns."""
        return self._models.execute_kw(*self._login, model, method, args, kwargs)


class Call(NamedTuple):
    """A button pressed on transfers, the seconds that it took, and its error or ''."""

    method: str
    ids: list
    start: float
    end: float
    error: str

    @property
    def seconds(self):
        return self.end - self.start


def run_at_once(clients, jobs):
    """Let each client do its job, all from the same moment on.

    :param list jobs: for each client a list of (method, transfer ids)
    :return: the Calls
    """
    barrier = threading.Barrier(len(jobs))

    def work(client, job):
        barrier.wait()
        return [_press(client, method, ids) for method, ids in job]

    with ThreadPoolExecutor(len(jobs)) as executor:
        return [call for calls in executor.map(work, clients, jobs) for call in calls]


def _press(client, method, ids):
    start = time.monotonic()
    error = ""
    try:
        client.call("stock.picking", method, ids)
    except xmlrpc.client.Fault as fault:
        error = fault.faultString.strip().rpartition("\n")[2] or "fault"
    except FAILURES as failure:
        error = f"{type(failure).__name__}: {failure}"
    return Call(method, ids, start, time.monotonic(), error)


def get_seconds(calls):
    """Return the seconds from the first call's start to the last one's end."""
    return max(call.end for call in calls) - min(call.start for call in calls)


def get_percentile(values, percent):
    """Return the smallest of the values that so many percent do not exceed."""
    values = sorted(values)
    return values[max(math.ceil(len(values) * percent / 100) - 1, 0)]
