"""Sockets that listen: bound, or refused with what to do about it; and the TLS settings that go with them.

RULES
- A unix socket's file that nobody answers at is left over from a run that was killed, and is removed. One that somebody answers at,
  or that is no socket, is left alone: HostError.
- Unix sockets have mode 0660, and are removed at the end if they are still ours.
- TLS is 1.2 at least (RFC 8996 retired what was before). A key with a pass phrase is refused rather than asked for.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
import stat
from typing import TYPE_CHECKING

import msgspec

from shipper.model.errors import HostError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from shipper.config.fields import Endpoint
    from shipper.source.push import ListenConfig

BACKLOG = 512
_MODE = 0o660
_HINTS = {
    errno.EADDRINUSE: "stop what listens there, or choose another `listen`",
    errno.EACCES: "ports below 1024 and most folders need privileges: choose another `listen`, or give them",
    errno.EADDRNOTAVAIL: "the machine has no such address: choose another `listen`",
    errno.ENOENT: "make the folder first",
}


class Bound(msgspec.Struct):
    """A socket that is bound; streams listen already."""

    socket: socket.socket
    name: str
    """Its endpoint, with the port that it really has."""
    datagrams: bool
    file: tuple[int, int] | None = None
    """Device and inode of a unix socket's file."""

    def remove(self) -> None:
        """Remove the file of a unix socket, unless it is another's by now."""
        path = self.name.partition(":")[2]
        if self.file is not None:
            with contextlib.suppress(OSError):
                found = os.lstat(path)
                if (found.st_dev, found.st_ino) == self.file:
                    os.unlink(path)


async def bind(endpoint: Endpoint, loop: asyncio.AbstractEventLoop) -> list[Bound]:
    """Bind one endpoint; a host name may have several addresses. Raises HostError."""
    try:
        if endpoint.path:
            return [_bind_unix(endpoint)]
        kind = socket.SOCK_DGRAM if endpoint.transport == "udp" else socket.SOCK_STREAM
        host, port = endpoint.address.host, endpoint.address.port
        found = await loop.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise _refused(endpoint, error) from None
    return _bind_all(endpoint, dict.fromkeys((family, kind, address) for family, kind, _, _, address in found))


def _bind_all(endpoint: Endpoint, wanted: dict[tuple[int, int, tuple[object, ...]], None]) -> list[Bound]:
    """Bind each address; one that the machine does not have is left out, if there is another."""
    bound: list[Bound] = []
    lacking: OSError | None = None
    for family, kind, address in wanted:
        try:
            bound.append(_bind_address(family, kind, address, endpoint.transport))
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                lacking = error
                continue
            for one in bound:
                one.socket.close()
            raise _refused(endpoint, error) from None
    if not bound:
        raise _refused(endpoint, lacking or OSError(errno.EADDRNOTAVAIL, "the name has no address"))
    return bound


def _bind_address(family: int, kind: int, address: tuple[object, ...], transport: str) -> Bound:
    with _closing_on_error(socket.socket(family, kind)) as made:
        if kind == socket.SOCK_STREAM:
            # Otherwise connections of the last run, in TIME_WAIT, would hold the port; on UDP it would let two share one.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.setblocking(False)
        if kind == socket.SOCK_STREAM:
            made.listen(BACKLOG)
    host, port = made.getsockname()[:2]
    shown = f"[{host}]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"
    return Bound(made, f"udp:{shown}" if transport == "udp" else shown, kind == socket.SOCK_DGRAM)


def _bind_unix(endpoint: Endpoint) -> Bound:
    kind = socket.SOCK_DGRAM if endpoint.transport == "unixgram" else socket.SOCK_STREAM
    _remove_stale(endpoint, kind)
    with _closing_on_error(socket.socket(socket.AF_UNIX, kind)) as made:
        made.bind(endpoint.path)
        os.chmod(endpoint.path, _MODE)
        made.setblocking(False)
        if kind == socket.SOCK_STREAM:
            made.listen(BACKLOG)
    found = os.lstat(endpoint.path)
    return Bound(made, str(endpoint), kind == socket.SOCK_DGRAM, (found.st_dev, found.st_ino))


def _remove_stale(endpoint: Endpoint, kind: int) -> None:
    """Remove a socket's file that nobody answers at. Raises HostError where that is not so."""
    try:
        mode = os.lstat(endpoint.path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise HostError(f"{endpoint}: there is something else of that name", "choose another `listen`, or move it away")
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)
        try:
            probe.connect(endpoint.path)
        except ConnectionRefusedError:
            os.unlink(endpoint.path)
            return
        except OSError as error:
            # EAGAIN: its backlog is full; EPROTOTYPE: it is of the other kind. Either way there is somebody.
            if error.errno not in (errno.EAGAIN, errno.EPROTOTYPE):
                raise
    raise _refused(endpoint, OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)))


@contextlib.contextmanager
def _closing_on_error(made: socket.socket) -> Iterator[socket.socket]:
    try:
        yield made
    except OSError:
        made.close()
        raise


def _refused(endpoint: Endpoint, error: OSError) -> HostError:
    reason = error.strerror or str(error)
    return HostError(f"{endpoint}: cannot listen there: {reason}", _HINTS.get(error.errno or 0, "choose another `listen`"))


class Certificates:
    """The TLS settings of a listener, read anew when their files change."""

    def __init__(self, config: ListenConfig) -> None:
        """Read the files. Raises HostError."""
        self._config = config
        self._seen = self._look()
        self.context = self._read()

    def refresh(self) -> bool:
        """Read the files anew if they changed; say whether. Raises HostError, and what was read before stays in use."""
        seen = self._look()
        if seen == self._seen:
            return False
        self._seen = seen
        self.context = self._read()
        return True

    def _files(self) -> list[str]:
        config = self._config
        return [path for path in (config.tls_certificate, config.tls_key, config.tls_client_ca) if path is not None]

    def _look(self) -> list[tuple[int, int, int]]:
        seen = []
        for path in self._files():
            with contextlib.suppress(OSError):
                found = os.stat(path)
                seen.append((found.st_ino, found.st_mtime_ns, found.st_size))
        return seen

    def _read(self) -> ssl.SSLContext:
        config = self._config
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        assert config.tls_certificate is not None
        path = config.tls_key or config.tls_certificate
        try:
            context.load_cert_chain(config.tls_certificate, config.tls_key, password=_no_phrase)
            if config.tls_client_ca is not None:
                path = config.tls_client_ca
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
            names = ", ".join(self._files())
            raise HostError(
                f"{path}: cannot be used for TLS: {reason}", f"PEM files without a pass phrase are needed: {names}"
            ) from None
        return context


def _no_phrase() -> str:
    raise ValueError("the key has a pass phrase")
