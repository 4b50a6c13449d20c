"""Multiline: grouping against the slow obvious way, however the source is cut into windows; bounds, patterns, streams, settings."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
import re2
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shipper.config.fields import convert_scalar
from shipper.frame.cri import Cri
from shipper.frame.docker import Docker
from shipper.frame.multiline import Matcher, Multiline, width, within_a_line
from shipper.frame.multiline_packs import PACKS
from shipper.model.errors import ComponentError
from tests.frame.oracle_multiline import Bounds, by_packs, by_pattern, lines_of, records
from tests.frame.test_docker import line as docker_line
from tests.kit.records import Found, cut_in_windows, extras_of, found_in

MAX_LINES, MAX_BYTES = 5, 160
TRACE = ["Traceback (most recent call last):", '  File "a.py", line 1, in f', "    g()", "ValueError: x"]


def multiline(**written: Any) -> Multiline:
    """A frame of settings as a configuration has them."""
    return Multiline(msgspec.convert(written, Multiline.Config, dec_hook=convert_scalar))


def small(**written: Any) -> Multiline:
    """A frame whose bounds are reached."""
    return multiline(**{"max_lines": MAX_LINES, "max_bytes": MAX_BYTES, **written})


def text(*lines: str) -> bytes:
    """A file of these lines."""
    return "".join(f"{line}\n" for line in lines).encode()


def read(frame: Multiline | Docker | Cri, source: bytes, *, final: bool = True) -> list[Found]:
    """The records of a window."""
    return found_in(frame.cut(source, 0, final=final), 0)


def messages(frame: Multiline, source: bytes) -> list[str]:
    """The texts of the records, those of several lines as they were."""
    return [
        json.loads(row)["message"] if row.startswith(b'{"message":') else row.decode() for _, _, row, _ in read(frame, source)
    ]


def in_order(found: Sequence[Found]) -> list[Found]:
    """Records with their marks sorted."""
    return [(start, stop, row, tuple(sorted(marks))) for start, stop, row, marks in found]


some_lines = st.sampled_from(
    [
        *TRACE, "", "", "INFO fine", "ERROR bad", "ERROR worse", "During handling of the above exception, another exception occurred:",
        "  + Exception Group Traceback (most recent call last):", "  | x", "field", "future: <Task>", "java.lang.Error: no", "\tat a.B.c(B.java:1)",
        "Caused by: x.Y: z", "\t... 2 more", "panic: oh", "goroutine 1 [running]:", "main.main()", "\t/a.go:1", "exit status 2", "{", '  "a": "}\\"{",',
        '  "b": [', "  ]", "}", "  1", "2026-01-01 a", "x\r", "\0", "\xfc", "Error: e", "    at f (a.js:1:2)", "#0 x", "Stack trace:", "   at A.B() in c",
        "thread 'main' panicked at src/a.rs:1:2:", "note: x", "a.rb:1:in `f': x (E)", "\tfrom a.rb:2:in `g'", "y" * 170, "Node.js v20",
    ]
)  # fmt: skip
endings = st.sampled_from(["\n", "\n", "\n", "\r\n"])
sources = st.builds(
    lambda lines, ends, cut, bad: ("".join(map("".join, zip(lines, ends, strict=False))).encode() + bad)[: -cut or None],
    st.lists(some_lines, max_size=24),
    st.lists(endings, min_size=24, max_size=24),
    st.integers(0, 12),
    st.sampled_from([b"", b"", b"\xff\n  x\n"]),
)
sizes = st.lists(st.integers(1, 300), min_size=1, max_size=5)
packs = st.lists(st.sampled_from(sorted(PACKS)), min_size=1, max_size=9, unique=True) | st.just(list(PACKS))
patterns = st.sampled_from(
    [r"^\S", r"^[A-Z]", r"^\d{4}-\d{2}", "ERROR", r"^\s", r"^[ \t]+at", r"r\S*$", r"^[^\s]", "[^a-z]", r"(?s)a.", r"\n", r"\AINFO", "(?i)error|^t", "\xfc", "^.{2}F"]
)  # fmt: skip


@settings(deadline=None)
@given(sources, sizes, packs)
def test_traces_are_those_of_a_naive_reader_however_the_source_is_cut(source: bytes, sizes: list[int], names: list[str]) -> None:
    """The same spans, texts and marks for any windows, whatever packs are on."""
    found, _ = cut_in_windows(small(pack=names), source, sizes)
    bounds = Bounds(MAX_LINES, MAX_BYTES, len(source))
    assert in_order(found) == records(by_packs(lines_of(source), [PACKS[name] for name in names], bounds))


@settings(deadline=None)
@given(sources, sizes, patterns, st.sampled_from(["start", "continue"]))
def test_patterns_group_as_a_naive_reader_does_however_the_source_is_cut(
    source: bytes, sizes: list[int], pattern: str, kind: str
) -> None:
    """The same spans, texts and marks for any windows, for the first lines of records or for the others."""
    compiled = re2.compile(pattern.encode())
    found, _ = cut_in_windows(small(**{kind: pattern}), source, sizes)
    bounds = Bounds(MAX_LINES, MAX_BYTES, len(source))
    expected = by_pattern(lines_of(source), lambda row: (compiled.search(row) is not None) == (kind == "start"), bounds)
    assert in_order(found) == records(expected)


@settings(deadline=None)
@given(sources, sizes, packs | patterns)
def test_every_byte_is_in_one_record_or_counted_when_a_source_is_read(
    source: bytes, sizes: list[int], how: list[str] | str
) -> None:
    """Spans are ordered and disjoint; what lies outside of them is what was counted as skipped."""
    frame = small(start=how) if isinstance(how, str) else small(pack=how)
    found, skipped = cut_in_windows(frame, source, sizes)
    at, inside = 0, 0
    for start, stop, _, _ in found:
        assert at <= start < stop <= len(source)
        at, inside = stop, inside + source[start:stop].count(0)
    assert len(source) - sum(stop - start for start, stop, _, _ in found) == skipped.total() - inside
    assert skipped["nul"] == source.count(0)


@settings(deadline=None)
@given(sources, packs | patterns)
def test_records_keep_within_their_bounds_when_lines_go_on_and_on(source: bytes, how: list[str] | str) -> None:
    """No record of several lines is longer than the settings say."""
    frame = small(start=how) if isinstance(how, str) else small(pack=how)
    for start, stop, _, _ in read(frame, source):
        lines = source[start:stop].removesuffix(b"\n").count(b"\n") + 1
        assert lines == 1 or (lines <= MAX_LINES and stop - start <= MAX_BYTES)


container_lines = st.tuples(some_lines, st.sampled_from(["stdout", "stderr"]), st.sampled_from(["F", "F", "F", "P"]))


def as_cri(lines: Sequence[tuple[str, str, str]]) -> bytes:
    """Lines as containerd writes them."""
    return "".join(f"2016-10-06T00:17:09Z {stream} {tag} {text}\n" for text, stream, tag in lines).encode()


@settings(deadline=None)
@given(st.lists(container_lines, max_size=20), sizes, packs | patterns, st.sampled_from([160, 400]))
def test_streams_are_grouped_apart_when_the_frame_sits_on_cri(
    lines: list[tuple[str, str, str]], sizes: list[int], how: list[str] | str, max_bytes: int
) -> None:
    """What a stream's records are does not depend on what the other stream holds between them, nor on the windows.

    Not yet so for `python`, `nodejs` and `rust` together: a line that looks like an error may be cut off the one behind it, see
    docs/guarantees.md.
    """
    assume(not {"python", "nodejs", "rust"}.issubset(how if isinstance(how, list) else ()))
    source = as_cri(lines)
    kind = {"start": how} if isinstance(how, str) else {"pack": how}
    cut = Cri(blanks=True).cut(source, 0, final=True)
    expected: list[Found] = []
    bounds = Bounds(MAX_LINES, max_bytes, len(source))
    for extra in set(extras_of(cut)):
        own = [found for found, other in zip(found_in(cut, 0), extras_of(cut), strict=True) if other == extra]
        if isinstance(how, str):
            compiled = re2.compile(how.encode())
            groups = by_pattern(own, lambda row, compiled=compiled: compiled.search(row) is not None, bounds)
        else:
            groups = by_packs(own, [PACKS[name] for name in how], bounds)
        expected += records(groups)
    found, _ = cut_in_windows(small(**kind, inner="cri", max_bytes=max_bytes), source, sizes)
    assert in_order(found) == sorted(expected)


def test_fragments_and_times_are_those_of_the_first_line_when_the_frame_sits_on_docker() -> None:
    """Two traces of two streams, line by line in turns, are two records."""
    lines = [
        docker_line(f"{text}\n", stream, f"2026-02-05T14:30:4{number}Z", attrs={"service": "api"})
        for number, text in enumerate(TRACE)
        for stream in ("stdout", "stderr")
    ]
    frame = multiline(pack="python", inner="docker")
    cut = frame.cut(b"".join(lines), 0, final=True)
    assert [json.loads(row)["message"] for *_, row, _ in found_in(cut, 0)] == ["\n".join(TRACE)] * 2
    labels = b',"container":{"labels":{"service":"api"}}'
    assert extras_of(cut) == [b',"stream":"stdout"' + labels, b',"stream":"stderr"' + labels]
    assert list(cut.times or ()) == ["2026-02-05T14:30:40Z"] * 2
    assert frame.adds == ("stream", "container")


def test_a_trace_waits_for_its_end_when_more_may_follow() -> None:
    """Nothing of an unfinished trace is taken, and its logger's line waits with it; lines before it go on."""
    source = text("INFO fine", "ERROR bad", *TRACE[:2])
    cut = multiline(pack="python").cut(source, 0, final=False)
    assert (cut.block, cut.next_offset) == (b"INFO fine\n", len(b"INFO fine\n"))
    assert [row[:11] for _, _, row, _ in read(multiline(pack="python"), source)] == [b"INFO fine", b'{"message":']


