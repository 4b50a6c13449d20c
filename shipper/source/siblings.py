"""Siblings: what lies beside a path. The file that lay there, what came after it, copies of it.

RULES
- Siblings that no glob matches are read only if their name says rotation and they changed after the file before them; others are
  examined only while a stream is sought that they may be.
- The file that lay at the path, the siblings that came after it, and the file that lies there now are read in this order.
- Rotated names that have a date are read in its order, others in the order of their last change, which a compressor may have set
  to a whole second.
- A file without a handle that two listings in a row do not show is gone. One is not enough: while a chain of files is renamed,
  a directory's listing can miss one of them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from shipper.source.events import Entry, Note, SiblingsListed
from shipper.source.known import Key, Known, Phase
from shipper.source.names import day, is_packed, is_related, is_rotated, is_temporary, is_unreadable, split
from shipper.source.searches import ABSENCES, NEVER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shipper.source.arrivals import Arrivals
    from shipper.source.searches import Searches
    from shipper.source.situation import Situation


class Siblings:
    """Takes listings of siblings."""

    __slots__ = ("_arrivals", "_searches", "_situation")

    def __init__(self, situation: Situation, searches: Searches, arrivals: Arrivals) -> None:
        """Take what is shared."""
        self._situation, self._searches, self._arrivals = situation, searches, arrivals

    def listed(self, event: SiblingsListed) -> None:
        """Take one listing."""
        table = self._situation.table
        last, since_s = self._searches.listings.pop(event.path, (None, NEVER))
        self._searches.confirm(event.path, since_s)
        self._take_names(event.entries)
        later: list[Known] = []
        before = set(_line_before(last))
        for entry in _in_order(event):
            known = self._take(event.path, entry, since_s)
            if known is None or known in before or known.path == event.path or not _is_later(entry, since_s):
                continue
            stream = known.stream
            if known.queued or (stream is not None and not (stream.next_offset or stream.unfinished)):
                later.append(known)
        self._chain(last, later, table.paths.get(event.path))
        if not event.complete:
            return
        seen = {(entry.dev, entry.ino) for entry in event.entries}
        if last is not None and last.key not in seen:
            self._not_found(last)
        name = split(event.path)[1]
        for known in table.found_beside(event.path):
            if known.key not in seen and known is not last and is_related(name, split(known.path)[1]):
                self._not_found(known)

    def _take_names(self, entries: Sequence[Entry]) -> None:
        """Take over the new names of known files; one that still has its name keeps it, whatever others it has."""
        table = self._situation.table
        names: dict[Key, str] = {}
        for entry in entries:
            names.setdefault((entry.dev, entry.ino), entry.path)
        for entry in entries:
            known = table.files.get((entry.dev, entry.ino))
            if known is not None and known.path == entry.path:
                names.pop(known.key, None)
        for key, path in names.items():
            known = table.files.get(key)
            if known is not None:
                self._arrivals.moved(known, path, outside=key not in table.listed)

    def _take(self, path: str, entry: Entry, since_s: float) -> Known | None:
        """Take one sibling of `path`. Returns it if it is known now."""
        table, examiner, name = self._situation.table, self._situation.examiner, split(entry.path)[1]
        known = table.files.get((entry.dev, entry.ino))
        later = is_rotated(split(path)[1], name) and _is_later(entry, since_s)
        if known is None:
            if entry.path == path and since_s < NEVER:
                return self._arrivals.arrived(entry)
            return self._stranger(path, entry, later=later)
        if known.stream is None:
            known.mintable = known.mintable or later
        known.sought, known.absent = known.sought or known.key not in table.listed, 0
        differs = entry.size != known.disk_size or entry.mtime_s != known.mtime_s
        if differs:
            known.copied = None
        if known.outside and differs:
            self._arrivals.changed(known, entry)
        elif known.phase is Phase.NEW or (known.phase is Phase.HELD and table.orphans):
            examiner.add(known, urgent=known.phase is Phase.HELD)
        elif known.phase is Phase.EMPTY and entry.size:
            self._arrivals.changed(known, entry)
        elif known.stale:
            examiner.add(known)
        return known

    def _stranger(self, path: str, entry: Entry, *, later: bool) -> Known | None:
        """An inode nobody knows, under a name of no glob."""
        table = self._situation.table
        if not entry.size or is_temporary(entry.path) or is_unreadable(entry.path) or not (later or table.orphans):
            return None
        known = table.add(entry, outside=True)
        known.mintable, known.home = later, path
        known.rotated = known.sought = True
        self._situation.examiner.add(known, urgent=known.key in table.orphans_by_key)
        return known

    def _chain(self, last: Known | None, later: list[Known], live: Known | None) -> None:
        """Have them read one after the other."""
        chain = [last] if last is not None else []
        chain += later
        if live is not None and live is not last:
            chain.append(live)
        for first, second in pairwise(chain):
            if second is live and first is not last and second.after is not None:
                before = second.after
                before.followers = [other for other in before.followers or () if other is not second]
                second.after = None
                if before not in chain:
                    self._searches.follow(before, chain[0])
            self._searches.follow(first, second)

    def _not_found(self, known: Known) -> None:
        """It has no name any more that is known; believed only when a second listing says so."""
        situation, stream = self._situation, known.stream
        if known.key in situation.table.listed:
            return
        if known.handle is not None:
            if stream is not None:
                situation.reading.turns.add(known)
                if situation.reading.paused:  # nor would a read tell that it has no name left, and is held by us alone
                    situation.examiner.add(known)
            elif known.phase is Phase.NEW:
                situation.examiner.add(known)
            return
        known.absent += 1
        if known.absent < ABSENCES:
            situation.later.add(known)
            situation.hurry = True
            return
        if stream is None and known.phase is Phase.NEW and known.mintable and known.size and not self._is_compressed(known):
            situation.say(Note("missed", known.path, {"bytes": known.size}))
        if stream is not None and not stream.ended:
            self._searches.lose(known, "vanished")
        situation.drop(known)

    def _is_compressed(self, known: Known) -> bool:
        """Whether a compressed file lies where it lay."""
        files = self._situation.table.files.values()
        return any(other.packed and other.path.startswith(f"{known.path}.") for other in files)


def _line_before(last: Known | None) -> Iterator[Known]:
    """The file that lay at the path, which may be unread itself, and those it waits for."""
    while last is not None:
        yield last
        last = last.after


def _changed_at(entry: Entry) -> float:
    return entry.mtime_s


def _is_later(entry: Entry, since_s: float) -> bool:
    """Whether it changed since; bzip2 and older compressors set whole seconds."""
    return entry.mtime_s >= (since_s // 1 if is_packed(entry.path) else since_s)


def _in_order(event: SiblingsListed) -> list[Entry]:
    """The entries, oldest first: by the dates in rotated names where all of these have one, else by their last change."""
    found = sorted(event.entries, key=_changed_at)
    name = split(event.path)[1]
    days = {entry.path: day(split(entry.path)[1]) for entry in found if is_rotated(name, split(entry.path)[1])}
    if not days or not all(days.values()):
        return found
    return sorted(found, key=lambda entry: days.get(entry.path) or "~")
