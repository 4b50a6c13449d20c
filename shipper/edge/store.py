"""Store: the state directory. Checkpoints, the hash key, compiled rules; one agent at a time.

    <state>/lock                                    flock of the agent that owns the directory
    <state>/redact.key                              32 random bytes, mode 0600, made once
    <state>/rules/<key>.hsdb                        compiled rules, see `redact/screen.py`
    <state>/<pipeline>/<destination>/checkpoint     see `progress/checkpoint.py`
    <state>/<pipeline>/<destination>/dead-letters/  see `edge/dead_letters.py`

RULES
- A checkpoint is written beside, fsynced, renamed over the old one, and its directory is fsynced: old or new, never torn.
- A directory that cannot be written is found at the start, with its path and what to do, not at the first checkpoint.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import aiofiles
import aiofiles.os

from shipper.model.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_STRAY = re.compile("[\udc80-\udcff]")
_QUOTED = re.compile("\0([0-9a-f]{2})")


def default_directory(env: Mapping[str, str]) -> Path:
    """`$SHIPPER_STATE`, else systemd's `$STATE_DIRECTORY`, else the platform's place for state."""
    for name in ("SHIPPER_STATE", "STATE_DIRECTORY"):
        if env.get(name):
            return Path(env[name].split(":")[0])
    if os.geteuid() == 0:
        return Path("/var/lib/shipper")
    return Path(env.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "shipper"


class Store:
    """A state directory, held by one agent."""

    def __init__(self, directory: Path) -> None:
        """Name the directory; nothing is touched before `open`."""
        self.directory = directory
        self._lock = -1

    def open(self) -> None:
        """Make the directory and lock it. Raises HostError where that cannot be done."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._probe()
        except BlockingIOError as error:
            self.close()
            raise HostError(
                f"another agent owns the state directory {self.directory}",
                "One agent may run several pipelines; two agents need two state directories (SHIPPER_STATE=...).",
            ) from error
        except OSError as error:
            self.close()
            raise self._refusal(error) from error

    def _refusal(self, error: OSError) -> HostError:
        return HostError(
            f"the state directory {self.directory} cannot be used: {error.strerror}",
            "Progress is kept there: make it writable, free some space, or name another one with SHIPPER_STATE=...",
        )

    def _probe(self) -> None:
        """Find out now whether a checkpoint could be written."""
        probe = self.directory / ".probe"
        _write_durably(probe, b"\0" * 4096)
        probe.unlink()

    def close(self) -> None:
        """Let the directory go."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def place(self, pipeline: str, destination: str) -> Path:
        """The directory of one pipeline into one destination; made if need be. Raises HostError."""
        digest = hashlib.sha256(destination.encode()).hexdigest()[:8]
        readable = _UNSAFE.sub("-", destination.rsplit("//", maxsplit=1)[-1]).strip("-.")[:40]
        path = self.directory / _UNSAFE.sub("-", pipeline) / f"{readable}-{digest}"
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise self._refusal(error) from error
        return path

    def hash_key(self) -> bytes:
        """The key of hashed redactions: read, or made and kept with mode 0600. Raises HostError."""
        path = self.directory / "redact.key"
        try:
            if not path.exists():
                _write_durably(path, secrets.token_bytes(32))
            key = path.read_bytes()
        except OSError as error:
            raise self._refusal(error) from error
        if len(key) != 32:
            raise HostError(
                f"{path} does not hold 32 bytes", "Restore it, or remove it to have a new key made: hashes will differ."
            )
        return key


class RuleCache:
    """Compiled rules by key, in a directory of our own. A file that cannot be read or written is only a slower start."""

    def __init__(self, directory: Path) -> None:
        """Name the directory; it is made when the first entry is kept."""
        self._directory = directory

    def get(self, key: str) -> bytes | None:
        """The data kept under `key`, or None."""
        try:
            return self._path(key).read_bytes()
        except OSError:
            return None

    def put(self, key: str, data: bytes) -> None:
        """Keep `data`, and forget the entries of older rules."""
        with contextlib.suppress(OSError):
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write_durably(self._path(key), data)
            kept = sorted(self._directory.glob("*.hsdb"), key=lambda path: path.stat().st_mtime)
            for old in kept[:-8]:
                old.unlink()

    def _path(self, key: str) -> Path:
        return self._directory / f"{_UNSAFE.sub('-', key)}.hsdb"


def _write_durably(path: Path, data: bytes) -> None:
    """Write a small file as `save` does, without a loop. Where that fails nothing is left beside. Raises OSError."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(data)
        while rest:  # a disk that fills up takes a part
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    except OSError:
        beside.unlink()
        raise
    finally:
        os.close(handle)
    beside.rename(path)
    sync_directory(path.parent)


async def save(path: Path, data: bytes) -> None:
    """Write a file so that it is the old or the new one, never torn, and durable on return. Raises OSError."""
    beside = path.with_name(f".{path.name}.new")
    async with aiofiles.open(beside, "wb") as file:
        await file.write(data)
        await file.flush()
        await aiofiles.os.wrap(os.fsync)(file.fileno())
    await aiofiles.os.replace(beside, path)
    await aiofiles.os.wrap(sync_directory)(path.parent)


def sync_directory(path: Path) -> None:
    """Make renames and new names in a directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def quoted(path: str) -> str:
    """A path as text that can be encoded: a byte that is not UTF-8 becomes NUL and two hex digits. No path holds a NUL."""
    return _STRAY.sub(lambda found: f"\0{ord(found[0]) - 0xDC00:02x}", path)


def unquoted(text: str) -> str:
    """The path that `quoted` wrote."""
    return _QUOTED.sub(lambda found: chr(0xDC00 + int(found[1], 16)), text)


def machine_id() -> str:
    """What tells this machine from its clone: systemd's machine id, else the host's name."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with contextlib.suppress(OSError):
            text = Path(path).read_text().strip()
            if text:
                return hashlib.sha256(b"shipper" + text.encode()).hexdigest()[:32]  # machine-id(5): never passed on as it is
    return hashlib.sha256(b"shipper" + os.uname().nodename.encode()).hexdigest()[:32]
