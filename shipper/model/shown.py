"""Shown: what is spliced into documents, as columns too, so that conditions, later stages and routes see documents as they will be.

RULES
- A spliced value wins over the record's own, as in the document; where none was spliced the column stays. Objects are joined.
- Only columns that somebody asks for are made; fragments that are alike are read once a batch.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shipper.model.columns import Columns

_RECORD = msgspec.json.Decoder(dict[str, Any])


class _Records(dict[bytes, dict[str, Any]]):
    """A fragment -> the members in it."""

    def __missing__(self, fragment: bytes) -> dict[str, Any]:
        self[fragment] = _RECORD.decode(b"{" + fragment[1:] + b"}")
        return self[fragment]


def show(columns: Columns, pieces: Sequence[Sequence[bytes] | bytes], names: Iterable[str], *, alone: bool = False) -> None:
    """Make columns `names` say what was spliced by `pieces`: as in `Columns.fragments`, those of one splice after the other.

    `alone`: what the records say themselves there does not count.
    """
    lists = [[piece] * columns.count if isinstance(piece, bytes) else piece for piece in pieces]
    records = list(map(_Records().__getitem__, map(b"".join, zip(*lists, strict=True))))
    for name in names:
        columns.beside.add(name)
        ours = [_reach(record, name) for record in records]
        if alone:
            columns.assign(name, ours)
        elif any(value is not None for value in ours):
            columns.assign(name, list(map(_joined, columns.column(name), ours)))


def _reach(record: object, name: str) -> object:
    """The value of a dotted name however it is spelt: `{"a.b":{"c":1}}` and `{"a":{"b.c":1}}` have an `a.b.c`."""
    if not isinstance(record, dict):
        return None
    if name in record:
        return record[name]
    begun = [part for part in accumulate(name.split("."), "{}.{}".format) if part in record]
    return next((found for part in begun if (found := _reach(record[part], name[len(part) + 1 :])) is not None), None)


def _joined(own: object, ours: object) -> object:
    if isinstance(own, dict) and isinstance(ours, dict):
        return {**own, **{name: _joined(own.get(name), value) for name, value in ours.items()}}
    return own if ours is None else ours
