"""A TCP proxy on the loopback interface that fails on request."""

import contextlib
import selectors
import socket
import struct
import threading

CHUNK = 65536


class _Link:
    """One client's connection and the one to the server that it is passed on to."""

    def __init__(self, client, server):
        self.client = client
        self.server = server
        self.is_silent = False

    def get_other(self, side):
        return self.server if side is self.client else self.client

    def close(self, with_reset):
        for side in (self.client, self.server):
            if with_reset:
                # Linger for 0 seconds: the peer gets RST instead of FIN.
                linger = struct.pack("ii", 1, 0)
                with contextlib.suppress(OSError):
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            side.close()


class Proxy:
    """Passes bytes on, in a thread, until told otherwise.

    ``most_links`` is the greatest number of clients at the same time.
    """

    def __init__(self, port, host="127.0.0.1"):
        """
        :param int port: where the server listens
        """
        self.server_address = (host, port)
        self.most_links = self.link_count = 0
        self._links = {}
        self._lock = threading.Lock()
        self._bytes_before_reset = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._is_closing = True
        self._thread.join()
        self._listener.close()
        self._selector.close()

    def cut(self, with_reset=False):
        """Close the present connections, with FIN or with RST."""
        with self._lock:
            for link in set(self._links.values()):
                self._drop(link, with_reset)

    def reset_after(self, byte_count):
        """Reset the present connections when so many bytes have been passed to the server."""
        with self._lock:
            self._bytes_before_reset = byte_count

    @property
    def is_reset_pending(self):
        return self._bytes_before_reset is not None

    def silence(self):
        """Let the present connections be half open: what is sent vanishes, nothing closes."""
        with self._lock:
            for link in self._links.values():
                link.is_silent = True

    def _run(self):
        while not self._is_closing:
            for key, _events in self._selector.select(0.1):
                with self._lock:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fileobj in self._links:
                        self._pass_on(self._links[key.fileobj], key.fileobj)
        self.cut()

    def _accept(self):
        client, _address = self._listener.accept()
        try:
            server = socket.create_connection(self.server_address, timeout=5)
        except OSError:
            client.close()
            return
        link = _Link(client, server)
        self.link_count += 1
        for side in (client, server):
            side.settimeout(5)
            self._links[side] = link
            self._selector.register(side, selectors.EVENT_READ)
        self.most_links = max(self.most_links, len(self._links) // 2)

    def _pass_on(self, link, side):
        try:
            data = side.recv(CHUNK)
            if data and not link.is_silent:
                self._send(link, side, data)
        except OSError:
            data = b""
        # The other side of a half-open connection is not told.
        if not data and link.is_silent:
            self._selector.unregister(side)
        elif not data and side in self._links:
            self._drop(link, with_reset=False)

    def _send(self, link, side, data):
        if side is link.client and self._bytes_before_reset is not None:
            allowed = data[: self._bytes_before_reset]
            self._bytes_before_reset -= len(allowed)
            link.server.sendall(allowed)
            if not self._bytes_before_reset:
                self._bytes_before_reset = None
                self._drop(link, with_reset=True)
        else:
            link.get_other(side).sendall(data)

    def _drop(self, link, with_reset):
        for side in (link.client, link.server):
            self._links.pop(side, None)
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(side)
        link.close(with_reset)
