"""Searches: looking beside a path for what was rotated away or copied, and giving up what is not found.

RULES
- A path's siblings are listed when another file lies there than before, when a file is not where it was, when a stream lost its
  file, and after a restart. While a listing is outstanding nothing is examined or read.
- Of siblings nobody knows, those count as later that changed at or after the last change seen of the file before them.
- A stream without a file is given up when its siblings were listed, with two scans, and everybody was examined; what was seen of
  it and not read is lost, with its bytes.
- A file waits for those before it: the one that lay at its path, then what came between, in order of their last change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipper.source.events import Ended, ListSiblings, Lost, Note
from shipper.source.known import Known, Phase, Stream
from shipper.source.names import family

if TYPE_CHECKING:
    from shipper.source.situation import Situation

NEVER = float("inf")
PATIENCE_S = 60.0
"""A file that can not be opened holds up the search for others until its tries are so far apart."""
ABSENCES = 2
"""Listings in a row that must not show something for it to be gone."""


class Searches:
    """Listings that are outstanding, and the streams they are for."""

    __slots__ = ("_confirmed", "_situation", "_sought", "_unconfirmed", "listings")

    def __init__(self, situation: Situation) -> None:
        """Nothing is sought."""
        self._situation = situation
        self.listings: dict[str, tuple[Known | None, float]] = {}
        """By path: the file that lay there, and since when siblings count as later (`NEVER`: none of them)."""
        self._unconfirmed: dict[str, float] = {}
        """Paths whose siblings are listed once more with the next scan, and since when these count as later."""
        self._confirmed: set[str] = set()
        """Paths whose outstanding listing is that second one."""
        self._sought: dict[str, tuple[int, int]] = {}
        """How often the siblings of an orphan were listed, and after which scan last."""

    def list(self, path: str, last: Known | None, since_s: float) -> None:
        """List the siblings of `path`, unless that is under way."""
        if path not in self.listings:
            self.listings[path] = (last, since_s)
            self._situation.say(ListSiblings(path))
        else:
            other, other_s = self.listings[path]
            self.listings[path] = (other or last, min(since_s, other_s))

    def confirm(self, path: str, since_s: float) -> None:
        """A listing was taken; have it repeated with the next scan, unless it is the repetition."""
        if path in self._confirmed:
            self._confirmed.discard(path)
        elif since_s < NEVER:
            self._unconfirmed[path] = min(since_s, self._unconfirmed.get(path, NEVER))

    def list_again(self) -> None:
        """Repeat the listings taken since the last scan: what they missed is found now."""
        unconfirmed, self._unconfirmed = self._unconfirmed, {}
        for path, since_s in unconfirmed.items():
            if path not in self.listings:
                self._confirmed.add(path)
            self.list(path, None, since_s)

    def since(self, home: str, known: Known | None = None) -> float:
        """When the last file at a live path was last seen to change; of a path nobody knows, when the last scan was."""
        stream = known.stream if known is not None and known.stream is not None else self._situation.table.latest.get(home)
        return self._situation.last_scan_s if stream is None else stream.mtime_s

    def seek(self, known: Known) -> None:
        """Look where a file went; once."""
        if not known.sought and known.home not in self.listings:
            known.sought = True
            self.list(known.home, known, self.since(known.home, known))

    def rotated(self, path: str, last: Known) -> None:
        """Another file lies at `path` than `last`: read that to its end, and find what came between."""
        situation = self._situation
        if last.path == path or last.stream is not None:
            last.rotated = last.sought = True
        if last.phase is Phase.ACTIVE:
            situation.examiner.add(last, urgent=True)
        self.list(path, last, self.since(path, last))

    def follow(self, first: Known, second: Known) -> None:
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
                self._situation.reading.turns.add(first)

    def lose(self, known: Known, cause: str) -> None:
        """Take the stream from a file that does not show it any more, or is gone; its siblings are listed by the caller."""
        stream = known.stream
        assert stream is not None
        known.stream = None
        self._situation.table.orphan(stream, cause)
        if stream.twin is not None:
            self._situation.examiner.add(stream.twin, urgent=True)
        self._sought[stream.id] = (1, self._situation.scans)

    def adopt(self, stream: Stream) -> str:
        """An orphan is one no more. Returns what had made it one."""
        self._sought.pop(stream.id, None)
        return self._situation.table.adopt(stream)

    def after_restart(self) -> None:
        """Look for streams that the first scan did not show, and for files that came after them and were rotated away too."""
        table = self._situation.table
        for stream, _, _ in table.orphans.values():
            if stream.key not in table.listed:
                self._search(stream)
        for home, stream in table.latest.items():
            last = table.listed_at(home)
            if last is None or last not in table.orphans_by_key or stream.mtime_s < table.listed[last].mtime_s:
                self.list(home, None, stream.mtime_s)

    def give_up(self) -> None:
        """Everybody was examined: list the siblings of orphans that were not looked for yet, give up the others."""
        for stream, cause, _ in tuple(self._situation.table.orphans.values()):
            if self._is_held_off(stream):
                continue
            times, scan = self._sought.get(stream.id, (0, -1))
            if times < ABSENCES and scan < self._situation.scans:
                self._search(stream)
            elif times < ABSENCES:
                self._situation.hurry = True
            else:
                self.adopt(stream)
                if not stream.ended:
                    self._abandon(stream, cause)

    def _search(self, stream: Stream) -> None:
        self._sought[stream.id] = (self._sought.get(stream.id, (0, 0))[0] + 1, self._situation.scans)
        self.list(family(stream.path), None, NEVER)
        if not stream.ended:
            known = self._situation.table.files.get(stream.key)
            self.list(stream.home, known if known is not None and known.path != stream.home else None, stream.mtime_s)

    def is_done(self) -> bool:
        """Whether no stream is sought but those whose files cannot be opened for now."""
        return all(self._is_held_off(stream) for stream, _, _ in self._situation.table.orphans.values())

    def _is_held_off(self, stream: Stream) -> bool:
        """Whether its file, or one that may be it, is there and cannot be opened for now, for a minute at most."""
        for other in self._situation.blocked:
            if other.backoff_s < PATIENCE_S and family(other.path) == stream.kin:
                return True
        known = self._situation.table.files.get(stream.key)
        if known is None or known.stream is not None:
            return False
        return known in self._situation.later or self._situation.reading.timers.armed("retry", known)

    def _abandon(self, stream: Stream, cause: str) -> None:
        say, missing = self._situation.say, max(0, stream.size - stream.next_offset)
        if missing:
            say(Lost(stream.id, missing, cause, stream.path))
        say(Note("lost" if missing else "ended", stream.path, {"bytes": missing, "cause": cause}))
        stream.ended, stream.state, stream.size = True, None, stream.next_offset
        say(Ended(stream.id, cause))
