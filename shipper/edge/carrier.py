"""Carrier: runs one `push.Connection`, the machine of a connection or a datagram socket, between its wire and the taker.

RULES
- Commands are carried out in their order; what an answer causes comes after what was there before, even if the taker answers at
  once. A delivery is answered once; what comes after the end of the listener is nobody's.
- The machine's clock stands still while its wire is not read: no peer is too slow for what we did not read.
- How much may be unanswered before the wire is not read: `OPEN_BYTES` or `OPEN_DELIVERIES`.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Protocol

from shipper.source import push

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    Answer = Callable[[bool], None]
    Take = Callable[[push.Delivery, Answer], None]

OPEN_BYTES = 8 << 20
OPEN_DELIVERIES = 64


class Wire(Protocol):
    """A socket, as the carrier sees it."""

    def send(self, data: bytes) -> None:
        """Bytes for the peer."""
        ...

    def close(self) -> None:
        """End the connection after what was sent is written."""
        ...

    def note(self, kind: str, fields: dict[str, object]) -> None:
        """Tell the owner, with the peer's address."""
        ...

    def turned(self) -> None:
        """Commands were carried out: look whether to read on, and whether all is done."""
        ...


class Owner(Protocol):
    """The listener, as wires and carriers see it."""

    @property
    def source(self) -> push.Listens:
        """Makes machines."""
        ...

    @property
    def take(self) -> Take:
        """Takes deliveries."""
        ...

    @property
    def note(self) -> Callable[[str, dict[str, object]], None]:
        """Takes notes."""
        ...

    @property
    def paused(self) -> bool:
        """Whether nothing may be read."""
        ...

    def held(self, change: int) -> None:
        """So many bytes more, or less, are delivered and unanswered."""
        ...

    def gone(self, wire: Wire) -> None:
        """The wire is over."""
        ...


class Carrier:
    """Runs one machine."""

    def __init__(self, wire: Wire, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        """Without a machine yet, see `start`."""
        self._wire, self._owner, self._loop = wire, owner, loop
        self._machine: push.Connection | None = None
        self._commands: deque[push.Command] = deque()
        self._carrying = False
        self._open: dict[int, int] = {}
        """Bytes of the unanswered deliveries."""
        self.open_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._still_since: float | None = None
        self._stood = 0.0
        """Seconds that the machine's clock stood still."""

    @property
    def open_count(self) -> int:
        """Deliveries that were not answered."""
        return len(self._open)

    @property
    def full(self) -> bool:
        """Whether nothing more should be read."""
        return self.open_bytes >= OPEN_BYTES or len(self._open) >= OPEN_DELIVERIES

    def now(self) -> float:
        """The machine's time."""
        return (self._loop.time() if self._still_since is None else self._still_since) - self._stood

    def start(self, peer: str) -> None:
        """Have a machine made, and let it begin."""
        self._machine = self._owner.source.connection(peer, os.urandom, self.now())
        self.received(b"")

    def received(self, data: bytes) -> None:
        """Bytes came."""
        if self._machine is not None:
            self._carry(self._machine.received(data, self.now()))

    def ended(self) -> None:
        """Nothing more comes."""
        if self._machine is not None:
            self._carry(self._machine.ended(self.now()))

    def stand_still(self, *, still: bool) -> None:
        """Stop the machine's clock, or let it go on."""
        if still == (self._still_since is not None):
            return
        if still:
            self._still_since = self._loop.time()
        else:
            self._stood += self._loop.time() - (self._still_since or 0.0)
            self._still_since = None
        self._arm()

    def drop(self) -> None:
        """Forget the machine: its timer, and the answers it waits for."""
        self._machine = None
        self._commands.clear()
        self._open.clear()
        self.open_bytes = 0
        self._disarm()

    def _answered(self, number: int, durable: bool) -> None:  # noqa: FBT001  as the taker calls it
        """The taker's word."""
        if self._machine is None:
            return
        size = self._open.pop(number)
        self.open_bytes -= size
        self._owner.held(-size)
        tell = self._machine.durable if durable else self._machine.refused
        self._carry(tell(number, self.now()))

    def _carry(self, commands: Sequence[push.Command]) -> None:
        self._commands.extend(commands)
        if self._carrying:
            return
        self._carrying = True
        try:
            while self._commands:
                self._carry_out(self._commands.popleft())
        finally:
            self._carrying = False
        self._arm()
        self._wire.turned()

    def _carry_out(self, command: push.Command) -> None:
        if isinstance(command, push.Send):
            self._wire.send(command.data)
        elif isinstance(command, push.Deliver):
            self._deliver(command)
        elif isinstance(command, push.Note):
            self._wire.note(command.kind, command.fields)
        else:
            self._wire.close()

    def _deliver(self, command: push.Deliver) -> None:
        number, size = command.number, sum(map(len, command.delivery.rows))
        assert number not in self._open, "a machine used a number twice"
        self._open[number] = size
        self.open_bytes += size
        self._owner.held(size)
        self._owner.take(command.delivery, lambda durable: self._answered(number, durable))

    def _arm(self) -> None:
        """Have `expire` called when it is due; a timer that comes too early sets another."""
        deadline = None if self._machine is None or self._still_since is not None else self._machine.deadline()
        if deadline is None:
            self._disarm()
            return
        at = deadline + self._stood
        if self._timer is None or self._timer.when() > at:
            self._disarm()
            self._timer = self._loop.call_at(at, self._expire)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        if self._machine is not None:
            self._carry(self._machine.expire(self.now()))
