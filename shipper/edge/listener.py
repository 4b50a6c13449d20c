"""Listener: the sockets of a source that records are pushed to, whatever its protocol.

RULES
- The listener knows no protocol: bytes go to the machines of `source`, and their commands are carried out (`carrier.py`).
- A delivery goes to `take`, which answers it once: True, it is durable, or False, it is refused. Only then a sender is told.
- While paused nothing is read; new connections are accepted and wait. Besides, a connection is not read while much of what it
  delivered is unanswered, nor any while `HELD_BYTES` are together.
- From `max_connections` on, connections are closed as they come, and noted. A connection counts from before its TLS handshake,
  which has `TLS_HANDSHAKE_S`.
- Certificates that change on disk are used for the connections that come after. If they cannot be read, the old ones stay.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

from shipper.edge.datagrams import Datagrams
from shipper.edge.sockets import Bound, Certificates, bind
from shipper.edge.streams import Stream
from shipper.model.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from shipper.edge.carrier import Take, Wire
    from shipper.source.push import ListenConfig, Listens

    NoteTaker = Callable[[str, dict[str, object]], None]

HELD_BYTES = 64 << 20
"""Rows of all connections that are delivered and unanswered; beyond, nothing is read."""
TLS_HANDSHAKE_S = 10.0
CERTIFICATES_S = 30.0
GRACE_S = 5.0
_FAREWELL_S = 0.5
"""What peers get to take our last bytes, once all is answered."""
_RETRY_S = 1.0
"""Pause after accept failed, as it does when descriptors are used up."""
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""A peer that is gone without a word is found out within two minutes."""


class Listener:
    """Listens for one source. Everything happens in the loop's thread."""

    def __init__(self, config: ListenConfig, source: Listens, take: Take, note: NoteTaker) -> None:
        """`take(delivery, answer)` and `note(kind, fields)` are called in the loop; neither may raise."""
        self.source, self.take, self.note = source, take, note
        self.paused = False
        self.addresses: list[str] = []
        """Where it listens, with real ports."""
        self._config = config
        self._asked = False
        """Somebody paused us."""
        self._held = 0
        self._bound: list[Bound] = []
        self._datagrams: list[Datagrams] = []
        self._streams: set[Stream] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._certificates: Certificates | None = None
        self._closed = False
        self._changed = asyncio.Event()
        """A delivery was answered, or a connection is over."""

    @property
    def connections(self) -> int:
        """Connections at the moment."""
        return len(self._streams)

    async def open(self) -> None:
        """Listen at all addresses, or at none. Raises HostError with the address and what to do."""
        loop = asyncio.get_running_loop()
        if self._config.tls_certificate is not None:
            self._certificates = Certificates(self._config)
            self._start(self._watch_certificates(self._certificates))
        try:
            for endpoint in self._config.listen:
                self._bound += await bind(endpoint, loop)
        except HostError:
            self._stop_listening()
            raise
        self.addresses = [bound.name for bound in self._bound]
        for bound in self._bound:
            if bound.datagrams:
                self._datagrams.append(Datagrams(self, bound.socket, bound.name, loop))
            else:
                self._start(self._accept(bound))

    def pause(self) -> None:
        """Read nothing: the taker is full."""
        self._asked = True
        self._weigh()

    def resume(self) -> None:
        """Read again."""
        self._asked = False
        self._weigh()

    async def close(self, grace: float = GRACE_S) -> None:
        """Stop listening; give open deliveries `grace` seconds to be answered, then end all connections."""
        if self._closed:
            return
        self._closed = True
        self._stop_listening()
        parts = self._parts()
        for part in parts:
            part.finish()
        await self._until(lambda: not any(part.open_count for part in parts), grace)
        await self._until(lambda: not self._streams, _FAREWELL_S)
        unanswered = sum(part.abandon() for part in parts)
        if unanswered:
            self.note("abandoned", {"deliveries": unanswered})
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def held(self, change: int) -> None:
        """Keep account of the bytes that are delivered and unanswered."""
        self._held += change
        self._changed.set()
        self._weigh()

    def gone(self, wire: Wire) -> None:
        """A connection is over."""
        assert isinstance(wire, Stream)
        self._streams.discard(wire)
        self._changed.set()

    def _parts(self) -> list[Stream | Datagrams]:
        return [*self._streams, *self._datagrams]

    def _weigh(self) -> None:
        """Read or do not; from full to reading again it takes half."""
        paused = self._asked or self._held >= (HELD_BYTES // 2 if self.paused else HELD_BYTES)
        if paused != self.paused:
            self.paused = paused
            for part in self._parts():
                part.look()

    async def _accept(self, bound: Bound) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(bound.socket)
            except OSError as error:
                self.note("accept", {"address": bound.name, "reason": error.strerror or "failed"})
                await asyncio.sleep(_RETRY_S)
                continue
            peer = _peer(bound, address)
            if self.connections >= self._config.max_connections:
                accepted.close()
                self.note("refused", {"peer": peer, "reason": "max_connections"})
                continue
            stream = Stream(self, peer, loop)
            self._streams.add(stream)
            self._start(self._begin(stream, accepted, peer, inet=bound.file is None))

    async def _begin(self, stream: Stream, accepted: socket.socket, peer: str, *, inet: bool) -> None:
        """Hand an accepted connection to its stream, behind TLS where that is asked for."""
        context = self._certificates.context if self._certificates is not None and inet else None
        limit = TLS_HANDSHAKE_S if context is not None else None
        try:
            if inet:
                _keep_alive(accepted)
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(lambda: stream, accepted, ssl=context, ssl_handshake_timeout=limit)
        except OSError as error:
            self.note("tls", {"peer": peer, "reason": getattr(error, "reason", None) or error.strerror or "no handshake"})
        finally:
            if not stream.stands:
                accepted.close()
                self.gone(stream)

    async def _watch_certificates(self, certificates: Certificates) -> None:
        while True:
            await asyncio.sleep(CERTIFICATES_S)
            try:
                if certificates.refresh():
                    self.note("certificates", {"reason": "read anew"})
            except HostError as error:
                self.note("certificates", {"reason": str(error)})

    async def _until(self, done: Callable[[], bool], seconds: float) -> None:
        """Wait until something is so, or the seconds are over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not done():
                    self._changed.clear()
                    await self._changed.wait()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _stop_listening(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        for bound in self._bound:
            bound.remove()
            if not bound.datagrams or not self._datagrams:
                asyncio.get_running_loop().remove_reader(bound.socket)
                bound.socket.close()
        self._bound.clear()


def _peer(bound: Bound, address: object) -> str:
    """How a connection is named in notes; unix peers have no name of their own."""
    if bound.file is not None or not isinstance(address, tuple):
        return bound.name
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _keep_alive(accepted: socket.socket) -> None:
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, value in _KEEPALIVE.items():
        option = getattr(socket, name, None)
        if option is not None:
            accepted.setsockopt(socket.IPPROTO_TCP, option, value)
