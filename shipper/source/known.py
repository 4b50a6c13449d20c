"""What the source knows: files by inode, their streams, and streams without a file.

RULES
- A `Known` is one inode. It has a handle while it is open, and a `Stream` once it is identified.
- A `Stream` without a file is an orphan: its file was truncated, replaced or is not where it was. It waits for a copy or a
  new name to be found, and is given up when every candidate has been looked at.
- Bounds: `FILES` known files; beyond, the oldest that are read to their end are forgotten (and shipped again if they change).
  `DEPARTED` live paths without a file are remembered, so that what was rotated away while nobody looked is found.
- Streams that were read to their end stay known when their file is gone, `KIN` a live path and `RETIRED` together: a compressed
  file may show them, and is left alone then.
"""

from __future__ import annotations

from enum import Enum
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from shipper.source.events import Entry, StreamState
from shipper.source.identity import HEAD_BYTES, NOTHING, Fingerprint, Trail
from shipper.source.names import family, is_packed, is_rotated, origins, split, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

FILES = 100_000
DEPARTED = 1_000
KIN = 16
RETIRED = 2_000
Key = tuple[int, int]
Index = TypeVar("Index")


class Phase(Enum):
    """What is known about a file."""

    NEW = "new"
    """Not identified yet."""
    EMPTY = "empty"
    """Has no byte yet, so no identity."""
    HELD = "held"
    """A copy of a live file, held until that one is truncated or the two differ."""
    IGNORED = "ignored"
    """Too old, compressed, or a copy whose bytes were all read in the original."""
    ACTIVE = "active"
    """Has a stream."""


class Stream:
    """One identity and how far it was read."""

    __slots__ = (
        "begun", "cut", "ended", "first_end", "first_seen", "given_up", "guard", "home", "id", "key", "kin", "mtime_s", "next_offset",
        "older", "path", "position", "print", "settled", "size", "state", "trail", "twin", "unfinished", "wide", "window",
        "window_offset",
    )  # fmt: skip

    def __init__(self, ident: str, path: str, key: Key, offset: int, first_seen: float) -> None:
        """A stream whose next record starts at `offset`."""
        self.id, self.path, self.key, self.first_seen = ident, path, key, first_seen
        self.home = path
        """The live path it has or had."""
        self.print = Fingerprint(b"")
        self.next_offset = offset
        self.position = offset
        """Where the next read starts: `next_offset`, or further on inside an overlong line."""
        self.guard: bytes | None = NOTHING if offset == 0 else None
        """Of the bytes before `position`; None: not known yet, the next read tells."""
        self.trail = Trail(offset, self.guard or b"")
        self.settled = offset
        self.size = 0
        self.mtime_s = 0.0
        self.cut: int | None = None
        self.ended = False
        self.given_up = ""
        """Why it is not read further, though there may be more."""
        self.kin = ""
        """The live path its name said when it was enlisted; empty: it is not in the table."""
        self.older: Stream | None = None
        """The one enlisted before it with the same `kin`."""
        self.twin: Known | None = None
        """A file that shows the same bytes, plain or compressed, and is held while this stream has a file of its own."""
        self.first_end: tuple[int, bytes] | None = None
        """Size and guard of the end as they were when it was new: proves more than the fingerprint while nothing is settled."""
        self.begun = False
        """The agent was told of it in this run."""
        self.window = b""
        """The bytes of the feed that is outstanding, guard included; they start at `window_offset`."""
        self.window_offset = 0
        self.unfinished = False
        """What is left of it are whole lines of a record that may go on elsewhere; see `Consumed`."""
        self.wide = False
        """The last window held no whole record: the next one is larger."""
        self.state: StreamState | None = None
        """What the last snapshot said, for the next one."""

    @classmethod
    def restored(cls, state: StreamState) -> Stream:
        """The stream as the checkpoint has it."""
        stream = cls(state.id, state.path, (state.dev, state.ino), state.offset, state.first_seen)
        stream.print = Fingerprint.known(state.fingerprint_length, bytes.fromhex(state.fingerprint))
        guard = bytes.fromhex(state.guard) if state.guard else (NOTHING if state.guard_offset == 0 else b"")
        if state.guard_offset > state.offset:
            stream.first_end = (state.guard_offset, guard)
        else:
            stream.trail = Trail(state.guard_offset, guard)
            stream.guard = guard if guard and state.guard_offset == state.offset else None
        stream.size, stream.mtime_s, stream.home = state.size, state.mtime_s, state.home or state.path
        stream.cut = state.cut if state.cut is not None and state.cut > state.offset else None
        stream.ended, stream.given_up = state.ended, state.given_up
        return stream

    def proof(self) -> tuple[int, bytes] | None:
        """An offset and the guard the file must show there; None: nothing can be asked but the fingerprint."""
        if self.guard is not None:
            return (self.position, self.guard) if self.position else self.first_end
        offset, guard = self.trail.at(self.settled)
        return (offset, guard) if guard and offset else None

    def snapshot(self, settled: int, mtime_s: float = float("inf")) -> StreamState:
        """What the checkpoint must hold when everything before `settled` has a verdict; its last change was `mtime_s` at most."""
        end = self.first_end or (self.trail.last() if self.print.length >= HEAD_BYTES else None)
        guard_offset, guard = (end if not settled else None) or self.trail.at(settled)
        cut = self.cut if self.cut is not None and self.cut > settled else None
        return StreamState(
            self.id, self.path, self.key[0], self.key[1], settled, self.print.length, self.print.value.hex(), guard.hex(),
            self.first_seen, self.ended and settled >= self.next_offset, cut, guard_offset, self.size, min(self.mtime_s, mtime_s),
            self.home if self.home != self.path else "", self.given_up,
        )  # fmt: skip


