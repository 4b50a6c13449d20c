"""klog: lines against a plain reading of each alone, and what the programs of Kubernetes and glog write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shipper.decode.klog import Klog
from shipper.model.columns import Columns
from shipper.model.localtime import Timezone
from tests.kit.records import PlainGate, batch_of

READS = ("message", "log.level", "process.thread.id", "log.origin.file.name", "log.origin.file.line", "@timestamp")
LEVELS = {"I": "INFO", "W": "WARNING", "E": "ERROR", "F": "FATAL"}
FEBRUARY_2026 = 1_770_000_000


def decode(lines: Sequence[bytes], zone: str = "UTC") -> tuple[Klog, Columns]:
    """The columns of a batch of these lines."""
    made = Klog(Klog.Config(zone=Timezone(zone)), READS, ("client",))
    return made, made.decode(PlainGate({}).admit(batch_of(list(lines), 0)))


def alone(line: str) -> dict[str, Any] | None:
    """A line taken apart by hand; None for what has no header."""
    head, bracket, text = line.partition("] ")
    if not bracket:
        head, bracket, text = (line[:-1], "]", "") if line.endswith("]") else ("", "", "")
    words = head.split(" ")
    parts = [words[0], words[1], *[word for word in words[2:] if word]] if len(words) > 3 else []
    if len(parts) != 4 or parts[0][:1] not in LEVELS or not parts[0][1:].isdecimal() or len(parts[0]) not in (5, 9):
        return None
    name, colon, number = parts[3].rpartition(":")
    whole = [part for part in (number, parts[2]) if part.isdecimal() and part == str(int(part))]
    if not colon or not name or ":" in name or "]" in name or len(whole) != 2 or not is_clock(parts[1]):
        return None
    found = {"message": text, "log.level": LEVELS[line[0]], "process.thread.id": int(parts[2])}
    return {**found, "log.origin.file.name": name, "log.origin.file.line": int(number)}


def is_clock(text: str) -> bool:
    """Whether a text is `14:30:45.123456`."""
    clock, dot, fraction = text.partition(".")
    pairs = clock.split(":")
    return len(pairs) == 3 and all(len(pair) == 2 and pair.isdecimal() for pair in pairs) and bool(dot) and fraction.isdecimal()


letters = st.sampled_from(["I", "W", "E", "F", "X", ""])
dates = st.sampled_from(["0205", "20260205", "205", "02-05"])
clocks = st.sampled_from(["14:30:45.123456", "14:30:45.1", "14:30:45", "1:30:45.123456"])
threads = st.sampled_from(["1", "      1", "4242", "007", "x", ""])
places = st.sampled_from(["file.go:42", "a b.go:42", "file.go:0", "file.go:x", "file.go", "a]b.go:1", "a:b.go:1", ":7"])
ends = st.sampled_from(["] ", "]", ": "])
texts = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=12)
lines = st.builds(
    lambda letter, date, clock, thread, place, end, text: f"{letter}{date} {clock} {thread} {place}{end}{text}",
    letters, dates, clocks, threads, places, ends, texts,
)  # fmt: skip
good = st.builds(lambda text: f"I0205 14:30:45.123456       1 file.go:42] {text}", texts)


@given(st.lists(lines | good | texts, min_size=1, max_size=6))
@example(["I0205 14:30:45.123456       1 file.go:42]", "", "I0205 14:30:45.123456       1 file.go:42] "])
def test_lines_say_what_each_says_alone(found: list[str]) -> None:
    """Whatever stands beside a line: its members, its columns, and whether it is of the format."""
    _, columns = decode([line.encode() for line in found])
    for row, line in enumerate(found):
        members = alone(line)
        assert (row in columns.flags) == (members is None)
        document = json.loads(columns.rows[row] + b"}")
        assert document == ({"message": line} if members is None else members)
        assert [columns.column(name)[row] for name in READS[1:5]] == [document.get(name) for name in READS[1:5]]


@pytest.mark.parametrize(
    ("line", "stamp"),
    [
        (b"I0205 14:30:45.123456       1 controller.go:116] Starting", "2026-02-05T13:30:45.123456Z"),
        (b"E20240229 23:59:59.1 4242 main.cc:7] failed", "2024-02-29T22:59:59.100Z"),
        (b"W1231 23:30:00.000001 1 a.go:1] last year", "2025-12-31T22:30:00.000001Z"),
        (b'F0329 02:30:00.0 1 a.go:1] "structured" pod="kube-system/dns" err="x"', "2026-03-29T01:30:00.000Z"),
    ],
)
def test_a_time_is_in_the_zone_and_in_the_year_nearest_to_the_record_before(line: bytes, stamp: str) -> None:
    """klog writes local time, without a year."""
    made, columns = decode([line], "Europe/Berlin")
    assert made.timeline is not None
    times = made.timeline.read(columns.column("@timestamp"), FEBRUARY_2026)
    assert list(times.stamps) == [stamp.encode()]


def test_a_line_without_a_header_is_a_message_and_says_so() -> None:
    """As the panic of a Go program."""
    _, columns = decode([b"panic: runtime error: index out of range"])
    assert columns.flags == {0: ("parse_error:no klog header",)}
    assert columns.rows == [b'{"message":"panic: runtime error: index out of range"']


def test_the_further_lines_of_a_record_stay_with_its_message() -> None:
    """As a frame puts them together."""
    record = json.dumps({"message": "E0205 14:30:45.123456 1 a.go:42] failed\n\tgoroutine 1 [running]:"}, separators=(",", ":"))
    _, columns = decode([record.encode()])
    assert columns.column("message") == ["failed\n\tgoroutine 1 [running]:"]
    assert columns.flags == {}
