"""Members: where in a JSON row a place lies, and how to take a member out so that valid JSON is left.

Used on the slow ways only (an action `drop_field`, a masked number, a masked key): the row is cut into tokens once. Iterative,
so depth is bounded by the row's size alone; a row that is not JSON yields the members found up to where it stops making sense.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

_TOKEN = re.compile(rb'("(?:[^"\\]|\\.)*")|([\[\]{},:])|[^\s\[\]{},:"]+', re.DOTALL)
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


def enclosing(found: list[Member], place: int) -> Member | None:
    """The innermost member whose value holds `place`."""
    return next((member for member in reversed(found) if member.value <= place < member.end), None)


def is_key(found: list[Member], place: int) -> bool:
    """Whether `place` lies in the name of a member."""
    return any(member.start <= place < member.value for member in found)


def removals(found: list[Member], dropped: Iterable[Member]) -> list[tuple[int, int]]:
    """The regions to cut out, so that the members in `dropped` go, and of each pair of neighbours one comma with them."""
    regions: list[tuple[int, int]] = []
    gone = {(member.parent, member.order) for member in dropped}
    for parent in {parent for parent, _ in gone}:
        siblings = sorted((member for member in found if member.parent == parent), key=lambda member: member.order)
        keeps = [member for member in siblings if (parent, member.order) not in gone]
        last_kept = keeps[-1] if keeps else None
        for member in siblings:
            if (parent, member.order) not in gone:
                continue
            if last_kept is not None and member.order < last_kept.order:
                regions.append((member.start, siblings[member.order + 1].start))
            elif last_kept is not None and member.order == last_kept.order + 1:
                regions.append((last_kept.end, siblings[-1].end))
            elif last_kept is None and member.order == 0:
                regions.append((member.start, siblings[-1].end))
    return sorted(regions)