class Known:
    """One inode."""

    __slots__ = (
        "absent", "after", "backoff_s", "begin", "copied", "deleted", "disk_size", "final", "followers", "handle", "home", "key",
        "mintable", "mtime_s", "outside", "packed", "path", "phase", "queued", "read_at", "ready", "rotated", "size", "sought", "stale", "stream",
        "torn", "whole",
    )  # fmt: skip

    def __init__(self, entry: Entry, *, outside: bool = False) -> None:
        """`outside`: no glob matches it; it was found beside a file that one does."""
        self.key: Key = (entry.dev, entry.ino)
        self.path, self.size, self.mtime_s = entry.path, entry.size, entry.mtime_s
        self.disk_size = entry.size
        """Bytes as the last listing showed them; `size` of a compressed file is that of its content, as far as it is known."""
        self.home = entry.path
        """The live name it had; rotation moves it away from there."""
        self.outside = outside
        self.packed = is_packed(entry.path)
        """It is read as its decompressed content."""
        self.whole, self.torn = True, False
        """Whether `size` is exact, and whether the compressed data ends too early."""
        self.phase = Phase.NEW
        self.stream: Stream | None = None
        self.handle: int | None = None
        self.begin = 0
        """Offset to begin at, should it be new."""
        self.mintable = True
        """Whether it is read when it turns out to be nobody we know."""
        self.copied: Stream | None = None
        """The stream it was seen to be a copy of."""
        self.rotated = self.packed
        """Not under its live name any more: closed when it was quiet for a while at its end."""
        self.deleted = False
        self.absent = 0
        """Listings in a row that did not show it."""
        self.sought = False
        """Its new name was looked for."""
        self.stale = False
        """Did not lie under its name when it was to be examined: that is done when a listing shows it."""
        self.final = False
        """Its end is final: an unfinished record is taken."""
        self.after: Known | None = None
        """The file to be read to its end before this one."""
        self.followers: list[Known] | None = None
        self.queued = False
        """Waits to be examined."""
        self.ready = False
        """Waits for its turn to be read."""
        self.read_at = -1e9
        self.backoff_s = 0.0

    @property
    def unsure(self) -> bool:
        """It changed, or could not be opened, and is to be examined: it may not be its stream any more."""
        return self.queued or self.stale or self.backoff_s > 0