def test_lines_without_trouble_do_not_wait_when_a_window_ends() -> None:
    """Only a line that may have a trace below it is held back."""
    assert [row for *_, row, _ in read(multiline(pack="python"), text("ERROR a", "INFO b"), final=False)] == [
        b"ERROR a",
        b"INFO b",
    ]
    assert [row for *_, row, _ in read(multiline(pack="python"), text("INFO b", "ERROR a"), final=False)] == [b"INFO b"]


def test_a_record_that_is_cut_says_so_and_the_rest_is_a_record() -> None:
    """`max_lines` lines, then what is left; both bounds are told by the same flag."""
    source = text("a", *[" x"] * 6)
    assert [(row, marks) for _, _, row, marks in read(multiline(start=r"^\S", max_lines=4), source)] == [
        (rb'{"message":"a\n x\n x\n x"}', ("multiline_cut",)),
        (rb'{"message":" x\n x\n x"}', ()),
    ]
    assert [marks for *_, marks in read(multiline(start=r"^\S", max_bytes=11), source)] == [("multiline_cut",), ()]


def test_one_silent_stream_does_not_hold_up_the_other_for_more_than_the_bound() -> None:
    """A record of stdout that may go on is closed when the file has grown by `max_bytes`."""
    first = as_cri([("ERROR a", "stdout", "F")])
    source = first + as_cri([("x", "stderr", "F")] * 10)
    frame = multiline(pack="python", inner="cri", max_bytes=len(first) + 100)
    assert frame.cut(source[: len(first) + 90], 0, final=False).count == 0
    assert frame.cut(source, 0, final=False).count == 11


