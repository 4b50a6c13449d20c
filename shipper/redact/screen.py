"""Screen: the scan over the whole block that says where to look. Two engines, one answer: the exact check decides.

RULES
- An engine reports (end, number) for matches of each screen pattern. Every exact match must contain such an end; an engine may
  report more, or fewer where matches of one pattern overlap. It must never miss a pattern: no limit may make it give up silently.
- Guards are patterns that only answer whether they fired anywhere in the block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Protocol

ENGINES = ("hyperscan", "re2")
HITS_MAX = 1 << 16
"""Hits of one scan; a block that has more is an attack on memory, and is searched row by row without a screen."""

Hits = list[tuple[int, int]]
Patterns = Sequence[tuple[int, bytes]]


class DatabaseCache(Protocol):
    """Where compiled databases are kept between runs.

    Only the agent's own state directory may be behind it. A checksum guards what it gives against damage, not against an attacker
    who can write there.
    """

    def get(self, key: str) -> bytes | None:
        """What was put under `key`, or None."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`. May do nothing."""
        ...


class TooManyHitsError(Exception):
    """A scan found more than `HITS_MAX` hits."""


class ScreenError(Exception):
    """A pattern an engine cannot take. `number` is its position in the list."""

    def __init__(self, number: int) -> None:
        """Take the position of the pattern."""
        super().__init__(f"pattern {number} cannot be compiled")
        self.number = number


class Screen(Protocol):
    """A compiled set of screen patterns and guards."""

    def scan(self, block: bytes) -> tuple[Hits, frozenset[str]]:
        """Return (hits in order of their end, names of guards that fired). Raises TooManyHitsError."""
        ...


def choose_engine(wanted: str | None) -> str:
    """The engine to use: the wanted one, or hyperscan; re2 where Hyperscan cannot be imported.

    Raises ValueError for a name that is neither.
    """
    if wanted and wanted not in ENGINES:
        raise ValueError(f"expected one of {', '.join(ENGINES)}, got {wanted!r}")
    if wanted == "re2":
        return "re2"
    try:
        import_module("hyperscan")
    except ImportError:
        return "re2"
    return "hyperscan"


def make_screen(engine: str, lanes: Sequence[Patterns], guards: Mapping[str, bytes], cache: DatabaseCache | None) -> Screen:
    """Compile (number, pattern) pairs; each lane is a database of its own, the first one also has the guards.

    Raises ScreenError for a pattern the engine refuses.
    """
    if engine == "hyperscan":
        from shipper.redact.screen_hyperscan import HyperscanScreen

        return HyperscanScreen(lanes, guards, cache)
    from shipper.redact.screen_re2 import Re2Screen

    return Re2Screen([pair for lane in lanes for pair in lane], guards)
