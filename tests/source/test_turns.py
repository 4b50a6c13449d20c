"""Turns and timers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shipper.source.events import Entry
from shipper.source.known import Known
from shipper.source.turns import Timers, Turns


def known(number: int, *, rotated: bool = False) -> Known:
    """A file."""
    found = Known(Entry(f"/{number}", 1, number, 1, 0.0))
    found.rotated = rotated
    return found


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_everybody_has_a_turn_and_once(kinds: list[bool]) -> None:
    """However often it was added."""
    turns = Turns()
    files = [known(number, rotated=rotated) for number, rotated in enumerate(kinds)]
    for file in files * 2:
        turns.add(file)
    served = []
    while (file := turns.next()) is not None:
        served.append(file)
    assert len(served) == len(files)
    assert set(served) == set(files)


def test_backlog_has_every_fourth_turn_when_live_files_are_always_ready() -> None:
    """Live ones have the others, round robin."""
    turns = Turns()
    live, old = [known(number) for number in range(2)], known(9, rotated=True)
    for file in [*live, old]:
        turns.add(file)
    order = []
    for _ in range(12):
        file = turns.next()
        assert file is not None
        order.append(file.key[1])
        turns.add(file)
    assert order == [0, 1, 0, 9, 1, 0, 1, 9, 0, 1, 0, 9]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 100)), max_size=40), st.integers(0, 100))
def test_timers_fire_once_in_order_at_the_last_time_they_were_armed_for(armed: list[tuple[int, int]], now: int) -> None:
    """Arming again moves a timer."""
    timers: Timers[int] = Timers()
    last = {}
    for subject, at in armed:
        timers.arm("x", subject, at)
        last[subject] = at
    due = [subject for _, subject in timers.due(now)]
    assert sorted(due) == sorted(subject for subject, at in last.items() if at <= now)
    assert [last[subject] for subject in due] == sorted(last[subject] for subject in due)
    rest = [at for at in last.values() if at > now]
    assert timers.deadline() == (min(rest) if rest else None)


def test_a_disarmed_timer_does_not_fire() -> None:
    """Nor does it hold the deadline."""
    timers: Timers[int] = Timers()
    timers.arm("x", 1, 5.0)
    timers.disarm("x", 1)
    assert timers.deadline() is None
    assert list(timers.due(10.0)) == []
