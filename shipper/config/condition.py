"""Conditions: the one language of `when`. Written as YAML, checked once, applied to whole columns.

    when: {level: [ERROR, CRITICAL]}      a field equals one of the values
    when: {service: api, level: ERROR}    every key must hold
    when: {has: duration_ms}              the field is there and not null; a list asks for all of them
    when: {not: {...}}  {any: [{...}, {...}]}  {all: [{...}, {...}]}
    when: {duration_ms: {gte: 500}}       more than equality is a mapping under the field, see `operators.py`

Fields that hold a level by their name are compared as levels where a wanted value is one: `{level: error}` holds for `ERROR`,
`err` and syslog's 3 too (see `model/level.py`). The record keeps what it says.

A mask is a list of bools as long as the batch, made by C iterators: no Python statement per row on the common path. Where a
stage and a route ask the same of a batch, they get the same list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from operator import and_, is_not, not_, or_
from typing import Protocol

from shipper.config import operators
from shipper.config.suggest import hint as hint_of
from shipper.config.suggest import nearest, shown
from shipper.model import level

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

_OTHER_KEYWORDS = {"and": "all", "all_of": "all", "or": "any", "any_of": "any"}
"""What other tools call a keyword."""
_WITHOUT_OPERATOR = {
    **dict.fromkeys(
        ("eq", "equal", "equals", "is", "in", "one_of", "==", "="),
        "write the value, or the list of values, without it: `{0}: VALUE`",
    ),
    **dict.fromkeys(("not", "ne", "neq", "not_in", "is_not", "!=", "not_equals"), "write `not: {{{0}: VALUE}}`"),
    **dict.fromkeys(("exists", "exist", "has", "present"), "write `has: {0}`"),
}
"""What other tools have an operator for, and what is written here."""


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
        compiler = _Compiler(written)
        self._mask: Mask = compiler.condition(written, ())
        self._key = repr(written)
        if compiler.problems:
            raise compiler.problems[0]
        self.reads = tuple(dict.fromkeys(compiler.names))
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


def problems(condition: object, written: object = None) -> list[ConditionError]:
    """Return all mistakes in a condition. `written` is the same before `${...}` was replaced: messages show only that."""
    compiler = _Compiler(condition if written is None else written)
    compiler.condition(condition, ())
    return compiler.problems


class _Compiler:
    """Makes masks, and notes the fields they want and the mistakes."""

    def __init__(self, written: object) -> None:
        """`written` is what messages show of the condition."""
        self.names: list[str] = []
        self.problems: list[ConditionError] = []
        self._written = written

    def condition(self, condition: object, path: Path) -> Mask:
        if not isinstance(condition, Mapping) or not condition:
            expected = "expected a condition such as {level: [ERROR, CRITICAL]} or {has: duration_ms}"
            return self._refuse(path, f"{expected}, got {self._shown(path)}")
        return _joined([self._term(str(key), value, (*path, key)) for key, value in condition.items()], and_)

    def _term(self, key: str, value: object, path: Path) -> Mask:
        if key == "has":
            return self._has(value, path)
        if key == "not":
            inner = self.condition(value, path)
            return lambda columns: list(map(not_, inner(columns)))
        if key in ("any", "all"):
            if not isinstance(value, list) or not value:
                return self._refuse(path, f"{key}: expected a list of conditions, got {self._shown(path)}")
            return _joined(
                [self.condition(part, (*path, number)) for number, part in enumerate(value)], or_ if key == "any" else and_
            )
        if key in _MISSPELT or (key.lower() in KEYWORDS and key not in KEYWORDS):
            meant = nearest(key, KEYWORDS) or "has"
            return self._refuse(path, f"`{key}` is no field and no keyword", f"did you mean `{meant}`?", key=True)
        self.names.append(key)
        return self._operators(key, value, path) if isinstance(value, Mapping) and value else self._equals(key, value, path)

    def _has(self, value: object, path: Path) -> Mask:
        wanted: list[object] = value if isinstance(value, list) else [value]
        fields = [field for field in wanted if isinstance(field, str) and field]
        if not fields or len(fields) < len(wanted):
            return self._refuse(path, f"has: expected a field name or a list of them, got {self._shown(path)}")
        self.names.extend(fields)
        return _joined([_there(field) for field in fields], and_)

    def _equals(self, field: str, value: object, path: Path) -> Mask:
        wanted = value if isinstance(value, list) else [value]
        if not wanted or not all(isinstance(item, Scalar) for item in wanted):
            close = _OTHER_KEYWORDS.get(field.lower()) or nearest(field, KEYWORDS)
            hint = f"did you mean `{close}`?" if close else ""
            return self._refuse(path, f"{field}: expected a value or a list of values, got {self._shown(path)}", hint)
        numbers = level.numbers_of(field)
        test = None if numbers is None else operators.levels(wanted, numbers)
        return _tested(field, operators.equality(wanted) if test is None else test)

    def _operators(self, field: str, asked: Mapping[str, object], path: Path) -> Mask:
        return _joined([self._operator(field, str(name), operand, (*path, name)) for name, operand in asked.items()], and_)

    def _operator(self, field: str, name: str, operand: object, path: Path) -> Mask:
        make = operators.OPERATORS.get(name)
        if make is None:
            return self._refuse(path, f"{field}: `{name}` is no operator", _meant(field, name), key=True)
        asked = operators.Asked(field, operand, self._at(path))
        test = make(name, asked)
        for message, hint, at in asked.problems:
            self._refuse(path if at is None else (*path, at), f"{field}: {name}: {message}", hint)
        return _tested(field, test)

    def _refuse(self, path: Path, message: str, hint: str = "", *, key: bool = False) -> Mask:
        self.problems.append(ConditionError(path, message, hint, key=key))
        return _nothing

    def _shown(self, path: Path) -> str:
        return shown(self._at(path))

    def _at(self, path: Path) -> object:
        """What was written at a place."""
        found = self._written
        for part in path:
            found = found[part]  # type: ignore[index]
        return found


def _meant(field: str, name: str) -> str:
    """What to do about an operator that is none."""
    if name.lower() in operators.OTHER_WORDS:
        return f"did you mean `{operators.OTHER_WORDS[name.lower()]}`?"
    if close := nearest(field, KEYWORDS):
        return f"did you mean `{close}`?"
    if name.lower() in _WITHOUT_OPERATOR:
        return _WITHOUT_OPERATOR[name.lower()].format(field)
    hint = hint_of(name, operators.OPERATORS)
    return hint if "did you mean" in hint else f"{hint}; for a field in an object write `{field}.{name}`"


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


def _there(field: str) -> Mask:
    return lambda columns: list(map(is_not, columns.column(field), repeat(None)))


def _tested(field: str, test: operators.Test) -> Mask:
    return lambda columns: test(columns.column(field))