class Table:
    """All files and streams of a source."""

    __slots__ = (
        "beside", "departed", "files", "kin", "latest", "listed", "orphans", "orphans_by_key", "orphans_by_path", "paths", "retired",
        "strays", "streams",
    )  # fmt: skip

    def __init__(self) -> None:
        """Empty."""
        self.files: dict[Key, Known] = {}
        self.paths: dict[str, Known] = {}
        """Who lies, or lay last, at a path."""
        self.listed: dict[Key, Entry] = {}
        """The last scan."""
        self.streams: dict[str, Stream] = {}
        self.orphans: dict[str, tuple[Stream, str, set[str]]] = {}
        """Streams without a file, with the cause and the paths under which copies of it are looked for."""
        self.orphans_by_key: dict[Key, list[Stream]] = {}
        self.orphans_by_path: dict[str, list[Stream]] = {}
        self.latest: dict[str, Stream] = {}
        """The last stream of each live path: its time tells which siblings came later. Kept when its file is gone."""
        self.kin: dict[str, Stream] = {}
        """By live path, as names say it: the stream enlisted last, which leads to the others (`Stream.older`)."""
        self.retired: dict[str, None] = {}
        """Streams that were read to their end and have no file, oldest first."""
        self.strays: dict[str, list[tuple[Stream, float]]] = {}
        """By live path: `KIN` streams of rotated files that were new while nobody knew the live one they may be copies of, and since
        when the live one must not have changed to be the original (any time, if no scan had shown it)."""
        self.departed: dict[str, None] = {}
        """Live paths whose last file is gone, oldest first."""
        self.beside: dict[str, set[Key]] = {}
        """Files that no glob matches, by the directory they were found in."""

    def add(self, entry: Entry, *, outside: bool = False) -> Known:
        """Take a file never seen before."""
        known = Known(entry, outside=outside)
        self.files[known.key] = known
        if outside:
            self.beside.setdefault(split(entry.path)[0], set()).add(known.key)
        else:
            self.paths[entry.path] = known
        return known

    def leave(self, known: Known) -> None:
        """No glob matches it any more."""
        known.outside = True
        self.beside.setdefault(split(known.path)[0], set()).add(known.key)

    def _enter(self, known: Known) -> None:
        directory = split(known.path)[0]
        keys = self.beside.get(directory, set())
        keys.discard(known.key)
        if not keys:
            self.beside.pop(directory, None)

    def move(self, known: Known, path: str, *, outside: bool) -> None:
        """It has another name. The name it left still says who lay there last, until somebody else does."""
        old, stream = known.path, known.stream
        self._enter(known)
        known.rotated = known.rotated or outside or is_rotated(split(old)[1], split(path)[1])
        if not known.rotated or old != known.home:
            if self.paths.get(old) is known:
                del self.paths[old]
            known.home = known.home if known.rotated else path
        known.path, known.outside, known.packed = path, outside, is_packed(path)
        if outside:
            self.leave(known)
        else:
            self.paths[path] = known
        if stream is not None:
            stream.path, stream.home, stream.state = path, known.home, None

    def forget(self, known: Known) -> None:
        """Drop a file; its stream stays until it is settled."""
        self.files.pop(known.key, None)
        for path in (known.path, known.home):
            if self.paths.get(path) is known:
                del self.paths[path]
        self._enter(known)

    def bind(self, known: Known, stream: Stream) -> None:
        """Give a file its stream."""
        known.stream, known.phase = stream, Phase.ACTIVE
        stream.key, stream.path, stream.home = known.key, known.path, known.home
        stream.state = None
        self.enlist(stream)
        if not known.outside:
            self.paths[known.path] = known

    def enlist(self, stream: Stream) -> None:
        """Take a stream."""
        self.streams[stream.id] = stream
        self.retired.pop(stream.id, None)
        if not stream.kin:
            stream.kin = family(stream.home)
            stream.older, self.kin[stream.kin] = self.kin.get(stream.kin), stream
        last = self.latest.get(stream.home)
        if last is None or last.mtime_s <= stream.mtime_s:
            self.latest[stream.home] = stream
            self.departed.pop(stream.home, None)

    def _is_over(self, stream: Stream) -> bool:
        """Whether a stream needs no place in the checkpoint: settled to its end, no file has it, and another came after it."""
        if not stream.ended or stream.settled < stream.next_offset or stream.id in self.orphans:
            return False
        known = self.files.get(stream.key)
        if known is not None and known.stream is stream:
            return False
        if self.latest.get(stream.home) is not stream:
            return not self._is_retained(stream)
        self.departed[stream.home] = None
        if len(self.departed) > DEPARTED:
            del self.latest[next(iter(self.departed))], self.departed[next(iter(self.departed))]
        return self.latest.get(stream.home) is not stream

    def _is_retained(self, stream: Stream) -> bool:
        """Whether a stream without a file stays, since a compressed file may turn up that shows it."""
        self.retired[stream.id] = None
        if len(self.retired) > RETIRED:
            del self.retired[next(iter(self.retired))]
        fileless = 0
        for other in self.kindred(stream.kin):
            if other is stream:
                break
            fileless += other.id in self.retired
        if fileless >= KIN:
            self.retired.pop(stream.id, None)
        return stream.id in self.retired

    def _unlist(self, stream: Stream) -> None:
        """Take a stream out of the table."""
        del self.streams[stream.id]
        newer = None
        for other in self.kindred(stream.kin):
            if other is stream:
                break
            newer = other
        if newer is not None:
            newer.older = stream.older
        elif stream.older is not None:
            self.kin[stream.kin] = stream.older
        else:
            del self.kin[stream.kin]
        stream.kin, stream.older = "", None

    def kindred(self, live: str) -> Iterator[Stream]:
        """Streams whose name came from this live path, newest first."""
        stream = self.kin.get(live)
        while stream is not None:
            yield stream
            stream = stream.older

    def holder(self, stream: Stream) -> Known | None:
        """The file that has a stream, if it still is to be had: open, or seen by the last scan or listing under its name."""
        known = self.files.get(stream.key)
        if known is None or known.stream is not stream:
            return None
        there = known.handle is not None or known.key in self.listed or (known.outside and not known.absent)
        return known if there else None

    def twins(self, known: Known) -> Iterator[Stream]:
        """Streams that a compressed file may show, or, for a plain file, streams of the compressed file made of it."""
        plain = unpacked(known.path)
        for stream in self.kindred(family(known.path)):
            same = known.deleted or unpacked(stream.path) == plain
            if known.packed or (same and is_packed(stream.path) and stream.id not in self.orphans):
                yield stream

    def orphan(self, stream: Stream, cause: str) -> None:
        """A stream lost its file."""
        paths = {stream.path, stream.home, family(stream.path), stream.kin}
        self.orphans[stream.id] = (stream, cause, paths)
        self.orphans_by_key.setdefault(stream.key, []).append(stream)
        for path in paths:
            self.orphans_by_path.setdefault(path, []).append(stream)

    def adopt(self, stream: Stream) -> str:
        """It is an orphan no more. Returns the cause."""
        _, cause, paths = self.orphans.pop(stream.id)
        _remove(self.orphans_by_key, stream.key, stream)
        for path in paths:
            _remove(self.orphans_by_path, path, stream)
        return cause

    def candidates(self, known: Known, head: bytes, size: int) -> list[Stream]:
        """Orphans that `known` may be: same inode first, then those it may be a copy of by name.

        A copy of a stream of an earlier run must prove more than an equal first KiB, since that may be a common header, and
        bytes of the stream that were sent and not settled must not give their ids to others.
        """
        if not self.orphans:
            return []
        found = list(self.orphans_by_key.get(known.key, ()))
        for path in (known.path, *origins(known.path)):
            for stream in self.orphans_by_path.get(path, ()):
                over = stream.ended and not known.packed and stream.size != size
                proven = stream.begun or stream.proof() or stream.print.length < HEAD_BYTES
                if stream not in found and proven and not over:
                    found.append(stream)
        return [stream for stream in found if self._may_be(stream, head, size)]

    def _may_be(self, stream: Stream, head: bytes, size: int) -> bool:
        """Whether a file of this size and head can be the stream's; where nothing was settled, the size tells more."""
        least = stream.position or (0 if stream.begun else stream.size)
        return least <= size and stream.print.matches(head)

    def originals(self, known: Known, head: bytes) -> list[Known]:
        """Files that `known` may be a copy of: the one it was seen to be a copy of, those under a live name, and those before.

        Those of its kind that begin like `head` besides, in case they are not in the line any more because they cannot be read.
        """
        found: dict[Key, Known] = {}
        if known.copied is not None and not known.copied.ended:
            other = self.files.get(known.copied.key)
            if other is not None and other is not known and other.stream is known.copied:
                found[other.key] = other
        for path in origins(known.path):
            other = self.paths.get(path)
            while other is not None:
                if other is not known and other.stream is not None and (other.unsure or not other.stream.ended):
                    found[other.key] = other
                other = other.after
        live = family(known.path)
        for stream in self.kindred(live) if live != known.path else ():
            other = self.files.get(stream.key)
            if other is None or other is known or other.stream is not stream or stream.ended:
                continue
            if (other.unsure or not other.packed) and stream.print.matches(head):
                found[other.key] = other
        return list(found.values())

    def stray(self, known: Known, stream: Stream) -> None:
        """Note a new stream if the live file that `known` may be a copy of is not examined yet, or missing in the last scan."""
        live = family(known.path)
        other = self.paths.get(live)
        if live == known.path:
            self.strays.pop(live, None)
            return
        unseen = (other is not None or live in self.latest) and self.listed_at(live) is None
        if unseen or (other is not None and other is not known and other.stream is None):
            is_dated = known.packed or known.size == known.disk_size  # its last change is the one listed
            entry = (stream, known.mtime_s if is_dated and not unseen else float("inf"))
            self.strays[live] = [*self.strays.get(live, [])[1 - KIN :], entry]

    def copies_of(self, known: Known, head: bytes) -> Iterator[Stream]:
        """Streams of rotated files that may be copies of the live file `known`, which was seen later than they were."""
        for stream, until_s in self.strays.get(known.path, ()):
            holder = self.files.get(stream.key)
            if holder is None or holder is known or holder.stream is not stream:
                continue
            if stream.position <= known.size and known.mtime_s <= until_s and stream.print.matches(head):
                yield stream

    def listed_at(self, path: str) -> Key | None:
        """The inode that the last scan saw at a path."""
        known = self.paths.get(path)
        return known.key if known is not None and known.path == path and known.key in self.listed else None

    def lies_at(self, path: str) -> bool:
        """Whether a known file lies at a path, as far as listings told."""
        if self.listed_at(path) is not None:
            return True
        return any(known.path == path and not known.absent for known in self.found_beside(path))

    def found_beside(self, path: str) -> Iterator[Known]:
        """Files outside the globs in the directory of `path`."""
        keys = tuple(self.beside.get(split(path)[0], ()))
        yield from (self.files[key] for key in keys if key in self.files)

    def surplus(self) -> Iterable[Known]:
        """Files to forget so that the bound holds: ended ones, oldest first."""
        over = len(self.files) - FILES
        if over <= 0:
            return ()
        ended = (known for known in self.files.values() if known.handle is None and known.stream and known.stream.ended)
        return sorted(ended, key=lambda known: known.mtime_s)[:over]

    def _unread(self) -> dict[str, float]:
        """By live path: the earliest change of a file beside it that is to be read and not identified: later ones may be by now."""
        found: dict[str, float] = {}
        for key in chain.from_iterable(self.beside.values()):
            known = self.files.get(key)
            if known is not None and known.stream is None and known.mintable and known.phase is Phase.NEW:
                found[known.home] = min(known.mtime_s, found.get(known.home, known.mtime_s))
        return found

    def snapshot(self, settled: Mapping[str, int]) -> list[StreamState]:
        """States of all streams that are needed after a restart. Unchanged ones are the same objects as last time."""
        states, unread = [], self._unread()
        for stream in tuple(self.streams.values()):
            offset = max(stream.settled, settled.get(stream.id, 0))
            if offset != stream.settled:
                stream.settled = offset
                stream.trail.prune(offset)
                stream.state = None
            if self._is_over(stream):
                self._unlist(stream)
                continue
            mtime_s = min(stream.mtime_s, unread.get(stream.home, stream.mtime_s))
            if stream.state is None or stream.state.mtime_s != mtime_s:
                stream.state = stream.snapshot(offset, mtime_s)
            states.append(stream.state)
        return states


def _remove(index: dict[Index, list[Stream]], key: Index, stream: Stream) -> None:
    """Take `stream` out of an index of lists."""
    index[key].remove(stream)
    if not index[key]:
        del index[key]
