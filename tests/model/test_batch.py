"""Batch: origins of rows before and after the gate's edits, and the bounds of rows in a block."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.model.batch import Batch, SafeBatch, contiguous, line_bounds, merge_counts, row_bounds, split_lines, split_rows
from tests.kit.records import STREAM, batch_of

rows = st.lists(st.binary(max_size=12).map(lambda row: row.replace(b"\n", b"")), min_size=1, max_size=8)
edits = st.lists(st.tuples(st.integers(0, 90), st.integers(0, 6), st.sampled_from([b"", b"*", b"[REDACTED]"])), max_size=5)


@settings(deadline=None)
@given(rows, st.integers(0, 1000))
def test_the_origin_of_contiguous_lines_follows_from_their_lengths(rows: list[bytes], base: int) -> None:
    """Without an origin of the frame's, each row begins where the one before it ended; oracle: adding up."""
    bounds = list(accumulate((len(row) + 1 for row in rows), initial=base))
    made = Batch(STREAM, b"".join(row + b"\n" for row in rows), len(rows), base)
    safe = SafeBatch(made, b"*\n" * len(rows), [])
    assert (safe.starts, safe.stops) == (made.starts, made.stops) == (bounds[:-1], bounds[1:])


@settings(deadline=None)
@given(rows, st.integers(0, 1000))
def test_lines_are_the_rows_with_their_newlines_and_add_up_to_the_same_origin(rows: list[bytes], base: int) -> None:
    """Found by a file in memory; oracle: `bytes.split`, and adding one to each length. CR and other line ends are content."""
    block = b"".join(row + b"\n" for row in rows)
    ends = [stop - 1 for stop in contiguous(rows, 0)[1]]
    assert split_rows(block, None) == split_rows(block, ends) == rows
    assert split_lines(block, None) == split_lines(block, ends) == [row + b"\n" for row in rows]
    assert line_bounds(split_lines(block, None), base) == contiguous(rows, base)


def test_the_origin_is_the_frames_own_when_it_gave_one() -> None:
    """Rows of interleaved streams keep the spans the frame found; the batch settles up to the last of them."""
    batch = Batch(STREAM, b"a\nb\n", 2, 0, ([0, 10], [40, 30]))
    assert SafeBatch(batch, b"*\n*\n", []).starts == [0, 10]
    assert SafeBatch(batch, b"*\n*\n", []).stops == [40, 30]
    assert batch.span == (0, 40)
    assert batch_of([b"ab", b"c"], 7).span == (7, 12)


@settings(deadline=None)
@given(rows, st.data())
def test_the_row_of_a_position_is_found_with_and_without_ends(rows: list[bytes], data: st.DataObject) -> None:
    """A binary search over `ends`, and a search for newlines, agree with the rows."""
    block = b"".join(row + b"\n" for row in rows)
    ends = [end - 1 for end in accumulate(len(row) + 1 for row in rows)]
    position = data.draw(st.integers(0, len(block) - 1))
    number = block.count(b"\n", 0, position)
    start = ends[number] - len(rows[number])
    assert row_bounds(block, None, position) == row_bounds(block, ends, position) == (start, ends[number])


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=6), min_size=1, max_size=6), st.data())
def test_the_row_of_a_position_is_found_when_rows_hold_newlines(rows: list[bytes], data: st.DataObject) -> None:
    """With `ends`, a newline inside a row does not end it."""
    block = b"".join(row + b"\n" for row in rows)
    ends = [end - 1 for end in accumulate(len(row) + 1 for row in rows)]
    number = data.draw(st.integers(0, len(rows) - 1))
    position = data.draw(st.integers(ends[number] - len(rows[number]), ends[number]))
    assert row_bounds(block, ends, position) == (ends[number] - len(rows[number]), ends[number])


def test_a_safe_batch_does_not_reach_the_raw_block() -> None:
    """Nothing that the gate returns leads back to unredacted bytes, and its flags are its own."""
    batch = batch_of([b"secret"])
    batch.flags[0] = ("truncated",)
    safe = SafeBatch(batch, b"******\n", [])
    safe.flags[0] = ("other",)
    assert batch.flags == {0: ("truncated",)}
    assert not any(b"secret" in repr(getattr(safe, name)).encode() for name in SafeBatch.__slots__)


def test_counts_are_added_when_merged() -> None:
    """Names that are new are taken over."""
    into = {"a": 1}
    merge_counts(into, {"a": 2, "b": 3})
    assert into == {"a": 3, "b": 3}
