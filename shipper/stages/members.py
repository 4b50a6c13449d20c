"""Members: objects taken apart into names and raw values, read and changed by dotted names as decoders read them.

RULES
- A name is that of a member, or else a way through objects; null counts as not there.
- Values are bytes as they stood, so that what is not touched stays as it was written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shipper.model.columns import Values

Members = dict[str, msgspec.Raw]
"""An object taken apart."""
NULL = msgspec.Raw(b"null")
members_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
"""Takes an object apart. Raises msgspec.DecodeError for what is none, RecursionError for one nested too deeply."""
encode = msgspec.json.Encoder().encode


def encoded(values: Values) -> list[bytes]:
    """Values as JSON. What nobody can write is no text that stands in a record."""
    try:
        return list(map(encode, values))
    except RecursionError:
        return [b"\0"] * len(values)


def put(members: Members, name: str, value: msgspec.Raw) -> msgspec.Raw:
    """Write a member of an object: where it is read, else under its whole name."""

    def exchange(inner: Members, last: str) -> msgspec.Raw | None:
        if inner.get(last, NULL) == NULL:
            return None
        inner[last] = value
        return value

    outer, *path = name.split(".")
    if members.get(name, NULL) != NULL or not path or _within(members, [outer, *path], exchange) is None:
        members[name] = value
    return value


def take(members: Members, name: str) -> msgspec.Raw | None:
    """Take a member out of an object, in all its spellings. Returns the value that was read there; None where it is not."""

    def out(inner: Members, last: str) -> msgspec.Raw | None:
        return inner.pop(last) if inner.get(last, NULL) != NULL else None

    found = [out(members, name)]
    if "." in name:
        found.append(_within(members, name.split("."), out))
    return next((value for value in found if value is not None), None)


def moved(members: Members, name: str, to: str) -> msgspec.Raw | None:
    """Call a member of an object by another name."""
    value = take(members, name)
    return None if value is None else put(members, to, value)


def _within(members: Members, path: Sequence[str], act: Callable[[Members, str], msgspec.Raw | None]) -> msgspec.Raw | None:
    """Act upon the object that holds the end of a path; None where the way ends before, or the act does nothing."""
    step, *rest = path
    if not rest:
        return act(members, step)
    inner = members.get(step)
    if inner is None or not is_object(inner):
        return None
    inside = members_of(inner)
    found = _within(inside, rest, act)
    if found is not None:
        members[step] = msgspec.Raw(encode(inside))
    return found


def is_object(value: msgspec.Raw) -> bool:
    """Whether a raw value is an object."""
    return bytes(memoryview(value)[:1]) == b"{"
