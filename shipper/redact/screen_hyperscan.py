"""Hyperscan engine: all patterns at once, at 1 to 10 GB/s. Compiled databases are cached, as compiling takes a second.

RULES
- Patterns without a literal to hold on to (digits, mostly) drag a joint database down, so they have one of their own: a lane.
- Guards fire often and are only asked once: SINGLEMATCH. Rules report every match.
- A cached database is taken only if its checksum holds and Hyperscan accepts it (version, CPU, CRC); otherwise it is
  compiled again.
"""

from __future__ import annotations

from hashlib import sha256
from importlib.metadata import version
from typing import TYPE_CHECKING

import hyperscan

from shipper.redact.screen import HITS_MAX, DatabaseCache, Hits, Patterns, ScreenError, TooManyHitsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VERSION = version("hyperscan")
_DIGEST = 32
_GUARDS_FROM = 1 << 20


class HyperscanScreen:
    """Databases, scanned one after the other."""

    def __init__(self, lanes: Sequence[Patterns], guards: Mapping[str, bytes], cache: DatabaseCache | None) -> None:
        """Load or compile one database a lane. Raises ScreenError for a pattern Hyperscan refuses."""
        self._guards = list(guards)
        numbered = [(_GUARDS_FROM + number, pattern) for number, pattern in enumerate(guards.values())]
        self._databases = [_database(patterns, cache) for patterns in ([*lanes[0], *numbered], *lanes[1:]) if patterns]

    def scan(self, block: bytes) -> tuple[Hits, frozenset[str]]:
        """See `Screen.scan`."""
        hits: Hits = []
        fired: list[int] = []

        def report(number: int, _start: int, end: int, _flags: int, _context: object) -> bool | None:
            if number >= _GUARDS_FROM:
                fired.append(number - _GUARDS_FROM)
                return None
            hits.append((end, number))
            return len(hits) > HITS_MAX

        for database in self._databases:
            try:
                database.scan(block, report)
            except hyperscan.ScanTerminated:
                raise TooManyHitsError from None
        hits.sort()
        return hits, frozenset([self._guards[number] for number in fired])

    def size(self) -> int:
        """Bytes of all databases."""
        return sum(database.size() for database in self._databases)


def _database(patterns: Patterns, cache: DatabaseCache | None) -> hyperscan.Database:
    if cache is None:
        return _compiled(patterns)
    key = _key(patterns)
    loaded = _loaded(cache.get(key))
    if loaded is not None:
        return loaded
    made = _compiled(patterns)
    data = hyperscan.dumpb(made)
    cache.put(key, sha256(data).digest() + data)
    return made


def _key(patterns: Patterns) -> str:
    """What a compiled database depends on: the patterns, Hyperscan's version and the CPU's features it was compiled for."""
    probe = hyperscan.Database()
    probe.compile(expressions=[b"a"], ids=[0], flags=[0])
    text = repr((VERSION, probe.info(), list(patterns), _GUARDS_FROM))
    return sha256(text.encode()).hexdigest()


def _loaded(kept: bytes | None) -> hyperscan.Database | None:
    if kept is None or sha256(memoryview(kept)[_DIGEST:]).digest() != kept[:_DIGEST]:
        return None
    try:
        database = hyperscan.loadb(kept[_DIGEST:], hyperscan.HS_MODE_BLOCK)
        database.scratch = hyperscan.Scratch(database)
    except hyperscan.error:
        return None
    return database


def _compiled(patterns: Patterns) -> hyperscan.Database:
    database = hyperscan.Database()
    flags = [hyperscan.HS_FLAG_SINGLEMATCH if number >= _GUARDS_FROM else 0 for number, _ in patterns]
    try:
        database.compile(expressions=[pattern for _, pattern in patterns], ids=[number for number, _ in patterns], flags=flags)
    except hyperscan.error:
        raise ScreenError(_refused(patterns)) from None
    return database


def _refused(patterns: Patterns) -> int:
    for number, pattern in patterns:
        try:
            hyperscan.Database().compile(expressions=[pattern], ids=[number], flags=[0])
        except hyperscan.error:
            return number
    return patterns[0][0]
