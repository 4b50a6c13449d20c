"""Python values: what `repr` writes comes back as JSON says it, and a value ends where it ends."""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.decode.python_values import as_json, end_of

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = (
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False) | texts
)  # fmt: skip
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)


def as_tuples(value: Any) -> Any:
    """The same with tuples for lists."""
    return tuple(map(as_tuples, value)) if isinstance(value, list) else value


@given(values)
def test_what_repr_writes_comes_back(value: Any) -> None:
    """Texts, numbers, and what is built of them; tuples as lists."""
    assert json.loads(as_json(repr(value))) == value
    assert json.loads(as_json(repr(as_tuples(value)))) == value


@given(st.lists(values, min_size=1, max_size=4))
def test_a_value_ends_at_the_blank_behind_it(some: list[Any]) -> None:
    """Blanks within quotes and brackets belong to it."""
    text, at = " ".join(map(repr, some)), 0
    for value in some:
        end = end_of(text, at)
        assert text[at:end] == repr(value)
        at = end + 1


@pytest.mark.parametrize(
    "value",
    [
        uuid.UUID(int=7), datetime.datetime(2025, 1, 1, 3, 4), decimal.Decimal("1.5"), {1, 2}, {1: "a"}, float("nan"), float("inf"),
        b"bytes", Exception("a b"), range(3), [float("nan")], 10**50, object,
    ],
)  # fmt: skip
def test_what_json_does_not_have_is_a_text(value: object) -> None:
    """As `repr` wrote it, and it ends where it ends."""
    text = repr(value)
    assert json.loads(as_json(text)) == text
    assert end_of(f"{text} next=1", 0) == len(text)


@pytest.mark.parametrize("text", ["[", "'a", "{'a': 1", "'a\\", '"', "[abc", "(1", "'\\'", "[1}", "['x]"])
def test_what_does_not_close_ends_nowhere_and_is_a_text(text: str) -> None:
    """A part of a line, cut off."""
    assert end_of(text, 0) in (-1, len(text))
    assert json.loads(as_json(text)) == text


def test_surrogates_and_deep_nesting_are_kept_as_far_as_can_be() -> None:
    """UTF-8 has no surrogates, Elasticsearch no depth beyond twenty."""
    assert json.loads(as_json(r"'a\ud800b'")) == "a\ufffdb"
    deep = "[" * 30 + "]" * 30
    assert json.loads(as_json(deep)) == deep


def test_long_nonsense_is_read_at_once() -> None:
    """Each character is looked at a bounded number of times."""
    for text in ("\\'" * 300_000, "'" * 300_001, "[" * 500_000, "{'a': " * 100_000, "'\\" * 200_000 + "\\"):
        assert as_json(text)
        assert end_of(text, 0) in (-1, len(text))
