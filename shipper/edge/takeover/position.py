"""Position: how far another agent had come in one file, as its state says it; and how its state files are read.

RULES
- The other agent's files are only read. What is no regular file is not opened, what is larger than `LIMIT_BYTES` is refused.
- Bad content is a HostError that names file, line and what was expected there; it never quotes the content.
- An entry that is no position in a file (a journal cursor, a file that was dropped) is a position with `unusable` set: it is
  said, not skipped in silence.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from shipper.model.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LIMIT_BYTES = 64 << 20
"""Of one state file. A position takes 100 to 500 bytes, so this is more than 100,000 files."""
OFFSET_MAX = (1 << 63) - 1
"""Offsets of a file system are signed 64 bit numbers; what is larger is no offset."""
HINT = "Nothing was changed. Stop the other agent, so that its file is whole, or name the agent with --from."


class Kind(Protocol):
    """A way of telling files apart by their first bytes. Compared and hashed by its settings."""

    @property
    def size(self) -> int:
        """How many first bytes of a file it wants to see, at most."""
        ...

    def values(self, head: bytes) -> Sequence[int | str]:
        """What a file whose first `size` bytes are `head` may be known by; nothing where it is too short."""
        ...


class Print(msgspec.Struct, frozen=True):
    """A fingerprint of another agent."""

    kind: Kind
    value: int | str


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """How far an agent had read a file."""

    where: str
    """Where in the state it stands, for people: `line 3`."""
    path: str = ""
    """As the agent knew it, bytes that are not UTF-8 as surrogates; empty: it knew the file by its fingerprint alone."""
    offset: int = 0
    """Bytes from the file's first one that it had read."""
    dev: int | None = None
    ino: int | None = None
    print: Print | None = None
    guard: tuple[int, str] | None = None
    """An offset, and the hash of the bytes before it as `source.identity.digest` makes it, in hex."""
    unusable: str = ""
    """Why it is no position to start from."""


class StateFile:
    """A state file of another agent, in memory."""

    def __init__(self, path: Path) -> None:
        """Read it. Raises HostError for one that cannot be read, or is too large."""
        self.path = path
        self.data = _read(path)

    def line_of(self, at: int) -> int:
        """The line (from 1) of a byte."""
        return self.data.count(b"\n", 0, at) + 1

    def bad(self, line: int, expected: str) -> HostError:
        """The error for a line that is not as expected."""
        return HostError(f"{self.path}:{line}: expected {expected}", HINT)

    def json(self, expected: str) -> Any:
        """The JSON value that it holds. Raises HostError."""
        try:
            return msgspec.json.decode(self.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            found = str(error).rpartition("byte ")[2].rstrip(")")
            at = int(found) if found.isdecimal() else len(self.data.rstrip())  # no place is told where it ends too early
            raise self.bad(self.line_of(at), f"{expected}, found no whole JSON") from None


def is_number(value: object, most: int = OFFSET_MAX) -> bool:
    """Whether a value from JSON is a whole number from 0 to `most`."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def first_bytes(path: Path, size: int) -> bytes:
    """The first bytes of a state file, to tell whose it is. Raises HostError."""
    return _read(path, size)


def _read(path: Path, most: int | None = None) -> bytes:
    """Read a regular file, whole or its first `most` bytes. Raises HostError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise HostError(f"{path} cannot be read: {error.strerror}", "Name the state file of the other agent.") from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise HostError(f"{path} is no regular file", "Name the state file of the other agent.")
        if status.st_size > LIMIT_BYTES:
            raise too_large(path, status.st_size)
        with open(fd, "rb", closefd=False) as file:
            data = file.read(LIMIT_BYTES + 1 if most is None else most)
    except OSError as error:
        raise HostError(f"{path} cannot be read: {error.strerror}", HINT) from error
    finally:
        os.close(fd)
    if len(data) > LIMIT_BYTES:
        raise too_large(path, len(data))
    return data


def too_large(path: Path, size: int) -> HostError:
    """The refusal of a file of `size` bytes."""
    return HostError(
        f"{path} has {size} bytes; at most {LIMIT_BYTES} are read",
        "Have the other agent clean its state (it holds files that are long gone), or start without it.",
    )
