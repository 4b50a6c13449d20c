"""Rebuild: put the edited rows back into the block, once, and say where its length changed."""

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
        self._edits: Edits = []
        self._masked: dict[str, int] = {}
        self._flags: list[tuple[int, tuple[str, ...]]] = []
        self._dropped: list[tuple[int, str]] = []
        self._counted = (0, 0)

    def take(self, start: int, outcome: Redacted) -> None:
        """Take what became of the row that starts at `start` of the block."""
        self._edits += [(start + first, start + last, made) for first, last, made in outcome.edits]
        self._count(start, outcome)

    def take_rewritten(self, start: int, end: int, row: bytes, outcome: Redacted) -> None:
        """Take what became of the row at [start, end) that was rewritten to `row` first; without hits it stays as it was."""
        if outcome.edits:
            self._edits.append((start, end, spliced(row, outcome.edits)))
        self._count(start, outcome)

    def _count(self, start: int, outcome: Redacted) -> None:
        masked = self._masked
        for rule in outcome.hits:
            masked[rule] = masked.get(rule, 0) + 1
        if outcome.flags:
            self._flags.append((start, outcome.flags))
        if outcome.dropped:
            self._dropped.append((start, outcome.dropped))

    def finished(self, marks: frozenset[str], clean: Callable[[str], str]) -> SafeBatch:
        """Make the safe batch. `clean` redacts the names of fields that go into flags."""
        block, positions = self._joined()
        safe = SafeBatch(self._batch, block, positions)
        safe.rows = self._patched()
        safe.masked = self._masked
        safe.marks = marks
        if positions and self._batch.ends is not None:
            safe.ends = self._moved(self._batch.ends)
        for start, flags in self._flags:
            row = self._row(start)
            safe.flags[row] = safe.flags.get(row, ()) + tuple(map(clean, flags))
        for start, rule in self._dropped:
            safe.dropped[self._row(start)] = f"redacted:{rule}"
        return safe

    def _joined(self) -> tuple[bytes, list[tuple[int, int]]]:
        block = self._batch.block
        if not self._edits:
            return block, []
        self._edits.sort()
        pieces: list[bytes] = []
        positions: list[tuple[int, int]] = []
        at = shift = 0
        for start, end, made in self._edits:
            pieces += (block[at:start], made)
            gained = len(made) - end + start
            positions.append((start + shift, gained))
            shift += gained
            at = end
        pieces.append(block[at:])
        return b"".join(pieces), positions

    def _patched(self) -> list[bytes] | None:
        """The rows as a list, edited, where the frame made one. The list is the batch's: what was raw in it is replaced."""
        rows, starts, base = self._batch.rows, self._batch.starts, self._batch.base
        self._batch.rows = None
        if rows is None or self._batch.ends is not None:
            return None
        by_row: dict[int, Edits] = {}
        for edit in self._edits:
            by_row.setdefault(bisect_right(starts, base + edit[0]) - 1, []).append(edit)
        for row, edits in by_row.items():
            begin = starts[row] - base
            rows[row] = spliced(rows[row], [(start - begin, end - begin, made) for start, end, made in edits])
        return rows

    def _moved(self, ends: Sequence[int]) -> list[int]:
        gains = [0] * len(ends)
        for start, end, made in self._edits:
            gains[bisect_left(ends, start)] += len(made) - end + start
        return list(map(add, ends, accumulate(gains)))

    def _row(self, start: int) -> int:
        """The number of the row that starts at `start` of the batch's block; cheap where asked in order."""
        if self._batch.ends is not None:
            return bisect_left(self._batch.ends, start)
        place, row = self._counted if self._counted[0] <= start else (0, 0)
        row += self._batch.block.count(b"\n", place, start)
        self._counted = (start, row)
        return row


def spliced(row: bytes, edits: Edits) -> bytes:
    """The row with its edits applied."""
    pieces: list[bytes] = []
    at = 0
    for start, end, made in edits:
        pieces += (row[at:start], made)
        at = end
    return b"".join((*pieces, row[at:]))
