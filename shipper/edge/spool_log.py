"""Spool log: what of a spool is on disk, read, settled and dropped. Blocking; `edge/spool.py` writes to it by groups.

RULES
- State changes only where it is said to: what runs in a thread (`files.create`, `files.count_rows`, `append`) changes none.
- `read` gives whole entries with a right checksum, all of them in order, and says what lies between them as `Damage`.
- The last segment is never deleted: its name is where the log is, its header whose.
- What is not certain to have been torn off is damage. In both cases its offsets are not used again: a new segment begins behind.
"""

from __future__ import annotations

import contextlib
import os
from bisect import bisect_right
from typing import TYPE_CHECKING

import msgspec

from shipper.edge.spool_files import Segment, SpoolFiles
from shipper.model.errors import HostError
from shipper.progress.spool import (
    HEAD_BYTES,
    HEADER_BYTES,
    VERSION,
    Damage,
    Entry,
    Header,
    Spooled,
    decode,
    gather,
    is_torn,
    scan,
)

if TYPE_CHECKING:
    from pathlib import Path

_COPIED = ("checksum", "format", "header")


class Opened(msgspec.Struct, frozen=True):
    """What was found."""

    identity: str
    """The spool's own, or the one given to a new spool."""
    first: int
    """The first offset that is there."""
    end: int
    torn_bytes: int
    """Cut off at the end: of a write that was never acknowledged."""


class Window(msgspec.Struct, frozen=True):
    """What is there from an offset on: first damage, then rows. Both may be missing while `next_offset` moves."""

    next_offset: int
    spooled: Spooled | None = None
    damage: tuple[Damage, ...] = ()


class Doomed(msgspec.Struct, frozen=True):
    """A segment about to be dropped, and what of it the reader has not had: [start, stop)."""

    segment: Segment
    start: int
    stop: int


