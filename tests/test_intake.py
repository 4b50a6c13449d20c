"""Intake: overlong lines in constant memory, other encodings, and the same records however a source is cut."""

from __future__ import annotations

import codecs
import re
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.config.fields import Size
from shipper.frame.docker import Docker
from shipper.frame.lines import Lines
from shipper.intake import Intake, find_overlong
from tests.frame.test_docker import line as docker_line
from tests.frame.test_lines import naive as naive_lines
from tests.frame.test_lines import sources
from tests.kit.records import STREAM, Found, take_in_windows

MAX = 12
windows = st.lists(st.integers(MAX + 1, 60), min_size=1, max_size=5)
"""Windows hold more than the longest record, as the source promises."""
long_sources = st.lists(
    sources
    | st.sampled_from(
        [
            b"long" * 8,
            b"\0" * 20,
            b"\0" * 20 + b"{}\n",
            "\u00fc".encode() * 9,
            "x\u00fc\U0001f600\u4e00".encode() * 3,
            b"\xff" * 10 + b"\n",
            b"x" * MAX + b"\r\n",
            b"y" * MAX + b"\n",
        ]
    ),
    max_size=6,
).map(b"".join)
letters = st.sampled_from([*"ab{}\u00fc\u4e00\u0a0a\u0d0a\u0a00\U0001f600\r", "\n", "\n", "\r\n", "\ufeff"])


def intake(**settings_: object) -> Intake:
    """A reader of lines of at most `MAX` bytes."""
    return Intake(STREAM, Lines(), **{"max_record_bytes": MAX, **settings_})


def naive(source: bytes, limit: int = MAX) -> list[Found]:
    """The rules of the module, one line after the other, the whole of it in memory."""
    found: list[Found] = []
    for line in re.finditer(rb"[^\n]*\n|[^\n]+", source):
        text, end, marks = line[0].removesuffix(b"\n"), line[0][-1:], ()
        if len(text) > limit:
            text = text.replace(b"\0", b"")
            text = text.removesuffix(b"\r") if len(text) == limit + 1 else text
            marks = ("truncated",) if len(text) > limit else ()
            text = whole_characters(text[:limit]) if marks else text
        first = b"" if line.start() == 0 else b"\n"  # only the first line of a file has a byte order mark
        for _, _, row, own in naive_lines(first + text + (b"\n" if end == b"\n" else b""))[0]:
            marks = (*marks, *own, *(("truncated",) if len(row) > limit else ()))
            found.append((line.start(), line.end(), whole_characters(row[:limit]), tuple(sorted(set(marks)))))
    return found


def whole_characters(head: bytes) -> bytes:
    """Without the beginning of a character at its end."""
    return head[: codecs.utf_8_decode(head, "surrogateescape", False)[1]]


@settings(deadline=None)
@given(long_sources, windows)
def test_records_are_those_of_a_naive_reader_however_the_source_is_cut(source: bytes, sizes: list[int]) -> None:
    """Overlong lines are one record each, the lines around them are whole, and the marks are the same."""
    found, _ = take_in_windows(intake(), source, sizes)
    assert [(*rest, tuple(sorted(marks))) for *rest, marks in found] == naive(source)


@settings(deadline=None)
@given(long_sources, windows)
def test_every_byte_is_in_one_record_or_counted_when_lines_are_overlong(source: bytes, sizes: list[int]) -> None:
    """What lies outside of the spans is counted as blank or NUL; what was cut lies inside."""
    found, skipped = take_in_windows(intake(), source, sizes)
    inside = sum(source[start:stop].count(0) for start, stop, _, _ in found)
    outside = len(source) - sum(stop - start for start, stop, _, _ in found)
    assert outside == skipped["blank"] + skipped["nul"] - inside
    assert (skipped["cut"] > 0) == any("truncated" in marks for *_, marks in found)


@settings(deadline=None)
@given(long_sources, windows)
def test_records_are_the_same_when_the_agent_restarts_between_windows(source: bytes, sizes: list[int]) -> None:
    """An intake remembers nothing that a new one at the next record would need."""
    assert take_in_windows(intake(), source, sizes, fresh=intake) == take_in_windows(intake(), source, [1000])


@settings(deadline=None)
@given(long_sources, windows)
def test_rows_are_bounded_when_lines_are_not(source: bytes, sizes: list[int]) -> None:
    """No row is longer than `max_record`, none is empty, and spans do not overlap."""
    found, _ = take_in_windows(intake(), source, sizes)
    assert all(0 < len(row) <= MAX for _, _, row, _ in found)
    assert all(one[1] <= other[0] for one, other in zip(found, found[1:], strict=False))


