"""Burials: dead documents on their way to the disk. Their rows are settled only when the letters lie there.

Bounded by what the courier holds: a letter is a copy of a document whose payload is held until it is settled. Overflow of the
disk is the edge's answer `BurialFailed`: the letters are handed over again after a wait, the rows stay unsettled.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from heapq import heappop, heappush
from typing import TYPE_CHECKING

import msgspec

from shipper.deliver.parcel import Piece, letter
from shipper.deliver.traffic import Bury, Letter, Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shipper.deliver.reply import Judged

_NOTES_MAX = 10  # about one reply; further kinds of errors are only counted by their rows


class _Burial(msgspec.Struct):
    letters: list[Letter]
    pieces: list[tuple[Piece, str]]
    """What to settle, with the reason."""
    attempts: int = 0


class Burials:
    """All letters under way."""

    def __init__(self) -> None:
        """None yet."""
        self._open: dict[int, _Burial] = {}
        self._due: list[tuple[float, int]] = []

    def __len__(self) -> int:
        """Burials under way."""
        return len(self._open)

    def begin(self, burial_id: int, dead: Sequence[tuple[Piece, Sequence[Judged]]]) -> list[Note | Bury]:
        """Write letters for dead pieces, one judgement a document. Returns what to say and what to write."""
        letters: list[Letter] = []
        pieces: list[tuple[Piece, str]] = []
        kinds: Counter[tuple[int, str, str]] = Counter()
        for piece, judged in dead:
            by_type: defaultdict[str, list[int]] = defaultdict(list)
            for number, item in zip(piece.numbers, judged, strict=True):
                letters.append(letter(piece.held.payload, number, (item.error_type, item.error_field, item.status)))
                by_type[item.error_type].append(number)
                kinds[item.status, item.error_type, item.error_field] += 1
            pieces += [(Piece(piece.held, numbers), error_type) for error_type, numbers in by_type.items()]
        self._open[burial_id] = _Burial(letters, pieces)
        notes: list[Note | Bury] = [
            Note("dead", {"status": status, "type": error_type, "field": field, "documents": documents})
            for (status, error_type, field), documents in kinds.most_common(_NOTES_MAX)
        ]
        return [*notes, Bury(burial_id, letters)]

    def end(self, burial_id: int) -> list[tuple[Piece, str]]:
        """The letters are on disk. Returns the pieces to settle, each with its reason."""
        return self._open.pop(burial_id).pieces

    def attempts(self, burial_id: int) -> int:
        """Times this burial failed."""
        return self._open[burial_id].attempts

    def postpone(self, burial_id: int, until: float) -> int:
        """The disk refused: try again then. Returns the number of letters."""
        burial = self._open[burial_id]
        burial.attempts += 1
        heappush(self._due, (until, burial_id))
        return len(burial.letters)

    def deadline(self) -> float | None:
        """When the next postponed burial is due."""
        return self._due[0][0] if self._due else None

    def expire(self, now: float) -> list[Bury]:
        """The burials that are due."""
        due: list[Bury] = []
        while self._due and self._due[0][0] <= now:
            burial_id = heappop(self._due)[1]
            due.append(Bury(burial_id, self._open[burial_id].letters))
        return due
