"""Batch and SafeBatch: the unit of work, as bytes.

RULES
- A batch is a block of framed records ("rows") of one stream, in source order. Rows are never added, removed or
  reordered after framing; a row that must not go on is marked dropped, with a reason, and keeps its place.
- In `block` every row is followed by one newline. Where `ends` is None no row contains a newline itself, so that the block
  may be split at them; otherwise `ends[i]` is the position of the newline that ends row i.
- Each row has an origin: [start, stop) in bytes of the source (decompressed, before transcoding), terminator included.
- `Batch` holds unredacted bytes and must not be logged, decoded or stored. Only `shipper.redact.gate` makes a `SafeBatch`.
"""

from __future__ import annotations

from io import BytesIO
from itertools import accumulate, repeat
from operator import add
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Stream(msgspec.Struct, frozen=True):
    """Who wrote a row, said in words that have passed the gate: safe for documents, metrics and the agent's own log."""

    id: str
    """The identity: 128 random bits, 22 characters of base64url. Minted once for a file, kept in the checkpoint."""
    common: bytes
    """The fragment all its documents share, `"file":{"path":"…"}},"host":{"name":"…"}` (see `encode/document.py`)."""
    path: str
    """The redacted path, for logs and metrics."""
    first_seen: float
    """Unix seconds when the stream was minted; dates its records until one of them has a time of its own."""
    told: Mapping[str, object] = {}
    """What its place tells of all its records (`kubernetes.namespace`), by dotted name: for conditions and index names."""


class Batch:
    """Framed, unredacted rows of one stream. Owned by the chain once handed over; `block` is never mutated."""

    __slots__ = (
        *(
            "base",
            "block",
            "count",
            "ends",
            "extras",
            "flags",
            "ids",
            "is_contiguous",
            "lines",
            "starts",
            "stops",
            "stream",
            "tags",
        ),
        "times",
    )

    def __init__(
        self,
        stream: Stream,
        block: bytes,
        count: int,
        base: int,
        origin: tuple[Sequence[int], Sequence[int]] | None = None,
    ) -> None:
        """Take `count` rows in `block`; `origin` is (starts, stops), or None for contiguous lines from `base` on."""
        self.stream = stream
        self.block = block
        self.count = count
        self.base = base
        self.lines: list[bytes] | None = None
        """The rows with their newlines as a list, where the frame had to make it anyway; the gate takes it over, patched."""
        self.is_contiguous = origin is None
        """Whether the rows are the source's lines from `base` on, byte for byte."""
        self.starts, self.stops = origin if origin is not None else line_bounds(split_lines(block, None)[:count], base)
        self.ends: Sequence[int] | None = None
        self.flags: dict[int, tuple[str, ...]] = {}
        """Marks of the frame by row: `truncated`, `unterminated`, `invalid_utf8`, `partial`."""
        self.extras: Sequence[bytes] | bytes | None = None
        """What the frame knows of each row, or of all, as unredacted fragments (`,"stream":"stdout"`); few distinct values."""
        self.times: Sequence[str] | None = None
        """The frame's own time of each row, for records that have none."""
        self.tags: Sequence[str] | None = None
        """`shipper.tag` of each row, unredacted; few distinct values, an empty text for none."""
        self.ids: Sequence[bytes] | None = None
        """What the sender of a row knows it by, to be its `_id`; empty for a row that is known by its origin."""

    @property
    def span(self) -> tuple[int, int]:
        """The first and last byte of the source this batch settles, [start, stop)."""
        return self.starts[0], max(self.stops)


class SafeBatch:
    """What the gate returns: the same rows, redacted. The raw block is not reachable from it."""

    __slots__ = (
        *(
            "base",
            "block",
            "changed",
            "count",
            "dropped",
            "ends",
            "flags",
            "lines",
            "marks",
            "masked",
            "starts",
            "stops",
            "stream",
        ),
        "times",
    )

    def __init__(self, source: Batch, block: bytes, changed: list[int]) -> None:
        """Only the gate calls this (tests/test_tidy.py holds it)."""
        self.stream = source.stream
        self.block = block
        self.count = source.count
        self.base = source.base
        self.starts, self.stops = source.starts, source.stops
        self.ends: Sequence[int] | None = source.ends
        self.flags = dict(source.flags)
        self.times = source.times
        self.lines: list[bytes] | None = None
        """The rows of `block` with their newlines as a list, where the gate has it."""
        self.changed = changed
        """Numbers of the rows that the gate changed, in order."""
        self.dropped: dict[int, str] = {}
        """Rows that a rule drops whole, with the reason `redacted:<rule>`; their bytes in the block are `{}`."""
        self.masked: dict[str, int] = {}
        """Hits by rule id in this batch."""
        self.marks: frozenset[str] = frozenset()
        """Names of the guard patterns that fired somewhere in the block (see `Gate`)."""


def contiguous(rows: list[bytes], base: int) -> tuple[Sequence[int], Sequence[int]]:
    """(starts, stops) of rows that are the lines of the source from `base` on, each ended by one newline."""
    bounds = list(accumulate(map(add, map(len, rows), repeat(1)), initial=base))
    return bounds[:-1], bounds[1:]


def line_bounds(lines: list[bytes], base: int) -> tuple[Sequence[int], Sequence[int]]:
    """(starts, stops) of lines of the source from `base` on, given with their newlines."""
    bounds = list(accumulate(map(len, lines), initial=base))
    return bounds[:-1], bounds[1:]


def split_lines(block: bytes, ends: Sequence[int] | None) -> list[bytes]:
    """The rows of a block, each with the newline that ends it.

    A file in memory finds them with `memchr`: a third of what `bytes.split` costs, which looks at each byte by itself.
    """
    if ends is None:
        return BytesIO(block).readlines()
    return [block[start : end + 1] for start, end in zip([0, *(end + 1 for end in ends[:-1])], ends, strict=True)]


def split_rows(block: bytes, ends: Sequence[int] | None) -> list[bytes]:
    """The rows of a block, without the newline that ends each."""
    if ends is None:
        rows = block.split(b"\n")
        rows.pop()
        return rows
    starts = [0, *(end + 1 for end in ends[:-1])]
    return [block[start:end] for start, end in zip(starts, ends, strict=True)]


def row_bounds(block: bytes, ends: Sequence[int] | None, position: int) -> tuple[int, int]:
    """Return [start, end) of the row that holds `position`, the ending newline not included."""
    if ends is None:
        end = block.find(b"\n", position)
        return block.rfind(b"\n", 0, position) + 1, len(block) if end < 0 else end
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if ends[middle] < position else (low, middle)
    return (ends[low - 1] + 1 if low else 0), ends[low]


def merge_counts(into: dict[str, int], more: Mapping[str, int]) -> None:
    """Add the counts of `more` to `into`."""
    for key, count in more.items():
        into[key] = into.get(key, 0) + count
