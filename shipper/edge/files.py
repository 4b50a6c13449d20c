"""Hands of the file source: lists, opens and reads what the tail asks for.

RULES
- A file is known by its real path. It must lie beneath one of the roots, be a regular file, and is opened beneath that root
  component by component without following links and without blocking: what was swapped in between is refused, not read
  (CVE-2017-1002101 and Aqua KHV047 are that class: logs linked to other files of the host).
- Anything else the glob matches is reported as refused, with the reason; a FIFO or a device is never opened.
- A handle is a number of our own, never used twice.

Errors of the operating system are events; nothing here raises them.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from typing import TYPE_CHECKING

from shipper.edge.globs import Walk, is_literal, literal_directory, translate_path
from shipper.source.events import (
    Close,
    Command,
    Entry,
    Event,
    Got,
    Listed,
    ListSiblings,
    Open,
    Opened,
    OpenFailed,
    Read,
    ReadFailed,
    Refusal,
    Scan,
    SiblingsListed,
)  # fmt: skip
from shipper.source.identity import HEAD_BYTES
from shipper.source.names import is_related, split

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shipper.source.file import File

ROOTS = ("/var/log", "/var/lib/docker/containers")
SIBLINGS = 10_000
"""Most siblings of one file that are reported."""
_REFUSALS = 1_000
_DIRECTORY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_KINDS = (
    (stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)  # fmt: skip


class FileHands:
    """Carries out the commands of one `Tail`. Synchronous: a call takes as long as the disk does."""

    def __init__(self, config: File.Config, wall: Callable[[], float] = time.time) -> None:
        """`wall` returns Unix seconds."""
        self._config, self._wall = config, wall
        named = [literal_directory(pattern) for pattern in config.include]
        self._roots = tuple(
            sorted({os.path.realpath(root) for root in [*(config.roots or ROOTS), *named]}, key=len, reverse=True)
        )
        self._excludes = [translate_path(pattern).fullmatch for pattern in config.exclude]
        self._fds: dict[int, int] = {}
        self._next_handle = 1
        self.directories: frozenset[str] = frozenset()
        """Real paths of the directories that the last scan looked into or found files in, for the watch."""

    def perform(self, command: Command) -> Sequence[Event]:
        """Do what a command says, and return what came of it. Commands that are none of ours give nothing."""
        match command:
            case Scan():
                return (self._scan(),)
            case ListSiblings(path):
                return (self._siblings(path),)
            case Open():
                return (self._open(command),)
            case Read():
                return (self._read(command),)
            case Close(handle):
                fd = self._fds.pop(handle, None)
                if fd is not None:
                    os.close(fd)
        return ()

    def close(self) -> None:
        """Close all files."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()

    # --- Listing ---

    def _scan(self) -> Listed:
        walk = Walk()
        entries: dict[str, Entry] = {}
        refused: list[Refusal] = []
        real: dict[str, str] = {}
        for pattern in self._config.include:
            literal = is_literal(pattern)
            for found in walk.find(pattern):
                outcome = self._look(found, real, literal=literal)
                if isinstance(outcome, Entry):
                    entries.setdefault(outcome.path, outcome)
                elif outcome is not None and len(refused) < _REFUSALS:
                    refused.append(outcome)
        refused += (Refusal(path, reason) for path, reason in walk.errors.items())
        self.directories = frozenset({real.get(path) or os.path.realpath(path) for path in walk.directories} | set(real.values()))
        return Listed(list(entries.values()), refused, self._wall(), walk.complete)

    def _look(self, found: os.DirEntry[str], real: dict[str, str], *, literal: bool) -> Entry | Refusal | None:
        """What a match of the glob is; None: nothing to speak of (gone again, excluded, a directory of no interest)."""
        path = found.path
        if any(matches(path) for matches in self._excludes):
            return None
        try:
            if found.is_symlink():
                target = os.path.realpath(path)
                status = os.stat(path)
                real.setdefault(f"{target} of {path}", split(target)[0].rstrip("/") or "/")
            else:
                directory = path[: -len(found.name)].rstrip("/") or "/"
                if directory not in real:
                    real[directory] = os.path.realpath(directory)
                target = real[directory].rstrip("/") + "/" + found.name
                status = found.stat(follow_symlinks=False)
        except OSError as error:
            return None if error.errno == errno.ENOENT else Refusal(path, os.strerror(error.errno or 0))
        if not stat.S_ISREG(status.st_mode):
            kind = next((text for test, text in _KINDS if test(status.st_mode)), "not a regular file")
            return Refusal(path, kind) if literal or kind != "a directory" else None
        if self._root(target) is None:
            return Refusal(path, "leads out of the permitted roots")
        if target != path and any(matches(target) for matches in self._excludes):
            return None
        return Entry(target, status.st_dev, status.st_ino, status.st_size, status.st_mtime)

    def _root(self, path: str) -> str | None:
        """The root a real path lies beneath."""
        return next((root for root in self._roots if path.startswith(root.rstrip("/") + "/")), None)

    def _siblings(self, path: str) -> SiblingsListed:
        directory, name = split(path)
        found: list[Entry] = []
        try:
            with os.scandir(directory) as scan:
                for entry in scan:
                    if is_related(name, entry.name) and entry.is_file(follow_symlinks=False) and len(found) < SIBLINGS:
                        status = entry.stat(follow_symlinks=False)
                        size, mtime_s = status.st_size, status.st_mtime
                        found.append(Entry(entry.path, status.st_dev, status.st_ino, size, mtime_s))
        except OSError:
            return SiblingsListed(path, found)
        return SiblingsListed(path, found)

    # --- Reading ---

    def _open(self, command: Open) -> Opened | OpenFailed:
        path, dev, ino = command.path, command.dev, command.ino
        root = self._root(path)
        if root is None:
            return OpenFailed(path, errno.EPERM, dev, ino, "leads out of the permitted roots")
        try:
            fd = _open_beneath(root, path)
        except OSError as error:
            reason = "a link or something else than a file" if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO) else ""
            return OpenFailed(path, error.errno or 0, dev, ino, reason or os.strerror(error.errno or 0))
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            if (status.st_dev, status.st_ino) != (dev, ino):
                raise OSError(errno.ESTALE, "another file by now")
            head = _read_fully(fd, HEAD_BYTES)
        except OSError as error:
            os.close(fd)
            return OpenFailed(path, error.errno or 0, dev, ino, error.strerror or "")
        handle, self._next_handle = self._next_handle, self._next_handle + 1
        self._fds[handle] = fd
        return Opened(handle, path, dev, ino, max(status.st_size, len(head)), head)

    def _read(self, command: Read) -> Got | ReadFailed:
        fd = self._fds.get(command.handle)
        if fd is None:
            return ReadFailed(command.handle, errno.EBADF)
        try:
            data = os.pread(fd, command.size, command.offset)
            status = os.fstat(fd)
        except OSError as error:
            return ReadFailed(command.handle, error.errno or 0)
        return Got(command.handle, command.offset, data, status.st_size, status.st_nlink)


def _open_beneath(root: str, path: str) -> int:
    """Open a file beneath `root`, one directory at a time, following no link. Raises OSError."""
    parts = path[len(root.rstrip("/")) + 1 :].split("/")
    at = os.open(root, _DIRECTORY)
    try:
        for part in parts[:-1]:
            below = os.open(part, _DIRECTORY, dir_fd=at)
            os.close(at)
            at = below
        return os.open(parts[-1], _FILE, dir_fd=at)
    finally:
        os.close(at)


def _read_fully(fd: int, size: int) -> bytes:
    """The first `size` bytes, fewer only where the file ends. Raises OSError."""
    data = b""
    while len(data) < size:
        more = os.pread(fd, size - len(data), len(data))
        if not more:
            break
        data += more
    return data
