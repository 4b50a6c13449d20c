"""Timestamps: the event time of each row, as whole seconds and as the text of `@timestamp`.

RULES
- `@timestamp` is UTC, `2026-02-05T14:30:45.123Z`, with up to nine digits of fraction (Elasticsearch `strict_date_optional_time`).
- Understood without settings: ISO 8601 / RFC 3339 with `T` or a blank, `.` or `,` before the fraction, an offset, `Z` or nothing;
  a number, or text of digits, as Unix seconds, milliseconds, microseconds or nanoseconds, told apart by magnitude.
- With layouts (`time_layout.py`) the first of them that reads a text counts, and numbers are read by `unix` and its kin only. A
  text of ISO 8601 that says its zone is read at last, whatever the layouts: so frames and senders tell their times.
- A time that says no zone is in the `zone` of the settings, UTC by default. One that never was, as the clock went forward, is read
  with the offset before the gap (PEP 495) and flagged `timestamp_gap`. One that comes twice, as the clock goes back, is flagged
  `timestamp_ambiguous`; `fold` says `first` or `second`, or `auto`: the first of both that is not before the record before it in
  its stream, else the second; the first too where the record before is more than an hour later than both, as in an old file that
  was just found. Ten seconds do not count as before: threads of one program write out of order.
- A time that says no year has the one that brings it nearest to the record before it in its stream. The first records of a
  stream have the last year in which they are not later, by more than a day, than the time the stream was first seen: a file that
  is found may be a year old, but is not of next year.
- A text in the form of `@timestamp`, with any number of digits up to nine, is kept as it is.
- A time that is missing or unreadable is the one of the record before it in its stream, in whole seconds (the checkpoint knows
  no more), else the time the stream was first seen: never the clock at sending, so that a resend gives the same document. The
  row is flagged `timestamp_missing` or `timestamp_unreadable`. The record's own field is never changed; where it has none, as in
  formats of text, the chain keeps what could not be read as `shipper.timestamp`.
- Years outside 1..9999 are unreadable.

THEORY
A column of strings in the canonical form costs a slice and a dict lookup a row: the first 19 characters are looked up in a
bounded cache of seconds; what follows is checked in one joined text, by strides where all are of one length, and that text
encoded and split again gives the stamps. Other texts go together by their length (`time_shape.py`). Only those whose time
depends on the record before them, or that are none, go row by row. Where years are guessed, all times of a batch must lie within
half a year: then the year nearest to the batch before is the nearest to each record before, too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple, cast

import msgspec
import orjson

from shipper.config.time_layout import GUESSED_EPOCH, ISO, ZONED_ISO, Epoch, Iso, TimeLayout, is_canonical, layout
from shipper.decode.moment import Fold, Way, moment
from shipper.decode.time_shape import Prefixes, Shape, fraction, has_shape
from shipper.model.localtime import Timezone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from shipper.config.time_layout import Written

_SECOND = itemgetter(slice(0, 19))
_TAIL = itemgetter(slice(19, None))
_FORM = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", re.ASCII)
_TAILS = re.compile(r"(?:(?:\.[0-9]{1,9})?Z\n)*")
CACHE_MAX = 20_000
"""Seconds remembered; at about 120 bytes each."""
_SHAPES_MAX = 16
_TEXT_CHARS_MAX = 128
"""Longer texts are no times."""
_GROUP_MIN = 4
"""So many texts of one length are worth a look at their shape."""
_READABLE: frozenset[type] = frozenset((str, int, float))
_DAY_S = 86_400
_HALF_YEAR_S = 180 * _DAY_S
_TO_MIDDLE_S = 363 * _DAY_S // 2
"""From a day after a time to the middle of the year that ends there."""
_BY_THE_LAST = ("timestamp_missing", "timestamp_unreadable")


class Times(msgspec.Struct):
    """Event times of a batch, one item a row."""

    seconds: list[int]
    """Whole Unix seconds, UTC, rounded down."""
    stamps: Sequence[bytes]
    """The text of `@timestamp`."""
    flags: dict[int, str]
    """`timestamp_missing`, `timestamp_unreadable`, `timestamp_ambiguous` or `timestamp_gap`, by row."""


class Timeline:
    """Reads columns of timestamps. Holds the caches; one for a source."""

    def __init__(self, layouts: Sequence[str] = (), zone: str = "UTC", fold: Fold = "auto") -> None:
        """Raises ValueError for a layout or a zone that is none, in words for the user."""
        info = Timezone.from_config(zone).info
        chosen: list[TimeLayout] = [layout(text) for text in layouts] or [GUESSED_EPOCH, ISO]
        if ISO not in chosen:
            chosen.append(ZONED_ISO)
        self._ways = [Way(one, info, fold) for one in chosen]
        self._epochs = [one.of_numbers() for one in chosen if isinstance(one, Epoch)]
        self._takes_canonical = next(one for one in chosen if not isinstance(one, Epoch)) is ISO
        self._seconds = _Seconds()
        self._prefixes = Prefixes()
        self._shapes: dict[tuple[bool, int, int, int, int, bool], Shape] = {}

    def read(self, values: Sequence[object], before: float) -> Times:
        """Read a column. `before` is the time, in Unix seconds, for rows that come before any readable one."""
        if values and values[0] is None and values.count(None) == len(values):
            second = math.floor(before)
            stamps = [b"%b000Z" % self._prefixes[second]] * len(values)
            return Times([second] * len(values), stamps, dict.fromkeys(range(len(values)), "timestamp_missing"))
        if self._takes_canonical:
            try:
                return self._read_canonical(values)
            except (TypeError, ValueError, KeyError):  # KeyError: a dict is asked for a slice, from Python 3.12 on
                pass
        return _read_rows([(self, range(len(values)))], values, math.floor(before))

    def can_read(self, value: object) -> bool:
        """Whether a value is a time; for formats that must know. Not for each row: it costs some microseconds."""
        return any(moment(written, way, 0) for way, written in self._written(value))

    def _read_canonical(self, values: Sequence[object]) -> Times:
        """All rows strings in the canonical form; raises TypeError or ValueError otherwise."""
        texts = cast("Sequence[str]", values)
        seconds = list(map(self._seconds.__getitem__, map(_SECOND, texts)))
        joined = "\n".join(texts)
        if not _is_uniform(joined, len(texts)):
            tails = "\n".join(map(_TAIL, texts)) + "\n"
            if tails.count("\n") != len(texts) or not _TAILS.fullmatch(tails):
                raise ValueError("not the canonical form")
        return Times(seconds, joined.encode().split(b"\n") if texts else [], {})

    def by_shapes(self, values: Sequence[object], before: int) -> Found:
        """What shapes say of a column: of all rows in one piece, or by their type and length. For this module."""
        kinds = set(map(type, values))
        guessed: list[Shape] = []
        if len(kinds) == 1 and kinds <= _READABLE:
            (kind,) = kinds
            texts = _texts(values, kind)
            whole = self._alike(texts, kind, before, guessed) if len(texts) == len(values) else None
            if whole is not None:
                return Found(*whole, guessed)
        found = Found([None] * len(values), [b""] * len(values), guessed)
        for kind in kinds & _READABLE:
            rows = [row for row, value in enumerate(values) if type(value) is kind]
            for group in _by_length(_texts([values[row] for row in rows], kind)):
                part = self._alike(list(group.values()), kind, before, guessed) if len(group) >= _GROUP_MIN else None
                for place, seconds, stamp in zip(group, *(part or ((), ())), strict=part is not None):
                    found.seconds[rows[place]], found.stamps[rows[place]] = seconds, stamp
        return found

    def _alike(
        self, texts: Sequence[str], kind: type, before: int, guessed: list[Shape]
    ) -> tuple[list[int | None], list[bytes]] | None:
        """Seconds and stamps of texts of one length and shape; None for others."""
        joined = "\n".join(texts)
        width, rest = divmod(len(joined) + 1, len(texts))
        if rest or width > _TEXT_CHARS_MAX or not joined.count("\n") == joined[width - 1 :: width].count("\n") == len(texts) - 1:
            return None
        for example in dict.fromkeys((texts[0], texts[len(texts) // 2], texts[-1])):
            shape = self._shape(example, kind)
            if shape is not None:
                shape.near = before
                guessed += [shape] if shape.guesses else []
                return shape.read(texts, joined, rounded=kind is float)
        return None

    def _shape(self, example: str, kind: type) -> Shape | None:
        """The shape of a text, from the cache; None where it has none."""
        ways = self._ways if kind is str else [Way(epoch) for epoch in self._epochs]
        read = ((at, way.layout.read(example)) for at, way in enumerate(ways))
        place, written = next(((at, found) for at, found in read if found is not None), (0, None))
        if written is None or not has_shape(written, example):
            return None
        key = (kind is str, place, written.at, len(written.fraction), len(example), is_canonical(example))
        if key not in self._shapes:
            if len(self._shapes) >= _SHAPES_MAX:
                self._shapes.clear()
            self._shapes[key] = Shape(ways[: place + 1], example, self._prefixes)
        return self._shapes[key]

    def alone(self, value: object, before: int) -> tuple[int, bytes, str]:
        """Second, stamp and flag of one value, after a record of the second `before`. For this module."""
        for way, written in self._written(value):
            read = moment(written, way, before)
            if read is not None and isinstance(value, str) and isinstance(way.layout, Iso) and is_canonical(value.strip()):
                return read.seconds, value.strip().encode(), read.flag
            if read is not None:
                return read.seconds, b"%b%bZ" % (self._prefixes[read.seconds], fraction(written)), read.flag
        flag = "timestamp_missing" if value is None or value == "" else "timestamp_unreadable"
        return before, b"%b000Z" % self._prefixes[before], flag

    def _written(self, value: object) -> Iterator[tuple[Way, Written]]:
        """What each layout that can read a value says of it."""
        if isinstance(value, str) and len(text := value.strip()) <= _TEXT_CHARS_MAX:
            yield from ((way, written) for way in self._ways if (written := way.layout.read(text)))
        elif type(value) in (int, float):
            yield from ((Way(epoch), written) for epoch in self._epochs if (written := epoch.number(cast("float", value))))


class Found(NamedTuple):
    """What was read together, one item a row."""

    seconds: list[int | None]
    stamps: list[bytes]
    guessed: list[Shape]
    """Shapes that guessed years."""

    @classmethod
    def nothing(cls, count: int) -> Found:
        """Of so many rows."""
        return cls([None] * count, [b""] * count, [])


Part = tuple[Timeline, Sequence[int]]
"""Some rows of a column, and what reads them."""


def read_together(parts: Sequence[Part], values: Sequence[object], before: float) -> Times:
    """Read a column whose rows are written in several ways, each after the one before it. The parts have all rows between them."""
    if len(parts) == 1:
        return parts[0][0].read(values, before)
    return _read_rows(parts, values, math.floor(before))


def read_first(read: Callable[[float], Times], seen: float) -> Times:
    """Read the first records of a stream, which was first seen at `seen`; `read` reads them as after a time."""
    times = read(seen)
    if max(times.seconds, default=0) <= seen + _DAY_S:
        return times
    times = read(seen - _TO_MIDDLE_S)
    undated = next((row for row in range(len(times.seconds)) if times.flags.get(row) not in _BY_THE_LAST), len(times.seconds))
    plain = Timeline().read([None] * undated, seen)
    return Times([*plain.seconds, *times.seconds[undated:]], [*plain.stamps, *times.stamps[undated:]], times.flags)


def _read_rows(parts: Sequence[Part], values: Sequence[object], before: int) -> Times:
    """By shapes, then what is left row by row. Where years were guessed too far apart once more, and then each row alone."""
    for _ in range(2):
        found = _by_shapes(parts, values, before)
        times = _filled(parts, values, found, before)
        if not found.guessed or _is_within_half_a_year(times.seconds, before):
            return times
        for shape in found.guessed:
            shape.clear()
    return _filled(parts, values, Found.nothing(len(values)), before)


def _by_shapes(parts: Sequence[Part], values: Sequence[object], before: int) -> Found:
    if len(parts) == 1:
        return parts[0][0].by_shapes(values, before)
    found = Found.nothing(len(values))
    for timeline, rows in parts:
        part = timeline.by_shapes([values[row] for row in rows], before)
        found.guessed.extend(part.guessed)
        for row, seconds, stamp in zip(rows, part.seconds, part.stamps, strict=True):
            found.seconds[row], found.stamps[row] = seconds, stamp
    return found


def _filled(parts: Sequence[Part], values: Sequence[object], found: Found, before: int) -> Times:
    """Read what the shapes did not, each row after the one before it."""
    seconds, stamps = found.seconds, found.stamps
    flags: dict[int, str] = {}
    left = [row for row, second in enumerate(seconds) if second is None] if None in seconds else []
    owners = {row: timeline for timeline, rows in parts for row in rows} if left and len(parts) > 1 else {}
    for row in left:
        last = cast("int", seconds[row - 1]) if row else before
        seconds[row], stamps[row], flag = owners.get(row, parts[0][0]).alone(values[row], last)
        if flag:
            flags[row] = flag
    return Times(cast("list[int]", seconds), stamps, flags)


class _Seconds(dict[str, int]):
    """`2026-02-05T14:30:45` -> Unix seconds. Raises ValueError for what is no such time."""

    def __missing__(self, text: str) -> int:
        if not _FORM.fullmatch(text):
            raise ValueError("not the canonical form")
        if len(self) >= CACHE_MAX:
            self.clear()
        seconds = int(datetime.fromisoformat(text + "+00:00").timestamp())
        self[text] = seconds
        return seconds


def _is_uniform(joined: str, count: int) -> bool:
    """Whether what follows the seconds is `.ddd…Z` of one length in all: by strided slices, faster than the regular expression."""
    width, rest = divmod(len(joined) + 1, count or 1)
    if rest or not 23 <= width <= 31 or joined[width - 1 :: width].count("\n") != count - 1:
        return False
    digits = "".join(joined[at::width] for at in range(20, width - 2))
    return (
        joined[19::width].count(".") == count
        and joined[width - 2 :: width].count("Z") == count
        and digits.isdecimal()
        and digits.isascii()
    )


def _texts(values: Sequence[object], kind: type) -> Sequence[str]:
    """The values as texts; those of numbers as their layouts read them, none at all where some are too large."""
    if kind is float:
        return list(map("%.6f".__mod__, values))
    if kind is int:
        try:
            return orjson.dumps(values)[1:-1].decode().split(",")
        except TypeError:
            return []
    return cast("Sequence[str]", values)


def _by_length(texts: Sequence[str]) -> Iterable[dict[int, str]]:
    """The texts, by their place, together with those of the same length."""
    groups: dict[int, dict[int, str]] = {}
    for place, text in enumerate(texts):
        groups.setdefault(len(text), {})[place] = text
    return groups.values()


def _is_within_half_a_year(seconds: Sequence[int], before: int) -> bool:
    return max(seconds) - _HALF_YEAR_S <= before <= min(seconds) + _HALF_YEAR_S and max(seconds) - min(seconds) <= _HALF_YEAR_S


def first_present(columns: Iterable[Sequence[object]]) -> Sequence[object]:
    """Row by row, the first value that is not None. Columns are asked for only as far as values are missing."""
    others = iter(columns)
    best = next(others)
    while absent := best.count(None):
        other = next(others, None)
        if other is None:
            break
        if absent == len(best):
            best = other
        else:
            best = [there if there is not None else spare for there, spare in zip(best, other, strict=True)]
    return best
