"""Where things stand: what the parts of the tail share. Each part says its commands and leaves the order of work to `Tail`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipper.source.examine import Examiner
from shipper.source.known import Key, Known, Table
from shipper.source.reading import Limits, Reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from shipper.source.events import Command
    from shipper.source.file import File


class Situation:
    """One source: its settings, what is known, what is to be done, and the time."""

    __slots__ = (
        "blocked", "config", "dropped", "examiner", "fresh", "hurry", "last_scan_s", "later", "limits", "mint", "now", "out", "reading", "say", "scans", "table",
        "torn", "wall_base_s", "whole",
    )  # fmt: skip

    def __init__(self, config: File.Config, mint: Callable[[], str], limits: Limits) -> None:
        """Nothing is known yet."""
        self.config, self.mint, self.limits = config, mint, limits
        self.out: list[Command] = []
        self.say = self.out.append
        self.table = Table()
        self.examiner = Examiner(self.table)
        self.reading = Reading(self.table, limits, self.out, self.examiner.add)
        self.now = 0.0
        self.wall_base_s = 0.0
        """Unix seconds at monotonic 0, as the last scan told."""
        self.fresh = False
        """There is no checkpoint and was no scan: `start` counts."""
        self.whole = False
        """There was a complete scan."""
        self.scans = 0
        """Scans so far."""
        self.last_scan_s = 0.0
        """Unix seconds of the last scan."""
        self.hurry = False
        """A scan is wanted soon."""
        self.torn: dict[Key, tuple[int, float]] = {}
        """Compressed files that end too early: their size and since when they have it."""
        self.dropped = False
        """A file was forgotten that the last scan showed."""
        self.blocked: set[Known] = set()
        """Files without a stream, or changed since theirs ended, that cannot be opened or read for now."""
        self.later: set[Known] = set()
        """To be looked at again with the next scan: names were stale, or a listing missed them."""

    def wall_s(self) -> float:
        """Unix seconds."""
        return self.wall_base_s + self.now

    def drop(self, known: Known, *, for_good: bool = False) -> None:
        """Forget a file. If the last scan showed it, it is new to the next one, unless it goes `for_good`."""
        if not for_good and self.table.listed.pop(known.key, None) is not None:
            self.dropped = True
        self.reading.close(known)
        self.reading.release(known)
        self.table.forget(known)
        self.later.discard(known)
        self.torn.pop(known.key, None)
        self.blocked.discard(known)

    def set_aside(self, known: Known) -> None:
        """It is not read for now: close it, and let nobody wait for it."""
        self.reading.close(known)
        self.reading.release(known)
