"""Conditions: the one language of `when`. Written as YAML, checked once, applied to whole columns.

    when: {level: [ERROR, CRITICAL]}      a field equals one of the values
    when: {service: api, level: ERROR}    every key must hold
    when: {has: duration_ms}              the field is there and not null; a list asks for all of them
    when: {not: {...}}  {any: [{...}, {...}]}  {all: [{...}, {...}]}

A mask is a list of bools as long as the batch, made by C iterators: no Python statement per row on the common path. Where a
stage and a route ask the same of a batch, they get the same list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from operator import and_, is_not, not_, or_
from typing import Protocol

from shipper.config.suggest import nearest, shown

Scalar = str | int | float | bool | None


class Fields(Protocol):
    """What a condition is applied to: anything with columns."""

    count: int
    masks: dict[str, list[bool]]
    """Masks that were made already, by condition as written."""

    def column(self, name: str) -> Sequence[object]:
        """The values of a field, one a row."""
        ...


Mask = Callable[[Fields], list[bool]]
Path = tuple[str | int, ...]
KEYWORDS = ("has", "not", "any", "all")
_MISSPELT = frozenset(("hass", "haas", "hsa", "ahs", "exists", "exist", "nott", "nto", "anny", "alll"))
"""Close to a keyword, and no likely name of a field: refused, as the mistake would silently match nothing."""


class ConditionError(ValueError):
    """A mistake in a condition: where within it (keys and positions), what, and what to do."""

    def __init__(self, path: Path, message: str, hint: str = "", *, key: bool = False) -> None:
        """Take the path; () is the condition itself. `key` means that the last key is wrong, not its value."""
        super().__init__(message)
        self.path, self.message, self.hint, self.key = path, message, hint, key


class Condition:
    """A compiled condition. `reads` names the fields it wants."""

    __slots__ = ("_key", "_mask", "reads", "text")

    def __init__(self, written: object, text: str | None = None) -> None:
        """Compile what was written. Raises ValueError with a text for the user; `text` is shown instead of the values."""
        names: list[str] = []
        problems: list[ConditionError] = []
        self._mask: Mask = _compile(written, (), names, problems)
        self._key = repr(written)
        if problems:
            raise problems[0]
        self.reads = tuple(dict.fromkeys(names))
        self.text = repr(written) if text is None else text

    def mask(self, columns: Fields) -> list[bool]:
        """Whether it holds, for each row. The list is shared and must not be changed."""
        mask = columns.masks.get(self._key)
        if mask is None:
            mask = columns.masks[self._key] = self._mask(columns)
        return mask

    def __repr__(self) -> str:
        """Return the condition as written."""
        return f"Condition({self.text})"


def problems(written: object) -> list[ConditionError]:
    """Return all mistakes in a condition."""
    found: list[ConditionError] = []
    _compile(written, (), [], found)
    return found


def _compile(written: object, path: Path, names: list[str], problems: list[ConditionError]) -> Mask:
    if not isinstance(written, Mapping) or not written:
        expected = "expected a condition such as {level: [ERROR, CRITICAL]} or {has: duration_ms}"
        problems.append(ConditionError(path, f"{expected}, got {shown(written)}"))
        return _nothing
    return _joined([_term(str(key), value, (*path, key), names, problems) for key, value in written.items()], and_)


def _term(key: str, value: object, path: Path, names: list[str], problems: list[ConditionError]) -> Mask:
    if key == "has":
        wanted: list[object] = value if isinstance(value, list) else [value]
        fields = [field for field in wanted if isinstance(field, str) and field]
        if not fields or len(fields) < len(wanted):
            problems.append(ConditionError(path, f"has: expected a field name or a list of them, got {shown(value)}"))
            return _nothing
        names.extend(fields)
        return _joined([_has(field) for field in fields], and_)
    if key == "not":
        inner = _compile(value, path, names, problems)
        return lambda columns: list(map(not_, inner(columns)))
    if key in ("any", "all"):
        if not isinstance(value, list) or not value:
            problems.append(ConditionError(path, f"{key}: expected a list of conditions, got {shown(value)}"))
            return _nothing
        parts = [_compile(part, (*path, number), names, problems) for number, part in enumerate(value)]
        return _joined(parts, or_ if key == "any" else and_)
    return _equals(key, value, path, names, problems)


def _nothing(columns: Fields) -> list[bool]:
    return [False] * columns.count


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


def _equals(field: str, value: object, path: Path, names: list[str], problems: list[ConditionError]) -> Mask:
    wanted = value if isinstance(value, list) else [value]
    if problem := _not_a_field(field, value, wanted, path):
        problems.append(problem)
        return _nothing
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


def _not_a_field(field: str, value: object, wanted: list[object], path: Path) -> ConditionError | None:
    close = nearest(field, KEYWORDS)
    hint = f"did you mean `{close}`?" if close else ""
    if not wanted or not all(isinstance(item, Scalar) for item in wanted):
        return ConditionError(path, f"{field}: expected a value or a list of values, got {shown(value)}", hint)
    if field in _MISSPELT or (field.lower() in KEYWORDS and field not in KEYWORDS):
        return ConditionError(path, f"`{field}` is no field and no keyword", f"did you mean `{close or 'has'}`?", key=True)
    return None


def _hashable(value: object) -> bool:
    return not isinstance(value, (list, dict))
