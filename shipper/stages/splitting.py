"""Splitting: one member exchanged in the bytes of many rows, each split at the text of the member and joined with another.

RULES
- The caller vouches that the name stands in a row once as that of a member, if it stands there at all as it is written here.
- A text is only taken for the member where it is whole: it begins behind a comma or the first brace, and ends before a comma or
  at the row's end. Where it does not stand so in a row, the row is left alone, and said to be.
- Writers differ: with blanks behind commas and colons, or without. The ways of writing are tried by what some of the rows look
  like, WAYS_MAX of them.
"""

from __future__ import annotations

from collections import deque
from itertools import compress, repeat
from operator import add, is_not, not_
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WAYS_MAX = 4
"""So many ways of writing in one batch; rows written otherwise are left."""
_LOOKED_AT = 3
"""So many rows are asked how they are written."""


class _Way(NamedTuple):
    """How a member stands in a row."""

    before: bytes
    colon: bytes
    after: bytes
    """The comma behind it; nothing where it is the last one."""


_WAYS = tuple(
    _Way(before, colon, after)
    for comma, colon in ((b",", b":"), (b", ", b": "))
    for before, after in ((comma, comma), (comma, b""), (b"{", comma), (b"{", b""))
)


class Edit(NamedTuple):
    """What is to be done to a member: called `to`, given other values, or taken out."""

    name: bytes
    to: bytes | None = None
    olds: Sequence[bytes] = ()
    """The values as JSON, one a row, where they matter: for all but another name."""
    news: Sequence[bytes] | None = None
    """The values that take their place; None takes the member out."""

    def texts(self, way: _Way) -> tuple[Iterable[bytes], Iterable[bytes]]:
        """What to split each row at, and what to join it with."""
        begin = b'%b"%b"%b' % (way.before, self.name, way.colon)
        if self.to is not None:
            return repeat(begin), repeat(b'%b"%b"%b' % (way.before, self.to, way.colon))
        news = repeat(way.before if way.after else b"") if self.news is None else _between(begin, self.news, way.after)
        return _between(begin, self.olds, way.after), news

    def fits(self, way: _Way, row: bytes, at: int) -> bool:
        """Whether the row, the one at this place, has the member written so."""
        begin = b'%b"%b"%b' % (way.before, self.name, way.colon)
        if self.to is not None:
            return begin in row
        text = begin + self.olds[at] + way.after
        return text in row if way.after else row.endswith(text)

    def ways(self) -> Iterable[_Way]:
        """Ways that make a difference, and leave a row in order."""
        if self.to is not None:
            return [way for way in _WAYS if way.after]
        return [way for way in _WAYS if self.news is not None or way.after or way.before != b"{"]

    def chosen(self, mask: Sequence[bool]) -> Edit:
        """The same for some of the rows."""
        return self._replace(
            olds=list(compress(self.olds, mask)), news=None if self.news is None else list(compress(self.news, mask))
        )


def exchanged(rows: Sequence[bytes], edit: Edit) -> tuple[list[bytes], list[bool] | None]:
    """Rows with the edit done, and in which of them it could be; None for all."""
    new = _done(rows, edit)
    good = list(map(is_not, new, rows))  # what is not changed is the same object
    for _ in range(WAYS_MAX - 1):
        if all(good):
            return new, None
        bad = list(map(not_, good))
        numbers = list(compress(range(len(rows)), bad))
        left = list(compress(rows, bad))
        more = _done(left, edit.chosen(bad))
        fine = list(map(is_not, more, left))
        if not any(fine):
            break
        deque(map(new.__setitem__, numbers, more), maxlen=0)
        deque(map(good.__setitem__, numbers, fine), maxlen=0)
    return new, good


def _done(rows: Sequence[bytes], edit: Edit) -> list[bytes]:
    """Rows with the edit done in one way; others are the same objects."""
    way = _likely(rows, edit)
    if way is None:
        return list(rows)
    olds, news = edit.texts(way)
    if way.after:
        # One row after the other, so that the parts of each are gone before the next: a third less than making all of them first.
        return list(map(bytes.join, news, map(bytes.split, rows, olds, repeat(1))))
    cut = list(map(bytes.removesuffix, rows, olds))
    return [row if short is row else short + new for short, row, new in zip(cut, rows, news, strict=False)]


def _likely(rows: Sequence[bytes], edit: Edit) -> _Way | None:
    """The way in which some of the rows have the member."""
    ways = edit.ways()
    for at in range(0, len(rows), max(1, len(rows) // _LOOKED_AT)):
        for way in ways:
            if edit.fits(way, rows[at], at):
                return way
    return None


def _between(begin: bytes, values: Sequence[Any], after: bytes) -> Iterable[bytes]:
    begun = map(add, repeat(begin), values)
    return map(add, begun, repeat(after)) if after else begun
