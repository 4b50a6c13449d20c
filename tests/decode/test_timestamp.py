"""Timestamps: formats as a table, and the column paths against reading row by row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.decode.timestamp import CACHE_MAX, Timeline, first_present, read_first
from tests.decode import oracle_time

NOON = 1_770_301_845
"""2026-02-05T14:30:45Z."""
BEFORE = 1_700_000_000.75

READABLE = [
    ("2026-02-05T14:30:45Z", NOON, "2026-02-05T14:30:45Z"),
    ("2026-02-05T14:30:45.1Z", NOON, "2026-02-05T14:30:45.1Z"),
    ("2026-02-05T14:30:45.123Z", NOON, "2026-02-05T14:30:45.123Z"),
    ("2026-02-05T14:30:45.123456789Z", NOON, "2026-02-05T14:30:45.123456789Z"),
    ("2026-02-05T14:30:45.1234567891Z", NOON, "2026-02-05T14:30:45.123456789Z"),
    ("2026-02-05T14:30:45.123456", NOON, "2026-02-05T14:30:45.123456Z"),
    ("2026-02-05 14:30:45", NOON, "2026-02-05T14:30:45.000Z"),
    ("2026-02-05T14:30:45,123Z", NOON, "2026-02-05T14:30:45.123Z"),
    ("2026-02-05 14:30:45,123", NOON, "2026-02-05T14:30:45.123Z"),
    ("2026-02-05 14:30:45.5 UTC", NOON, "2026-02-05T14:30:45.500Z"),
    ("2026-02-05t14:30:45z", NOON, "2026-02-05T14:30:45.000Z"),
    (" 2026-02-05T14:30:45.123Z\n", NOON, "2026-02-05T14:30:45.123Z"),
    ("2026-02-05T14:30Z", NOON - 45, "2026-02-05T14:30:00.000Z"),
    ("2026-02-05T15:30:45+01:00", NOON, "2026-02-05T14:30:45.000Z"),
    ("2026-02-05T15:30:45.1+01", NOON, "2026-02-05T14:30:45.100Z"),
    ("2026-02-05T09:00:45-0530", NOON, "2026-02-05T14:30:45.000Z"),
    ("2026-02-06T00:30:45.25+10:00", NOON, "2026-02-05T14:30:45.250Z"),
    ("2026-02-05T14:30:45-00:00", NOON, "2026-02-05T14:30:45.000Z"),
    (NOON, NOON, "2026-02-05T14:30:45.000Z"),
    (NOON * 1000 + 123, NOON, "2026-02-05T14:30:45.123Z"),
    (NOON * 10**6 + 123_456, NOON, "2026-02-05T14:30:45.123456Z"),
    (NOON * 10**9 + 123_456_789, NOON, "2026-02-05T14:30:45.123456789Z"),
    (str(NOON), NOON, "2026-02-05T14:30:45.000Z"),
    (f"{NOON}.123", NOON, "2026-02-05T14:30:45.123Z"),
    (f"{NOON}123", NOON, "2026-02-05T14:30:45.123Z"),
    (f"{NOON}123.5", NOON, "2026-02-05T14:30:45.1235Z"),
    (1_732_540_000.123, 1_732_540_000, "2024-11-25T13:06:40.123Z"),
    (float(NOON), NOON, "2026-02-05T14:30:45.000Z"),
    (NOON * 1000.0 + 0.5, NOON, "2026-02-05T14:30:45.0005Z"),
    (0, 0, "1970-01-01T00:00:00.000Z"),
    ("1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00Z"),
    ("1969-12-31T23:59:59.999Z", -1, "1969-12-31T23:59:59.999Z"),
    ("0001-01-01T00:00:00Z", -62_135_596_800, "0001-01-01T00:00:00Z"),
    ("0999-01-01 00:00:00", -30_641_760_000, "0999-01-01T00:00:00.000Z"),
    ("2999-12-31T23:59:59Z", 32_503_679_999, "2999-12-31T23:59:59Z"),
    ("9999-12-31T23:59:59.999999999Z", 253_402_300_799, "9999-12-31T23:59:59.999999999Z"),
    (10**11 - 1, 10**11 - 1, "5138-11-16T09:46:39.000Z"),
    (10**11, 10**8, "1973-03-03T09:46:40.000Z"),
]
UNREADABLE = [
    "yesterday", "2026-02-30T00:00:00Z", "2026-02-05T25:00:00Z", "2026-02-05T14:30:60Z", "2026-02-05", "14:30:45", "2026-02-05T14:30:45.Z", "17",
    "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00", "2026-02-05T14:30:45+25:00",
    "\u0662\u0660\u0662\u0666-02-05T14:30:45Z", "2026-02-05T14:30:45.\u0661Z", "2026-02-05T14:30:45Z\nx", -1, -0.5, 10**20, 10**30, 1e20, float("inf"), True,
    False, [], ["2026-02-05T14:30:45Z"], {}, {"$date": "2026-02-05T14:30:45Z"}, "9" * 5000, "2026-02-05T14:30:45.123456789012345678901234567890+99:99",
]  # fmt: skip
MISSING = [None, ""]

canonical = st.builds(
    lambda moment, digits: f"{moment:%Y-%m-%dT%H:%M:%S}{'.' + digits if digits else ''}Z",
    st.datetimes(datetime(1900, 1, 1), datetime(2999, 1, 1)),
    st.text("0123456789", max_size=9),
)
values = st.one_of(
    canonical,
    st.sampled_from(["2026-02-05T14:30:45.123Z", "2026-02-05T14:30:46.200Z", "2026-02-05T14:30:46.2Z"]),
    st.sampled_from([value for value, _, _ in READABLE]),
    st.sampled_from(UNREADABLE + MISSING),
    st.integers(-(10**21), 10**21),
    st.floats(),
    st.text(max_size=25),
)
columns = st.lists(values, max_size=8) | st.lists(canonical, min_size=1, max_size=8)


def told(timeline: Timeline, values: Sequence[object], before: float) -> list[tuple[int, bytes, str]]:
    """What a timeline says of each row: second, stamp, flag."""
    times = timeline.read(values, before)
    return [(*pair, times.flags.get(row, "")) for row, pair in enumerate(zip(times.seconds, times.stamps, strict=True))]


@settings(deadline=None)
@given(columns)
def test_a_column_is_read_as_its_rows_are_one_by_one(values: list[object]) -> None:
    """The path for canonical text and the careful one give the same seconds, text and flags, for any mix."""
    timeline, expected = Timeline(), oracle_time.rows(values, BEFORE)
    for _ in range(2):  # the second time from the cache
        assert told(timeline, values, BEFORE) == expected


@settings(deadline=None)
@given(columns, st.integers(0, 8))
def test_times_are_the_same_when_a_batch_is_cut_in_two(values: list[object], cut: int) -> None:
    """What the second batch needs of the first is its last time in whole seconds, as the ledger keeps it."""
    timeline = Timeline()
    whole = timeline.read(values, BEFORE)
    first = timeline.read(values[:cut], BEFORE)
    second = timeline.read(values[cut:], float(first.seconds[-1]) if first.seconds else BEFORE)
    assert [*first.seconds, *second.seconds] == whole.seconds
    assert [*first.stamps, *second.stamps] == list(whole.stamps)
    assert first.flags | {row + len(first.seconds): flag for row, flag in second.flags.items()} == whole.flags


@settings(deadline=None)
@given(st.lists(st.text("0123456789.Z\n", max_size=12), min_size=1, max_size=6))
def test_a_tail_is_never_taken_for_canonical_when_its_neighbours_make_the_sum_right(tails: list[str]) -> None:
    """The strided check of all tails at once agrees with one row at a time."""
    values = [f"2026-02-05T14:30:45{tail}" for tail in tails]
    assert told(Timeline(), values, BEFORE) == oracle_time.rows(values, BEFORE)


@pytest.mark.parametrize(("value", "seconds", "text"), READABLE)
def test_a_time_is_read_when_its_format_is_known(value: object, seconds: int, text: str) -> None:
    """Seconds rounded down, and the text of `@timestamp`."""
    times = Timeline().read([value], BEFORE)
    assert (times.seconds, list(times.stamps), times.flags) == ([seconds], [text.encode()], {})


@pytest.mark.parametrize("value", UNREADABLE + MISSING)
def test_a_row_has_the_time_before_it_when_its_own_is_no_time(value: object) -> None:
    """First that of the stream, then that of the record before, to the second; the row is flagged."""
    times = Timeline().read([value, "2026-02-05T14:30:45.123Z", value], BEFORE)
    assert times.seconds == [1_700_000_000, NOON, NOON]
    assert list(times.stamps) == [b"2023-11-14T22:13:20.000Z", b"2026-02-05T14:30:45.123Z", b"2026-02-05T14:30:45.000Z"]
    flag = "timestamp_missing" if value in (None, "") else "timestamp_unreadable"
    assert times.flags == {0: flag, 2: flag}
    assert Timeline().read([value], BEFORE).flags == {0: flag}


def test_the_cache_is_bounded_when_every_record_has_another_second() -> None:
    """It forgets everything when it is full, and goes on."""
    timeline = Timeline()
    values = [
        f"2026-02-{day:02}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z"
        for day in (1, 2)
        for second in range(0, 86_400, 7)
    ]
    assert len(values) > CACHE_MAX
    times = timeline.read(values, BEFORE)
    assert times.seconds == [1_769_904_000 + 86_400 * day + second for day in (0, 1) for second in range(0, 86_400, 7)]
    assert len(timeline._seconds) <= CACHE_MAX


@settings(deadline=None)
@given(st.lists(st.lists(st.none() | st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=4))
def test_the_first_field_that_is_there_counts_row_by_row(columns: list[list[int | None]]) -> None:
    """Null counts as not there."""
    expected = [next((value for value in row if value is not None), None) for row in zip(*columns, strict=True)]
    assert list(first_present(columns)) == expected


def test_a_column_goes_on_as_the_same_object_when_it_is_the_only_one() -> None:
    """Nothing is copied where one of the fields has all the times; the chain goes by that."""
    full, empty = ["x", "y"], [None, None]
    assert first_present([full, empty]) is full
    assert first_present([empty, full]) is full


LAYOUTS = (
    "%d/%b/%Y:%H:%M:%S %z",
    "%Y-%m-%d %H:%M:%S,%f",
    "%b %e %H:%M:%S",
    "%a %b %d %H:%M:%S.%f %Y",
    "%m%d %H:%M:%S.%f",
    "%Y-%m-%d %H:%M:%S",
    "iso8601",
    "unix",
    "unix_ms",
    "unix_ns",
)
NEAR_CHANGES = [datetime(2026, 3, 29, 2), datetime(2026, 10, 25, 2), datetime(2025, 12, 31, 23), datetime(2024, 2, 29, 12)]
"""Gap and overlap of Berlin, New Year, a leap day."""
moments = st.builds(
    lambda base, seconds: base + timedelta(seconds=seconds),
    st.sampled_from(NEAR_CHANGES),
    st.integers(-7200, 7200) | st.integers(-200 * 86400, 200 * 86400),
)
fractions = st.sampled_from(["1", "12", "123", "045", "123456", "000000", "123456789", "12345678901"])


def written(layout: str, moment: datetime, fraction: str, offset: str) -> object:
    """A moment as text or number of a layout."""
    seconds = int(moment.replace(tzinfo=UTC).timestamp())
    if layout.startswith("unix"):
        digits = {"unix": 0, "unix_ms": 3, "unix_ns": 9}[layout]
        value = int(f"{seconds}{'123456789'[:digits]}")
        return [value, str(value), float(f"{seconds}.{fraction[:6]}")][len(fraction) % 3]
    if layout == "iso8601":
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction}{offset}"
    return moment.strftime(layout.replace("%f", fraction).replace("%z", "+0200").replace("%Y", "%Y"))


some_written = st.builds(
    lambda layouts, at, moment, fraction, offset: written(layouts[at % len(layouts)], moment, fraction, offset),
    st.shared(st.lists(st.sampled_from(LAYOUTS), min_size=1, max_size=3, unique=True), key="layouts"),
    st.integers(0, 2),
    moments,
    fractions,
    st.sampled_from(["", "Z", "+01:00"]),
)
shared_layouts = st.shared(st.lists(st.sampled_from(LAYOUTS), min_size=1, max_size=3, unique=True), key="layouts")
strange = st.sampled_from(
    [None, "", "yesterday", " 2026-02-05T14:30:45.123Z ", "Feb 30 14:30:45", "2026-02-05 14:30:4x,123", 17, 1.5, True, []]
)
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
folds = st.sampled_from(["auto", "first", "second"])


@settings(deadline=None, max_examples=300)
@given(shared_layouts, st.lists(some_written | strange, max_size=12), moments, zones, folds)
def test_a_column_with_layouts_is_read_as_strptime_reads_its_rows(
    layouts: list[str], values: list[object], before: datetime, zone: str, fold: str
) -> None:
    """One after the other, whatever stands beside; the second time from the cache."""
    timeline, near = Timeline(layouts, zone, fold), before.replace(tzinfo=UTC).timestamp()
    expected = oracle_time.rows(values, near, layouts, zone, fold)
    for _ in range(2):
        assert told(timeline, values, near) == expected


@settings(deadline=None)
@given(st.sampled_from(LAYOUTS), st.lists(moments, min_size=1, max_size=30), fractions, zones, st.booleans())
def test_a_column_of_one_layout_is_read_as_strptime_reads_its_rows(
    layout: str, found: list[datetime], fraction: str, zone: str, ordered: bool
) -> None:
    """All texts of one length, where they are: the way that goes by shape."""
    found = sorted(found) if ordered else found
    values = [written(layout, moment, fraction, "") for moment in found]
    before = found[0].replace(tzinfo=UTC).timestamp()
    assert told(Timeline([layout], zone), values, before) == oracle_time.rows(values, before, [layout], zone)


@settings(deadline=None)
@given(shared_layouts, st.lists(some_written | strange, max_size=12), st.integers(0, 12), zones)
def test_times_with_layouts_are_the_same_when_a_batch_is_cut_in_two(
    layouts: list[str], values: list[object], cut: int, zone: str
) -> None:
    """Years, folds and missing times hang on the last second of the batch before, and on nothing else."""
    timeline = Timeline(layouts, zone)
    whole = told(timeline, values, BEFORE)
    first = told(timeline, values[:cut], BEFORE)
    assert [*first, *told(timeline, values[cut:], first[-1][0] if first else BEFORE)] == whole


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        pytest.param(["Jun 10 12:00:00"], ["2025-06-10T12:00:00"], id="a file from last summer, found in February"),
        pytest.param(["Feb  6 14:00:00"], ["2026-02-06T14:00:00"], id="not a day ahead: a clock that is fast"),
        pytest.param(["Feb  7 14:00:00"], ["2025-02-07T14:00:00"], id="nearly a year old"),
        pytest.param(["Jun 10 12:00:00", "Dec  1 00:00:00", "Jan 31 00:00:00"], ["2025-06-10T12:00:00", "2025-12-01T00:00:00", "2026-01-31T00:00:00"], id="up to now"),
        pytest.param([None, "none", "Jun 10 12:00:00", None], ["2026-02-05T14:30:45", "2026-02-05T14:30:45", "2025-06-10T12:00:00", "2025-06-10T12:00:00"], id="those before it have no time"),
        pytest.param(["2030-01-01T00:00:00Z"], ["2030-01-01T00:00:00"], id="a year that is said"),
        pytest.param([], [], id="nothing"),
    ],
)  # fmt: skip
def test_the_first_times_of_a_stream_are_of_the_past_when_they_say_no_year(texts: list[str | None], expected: list[str]) -> None:
    """A file that is found may be old, but is not of next summer."""
    timeline = Timeline(["%b %e %T"])
    times = read_first(lambda after: timeline.read(texts, after), float(NOON))
    assert [f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}" for second in times.seconds] == expected
    assert [stamp[:19].decode() for stamp in times.stamps] == expected


@pytest.mark.parametrize(
    ("text", "stamp", "flag"),
    [
        ("2026-02-05 15:30:45 CET", "2026-02-05T14:30:45.000Z", ""),
        ("2026-07-05 15:30:45 cest", "2026-07-05T13:30:45.000Z", ""),
        ("2026-02-05 14:30:45 UTC", "2026-02-05T14:30:45.000Z", ""),
        ("2026-02-05 14:30:45 GMT", "2026-02-05T14:30:45.000Z", ""),
        ("2026-10-25 02:30:00 CEST", "2026-10-25T00:30:00.000Z", ""),
        ("2026-10-25 02:30:00 CET", "2026-10-25T01:30:00.000Z", ""),
        ("2026-02-05 15:30:45 CEST", "2023-11-14T22:13:20.000Z", "timestamp_unreadable"),
        ("2026-02-05 15:30:45 PST", "2023-11-14T22:13:20.000Z", "timestamp_unreadable"),
    ],
)
def test_a_zone_that_is_named_is_that_of_the_settings_or_utc(text: str, stamp: str, flag: str) -> None:
    """Its name tells the hours that come twice apart; a name that the zone does not have then is no time."""
    found = told(Timeline(["%Y-%m-%d %H:%M:%S %Z"], "Europe/Berlin"), [text] * 5, BEFORE)
    assert [(read, why) for _, read, why in found] == [(stamp.encode(), flag)] * 5


def test_a_text_with_its_zone_is_read_whatever_the_layouts() -> None:
    """As frames and senders tell their times; one without a zone is not."""
    found = told(Timeline(["%b %e %H:%M:%S"], "Europe/Berlin"), ["2026-02-05T14:30:45Z", "2026-02-05T14:30:45"], BEFORE)
    assert [why for *_, why in found] == ["", "timestamp_unreadable"]


def test_the_caches_of_shapes_are_bounded() -> None:
    """Texts of ever other lengths, and ever other seconds."""
    timeline = Timeline(["%Y-%m-%d %H:%M:%S.%f"])
    for digits in range(1, 30):
        timeline.read([f"2026-02-05 14:30:45.{'1' * digits}"] * 5, BEFORE)
    for day in range(1, 5):
        timeline.read(
            [f"2026-02-0{day} {at // 3600:02}:{at // 60 % 60:02}:{at % 60:02}.123" for at in range(0, 86_400, 20)], BEFORE
        )
    assert len(timeline._shapes) <= 16
    assert max(map(len, timeline._shapes.values())) <= 8192
    assert len(timeline._prefixes) <= 20_000


def test_a_layout_or_a_zone_that_is_none_is_refused() -> None:
    """In words for the user."""
    with pytest.raises(ValueError, match="expected a layout"):
        Timeline(["yyyy"])
    with pytest.raises(ValueError, match="did you mean `Europe/Berlin`"):
        Timeline((), "Europe/Berlni")
