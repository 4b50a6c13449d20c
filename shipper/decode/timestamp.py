"""Timestamps: the event time of each row, as whole seconds and as the text of `@timestamp`.

RULES
- `@timestamp` is UTC, `2026-02-05T14:30:45.123Z`, with up to nine digits of fraction (Elasticsearch `strict_date_optional_time`).
- Understood: ISO 8601 / RFC 3339 with `T` or a blank, `.` or `,` before the fraction, an offset, `Z` or nothing (UTC); a number,
  or text of digits, as Unix seconds, milliseconds, microseconds or nanoseconds, told apart by magnitude.
- A text that has this form already, with any number of digits up to nine, is kept as it is.
- A time that is missing or unreadable is the one of the record before it in its stream, in whole seconds (the checkpoint knows
  no more), else the time the stream was first seen: never the clock at sending, so that a resend gives the same document. The
  row is flagged `timestamp_missing` or `timestamp_unreadable`. The record's own field is never changed.
- Years outside 1..9999 are unreadable.

THEORY
A column of strings in the canonical form costs a slice and a dict lookup a row: the first 19 characters are looked up in a
bounded cache of seconds; what follows is checked in one joined text, by strides where all are of one length, and that text
encoded and split again gives the stamps. Everything else goes row by row.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import TYPE_CHECKING, cast

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SECOND = itemgetter(slice(0, 19))
_TAIL = itemgetter(slice(19, None))
_SHAPE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", re.ASCII)
_TAILS = re.compile(r"(?:(?:\.[0-9]{1,9})?Z\n)*")
_CANONICAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z", re.ASCII)
_ISO = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,9})\d*)?\s*(Z|z|UTC|[+-]\d\d(?::?\d\d)?)?", re.ASCII)
_DIGITS = re.compile(r"(\d{9,19})(?:\.(\d{1,9})\d*)?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CACHE_MAX = 20_000
"""Seconds remembered; at about 120 bytes each."""


class Times(msgspec.Struct):
    """Event times of a batch, one item a row."""

    seconds: list[int]
    """Whole Unix seconds, UTC, rounded down."""
    stamps: Sequence[bytes]
    """The text of `@timestamp`."""
    flags: dict[int, str]
    """`timestamp_missing` or `timestamp_unreadable`, by row."""


class _Seconds(dict[str, int]):
    """`2026-02-05T14:30:45` -> Unix seconds. Raises ValueError for what is no such time."""

    def __missing__(self, text: str) -> int:
        if not _SHAPE.fullmatch(text):
            raise ValueError("not the canonical form")
        if len(self) >= CACHE_MAX:
            self.clear()
        seconds = int(datetime.fromisoformat(text + "+00:00").timestamp())
        self[text] = seconds
        return seconds


class Timeline:
    """Reads columns of timestamps. Holds the cache; one for a pipeline."""

    def __init__(self) -> None:
        """Start with an empty cache."""
        self._seconds = _Seconds()

    def read(self, values: Sequence[object], before: float) -> Times:
        """Read a column. `before` is the time, in Unix seconds, for rows that come before any readable one."""
        try:
            return self._read_canonical(values)
        except (TypeError, ValueError, KeyError):  # KeyError: a dict is asked for a slice, from Python 3.12 on
            return self._read_each(values, before)

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

    def _read_each(self, values: Sequence[object], before: float) -> Times:
        seconds = math.floor(before)
        times = Times([], [], {})
        stamps: list[bytes] = []
        for row, value in enumerate(values):
            found = parse(value)
            if found is None:
                times.flags[row] = "timestamp_missing" if value is None or value == "" else "timestamp_unreadable"
                stamps.append(stamp(_EPOCH + timedelta(seconds=seconds), "000"))
            else:
                seconds = (found[0] - _EPOCH) // timedelta(seconds=1)
                stamps.append(found[1])
            times.seconds.append(seconds)
        times.stamps = stamps
        return times


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


def parse(value: object) -> tuple[datetime, bytes] | None:
    """Read one timestamp: the time in UTC (to microseconds) and its canonical text. None where it cannot be read."""
    try:
        if isinstance(value, str):
            return _parse_text(value.strip())
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return _parse_epoch(value)
    except (ValueError, OverflowError):
        pass
    return None


def _parse_text(text: str) -> tuple[datetime, bytes] | None:
    if digits := _DIGITS.fullmatch(text):
        return _parse_epoch(int(digits[1]), digits[2] or "")
    found = _ISO.fullmatch(text)
    if not found:
        return None
    day, clock, fraction, zone = found.groups()
    zone = "+00:00" if zone in (None, "Z", "z", "UTC") else zone
    if len(zone) == 3:
        zone += ":00"
    moment = datetime.fromisoformat(f"{day}T{clock}{zone}").astimezone(UTC)
    return moment, text.encode() if _CANONICAL.fullmatch(text) else stamp(moment, fraction or "000")


def _parse_epoch(value: float, fraction: str = "") -> tuple[datetime, bytes] | None:
    """Seconds below 10^11 (the year 5138), then milliseconds, microseconds, nanoseconds, three digits each."""
    if isinstance(value, float):
        if not 0 <= value < 1e20:
            return None
        whole, _, rest = f"{value:.6f}".partition(".")
        value, fraction = int(whole), rest.rstrip("0")
    if not 0 <= value < 10**20:
        return None
    digits = 0
    while value >= 10 ** (11 + digits):
        digits += 3
    if digits > 9:
        return None
    seconds, below = divmod(value, 10**digits)
    text = (f"{below:0{digits}}" if digits else "") + fraction
    moment = _EPOCH + timedelta(seconds=int(seconds))
    return moment, stamp(moment, (text or "000")[:9])


def stamp(moment: datetime, fraction: str) -> bytes:
    """The canonical text of a time in UTC; `fraction` is its digits below the second, at least three are written."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction:0<3}Z".encode() if moment.year >= 1000 else _early(moment, fraction)


def _early(moment: datetime, fraction: str) -> bytes:
    """`%Y` does not pad years below 1000 on every platform."""
    return f"{moment.year:04}-{moment:%m-%dT%H:%M:%S}.{fraction:0<3}Z".encode()


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
