"""Spool files: the segments of a spool as files, and what is copied aside of them. Blocking; `edge/spool.py` decides.

RULES
- A segment exists when its header and its name are fsynced; a write counts when it is fsynced.
- A write that failed is cut off again. Where that is not certain, or the fsync failed, `SpoiledError` says that the segment must not
  be written to any more: the kernel may drop the pages and report success the next time (see `output/bulk_files.py`).
- Directories have mode 0700, files 0600, and links are not followed.

BOUNDS: memory for one piece of 1 MiB, or one entry. `QUARANTINE_MAX` bytes are copied aside.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from typing import TYPE_CHECKING

import msgspec

from shipper.edge.store import sync_directory
from shipper.progress.spool import (
    HEADER_BYTES,
    Damage,
    Entry,
    Header,
    base_of,
    decode_header,
    encode_header,
    rows_in,
    scan,
    segment_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUARANTINE_MAX = 64 << 20
_QUARANTINE_FILES = 1000
_PIECE = 1 << 20
_SECRET = 0o600
_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class SpoiledError(OSError):
    """What is in the file behind the last durable byte is not certain."""


class Segment(msgspec.Struct):
    """A segment, as far as it is known."""

    base: int
    size: int
    """Bytes of the file that count."""
    previous: int | None = None
    """Where the log before it ended; None: its header was not looked at yet."""

    @property
    def end(self) -> int:
        """The first offset behind it."""
        return self.base + self.size

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing behind the header."""
        return self.size <= HEADER_BYTES


class SpoolFiles:
    """The files in one directory. One call at a time, but for `count_rows`, which keeps to itself."""

    def __init__(self, directory: Path) -> None:
        """Touch nothing."""
        self.directory = directory
        self._lock = self._reader = self._reader_base = -1

    def take(self) -> None:
        """Make the directory and lock it. Raises OSError, BlockingIOError where another process has it."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | _SAFE, _SECRET)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(self) -> None:
        """Let the directory go."""
        self.forget()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def listed(self) -> list[Segment]:
        """The segments there are, in order. Other files are not ours. Raises OSError."""
        with os.scandir(self.directory) as entries:
            found = [
                Segment(base, entry.stat(follow_symlinks=False).st_size)
                for entry in entries
                if (base := base_of(entry.name)) is not None and entry.is_file(follow_symlinks=False)
            ]
        return sorted(found, key=lambda segment: segment.base)

    def create(self, header: Header) -> int:
        """Begin a segment, durably. Returns a descriptor to write to. Raises OSError; then it is not there."""
        path = self._path(header.base)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # left by an attempt that failed
        writer = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _SAFE, _SECRET)
        try:
            _write_all(writer, encode_header(header), 0)
            os.fsync(writer)
            sync_directory(self.directory)
        except OSError:
            os.close(writer)
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise
        return writer

    def resume(self, segment: Segment) -> int:
        """Open the last segment to write on, after making durable what is in it. Raises OSError.

        What a killed agent wrote may be in the page cache only: it must not be read and sent, and lost then.
        """
        writer = os.open(self._path(segment.base), os.O_RDWR | _SAFE)
        try:
            os.fsync(writer)
            sync_directory(self.directory)
        except OSError:
            os.close(writer)
            raise
        return writer

    def remove(self, segment: Segment) -> None:
        """Delete a segment. Raises OSError. After a power cut it may be there again."""
        if self._reader_base == segment.base:
            self.forget()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(segment.base))

    def cut(self, segment: Segment, end: int) -> None:
        """Cut a segment that is not written to any more. Raises OSError."""
        os.truncate(self._path(segment.base), end - segment.base)

    def header(self, base: int) -> Header | None:
        """What a segment says of itself, if it can be read. Raises OSError."""
        return decode_header(self.piece(base, 0, HEADER_BYTES), base)

    def last_byte(self, segment: Segment) -> int:
        """Of the file. Raises OSError."""
        return self.piece(segment.base, segment.size - 1, 1)[0]

    def piece(self, base: int, at: int, size: int) -> bytes:
        """At most `size` bytes of a segment, less where the file ends, none where it is gone. Raises OSError."""
        try:
            if self._reader_base != base:
                self.forget()
                self._reader = os.open(self._path(base), os.O_RDONLY | _SAFE)
                self._reader_base = base
            return os.pread(self._reader, size, at)
        except FileNotFoundError:
            return b""
        except OSError:
            self.forget()  # the next try opens it anew
            raise

    def forget(self) -> None:
        """Close what `piece` holds open."""
        if self._reader >= 0:
            os.close(self._reader)
        self._reader = self._reader_base = -1

    def walk(self, base: int, start: int, end: int) -> Iterator[Entry | Damage]:
        """What is in a segment from `start` to `end`, which are offsets of the log. Raises OSError."""
        reader = os.open(self._path(base), os.O_RDONLY | _SAFE)
        try:
            at, wants = start, 0
            while at < end:
                size = min(max(_PIECE, wants), end - at)
                data = os.pread(reader, size, at - base)
                end = end if len(data) == size else at + len(data)  # the file is shorter
                found = scan(data, at, end)
                yield from found.found
                at, wants = found.next, found.wants
        finally:
            os.close(reader)

    def count_rows(self, base: int, start: int, end: int) -> int:
        """Rows in the good entries of a segment between two offsets. 0 where it is gone. Raises OSError."""
        try:
            items = self.walk(base, max(start, base + HEADER_BYTES), end)
            return sum(rows_in(item.payload) for item in items if isinstance(item, Entry))
        except FileNotFoundError:
            return 0

    def set_aside(self, base: int, damage: Damage) -> int:
        """Copy damaged bytes to `quarantine/`, once. Returns the bytes copied: none where there is no room, or an error."""
        size = damage.end - damage.start
        directory = self.directory / "quarantine"
        path = directory / f"{damage.start:020}-{size}"
        try:
            directory.mkdir(exist_ok=True, mode=0o700)
            held = [one.stat().st_size for one in directory.iterdir()]
            if sum(held) + size > QUARANTINE_MAX or len(held) >= _QUARANTINE_FILES or path.exists():
                return 0
            self._copy(base, damage, path)
        except OSError:
            return 0
        return size

    def _copy(self, base: int, damage: Damage, path: Path) -> None:
        writer = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, _SECRET)
        try:
            for at in range(damage.start, damage.end, _PIECE):
                _write_all(writer, self.piece(base, at - base, min(_PIECE, damage.end - at)), at - damage.start)
            os.fsync(writer)
        except OSError:
            os.unlink(path)
            raise
        finally:
            os.close(writer)

    def _path(self, base: int) -> Path:
        return self.directory / segment_name(base)


def append(writer: int, at: int, data: bytes) -> None:
    """Write at position `at`, the file's end, durably. Raises OSError when nothing of it is there, SpoiledError when that is not certain."""
    try:
        _write_all(writer, data, at)
    except OSError as error:
        _cut_back(writer, at, error)
        raise
    try:
        os.fsync(writer)
    except OSError as error:
        _cut_back(writer, at, error)
        raise SpoiledError(error.errno, error.strerror) from error


def _cut_back(writer: int, at: int, error: OSError) -> None:
    try:
        os.ftruncate(writer, at)
    except OSError:
        raise SpoiledError(error.errno, error.strerror) from error


def _write_all(writer: int, data: bytes, at: int) -> None:
    rest = memoryview(data)
    while rest:  # a disk that fills up takes a part
        written = os.pwrite(writer, rest, at)
        if not written:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rest, at = rest[written:], at + written
