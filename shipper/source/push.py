"""Push: what a connection that pushes records says to its listener, and hears from it; and the settings all listeners share.

A protocol (forward, syslog, http) is a machine without I/O, one `Connection` for each connection; `edge/listener.py` owns the
sockets and carries its commands out, `edge/spool.py` makes what it delivers durable.

RULES
- A sender is told that its records are taken only after they are durable: `Deliver` is answered by `durable` or `refused`, in
  any order, each exactly once unless the connection ends before.
- Bytes come in as they arrive, cut anywhere. What a connection buffers is bounded, and so is what one delivery holds
  (`DELIVERY_BYTES_MAX`, `DELIVERY_ROWS_MAX`): larger ones are delivered in parts, and the sender is told after the last.
- Nothing that a peer sends raises: what cannot be understood ends in `Note` and `Close`, or in the protocol's own refusal.
- Rows are unredacted. They go to the gate and nowhere else; a `Note` never holds content, addresses of peers it may.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Protocol, TypeAlias

import msgspec

from shipper.config.fields import ComponentConfig, Endpoint, FilePath, Size
from shipper.model.errors import ComponentError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DELIVERY_BYTES_MAX = 4 << 20
DELIVERY_ROWS_MAX = 20_000
TAG_CHARS_MAX = 128
SPOOL_BYTES_MIN = 16 << 20
"""Less might not hold one delivery, and its sender would send it again for ever."""


class Delivery(msgspec.Struct):
    """Records that a sender hands over together. The listener owns it once it is delivered."""

    rows: list[bytes]
    """One record each, UTF-8, without a newline: a JSON object on one line, or text."""
    tags: list[str] | None = None
    """`shipper.tag` of each row, at most `TAG_CHARS_MAX` characters; None where the protocol has no tags."""
    times: list[str] | None = None
    """For rows without a time of their own: the protocol's, as `2026-02-05T14:30:45.123Z`; an empty text for none."""
    ids: list[bytes] | None = None
    """An identity of each row that is the same when the sender sends it again: letters, digits, `-` and `_`, at most 64. None: the
    row is known by its place in the spool, and a resend by the sender is another record."""


class Send(msgspec.Struct, frozen=True):
    """Bytes for the peer."""

    data: bytes


class Deliver(msgspec.Struct, frozen=True):
    """Make these records durable, then say so. `number` is the connection's own, never used twice."""

    number: int
    delivery: Delivery


class Close(msgspec.Struct, frozen=True):
    """End the connection, after what was sent is written. An empty reason is the usual end."""

    reason: str = ""


class Note(msgspec.Struct, frozen=True):
    """For the agent's own log and its metrics: `refused`, `malformed`, `too_large` ..."""

    kind: str
    fields: dict[str, object] = {}


Command: TypeAlias = Send | Deliver | Close | Note


class Connection(Protocol):
    """The machine of one connection, or of one datagram socket. Times are monotonic seconds."""

    def received(self, data: bytes, now: float) -> Sequence[Command]:
        """Take bytes as they came; of a datagram socket one datagram."""
        ...

    def ended(self, now: float) -> Sequence[Command]:
        """The peer sends nothing more. Deliver what is whole."""
        ...

    def durable(self, number: int, now: float) -> Sequence[Command]:
        """A delivery is on disk."""
        ...

    def refused(self, number: int, now: float) -> Sequence[Command]:
        """A delivery was not taken, as the spool cannot be written or is full: the sender must keep it."""
        ...

    def deadline(self) -> float | None:
        """When `expire` is due."""
        ...

    def expire(self, now: float) -> Sequence[Command]:
        """Give up on a peer that is too slow."""
        ...


class Listens(Protocol):
    """A source that listens: what the listener asks of `Forward`, `Syslog`, `Http`.

    It is made of (config, clock), the clock telling Unix seconds; the constructor raises ComponentError for settings that cannot
    work.
    """

    def connection(self, peer: str, random: Callable[[int], bytes], now: float) -> Connection:
        """The machine of a new connection; `random(n)` returns n random bytes, `peer` is for notes.

        Its first commands come of `received(b"")`, which the listener calls at once.
        """
        ...


class ListenConfig(ComponentConfig, kw_only=True):
    """Settings that all listeners share."""

    listen: list[Endpoint]
    """Where to listen: `127.0.0.1:24224`, `udp:127.0.0.1:514`, `unix:/run/app.sock`, `unixgram:/dev/log`."""
    tls_certificate: FilePath | None = None
    """PEM file with the certificate to present (and its chain): TLS on all TCP addresses."""
    tls_key: FilePath | None = None
    """PEM file with its key, if it is not in `tls_certificate`."""
    tls_client_ca: FilePath | None = None
    """PEM file of the authorities of client certificates; with it a client must present one."""
    max_connections: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1000
    """Connections at a time; further ones are closed at once, and counted."""
    spool: Annotated[Size, msgspec.Meta(ge=SPOOL_BYTES_MIN)] = Size(256 << 20)
    """Bytes on disk for what is taken and not yet delivered; 16MiB at least."""
    when_full: Literal["block", "drop_oldest"] = "block"
    """What happens when the spool is full: senders wait (datagrams are dropped and counted), or the oldest records go, counted."""

    def __post_init__(self) -> None:
        """Refuse what would listen nowhere, and settings of TLS that would leave a listener without it. Raises ComponentError."""
        if not self.listen:
            raise ComponentError("there is no address to listen at", "listen", "such as `listen: [127.0.0.1:24224]`")
        if len(set(self.listen)) < len(self.listen):
            raise ComponentError("an address stands here twice", "listen", "name each once")
        for name in ("tls_key", "tls_client_ca"):
            if getattr(self, name) is not None and self.tls_certificate is None:
                raise ComponentError(f"`{name}` is there, but no `tls_certificate`", name, "without it there is no TLS at all")
        if self.tls_certificate is not None and all(endpoint.transport != "tcp" for endpoint in self.listen):
            raise ComponentError(
                "TLS is for TCP, and no address here is one", "tls_certificate", "listen at an address such as 0.0.0.0:6514"
            )
