"""Tail: follows the files of one source through rotation. The machine; `edge/files.py` carries out what it asks for.

RULES
- The periodic scan is what is relied on; the watch only makes it quicker. Files are known by inode, and by what they show.
- An inode that is somewhere else was renamed; its stream goes on. What took its place is read from byte 0, after it and after
  the siblings that came between, in order of their last change.
- A stream whose file does not show its bytes any more is an orphan. Its siblings are listed and examined; when nobody is left to
  examine, it is given up, and what was seen of it and not read is lost, with the number of bytes.
- Siblings that no glob matches are read only if their name says rotation and they changed after the file before them.
- What to do next is decided in one place (`_next`): answers first, then examinations and reads in turn.

THEORY
Periodic reconciliation as the mechanism of correctness, the guard before the offset, and a replacement file that starts at 0
whatever `start` says: open-telemetry/otel-arrow, filelog receiver design. Copies by copytruncate: elastic/beats#40056.
"""

from __future__ import annotations

from errno import EMFILE, ENFILE, ENOENT, ESTALE
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from shipper.source.events import (
    Began,
    Command,
    Consumed,
    Drain,
    Drained,
    Ended,
    Entry,
    Event,
    Got,
    Listed,
    ListSiblings,
    Lost,
    Note,
    Noticed,
    Opened,
    OpenFailed,
    Paused,
    ReadFailed,
    Resume,
    Resumed,
    Scan,
    Settled,
    SiblingsListed,
    StreamState,
    WatchFailed,
)  # fmt: skip
from shipper.source.examine import Examiner, Finding, Verdict
from shipper.source.identity import Fingerprint
from shipper.source.known import Known, Phase, Stream, Table
from shipper.source.names import family, is_compressed, is_related, is_rotated, split
from shipper.source.reading import LIMITS, Limits, Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shipper.source.file import File

_SCAN_COST_S = 200e-6


