"""Whose turn it is: files with bytes to read, live ones before backlog, and timers.

RULES
- Live files are served round robin, and before rotated ones; a rotated file has at least every fourth turn, so none starves.
- A timer is known by (what, whom); arming it again moves it.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shipper.source.known import Known

Subject = TypeVar("Subject")
_LIVE_TURNS = 3


class Turns:
    """Files that wait to be read."""

    __slots__ = ("_backlog", "_live", "_served")

    def __init__(self) -> None:
        """Nobody waits."""
        self._live: deque[Known] = deque()
        self._backlog: deque[Known] = deque()
        self._served = 0

    def add(self, known: Known) -> None:
        """Let it wait for a turn, unless it does."""
        if not known.ready:
            known.ready = True
            (self._backlog if known.rotated else self._live).append(known)

    def next(self) -> Known | None:
        """Take the next one."""
        live_first = self._served < _LIVE_TURNS or not self._backlog
        queue = self._live if self._live and live_first else self._backlog
        if not queue:
            return None
        self._served = self._served + 1 if queue is self._live else 0
        known = queue.popleft()
        known.ready = False
        return known

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self._live or self._backlog)


class Timers(Generic[Subject]):
    """Deadlines, each for a purpose and a subject."""

    __slots__ = ("_armed", "_heap", "_order")

    def __init__(self) -> None:
        """None is armed."""
        self._heap: list[tuple[float, int, str, Subject]] = []
        self._armed: dict[tuple[str, Subject], float] = {}
        self._order = count()

    def arm(self, purpose: str, subject: Subject, at: float) -> None:
        """Fire at `at` instead of whenever it was armed for."""
        if self._armed.get((purpose, subject)) != at:
            self._armed[purpose, subject] = at
            heappush(self._heap, (at, next(self._order), purpose, subject))

    def armed(self, purpose: str, subject: Subject) -> bool:
        """Whether it will fire."""
        return (purpose, subject) in self._armed

    def disarm(self, purpose: str, subject: Subject) -> None:
        """Do not fire."""
        self._armed.pop((purpose, subject), None)

    def deadline(self) -> float | None:
        """When the next one fires."""
        while self._heap:
            at, _, purpose, subject = self._heap[0]
            if self._armed.get((purpose, subject)) == at:
                return at
            heappop(self._heap)
        return None

    def due(self, now: float) -> Iterator[tuple[str, Subject]]:
        """Take out those that fire at `now`, in order."""
        while (at := self.deadline()) is not None and at <= now:
            _, _, purpose, subject = heappop(self._heap)
            del self._armed[purpose, subject]
            yield purpose, subject
