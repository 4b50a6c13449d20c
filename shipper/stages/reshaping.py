"""Reshaping: records brought into a shape that a mapping can hold: names without dots, objects made flat, what is too much set apart.

Each function changes a record that was taken apart (`members.py`), and says whether it did anything.

RULES
- Nothing is lost: a name that would meet another one stays as it is, and what is too deep or too much comes back as a whole.
- What an array holds is looked into as if it stood there once, as mappings do.
- `@timestamp` is never set apart: a document must have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from shipper.stages.members import encode, is_object, members_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from shipper.stages.members import Members

KEPT = "@timestamp"
_Path = tuple[str, ...]
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw]).decode


def without_dots(members: Members, separator: str) -> bool:
    """Put `separator` in the place of dots, in the names of all objects."""
    changed = False
    for name, value in list(members.items()):
        inner = _inside(value, lambda found: without_dots(found, separator))
        if inner is not None:
            members[name] = inner
            changed = True
    renamed = {name: name.replace(".", separator) for name in members if "." in name and name != KEPT}
    fresh = [to for to in renamed.values() if to not in members]
    renamed = {name: to for name, to in renamed.items() if fresh.count(to) == 1}
    if renamed:
        pairs = [(renamed.get(name, name), value) for name, value in members.items()]
        members.clear()
        members.update(pairs)
    return changed or bool(renamed)


def flat(members: Members, names: Collection[str]) -> bool:
    """Write the members of objects under dotted names beside them; `*` in `names` means all objects at the top."""
    changed = False
    for name in [name for name in members if name in names or "*" in names]:
        left: Members = {}
        for path, value in list(_leaves(name, members[name])):
            if path == name:  # no object, or an empty one
                break
            if path in members:
                left[path.removeprefix(f"{name}.")] = value
            else:
                members[path] = value
        else:
            changed = True
            del members[name]
            if left:
                members[name] = msgspec.Raw(encode(left))
    return changed


def capped(members: Members, depth: int | None, count: int | None) -> dict[str, Any]:
    """Take out what lies deeper than `depth` levels, and what is over `count` members, objects looked into.

    Returns what was taken out, in the objects that it was in.
    """
    overflow: dict[str, Any] = {}
    if depth is not None:
        for name, value in list(members.items()):
            _keep(members, name, _shallow((name,), value, depth - 1, overflow))
    if count is not None:
        _narrow(members, count, (), overflow)
    return overflow


def levels(value: msgspec.Raw) -> int:
    """How many levels of members lie in a value."""
    kind = _first(value)
    if kind == b"{":
        return max((1 + levels(inner) for inner in members_of(value).values()), default=0)
    if kind == b"[" and b"{" in bytes(value):
        return max(map(levels, _ITEMS(value)), default=0)
    return 0


def breadth(value: msgspec.Raw) -> int:
    """How many members a mapping needs for a value: one, or those in it."""
    kind = _first(value)
    if kind == b"{":
        return max(1, sum(map(breadth, members_of(value).values())))
    if kind == b"[" and b"{" in bytes(value):
        return max(1, sum(map(breadth, _ITEMS(value))))
    return 1


def _shallow(path: _Path, value: msgspec.Raw, depth: int, overflow: dict[str, Any]) -> msgspec.Raw | None:
    """A value without what lies deeper; None where it is put to the overflow itself."""
    if levels(value) <= depth:
        return value
    if depth == 0 or not is_object(value):
        _set_apart(overflow, path, value)
        return None
    inner = members_of(value)
    for name, item in list(inner.items()):
        _keep(inner, name, _shallow((*path, name), item, depth - 1, overflow))
    return msgspec.Raw(encode(inner)) if inner else None


def _narrow(members: Members, room: int, before: _Path, overflow: dict[str, Any]) -> int:
    """Take out what there is no room for, in order; returns the room that is left."""
    for name, value in list(members.items()):
        needed = breadth(value)
        if needed <= room or (*before, name) == (KEPT,):
            room -= needed
        elif room > 0 and is_object(value):
            inner = members_of(value)
            room = _narrow(inner, room, (*before, name), overflow)
            _keep(members, name, msgspec.Raw(encode(inner)) if inner else None)
        else:
            _set_apart(overflow, (*before, name), members.pop(name))
    return room


def _set_apart(overflow: dict[str, Any], path: _Path, value: msgspec.Raw) -> None:
    """Put a value to the others, in the objects that it was in."""
    *outer, last = path
    for step in outer:
        overflow = overflow.setdefault(step, {})
    if last not in overflow:
        overflow[last] = value
        return
    for name, inner in members_of(value).items():  # what lay too deep in it is there already
        _set_apart(overflow[last], (name,), inner)


def _keep(members: Members, name: str, value: msgspec.Raw | None) -> None:
    if value is None:
        del members[name]
    else:
        members[name] = value


def _leaves(path: str, value: msgspec.Raw) -> Iterator[tuple[str, msgspec.Raw]]:
    """What lies in an object, by dotted path; a value that is no object, or an empty one, as itself."""
    inner = members_of(value) if is_object(value) else {}
    if not inner:
        yield path, value
    for name, item in inner.items():
        yield from _leaves(f"{path}.{name}", item)


def _inside(value: msgspec.Raw, change: Callable[[Members], bool]) -> msgspec.Raw | None:
    """A value with its objects changed; None where nothing was."""
    kind = _first(value)
    if kind == b"{":
        inner = members_of(value)
        return msgspec.Raw(encode(inner)) if change(inner) else None
    if kind == b"[" and b"{" in bytes(value):
        items = _ITEMS(value)
        changed = [_inside(item, change) for item in items]
        if any(item is not None for item in changed):
            return msgspec.Raw(encode([new or old for new, old in zip(changed, items, strict=True)]))
    return None


def _first(value: msgspec.Raw) -> bytes:
    return bytes(memoryview(value)[:1])
