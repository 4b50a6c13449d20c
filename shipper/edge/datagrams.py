"""Datagrams: one UDP or unix datagram socket, read as long as its listener may.

RULES
- While nothing may be read, datagrams wait in the kernel's buffer (`RECEIVE_BYTES` are asked for). What it drops is counted where
  Linux says so (SO_RXQ_OVFL, socket(7)): note `dropped`. Senders to a unix socket are held up instead.
- An answer goes to the sender of the datagram at hand; one that cannot be sent at once is dropped, and counted.
- At most `AT_ONCE` datagrams are read in a turn of the loop, so that streams get theirs.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any

from shipper.edge.carrier import Carrier

if TYPE_CHECKING:
    import asyncio

    from shipper.edge.carrier import Owner

DATAGRAM_BYTES = 65_536
RECEIVE_BYTES = 4 << 20
AT_ONCE = 64
_SO_RXQ_OVFL = 40
"""Linux's number (asm-generic/socket.h); Python has no name for it."""
_COUNT = struct.Struct("@I")


class Datagrams:
    """One bound socket; it is ours, and closed with us."""

    def __init__(self, owner: Owner, bound: socket.socket, name: str, loop: asyncio.AbstractEventLoop) -> None:
        """`name` is the socket's endpoint, which is also the `peer` of its machine."""
        self._owner, self._socket, self._name, self._loop = owner, bound, name, loop
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        self._space = 0
        if sys.platform == "linux":
            bound.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
            self._space = socket.CMSG_SPACE(_COUNT.size)
        self._dropped = 0
        """What the kernel has counted so far."""
        self._sender: Any = None
        self._reading = False
        self._ended = False
        self._carrier = Carrier(self, owner, loop)
        self._carrier.start(name)

    @property
    def open_count(self) -> int:
        """Deliveries that were not answered."""
        return self._carrier.open_count

    def send(self, data: bytes) -> None:
        """Answer the sender at hand."""
        if self._sender:
            try:
                self._socket.sendto(data, self._sender)
            except OSError as error:
                self.note("unsent", {"reason": error.strerror or "the answer could not be sent"})

    def close(self) -> None:
        """A datagram socket goes on, whatever one datagram held."""

    def note(self, kind: str, fields: dict[str, object]) -> None:
        """Pass a note on, with the socket's endpoint."""
        self._owner.note(kind, {"peer": self._name, **fields})

    def turned(self) -> None:
        """Look whether to read on."""
        self.look()

    def look(self) -> None:
        """Read exactly while it may be."""
        wanted = not (self._owner.paused or self._carrier.full or self._ended)
        if wanted != self._reading:
            self._reading = wanted
            if wanted:
                self._loop.add_reader(self._socket, self._readable)
            else:
                self._loop.remove_reader(self._socket)
        self._carrier.stand_still(still=not wanted)

    def finish(self) -> None:
        """Take no more."""
        if not self._ended:
            self._ended = True
            self._carrier.ended()
            self.look()
            self._socket.close()

    def abandon(self) -> int:
        """Let go of everything; return the deliveries that were not answered."""
        self.finish()
        unanswered = self._carrier.open_count
        self._carrier.drop()
        return unanswered

    def _readable(self) -> None:
        with contextlib.suppress(BlockingIOError, InterruptedError):
            for _ in range(AT_ONCE):
                if not self._reading:
                    break
                self._one()
        self._sender = None

    def _one(self) -> None:
        try:
            data, extra, _, self._sender = self._socket.recvmsg(DATAGRAM_BYTES, self._space)
        except (BlockingIOError, InterruptedError):
            raise
        except OSError:
            # An ICMP error of an answer sent before; the socket goes on.
            return
        for level, kind, content in extra:
            if level == socket.SOL_SOCKET and kind == _SO_RXQ_OVFL and len(content) >= _COUNT.size:
                self._count(_COUNT.unpack(content[: _COUNT.size])[0])
        if data:
            self._carrier.received(data)

    def _count(self, dropped: int) -> None:
        """The kernel's counter, which wraps at 32 bits."""
        if dropped != self._dropped:
            lost, self._dropped = (dropped - self._dropped) & 0xFFFFFFFF, dropped
            self.note("dropped", {"datagrams": lost})
