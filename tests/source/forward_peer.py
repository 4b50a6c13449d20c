"""A sender of the forward protocol for tests: it builds messages, and plays the listener that answers deliveries."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgpack

from shipper.config.fields import Endpoint, Secret
from shipper.source.forward import Forward
from shipper.source.push import Close, Command, Connection, Deliver, Delivery, Note, Send

PEER = "127.0.0.1:40000"


def event_time(seconds: int, nanoseconds: int) -> msgpack.ExtType:
    """The protocol's EventTime."""
    return msgpack.ExtType(0, seconds.to_bytes(4, "big") + nanoseconds.to_bytes(4, "big"))


def pack(*objects: Any) -> bytes:
    """Objects one behind the other."""
    return b"".join(msgpack.packb(one, unicode_errors="surrogateescape") for one in objects)


def forward(**settings: Any) -> Forward:
    """A source; settings as text."""
    if "shared_key" in settings:
        settings["shared_key"] = Secret(settings["shared_key"])
    if "listen" in settings:
        settings["listen"] = [Endpoint(one) for one in settings["listen"]]
    return Forward(Forward.Config(**settings))


def counted(count: int) -> bytes:
    """Instead of random bytes."""
    return bytes(range(count))


class Peer:
    """One connection, and what came of it. Without `answering`, deliveries wait for `answer`."""

    def __init__(self, source: Forward | None = None, *, answering: bool = True) -> None:
        self.machine: Connection = (source or forward()).connection(PEER, counted, 0.0)
        self.answering = answering
        self.now = 0.0
        self.deliveries: list[Delivery] = []
        self.waiting: list[int] = []
        self.sent = b""
        self.notes: list[tuple[str, dict[str, object]]] = []
        self.closed: str | None = None
        self.carry(self.machine.received(b"", self.now))

    def carry(self, commands: Sequence[Command]) -> None:
        """Carry commands out."""
        todo = list(commands)
        while todo:
            command = todo.pop(0)
            assert self.closed is None, "a command after the end"
            if isinstance(command, Send):
                self.sent += command.data
            elif isinstance(command, Note):
                self.notes.append((command.kind, command.fields))
            elif isinstance(command, Close):
                self.closed = command.reason
            elif isinstance(command, Deliver):
                self.deliveries.append(command.delivery)
                if self.answering:
                    todo += self.machine.durable(command.number, self.now)
                else:
                    self.waiting.append(command.number)

    def send(self, *parts: bytes) -> Peer:
        """Bytes come in these parts."""
        for part in parts:
            self.carry(self.machine.received(part, self.now))
        return self

    def end(self) -> Peer:
        """Nothing more comes."""
        self.carry(self.machine.ended(self.now))
        return self

    def answer(self, durable: bool = True) -> None:
        """Answer the oldest delivery."""
        number = self.waiting.pop(0)
        self.carry((self.machine.durable if durable else self.machine.refused)(number, self.now))

    def wait(self, seconds: float) -> None:
        """Time goes by."""
        self.now += seconds
        self.carry(self.machine.expire(self.now))

    @property
    def rows(self) -> list[bytes]:
        """All rows."""
        return [row for delivery in self.deliveries for row in delivery.rows]

    @property
    def times(self) -> list[str]:
        """All times."""
        return [time for delivery in self.deliveries for time in delivery.times or []]

    @property
    def tags(self) -> list[str]:
        """All tags."""
        return [tag for delivery in self.deliveries for tag in delivery.tags or []]

    @property
    def ids(self) -> list[bytes | None]:
        """All identities."""
        return [one for delivery in self.deliveries for one in delivery.ids or [None] * len(delivery.rows)]

    @property
    def heard(self) -> list[Any]:
        """What was sent, decoded."""
        unpacker = msgpack.Unpacker(unicode_errors="surrogateescape")
        unpacker.feed(self.sent)
        return list(unpacker)

    @property
    def kinds(self) -> list[str]:
        """Kinds of the notes."""
        return [kind for kind, _ in self.notes]


def digest(*parts: str | bytes) -> str:
    """The protocol's."""
    return hashlib.sha512(b"".join(part.encode() if isinstance(part, str) else part for part in parts)).hexdigest()


def ping(helo: Any, key: str, user: str = "", password: str = "", salt: str | bytes = b"\x80salt\xff") -> bytes:
    """A sender's answer to HELO."""
    options = helo[1]
    proof = digest(options["auth"], user, password) if options["auth"] else ""
    return pack(["PING", "sender", salt, digest(salt, "sender", options["nonce"], key), user, proof])


def in_mode(mode: str, tag: str, events: Iterable[tuple[Any, Any]], option: dict[str, Any] | None = None) -> bytes:
    """Events as messages of a mode."""
    import gzip

    events = [list(event) for event in events]
    option = option or {}
    if mode == "message":
        return b"".join(pack([tag, *event, *([option] if option else [])]) for event in events)
    if mode == "forward":
        return pack([tag, events, *([option] if option else [])])
    packed = pack(*events)
    if mode == "packed":
        return pack([tag, packed, option])
    half = len(packed) // 2
    members = gzip.compress(packed[:half]) + gzip.compress(packed[half:])
    return pack([tag, members, {**option, "compressed": "gzip"}])


T = 1_770_301_845
"""2026-02-05T14:30:45Z."""
MODES = ("message", "forward", "packed", "compressed")
EVENTS: list[tuple[Any, Any]] = [
    (event_time(T, 123_456_789), {"message": "erste Zeile", "n": 1}),
    (T + 1, {"message": "ü\n", "deep": {"a": [1, None, True]}}),
    (float(T) + 0.5, {}),
]
