"""Forward: records pushed by Fluentd, Fluent Bit, Docker's log driver and the fluent-loggers; settings and their checks.

RULES
- Authentication that is half configured refuses the configuration. CVE-2025-12969 (Fluent Bit's in_forward): with users and
  without a shared key no one was asked for anything.
- A datagram at a `udp:` address is a heartbeat, answered by one byte 0 (forward protocol v0; Fluentd's `heartbeat_type udp`).
- All connections together buffer at most eight times `max_message`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import field

from shipper.config.fields import ComponentConfig, Endpoint, Secret, Size
from shipper.model.errors import ComponentError
from shipper.source.forward_connection import Account, ForwardConnection
from shipper.source.forward_handshake import Handshake, Keys
from shipper.source.forward_messages import Limits
from shipper.source.push import Command, Connection, ListenConfig, Send

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HOSTNAME_BYTES_MAX = 255
_MESSAGES_BUFFERED = 8
_DATAGRAMS = ("udp", "unixgram")


class User(ComponentConfig, frozen=True, kw_only=True):
    """Who may send."""

    name: str
    """The user's name."""
    password: Secret
    """The user's password."""


class Forward:
    """Receive records by Fluentd's forward protocol (v1), as Fluentd, Fluent Bit, Docker and the fluent-logger libraries send them.

    A sender that asks for acknowledgement (`require_ack_response` in Fluentd and Fluent Bit) is acknowledged once its records
    are on disk, and what it sends again is one record still. Without, records may be lost or doubled on the way here.
    """

    class Config(ListenConfig, frozen=True, kw_only=True):
        """Settings of `forward`."""

        listen: list[Endpoint] = field(default_factory=lambda: [Endpoint("127.0.0.1:24224")])
        """Where to listen: `127.0.0.1:24224` (TCP), `unix:/run/forward.sock`; `udp:127.0.0.1:24224` answers heartbeats."""
        shared_key: Secret | None = None
        """What every sender must prove to know before it may send; it is not sent itself."""
        self_hostname: str = "shipper"
        """Name of this end in the handshake. Fluentd refuses a server of its own name."""
        users: list[User] | None = None
        """Who may send, beside knowing the shared key. Without it the key alone counts."""
        keepalive: bool = True
        """Whether senders may keep a connection; if not, it ends when all that came on it is answered."""
        max_message: Size = Size(32 << 20)
        """Bytes of one message; it must hold Fluentd's `chunk_limit_size`. A larger one ends the connection."""
        max_expanded: Size = Size(256 << 20)
        """Bytes that the compressed entries of one message may expand to."""

    def __init__(self, config: Config, clock: Callable[[], float] | None = None) -> None:  # noqa: ARG002  as for all that listen
        """Raises ComponentError for settings that contradict each other."""
        _refuse_addresses(config)
        _refuse_tls(config)
        _refuse_keys(config)
        _refuse_sizes(config)
        self.config = config
        self._limits = Limits(config.max_message, config.max_expanded)
        self._account = Account(_MESSAGES_BUFFERED * config.max_message)
        self._keys = _keys(config)

    def connection(self, peer: str, random: Callable[[int], bytes], now: float) -> Connection:
        """The machine of a connection; of a datagram socket, whose `peer` is its endpoint, one that answers heartbeats."""
        if Endpoint(peer).transport in _DATAGRAMS:
            return Heartbeats()
        handshake = None if self._keys is None else Handshake(self._keys, random)
        keepalive = self.config.keepalive
        return ForwardConnection(self._limits, self._account, handshake, now, keepalive=keepalive)


class Heartbeats:
    """Answers heartbeats by UDP, whatever they hold. Remembers nothing."""

    def received(self, data: bytes, now: float) -> Sequence[Command]:  # noqa: ARG002  the contract of push.Connection
        """Answer a datagram; an empty one is the listener's first call."""
        return [Send(b"\0")] if data else []

    def ended(self, now: float) -> Sequence[Command]:  # noqa: ARG002
        """Nothing is kept."""
        return []

    def durable(self, number: int, now: float) -> Sequence[Command]:
        """Never called: nothing is delivered."""
        raise AssertionError((number, now))

    refused = durable

    def deadline(self) -> float | None:
        """There is none."""
        return None

    def expire(self, now: float) -> Sequence[Command]:  # noqa: ARG002
        """Nothing is due."""
        return []


def _keys(config: Forward.Config) -> Keys | None:
    if config.shared_key is None:
        return None
    users = {user.name.encode(): user.password.encode() for user in config.users or ()}
    return Keys(config.shared_key.encode(), config.self_hostname.encode(), users, config.keepalive)


def _refuse_addresses(config: Forward.Config) -> None:
    transports = [endpoint.transport for endpoint in config.listen]
    if "unixgram" in transports:
        raise ComponentError("forward is no protocol of unix datagrams", "listen", "use unix:PATH, a stream")
    if not {"tcp", "unix"} & set(transports):
        raise ComponentError(
            "no address here can take records", "listen", "such as 127.0.0.1:24224; `udp:` is for heartbeats alone"
        )
    if len(set(config.listen)) < len(config.listen):
        raise ComponentError("an address stands here twice", "listen", "name each once")


def _refuse_tls(config: Forward.Config) -> None:
    given = "tls_client_ca" if config.tls_client_ca is not None else "tls_key" if config.tls_key is not None else ""
    if config.tls_certificate is None and given:
        raise ComponentError(f"`{given}` without `tls_certificate` has no effect", given, "add `tls_certificate`, or take it out")
    if config.tls_certificate is not None and all(endpoint.transport != "tcp" for endpoint in config.listen):
        raise ComponentError(
            "TLS is for TCP, and no address here is one", "tls_certificate", "listen at an address such as 0.0.0.0:24224"
        )


def _refuse_keys(config: Forward.Config) -> None:
    if config.shared_key is not None and not config.shared_key:
        raise ComponentError("the shared key is empty, so that anybody knows it", "shared_key", "set one, or take it out")
    if config.users is None:
        return
    if config.shared_key is None:
        raise ComponentError(
            "`users` without `shared_key`: without it no sender is asked for anything",
            "users",
            "add `shared_key`, or take `users` out",
        )
    names = [user.name for user in config.users]
    if not names:
        raise ComponentError("nobody may send: `users` is empty", "users", "name one, or take `users` out")
    if len(set(names)) < len(names):
        raise ComponentError("a user stands here twice", "users", "name each once")
    for number, user in enumerate(config.users):
        if not user.name or not user.password:
            raise ComponentError("a user needs a name and a password", f"users.{number}", "neither may be empty")


def _refuse_sizes(config: Forward.Config) -> None:
    if not 0 < len(config.self_hostname.encode()) <= HOSTNAME_BYTES_MAX:
        raise ComponentError(f"a host name has 1 to {HOSTNAME_BYTES_MAX} bytes", "self_hostname")
    for name in ("max_message", "max_expanded"):
        if not 1 << 10 <= getattr(config, name) <= 1 << 30:
            raise ComponentError("a size between 1KiB and 1GiB is needed", name)
