"""The frame syslog: against a naive reader of the whole file, however it is cut into windows."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.frame.syslog import Syslog
from shipper.intake import Intake
from shipper.model.localtime import Timezone
from shipper.model.syslog import Reader
from tests.frame.test_lines import naive as naive_lines
from tests.kit.records import STREAM, Found, cut_in_windows, found_in, take_in_windows, window_sizes

OLD = b"<34>Oct 11 22:14:15 mymachine su[7]: 'su root' failed"
NEW = b'<34>1 2003-10-11T22:14:15.003Z mymachine su - ID47 [a b="c"] \xef\xbb\xbftwo\nlines'


def counted(message: bytes) -> bytes:
    """A message with its length before it."""
    return b"%d %b" % (len(message), message)


pieces = st.sampled_from(
    [OLD + b"\n", OLD + b"\r\n", counted(NEW), counted(OLD) + b"\n", counted(b"<1>x\n"), counted(b"<1>\xff"), counted(b"<1>\0y\0"), b"17 files\n", b"9 <1>",
     b"900 <1>x\n", b"5 <12", b"3 <\n", b"\n", b"\0\0\0", b"text \xfc\n", b"2026-02-05T14:30:45Z h t: x\n", b"\xef\xbb\xbf", b"0 <1>x\n"]
)  # fmt: skip
sources = st.lists(pieces, max_size=12).map(b"".join)


def naive(source: bytes) -> tuple[list[Found], Counter[str]]:
    """The rules of the module, one record after the other."""
    reader = Reader()
    found: list[Found] = []
    skipped: Counter[str] = Counter()
    at = 0
    while at < len(source):
        head = re.match(rb"([1-9]\d{0,8}) (<\d{1,3}>)", source[at:])
        if head and at + head.start(2) + int(head[1]) <= len(source):
            start, stop = at + head.start(2), at + head.start(2) + int(head[1])
            message = source[start:stop]
            try:
                message.decode()
                marks: tuple[str, ...] = ()
            except UnicodeDecodeError:
                marks = ("invalid_utf8",)
            found.append((at, stop, reader.row(message), marks))
            at = stop
            continue
        line = re.match(rb"[^\n]*\n|[^\n]+", source[at:])
        assert line
        # The byte order mark is taken off where the file starts.
        lines, skips = naive_lines(line[0]) if at == 0 else naive_lines(b"\n" + line[0])
        skipped += skips
        if at:
            skipped -= Counter(blank=1)
        for _, _, text, own in lines:
            found.append((at, at + len(line[0]), reader.row(text), own))
        at += len(line[0])
    return found, +skipped


@settings(deadline=None, max_examples=300)
@given(sources, window_sizes)
def test_records_are_those_of_a_naive_reader_however_the_file_is_cut(source: bytes, sizes: list[int]) -> None:
    """The same spans, objects, marks and counts for any windows."""
    assert cut_in_windows(Syslog(), source, sizes) == naive(source)


@settings(deadline=None)
@given(sources, window_sizes)
def test_an_intake_cuts_them_alike(source: bytes, sizes: list[int]) -> None:
    """As the agent reads files."""
    assert take_in_windows(Intake(STREAM, Syslog()), source, sizes) == naive(source)


@settings(deadline=None)
@given(sources)
def test_every_byte_of_a_file_is_in_one_record_or_counted(source: bytes) -> None:
    """Spans are ordered and disjoint."""
    found, skipped = cut_in_windows(Syslog(), source, [1000])
    at = 0
    for start, stop, row, _ in found:
        assert at <= start < stop
        at = stop
        assert "message" in json.loads(row)
    outside = len(source) - sum(stop - start for start, stop, _, _ in found)
    assert outside <= skipped.total()


def test_a_length_without_its_message_is_waited_for() -> None:
    """And is a line where the file ends before."""
    data = b"60 <34>1 - - - - - first\nsecond\n"
    cut = Syslog().cut(data, 100, final=False)
    assert (cut.count, cut.next_offset) == (0, 100)
    rows = [json.loads(row)["message"] for _, _, row, _ in found_in(Syslog().cut(data, 100, final=True), 100)]
    assert rows == ["60 <34>1 - - - - - first", "second"]


@pytest.mark.parametrize("length", [5000, 999_999_999])
def test_a_length_beyond_the_largest_record_is_text(length: int) -> None:
    """So a wrong number stops nothing: the line and those behind it are records."""
    source = b"%d <34>x\n" % length + b"line\n" * 1000
    found, skipped = take_in_windows(Intake(STREAM, Syslog(), max_record_bytes=1000), source, [256, 2048])
    assert [json.loads(row)["message"] for _, _, row, _ in found] == [f"{length} <34>x", *["line"] * 1000]
    assert not skipped


def test_dates_without_a_year_take_the_one_of_the_settings() -> None:
    """In the zone of the settings; without a year the record has no time, and keeps its text."""
    told = Syslog(Syslog.Config(timezone=Timezone("Europe/Berlin"), year=2025)).cut(OLD + b"\n", 0, final=False)
    assert json.loads(told.block)["@timestamp"] == "2025-10-11T20:14:15.000Z"
    untold = json.loads(Syslog().cut(OLD + b"\n", 0, final=False).block)
    assert "@timestamp" not in untold
    assert untold["event.original"] == OLD.decode()
