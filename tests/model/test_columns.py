"""Columns: what stages may do to rows."""

from __future__ import annotations

import pytest

from shipper.model.columns import Columns


class OneHeld:
    """Stands for held rows."""

    index: bytes | None = None


def columns() -> Columns:
    """Three rows."""
    return Columns("s", [b"{", b"{", b"{"], {"level": ["a", None, 1]})


def test_the_first_stage_wins_when_a_row_is_dropped_twice() -> None:
    """The reason stays; a held row is not dropped any more."""
    found = columns()
    held = OneHeld()
    found.drop(0, "first")
    found.drop(0, "second")
    found.hold(1, held)
    found.drop(1, "late")
    assert found.dropped == {0: "first"}
    assert found.held == {1: held}


@pytest.mark.parametrize("how", ["dropped", "held"])
def test_holding_a_row_is_refused_when_another_stage_decided_on_it(how: str) -> None:
    """A row that was counted by two summaries, or dropped and held, would be settled twice."""
    found = columns()
    if how == "dropped":
        found.drop(2, "x")
    else:
        found.hold(2, OneHeld())
    with pytest.raises(AssertionError):
        found.hold(2, OneHeld())


def test_a_column_is_refused_when_nobody_declared_it() -> None:
    """An undeclared field is a bug of the stage, not an empty column."""
    assert columns().column("level") == ["a", None, 1]
    with pytest.raises(KeyError):
        columns().column("service")
