"""CRI: the joining of parts against a naive reader of the whole file, however it is cut into windows, and the block speed way."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.config.fields import Duration, Size
from shipper.frame import cri as module
from shipper.frame.cri import Cri
from shipper.frame.frame import Cut
from shipper.frame.joining import lined
from tests.frame.oracle_cri import naive
from tests.kit.records import Found, cut_in_windows, extras_of, found_in

JOIN_MAX = 300
TIME = b"2016-10-06T00:17:09.669794202Z"
UMLAUT = "\u00fc".encode()


def line(text: bytes, stream: bytes = b"stdout", tags: bytes = b"F", time: bytes = TIME) -> bytes:
    """A line as a runtime writes it."""
    return b"%b %b %b %b\n" % (time, stream, tags, text)


contents = st.sampled_from(
    [b"a", b"", b"\r", b"x\r", b"two words", b' {"a":1}', b"\xc3", b"\xbc", UMLAUT, b"\xff", b"y" * 90, b"stdout F x", b" "]
)
times = st.sampled_from([TIME, b"2016-10-06T00:17:09Z", b"2016-10-06T00:17:09.1Z", b"2016-10-06T00:17:09.669794202+02:00"])
cri_lines = st.builds(
    line, contents, st.sampled_from([b"stdout", b"stderr"]), st.sampled_from([b"F", b"F", b"F", b"P", b"F:x", b"P:a:b"]), times
)
strange_lines = st.sampled_from(
    [
        b"\n", b"no cri\n", b"\0\0\0\n", b"\0\0" + line(b"behind NULs"), line(b"nul\0inside"), line(b"\0"), b" " + line(b"indented"),
        line(b"x", b"stdin"), line(b"x", tags=b"X"), line(b"x", tags=b""), line(b"x", tags=b"FP"), TIME + b" stdout F\n", TIME + b" stdout P\n",
        TIME + b" stdout\n", line(b"x", time=b"2016-10-06 00:17:09Z"), line(b"x", time=b"12016-10-06T00:17:09Z"), line(b"x", time=b""), b"cr\r\r\n",
        line(b"x", time=b"2016-10-06T00:17:09.0123456789Z"), line(b"x", time=b"2016-10-06T00:17:09.Z"), b"\xff stdout F x\n", b"\xc3\n", b"a b c d\n",
        line(b"x", time=b"\xd9\xa2016-10-06T00:17:09Z"), TIME + b"  stdout F x\n",
    ]
)  # fmt: skip
sources = st.builds(
    lambda lines, cut: b"".join(lines)[: -cut or None],
    st.lists(st.one_of(cri_lines, cri_lines, cri_lines, strange_lines), max_size=16),
    st.integers(0, 40),
)
sizes = st.lists(st.integers(1, 400), min_size=1, max_size=5)


def cri(join_max: int = JOIN_MAX, **more: bool) -> Cri:
    """A frame with a small limit."""
    return Cri(Cri.Config(join_max=Size(join_max)), **more)


def in_order(found: list[Found]) -> list[Found]:
    """Records with their marks sorted."""
    return [(start, stop, row, tuple(sorted(marks))) for start, stop, row, marks in found]


def rows_of(cut: Cut) -> list[bytes]:
    """The texts of a cut."""
    return [row for _, _, row, _ in found_in(cut, 0)]


@settings(deadline=None)
@given(sources, sizes)
def test_records_are_those_of_a_naive_reader_however_the_source_is_cut(source: bytes, sizes: list[int]) -> None:
    """The same spans, texts, marks and counts for any windows: parts of both streams are joined across them."""
    expected, skipped = naive(source, JOIN_MAX)
    found, found_skipped = cut_in_windows(cri(), source, sizes)
    assert (in_order(found), found_skipped) == ([found for found, _, _ in expected], skipped)


@settings(deadline=None)
@given(sources)
def test_fragments_and_times_stand_beside_their_records_when_a_file_is_read(source: bytes) -> None:
    """`stream` becomes a fragment, the container's time dates the row; both are those of a record's first part."""
    cut = cri().cut(source, 0, final=True)
    assert cut.next_offset == len(source)
    assert list(zip(in_order(found_in(cut, 0)), extras_of(cut), cut.times or [], strict=True)) == naive(source, JOIN_MAX)[0]
    assert cut.lines is None or b"".join(cut.lines) == cut.block


@settings(deadline=None)
@given(sources, st.integers(-500, -1))
def test_an_offset_before_the_file_is_an_offset_like_others(source: bytes, base: int) -> None:
    """The end of a rotated file stands in front of the next one's beginning: spans move, nothing else does."""
    moved = in_order(found_in(cri().cut(source, base, final=True), base))
    assert moved == [(start + base, stop + base, row, marks) for (start, stop, row, marks), _, _ in naive(source, JOIN_MAX)[0]]


