"""Hands of the file source: lists, opens and reads what the tail asks for.

RULES
- A file is known by its real path. It must lie beneath one of the roots, be a regular file, and is opened beneath that root
  component by component without following links and without blocking: what was swapped in between is refused, not read
  (CVE-2017-1002101 and Aqua KHV047 are that class: logs linked to other files of the host).
- Anything else the glob matches is reported as refused, with the reason; a FIFO or a device is never opened.
- A handle is a number of our own, never used twice.
- A file whose name says that it is compressed is read as its content, by `edge/inflate.py`.

- Where there are many files (`MANY`), a scan does not look at each: while the directories did not change (device, inode, time of
  change), names are not listed again, and of files idle for `IDLE_S` every `SHARE`th is looked at, in turn, so each of them every
  eighth scan. Every `THOROUGH`th scan looks at everything, as all do with `poll: true`. The watch tells of changes sooner.

Errors of the operating system are events; nothing here raises them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import stat
import time
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from shipper.edge.globs import Walk, is_literal, literal_directory, translate_path
from shipper.edge.inflate import Inflated
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
from shipper.source.names import is_packed, is_related, split, stem_and_suffix

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shipper.source.file import File

ROOTS = ("/var/log", "/var/lib/docker/containers")
SIBLINGS = 10_000
"""Most siblings of one file that are reported."""
_SPARE_FILES = 192
_OPEN_FILES = (16, 8192)
MANY = 500
IDLE_S = 600.0
SHARE = 8
THOROUGH = 12
_REFUSALS = 1_000
_LISTINGS = 4
_SETTLED_NS = 1_000_000_000
_DIRECTORY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_KINDS = (
    (stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)  # fmt: skip


def open_file_budget(sources: int, soft: int | None = None) -> int:
    """How many files each of so many file sources may have open: `Limits.open_files`.

    `soft` is the soft limit of the process (RLIMIT_NOFILE), asked for if left out; a share of it stays for everything else.
    """
    if soft is None:
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return _OPEN_FILES[1]
    spare = max(_SPARE_FILES, soft // 8)
    return min(max((soft - spare) // max(1, sources), _OPEN_FILES[0]), _OPEN_FILES[1])


class _Walk(Walk):
    """A walk that notes what the directories looked like when they were listed."""

    __slots__ = ("seen",)

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, tuple[int, int, int] | None] = {}

    def _list(self, directory: str) -> list[os.DirEntry[str]]:
        self.seen[directory] = _state(directory)
        return super()._list(directory)


class _Look:
    """What one scan has found."""

    __slots__ = ("active_s", "directories", "entries", "literal", "places", "refused")

    def __init__(self, active_s: float) -> None:
        self.active_s = active_s
        """Files last changed before are known by name and inode alone."""
        self.entries: dict[str, Entry] = {}
        self.refused: list[Refusal] = []
        self.directories: set[str] = set()
        """Those that files lie in which were reached through links."""
        self.places: dict[str, tuple[str, bool]] = {}
        self.literal = False
        """The pattern names one file: whatever lies there is meant."""

    def refuse(self, path: str, reason: str) -> None:
        if len(self.refused) < _REFUSALS:
            self.refused.append(Refusal(path, reason))

    def refuse_kind(self, path: str, mode: int) -> None:
        kind = next((text for test, text in _KINDS if test(mode)), "not a regular file")
        if self.literal or kind != "a directory":
            self.refuse(path, kind)


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
        self._inflated: dict[int, Inflated] = {}
        """By handle: those of the open files that are compressed."""
        self._next_handle = 1
        self._last: dict[str, Entry] = {}
        """The last scan by path: what did not change is reported as the same objects."""
        self._seen: dict[str, tuple[int, int, int] | None] = {}
        """What the directories looked like when they were listed; None: they were not there."""
        self._listed: Listed | None = None
        """The last scan, if it can be gone on from."""
        self._scans = 0
        self._listing: tuple[str, int, list[str]] = ("", 0, [])
        """The directory whose siblings were listed last, its time of change, its names in order."""
        self.directories: frozenset[str] = frozenset()
        """Real paths of the directories that the last scan looked into or found files in, for the watch."""

    @property
    def open_count(self) -> int:
        """Files that are open."""
        return len(self._fds)

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
                self._inflated.pop(handle, None)
                fd = self._fds.pop(handle, None)
                if fd is not None:
                    os.close(fd)
        return ()

    def close(self) -> None:
        """Close all files."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()
        self._inflated.clear()

    # --- Listing ---

    def _scan(self) -> Listed:
        """List everything, or a share of the idle files if names did not change."""
        self._scans += 1
        thorough = self._config.poll or self._scans % THOROUGH == 0 or self._listed is None or len(self._last) < MANY
        if thorough or self._listed is None:
            return self._walk(0.0)
        found = self._glance(self._listed) if all(_state(path) == seen for path, seen in self._seen.items()) else None
        return found or self._walk(self._wall() - IDLE_S)

    def _glance(self, last: Listed) -> Listed | None:
        """Look at active files and a share of the idle ones. None: something is not what it was, list everything."""
        entries, active_s = list(last.entries), self._wall() - IDLE_S
        turn, same = self._scans % SHARE, True
        for number, entry in enumerate(entries):
            if entry.mtime_s < active_s and number % SHARE != turn:
                continue
            try:
                status = os.lstat(entry.path)
            except OSError:
                return None
            if (status.st_ino, status.st_dev) != (entry.ino, entry.dev):
                return None
            if status.st_mtime != entry.mtime_s or status.st_size != entry.size:
                new = Entry(entry.path, status.st_dev, status.st_ino, status.st_size, status.st_mtime)
                entries[number] = self._last[entry.path] = new
                same = False
        self._listed = Listed(last.entries if same else entries, [], self._wall())
        return self._listed

    def _walk(self, active_s: float) -> Listed:
        walk, look = _Walk(), _Look(active_s)
        for pattern in self._config.include:
            look.literal = is_literal(pattern)
            for found in walk.find(pattern):
                if not any(matches(found.path) for matches in self._excludes):
                    self._take(found, look)
        refused = look.refused + [Refusal(path, reason) for path, reason in walk.errors.items()]
        self._last = look.entries
        self.directories = frozenset(map(os.path.realpath, walk.directories)) | look.directories
        self._seen = {**{path: _state(path) for path in look.directories}, **walk.seen}
        listed = Listed(list(look.entries.values()), refused, self._wall(), walk.complete)
        at = time.time_ns()
        settled = all(seen is None or at - seen[2] > _SETTLED_NS for seen in self._seen.values())
        self._listed = listed if walk.complete and not refused and settled else None
        return listed

    def _take(self, found: os.DirEntry[str], look: _Look) -> None:
        """Look at one match of the glob. What is gone again, or a directory of no interest, is nothing to speak of."""
        path = found.path
        try:
            if found.is_symlink():
                target, status = os.path.realpath(path), os.stat(path)
                allowed = self._root(target) is not None and not any(matches(target) for matches in self._excludes)
            else:
                place = look.places.get(path[: -len(found.name)])
                if place is None:
                    place = self._place(path[: -len(found.name)], look)
                target = place[0] + found.name
                last = self._last.get(target)
                if last is not None and last.mtime_s < look.active_s and last.ino == found.inode():
                    look.entries[target] = last
                    return
                status = found.stat(follow_symlinks=False)
                allowed = place[1]
        except OSError as error:
            if error.errno != errno.ENOENT:
                look.refuse(path, os.strerror(error.errno or 0))
            return
        if not stat.S_ISREG(status.st_mode):
            look.refuse_kind(path, status.st_mode)
        elif not allowed:
            look.refuse(path, "leads out of the permitted roots, or to a file that is excluded")
        elif target not in look.entries:
            last = self._last.get(target)
            if last is None or last.mtime_s != status.st_mtime or last.size != status.st_size or last.ino != status.st_ino:
                last = Entry(target, status.st_dev, status.st_ino, status.st_size, status.st_mtime)
            look.entries[target] = last
            if target != path:
                look.directories.add(split(target)[0].rstrip("/") or "/")

    def _place(self, directory: str, look: _Look) -> tuple[str, bool]:
        """The real path of a directory, with a slash, and whether files may lie in it."""
        real = os.path.realpath(directory).rstrip("/") + "/"
        look.places[directory] = place = (real, self._root(real + "x") is not None)
        return place

    def _root(self, path: str) -> str | None:
        """The root a real path lies beneath."""
        return next((root for root in self._roots if path.startswith(root.rstrip("/") + "/")), None)

    def _siblings(self, path: str) -> SiblingsListed:
        """List siblings; again if the directory changed meanwhile, since a file renamed during a listing can be missed."""
        directory = split(path)[0]
        found: list[Entry] = []
        try:
            for _ in range(_LISTINGS):
                before = os.stat(directory).st_mtime_ns
                found = self._list(path)
                if os.stat(directory).st_mtime_ns == before:
                    break
        except FileNotFoundError:
            return SiblingsListed(path, [])
        except OSError:
            return SiblingsListed(path, found, complete=False)
        return SiblingsListed(path, found)

    def _list(self, path: str) -> list[Entry]:
        """Regular files whose names are related to that of `path`. Raises OSError for the directory."""
        directory, name = split(path)
        found: list[Entry] = []
        for other in self._names(directory, stem_and_suffix(name)[0]):
            if not is_related(name, other) or len(found) >= SIBLINGS:
                continue
            with contextlib.suppress(FileNotFoundError):
                status = os.lstat(directory + other)
                if stat.S_ISREG(status.st_mode):
                    found.append(Entry(directory + other, status.st_dev, status.st_ino, status.st_size, status.st_mtime))
        return found

    def _names(self, directory: str, beginning: str) -> list[str]:
        """Names in a directory that begin so. The list is kept while the directory does not change. Raises OSError.

        A directory that changed in the last second is listed anew every time: a further change might leave its time as it is.
        """
        changed = os.stat(directory).st_mtime_ns
        if self._listing[:2] != (directory, changed):
            at = time.time_ns()
            names = sorted(os.listdir(directory))
            self._listing = (directory, changed if at - changed > _SETTLED_NS else -1, names)
        names = self._listing[2]
        first = bisect_left(names, beginning)
        return names[first : bisect_right(names, beginning + chr(0x10FFFF), first)]

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
            inflated = Inflated(fd, path) if is_packed(path) else None
            first = inflated.read(0, HEAD_BYTES) if inflated is not None else None
            head = first.data if first is not None else _read_fully(fd, HEAD_BYTES)
        except OSError as error:
            os.close(fd)
            return OpenFailed(path, error.errno or 0, dev, ino, error.strerror or "")
        handle, self._next_handle = self._next_handle, self._next_handle + 1
        self._fds[handle] = fd
        if inflated is None or first is None:
            return Opened(handle, path, dev, ino, max(status.st_size, len(head)), head)
        self._inflated[handle] = inflated
        return Opened(handle, path, dev, ino, first.size, head, first.whole, first.torn)

    def _read(self, command: Read) -> Got | ReadFailed:
        fd = self._fds.get(command.handle)
        if fd is None:
            return ReadFailed(command.handle, errno.EBADF)
        if (inflated := self._inflated.get(command.handle)) is not None:
            return _inflate(inflated, fd, command)
        try:
            data = os.pread(fd, command.size, command.offset)
            status = os.fstat(fd)
        except OSError as error:
            return ReadFailed(command.handle, error.errno or 0)
        return Got(command.handle, command.offset, data, status.st_size, status.st_nlink)


def _state(directory: str) -> tuple[int, int, int] | None:
    """Device, inode and time of change (ns) of a directory; None: it is gone, or may not be looked at."""
    try:
        status = os.stat(directory)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _inflate(inflated: Inflated, fd: int, command: Read) -> Got | ReadFailed:
    """Read the content of a compressed file."""
    handle, offset = command.handle, command.offset
    try:
        piece, links = inflated.read(offset, command.size), os.fstat(fd).st_nlink
    except OSError as error:
        return ReadFailed(handle, error.errno or 0, inflated.left())
    return Got(handle, offset, piece.data, piece.size, links, piece.whole, piece.torn, piece.underway)


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