def test_blank_lines_stay_within_a_record_and_nowhere_else() -> None:
    """Those behind the last line are counted, as blank lines are."""
    cut = multiline(start="^[a-z]").cut(text("", "a", "", " b", "", "", "c"), 0, final=True)
    assert [row for *_, row, _ in found_in(cut, 0)] == [rb'{"message":"a\n\n b"}', b"c"]
    assert cut.skipped == {"blank": 3}


@settings(deadline=None)
@given(patterns, st.lists(some_lines.map(str.encode), min_size=1))
def test_a_run_of_lines_matches_as_each_line_alone_does(pattern: str, rows: list[bytes]) -> None:
    """No pattern sees beyond its line, however it was compiled for many at once."""
    rows = [row.replace(b"\0", b"") for row in rows]
    compiled = re2.compile(pattern.encode())
    assert list(Matcher(pattern, "start").matches(rows)) == [int(compiled.search(row) is not None) for row in rows]


atoms = st.sampled_from(["a", r"\s", r"\S", r"\W", r"\D", r"\d", ".", "[^a]", r"[\sa]", r"[^\S]", "[a-z]", r"\.", "(?:", "(", ")", "|", "*", "+", "?", "{2}", "^", "$", r"\b", "(?i)", "(?s)", r"\n", r"[\t-\r]", "[[:space:]]", r"\pZ", r"\x0a", "[]a]", "[^]a]", r"\C", r"[\n]", r"\z", r"\A"])  # fmt: skip


