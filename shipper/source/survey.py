"""Survey: a scan compared with the one before. Who moved, who changed, who is new, who is gone.

It costs one dictionary lookup a file where nothing happened. Files with several names are taken under the one they had.
"""

from __future__ import annotations

from operator import is_
from typing import TYPE_CHECKING

from shipper.source.events import Entry, Listed, Note
from shipper.source.known import Key, Known, Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shipper.source.arrivals import Arrivals
    from shipper.source.searches import Searches
    from shipper.source.situation import Situation


class Survey:
    """Takes scans."""

    __slots__ = ("_arrivals", "_last", "_refused", "_searches", "_situation")

    def __init__(self, situation: Situation, searches: Searches, arrivals: Arrivals) -> None:
        """No scan was seen yet."""
        self._situation, self._searches, self._arrivals = situation, searches, arrivals
        self._refused: set[str] = set()
        self._last: Sequence[Entry] = ()

    def listed(self, event: Listed) -> None:
        """Take a scan."""
        situation, table = self._situation, self._situation.table
        situation.wall_base_s = event.wall_s - situation.now
        if self._is_unchanged(event):
            situation.last_scan_s = event.wall_s
            self._searches.list_again()
            return
        before, fresh = table.listed, dict[Key, Entry]()
        elsewhere, changed = self._compare(event, fresh)
        arrived = self._moved(elsewhere, fresh)
        table.listed = fresh if event.complete else {**before, **fresh}
        for entry in changed:
            known = table.files.get((entry.dev, entry.ino))
            if known is None:
                arrived.append(entry)
                continue
            if known.path == entry.path and table.paths.get(entry.path) is not known:
                self._arrivals.moved(known, entry.path, outside=False)
            self._arrivals.changed(known, entry)
        for entry in arrived:
            self._arrivals.arrived(entry)
        if event.complete:
            for key in before.keys() - fresh.keys():
                self._gone(table.files.get(key))
        self._look_again(fresh)
        for known in table.surplus():
            situation.drop(known, for_good=True)
        if event.complete and not situation.whole:
            self._searches.after_restart()
            situation.whole, situation.fresh = True, False
        self._refuse(event)
        situation.last_scan_s = event.wall_s

    def _is_unchanged(self, event: Listed) -> bool:
        """Whether the same entries came as last time; edges that hand in the same objects make this cheap."""
        last, self._last = self._last, event.entries
        if self._situation.dropped:
            self._situation.dropped = False
            return False
        if not event.complete or not self._situation.whole or self._situation.later or event.refused:
            return False
        return last is event.entries or (len(last) == len(event.entries) and all(map(is_, last, event.entries)))

    def _compare(self, event: Listed, fresh: dict[Key, Entry]) -> tuple[list[Entry], list[Entry]]:
        """Fill `fresh` with what lies where it lay; return what does not, and of the former what changed."""
        before = self._situation.table.listed
        elsewhere, changed = [], []
        for entry in event.entries:
            key = (entry.dev, entry.ino)
            old = before.get(key)
            if old is not None and old.path == entry.path:
                fresh[key] = entry
                if old.mtime_s != entry.mtime_s or old.size != entry.size:
                    changed.append(entry)
            else:
                elsewhere.append(entry)
        return elsewhere, changed

    def _moved(self, elsewhere: list[Entry], fresh: dict[Key, Entry]) -> list[Entry]:
        """Take over new names, and add them to `fresh`. Returns the files that nobody knows."""
        arrived = []
        for entry in elsewhere:
            key = (entry.dev, entry.ino)
            if key in fresh:
                continue
            fresh[key] = entry
            known = self._situation.table.files.get(key)
            if known is None:
                arrived.append(entry)
                continue
            if known.path != entry.path or known.outside:
                self._arrivals.moved(known, entry.path, outside=False)
            self._arrivals.changed(known, entry)
        return arrived

    def _gone(self, known: Known | None) -> None:
        """A file is not in the glob any more: renamed, moved, or deleted."""
        if known is None or known.outside:
            return
        situation, stream = self._situation, known.stream
        situation.table.leave(known)
        if stream is None and known.phase not in (Phase.NEW, Phase.EMPTY):
            situation.drop(known)
        elif known.handle is not None:
            known.rotated = True
            situation.reading.turns.add(known)
            if situation.reading.paused:
                situation.examiner.add(known)
        elif stream is None or not stream.ended:
            self._searches.seek(known)

    def _look_again(self, fresh: dict[Key, Entry]) -> None:
        """Take those that were left for this scan, and list again what was listed since the last one."""
        self._searches.list_again()
        later, self._situation.later = self._situation.later, set()
        for known in later:
            if known.key in fresh:
                known.absent = 0
                self._situation.examiner.add(known)
            else:
                self._searches.list(known.home, known, self._searches.since(known.home, known))

    def _refuse(self, event: Listed) -> None:
        """Say once what the edge will not open."""
        for item in event.refused:
            if item.path not in self._refused:
                self._situation.say(Note("refused", item.path, {"reason": item.reason}))
        self._refused = {item.path for item in event.refused}
