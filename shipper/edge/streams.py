"""Streams: one accepted connection, TCP, TLS or unix, between asyncio and its carrier.

RULES
- It is read only while it may be: the listener is not paused, not too much is unanswered, and the peer reads what it is sent. So
  a peer that never reads is held to what the transport buffers, and after `STALL_S` it is cut off.
- A peer that sends nothing more (half closed) still gets its answers. With TLS there is no such thing: then they are lost, and the
  records are not.
- A connection that we end is written out, then closed for writing; what still comes is thrown away until the peer is gone or for
  `LINGER_S`: closing at once would have the kernel send a reset, which may destroy what the peer has not read yet (RFC 9112, 9.6).
- A connection that is gone keeps its machine until its deliveries are answered: they may be parts of more.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, cast

from shipper.edge.carrier import Carrier

if TYPE_CHECKING:
    from shipper.edge.carrier import Owner

STALL_S = 30.0
LINGER_S = 5.0
SEND_BYTES = 256 << 10


class Stream(asyncio.Protocol):
    """One connection."""

    def __init__(self, owner: Owner, peer: str, loop: asyncio.AbstractEventLoop) -> None:
        """`peer` is what its notes name."""
        self._owner, self._peer, self._loop = owner, peer, loop
        self._transport: asyncio.Transport | None = None
        self._carrier = Carrier(self, owner, loop)
        self._stands = False
        self._reading = True
        self._choked = False
        """The peer does not read."""
        self._eof = False
        """The peer sends nothing more."""
        self._ended = False
        """The machine knows that nothing more comes."""
        self._closing = False
        self._timer: asyncio.TimerHandle | None = None
        """Ends what takes too long: a peer that does not read, or does not go."""

    @property
    def stands(self) -> bool:
        """Whether the connection stood at some time; before, it is its opener's."""
        return self._stands

    @property
    def open_count(self) -> int:
        """Deliveries that were not answered."""
        return self._carrier.open_count

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands, handshake of TLS included."""
        self._stands = True
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=SEND_BYTES)
        self._carrier.start(self._peer)

    def data_received(self, data: bytes) -> None:
        """Bytes came; after the end they are thrown away."""
        if not self._closing and not self._ended:
            self._carrier.received(data)

    def eof_received(self) -> bool:
        """The peer sends nothing more. True keeps the transport for answers."""
        self._eof = True
        self._end()
        return self._transport is not None and self._transport.can_write_eof() and not self._closing

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whoever ended it."""
        self._transport = None
        if isinstance(exc, ssl.SSLError):
            self.note("tls", {"reason": exc.reason or "broken"})
        self._end()
        self._cancel()
        self.turned()

    def pause_writing(self) -> None:
        """The peer does not read what it is sent."""
        self._choked = True
        self._limit(STALL_S)
        self.look()

    def resume_writing(self) -> None:
        """It reads again."""
        self._choked = False
        if not self._closing:
            self._cancel()
        self.look()

    def send(self, data: bytes) -> None:
        """Write, if there is still somebody."""
        if self._transport is not None and not self._closing:
            self._transport.write(data)

    def close(self) -> None:
        """End the connection after what was sent is written."""
        if self._closing or self._transport is None:
            return
        self._closing = True
        self._limit(LINGER_S)
        if self._eof or not self._transport.can_write_eof():
            self._transport.close()
        else:
            self._transport.write_eof()
        self.look()

    def note(self, kind: str, fields: dict[str, object]) -> None:
        """Pass a note on, with the peer."""
        self._owner.note(kind, {"peer": self._peer, **fields})

    def turned(self) -> None:
        """Look whether to read on, and whether this is over."""
        if self._transport is None:
            if not self._carrier.open_count:
                self._carrier.drop()
                self._owner.gone(self)
        elif self._ended and not self._closing and not self._carrier.open_count:
            self.close()
        else:
            self.look()

    def finish(self) -> None:
        """The listener closes: take no more, answer what is open, then end."""
        self._end()

    def abandon(self) -> int:
        """Let go of everything now; return the deliveries that were not answered."""
        unanswered = self._carrier.open_count
        self._carrier.drop()
        self._cancel()
        if self._transport is not None:
            self._transport.abort()
        return unanswered

    def _end(self) -> None:
        """Tell the machine, once, that nothing more comes."""
        if not self._ended:
            self._ended = True
            self._carrier.ended()

    def look(self) -> None:
        """Read exactly while it may be. The listener calls this too, when it is paused or goes on."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        wanted = self._closing or not (self._owner.paused or self._choked or self._carrier.full or self._ended)
        if wanted != self._reading:
            self._reading = wanted
            (transport.resume_reading if wanted else transport.pause_reading)()
        self._carrier.stand_still(still=not wanted)

    def _limit(self, seconds: float) -> None:
        self._cancel()
        self._timer = self._loop.call_later(seconds, self._cut_off)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cut_off(self) -> None:
        """It took too long."""
        self._timer = None
        if self._transport is None:
            return
        if self._choked:
            self.note("slow", {"reason": "the peer does not read"})
        self._transport.abort()
