r"""Nested: a text in a record that is a JSON object itself becomes that object, in the record's own bytes.

RULES
- `"payload":"{\"a\":1}"` becomes `"payload":{"a":1}`: the object as it is written, only that it stands on one line. A text
  that is no object, or one that no parser here takes, stays as it is. So does an object that has a member twice, in itself or
  further in: as text it is a document, as an object it would be refused.
- `a.b` is the member `a.b`, or else `b` inside the object `a`.

THEORY
The text as it stands in the row is found by writing it again. Where it stands there once, and its name too, it is replaced;
otherwise (other escapes, the same name within another object) the row is taken apart and put together.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shipper.model.columns import Values

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NULL = msgspec.Raw(b"null")
_BLANKS = " \t\r\n"


def guard(names: Sequence[str]) -> bytes:
    """A pattern that fires in every block in which one of the members may hold an object, but for names and braces with escapes."""
    last = b"|".join(sorted({_escaped(name.rpartition(".")[2]) for name in names} | {_escaped(name) for name in names}))
    return rb'"(?:%b)"\s*:\s*"(?:\s|\\[nrt])*\{' % last


def unnest(rows: list[bytes], values: Values, name: str) -> dict[int, dict[str, Any]]:
    """Exchange the rows (without their last brace) in which the member holds an object; return the objects by row."""
    found: dict[int, dict[str, Any]] = {}
    for row, value in enumerate(values):
        if type(value) is not str or not value.lstrip(_BLANKS).startswith("{"):
            continue
        inner = value.strip(_BLANKS).encode()
        try:
            held = msgspec.json.decode(inner)
            json.loads(inner, object_pairs_hook=_once, parse_int=len, parse_float=len)
            # Line ends stand between members only: in a text they would be no JSON.
            rows[row] = _replaced(rows[row], name, value, inner.replace(b"\n", b" ").replace(b"\r", b" "))
        except (ValueError, RecursionError, LookupError):
            continue
        found[row] = held
    return found


def _once(pairs: Sequence[tuple[str, object]]) -> None:
    """Raises ValueError where a member stands there twice."""
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError


def exchange(members: Mapping[str, Values], name: str, objects: Mapping[int, dict[str, Any]]) -> None:
    """Put the objects where their texts were decoded."""
    outer, *path = name.split(".")
    for row, found in objects.items():
        own: Any = members[name]
        if type(own[row]) is str:
            own[row] = found
        else:
            holder: Any = members[outer][row]
            for step in path[:-1]:
                holder = holder[step]
            holder[path[-1]] = found


def _replaced(row: bytes, name: str, value: str, inner: bytes) -> bytes:
    """The row with the object in place of the text. Raises LookupError where it is not found."""
    key, written = orjson.dumps(name), orjson.dumps(value)
    if "." not in name and b"\\u" not in row and row.count(key) == 1:
        for colon in (b":", b": "):
            if row.count(text := key + colon + written) == 1:
                return row.replace(text, key + colon + inner)
    return msgspec.json.encode(_exchanged(_MEMBERS.decode(row + b"}"), name, inner))[:-1]


def _exchanged(members: dict[str, msgspec.Raw], name: str, inner: bytes) -> dict[str, msgspec.Raw]:
    if name in members and members[name] != _NULL:
        return {**members, name: msgspec.Raw(inner)}
    outer, _, rest = name.partition(".")
    if not rest:
        raise LookupError(name)
    within = _exchanged(_MEMBERS.decode(members[outer]), rest, inner)
    return {**members, outer: msgspec.Raw(msgspec.json.encode(within))}


def _escaped(name: str) -> bytes:
    """A name as a pattern finds it between quotes."""
    return re.escape(orjson.dumps(name)[1:-1])
