"""A client of the source http, and its listener: builds requests, carries out what the machine says, reads the replies."""

from __future__ import annotations

import json

from shipper.config.fields import Endpoint
from shipper.source.http import Http
from shipper.source.http_connection import HttpConnection
from shipper.source.push import Close, Deliver, Delivery, Note, Send

NDJSON = "application/x-ndjson"
ELASTIC = "application/vnd.elasticsearch+x-ndjson; compatible-with=8"
BULK = b'{"create":{"_index":"logs","_id":"a"}}\n{"n":1}\n{"index":{}}\n{"n":2}\n'


def config(**more: object) -> Http.Config:
    """Settings with what a test needs."""
    return Http.Config(**{"listen": [Endpoint("127.0.0.1:9200")], **more})


class Client:
    """Plays a client and its listener: keeps what is sent and delivered, answers deliveries at once or when told."""

    def __init__(self, settings: Http.Config | None = None, *, busy: tuple[int, ...] = (), held: bool = False) -> None:
        self.machine: HttpConnection = Http(settings or config()).connection("192.0.2.1:5", lambda size: b"r" * size, 0.0)
        self.sent = b""
        self.deliveries: list[Delivery] = []
        self.open: list[int] = []
        self.notes: list[tuple[str, dict[str, object]]] = []
        self.closed = False
        self._busy, self._held = busy, held
        self.carry(self.machine.received(b"", 0.0))

    def carry(self, commands: object, now: float = 0.0) -> None:
        """Do what the machine says."""
        for command in commands:
            assert not self.closed, command
            match command:
                case Send(data):
                    self.sent += data
                case Close():
                    self.closed = True
                case Note(kind, fields):
                    self.notes.append((kind, fields))
                case Deliver(number, delivery):
                    self.deliveries.append(delivery)
                    self.open.append(number)
        if not self._held:
            self.settle(now)

    def settle(self, now: float = 0.0) -> None:
        """Answer all open deliveries."""
        while self.open:
            number = self.open.pop(0)
            self.carry((self.machine.refused if number in self._busy else self.machine.durable)(number, now), now)

    def send(self, *pieces: bytes, now: float = 0.0) -> Client:
        """Send bytes, until the machine closes."""
        for piece in pieces:
            if not self.closed:
                self.carry(self.machine.received(piece, now), now)
        return self

    @property
    def rows(self) -> list[bytes]:
        """All rows delivered."""
        return [row for delivery in self.deliveries for row in delivery.rows]

    @property
    def replies(self) -> list[tuple[int, dict[str, str], object]]:
        """The replies sent, with status, headers and document; `100 Continue` has none."""
        found, rest = [], self.sent
        while rest:
            head, _, rest = rest.partition(b"\r\n\r\n")
            status, *lines = head.decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            size = int(headers.get("content-length", 0))
            found.append((int(status.split(" ")[1]), headers, json.loads(rest[:size]) if size else None))
            rest = rest[size:]
        return found

    @property
    def reply(self) -> tuple[int, dict[str, str], object]:
        """The one reply."""
        (found,) = self.replies
        return found


def request(
    method: str = "POST", path: str = "/", body: bytes = b"", kind: str | None = NDJSON, headers: dict[str, str] | None = None
) -> bytes:
    """A request with a body of known length."""
    lines = [f"{method} {path} HTTP/1.1", "Host: x"]
    if method in ("POST", "PUT", "DELETE"):
        lines.append(f"Content-Length: {len(body)}")
    if kind and method in ("POST", "PUT", "DELETE"):
        lines.append(f"Content-Type: {kind}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
