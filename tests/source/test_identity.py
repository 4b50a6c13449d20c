"""Fingerprints, guards and the trail of boundaries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shipper.source.identity import GUARD_BYTES, HEAD_BYTES, Fingerprint, Trail, digest, guard_size


@given(st.binary(min_size=1, max_size=3000), st.lists(st.integers(1, 700)))
def test_a_fingerprint_that_grew_is_the_one_of_the_whole(content: bytes, steps: list[int]) -> None:
    """However the file was read, each time from the bytes before the last place on."""
    at = min(len(content), steps[0] if steps else len(content))
    grown = Fingerprint(content[:at])
    for step in [*steps[1:], len(content)]:
        start = at - guard_size(at)
        at = min(len(content), at + step)
        grown.grow(content[start:at], start)
    whole = Fingerprint(content)
    assert (grown.length, grown.value) == (whole.length, whole.value)
    assert grown.length == min(len(content), HEAD_BYTES)


@given(st.binary(min_size=1, max_size=1500), st.binary(max_size=1500))
def test_a_fingerprint_matches_what_begins_like_its_file(content: bytes, more: bytes) -> None:
    """And nothing that does not."""
    shown = Fingerprint(content)
    assert shown.matches((content + more)[:HEAD_BYTES])
    changed = bytes([content[0] ^ 1]) + content[1:]
    assert not shown.matches((changed + more)[:HEAD_BYTES])
    assert not Fingerprint.known(shown.length, shown.value).matches(content[: shown.length - 1])


def test_an_empty_fingerprint_matches_nothing() -> None:
    """A file without a byte shows nothing."""
    assert not Fingerprint(b"").matches(b"anything")


@given(st.integers(0, 10_000))
def test_the_guard_covers_what_there_is_before_an_offset(offset: int) -> None:
    """And no more than its size."""
    assert guard_size(offset) == min(offset, GUARD_BYTES)


@given(st.sets(st.integers(1, 10_000), max_size=300).map(sorted), st.integers(0, 10_000))
def test_a_trail_tells_a_boundary_at_or_before_the_offset(offsets: list[int], asked: int) -> None:
    """The last one, unless many are outstanding; never one beyond."""
    trail = Trail(0, digest(b""))
    for offset in offsets:
        trail.add(offset, digest(b"%d" % offset))
    found, guard = trail.at(asked)
    assert found <= asked
    assert guard == (digest(b"%d" % found) if found else digest(b""))
    if len(offsets) < 60:
        assert found == max([0, *(offset for offset in offsets if offset <= asked)])


@given(st.sets(st.integers(1, 1000), min_size=1, max_size=50).map(sorted), st.integers(0, 1000), st.integers(0, 1000))
def test_pruning_a_trail_changes_nothing_that_is_asked_later(offsets: list[int], settled: int, later: int) -> None:
    """Settled offsets only grow."""
    one, other = Trail(0, b""), Trail(0, b"")
    for offset in offsets:
        one.add(offset, b"%d" % offset)
        other.add(offset, b"%d" % offset)
    one.prune(settled)
    asked = max(settled, later)
    assert one.at(asked) == other.at(asked)