@settings(deadline=None)
@given(
    st.binary(max_size=50) | st.lists(st.sampled_from([b"\n", b"aaaa", b"\n\0", b"\0\n"]), max_size=15).map(b"".join),
    st.integers(1, 9),
)
def test_an_overlong_line_is_found_when_there_is_one(data: bytes, limit: int) -> None:
    """The search by few probes finds the first line that a search line by line finds."""
    starts = [found.start() for found in re.finditer(rb"[^\n]*\n|[^\n]+", data) if len(found[0].removesuffix(b"\n")) > limit]
    assert find_overlong(data, 0, limit, b"\n") == (starts[0] if starts else -1)


def test_a_line_of_100_mib_costs_constant_memory_when_it_is_read_past() -> None:
    """It is one record of `max_record` bytes, flagged; the record behind it is found."""
    reader = Intake(STREAM, Lines(), max_record_bytes=1 << 20)
    window, size = b"x" * ((1 << 20) + 1), 100
    tracemalloc.start()
    at = 0
    for _ in range(size):
        taken = reader.take(window, at, final=False)
        assert (taken.batch, taken.next_offset) == (None, 0)
        at = taken.read_from
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
    taken = reader.take(b'tail\n{"next":1}\n', at, final=False)
    batch = taken.batch
    assert batch is not None
    assert batch.block == window[1:] + b'\n{"next":1}\n'
    assert (batch.starts, batch.stops) == ([0, at + 5], [at + 5, at + 16])
    assert batch.flags == {0: ("truncated",)}
    assert taken.skipped == {"cut": at + 4 - (1 << 20)}
    assert taken.next_offset == taken.read_from == at + 16


def test_a_record_behind_a_long_run_of_nuls_is_kept_when_both_are_one_line() -> None:
    """What a power cut leaves hides no record, however long it is."""
    source = b"\0" * 1000 + b'{"a":1}\nb\n'
    found, skipped = take_in_windows(intake(), source, [40])
    assert found == [(0, 1008, b'{"a":1}', ()), (1008, 1010, b"b", ())]
    assert skipped == {"nul": 1000}


def test_an_overlong_last_line_is_flagged_twice_when_the_file_ends_in_it() -> None:
    """Cut, and without its newline."""
    found, _ = take_in_windows(intake(), b"ok\n" + b"z" * 40, [MAX + 1])
    assert found[-1] == (3, 43, b"z" * MAX, ("truncated", "unterminated"))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 70), st.booleans(), st.sampled_from(["stdout", "stderr"])), max_size=14),
    st.lists(st.integers(201, 700), min_size=1, max_size=4),
)
def test_docker_records_are_the_same_when_windows_are_full_of_parts(parts: list[tuple[int, bool, str]], sizes: list[int]) -> None:
    """Parts that never end, lines longer than `max_record` between them: the windows do not show."""
    source = b"".join(
        docker_line("t" * size * (4 if size == 70 else 1) + ("\n" if whole else ""), stream) for size, whole, stream in parts
    )

    def reader() -> Intake:
        return Intake(STREAM, Docker(Docker.Config(join_max=Size(200))), max_record_bytes=200)

    expected, skipped = take_in_windows(reader(), source, [100_000])
    assert take_in_windows(reader(), source, sizes) == (expected, skipped)
    covered = {byte for start, stop, _, _ in expected for byte in range(start, stop)}
    assert len(source) - len(covered) <= skipped["blank"]


def test_a_docker_record_joined_of_parts_is_cut_when_it_is_longer_than_a_record_may_be() -> None:
    """`max_record` holds for joined records too."""
    source = b"".join(docker_line("p" * 100 + end) for end in ("", "", "\n"))
    found, skipped = take_in_windows(Intake(STREAM, Docker(), max_record_bytes=180), source, [1000])
    assert found == [(0, len(source), b"p" * 180, ("truncated",))]
    assert skipped == {"cut": 120}


@settings(deadline=None)
@given(st.lists(letters, max_size=25).map("".join), st.sampled_from(["utf-16-le", "utf-16-be", "utf-16"]), st.booleans(), windows)
def test_utf_16_gives_the_records_of_the_same_text_in_utf_8(text: str, encoding: str, big: bool, sizes: list[int]) -> None:
    """Rows are those of the UTF-8 text; spans count bytes of the source; no window splits a character."""
    codec = ("utf-16-be" if big else "utf-16-le") if encoding == "utf-16" else encoding
    text = "\ufeff" + text if encoding == "utf-16" else text
    source = text.encode(codec)
    found, _ = take_in_windows(intake(encoding=encoding, max_record_bytes=200), source, sizes)
    expected = [
        (text_start(text, start), text_start(text, stop), row, marks) for start, stop, row, marks in naive_lines(text.encode())[0]
    ]
    assert found == [(len(start.encode(codec)), len(stop.encode(codec)), row, marks) for start, stop, row, marks in expected]


