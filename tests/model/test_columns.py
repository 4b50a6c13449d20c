"""Columns: what stages mark in one call for many rows, and how names reach into records."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.model.columns import Columns, meet, reach

COUNT = 6
masks = st.lists(st.booleans(), min_size=COUNT, max_size=COUNT)


class Holding:
    """What a row is held for."""

    reason = "throttled"
    index: bytes | None = None


def empty() -> Columns:
    """A batch without columns."""
    return Columns("s" * 22, [b"{"] * COUNT, {})


@given(first=masks, second=masks, held=st.sets(st.integers(0, COUNT - 1)))
def test_drop_where_marks_what_drop_marks_row_by_row(first: list[bool], second: list[bool], held: set[int]) -> None:
    """The first reason stays, and what is held is not dropped."""
    at_once, one_by_one = empty(), empty()
    for row in held:
        at_once.hold(row, Holding())
        one_by_one.hold(row, Holding())
    for mask, reason in ((first, "one"), (second, "two")):
        at_once.drop_where(mask, reason)
        for row, chosen in enumerate(mask):
            if chosen:
                one_by_one.drop(row, reason)
    assert at_once.dropped == one_by_one.dropped


def test_flag_adds_to_the_flags_that_a_row_has() -> None:
    """In order, other rows untouched."""
    columns = empty()
    columns.flags = {0: ("a",), 1: ("b",)}
    columns.flag([1, 2], "c")
    columns.flag([], "d")
    assert columns.flags == {0: ("a",), 1: ("b", "c"), 2: ("c",)}


def test_what_guards_said_holds_no_longer_when_rows_are_exchanged() -> None:
    """A stage that writes rows may write what they looked for."""
    columns = empty()
    columns.marks = frozenset(("escapes",))
    columns.rewrite([b'{"a":1'] * COUNT)
    assert columns.marks is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a", {"b": {"c": 1}, "n": None}), ("a.b", {"c": 1}), ("a.b.c", 1), ("a.n", None), ("a.x.y", None), ("d.e", 2), ("f.g", 3),
        ("d", 5), ("d.x", None), ("h.i", 4), ("missing", None), ("missing.too", None),
    ],
)  # fmt: skip
def test_a_name_reaches_a_member_of_its_own_spelling_or_into_objects(name: str, value: object) -> None:
    """As decoders make columns; a null in the way is as nothing."""
    record: dict[str, object] = {
        "a": {"b": {"c": 1}, "n": None}, "d.e": 2, "d": 5, "f": {"g": 3}, "f.g": None, "h": {"i": 5}, "h.i": 4,
    }  # fmt: skip
    assert reach(record, name) == value


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [("a", "a", True), ("a", "a.b", True), ("a.b", "a", True), ("a.b", "a.c", False), ("ab", "a", False), ("a.b", "a.bc", False)],
)
def test_names_meet_when_one_is_the_other_or_lies_in_it(one: str, other: str, together: bool) -> None:
    """By whole steps."""
    assert meet(one, other) is together
