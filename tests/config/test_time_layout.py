"""Layouts of times: against `strptime`, what is more than it reads, and what is refused."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shipper.config.time_layout import Written, layout

DIRECTIVES = ["%Y", "%y", "%m", "%d", "%j", "%b", "%B", "%a", "%A", "%H", "%I", "%p", "%M", "%S", "%f", "%z"]
directives = st.lists(st.sampled_from(DIRECTIVES), unique=True, max_size=9)
between = st.sampled_from([" ", "-", "/", ":", ".", ", ", "[", "T"])
layouts = st.builds(lambda names, glue: glue.join(names), directives, between)
moments = st.datetimes(datetime(1969, 1, 1), datetime(2068, 12, 31))


@given(layouts, moments)
@example("%d/%b/%Y:%H:%M:%S %z", datetime(2026, 2, 5, 14, 30, 45))
def test_what_strftime_writes_is_read_as_strptime_reads_it(text: str, moment: datetime) -> None:
    """Whatever a layout holds, if it is one."""
    try:
        made = layout(text)
    except ValueError:
        return
    shown = moment.strftime(text.replace("%z", "+0130"))
    expected = datetime.strptime(shown, text) if {"%Y", "%y"} & set(re.findall("%.", text)) else None
    found = made.read(shown)
    assert found is not None
    assert made.matches(shown)
    if expected is not None:
        assert found.wall == expected.replace(microsecond=0, tzinfo=None)
        assert found.offset == expected.utcoffset()
    assert found.fraction == (f"{moment.microsecond:06}" if "%f" in text else "")
    assert found.at < 0 or shown[found.at :].startswith(found.fraction)


@given(
    st.sampled_from(["%d/%b/%Y:%H:%M:%S %z", "%m%d %H:%M:%S.%f", "%I:%M %p %A %d %B %Y", "%Y-%j", "iso8601", "unix_ms"]),
    st.data(),
)
def test_texts_like_a_time_raise_nothing_and_are_no_time_unless_they_have_the_shape(text: str, data: st.DataObject) -> None:
    """Digits, names and signs in any order."""
    made = layout(text)
    found = data.draw(
        st.from_regex(getattr(made, "_pattern", None) or made._PATTERN, fullmatch=True) | st.text("0123 :.Z+-TFeb/", max_size=25)
    )
    assert made.matches(found) or made.read(found) is None


@pytest.mark.parametrize(
    ("text", "value", "wall"),
    [
        ("%b %e %H:%M:%S", "Feb  5 14:30:45", "0004-02-05 14:30:45"),
        ("%b %e %T", "feb 29 14:30:45", "0004-02-29 14:30:45"),
        ("%F %T,%f", "2026-02-05 14:30:45,123", "2026-02-05 14:30:45"),
        ("%D %R", "02/05/26 14:30", "2026-02-05 14:30:00"),
        ("%m%d %H:%M:%S.%f", "0205 14:30:45.123456", "0004-02-05 14:30:45"),
        ("%Y%m%d%H%M%S", "20260205143045", "2026-02-05 14:30:45"),
        ("%d %B %Y %I:%M %p", "5 FEBRUARY 2026 2:30 pm", "2026-02-05 14:30:00"),
        ("%d %B %Y %I:%M %p", "5 February 2026 12:30 AM", "2026-02-05 00:30:00"),
        ("%Y-%j", "2024-366", "2024-12-31 00:00:00"),
        ("%d.%m.%Y %H:%M", "5.2.2026 4:30", "2026-02-05 04:30:00"),
        ("100%% %Y-%m-%d".replace("100", ""), "% 2026-02-05", "2026-02-05 00:00:00"),
        ("iso8601", "2026-02-05 14:30", "2026-02-05 14:30:00"),
    ],
)
def test_a_time_is_read_in_its_layout(text: str, value: str, wall: str) -> None:
    """Aliases, one-digit numbers, names in any case, twelve hours."""
    found = layout(text).read(value)
    assert found is not None
    assert str(found.wall) == wall
    assert found.has_year == (found.wall is not None and found.wall.year != 4)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("%m%d %H:%M", "25 14:30"),
        ("%Y-%j", "2025-366"),
        ("%d %b %Y", "30 Feb 2026"),
        ("%d %b %Y", "5 Mai 2026"),
        ("%d %b %Y", "\u0665 Feb 2026"),
        ("%d %b %Y %H", "5 Feb 2026 24"),
        ("%d %b %Y %I %p", "5 Feb 2026 13 PM"),
        ("%Y-%m-%d %S.%f", "2026-02-05 45."),
        ("%F%z", "2026-02-05+24:00"),
        ("%F", "2026-02-05 "),
        ("unix", "-1"),
        ("unix", "1e9"),
        ("unix", "yesterday"),
        ("iso8601", "1770301845"),
    ],
)
def test_what_is_no_time_of_the_layout_is_not_read(text: str, value: str) -> None:
    """Days that do not exist, digits of other scripts, more than there is."""
    assert layout(text).read(value) is None


@pytest.mark.parametrize(
    ("value", "offset"), [("Z", 0), ("+01", 60), ("-0530", -330), ("+05:30", 330), ("-00:00", 0), ("+01:00:30", 60.5)]
)
def test_an_offset_is_read_in_all_its_forms(value: str, offset: float) -> None:
    """As RFC 3339 and strftime write it, or shorter."""
    assert layout("%F %z").read(f"2026-02-05 {value}") == Written(datetime(2026, 2, 5), offset=timedelta(minutes=offset))


@pytest.mark.parametrize(
    ("text", "value", "seconds", "fraction", "at"),
    [
        ("unix", "1770301845", 1_770_301_845, "", -1),
        ("unix", "1770301845.5", 1_770_301_845, "5", 11),
        ("unix_ms", "1770301845123", 1_770_301_845, "123", 10),
        ("unix_ms", "1770301845123.5", 1_770_301_845, "1235", -1),
        ("unix_us", "1770301845123456", 1_770_301_845, "123456", 10),
        ("unix_ns", "17", 0, "000000017", -1),
    ],
)
def test_a_unit_is_taken_at_its_word(text: str, value: str, seconds: int, fraction: str, at: int) -> None:
    """Whatever the magnitude."""
    assert layout(text).read(value) == Written(seconds=seconds, fraction=fraction, at=at)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("iso8061", r"expected a layout such as .*, got 'iso8061'; did you mean `iso8601`\?$"),
        ("", "expected a layout"),
        ("YYYY-MM-DD", "expected a layout"),
        ("%Y-%m-%Q", r"`%Q` is not known in a layout; known are %A, %B, %D"),
        ("%Y-%m-%d %", "`%` is not known"),
        ("%H:%M:%S", "says month and day"),
        ("%j", "says month and day"),
        ("%b %Y", "says month and day"),
        ("%d %e %b", "`%e` stands twice"),
        ("%b %B %d", "`%B` stands twice"),
        ("%m %b %d", "once each"),
        ("%F %z %Z", "once each"),
        ("%F %I:%M", "need each other"),
        ("%F %H %p", "need each other"),
        ("%F %S%f", "a fraction"),
        ("%F %f%H", "a fraction"),
        ("%F 00:00", "no digits of its own"),
        ("%F" + " " * 70 + "x", "at most 64 characters"),
    ],
)
def test_what_is_no_layout_is_refused_with_what_is_expected(text: str, why: str) -> None:
    """In words that a user's configuration is refused with."""
    with pytest.raises(ValueError, match=why):
        layout(text)
