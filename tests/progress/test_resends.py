"""What a former run may have sent: pending until every stream is past it, and nothing after a good end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shipper.progress.checkpoint import Checkpoint
from shipper.progress.resends import Resends

ids = st.sampled_from("abcd")


def checkpoint(*, quiet: bool | None, streams: str = "ab") -> Checkpoint:
    """A checkpoint with these streams."""
    horizon = {"reference": 0.0} if quiet is None else {"reference": 0.0, "quiet": quiet}
    return Checkpoint("p", "d", "m", horizon, [[{"id": one} for one in streams]])


def test_nothing_is_pending_after_a_good_end_or_without_a_former_run() -> None:
    """A crash, and a checkpoint that says nothing of its end, leave what their streams may have sent."""
    pending = [
        Resends.after(before).pending
        for before in (None, checkpoint(quiet=True), checkpoint(quiet=False), checkpoint(quiet=None))
    ]
    assert pending == [False, False, True, True]


@given(st.dictionaries(ids, st.integers(1, 100)), st.lists(st.tuples(ids, st.integers(0, 120))), st.sets(ids))
def test_pending_is_exactly_while_a_living_stream_is_not_settled_to_its_size(
    sizes: dict[str, int], settled: list[tuple[str, int]], gone: set[str]
) -> None:
    """Law: pending == some stream is alive, and was not taken up or not settled up to the size it had then."""
    resends = Resends("abcd")
    for stream_id, size in sizes.items():
        resends.began(stream_id, size)
        resends.began(stream_id, size + 50)  # taken up again when it grew late: the first size counts
    offsets: dict[str, int] = {}
    for stream_id, offset in settled:
        offsets[stream_id] = max(offset, offsets.get(stream_id, 0))
        resends.settle(offsets, set("abcd"))
    resends.settle(offsets, set("abcd") - gone)
    expected = [one for one in "abcd" if one not in gone and not (one in sizes and offsets.get(one, 0) >= sizes[one])]
    assert resends.pending is bool(expected)


def test_streams_that_are_new_are_no_resends() -> None:
    """Only what the former run knew may have been sent by it."""
    resends = Resends("a")
    resends.began("b", 10)
    resends.began("a", 5)
    resends.settle({"a": 5}, {"a", "b"})
    assert not resends.pending
