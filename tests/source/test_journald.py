"""The source journald: what journalctl is asked for, and what is made of an entry, whatever stands in it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.config.fields import FilePath
from shipper.source.journald import LEVELS, Journald, arguments, entry, last_entry

CURSOR = "s=0639c7d6;i=4;b=0123;m=3ec;t=64a1;x=9d"
bytes_of_fields = st.lists(st.integers(0, 255), min_size=1, max_size=8)
field_values = st.one_of(
    st.text(max_size=8), st.none(), bytes_of_fields, st.lists(st.one_of(st.text(max_size=4), bytes_of_fields), max_size=3)
)
names = st.sampled_from(
    ["MESSAGE", "PRIORITY", "_PID", "CODE_LINE", "SYSLOG_FACILITY", "X", "__REALTIME_TIMESTAMP", "SYSLOG_PID"]
)


def line(**fields: object) -> bytes:
    """An entry as journalctl prints it."""
    return json.dumps({"__CURSOR": CURSOR, **fields}).encode()


def record(**fields: object) -> dict[str, object]:
    """The record of an entry."""
    made = entry(line(**fields))
    assert made is not None
    found: dict[str, object] = json.loads(made.row)
    return found


def test_command_reads_everything_and_goes_on_behind_a_cursor() -> None:
    """`--all` for long fields, and `--lines=all`, as else what follows a cursor comes ten lines at first."""
    config = Journald.Config(directory=FilePath("/var/log/journal"), units=["a.service", "b*.service"])
    common = "journalctl --output=json --all --no-pager --quiet --directory=/var/log/journal --unit=a.service --unit=b*.service".split()
    assert arguments(config, "", follow=True) == [*common, "--lines=all", "--follow"]
    assert arguments(config, CURSOR, follow=False) == [*common, "--lines=all", f"--after-cursor={CURSOR}"]
    assert last_entry(config) == [*common, "--lines=1"]
    assert arguments(Journald.Config(program="/opt/journalctl"), "", follow=False)[0] == "/opt/journalctl"


@pytest.mark.parametrize("priority", range(8))
def test_priorities_are_levels(priority: int) -> None:
    """RFC 5424, 6.2.1: 0 is emergency, 7 debug."""
    found = record(PRIORITY=str(priority))
    assert (found["log.level"], found["log.syslog.severity.code"]) == (LEVELS[priority], priority)


@pytest.mark.parametrize("priority", ["8", "-1", "66", "", "x", None, ["1", "2"], "٣"])
def test_what_is_no_priority_gives_no_level(priority: object) -> None:
    """A client may send what it likes."""
    assert "log.level" not in record(PRIORITY=priority)


def test_fields_have_the_names_of_ecs_and_those_of_programs_stand_apart() -> None:
    """Trusted fields (with an underscore) that have no name are left out; numbers are numbers."""
    found = record(MESSAGE="m", _PID="42", _HOSTNAME="web-1", MY_FIELD="x", _TRUSTED_OTHER="y", SYSLOG_FACILITY="3")
    assert found == {
        "message": "m", "process.pid": 42, "host.hostname": "web-1", "log.syslog.facility.code": 3, "journald.custom": {"my_field": "x"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([104, 105], "hi"),
        ([0xC3, 0xBC, 0xFF], "ü\xff"),
        (["a", "b"], ["a", "b"]),
        (["a", [0xFF]], ["a", "\xff"]),
        ([[1], [2]], ["\x01", "\x02"]),
        ([], []),
        ([1000], [1000]),
        (None, None),
    ],
)
def test_bytes_and_repeated_fields_become_text(value: object, text: object) -> None:
    """Journal JSON Format: lists of numbers are bytes, lists of anything else are several values."""
    assert record(MESSAGE=value)["message"] == text


@pytest.mark.parametrize("number", ["9" * 19, "9" * 5000, "1e5", "-1", "٣", " 1", ""])
def test_numbers_that_do_not_fit_stay_text(number: str) -> None:
    """CODE_LINE is the client's own."""
    assert record(CODE_LINE=number)["log.origin.file.line"] == number


@pytest.mark.parametrize(
    ("stamp", "text"),
    [("1770301845001234", "2026-02-05T14:30:45.001234Z"), ("0", "1970-01-01T00:00:00.000000Z"), ("9" * 17, "5138")],
)
def test_time_is_when_the_journal_got_it(stamp: str, text: str) -> None:
    """Microseconds of Unix time."""
    assert str(record(__REALTIME_TIMESTAMP=stamp)["@timestamp"]).startswith(text)


@pytest.mark.parametrize("stamp", ["", "x", "-1", "9" * 18, "٣", None, 5])
def test_time_that_is_none_is_left_out(stamp: object) -> None:
    """The record is dated otherwise, and kept."""
    assert "@timestamp" not in record(__REALTIME_TIMESTAMP=stamp)


def test_id_is_made_of_the_cursor_alone() -> None:
    """The same entry has it again, another one never."""
    first, again, other = entry(line(A="1")), entry(line(A="2")), entry(json.dumps({"__CURSOR": CURSOR + "1"}).encode())
    assert first is not None and again is not None and other is not None
    assert first.id == again.id != other.id and len(first.id) == 32
    assert first.cursor == CURSOR


@pytest.mark.parametrize(
    "text", [b"", b"no JSON", b"[1]", b"1", b"null", b"{}", b'{"__CURSOR":5}', b"\xff", b"[" * 5000, b'{"__CURSOR":"\xff"}']
)
def test_what_is_no_entry_gives_none(text: bytes) -> None:
    """Nothing raises."""
    assert entry(text) is None


@given(fields=st.dictionaries(names, field_values))
def test_any_entry_becomes_one_json_object_on_one_line(fields: dict[str, object]) -> None:
    """Whatever a client wrote into the journal."""
    made = entry(line(**fields))
    assert made is not None and b"\n" not in made.row
    assert isinstance(json.loads(made.row.decode()), dict)
