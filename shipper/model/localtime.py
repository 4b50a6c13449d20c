"""Local time: what moment a time on the wall stands for, in a zone, with daylight saving, and in a year that it does not say.

RULES
- A time that comes twice (an overlap, when the clock goes back) has two readings, the earlier first.
- A time that never was (a gap, when the clock goes forward) is read with the offset before the gap (PEP 495, `fold=0`).
- A time that says no year takes the one that brings it nearest to another time; a 29th of February looks for leap years.
- Moments are whole Unix seconds. Those outside the years 1 to 9999 have no reading.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from difflib import get_close_matches
from typing import NamedTuple, Self
from zoneinfo import ZoneInfo, available_timezones

EARLIEST, LATEST = -62_135_596_800, 253_402_300_799
"""The first and the last second of the years 1 to 9999."""
_LEAP_YEARS_APART = 8
"""1896 to 1904: 1900 had no 29th of February."""
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  a time on the wall, as all here
_SECOND = timedelta(seconds=1)


class Timezone(str):
    """A zone of the tz database, `Europe/Berlin`; as a setting it is refused where the machine does not know it."""

    __slots__ = ()
    expected = "a time zone such as UTC or Europe/Berlin"

    @property
    def info(self) -> tzinfo:
        """The zone. Raises ValueError, OSError or KeyError where it is not known."""
        return UTC if self == "UTC" else ZoneInfo(self)

    @classmethod
    def from_config(cls, value: object) -> Self:
        """Take a name."""
        if isinstance(value, str):
            made = cls(value)
            try:
                _ = made.info
            except (ValueError, OSError, KeyError):
                pass
            else:
                return made
        close = get_close_matches(str(value)[:60].lower(), names := {name.lower(): name for name in available_timezones()}, 1)
        hint = f"; did you mean `{names[close[0]]}`?" if close else ""
        raise ValueError(f"expected {cls.expected}, got {str(value)[:60]!r}{hint}")


class Readings(NamedTuple):
    """The moments that a time on the wall may stand for."""

    seconds: tuple[int, ...]
    """One; two of an overlap; none outside the years 1 to 9999."""
    in_gap: bool = False


def readings(wall: datetime, zone: tzinfo) -> Readings:
    """The readings of a naive time in whole seconds."""
    if zone is UTC:
        return Readings((seconds_of(wall),))
    earlier, later = (wall.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta() for fold in (0, 1))
    found = dict.fromkeys(seconds_of(wall - offset) for offset in (earlier, later) if _can_shift(wall, offset))
    in_gap = earlier < later
    return Readings(tuple(found)[:1] if in_gap else tuple(found), in_gap)


def nearest_years(month: int, day: int, near: float) -> list[int]:
    """The years that have this day and may be the nearest to a time in Unix seconds, in ascending order."""
    year = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=min(max(near, EARLIEST), LATEST))).year
    reach = _LEAP_YEARS_APART if (month, day) == (2, 29) else 1
    return [one for one in range(max(year - reach, 1), min(year + reach, 9999) + 1) if reach == 1 or _is_leap(one)]


def seconds_of(wall: datetime) -> int:
    """Unix seconds of a naive time in UTC."""
    return (wall - _EPOCH) // _SECOND


def _can_shift(wall: datetime, offset: timedelta) -> bool:
    return EARLIEST <= seconds_of(wall) - offset // _SECOND <= LATEST


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
