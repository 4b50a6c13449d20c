"""Moments: from what a text says of a time to the second it was, with zone, daylight saving, and the year that is not said.

The rules are told in `timestamp.py`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Literal, NamedTuple

from shipper.model.localtime import EARLIEST, LATEST, Readings, nearest_years, readings

if TYPE_CHECKING:
    from shipper.config.time_layout import TimeLayout, Written

Fold = Literal["auto", "first", "second"]
JITTER_S = 10
"""So much earlier than the record before it a record may be, and still be of the same hour: threads write out of order."""
RECENT_S = 3600
"""A record before it that is later than this tells nothing of the order: an old file whose stream was first seen today."""
_UTC_NAMES = ("UTC", "GMT", "Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Way(NamedTuple):
    """How some times are written, and where."""

    layout: TimeLayout
    zone: tzinfo = UTC
    fold: Fold = "auto"


class Moment(NamedTuple):
    """A time that was read."""

    seconds: int
    """Unix seconds, within the years 1 to 9999."""
    flag: str = ""
    """Of a time that was read with doubt."""


def moment(written: Written, way: Way, before: int) -> Moment | None:
    """The second of a text, after a record of the second `before`; None where there is none."""
    found = _readings(written, way.zone, before)
    if not found.seconds:
        return None
    if found.in_gap:
        return Moment(found.seconds[0], "timestamp_gap")
    if len(found.seconds) == 1:
        return Moment(found.seconds[0])
    first, second = found.seconds
    in_order = before - JITTER_S <= first or before - RECENT_S > second
    return Moment(first if way.fold == "first" or (way.fold == "auto" and in_order) else second, "timestamp_ambiguous")


def _readings(written: Written, zone: tzinfo, before: int) -> Readings:
    if written.wall is None:
        return Readings((written.seconds,) if EARLIEST <= written.seconds <= LATEST else ())
    named = ""
    if written.offset is not None:
        zone = timezone(written.offset)
    elif written.zone_name in _UTC_NAMES:
        zone = UTC
    else:
        named = written.zone_name
    walls = [written.wall] if written.has_year else _years(written.wall, before)
    found = [_called(readings(wall, zone), zone, named) for wall in walls]
    return min((one for one in found if one.seconds), key=lambda one: abs(one.seconds[0] - before), default=Readings(()))


def _years(wall: datetime, before: int) -> list[datetime]:
    """A time on the wall in each year that may be meant."""
    return [wall.replace(year=year) for year in nearest_years(wall.month, wall.day, before)]


def _called(found: Readings, zone: tzinfo, name: str) -> Readings:
    """Those of the readings at which the zone's time has this name."""
    if not name:
        return found
    return Readings(tuple(seconds for seconds in found.seconds if _name(seconds, zone) == name), found.in_gap)


def _name(seconds: int, zone: tzinfo) -> str:
    return ((_EPOCH + timedelta(seconds=seconds)).astimezone(zone).tzname() or "").upper()
