"""RE2 engine, for machines without Hyperscan: linear time, pure wheels on every platform, some 20 times as slow.

RULES
- One RE2 set tells which patterns fired in the block; each of those is then searched alone.
- A set answers with nothing when its automaton runs out of memory. One more pattern, which every block holds, proves that it
  did not; without that proof every pattern is searched alone.
- Overlapping matches of one pattern are found too: the search goes on one byte behind the last match's start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import re2

from shipper.redact.screen import HITS_MAX, Hits, Patterns, ScreenError, TooManyHitsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_MEMORY_BYTES = 64 << 20


def _options() -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    options.never_capture = True
    options.max_mem = _MEMORY_BYTES
    return options


class Re2Screen:
    """All patterns as one set, and each alone."""

    def __init__(self, patterns: Patterns, guards: Mapping[str, bytes]) -> None:
        """Compile. Raises ScreenError for a pattern RE2 refuses."""
        self._guards = list(guards)
        self._numbers = [number for number, _ in patterns]
        self._alone: list[Any] = []
        self._set = re2.Set.SearchSet(_options())
        for number, pattern in [*patterns, *((-1, guard) for guard in guards.values())]:
            try:
                self._alone.append(re2.compile(pattern, _options()))
                self._set.Add(pattern)
            except re2.error:
                raise ScreenError(number) from None
        self._proof = self._set.Add(rb"(?s).")
        self._set.Compile()

    def scan(self, block: bytes) -> tuple[Hits, frozenset[str]]:
        """See `Screen.scan`."""
        fired = set(self._set.Match(block))
        if self._proof not in fired:
            fired = set(range(len(self._alone)))
        hits: Hits = []
        for index, number in enumerate(self._numbers):
            if index in fired:
                hits.extend(_ends(self._alone[index], block, number, HITS_MAX - len(hits)))
        hits.sort()
        return hits, frozenset(self._fired_guards(fired, block))

    def _fired_guards(self, fired: set[int], block: bytes) -> list[str]:
        first = len(self._numbers)
        return [name for at, name in enumerate(self._guards) if first + at in fired and self._alone[first + at].search(block)]


def _ends(pattern: Any, block: bytes, number: int, room: int) -> Hits:
    """Ends of all matches of `pattern`, one for each place where a match starts."""
    hits: Hits = []
    found = pattern.search(block)
    while found:
        hits.append((found.end(), number))
        if len(hits) > room:
            raise TooManyHitsError
        found = pattern.search(block, found.start() + 1)
    return hits