@settings(deadline=None, max_examples=400)
@given(
    st.lists(atoms, min_size=1, max_size=6).map("".join),
    st.lists(st.text("aA .\t\r\f1", max_size=6).map(str.encode), min_size=1, max_size=6),
)
def test_any_pattern_stays_within_its_line_when_lines_are_searched_together(pattern: str, rows: list[bytes]) -> None:
    """Whatever RE2 takes: classes that hold a newline, flags and anchors of the whole text are no exception."""
    try:
        matcher = Matcher(pattern, "start")
    except ComponentError:
        return
    compiled = re2.compile(pattern.encode())
    assert list(matcher.matches(rows)) == [int(compiled.search(row) is not None) for row in rows]


@pytest.mark.parametrize(
    ("pattern", "within", "characters"),
    [
        (r"^\d{4}-\d{2}", r"^\d{4}-\d{2}", 40),
        (r"^\s", r"^[ \t\f\r]", 2),
        (r"^[^ ]", r"^[^\n ]", 2),
        ("ERROR", "ERROR", None),
        (r"^\s+at", r"^[ \t\f\r]+at", None),
        (r"a\nb", None, None),
        (r"(?s)a.b", None, None),
        ("[[:^alpha:]]", None, None),
        (r"\Aa", None, None),
        (r"[\t-\r]", None, None),
    ],
)
def test_common_patterns_are_searched_in_many_lines_at_once(pattern: str, within: str | None, characters: int | None) -> None:
    """Those that may match a newline are searched line by line; anchored ones of limited length in the lines' beginnings."""
    assert within_a_line(pattern) == within
    assert within is None or width(pattern) == characters


@pytest.mark.parametrize(
    ("written", "field", "message"),
    [
        ({}, "", "needs one of"),
        ({"pack": "python", "start": "^a"}, "start", "needs one of"),
        ({"pack": []}, "", "needs one of"),
        ({"pack": "cobol"}, "pack", "no multiline pack"),
        ({"pack": ["python", "cobol"]}, "pack.1", "no multiline pack"),
        ({"start": "(a"}, "start", "cannot be used"),
        ({"continue": r"(?=a)"}, "continue", "cannot be used"),
        ({"start": r"(a)\1"}, "start", "cannot be used"),
        ({"start": "\ud800"}, "start", "cannot be used"),
        ({"start": "a", "max_lines": 1}, "max_lines", "2 or more"),
        ({"start": "a", "max_bytes": 0}, "max_bytes", "more than 0"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(written: dict[str, Any], field: str, message: str) -> None:
    """The setting is named, so that the loader can point at it."""
    with pytest.raises(ComponentError, match=message) as refused:
        Multiline(Multiline.Config(**{"continue_" if name == "continue" else name: value for name, value in written.items()}))
    assert refused.value.field == field


def test_a_pattern_that_backtracks_elsewhere_takes_linear_time_here() -> None:
    """`(a+)+$` on a long line of `a` and another letter (CVE-2021-41186): RE2 answers, a backtracking engine never would."""
    source = text("a" * 50_000 + "!", "b")
    assert len(read(multiline(start="^(a+)+$"), source)) == 1


def test_the_frame_tells_how_long_a_record_may_wait() -> None:
    """The time after which the caller is to say that nothing follows is the setting's."""
    frame = multiline(pack="python", timeout="2s")
    assert (frame.flush_after_s, frame.joins, tuple(frame.adds)) == (2.0, True, ())
    assert multiline(pack="python").flush_after_s == 5.0


def test_a_byte_order_mark_is_taken_off_at_the_beginning_of_a_file_alone() -> None:
    """Source byte 0, also where the end of a rotated file stands before it."""
    mark = b"\xef\xbb\xbf"
    frame = multiline(start="^[a-z]")
    assert [row for *_, row, _ in found_in(frame.cut(mark + b"a\nb\n", 0, final=True), 0)] == [b"a", b"b"]
    cut = frame.cut(b"a\n" + mark + b"b\n", -2, final=True)
    assert [row for *_, row, _ in found_in(cut, -2)] == [b"a", b"b"]
    assert re.match(rb"a", cut.block)
