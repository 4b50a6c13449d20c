"""Handshake of the forward protocol v1: HELO, PING, PONG; both sides prove that they know the shared key.

RULES
- HELO goes out first. Nothing but one PING is understood before PONG, and it has `PING_BYTES_MAX` at most.
- Digests: SHA-512 in hexadecimal of salt, host name, nonce and key; of the user's salt, name and password (forward protocol v1).
  They are compared in constant time, an unknown user's too.
- Refused is told as Fluentd tells it, then the connection ends.
"""

from __future__ import annotations

import hmac
from hashlib import sha512
from typing import TYPE_CHECKING

import msgpack  # type: ignore[import-untyped]
import msgspec

from shipper.source.forward_pack import ForwardError, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PING_BYTES_MAX = 4096
_NONCE_BYTES = 16


class Keys(msgspec.Struct, frozen=True):
    """What a sender must know, and what it is told."""

    shared_key: bytes
    self_hostname: bytes
    users: Mapping[bytes, bytes]
    """Passwords by name; empty where the key alone is asked for."""
    keepalive: bool


class Handshake:
    """The handshake of one connection."""

    def __init__(self, keys: Keys, random: Callable[[int], bytes]) -> None:
        """`random(n)` returns n random bytes."""
        self._keys = keys
        self._nonce = random(_NONCE_BYTES)
        self._salt = random(_NONCE_BYTES) if keys.users else b""

    def helo(self) -> bytes:
        """What the connection begins with."""
        return pack(["HELO", {"nonce": self._nonce, "auth": self._salt, "keepalive": self._keys.keepalive}])

    def pong(self, ping: bytes) -> tuple[bytes, str]:
        """Answer a PING, one whole MessagePack object: the PONG, and why it refuses (nothing where it does not).

        Raises ForwardError for what is no PING.
        """
        hostname, salt, digest, user, password = _parts(ping)
        keys = self._keys
        proven = hmac.compare_digest(digest, _hex(salt, hostname, self._nonce, keys.shared_key))
        known = self._knows(user, password)
        if not proven or not known:
            reason = "username/password mismatch" if proven else "shared_key mismatch"
            return pack(["PONG", False, reason, "", ""]), reason
        proof = _hex(salt, keys.self_hostname, self._nonce, keys.shared_key).decode()
        return pack(["PONG", True, "", keys.self_hostname.decode(), proof]), ""

    def _knows(self, user: bytes, password: bytes) -> bool:
        """Whether the user, if one is asked for, has this password. Takes as long for users there are not."""
        users = self._keys.users
        if not users:
            return True
        matches = hmac.compare_digest(password, _hex(self._salt, user, users.get(user, b"")))
        return matches and user in users


def _hex(*parts: bytes) -> bytes:
    return sha512(b"".join(parts)).hexdigest().encode()


def _parts(ping: bytes) -> list[bytes]:
    """The five fields behind `PING`, as bytes: salts are random, and some senders write them as strings."""
    try:
        fields = msgpack.unpackb(ping, raw=True) if len(ping) <= PING_BYTES_MAX else None
    except (ValueError, TypeError):
        fields = None
    if not isinstance(fields, list) or len(fields) != 6 or fields[0] != b"PING":
        raise ForwardError("refused", "the sender does not begin with PING: it has no shared key")
    strings = [b"" if one is None else one for one in fields[1:]]
    if not all(isinstance(one, bytes) for one in strings):
        raise ForwardError("refused", "a PING holds something else than strings")
    return strings
