"""Syslog messages: the examples of the RFCs, what programs send, round trips, the nearest year, and that no text gets lost."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.model.localtime import Timezone
from shipper.model.syslog import FACILITIES, SEVERITIES, Reader, structured_data

ARRIVAL = datetime(2026, 2, 5, 14, 30, 46, tzinfo=UTC).timestamp()
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,9}Z")
PLACE = ["log.syslog.facility.code", "log.syslog.facility.name", "log.syslog.severity.code", "log.syslog.severity.name"]


def read(message: bytes | str, arrival: float | None = ARRIVAL, zone: str = "UTC", year: int | None = None) -> dict[str, object]:
    """The fields of a message, without those that follow from the priority."""
    row = Reader(zone, year).row(message.encode() if isinstance(message, str) else message, arrival)
    assert b"\n" not in row
    fields = json.loads(row)
    priority = fields.pop("log.syslog.priority", None)
    derived = [fields.pop(name, None) for name in PLACE]
    level = fields.pop("log.level", None)
    if priority is None:
        assert [*derived, level] == [None] * 5
        return fields
    facility, severity = divmod(priority, 8)
    assert derived == [facility, FACILITIES[facility], severity, SEVERITIES[severity]]
    assert level == SEVERITIES[severity]
    return {"pri": priority, **fields}


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (
            b"<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \xef\xbb\xbf'su root' failed for lonvick on /dev/pts/8",
            {"pri": 34, "log.syslog.version": "1", "@timestamp": "2003-10-11T22:14:15.003Z", "host.hostname": "mymachine.example.com",
             "process.name": "su", "log.syslog.msgid": "ID47", "message": "'su root' failed for lonvick on /dev/pts/8"},
        ),
        (
            b"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.",
            {"pri": 165, "log.syslog.version": "1", "@timestamp": "2003-08-24T12:14:15.000003Z", "host.hostname": "192.0.2.1",
             "process.name": "myproc", "process.pid": 8710, "message": "%% It's time to make the do-nuts."},
        ),
        (
            b'<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="Application" eventID="1011"][examplePriority@32473 class="high"]',
            {"pri": 165, "log.syslog.version": "1", "@timestamp": "2003-10-11T22:14:15.003Z", "host.hostname": "mymachine.example.com",
             "process.name": "evntslog", "log.syslog.msgid": "ID47", "message": "", "log.syslog.structured_data":
             {"exampleSDID@32473": {"iut": "3", "eventSource": "Application", "eventID": "1011"}, "examplePriority@32473": {"class": "high"}}},
        ),
        (b"<0>1 - - - - - -", {"pri": 0, "log.syslog.version": "1", "message": ""}),
        (b"<191>1 - - - - -", {"pri": 191, "log.syslog.version": "1", "message": ""}),
        (b"<13>1 - h a worker-7 - - x\0", {"pri": 13, "log.syslog.version": "1", "host.hostname": "h", "process.name": "a", "log.syslog.procid": "worker-7", "message": "x"}),
        (b"<13>1 - h a 007 - - x\r\n", {"pri": 13, "log.syslog.version": "1", "host.hostname": "h", "process.name": "a", "log.syslog.procid": "007", "message": "x"}),
        (b"<13>1 - - - - - [no data", {"pri": 13, "log.syslog.version": "1", "message": "[no data"}),
        (b"<13>1 - - - - - -x", {"pri": 13, "log.syslog.version": "1", "message": "-x"}),
        (b"<13>1 - - - - - two\nlines", {"pri": 13, "log.syslog.version": "1", "message": "two\nlines"}),
    ],
)  # fmt: skip
def test_messages_of_rfc_5424_are_read(message: bytes, fields: dict[str, object]) -> None:
    """The examples of 6.5, absent values, and what stands where structured data should."""
    assert read(message) == fields


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (
            "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
            {"pri": 34, "@timestamp": "2025-10-11T22:14:15.000Z", "host.hostname": "mymachine", "process.name": "su",
             "message": "'su root' failed for lonvick on /dev/pts/8"},
        ),
        ("<13>Feb  5 14:30:45 10.0.0.99 Use the BFG!", {"pri": 13, "@timestamp": "2026-02-05T14:30:45.000Z", "host.hostname": "10.0.0.99", "message": "Use the BFG!"}),
        ("<13>Feb  5 14:30:45 root[12]: hello: you", {"pri": 13, "@timestamp": "2026-02-05T14:30:45.000Z", "process.name": "root", "process.pid": 12, "message": "hello: you"}),
        ("<30>Feb 05 14:30:45.25 fe80::1 postfix/smtpd[7]:", {"pri": 30, "@timestamp": "2026-02-05T14:30:45.250Z", "host.hostname": "fe80::1", "process.name": "postfix/smtpd", "process.pid": 7, "message": ""}),
        ("<189>Feb  5 2024 14:30:45: %ASA-6-1: x", {"pri": 189, "message": "Feb  5 2024 14:30:45: %ASA-6-1: x"}),
        ("<189>Feb  5 2024 14:30:45 asa : %ASA-6-1: x", {"pri": 189, "@timestamp": "2024-02-05T14:30:45.000Z", "host.hostname": "asa", "message": ": %ASA-6-1: x"}),
        ("<46>2026-02-05T15:30:45.123456+01:00 web-1 rsyslogd:  [origin] start", {"pri": 46, "@timestamp": "2026-02-05T14:30:45.123456Z", "host.hostname": "web-1", "process.name": "rsyslogd", "message": " [origin] start"}),
        ("Feb  5 14:30:45 web CRON[7]: (root) CMD", {"@timestamp": "2026-02-05T14:30:45.000Z", "host.hostname": "web", "process.name": "CRON", "process.pid": 7, "message": "(root) CMD"}),
        ("<13>text without a date", {"pri": 13, "message": "text without a date"}),
        ("<13>Feb  5 14:30:45 host http://x is down", {"pri": 13, "@timestamp": "2026-02-05T14:30:45.000Z", "host.hostname": "host", "message": "http://x is down"}),
        ("<13>Feb  5 14:30:45 host tag[]: x", {"pri": 13, "@timestamp": "2026-02-05T14:30:45.000Z", "host.hostname": "host", "message": "tag[]: x"}),
        ("<192>Feb  5 14:30:45 host tag: x", {"message": "<192>Feb  5 14:30:45 host tag: x"}),
        ("<01>x", {"message": "<01>x"}),
        ("<>", {"message": "<>"}),
        ("plain text", {"message": "plain text"}),
        ('{"a":1}\n', {"message": '{"a":1}'}),
        ("", {"message": ""}),
    ],
)  # fmt: skip
def test_messages_of_the_older_form_are_read(message: str, fields: dict[str, object]) -> None:
    """RFC 3164, 5.4, the forms of glibc, rsyslog and files, and text that is none of them."""
    assert read(message) == fields


@pytest.mark.parametrize(
    ("message", "arrival", "kept"),
    [
        ("<13>Feb  5 14:30:45 h t: x", None, True),
        ("<13>Feb 30 14:30:45 h t: x", ARRIVAL, True),
        ("<13>Foo  5 14:30:45 h t: x", ARRIVAL, True),
        ("<13>Feb  5 25:30:45 h t: x", ARRIVAL, True),
        ("<13>Feb  5 14:30:45.0123456789 h t: x", ARRIVAL, True),
        ("<13>Feb  5 14:30:45.012345678 h t: x", ARRIVAL, False),
        ("<13>2026-02-30T14:30:45Z h t: x", ARRIVAL, True),
        ("<13>0001-01-01T00:00:00+23:59 h t: x", ARRIVAL, True),
        ("<13>1 2026-02-05T14:30:60Z h t - - - x", ARRIVAL, True),
        ("<13>1 2026-02-05 h t - - - x", ARRIVAL, True),
        ('<13>1 - h t - - [a b="1"][a b="2"] x', ARRIVAL, True),
        ('<13>1 - h t - - [a b="1" b="2"] x', ARRIVAL, False),
        ("<13>1 2026-02-05T14:30:45Z h t - - - x", None, False),
    ],
)
def test_the_text_is_kept_where_a_part_of_it_could_not_be(message: str, arrival: float | None, kept: bool) -> None:
    """Dates that do not exist or have no year, digits below the nanosecond, elements given twice."""
    fields = read(message, arrival)
    assert fields.get("event.original") == (message if kept else None)
    assert fields["message"] == "x"
    assert fields["process.name"] == "t"


def test_values_of_structured_data_may_hold_anything() -> None:
    """Escapes, brackets that are not escaped, names given twice."""
    text = r'[a@1 x="q\"b\\s\]e" y="[n]" z="1" z="2" z="\n" w=""][b] rest'
    data, at, once = structured_data(text, 0)
    assert data == {"a@1": {"x": 'q"b\\s]e', "y": "[n]", "z": ["1", "2", "\\n"], "w": ""}, "b": {}}
    assert (text[at:], once) == ("rest", True)
    assert read("<1>1 - - - - - " + text)["log.syslog.structured_data"] == data


words = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters='"]=\x7f', exclude_categories=("C", "Z")),
    min_size=1,
    max_size=12,
)
names = words.filter(lambda word: word != "-")
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
moments = st.datetimes(datetime(1000, 1, 2), datetime(9999, 12, 30))


def escaped(value: str) -> str:
    """A value as 6.3.3 wants it."""
    return re.sub(r'(["\\\]])', r"\\\1", value)


def element(name: str, values: dict[str, str]) -> str:
    """One element of structured data."""
    return "[" + " ".join([name, *(f'{key}="{escaped(value)}"' for key, value in values.items())]) + "]"


@settings(deadline=None)
@given(
    st.integers(0, 191),
    moments,
    st.tuples(names, names, names),
    st.dictionaries(names, st.dictionaries(names, texts, max_size=3), max_size=3),
    texts,
)
def test_a_message_of_rfc_5424_comes_back_as_it_was_written(
    priority: int, moment: datetime, named: tuple[str, str, str], data: dict[str, dict[str, str]], text: str
) -> None:
    """Every field, whatever values and text hold."""
    text = text.rstrip("\0\r\n").removeprefix("\ufeff")
    elements = "".join(map(element, data, data.values()))
    host, process, kind = named
    message = f"<{priority}>1 {moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06}Z {host} {process} 42 {kind} {elements or '-'} \ufeff{text}"
    fields = read(message)
    assert fields == {
        "pri": priority,
        "log.syslog.version": "1",
        "@timestamp": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06}Z",
        "host.hostname": host,
        "process.name": process,
        "process.pid": 42,
        "log.syslog.msgid": kind,
        "message": text,
        **({"log.syslog.structured_data": data} if data else {}),
    }


@settings(deadline=None)
@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2032, 1, 1)),
    st.integers(-200 * 86400, 200 * 86400),
    st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Auckland"]),
)
def test_a_date_without_a_year_takes_the_nearest_one(local: datetime, late: int, zone: str) -> None:
    """Against all years there are; also in the hour that comes twice."""
    local = local.replace(microsecond=0)
    arrival = int(local.replace(tzinfo=ZoneInfo(zone)).timestamp()) + late
    moments = []
    for year in range(2000, 2060):
        for fold in (0, 1):
            try:
                moment = local.replace(year=year, tzinfo=ZoneInfo(zone), fold=fold)
            except ValueError:
                continue
            if fold == 0 or moment.timestamp() >= moment.replace(fold=0).timestamp():  # what never was has one reading
                moments.append(moment.timestamp())
    nearest = min(abs(moment - arrival) for moment in moments)
    found = read(f"<13>{local:%b} {local.day:2} {local:%H:%M:%S} h t: x", arrival, zone)["@timestamp"]
    assert abs(datetime.fromisoformat(str(found)).timestamp() - arrival) == nearest


@pytest.mark.parametrize(
    ("date", "arrival", "zone", "expected"),
    [
        ("Dec 31 23:59:59", "2026-01-01T00:00:01Z", "UTC", "2025-12-31T23:59:59.000Z"),
        ("Jan  1 00:00:01", "2025-12-31T23:59:58Z", "UTC", "2026-01-01T00:00:01.000Z"),
        ("Jan  1 00:30:00", "2025-12-31T23:30:01Z", "Europe/Berlin", "2025-12-31T23:30:00.000Z"),
        ("Feb 29 12:00:00", "2027-03-01T00:00:00Z", "UTC", "2028-02-29T12:00:00.000Z"),
        ("Oct 25 02:30:00", "2026-10-25T00:30:01Z", "Europe/Berlin", "2026-10-25T00:30:00.000Z"),
        ("Oct 25 02:30:00", "2026-10-25T01:30:01Z", "Europe/Berlin", "2026-10-25T01:30:00.000Z"),
    ],
)
def test_dates_around_new_year_and_in_the_hour_that_comes_twice_are_right(
    date: str, arrival: str, zone: str, expected: str
) -> None:
    """By the time of arrival."""
    assert read(f"<13>{date} h t: x", datetime.fromisoformat(arrival).timestamp(), zone)["@timestamp"] == expected


def test_a_year_that_is_told_is_taken() -> None:
    """As files are read, whatever the time is; the zone is that of dates without one, of ISO dates too."""
    assert read("Feb  5 14:30:45 h t: x", None, "Europe/Berlin", 2019)["@timestamp"] == "2019-02-05T13:30:45.000Z"
    assert read("2026-07-05T14:30:45 h t: x", None, "Europe/Berlin")["@timestamp"] == "2026-07-05T12:30:45.000Z"


def test_bytes_that_are_not_utf_8_become_the_characters_of_their_number() -> None:
    """As in files that are read by lines."""
    assert read(b"<13>W\xfclfrath \xed\xa0\x80")["message"] == "W\u00fclfrath \u00ed\u00a0\u0080"


pieces = st.sampled_from(
    ["<13>", "<", ">", "1 ", "- ", "Feb  5 14:30:45 ", "Feb 30 14:30:45 ", "2026-02-05T14:30:45.5Z ", "2026-02-05T14:30:45.1234567891+01:00 ", "host ", "tag: ",
     "tag[7]: ", "tag[x]: ", '[a b="c"]', "[", "]", ": ", " ", "text", "\n", "\ufeff", "\0", '"', "\\", "=", "007 "]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(
    st.lists(pieces, max_size=12).map("".join) | st.text(st.characters(exclude_categories=("Cs",))),
    st.sampled_from([ARRIVAL, None]),
)
def test_no_text_gets_lost_whatever_a_message_is(text: str, arrival: float | None) -> None:
    """It ends with `message`, and what stands before it is in the fields, or all of it is in `event.original`."""
    trimmed = text.rstrip("\0\r\n")
    fields = read(text, arrival)
    message = str(fields["message"])
    assert trimmed.endswith(message)
    assert STAMP.fullmatch(str(fields.get("@timestamp", "2026-02-05T14:30:45.000Z")))
    if "event.original" in fields:
        assert fields["event.original"] == trimmed
        return
    head = trimmed[: len(trimmed) - len(message)]
    head = re.sub(
        r"[A-Z][a-z]{2} +\d+ [\d:.]{8,}|\d{4}-\d\d-\d\dT[\d:.Z+-]+", "" if "@timestamp" in fields else r"\g<0>", head, count=1
    )
    head = re.sub(r'\[a(?: b="c")?\]', "" if "log.syslog.structured_data" in fields else r"\g<0>", head)
    at, between = 0, ""
    for name in (
        "pri",
        "log.syslog.version",
        "host.hostname",
        "process.name",
        "process.pid",
        "log.syslog.procid",
        "log.syslog.msgid",
    ):
        if name in fields:
            found = head.index(str(fields[name]), at)
            between += head[at:found]
            at = found + len(str(fields[name]))
    between += head[at:]
    assert set(between) <= set("<>[]: -\ufeff"), between


@given(st.binary(max_size=80))
def test_nothing_that_a_message_holds_raises(message: bytes) -> None:
    """Any bytes, with and without a priority before them."""
    for head in (b"", b"<13>", b"<13>1 ", b"<13>1 - - - - - ", b"<13>Feb  5 14:30:45 "):
        assert "message" in read(head + message)


def test_many_different_times_keep_the_cache_small() -> None:
    """It is emptied when it is full."""
    reader = Reader()
    for second in range(5000):
        reader.row(b"<13>Feb  5 14:30:45 h t: x", second)
    assert len(reader._times._seconds) <= 4096


@pytest.mark.parametrize("wrong", ["Europe/Nowhere", "../../etc/passwd", "/etc/localtime", "", "Europe", 1, None])
def test_zones_that_are_not_known_are_refused(wrong: object) -> None:
    """With what is expected."""
    with pytest.raises(ValueError, match="a time zone such as"):
        Timezone.from_config(wrong)
    assert Timezone.from_config("Europe/Berlin").info == ZoneInfo("Europe/Berlin")