class Tail:
    """Follows the files of one source."""

    def __init__(self, config: File.Config, mint: Callable[[], str], limits: Limits = LIMITS) -> None:
        """`mint` returns a new identity: 128 random bits as 22 characters of base64url."""
        self._config, self._mint, self._limits = config, mint, limits
        self._out: list[Command] = []
        self._table = table = Table()
        self._examiner = examiner = Examiner(table)
        self._reading = Reading(table, limits, self._out, examiner.add)
        self._now = 0.0
        self._wall_s = 0.0
        """Unix seconds at monotonic 0, as the last scan told."""
        self._asked = False
        """An `Open` or `Read` of an examination, or a `Read` of data, is outstanding."""
        self._listings: dict[str, tuple[Known | None, float]] = {}
        """Sibling listings that are outstanding, by path: who lay there, and when it was last changed."""
        self._scanning = False
        self._scans = 0
        self._last_scan_s = 0.0
        self._whole = False
        """There was a complete scan."""
        self._scan_at: float | None = None
        self._scanned_at = -1e9
        self._polling = config.poll
        self._fresh = False
        """No checkpoint and no scan yet: `start` counts."""
        self._later: set[Known] = set()
        """To be examined again when the next scan has seen them."""
        self._sought: set[str] = set()
        """Orphans whose siblings were listed."""
        self._examined_last = False
        self._drain_scan = -1
        self._drained = False
        self._refused: set[str] = set()
        self._take: dict[type, Callable[[Any], None]] = {
            Resume: self._resume, Listed: self._listed, SiblingsListed: self._siblings_listed, Opened: self._answered,
            OpenFailed: self._answered, Got: self._answered, ReadFailed: self._answered, Consumed: self._consumed,
            Noticed: self._noticed, WatchFailed: self._watch_failed, Settled: self._settled, Paused: self._paused,
            Resumed: self._resumed, Drain: self._drain,
        }  # fmt: skip

    def handle(self, event: Event, now: float) -> Sequence[Command]:
        """Take what happened, return what to do. `now` is monotonic seconds."""
        self._now = now
        self._take[type(event)](event)
        return self._next()

    def deadline(self) -> float | None:
        """When `expire` is due next."""
        timer = self._reading.timers.deadline()
        scan = None if self._scanning else self._scan_at
        return min(timer, scan) if timer is not None and scan is not None else scan if timer is None else timer

    def expire(self, now: float) -> Sequence[Command]:
        """Scan, read what lingered, close what was quiet, try again what failed."""
        self._now = now
        for purpose, known in list(self._reading.timers.due(now)):
            self._reading.fire(purpose, known)
        if self._scan_at is not None and self._scan_at <= now and not self._scanning:
            self._scan()
        return self._next()

    def snapshot(self, settled: Mapping[str, int]) -> list[StreamState]:
        """States for a checkpoint; `settled` has the ledger's offset of every stream that moved. O(streams)."""
        return self._table.snapshot(settled)

    def states(self) -> list[StreamState]:
        """States as of the last `Settled` and `snapshot`."""
        return self.snapshot({})

    # --- What happened ---

    def _resume(self, event: Resume) -> None:
        self._fresh = event.streams is None
        for state in event.streams or ():
            stream = Stream.restored(state)
            self._table.enlist(stream)
            self._table.orphan(stream, "vanished")
        self._scan()

    def _paused(self, _event: Paused) -> None:
        self._reading.paused = True

    def _resumed(self, _event: Resumed) -> None:
        self._reading.paused = False

    def _consumed(self, event: Consumed) -> None:
        self._reading.consumed(event, self._now)

    def _watch_failed(self, event: WatchFailed) -> None:
        if not self._polling:
            self._out.append(Note("polling", "", {"reason": event.reason}))
        self._polling = True
        self._scan_soon()

    def _settled(self, event: Settled) -> None:
        stream = self._table.streams.get(event.stream_id)
        if stream is not None and event.offset > stream.settled:
            stream.settled, stream.state = event.offset, None
            stream.trail.prune(event.offset)

    def _drain(self, _event: Drain) -> None:
        reading = self._reading
        reading.draining = True
        self._drain_scan = self._scans + 1
        for known in self._table.files.values():
            stream = known.stream
            if known.phase is Phase.ACTIVE and stream is not None and not stream.ended and stream.next_offset < known.size:
                reading.turns.add(known)
        if not self._scanning:
            self._scan()

    def _noticed(self, event: Noticed) -> None:
        for path in event.paths:
            known = self._table.paths.get(path)
            if known is not None and known.path == path and known.phase is Phase.ACTIVE:
                self._reading.touch(known, self._now)
            elif known is not None and known.phase is not Phase.ACTIVE:
                self._scan_soon()
        if event.names:
            self._scan_soon()

    # --- Scans ---

    def _scan(self) -> None:
        self._scanning = True
        self._out.append(Scan())

    def _scan_soon(self) -> None:
        if self._scan_at is not None:
            gap = max(self._limits.scan_gap_s, _SCAN_COST_S * len(self._table.listed))
            self._scan_at = min(self._scan_at, max(self._now, self._scanned_at + gap))

    def _listed(self, event: Listed) -> None:
        """Compare with the scan before: who moved, who is new, who changed, who is gone."""
        self._scanning, self._scanned_at = False, self._now
        self._scan_at = self._now + (self._limits.poll_s if self._polling else self._limits.reconcile_s)
        self._wall_s = event.wall_s - self._now
        table, before = self._table, self._table.listed
        fresh: dict[tuple[int, int], Entry] = {}
        elsewhere: list[Entry] = []
        changed: list[Entry] = []
        for entry in event.entries:
            key = (entry.dev, entry.ino)
            old = before.get(key)
            if old is not None and old.path == entry.path:
                fresh[key] = entry
                if old.mtime_s != entry.mtime_s or old.size != entry.size:
                    changed.append(entry)
            else:
                elsewhere.append(entry)
        arrived = self._moved(elsewhere, fresh)
        gone = before.keys() - fresh.keys()
        table.listed = fresh if event.complete else {**before, **fresh}
        for entry in changed:
            self._changed(table.files.get((entry.dev, entry.ino)), entry)
        for entry in arrived:
            self._arrived(entry)
        for key in gone if event.complete else ():
            self._gone(table.files.get(key))
        for known in tuple(self._later):
            if known.key in fresh:
                self._later.discard(known)
                self._examiner.add(known)
        for known in table.surplus():
            table.forget(known)
        if event.complete and not self._whole:
            for stream, _, _ in table.orphans.values():
                if stream.key not in fresh:
                    self._search(stream)
            self._search_since_last_run()
        self._refuse(event)
        self._last_scan_s = event.wall_s
        self._scans += 1
        if event.complete:
            self._whole, self._fresh = True, False

    def _moved(self, elsewhere: list[Entry], fresh: dict[tuple[int, int], Entry]) -> list[Entry]:
        """Files that are not where they were. Returns those that nobody knows; further names of a file are left out."""
        arrived = []
        for entry in elsewhere:
            key = (entry.dev, entry.ino)
            if key in fresh:
                continue
            fresh[key] = entry
            known = self._table.files.get(key)
            if known is None:
                arrived.append(entry)
                continue
            if known.path != entry.path:
                self._move(known, entry.path, outside=False)
            elif known.outside:
                self._table.move(known, entry.path, outside=False)
            self._changed(known, entry)
        return arrived

    def _move(self, known: Known, path: str, *, outside: bool) -> None:
        self._out.append(Note("renamed", path, {"from": known.path}))
        self._table.move(known, path, outside=outside)
        if known.phase is Phase.ACTIVE and known.stream is not None and not known.stream.ended:
            if known.handle is None:
                self._examiner.add(known)
            self._reading.turns.add(known)

    def _refuse(self, event: Listed) -> None:
        """Say once what the edge will not open."""
        refused = {item.path for item in event.refused}
        for item in event.refused:
            if item.path not in self._refused:
                self._out.append(Note("refused", item.path, {"reason": item.reason}))
        self._refused = refused

    def _changed(self, known: Known | None, entry: Entry) -> None:
        """A file has another size or time of change than before."""
        if known is None:
            return
        stream, known.mtime_s = known.stream, entry.mtime_s
        if known.phase is Phase.IGNORED and known.copied is not None and known.size == entry.size:
            return
        known.size = entry.size
        if stream is None:
            if known.phase is not Phase.EMPTY:
                self._consider(known)
            elif entry.size:
                self._list(known.home, None, self._since(known.home))
                self._consider(known)
            return
        if stream.ended or self._reading.paused:
            self._examiner.add(known)
        else:
            self._reading.turns.add(known)

    def _arrived(self, entry: Entry) -> None:
        """An inode nobody knows lies under a name of the glob."""
        table = self._table
        last = table.paths.get(entry.path)
        known = table.add(entry)
        origin = family(entry.path)
        if table.paths.get(origin, known) is not known:
            known.rotated, known.home = True, origin
        elif last is not None:
            self._rotated(entry.path, last, last.stream.mtime_s if last.stream is not None else self._since(entry.path))
            self._follow(last, known)
        elif self._whole:
            self._list(entry.path, None, self._since(entry.path))
        if self._fresh and self._config.start == "end":
            known.begin = entry.size
        self._consider(known)

    def _consider(self, known: Known) -> None:
        """Examine a file without a stream, unless it is not to be read."""
        urgent = known.key in self._table.orphans_by_key
        older = self._config.ignore_older
        if is_compressed(known.path):
            if known.phase is not Phase.IGNORED:
                self._out.append(Note("compressed", known.path, {}))
            self._ignore(known)
        elif older is not None and not urgent and known.mtime_s < self._wall_s + self._now - older:
            self._ignore(known)
        elif not known.size:
            known.phase = Phase.EMPTY
            self._reading.release(known)
        else:
            known.phase = Phase.NEW if known.phase is not Phase.HELD else Phase.HELD
            self._examiner.add(known, urgent=urgent)

    def _ignore(self, known: Known) -> None:
        known.phase = Phase.IGNORED
        self._reading.close(known)
        self._reading.release(known)

    def _gone(self, known: Known | None) -> None:
        """A file is not in the glob any more: renamed, moved, or deleted."""
        if known is None or known.outside:
            return
        self._table.leave(known)
        self._later.discard(known)
        stream = known.stream
        if stream is None and known.phase not in (Phase.NEW, Phase.EMPTY):
            self._drop(known)
        elif stream is not None and stream.ended and known.handle is None:
            pass
        elif known.handle is not None:
            known.rotated = True
            self._reading.turns.add(known)
        else:
            self._seek(known)

    def _seek(self, known: Known) -> None:
        """Look where a file went."""
        if not known.sought and known.home not in self._listings:
            known.sought = True
            self._list(known.home, known, known.stream.mtime_s if known.stream is not None else self._since(known.home))

    def _drop(self, known: Known) -> None:
        self._reading.close(known)
        self._reading.release(known)
        self._table.forget(known)
        self._later.discard(known)

    # --- Rotation ---

    def _rotated(self, path: str, last: Known, mtime_s: float) -> None:
        """Another file lies at `path` than `last`: read that to its end, and find what came between."""
        if last.path == path or last.stream is not None:
            last.rotated = last.sought = True
        if last.phase is Phase.ACTIVE:
            self._examiner.add(last, urgent=True)
        self._list(path, last, mtime_s)

    def _since(self, home: str) -> float:
        """What changed later than this beside a live path came after the last file there; without one, after the last scan."""
        latest = self._table.latest.get(home)
        return self._last_scan_s if latest is None else latest.mtime_s

    def _list(self, path: str, last: Known | None, mtime_s: float) -> None:
        if path not in self._listings:
            self._listings[path] = (last, mtime_s)
            self._out.append(ListSiblings(path))
        else:
            other, since_s = self._listings[path]
            self._listings[path] = (other or last, min(since_s, mtime_s))

    def _follow(self, first: Known, second: Known) -> None:
        """Read `second` only when `first` was read to its end."""
        waits = first.queued or first.phase in (Phase.NEW, Phase.ACTIVE)
        done = not waits or (first.stream is not None and first.stream.ended)
        before: Known | None = first
        while before is not None and before is not second:
            before = before.after
        if second.after is None and before is None and not done:
            second.after = first
            first.followers = [*(first.followers or ()), second]
            if first.phase is Phase.ACTIVE:
                self._reading.turns.add(first)

    def _siblings_listed(self, event: SiblingsListed) -> None:
        """Take what lies beside a path: the file that lay there, and what came after it."""
        last, since_s = self._listings.pop(event.path, (None, float("inf")))
        chain: list[Known] = []
        seen = {(entry.dev, entry.ino) for entry in event.entries}
        self._moved_beside(event.entries)
        for entry in sorted(event.entries, key=lambda entry: entry.mtime_s):
            known = self._sibling(event.path, entry, since_s)
            unread = known is not None and (known.queued or (known.stream is not None and not known.stream.next_offset))
            if known is not None and unread and known is not last and known.path != event.path and entry.mtime_s >= since_s:
                chain.append(known)
        self._chain(last, chain, self._table.paths.get(event.path))
        if last is not None and last.key not in seen:
            self._not_found(last)
        name = split(event.path)[1]
        for known in self._table.found_beside(event.path):
            if known.key not in seen and known is not last and is_related(name, split(known.path)[1]):
                self._not_found(known)

    def _moved_beside(self, entries: Sequence[Entry]) -> None:
        """Take over the new names of known files; one that still has its name keeps it, whatever others it has."""
        files, listed = self._table.files, self._table.listed
        moved: dict[tuple[int, int], str] = {}
        for entry in entries:
            moved.setdefault((entry.dev, entry.ino), entry.path)
        for entry in entries:
            known = files.get((entry.dev, entry.ino))
            if known is not None and known.path == entry.path:
                moved.pop(known.key, None)
        for key, path in moved.items():
            known = files.get(key)
            if known is not None:
                self._move(known, path, outside=key not in listed)

    def _sibling(self, path: str, entry: Entry, since_s: float) -> Known | None:
        """Take one sibling of `path`. Returns it if it is known now."""
        table, name = self._table, split(entry.path)[1]
        known = table.files.get((entry.dev, entry.ino))
        if known is None and entry.path == path and since_s < float("inf"):
            self._arrived(entry)
            return table.files.get((entry.dev, entry.ino))
        if known is None:
            wanted = is_rotated(split(path)[1], name) and entry.mtime_s >= since_s
            if not entry.size or is_compressed(name) or not (wanted or table.orphans):
                return None
            known = table.add(entry, outside=True)
            known.mintable, known.rotated, known.home = wanted, True, path
            known.sought = True
            self._examiner.add(known, urgent=known.key in table.orphans_by_key)
            return known
        if known.stream is None and entry.mtime_s >= since_s:
            known.mintable |= is_rotated(split(path)[1], name)
        known.sought = known.sought or known.key not in table.listed
        if known.phase is Phase.NEW or (known.phase is Phase.HELD and table.orphans):
            self._examiner.add(known, urgent=known.phase is Phase.HELD)
        elif (known.phase is Phase.EMPTY and entry.size) or (known.outside and (entry.size != known.size or entry.mtime_s != known.mtime_s)):
            self._changed(known, entry)
        return known

    def _chain(self, last: Known | None, between: list[Known], live: Known | None) -> None:
        """Have them read one after the other."""
        found = [last] if last is not None else []
        found += between
        if live is not None and live is not last:
            found.append(live)
        for first, second in pairwise(found):
            if second is live and second.after is not None and first is not last:
                self._unfollow(second)
            self._follow(first, second)

    def _unfollow(self, known: Known) -> None:
        first, known.after = known.after, None
        if first is not None and first.followers:
            first.followers.remove(known)

    def _not_found(self, known: Known) -> None:
        """It has no name any more that is known."""
        if known.key in self._table.listed:
            return
        if known.handle is not None:
            if known.phase is Phase.ACTIVE:
                self._reading.turns.add(known)
            return
        stream = known.stream
        if stream is None and known.phase is Phase.NEW and known.mintable and known.size:
            self._out.append(Note("missed", known.path, {"bytes": known.size}))
        if stream is not None and not stream.ended:
            self._lose(known, "vanished")
            self._sought.add(stream.id)
        self._drop(known)

    # --- Examinations ---

    def _answered(self, event: Opened | OpenFailed | Got | ReadFailed) -> None:
        """An `Open` or `Read` is done: of the examination under way, or of the file that is being read."""
        self._asked = False
        if isinstance(event, Opened):
            self._reading.opened()
        if self._examiner.known is not None:
            outcome = self._examiner.answer(event)
            if isinstance(outcome, Finding):
                self._find(outcome)
            else:
                self._out.append(outcome)
                self._asked = True
        elif isinstance(event, ReadFailed):
            self._reading.read_failed(event, self._now)
        elif isinstance(event, Got):
            known = self._reading.current
            if known is None:
                return
            changed = self._reading.got(event, self._now)
            if changed is not None:
                self._replaced(changed, "truncated")
            elif known.outside and not known.sought and not known.deleted:
                self._seek(known)

    def _find(self, finding: Finding) -> None:
        """Act on what an examination found."""
        known, stream, reading = finding.known, finding.stream, self._reading
        match finding.verdict:
            case Verdict.SAME:
                self._same(known)
            case Verdict.REPLACED:
                self._replaced(known, "replaced")
            case Verdict.RESUMED if stream is not None:
                self._found_again(known, stream, finding.head)
            case Verdict.COPY | Verdict.COVERED:
                known.phase = Phase.HELD
                known.copied = finding.other.stream if finding.other is not None else known.copied
                self._out.append(Note("copy", known.path, {"held": finding.verdict is Verdict.COPY}))
                if finding.verdict is Verdict.COVERED:
                    self._remember(known, finding.head)
                reading.close(known)
                reading.release(known)
            case Verdict.NEW:
                self._mint_stream(finding)
            case Verdict.EMPTY:
                known.phase = Phase.EMPTY
                reading.close(known)
                reading.release(known)
            case Verdict.LATER:
                if finding.other is not None and finding.other.stream is not None:
                    self._examiner.add(finding.other, urgent=True)
                self._later.add(known)
                self._scan_soon()
            case _:
                self._failed(finding)

    def _same(self, known: Known) -> None:
        stream = known.stream
        assert stream is not None
        known.backoff_s = 0.0
        stream.size, stream.mtime_s, stream.state = max(stream.size, known.size), known.mtime_s, None
        if stream.ended and stream.position < known.size:
            stream.ended, stream.state = False, None
            self._out.append(Began(stream.snapshot(stream.settled), minted=False))
        if stream.ended:
            self._reading.close(known)
        else:
            self._reading.turns.add(known)

    def _replaced(self, known: Known, cause: str) -> None:
        """The file does not show its stream's bytes any more."""
        self._out.append(Note(cause, known.path, {"bytes": known.size}))
        stream = known.stream
        if stream is not None:
            since_s = stream.mtime_s
            if stream.ended:
                known.stream = None
                self._table.streams.pop(stream.id, None)
            else:
                self._lose(known, cause)
                self._sought.add(stream.id)
                self._list(known.home, None, since_s)
        known.phase, known.begin, known.copied = Phase.NEW, 0, None
        known.rotated = known.final = False
        self._reading.timers.disarm("grace", known)
        self._examiner.add(known)

    def _lose(self, known: Known, cause: str) -> None:
        """Take the stream from its file."""
        stream = known.stream
        assert stream is not None
        known.stream = None
        self._table.orphan(stream, cause)

    def _found_again(self, known: Known, stream: Stream, head: bytes) -> None:
        """A stream without a file is found in this one."""
        table, reading = self._table, self._reading
        last_path, home, since_s = stream.path, stream.home, stream.mtime_s
        cause = table.adopt(stream)
        self._sought.discard(stream.id)
        stream.print = Fingerprint(head)
        resumed = cause == "vanished"
        known.copied = None
        known.home = home if known.path != home else known.path
        table.bind(known, stream)
        stream.size, stream.mtime_s = known.size, known.mtime_s
        self._out.append(Note("resumed" if resumed else "copy", known.path, {"offset": stream.next_offset}))
        if stream.ended and stream.position >= known.size:
            reading.close(known)
            reading.release(known)
            return
        stream.ended = False
        if not stream.begun:
            stream.begun = True
            self._out.append(Began(stream.snapshot(stream.settled), minted=False))
        if last_path != known.path:
            known.rotated |= known.outside or not resumed or is_rotated(split(last_path)[1], split(known.path)[1])
            known.final = not resumed
            live = table.paths.get(home)
            if resumed and known.path != home:
                self._list(home, known, since_s)
            if live is not None and live.stream is None:
                self._follow(known, live)
        reading.turns.add(known)

    def _remember(self, known: Known, head: bytes) -> None:
        """Give a copy, all of which was read in its original, a stream that has ended, so that a restart knows it."""
        stream = Stream(self._mint(), known.path, known.key, known.size, self._wall_s + self._now)
        stream.print, stream.size, stream.mtime_s = Fingerprint(head), known.size, known.mtime_s
        stream.ended, stream.home = True, known.home
        self._table.bind(known, stream)

    def _mint_stream(self, finding: Finding) -> None:
        """A new file: give it an identity."""
        known = finding.known
        if not known.mintable:
            self._drop(known)
            return
        begin = min(known.begin, known.size)
        stream = Stream(self._mint(), known.path, known.key, begin, self._wall_s + self._now)
        stream.print, stream.first_end = Fingerprint(finding.head), finding.proof
        stream.size, stream.mtime_s, stream.begun = known.size, known.mtime_s, True
        self._table.bind(known, stream)
        self._out.append(Began(stream.snapshot(begin), minted=True))
        self._reading.turns.add(known)

    def _failed(self, finding: Finding) -> None:
        """A file could not be opened or read: the name is stale, handles are short, or it may not be."""
        known, errno, reading = finding.known, finding.errno, self._reading
        if errno in (ENOENT, ESTALE):
            reading.close(known)
            if known.outside:
                self._list(known.home, known, known.stream.mtime_s if known.stream is not None else self._since(known.home))
                return
            self._later.add(known)
            self._scan_soon()
            return
        if errno in (EMFILE, ENFILE):
            closed = reading.shed()
            self._out.append(Note("handles", known.path, {"errno": errno, "closed": closed}))
        reading.hold_off(known, errno, self._now, finding.reason)

    # --- What to do next ---

    def _next(self) -> Sequence[Command]:
        """Ask for one more thing, if none is outstanding; return all commands."""
        if not self._asked and not self._listings:
            self._ask()
        out, self._out[:] = self._out[:], []
        return out

    def _ask(self) -> None:
        examiner, reading, orphans = self._examiner, self._reading, self._table.orphans
        if orphans and not examiner and self._whole and not self._later:
            self._give_up()
            if self._listings:
                return
        question: Command | None = None
        if not self._examined_last or orphans:
            question = examiner.start(reading.current)
        self._examined_last = question is not None
        if question is None and not (orphans and examiner):
            question = reading.start()
        if question is None:
            question = examiner.start(reading.current)
        if question is not None:
            self._asked = True
            self._out.append(question)
        elif self._is_drained():
            self._drained = True
            self._out.append(Drained())

    def _give_up(self) -> None:
        """Everybody was examined: list the siblings of orphans that were not looked for yet, give up the others."""
        table = self._table
        for stream, cause, _ in tuple(table.orphans.values()):
            if self._is_held_off(stream):
                continue
            if stream.id not in self._sought:
                self._search(stream)
            elif stream.ended:
                table.adopt(stream)
                self._sought.discard(stream.id)
            else:
                table.adopt(stream)
                self._sought.discard(stream.id)
                self._abandon(stream, cause)

    def _search(self, stream: Stream) -> None:
        """Look for an orphan among its siblings."""
        self._sought.add(stream.id)
        self._list(family(stream.path), None, float("inf"))
        if not stream.ended:
            self._list(stream.home, self._table.files.get(stream.key), stream.mtime_s)

    def _search_since_last_run(self) -> None:
        """Look for files that came after the last one that the checkpoint knows of a name, and were rotated away too."""
        for home, stream in self._table.latest.items():
            last = self._table.listed_at(home)
            if last is None or last not in self._table.orphans_by_key:
                self._list(home, None, stream.mtime_s)

    def _is_held_off(self, stream: Stream) -> bool:
        known = self._table.files.get(stream.key)
        return known is not None and known.stream is None and (self._reading.timers.armed("retry", known) or known in self._later)

    def _abandon(self, stream: Stream, cause: str) -> None:
        """Nobody can give the rest of a stream."""
        missing = max(0, stream.size - stream.next_offset)
        if missing:
            self._out.append(Lost(stream.id, missing, cause))
        self._out.append(Note("lost" if missing else "ended", stream.path, {"bytes": missing, "cause": cause}))
        stream.ended, stream.state, stream.size = True, None, stream.next_offset
        self._out.append(Ended(stream.id, cause))

    def _is_drained(self) -> bool:
        if self._drained or not self._reading.draining or self._scans < self._drain_scan or self._scanning:
            return False
        return not (self._examiner or self._reading.turns or self._reading.current)
