"""Joining: lines as columns, and which of them make one record. What the frames with parts and groups share.

RULES
- Parts are joined per stream. Those whose end is not in the window yet are left, and everything from the earliest of them on with
  them. A record that is not whole `join_max` bytes of the file after its start, or where the file ends, goes on as it is, flagged
  `partial`. So what is a record depends on the file alone, not on the windows.
- A record's origin is the first byte of its first line to the last byte of its last line.

THEORY
Only lines of records with several lines cost Python: the text of such a record moves to its first line, and the others drop out of
all columns at once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, compress
from operator import itemgetter
from typing import TYPE_CHECKING, TypeVar, overload

import msgspec

from shipper.frame.frame import Cut
from shipper.model.batch import split_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

T = TypeVar("T")
_BUT_LAST = itemgetter(slice(0, -1))
_STREAMS_FEW = 4


class Window(msgspec.Struct, frozen=True):
    """What is known of the file beyond the lines of a window."""

    seen: int
    """Source offset up to which there are bytes, of an unfinished line too."""
    final: bool
    join_max: int


class Group(msgspec.Struct, frozen=True):
    """The lines of one record, by number."""

    lines: list[int]
    whole: bool = True


class Columns(msgspec.Struct):
    """The lines of a window, or the records they become, as columns of equal length."""

    starts: list[int]
    stops: list[int]
    extras: list[bytes] | bytes | None = None
    times: Sequence[str] | None = None
    flags: dict[int, tuple[str, ...]] = {}
    skipped: dict[str, int] = {}
    drop: set[int] = set()
    """Lines that are no records: the later parts of others, blank ones."""
    joined: dict[int, tuple[list[int], int]] = {}
    """By the first line of a record in parts: its lines, and how many bytes they have."""

    def mark(self, line: int, marks: Iterable[str]) -> None:
        """Add flags, each once."""
        self.flags[line] = tuple(dict.fromkeys((*self.flags.get(line, ()), *marks)))

    def leave(self, taken: int) -> None:
        """Keep the first `taken` lines only."""
        self.starts, self.stops = self.starts[:taken], self.stops[:taken]
        self.extras = self.extras[:taken] if isinstance(self.extras, list) else self.extras
        self.times = None if self.times is None else self.times[:taken]
        self.flags = {line: marks for line, marks in self.flags.items() if line < taken}

    def join(self, group: Group) -> None:
        """Let the first line of a group stand for all of them; who calls moves the text."""
        first, *rest = lines = group.lines
        self.joined[first] = lines, sum(self.stops[line] - self.starts[line] for line in lines)
        self.stops[first] = self.stops[lines[-1]]
        self.drop.update(rest)
        for line in rest:
            if line in self.flags:
                self.mark(first, self.flags[line])
        if not group.whole:
            self.mark(first, ("partial",))

    def skip_blank(self, line: int, raw: Mapping[int, bytes] | Sequence[bytes]) -> None:
        """Drop a record without text; what there is besides NULs in its `raw` lines is counted."""
        lines, size = self.joined.get(line, ([line], self.stops[line] - self.starts[line]))
        self.drop.add(line)
        self.skipped["blank"] = self.skipped.get("blank", 0) + size - sum(raw[one].count(b"\0") for one in lines)

    def kept(self, column: Sequence[T]) -> Sequence[T]:
        """What a column of the lines has for the records."""
        if not self.drop:
            return column
        keep = bytearray(b"\1") * len(column)
        for line in self.drop:
            keep[line] = 0
        return list(compress(column, keep))

    def cut(self, block: bytes, next_offset: int, lines: list[bytes] | None = None) -> Cut:
        """The records; `block` has only those that are not dropped, and so has `lines`, each with its newline."""
        starts, stops = self.kept(self.starts), self.kept(self.stops)
        extras = self.kept(self.extras) if isinstance(self.extras, list) else self.extras
        times = None if self.times is None else self.kept(self.times)
        dropped = sorted(self.drop)
        flags = {line - bisect_left(dropped, line): marks for line, marks in self.flags.items() if line not in self.drop}
        skipped = {cause: size for cause, size in self.skipped.items() if size}
        return Cut(block, len(starts), next_offset, (starts, stops), flags, skipped, extras, times, lines)


class Late(Sequence[T]):
    """A column that is made when somebody looks at it. What `make` holds on to lives as long as the batch."""

    def __init__(self, count: int, make: Callable[[], Sequence[T]]) -> None:
        """`make` returns `count` items."""
        self._count, self._make = count, make
        self._made: Sequence[T] | None = None

    def __len__(self) -> int:
        """How many there are; nothing is made for that."""
        return self._count

    @overload
    def __getitem__(self, place: int) -> T: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[T]: ...

    def __getitem__(self, place: int | slice) -> T | Sequence[T]:
        """Make all, unless they are there already."""
        return self._all()[place]

    def __iter__(self) -> Iterator[T]:
        """The same for all of them."""
        return iter(self._all())

    def _all(self) -> Sequence[T]:
        if self._made is None:
            self._made = self._make()
        return self._made


def columns(starts: list[int], stops: list[int]) -> Columns:
    """Lines of which nothing else is known yet."""
    return Columns(starts, stops, None, None, {}, {}, set(), {})


def bounded(block: bytes, base: int) -> tuple[list[bytes], list[int], list[int]]:
    """The lines of a block without their newlines, where each starts in the source, and where it stops. The last may lack one."""
    lines, starts, stops = lined(block, base)
    if not block.endswith(b"\n"):
        lines[-1] += b"\n"
    return list(map(_BUT_LAST, lines)), starts, stops


def lined(block: bytes, base: int) -> tuple[list[bytes], list[int], list[int]]:
    """The same with their newlines, which is how they are found the fastest."""
    lines = split_lines(block, None)
    bounds = list(accumulate(map(len, lines), initial=base))
    return lines, bounds[:-1], bounds[1:]


def join_parts(found: Columns, streams: Sequence[object], parts: Sequence[int], window: Window) -> tuple[list[Group], int]:
    """Group the lines in `parts`, those whose record goes on, with the lines of their stream that follow.

    Returns the groups, and the number of lines up to which all records are complete; later lines are to be read again.
    """
    following = _following(streams) if len(set(streams)) > _STREAMS_FEW else None
    unended = set(parts)
    later: set[int] = set()
    groups: list[Group] = []
    taken = len(streams)
    for first in parts:
        if first in later:
            continue
        lines, bound = [first], found.starts[first] + window.join_max
        reach = bisect_right(found.stops, bound)
        while lines[-1] in unended and (line := _next(streams, following, lines[-1], reach)) < reach:
            lines.append(line)
        later.update(lines[1:])
        whole = lines[-1] not in unended
        if not whole and not window.final and window.seen < bound:
            taken = min(taken, first)
        elif not whole or len(lines) > 1:
            groups.append(Group(lines, whole))
    return complete(groups, taken)


def complete(groups: list[Group], taken: int) -> tuple[list[Group], int]:
    """Leave out the groups that reach beyond line `taken`, and move it to the start of the earliest of them."""
    for group in sorted(groups, key=lambda group: -group.lines[-1]):
        if group.lines[0] < taken <= group.lines[-1]:
            taken = group.lines[0]
    return [group for group in groups if group.lines[0] < taken], taken


def _next(streams: Sequence[object], following: list[int] | None, line: int, reach: int) -> int:
    """The next line of the same stream before line `reach`, or any number from there on."""
    if following is not None:
        return following[line]
    try:
        return streams.index(streams[line], line + 1, reach)
    except ValueError:
        return reach


def _following(streams: Sequence[object]) -> list[int]:
    """The next line of the same stream, for each; in time that does not grow with the number of streams."""
    found = [len(streams)] * len(streams)
    last: dict[object, int] = {}
    for line in range(len(streams) - 1, -1, -1):
        found[line] = last.get(streams[line], len(streams))
        last[streams[line]] = line
    return found
