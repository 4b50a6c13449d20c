"""Conditions: the one language of `when`. Written as YAML, checked once, applied to whole columns.

    when: {level: [ERROR, CRITICAL]}      a field equals one of the values
    when: {service: api, level: ERROR}    every key must hold
    when: {has: duration_ms}              the field is there and not null; a list asks for all of them
    when: {not: {...}}  {any: [{...}, {...}]}  {all: [{...}, {...}]}

A mask is a list of bools as long as the batch, made by C iterators: no Python statement per row on the common path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from operator import and_, is_not, not_, or_
from typing import Protocol

Scalar = str | int | float | bool | None


class Fields(Protocol):
    """What a condition is applied to: anything with columns."""

    count: int

    def column(self, name: str) -> Sequence[object]:
        """The values of a field, one a row."""
        ...


Mask = Callable[[Fields], list[bool]]


class Condition:
    """A compiled condition. `reads` names the fields it wants; `mask` says for each row whether it holds."""

    __slots__ = ("mask", "reads", "text")

    def __init__(self, written: object) -> None:
        """Compile what was written. Raises ValueError with a text for the user."""
        names: list[str] = []
        self.mask: Mask = _compile(written, names)
        self.reads = tuple(dict.fromkeys(names))
        self.text = repr(written)


def _compile(written: object, names: list[str]) -> Mask:
    if not isinstance(written, Mapping) or not written:
        raise ValueError(f"expected a condition such as {{level: [ERROR, CRITICAL]}} or {{has: duration_ms}}, got {written!r}")
    return _joined([_term(str(key), value, names) for key, value in written.items()], and_)


def _term(key: str, value: object, names: list[str]) -> Mask:
    if key == "has":
        fields = value if isinstance(value, list) else [value]
        if not fields or not all(isinstance(field, str) for field in fields):
            raise ValueError(f"has: expected a field name or a list of them, got {value!r}")
        names.extend(fields)
        return _joined([_has(field) for field in fields], and_)
    if key == "not":
        inner = _compile(value, names)
        return lambda columns: list(map(not_, inner(columns)))
    if key in ("any", "all"):
        if not isinstance(value, list) or not value:
            raise ValueError(f"{key}: expected a list of conditions, got {value!r}")
        return _joined([_compile(part, names) for part in value], or_ if key == "any" else and_)
    return _equals(key, value, names)


def _joined(masks: list[Mask], how: Callable[[bool, bool], bool]) -> Mask:
    if len(masks) == 1:
        return masks[0]

    def both(columns: Fields) -> list[bool]:
        held = masks[0](columns)
        for mask in masks[1:]:
            held = list(map(how, held, mask(columns)))
        return held

    return both


def _has(field: str) -> Mask:
    return lambda columns: list(map(is_not, columns.column(field), repeat(None)))


def _equals(field: str, value: object, names: list[str]) -> Mask:
    wanted = value if isinstance(value, list) else [value]
    if not wanted or not all(isinstance(item, Scalar) for item in wanted):
        raise ValueError(f"{field}: expected a value or a list of values, got {value!r}")
    names.append(field)
    # 1 == True and hashes alike in Python, not in JSON: the type is part of the comparison where that can matter.
    typed = any(isinstance(item, (bool, int, float)) for item in wanted)
    allowed = frozenset(wanted)
    exact = frozenset((type(item) is bool, item) for item in wanted)

    def mask(columns: Fields) -> list[bool]:
        values = columns.column(field)
        try:
            if not typed:
                return list(map(allowed.__contains__, values))
            return [(type(item) is bool, item) in exact for item in values]
        except TypeError:  # a list or object in the column does not hash: it equals no scalar
            return [_hashable(item) and (type(item) is bool, item) in exact for item in values]

    return mask


def _hashable(value: object) -> bool:
    return not isinstance(value, (list, dict))