class SpoolLog:
    """The segments of one spool, and how far they are settled. One thread at a time."""

    def __init__(self, directory: Path) -> None:
        """Touch nothing."""
        self.directory = directory
        self.files = SpoolFiles(directory)
        self.identity = ""
        self.writer = -1
        """Descriptor of the last segment."""
        self.size = 0
        """Bytes on disk."""
        self.quarantined_bytes = 0
        self._segments: list[Segment] = []
        self._settled = self._position = 0
        self._doomed: Doomed | None = None
        self._dropped_rows: int | None = None
        """Of what was dropped and not yet told to the reader."""

    @property
    def active(self) -> Segment:
        """The last segment."""
        return self._segments[-1]

    @property
    def end(self) -> int:
        """Durable up to here."""
        return self._segments[-1].end

    @property
    def is_delivered(self) -> bool:
        """Whether all there is could go, if there were another segment to write to."""
        return self._settled >= self.end and not self.active.is_empty

    def open(self, identity: str, settled: int, expected: str = "") -> Opened:
        """Take over what is there, and see to it that the last segment can be written to. Raises OSError, HostError.

        `settled` is that of the spool with the identity `expected`; of another one nothing is settled.
        """
        self.files.take()
        segments = self._segments = self.files.listed()
        if expected and segments and self._any_identity() not in ("", expected):
            settled = 0
        self._settled = self._position = floor = previous = settled
        while segments and segments[-1].is_empty and self.files.header(segments[-1].base) is None:
            torn = segments.pop()  # its making was cut short
            self.files.remove(torn)
            floor, previous = max(floor, torn.end), torn.base
        self._segments, self.size = segments, sum(segment.size for segment in segments)
        torn_bytes = self._take_over(identity, floor) if segments else 0
        if not segments:
            self.identity = identity
            self.begin(header := Header(identity, floor, min(previous, floor)), self.files.create(header))
        self._delete_settled()
        return Opened(self.identity, self._segments[0].base, self.end, torn_bytes)

    def _take_over(self, identity: str, floor: int) -> int:
        """Go on behind the last segment, in it where it is whole. Returns the bytes cut off it."""
        last = self.active
        self.writer = self.files.resume(last)
        header = self.files.header(last.base)
        if header is not None and header.version > VERSION:
            raise HostError(f"the spool {self.directory} has version {header.version}, this agent reads {VERSION}")
        self.identity = header.identity if header else self._any_identity() or identity
        good = last.base + HEADER_BYTES
        for item in self.files.walk(last.base, good, last.end):
            good = item.end if isinstance(item, Entry) else good
        rest, torn_bytes = last.end - good, 0
        if rest and is_torn(rest, self.files.last_byte(last)):
            torn_bytes = rest
        if header is None or rest or floor > last.end or self.is_delivered:
            new = Header(self.identity, max(floor, last.end), last.end - torn_bytes)
            self.begin(new, self.files.create(new))
        if torn_bytes:  # now that its offsets are taken
            with contextlib.suppress(OSError):  # a reader stops before it anyway
                self.files.cut(last, good)
            last.size -= torn_bytes
            self.size -= torn_bytes
        return torn_bytes

    def _any_identity(self) -> str:
        """That of the youngest segment whose header is whole."""
        headers = (self.files.header(segment.base) for segment in reversed(self._segments))
        return next((header.identity for header in headers if header is not None), "")

    def close(self) -> None:
        """Close all files, and let the directory go."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1
        self.files.release()

    def begin(self, header: Header, writer: int) -> None:
        """Write to a segment that was made, from now on."""
        if self.writer >= 0:
            os.close(self.writer)
        self.writer = writer
        self._segments.append(Segment(header.base, HEADER_BYTES, header.previous))
        self.size += HEADER_BYTES

    def grow(self, size: int) -> None:
        """So many bytes more are durable in the last segment."""
        self.active.size += size
        self.size += size

    def settle(self, offset: int) -> None:
        """All before `offset` is delivered, and that is durable: segments that lie before it are deleted."""
        self._settled = max(self._settled, offset)
        self._delete_settled()

    def _delete_settled(self) -> None:
        with contextlib.suppress(OSError):  # the next settling tries again
            while len(self._segments) > 1 and self._doomed is None and self._stop(0) <= self._settled:
                self.files.remove(self._segments[0])
                self.size -= self._segments.pop(0).size

    def doom(self) -> Doomed | None:
        """The oldest segment is to be dropped; reading waits until `drop` or `spare`. None: there is only the last. Raises OSError."""
        if len(self._segments) == 1:
            return None
        segment, stop = self._segments[0], self._stop(0)
        self._doomed = Doomed(segment, min(max(self._position, segment.base), stop), stop)
        return self._doomed

    def spare(self) -> None:
        """Nothing comes of it."""
        self._doomed = None

    def drop(self, doomed: Doomed, rows: int) -> None:
        """Drop it, with so many rows that the reader has not had. Raises OSError; then it stays."""
        self._doomed = None
        self.files.remove(doomed.segment)
        self.size -= self._segments.pop(0).size
        if doomed.start < doomed.stop:
            self._dropped_rows = (self._dropped_rows or 0) + rows

    def read(self, offset: int, limit: int) -> Window:
        """See `Spool.read`. Raises OSError."""
        if self._doomed is not None:
            return Window(offset)
        damage: list[Damage] = []
        index = max(0, bisect_right(self._segments, offset, key=lambda segment: segment.base) - 1)
        at = self._enter(index, offset, damage)
        at, parts = self._take(index, at, limit, damage)
        while not parts and not damage and index + 1 < len(self._segments):
            index += 1
            at = self._enter(index, at, damage)
            at, parts = self._take(index, at, limit, damage)
        self._position = max(self._position, at)
        for one in damage:
            self._set_aside(one)
        return Window(at, gather(parts) if parts else None, tuple(damage))

    def _enter(self, index: int, at: int, damage: list[Damage]) -> int:
        """Where the entries of a segment begin for a reader that comes from `at`. Notes what is missing before."""
        base = self._segments[index].base
        if at >= base + HEADER_BYTES:
            return at
        previous = self._previous(index)
        if at < previous:
            is_known = index == 0 and self._dropped_rows is not None
            damage.append(Damage(at, previous, "dropped" if is_known else "missing", (is_known and self._dropped_rows) or 0))
            self._dropped_rows = None
        if self.files.header(base) is None:
            damage.append(Damage(base, base + HEADER_BYTES, "header"))
        return base + HEADER_BYTES

    def _take(self, index: int, at: int, limit: int, damage: list[Damage]) -> tuple[int, list[Spooled]]:
        """The entries from `at` on, behind damage if there is some. Returns where they end."""
        base, stop = self._segments[index].base, self._stop(index)
        parts: list[Spooled] = []
        wants = limit
        while at < stop and not parts:
            size = min(max(limit, wants), stop - at)
            data = self.files.piece(base, at - base, size)
            if not data:
                damage.append(Damage(at, stop, "missing"))
                return stop, parts
            found = scan(data, at, stop if len(data) == size else at + len(data))
            wants = found.wants
            for item in found.found:
                part = _open_entry(item)
                if isinstance(part, Spooled):
                    parts.append(part)
                elif parts:
                    break
                else:
                    _note(part, damage)
                at = item.end
        return at, parts

    def _stop(self, index: int) -> int:
        """Where the entries of a segment end, whatever the file holds behind. Raises OSError."""
        end = self._segments[index].end
        return end if index + 1 == len(self._segments) else min(end, self._previous(index + 1))

    def _previous(self, index: int) -> int:
        """Where the log before a segment ended. Raises OSError."""
        segment = self._segments[index]
        if segment.previous is None:
            header = self.files.header(segment.base)
            segment.previous = header.previous if header else segment.base
        return segment.previous

    def _set_aside(self, damage: Damage) -> None:
        if damage.cause in _COPIED:
            index = bisect_right(self._segments, damage.start, key=lambda segment: segment.base) - 1
            self.quarantined_bytes += self.files.set_aside(self._segments[index].base, damage)


def _open_entry(item: Entry | Damage) -> Spooled | Damage:
    """The rows of what was found, or what is wrong with it."""
    if isinstance(item, Damage):
        return item
    return decode(item.payload, item.start + HEAD_BYTES) or Damage(item.start, item.end, "format")


def _note(found: Damage, damage: list[Damage]) -> None:
    """Add damage, to the one before where it is the same that goes on."""
    if damage and damage[-1].end == found.start and damage[-1].cause == found.cause:
        found = Damage(damage.pop().start, found.end, found.cause)
    damage.append(found)
