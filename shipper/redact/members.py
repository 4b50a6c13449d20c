"""Members: where in a JSON row a place lies, and how to take a member out so that valid JSON is left.

Used on the slow ways only (an action `drop_field`, a masked number, a masked key): the row is cut into tokens once. Iterative,
so depth is bounded by the row's size alone; a row that is not JSON yields the members found up to where it stops making sense.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TOKEN = re.compile(rb'("(?:[^"\\]|\\.)*")|([\[\]{},:])|[^\s\[\]{},:"]+', re.DOTALL)
_COLON = re.compile(rb"\s*:")
_PATH_MAX = 256


class Member(msgspec.Struct):
    """One member of an object: `"name": value` at [start, end) of the row, its value from `value` on."""

    parent: int
    """The position of the `{` it stands in."""
    order: int
    """Its number in that object."""
    start: int
    value: int
    end: int
    path: str
    """Names from the top, joined by dots; array positions left out."""


def members(row: bytes) -> list[Member]:
    """All members of all objects in `row`, inner ones behind the outer ones they lie in. O(row)."""
    found: list[Member] = []
    stack: list[tuple[int, Member | None, int]] = []
    parent, current, order = -1, None, 0
    name: re.Match[bytes] | None = None
    for token in _TOKEN.finditer(row):
        sign = token[2]
        if sign is None:
            name = token if token[1] and current is None and parent >= 0 else name
        elif sign == b":" and name is not None and current is None:
            current = Member(parent, order, name.start(), token.end(), len(row), _path(stack, name[1]))
            found.append(current)
            name = None
        elif sign in b"{[":
            stack.append((parent, current, order))
            parent, current, order = (token.start() if sign == b"{" else -1), None, 0
        elif sign == b",":
            if current is not None:
                current.end = token.start()
                current, order = None, order + 1
        elif not stack:
            break
        else:
            if current is not None:
                current.end = token.start()
            parent, current, order = stack.pop()
    for member in found:
        member.end = len(row[: member.end].rstrip())
    return found


def _path(stack: list[tuple[int, Member | None, int]], quoted: bytes) -> str:
    above = next((member.path + "." for _, member, _ in reversed(stack) if member), "")
    try:
        name = str(msgspec.json.decode(quoted))
    except ValueError:
        name = "?"
    return (above + name)[:_PATH_MAX]


def enclosing(found: list[Member], places: Sequence[int]) -> list[Member | None]:
    """For each place (in order) the innermost member whose value holds it. O(members + places)."""
    holders: list[Member | None] = []
    open_ones: list[Member] = []
    at = 0
    for place in places:
        while at < len(found) and found[at].value <= place:
            open_ones.append(found[at])
            at += 1
        while open_ones and open_ones[-1].end <= place:
            open_ones.pop()
        holders.append(open_ones[-1] if open_ones else None)
    return holders


def in_key(text: bytes, end: int) -> bool:
    """Whether a place that ends at `end`, inside a string of valid JSON (its shadow), lies in the name of a member."""
    close = text.find(b'"', end)
    after = _COLON.match(text, close + 1) if close >= 0 else None
    return after is not None


def removals(found: list[Member], dropped: Iterable[Member]) -> list[tuple[int, int]]:
    """The regions to cut out, so that the members in `dropped` go, and of each pair of neighbours one comma with them."""
    gone = {(member.parent, member.order) for member in dropped}
    siblings: dict[int, list[Member]] = {parent: [] for parent, _ in gone}
    for member in found:
        if member.parent in siblings:
            siblings[member.parent].append(member)
    regions: list[tuple[int, int]] = []
    for parent, row in siblings.items():
        last_kept = max((member.order for member in row if (parent, member.order) not in gone), default=-1)
        regions += [(member.start, row[member.order + 1].start) for member in row[:last_kept] if (parent, member.order) in gone]
        if last_kept < row[-1].order:
            regions.append((row[last_kept].end if last_kept >= 0 else row[0].start, row[-1].end))
    return _outermost(sorted(regions))


def _outermost(regions: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ordered regions without those that lie in another one."""
    kept: list[tuple[int, int]] = []
    for start, end in regions:
        if not kept or end > kept[-1][1]:
            kept.append((start, end))
    return kept
