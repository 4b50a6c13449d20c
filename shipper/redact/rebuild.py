"""Rebuild: put the rows that changed back into the block, once, and say which they are."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate
from operator import add
from typing import TYPE_CHECKING

from shipper.model.batch import Batch, SafeBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shipper.redact.rows import Edits, Redacted


class Rebuild:
    """Collects what happened to the rows of one batch."""

    def __init__(self, batch: Batch) -> None:
        """Start with nothing changed."""
        self._batch = batch
        self._changes: list[tuple[int, int, bytes]] = []
        """(start, end, new row) of rows in the batch's block."""
        self._masked: dict[str, int] = {}
        self._flags: list[tuple[int, tuple[str, ...]]] = []
        self._dropped: list[tuple[int, str]] = []

    def take(self, start: int, end: int, row: bytes, outcome: Redacted) -> None:
        """Take what became of the row at [start, end) of the block, which was scanned as `row`; without hits it stays as it was."""
        if outcome.edits:
            self._changes.append((start, end, spliced(row, outcome.edits)))
        masked = self._masked
        for rule in outcome.hits:
            masked[rule] = masked.get(rule, 0) + 1
        if outcome.flags:
            self._flags.append((start, outcome.flags))
        if outcome.dropped:
            self._dropped.append((start, outcome.dropped))

    def finished(self, marks: frozenset[str], clean: Callable[[str], str]) -> SafeBatch:
        """Make the safe batch. `clean` redacts the names of fields that go into flags."""
        number = _Numbers(self._batch)
        self._changes.sort()
        changed = [number[start] for start, _, _ in self._changes]
        safe = SafeBatch(self._batch, self._joined(), changed)
        safe.lines = self._patched(changed)
        safe.masked = self._masked
        safe.marks = marks
        if changed and self._batch.ends is not None:
            safe.ends = self._moved(self._batch.ends, changed)
        for start, flags in self._flags:
            row = number[start]
            safe.flags[row] = safe.flags.get(row, ()) + tuple(map(clean, flags))
        for start, rule in self._dropped:
            safe.dropped[number[start]] = f"redacted:{rule}"
        return safe

    def _joined(self) -> bytes:
        block = self._batch.block
        if not self._changes:
            return block
        view = memoryview(block)  # slices of the block itself would copy all of it once more
        pieces: list[bytes | memoryview] = []
        at = 0
        for start, end, made in self._changes:
            pieces += (view[at:start], made)
            at = end
        pieces.append(view[at:])
        return b"".join(pieces)

    def _patched(self, changed: list[int]) -> list[bytes] | None:
        """The rows with their newlines, where the frame made a list. It is the batch's: what was raw in it is replaced."""
        lines, self._batch.lines = self._batch.lines, None
        if lines is None or self._batch.ends is not None:
            return None
        for row, (_, _, made) in zip(changed, self._changes, strict=True):
            lines[row] = made + b"\n"
        return lines

    def _moved(self, ends: Sequence[int], changed: list[int]) -> list[int]:
        gains = [0] * len(ends)
        for row, (start, end, made) in zip(changed, self._changes, strict=True):
            gains[row] = len(made) - end + start
        return list(map(add, ends, accumulate(gains)))


class _Numbers(dict[int, int]):
    """Where a row starts in a batch's block -> its number; cheap where asked in order."""

    def __init__(self, batch: Batch) -> None:
        super().__init__()
        self._batch = batch
        self._counted = (0, 0)
        self._starts: list[int] = []
        """Where the rows start in the block, where they are at hand as a list and are not the source's own lines."""

    def __missing__(self, start: int) -> int:
        batch = self._batch
        if batch.ends is not None:
            return bisect_left(batch.ends, start)
        if batch.is_contiguous:
            return bisect_right(batch.starts, batch.base + start) - 1
        if batch.lines is not None:
            self._starts = self._starts or list(accumulate(map(len, batch.lines), initial=0))
        if self._starts:
            return bisect_right(self._starts, start) - 1
        place, row = self._counted if self._counted[0] <= start else (0, 0)
        row += batch.block.count(b"\n", place, start)
        self._counted = (start, row)
        self[start] = row
        return row


def spliced(row: bytes, edits: Edits) -> bytes:
    """The row with its edits applied."""
    if len(edits) == 1:
        ((start, end, made),) = edits
        return b"".join((row[:start], made, row[end:]))
    pieces: list[bytes] = []
    at = 0
    for start, end, made in edits:
        pieces += (row[at:start], made)
        at = end
    return b"".join((*pieces, row[at:]))
