"""Reshaping: nothing is lost, and what comes out has the shape that was asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.stages.members import encode, members_of
from shipper.stages.reshaping import breadth, capped, flat, levels, without_dots

names = st.sampled_from(["a", "b", "a.b", "b.c", "@timestamp", "a_b", "."])
values = st.recursive(
    st.none() | st.integers(0, 9) | st.sampled_from(["x", '{"']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)
records = st.dictionaries(names, values, max_size=4)


def apart(record: dict[str, Any]) -> dict[str, msgspec.Raw]:
    """A record taken apart."""
    return members_of(json.dumps(record).encode())


def together(members: dict[str, msgspec.Raw]) -> dict[str, Any]:
    """And put together."""
    found: dict[str, Any] = json.loads(encode(members))
    return found


def leaves(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Ways and values of all that is no object with members."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    else:
        yield path, json.dumps(value)


def depth_of(value: object) -> int:
    """Levels of members."""
    if isinstance(value, dict):
        return max((1 + depth_of(inner) for inner in value.values()), default=0)
    return max(map(depth_of, value), default=0) if isinstance(value, list) else 0


def breadth_of(value: object) -> int:
    """Members that a mapping needs."""
    if isinstance(value, dict):
        return max(1, sum(map(breadth_of, value.values())))
    if isinstance(value, list) and "{" in json.dumps(value):
        return max(1, sum(map(breadth_of, value)))
    return 1


@given(records)
def test_levels_and_breadth_are_counted_in_raw_values_as_in_decoded_ones(record: dict[str, Any]) -> None:
    """Objects in arrays count as if they stood there once."""
    raw = msgspec.Raw(json.dumps(record).encode())
    assert (levels(raw), breadth(raw)) == (depth_of(record), breadth_of(record))


@given(record=records, depth=st.none() | st.integers(1, 3), count=st.none() | st.integers(1, 5))
def test_what_is_capped_and_what_overflows_are_the_record_together(
    record: dict[str, Any], depth: int | None, count: int | None
) -> None:
    """Every value is in one of the two, under its path; and what stays keeps the limits."""
    members = apart(record)
    overflow = together(capped(members, depth, count))
    kept = together(members)
    empty = json.dumps({})
    assert sorted(leaf for leaf in leaves(record) if leaf[1] != empty) == sorted(
        leaf for leaf in [*leaves(kept), *leaves(overflow)] if leaf[1] != empty and leaf[0]
    )
    if depth is not None:
        assert depth_of({name: value for name, value in kept.items() if name != "@timestamp" or count is None}) <= depth
    if count is not None:
        others = {name: value for name, value in kept.items() if name != "@timestamp"}
        assert not others or breadth_of(others) <= count
    if depth is None and breadth_of(record) <= (count or 0):
        assert not overflow


def test_what_stands_first_in_a_record_is_kept() -> None:
    """In order, objects looked into; the time is never set apart."""
    members = apart({"a": 1, "o": {"b": 2, "c": 3, "p": {"d": 4}}, "e": 5, "@timestamp": "now"})
    assert together(capped(members, None, 3)) == {"o": {"p": {"d": 4}}, "e": 5}
    assert together(members) == {"a": 1, "o": {"b": 2, "c": 3}, "@timestamp": "now"}


def test_what_lies_too_deep_overflows_in_the_objects_it_was_in() -> None:
    """An array in which something does, as a whole."""
    members = apart({"a": {"b": {"c": 1}, "d": 2}, "l": [{"x": {"y": 1}}], "s": "x"})
    assert together(capped(members, 2, None)) == {"a": {"b": {"c": 1}}, "l": [{"x": {"y": 1}}]}
    assert together(members) == {"a": {"d": 2}, "s": "x"}
    members = apart({"s": "x", "a": {"b": {"c": 1}, "d": 2}})
    assert together(capped(members, 2, 1)) == {"a": {"b": {"c": 1}, "d": 2}}, "first the deep part, then the rest"


@given(records)
def test_objects_made_flat_have_the_same_values_under_the_same_paths(record: dict[str, Any]) -> None:
    """None is lost where two would have one path; nothing is left that could be flat and is not."""
    members = apart(record)
    flat(members, ["*"])
    found = together(members)
    assert sorted((".".join(way), value) for way, value in leaves(found)) == sorted(
        (".".join(way), value) for way, value in leaves(record)
    )
    assert all(not isinstance(value, dict) or not value or name in record for name, value in found.items())


def test_only_objects_that_are_named_are_made_flat() -> None:
    """Arrays stay, and so do empty objects and members whose path is taken."""
    members = apart({"a": {"b": {"c": 1}, "l": [{"x": 1}], "e": {}}, "a.b.c": 2, "o": {"p": 1}, "s": 5})
    assert flat(members, ["a", "s", "missing"])
    assert together(members) == {"a": {"b.c": 1}, "a.l": [{"x": 1}], "a.e": {}, "a.b.c": 2, "o": {"p": 1}, "s": 5}
    assert not flat(apart({"a": 1, "b": {}}), ["*"])


@given(records)
def test_names_without_dots_are_as_many_as_before_and_have_the_same_values(record: dict[str, Any]) -> None:
    """A name that would meet another one stays; all others have no dot left."""
    members = apart(record)
    changed = without_dots(members, "_")
    found = together(members)
    assert len(found) == len(record)
    assert sorted(value for _, value in leaves(found)) == sorted(value for _, value in leaves(record)) or "[" in json.dumps(
        record
    )
    assert changed == (found != record)
    for name in record:
        fresh = name.replace(".", "_")
        assert name in found or fresh in found
        if "." in name and name in found:
            rivals = [other for other in record if other.replace(".", "_") == fresh]
            assert len(rivals) > 1


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"a.b": 1, "c": {"d.e": 2}, "l": [{"f.g": 3}, 4]}, {"a_b": 1, "c": {"d_e": 2}, "l": [{"f_g": 3}, 4]}),
        ({"a.b": 1, "a_b": 2}, {"a.b": 1, "a_b": 2}),
        ({"a..b": 1, "a._b": 2, "a.b": 3}, {"a..b": 1, "a._b": 2, "a_b": 3}),
        ({"a.b": {"c.d": 1}}, {"a_b": {"c_d": 1}}),
    ],
)
def test_dots_give_way_in_all_objects(record: dict[str, Any], expected: dict[str, Any]) -> None:
    """Those in arrays, too; of two names that would become one both stay."""
    members = apart(record)
    without_dots(members, "_")
    assert together(members) == expected