@settings(deadline=None)
@given(sources)
def test_every_byte_is_in_one_record_or_counted_when_a_source_is_read(source: bytes) -> None:
    """Records are in the order of their first byte; a byte outside of all spans was counted as skipped."""
    cut = cri().cut(source, 0, final=True)
    starts, stops = cut.origin or ([], [])
    assert list(starts) == sorted(set(starts))
    covered = {byte for start, stop in zip(starts, stops, strict=True) for byte in range(start, stop)}
    outside = bytes(byte for at, byte in enumerate(source) if at not in covered)
    assert len(outside) - outside.count(0) <= cut.skipped.get("blank", 0)
    assert cut.skipped.get("nul", 0) == source.count(0)


@settings(deadline=None)
@given(st.lists(cri_lines, min_size=1))
def test_one_split_agrees_with_the_pattern_when_all_lines_are_of_the_runtime(lines: list[bytes]) -> None:
    """Parts, tags, times of any width and content of any kind are no reason to leave the fast way."""
    block = b"".join(lines)
    raw, starts, stops = lined(block, 0)
    fast = module._fields_fast(block, raw)
    assert fast == module._fields_carefully(raw, module.columns(starts, stops), len(block))


@settings(deadline=None)
@given(st.lists(cri_lines), strange_lines, st.lists(cri_lines))
def test_one_split_refuses_a_block_when_one_line_is_not_of_the_runtime(
    before: list[bytes], bad: bytes, after: list[bytes]
) -> None:
    """Whatever fast way is found, it is what the pattern says of each line."""
    block = b"".join([*before, bad, *after])
    raw, starts, stops = lined(block, 0)
    fast = module._fields_fast(block, raw)
    assert fast in (None, module._fields_carefully(raw, module.columns(starts, stops), len(block)))


@settings(deadline=None)
@given(sources)
def test_blank_records_stay_when_a_frame_on_top_asks_for_them(source: bytes) -> None:
    """The others are the same, and only the count of blank bytes is left to the frame on top."""
    plain, asked = cri().cut(source, 0, final=True), cri(blanks=True).cut(source, 0, final=True)
    assert [found for found in found_in(asked, 0) if found[2]] == found_in(plain, 0)
    assert {**asked.skipped, "blank": 0} == {**plain.skipped, "blank": 0}


def test_parts_wait_for_their_end_when_more_may_follow() -> None:
    """A `P` line alone is no record yet; its end makes it one, of both spans."""
    first, last = line(b"one ", tags=b"P"), line(b"record")
    cut = cri().cut(first, 0, final=False)
    assert (cut.count, cut.next_offset) == (0, 0)
    assert found_in(cri().cut(first + last, 0, final=False), 0) == [(0, len(first + last), b"one record", ())]


def test_parts_are_flagged_when_their_end_never_comes() -> None:
    """Where the file ends, or `join_max` bytes later; what comes then is a record of its own."""
    part = line(b"p", tags=b"P")
    assert found_in(cri().cut(part, 0, final=True), 0) == [(0, len(part), b"p", ("partial",))]
    between = [line(b"e", b"stderr")] * 8
    cut = cri().cut(part + b"".join(between) + line(b"late"), 0, final=False)
    assert rows_of(cut) == [b"p", *[b"e"] * 8, b"late"]
    assert cut.flags == {0: ("partial",)}


def test_streams_are_joined_apart_when_they_interleave() -> None:
    """Parts of stderr between those of stdout are none of its own (fluent-bit#4387)."""
    lines = [line(b"o1 ", tags=b"P"), line(b"e1 ", b"stderr", b"P"), line(b"o2"), line(b"e2", b"stderr")]
    cut = cri().cut(b"".join(lines), 0, final=False)
    assert rows_of(cut) == [b"o1 o2", b"e1 e2"]
    assert extras_of(cut) == [b',"stream":"stdout"', b',"stream":"stderr"']


def test_a_character_is_whole_when_the_runtime_cut_within_it() -> None:
    """Runtimes cut at bytes: the halves are joined before anybody asks whether they are UTF-8."""
    block = line(b"W\xc3", tags=b"P") + line(b"\xbclfrath") + line(b"plain")
    cut = cri().cut(block, 0, final=False)
    assert rows_of(cut) == [b"W" + UMLAUT + b"lfrath", b"plain"]
    assert cut.flags == {}


def test_the_frame_tells_how_long_parts_may_wait() -> None:
    """The time after which the caller is to say that nothing follows is the setting's."""
    assert (Cri().flush_after_s, Cri.joins) == (10.0, True)
    assert Cri(Cri.Config(join_timeout=Duration(0.5))).flush_after_s == 0.5


@pytest.mark.parametrize("broken", [b"no cri", TIME[:-1] + b" stdout F x", b"\0" + line(b"x")[:-1]])
def test_one_bad_line_changes_no_other_record_of_its_block(broken: bytes) -> None:
    """The lines around it are read as before."""
    good = [line(b"%d" % number) for number in range(3)]
    rows = rows_of(cri().cut(b"".join([*good, broken + b"\n", *good]), 0, final=False))
    assert (rows[:3], rows[4:], len(rows)) == ([b"0", b"1", b"2"], [b"0", b"1", b"2"], 7)
