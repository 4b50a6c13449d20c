"""Local time: the readings of times on the wall, against turning every second of the zone into UTC and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.model.localtime import EARLIEST, LATEST, Readings, nearest_years, readings, seconds_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Monrovia"])
changes = st.sampled_from([datetime(2026, 3, 29, 2), datetime(2026, 10, 25, 2), datetime(2026, 4, 5, 2), datetime(2011, 12, 30)])
walls = st.builds(
    lambda base, seconds: base + timedelta(seconds=seconds), changes, st.integers(-100_000, 100_000)
) | st.datetimes(datetime(1972, 2, 1), datetime(2037, 12, 1)).map(lambda wall: wall.replace(microsecond=0))


@given(walls, zones)
def test_the_readings_of_a_time_are_all_moments_at_which_the_clock_shows_it(wall: datetime, name: str) -> None:
    """Looked for a day and more around, in steps of a quarter of an hour: no offset has finer ones."""
    zone = ZoneInfo(name)
    around = [seconds_of(wall) + 900 * step for step in range(-110, 110)]
    shown = [seconds for seconds in around if (EPOCH + timedelta(seconds=seconds)).astimezone(zone).replace(tzinfo=None) == wall]
    found = readings(wall, zone)
    if found.in_gap:
        assert shown == []
        assert len(found.seconds) == 1
    else:
        assert list(found.seconds) == shown


def test_a_time_that_never_was_is_read_with_the_offset_before_the_gap() -> None:
    """PEP 495: half past two becomes half past three."""
    found = readings(datetime(2026, 3, 29, 2, 30), ZoneInfo("Europe/Berlin"))
    assert found == Readings((seconds_of(datetime(2026, 3, 29, 1, 30)),), in_gap=True)


@pytest.mark.parametrize(("wall", "zone"), [(datetime(1, 1, 1), "Asia/Tokyo"), (datetime(9999, 12, 31, 23), "America/New_York")])
def test_a_time_outside_the_years_there_are_has_no_reading(wall: datetime, zone: str) -> None:
    """In UTC it would be the year 0 or 10000."""
    assert readings(wall, ZoneInfo(zone)).seconds == ()
    assert readings(wall, UTC).seconds[0] in (EARLIEST, LATEST - 3599)


@given(st.integers(EARLIEST - 10**9, LATEST + 10**9), st.sampled_from([(2, 29), (1, 1), (12, 31), (6, 15)]))
def test_the_nearest_year_of_a_day_is_among_those_that_are_told(near: int, day: tuple[int, int]) -> None:
    """Against all years there are."""
    there = [year for year in range(1, 10_000) if day != (2, 29) or (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0))]
    nearest = min(there, key=lambda year: abs(seconds_of(datetime(year, *day)) - near))
    assert nearest in nearest_years(*day, near)
