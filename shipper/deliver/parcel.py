"""Parcel: documents that travel in one post, as slices of the payloads they come from.

A piece is some documents of one payload: a range while contiguous, a list once a reply has picked some. Bytes are copied only
where a payload does not go whole.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from shipper.deliver.traffic import Letter, Settle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shipper.model.payload import Payload

_NOWHERE: Mapping[str, int] = {}


class Held(msgspec.Struct):
    """A payload the courier owns, and how many of its documents still wait for a verdict."""

    payload: Payload
    undecided: int


class Piece:
    """Documents `numbers` (ascending) of one held payload."""

    __slots__ = ("held", "numbers", "size")

    def __init__(self, held: Held, numbers: Sequence[int]) -> None:
        """Take at least one document."""
        assert numbers
        self.held = held
        self.numbers = numbers
        self.size = len(held.payload.body) if self.is_whole else sum(b - a for a, b in self._slices())
        """Bytes."""

    @property
    def is_whole(self) -> bool:
        """Whether this is the whole payload."""
        return len(self.numbers) == self.held.payload.count

    def parts(self) -> list[bytes]:
        """The documents as slices of the body, neighbours in one slice."""
        body = self.held.payload.body
        return [body] if self.is_whole else [body[a:b] for a, b in self._slices()]

    def _slices(self) -> list[tuple[int, int]]:
        """Bounds in the body, neighbours joined."""
        cuts, numbers = self.held.payload.cuts(), self.numbers
        if isinstance(numbers, range):
            return [(cuts[numbers[0]], cuts[numbers[-1] + 1])]
        slices: list[tuple[int, int]] = []
        for number in numbers:
            start, stop = cuts[number], cuts[number + 1]
            if slices and slices[-1][1] == start:
                slices[-1] = (slices[-1][0], stop)
            else:
                slices.append((start, stop))
        return slices

    def divide(self, count: int) -> tuple[Piece, Piece]:
        """Return the first `count` documents, and the others."""
        return Piece(self.held, self.numbers[:count]), Piece(self.held, self.numbers[count:])

    def count_within(self, size: int) -> int:
        """How many documents from the first on fit into `size` bytes; at least one. O(documents counted)."""
        cuts, room = self.held.payload.cuts(), size
        for count, number in enumerate(self.numbers):
            room -= cuts[number + 1] - cuts[number]
            if room < 0:
                return max(1, count)
        return len(self.numbers)

    def settle(self, verdict: int, reason: str = "", *, stored: bool = True) -> Settle:
        """The command that gives all its rows one verdict; `stored` also counts them by index."""
        payload = self.held.payload
        if self.is_whole:
            return Settle(payload.ticket, payload.rows, verdict, reason, payload.indices if stored else _NOWHERE)
        rows = self.numbers if payload.rows is None else [payload.rows[number] for number in self.numbers]
        return Settle(payload.ticket, rows, verdict, reason, self._indices() if stored else _NOWHERE)

    def _indices(self) -> Mapping[str, int]:
        """Documents by index, from their action lines."""
        payload = self.held.payload
        if len(payload.indices) == 1:
            return dict.fromkeys(payload.indices, len(self.numbers))
        return Counter(_action(payload.document(number)[0]).index for number in self.numbers)


class _Target(msgspec.Struct):
    index: str = msgspec.field(name="_index")
    id: str = msgspec.field(name="_id")


class _Action(msgspec.Struct):
    create: _Target


_decode_action = msgspec.json.Decoder(_Action).decode


def _action(line: bytes) -> _Target:
    return _decode_action(line).create


def letter(payload: Payload, number: int, error: tuple[str, str, int]) -> Letter:
    """The dead letter of document `number`; `error` is (type, field, status)."""
    action, document = payload.document(number)
    target = _action(action)
    return Letter(target.id, target.index, document, *error)


class Parcel(msgspec.Struct):
    """What one post carries."""

    pieces: list[Piece]
    order: int
    """Number of the post that carried its documents first: older ones go first among those that are due."""
    attempts: int = 0
    """Times it failed."""

    @property
    def documents(self) -> int:
        """How many documents."""
        return sum(len(piece.numbers) for piece in self.pieces)

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(piece.size for piece in self.pieces)

    def parts(self) -> list[bytes]:
        """All slices, in order."""
        return [part for piece in self.pieces for part in piece.parts()]

    def halves(self) -> tuple[Parcel, Parcel]:
        """Return two parcels with half of the documents each; there must be two at least."""
        left: list[Piece] = []
        right: list[Piece] = []
        room = self.documents // 2
        for piece in self.pieces:
            count = len(piece.numbers)
            if count <= room:
                left.append(piece)
            elif room:
                first, second = piece.divide(room)
                left.append(first)
                right.append(second)
            else:
                right.append(piece)
            room = max(0, room - count)
        return Parcel(left, self.order, self.attempts), Parcel(right, self.order, self.attempts)