def text_start(text: str, offset: int) -> str:
    """The part of a text before a byte of its UTF-8 form."""
    return text.encode()[:offset].decode()


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["a", "\u00fc" * 5, "\n", "\U0001f600" * 9, "\0" * 8]), max_size=12).map("".join),
    st.sampled_from(["utf-16-le", "utf-16-be", "latin-1"]),
    windows,
)
def test_overlong_lines_of_other_encodings_are_the_same_when_windows_differ(text: str, encoding: str, sizes: list[int]) -> None:
    """A wide newline is found where it is aligned only, characters cut by a window are whole again, and reading goes on behind."""
    source = text.encode(encoding, "replace")
    one, skipped = take_in_windows(intake(encoding=encoding), source, [1000])
    assert take_in_windows(intake(encoding=encoding), source, sizes) == (one, skipped)
    assert all("\ufffd" not in row.decode() and len(row) <= MAX for _, _, row, _ in one)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ["plain latin\nsecond\n", "\u4e00\u4e01\n\u4e00\n", "\u00fc\n"])
def test_the_byte_order_is_told_by_the_lines_when_reading_resumes_without_a_mark(encoding: str, text: str) -> None:
    """In the middle of a UTF-16 file there is no mark; newlines show the order, of Chinese text too."""
    found, _ = take_in_windows(intake(encoding="utf-16", max_record_bytes=100), ("\ufeff" + text).encode(encoding), [4000])
    source = text.encode(encoding)
    taken = intake(encoding="utf-16", max_record_bytes=100).take(source, 100, final=False)
    assert taken.batch is not None
    assert taken.batch.block.decode() == text
    assert list(taken.batch.starts or ())[0] == 100
    assert [row for _, _, row, _ in found] == text.encode().split(b"\n")[:-1]


def test_nothing_is_decided_when_half_a_byte_order_mark_is_there() -> None:
    """One byte of a UTF-16 file waits for the other."""
    reader = intake(encoding="utf-16")
    assert reader.take(b"\xfe", 0, final=False).next_offset == 0
    taken = reader.take("\ufeffa\n".encode("utf-16-be"), 0, final=False)
    assert taken.batch is not None
    assert taken.batch.block == b"a\n"


def test_broken_utf_16_is_kept_and_flagged_when_a_character_is_cut() -> None:
    """A lone surrogate and an odd byte at the end become U+FFFD; the lines around them are unharmed."""
    source = "ok\n".encode("utf-16-le") + b"\x00\xd8a\0\n\0" + "x".encode("utf-16-le") + b"\x61"
    found, _ = take_in_windows(intake(encoding="utf-16-le"), source, [100])
    assert found == [
        (0, 6, b"ok", ()),
        (6, 12, "\ufffda".encode(), ("invalid_encoding",)),
        (12, 15, "x\ufffd".encode(), ("unterminated", "invalid_encoding")),
    ]


@settings(deadline=None)
@given(st.binary(max_size=60), windows)
def test_latin_1_gives_every_byte_as_the_character_of_its_number(source: bytes, sizes: list[int]) -> None:
    """Rows are the lines' text in UTF-8, at the source's offsets."""
    found, _ = take_in_windows(intake(encoding="latin-1", max_record_bytes=200), source, sizes)
    for start, stop, row, _ in found:
        assert row.decode().encode("latin-1") == source[start:stop].removesuffix(b"\n").removesuffix(b"\r").replace(b"\0", b"")
    blank = [
        line
        for line in re.findall(rb"[^\n]*\n|[^\n]+", source)
        if not line.removesuffix(b"\n").removesuffix(b"\r").replace(b"\0", b"")
    ]
    assert len(found) + len(blank) == len(re.findall(rb"[^\n]*\n|[^\n]+", source))


def test_a_batch_carries_what_the_frame_knows_when_docker_lines_are_taken() -> None:
    """Fragments, times and flags of the frame reach the batch, across an overlong line too."""
    lines = [docker_line("a\n"), b"raw\n", docker_line("b" * 300 + "\n"), docker_line("c\n", "stderr", "T")]
    taken = Intake(STREAM, Docker(), max_record_bytes=200).take(b"".join(lines), 0, final=False)
    batch = taken.batch
    assert batch is not None
    assert (batch.count, batch.base, batch.stream) == (4, 0, STREAM)
    assert batch.extras == [b',"stream":"stdout"', b"", b"", b',"stream":"stderr"']
    assert batch.times == ["2026-02-05T14:30:45.1Z", "", "", "T"]
    assert batch.flags == {1: ("not_docker",), 2: ("not_docker", "truncated")}


def test_an_empty_window_takes_nothing_when_the_file_is_empty() -> None:
    """Final or not, no record and no byte."""
    for final in (False, True):
        taken = intake().take(b"", 0, final=final)
        assert (taken.batch, taken.next_offset, taken.read_from, taken.skipped) == (None, 0, 0, {})
