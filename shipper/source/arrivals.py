"""Arrivals: files that are new, moved or changed, and whether they are to be examined."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipper.source.events import Entry, Note
from shipper.source.known import Known, Phase
from shipper.source.names import family, is_packed, is_temporary, is_unreadable

if TYPE_CHECKING:
    from shipper.source.searches import Searches
    from shipper.source.situation import Situation


class Arrivals:
    """Takes what listings show of single files."""

    __slots__ = ("_searches", "_situation")

    def __init__(self, situation: Situation, searches: Searches) -> None:
        """Take what is shared."""
        self._situation, self._searches = situation, searches

    def arrived(self, entry: Entry) -> Known:
        """An inode nobody knows lies under a name of the glob."""
        situation, table = self._situation, self._situation.table
        last = table.paths.get(entry.path)
        known = table.add(entry)
        origin = family(entry.path)
        if table.paths.get(origin, known) is not known:
            known.rotated, known.home = True, origin
        elif last is not None:
            self._searches.rotated(entry.path, last)
            self._searches.follow(last, known)
        elif situation.whole:
            self._searches.list(entry.path, None, self._searches.since(entry.path))
        if situation.fresh and situation.config.start == "end":
            known.begin = entry.size
        self._consider(known)
        return known

    def moved(self, known: Known, path: str, *, outside: bool) -> None:
        """A file has another name."""
        situation, stream = self._situation, known.stream
        if path != known.path:
            situation.say(Note("renamed", path, {"from": known.path}))
        known.deleted = False
        was_temporary = is_temporary(known.path)
        last = situation.table.paths.get(path)
        if is_packed(path) != known.packed:
            situation.reading.close(known)
        situation.table.move(known, path, outside=outside)
        known.mintable = known.mintable or not outside
        if stream is None and last is not None and last is not known and not outside:
            self._searches.rotated(path, last)
            self._searches.follow(last, known)
        if path == known.home and not outside and known.rotated:
            known.rotated = known.final = False
            situation.reading.timers.disarm("grace", known)
        if was_temporary and stream is None and known.phase is Phase.IGNORED:
            self._consider(known)
        if stream is not None and not stream.ended:
            if known.handle is None:
                situation.examiner.add(known)
            situation.reading.turns.add(known)

    def changed(self, known: Known, entry: Entry) -> None:
        """A file has another size or time of change than before."""
        situation, stream = self._situation, known.stream
        if entry.size != known.disk_size or entry.mtime_s != known.mtime_s:
            known.copied = None
        known.disk_size, known.mtime_s = entry.size, entry.mtime_s
        if not known.packed or stream is None:
            known.size = entry.size
        if stream is None:
            if known.phase is Phase.EMPTY and entry.size:
                self._searches.list(known.home, None, self._searches.since(known.home))
            if known.phase is not Phase.EMPTY or entry.size:
                self._consider(known)
        elif stream.ended or situation.reading.paused:
            situation.examiner.add(known)
        else:
            situation.reading.turns.add(known)

    def _consider(self, known: Known) -> None:
        """Examine a file without a stream, unless it is not to be read."""
        situation = self._situation
        urgent = known.key in situation.table.orphans_by_key
        older = situation.config.ignore_older
        temporary = is_temporary(known.path) and known.path not in situation.config.include
        if temporary or is_unreadable(known.path):
            if known.phase is not Phase.IGNORED and not temporary:
                situation.say(Note("compressed", known.path, {}))
            known.phase = Phase.IGNORED
            situation.set_aside(known)
        elif older is not None and not urgent and known.mtime_s < situation.wall_s() - older:
            known.phase = Phase.IGNORED
            situation.set_aside(known)
        elif not known.size:
            known.phase = Phase.EMPTY
            situation.reading.release(known)
        else:
            known.phase = Phase.HELD if known.phase is Phase.HELD else Phase.NEW
            situation.examiner.add(known, urgent=urgent)
