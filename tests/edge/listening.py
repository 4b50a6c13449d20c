"""A small protocol, a taker and senders for tests of the listener: a line is a record, answered `ok N` once it is durable."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from shipper.config.fields import Endpoint, FilePath
from shipper.edge.listener import Listener
from shipper.source.push import Close, Command, Deliver, Delivery, ListenConfig, Note, Send

PATIENCE_S = 30.0
"""Ends a test that would hang."""


class Lines:
    """The machine: `flood N` sends N bytes, `bye` ends the connection, `slow` begins a line that must end within a second."""

    def __init__(self, source: Source, peer: str, now: float) -> None:
        self.source, self.peer = source, peer
        self.buffer = b""
        self.number = 0
        self.due: float | None = None
        self.made_at = now

    def received(self, data: bytes, now: float) -> Sequence[Command]:
        """Lines come in; of a datagram its whole content."""
        self.buffer += data
        commands: list[Command] = []
        if data and self.peer.startswith(("udp:", "unixgram:")):
            self.buffer += b"\n"
        *lines, self.buffer = self.buffer.split(b"\n")
        self.due = now + 1.0 if self.buffer == b"slow" else None
        for line in lines:
            if line.startswith(b"flood"):
                commands.append(Send(bytes(int(line.split()[1]))))
            elif line == b"bye":
                commands += [Send(b"farewell\n"), Close("asked for")]
                self.buffer = b""
                break
            else:
                commands.append(Deliver(self.number, Delivery([line])))
                self.number += 1
        return commands

    def ended(self, now: float) -> Sequence[Command]:
        """The last line needs no newline."""
        self.source.ended.append(self.peer)
        rest, self.buffer = self.buffer, b""
        return [Deliver(self.number, Delivery([rest]))] if rest else []

    def durable(self, number: int, now: float) -> Sequence[Command]:
        """Say so. A chain of records is taken one by one."""
        return [Send(b"ok %d\n" % number), *self.source.further()]

    def refused(self, number: int, now: float) -> Sequence[Command]:
        """Say so."""
        return [Send(b"no %d\n" % number)]

    def deadline(self) -> float | None:
        """When a line must have ended."""
        return self.due

    def expire(self, now: float) -> Sequence[Command]:
        """It did not."""
        if self.due is None or now < self.due:
            return []
        self.due = None
        return [Note("slow", {}), Close("too slow")]


class Source:
    """Makes such machines; `chain` further deliveries follow the first that is durable."""

    def __init__(self, chain: int = 0) -> None:
        self.chain = chain
        self.ended: list[str] = []
        self.machines: list[Lines] = []

    def connection(self, peer: str, random: Callable[[int], bytes], now: float) -> Lines:
        """As the listener asks for."""
        assert len(random(5)) == 5
        self.machines.append(Lines(self, peer, now))
        return self.machines[-1]

    def further(self) -> list[Command]:
        """The next of the chain."""
        if not self.chain:
            return []
        self.chain -= 1
        return [Deliver(1000 + self.chain, Delivery([b"further"]))]


class World:
    """A listener, and what it handed over. Without `answering`, deliveries wait."""

    def __init__(self, listen: list[str], source: Any = None, *, answering: bool = True, **settings: Any) -> None:
        self.source = source or Source()
        self.answering = answering
        self.deliveries: list[Delivery] = []
        self.waiting: list[Callable[[bool], None]] = []
        self.notes: list[tuple[str, dict[str, object]]] = []
        self.peers: list[asyncio.StreamWriter] = []
        config = ListenConfig(listen=[Endpoint(one) for one in listen], **settings)
        self.listener = Listener(config, self.source, self.take, lambda kind, fields: self.notes.append((kind, fields)))

    def take(self, delivery: Delivery, answer: Callable[[bool], None]) -> None:
        """As the spool does, in memory."""
        self.deliveries.append(delivery)
        if self.answering:
            answer(True)
        else:
            self.waiting.append(answer)

    def answer(self, durable: bool = True) -> None:
        """Answer all that waits."""
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            one(durable)

    @property
    def rows(self) -> list[bytes]:
        """All rows."""
        return [row for delivery in self.deliveries for row in delivery.rows]

    @property
    def kinds(self) -> list[str]:
        """Kinds of the notes."""
        return [kind for kind, _ in self.notes]

    async def connect(self, number: int = 0, **more: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to an address of the listener."""
        endpoint = Endpoint(self.listener.addresses[number])
        if endpoint.path:
            peer = await asyncio.open_unix_connection(endpoint.path)
        else:
            peer = await asyncio.open_connection(endpoint.address.host, endpoint.address.port, **more)
        self.peers.append(peer[1])
        return peer

    async def hang_up(self) -> None:
        """End what tests left open."""
        for peer in self.peers:
            with contextlib.suppress(AttributeError):  # asyncio's own, for a transport that is gone already
                peer.transport.abort()
        await asyncio.sleep(0.01)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for something to be so."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():
            await asyncio.sleep(0.005)


async def settled(value: Callable[[], object]) -> None:
    """Wait until a value does not change any more."""
    last, same = value(), 0
    while same < 20:
        await asyncio.sleep(0.005)
        last, same = value(), same + 1 if value() == last else 0


def run(world: World, script: Callable[[World], Awaitable[None]]) -> None:
    """Open the listener, run a script, close it."""

    async def scene() -> None:
        await world.listener.open()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await script(world)
        finally:
            await world.listener.close(grace=0.2)
            await world.hang_up()

    asyncio.run(scene())


class Authority:
    """Makes certificates with openssl."""

    def __init__(self, folder: Path) -> None:
        assert shutil.which("openssl"), "openssl is needed for these tests"
        self.folder = folder
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                      "/CN=authority", "-keyout", self.path("ca.key"), "-out", self.path("ca.pem"))  # fmt: skip

    def path(self, name: str) -> FilePath:
        """A file of this folder."""
        return FilePath(self.folder / name)

    def issue(self, name: str, *, phrase: str = "") -> tuple[FilePath, FilePath]:
        """Make a certificate for 127.0.0.1; return it and its key."""
        certificate, key = self.path(f"{name}.pem"), self.path(f"{name}.key")
        protected = ["-passout", f"pass:{phrase}"] if phrase else ["-nodes"]
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", *protected, "-days", "2", "-subj", f"/CN={name}",
                      "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE", "-CA", self.path("ca.pem"),
                      "-CAkey", self.path("ca.key"), "-keyout", key, "-out", certificate)  # fmt: skip
        return certificate, key

    @staticmethod
    def _openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True)
