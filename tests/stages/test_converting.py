"""Converting: each value as it would be alone, and only where nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.stages.converting import FAILED, Kind, converted

INF = float("inf")
CASES: list[tuple[Kind, object, object]] = [
    ("integer", "12", 12), ("integer", " -7 ", -7), ("integer", "+5", 5), ("integer", "007", 7), ("integer", "12.0", FAILED),
    ("integer", "12.5", FAILED), ("integer", "1_000", FAILED), ("integer", "", FAILED), ("integer", "\u0661", FAILED),
    ("integer", 3.0, 3), ("integer", 3.5, FAILED), ("integer", True, FAILED), ("integer", INF, FAILED), ("integer", 9, 9),
    ("integer", "9" * 25, int("9" * 25)), ("integer", [1], FAILED), ("integer", {"a": 1}, FAILED),
    ("number", "12", 12), ("number", "1.50", 1.5), ("number", ".5", 0.5), ("number", "1e3", 1000.0), ("number", "1e999", FAILED),
    ("number", "NaN", FAILED), ("number", "-0", 0), ("number", "0x10", FAILED), ("number", False, FAILED), ("number", 1.5, 1.5),
    ("number", "9" * 25, int("9" * 25)), ("number", "1,2", FAILED), ("number", "1] [2", FAILED),
    ("boolean", "true", True), ("boolean", " Yes", True), ("boolean", "OFF", False), ("boolean", "maybe", FAILED),
    ("boolean", 1, True), ("boolean", 0.0, False), ("boolean", 2, FAILED), ("boolean", True, True), ("boolean", [], FAILED),
    ("string", 12, "12"), ("string", 1.5, "1.5"), ("string", True, "true"), ("string", {"a": [1]}, '{"a":[1]}'), ("string", "x", "x"),
    ("string", INF, FAILED), ("string", 2**70, str(2**70)),
]  # fmt: skip


def same(one: object, other: object) -> bool:
    """Whether two values are the same, 1 and true not."""
    return one is other or (type(one) is type(other) and one == other)


@pytest.mark.parametrize(("kind", "value", "expected"), CASES)
def test_a_value_becomes_what_it_says_or_stays(kind: Kind, value: object, expected: object) -> None:
    """By itself."""
    (found,) = converted(kind, [value])
    assert same(found, expected)


@given(kind=st.sampled_from(["integer", "number", "boolean", "string"]), cases=st.lists(st.sampled_from(CASES), min_size=1))
def test_values_become_the_same_in_any_company(kind: Any, cases: list[tuple[Kind, object, object]]) -> None:
    """Whether they are read together or one by one."""
    values = [value for _, value, _ in cases]
    assert all(map(same, converted(kind, values), [converted(kind, [value])[0] for value in values]))


def test_texts_that_only_together_look_like_numbers_are_none() -> None:
    """They are read as one array, and a text with a comma or a bracket must not borrow from its neighbour."""
    for values in (["1,2", "3"], ["[1", "2]"], ["1", "", "3"], ["1,", "2"], ['"', '"'], ["1", "null"]):
        assert converted("integer", values) == [converted("integer", [value])[0] for value in values]


def test_a_text_nested_without_end_is_not_written_out() -> None:
    """It stays, and is named."""
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert converted("string", [deep]) == [FAILED]
    while deep:
        deep = deep.pop()  # type: ignore[assignment]


def test_values_that_are_of_the_kind_already_are_not_touched() -> None:
    """The same list."""
    values = ["a", "b"]
    assert converted("string", values) is values
