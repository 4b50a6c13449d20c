"""The pace: window, pause and probe."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shipper.deliver.pace import Pace
from shipper.deliver.traffic import CourierSettings

SETTINGS = CourierSettings(posts_max=8)


def test_pace_counts_failures_of_one_epoch_once():
    """Posts that were in flight together and fail together wait as long as one."""
    alone, together = Pace(SETTINGS, lambda: 1.0), Pace(SETTINGS, lambda: 1.0)
    alone.fail(0, 0.0, 0.0)
    for _ in range(4):
        together.fail(0, 0.0, 0.0)
    assert (alone.resume_at, alone.failures) == (together.resume_at, together.failures) == (0.1, 1)


def test_pace_is_not_mended_by_an_answer_to_an_older_post():
    """Only what was sent after the failure says that it is over."""
    pace = Pace(SETTINGS, lambda: 1.0)
    pace.fail(0, 0.0, 0.0)
    assert 0 == pace.recover(0)
    assert 1 == pace.posts_max
    assert 1 == pace.recover(1)
    assert 5 == pace.posts_max


def test_pace_halves_its_window_under_strain_and_grows_by_one():
    """AIMD."""
    pace = Pace(SETTINGS, lambda: 1.0)
    seen = []
    for action in (pace.strain, pace.strain, pace.strain, pace.strain):
        action()
        seen.append(pace.posts_max)
    for _ in range(9):
        pace.recover(0)
        seen.append(pace.posts_max)
    assert [4, 2, 1, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8] == seen


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_wait_is_full_jitter_within_the_cap(attempts, chance):
    """0 <= wait < min(cap, first * 2 ** attempts), for any number of attempts."""
    wait_s = Pace(SETTINGS, lambda: chance).wait_s(attempts)
    assert 0 <= wait_s <= min(30.0, 0.1 * 2.0 ** min(attempts, 20))


@given(st.lists(st.tuples(st.sampled_from(["fail", "recover", "strain"]), st.integers(0, 2), st.floats(0, 1000)), max_size=30))
def test_pace_keeps_its_bounds_whatever_happens(steps):
    """Window within 1 and the maximum; no pause longer than the longest allowed."""
    pace, now = Pace(SETTINGS, lambda: 0.999), 0.0
    for action, back, retry_after_s in steps:
        now += 1.0
        epoch = max(0, pace.epoch - back)
        if action == "fail":
            assert 0 <= pace.fail(epoch, now, retry_after_s) <= 300.0
        elif action == "recover":
            pace.recover(epoch)
        else:
            pace.strain()
        assert 1 <= pace.posts_max <= 8
