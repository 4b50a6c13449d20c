"""Members: paths, enclosing members, and what is left when some are taken out."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from shipper.redact.members import enclosing, members, removals

documents = st.recursive(
    st.none() | st.integers() | st.text(alphabet='a"\\{}[]:, ', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='abc.":', max_size=3), inner, max_size=3),
    max_leaves=12,
).filter(lambda found: isinstance(found, dict))
gaps = st.sampled_from([(",", ":"), (", ", ": "), (" ,  ", " :\t")])


def all_members(found: object) -> list[tuple[str, object]]:
    """Return (name, value) of all members in the order of the text."""
    if isinstance(found, list):
        return [member for value in found for member in all_members(value)]
    if not isinstance(found, dict):
        return []
    return [member for name, value in found.items() for member in ((name, value), *all_members(value))]


@given(documents, gaps)
def test_members_are_those_of_the_document_with_their_values(found: dict[str, object], gap: tuple[str, str]) -> None:
    """Law: each member's text decodes to its value, in the order of the text."""
    row = json.dumps(found, separators=gap).encode()
    wanted = all_members(found)
    got = members(row)
    assert [json.loads(row[member.value : member.end]) for member in got] == [value for _, value in wanted]
    assert [member.path.endswith(name) for member, (name, _) in zip(got, wanted, strict=True)] == [True] * len(got)
    assert all(row[member.start : member.start + 1] == b'"' for member in got)


@given(documents, gaps, st.data())
def test_enclosing_finds_the_innermost_member_for_each_place(
    found: dict[str, object], gap: tuple[str, str], data: st.DataObject
) -> None:
    """Law: as a search through all members from the last one back finds it."""
    row = json.dumps(found, separators=gap).encode()
    got = members(row)
    places = sorted(data.draw(st.lists(st.integers(0, len(row)), max_size=6)))
    slow = [next((member for member in reversed(got) if member.value <= place < member.end), None) for place in places]
    assert enclosing(got, places) == slow


def without(found: object, numbers: set[int], count: list[int]) -> object:
    """Return the document without the members of these numbers (in the order of the text)."""
    if isinstance(found, list):
        return [without(value, numbers, count) for value in found]
    if not isinstance(found, dict):
        return found
    kept = {}
    for name, value in found.items():
        count[0] += 1
        dropped = count[0] - 1 in numbers
        rest = without(value, numbers, count)
        if not dropped:
            kept[name] = rest
    return kept


@given(documents, gaps, st.data())
def test_removals_leave_the_document_without_those_members(
    found: dict[str, object], gap: tuple[str, str], data: st.DataObject
) -> None:
    """Law: cutting the regions out gives valid JSON of the rest, whichever members go."""
    row = json.dumps(found, separators=gap).encode()
    got = members(row)
    numbers = data.draw(st.sets(st.integers(0, max(0, len(got) - 1)), max_size=4)) if got else set()
    out, at = b"", 0
    for start, end in removals(got, [got[number] for number in sorted(numbers)]):
        out, at = out + row[at:start], end
    assert json.loads(out + row[at:]) == without(found, numbers, [0])


def test_members_of_what_is_no_json_end_without_an_error() -> None:
    """A row that only begins like JSON yields what it has, and deep nesting is no recursion."""
    assert [member.path for member in members(b'{"a":1,}]"b":2')] == ["a"]
    assert members(b"[info] {x}: y") == []
    assert len(members(b'{"a":' * 20000)) == 20000
