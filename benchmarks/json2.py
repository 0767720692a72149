"""Calls over JSON-2, as an integration makes them."""

import http.client
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from .load import CALL_SECONDS, FAILURES, Call


class Session:
    """One client with an API key."""

    def __init__(self, address, database, api_key):
        self._host = urlsplit(address).netloc
        self._headers = {
            "Authorization": f"bearer {api_key}",
            "Content-Type": "application/json",
            "X-Odoo-Database": database,
        }

    def call(self, model, method, **arguments):
        """Call a method of a model.

        :return: what it returns
        :raises OSError: when the server answers with an error
        """
        connection = http.client.HTTPConnection(self._host, timeout=CALL_SECONDS)
        try:
            body = json.dumps(arguments)
            connection.request("POST", f"/json/2/{model}/{method}", body, self._headers)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise OSError(f"{response.status}: {content[:500].decode(errors='replace')}")
        return json.loads(content)


def run_at_once(session, jobs, keep=None):
    """Let a client for each job make its calls, all from the same moment on.

    :param list jobs: for each client a list of (model, method, arguments)
    :param keep: called with each result, or None
    :return: the Calls
    """
    barrier = threading.Barrier(len(jobs))

    def work(job):
        barrier.wait()
        return [_call(session, *call, keep) for call in job]

    with ThreadPoolExecutor(len(jobs)) as executor:
        return [call for calls in executor.map(work, jobs) for call in calls]


def _call(session, model, method, arguments, keep):
    start = time.monotonic()
    error = ""
    result = None
    try:
        result = session.call(model, method, **arguments)
    except FAILURES as failure:
        error = f"{type(failure).__name__}: {failure}"
    end = time.monotonic()
    if keep and not error:
        keep(result)
    return Call(method, [], start, end, error)
