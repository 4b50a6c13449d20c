"""Reading: windows of bytes from open files to the frame, and what happens at a file's end.

RULES
- One window is out at a time: `Read`, `Got`, `Feed`, `Consumed`. So the bytes in memory are one window, whatever is open.
- Every read begins with the <= 1024 bytes before the offset. If they are not what they were, the file was truncated.
- At the end of a file its followers are released. A rotated file that does not grow for `grace_s` is read once more with its
  end final, then closed; so is one whose last name is gone.
- Open files are bounded by `open_files`: idle ones are closed, the longest idle first, and opened again when they change; then
  those that wait for their turn and still lie where the last scan saw them. What has no name any more stays open (`hold`).
"""

from __future__ import annotations

from collections import OrderedDict
from errno import EBADF, ESTALE
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from shipper.source.events import Close, Command, Consumed, Ended, Feed, Got, Note, Read, ReadFailed
from shipper.source.identity import GUARD_BYTES, digest, guard_size
from shipper.source.known import Key, Known, Phase, Stream, Table
from shipper.source.turns import Timers, Turns

if TYPE_CHECKING:
    from collections.abc import Callable

_BACKOFF_S = (1.0, 60.0)


class Limits(msgspec.Struct, frozen=True):
    """Sizes and times of a file source; the agent's, not the user's."""

    read_size_bytes: int = 1 << 18
    """A window. A quarter MiB and what is made of it stay in a core's cache; a whole one costs 5 to 20 % more a record."""
    read_size_bytes_max: int = (1 << 20) + (1 << 16)
    """The window where the usual one held no whole record; must be larger than the longest record that is kept whole."""
    linger_s: float = 0.25
    """Least time between two reads of a file at its end, so that small appends go together."""
    reconcile_s: float = 5.0
    poll_s: float = 1.0
    """Time between scans where there is no watch."""
    scan_gap_s: float = 0.2
    """Least time between scans; grows with the number of files."""
    grace_s: float = 5.0
    """How long a rotated file must be quiet at its end to be closed."""
    open_files: int = 512


LIMITS = Limits()


def _before(stream: Stream) -> int:
    """How many bytes before its position are read again: the guard, or all while the fingerprint knows bytes still unread."""
    return stream.position if stream.position < stream.print.length else guard_size(stream.position)


