"""Screen: the scan over the whole block that says where to look; the contract of its engines. The exact check decides.

RULES
- An engine reports (end, number) for matches of each screen pattern. Every exact match must contain such an end; an engine may
  report more, or fewer where matches of one pattern overlap. It must never miss a pattern: no limit may make it give up silently.
- Guards are patterns that only answer whether they fired anywhere in the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

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
