"""A TCP proxy on loopback between agent and node that passes bytes on and counts what the node answers.

It counts `"status":409` and `"status":201` in the bytes themselves, so that nothing the agent says about itself is needed to know
that a resend was refused document by document.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
import time
from collections import Counter
from urllib.parse import urlsplit

from tests.real.node import free_port

_STATUS = re.compile(rb'"status":(\d{3})(?!\d)')
_KEPT = len(b'"status":409')


class Proxy:
    """Listens from its making to `close`, always on the same port."""

    def __init__(self, url: str) -> None:
        """Pass everything on to the host of `url`."""
        parts = urlsplit(url)
        assert parts.hostname
        self._target = (parts.hostname, parts.port or 80)
        self.statuses: Counter[int] = Counter()
        """Statuses of items in replies."""
        self.muted = False
        """Whether replies are counted and then kept from the agent."""
        self.closed = False
        """Whether connections are closed as soon as they are made, as if there were no node."""
        self.delay_s = 0.0
        """How long a piece of a request waits here; with the agent gone by then, it goes nowhere."""
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", free_port()))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def close(self) -> None:
        """Accept nothing more; connections end with their ends."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                if self.closed:
                    raise ConnectionRefusedError
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            for source, sink, counts in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pump, args=(source, sink, counts), name="proxy", daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, counts: bool) -> None:
        """Pass on until one end is gone, then end both directions."""
        rest = b""
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if self.delay_s and not counts:
                    time.sleep(self.delay_s)
                    if _is_gone(source):
                        break
                if counts:  # before it is passed on: what the agent knows is counted
                    rest = self._count(rest + data)
                if not (counts and self.muted):
                    sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _count(self, data: bytes) -> bytes:
        """Count the statuses in `data`; return the end that may be half of one."""
        end = 0
        with self._lock:
            for found in _STATUS.finditer(data):
                self.statuses[int(found[1])] += 1
                end = found.end()
        return data[max(end, len(data) - _KEPT + 1) :]


def _is_gone(peer: socket.socket) -> bool:
    """Whether the other end is closed and has nothing more to say."""
    readable, _, _ = select.select([peer], [], [], 0)
    return bool(readable) and not peer.recv(1, socket.MSG_PEEK)