class Reading:
    """The reading half of the tail."""

    def __init__(self, table: Table, limits: Limits, out: list[Command], examine: Callable[[Known], None]) -> None:
        """Commands go to `out`; `examine` is called for files that must be opened first."""
        self._table, self._limits, self._say, self._examine = table, limits, out.append, examine
        self.turns = Turns()
        self.timers: Timers[Known] = Timers()
        self.current: Known | None = None
        """Its bytes are being read or cut."""
        self.fed = False
        """They are being cut."""
        self.paused = False
        self.draining = False
        self._fed_to = 0
        self._short = False
        """The window was not filled, though the file does not end there."""
        self._asked_to = 0
        self._opened = 0
        self.asked: int | None = None
        """The handle of a `Read` that is outstanding: it stays open."""
        self._idle: OrderedDict[Key, Known] = OrderedDict()
        self.deleted: OrderedDict[Key, Known] = OrderedDict()
        """Open files without a name, the one deleted first at the beginning."""
        self._waiting: OrderedDict[Key, Known] = OrderedDict()
        """Open files that wait for their turn, the longest first."""

    def start(self) -> Read | None:
        """Read the file whose turn it is, if there is one and data is welcome."""
        while self.current is None and not self.paused:
            known = self.turns.next()
            if known is None:
                return None
            stream = known.stream
            waits = known.after is not None or known.queued or self.timers.armed("retry", known)
            if stream is None or stream.ended or waits:
                continue
            if known.handle is None:
                self._examine(known)
                continue
            self._waiting.pop(known.key, None)
            self.current, self.fed = known, False
            self._idle.pop(known.key, None)
            before = _before(stream)
            limit = self._limits.read_size_bytes_max if stream.wide else self._limits.read_size_bytes
            limit = max(limit, stream.print.length - stream.position)
            self._asked_to = stream.position + limit
            return Read(known.handle, stream.position - before, before + limit)
        return None

    def got(self, event: Got, now: float) -> bool:
        """Feed what was read. Returns False if the bytes are not what they were: the file was truncated."""
        known, self.current = self.current, None
        assert known is not None
        stream = known.stream
        assert stream is not None
        known.read_at, known.backoff_s = now, 0.0
        before = _before(stream)
        known.whole, known.torn = event.whole, event.torn
        if event.size_now < max(stream.position, stream.print.length):
            return False
        if len(event.data) < (before if event.offset else max(before, stream.print.length)):
            self.timers.arm("read", known, now + self._limits.linger_s)
            return True
        guard = event.data[max(0, before - GUARD_BYTES) : before]
        if stream.guard is not None and digest(guard) != stream.guard:
            return False
        if not event.offset and not stream.print.matches(event.data):
            return False
        if known.final and event.size_now > known.size:
            known.final = False
        known.size, known.deleted = event.size_now, event.nlink == 0
        known.rotated = known.rotated or known.deleted
        self.note_deleted(known)
        stream.size = max(stream.size, event.size_now)
        stream.mtime_s = stream.mtime_s if known.packed else known.mtime_s
        self._feed(known, stream, event, now)
        return True

    def _feed(self, known: Known, stream: Stream, event: Got, now: float) -> None:
        stream.print.grow(event.data, event.offset)
        stream.window, stream.window_offset = event.data, event.offset
        start, end = stream.position, event.offset + len(event.data)
        if stream.cut is not None and start < stream.cut < end:
            end = stream.cut
        at_end = end >= event.size_now
        final = end == stream.cut or (at_end and (known.final or self.draining))
        if end == start and not (final and stream.next_offset < end):
            stream.window = b""
            if at_end:
                self.at_end(known, now)
            else:
                self.timers.arm("read", known, now + self._limits.linger_s)
            return
        if final:
            stream.cut, stream.state = end, None
        self.current, self.fed, self._fed_to = known, True, end
        self._short = end < min(event.size_now, self._asked_to)
        self._say(Feed(stream.id, event.data[start - event.offset : end - event.offset], start, final))

    def consumed(self, event: Consumed, now: float) -> None:
        """Go on behind what was cut into records."""
        known = self.current
        if known is None or not self.fed or known.stream is None or known.stream.id != event.stream_id:
            return
        stream, self.current, self.fed = known.stream, None, False
        progress = self._advance(stream, event)
        stream.unfinished = event.unfinished
        widened = not progress and not stream.wide
        stream.wide = not progress
        if self._fed_to < known.size and (progress or (widened and not self._short)):
            self.turns.add(known)
            self.wait(known)
        elif self._fed_to < known.size and self._short:
            self.timers.arm("read", known, now + self._limits.linger_s)
        else:
            self.at_end(known, now)

    def _advance(self, stream: Stream, event: Consumed) -> bool:
        """Take over the new offsets and their guards. Returns whether reading moved on."""
        before = stream.position
        stream.next_offset = min(max(event.next_offset, stream.next_offset), self._fed_to)
        asked = event.next_offset if event.read_from is None else event.read_from
        stream.position = min(max(asked, stream.next_offset), self._fed_to)
        window, base = stream.window, stream.window_offset
        stream.window = b""
        for offset in {stream.next_offset, stream.position}:
            if offset >= before:
                guard = digest(window[max(0, offset - GUARD_BYTES) - base : offset - base])
                if offset == stream.position:
                    stream.guard = guard
                if offset == stream.next_offset:
                    stream.trail.add(offset, guard)
        stream.state = None
        return stream.position > before

    def at_end(self, known: Known, now: float) -> None:
        """There is nothing more to read in it for now. Who waits for one that is still being compressed goes on waiting."""
        if not known.torn or known.final:
            self.release(known)
        if known.handle is not None:
            self._idle[known.key] = known
            self._make_room(self._limits.open_files)
        if not known.rotated or self.draining:
            return
        if known.final:
            self.finish(known)
        else:
            self.timers.arm("grace", known, now + self._limits.grace_s)

    def finish(self, known: Known, reason: str = "") -> None:
        """All of it was read: close it, and forget it if it is gone."""
        self.close(known)
        self.release(known)
        stream = known.stream
        if stream is not None and not stream.ended:
            stream.ended, stream.state = True, None
            self._say(Ended(stream.id, reason or ("deleted" if known.deleted else "rotated")))
            if known.torn and not reason:
                self._say(Note("torn", known.path, {"bytes": known.disk_size}))
            if stream.twin is not None:
                self._examine(stream.twin)
        known.final = False
        if known.deleted:
            self._table.forget(known)

    def read_failed(self, event: ReadFailed, now: float) -> None:
        """Try again later; others are not held up."""
        known, self.current = self.current, None
        if known is None:
            return
        if event.errno in (ESTALE, EBADF):
            self.close(known)
        self.hold_off(known, event.errno, now)

    def hold_off(self, known: Known, errno: int, now: float, reason: str = "") -> None:
        """Leave it alone for a while that doubles with every failure; said once. Asked for sooner, it goes on waiting."""
        if not known.backoff_s:
            self._say(Note("unreadable", known.path, {"errno": errno, "reason": reason}))
        if not known.backoff_s or not self.timers.armed("retry", known):
            known.backoff_s = min(max(known.backoff_s * 2, _BACKOFF_S[0]), _BACKOFF_S[1])
            self.timers.arm("retry", known, now + known.backoff_s)
        self.release(known)

    def release(self, known: Known) -> None:
        """Those that waited for its end go on."""
        followers, known.followers = known.followers, None
        for follower in followers or ():
            follower.after = None
            if follower.phase is Phase.ACTIVE:
                self.turns.add(follower)

    def opened(self) -> None:
        """A file was opened. Closes another one if there are too many."""
        self._opened += 1
        self._make_room(self._limits.open_files)

    def close(self, known: Known) -> None:
        """Close it, if it is open."""
        if known.handle is not None:
            self._say(Close(known.handle))
            known.handle = None
            self._opened -= 1
            self._idle.pop(known.key, None)
            self.deleted.pop(known.key, None)
            self._waiting.pop(known.key, None)

    def wait(self, known: Known) -> None:
        """It is open and waits for its turn."""
        if known.handle is not None:
            self._waiting[known.key] = known

    def note_deleted(self, known: Known) -> None:
        """Remember a file that is open and has no name: the disk is not free of it while it is open."""
        if known.deleted and known.handle is not None:
            self.deleted.setdefault(known.key, known)

    def held_too_much(self, limit: int) -> Known | None:
        """The file deleted first, if such files hold more than `limit` bytes; not the one that is being read."""
        held = sum(known.disk_size if known.packed else known.size for known in self.deleted.values())
        if held <= limit:
            return None
        return next((known for known in self.deleted.values() if known is not self.current), None)

    def shed(self) -> int:
        """Close half of the idle files, because the system has no more handles. Returns how many."""
        before = self._opened
        self._make_room(before - (len(self._idle) + 1) // 2)
        return before - self._opened

    def _make_room(self, limit: int) -> None:
        for files in (self._idle, self._waiting):
            spare = list(islice(files.values(), self._opened - limit)) if self._opened > limit else ()
            for known in spare:
                if known.handle == self.asked:
                    continue
                del files[known.key]
                if known is not self.current and not known.deleted:
                    self.close(known)

    def touch(self, known: Known, now: float) -> None:
        """It changed: read it, but not sooner than `linger_s` after the last time."""
        at = known.read_at + self._limits.linger_s
        if at <= now:
            self.turns.add(known)
        elif not self.timers.armed("read", known):
            self.timers.arm("read", known, at)

    def fire(self, purpose: str, known: Known) -> None:
        """A timer fired."""
        if self._table.files.get(known.key) is not known:
            return
        if purpose == "retry" and (known.stream is None or known.stream.ended or known.phase is not Phase.ACTIVE):
            self._examine(known)
            return
        if purpose == "grace":
            known.final = True
        self.turns.add(known)
