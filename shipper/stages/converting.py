"""Converting: values of a column made another type of JSON, by the batch where they are alike.

RULES
- What cannot be converted without a loss stays as it is, and is named: `12.5` is no integer, `maybe` no boolean.
- Numbers are read as JSON has them, and besides with a plus sign, leading zeros and a bare point; infinity is none.
"""

from __future__ import annotations

import re
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shipper.model.columns import Values

Kind = Literal["integer", "number", "boolean", "string"]
FAILED = object()
"""Stands for a value that cannot be converted."""
BOOLEANS = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False, "1": True, "0": False}
_INTEGER = re.compile(r"[+-]?[0-9]{1,4300}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SAFE_DIGITS = 18
"""A number of so many characters fits 64 bits, so that `orjson` reads what other decoders read."""
_IS: Mapping[str, frozenset[type]] = {
    "integer": frozenset((int,)),
    "number": frozenset((int, float)),
    "boolean": frozenset((bool,)),
    "string": frozenset((str,)),
}
"""Types that need no conversion."""


def converted(kind: Kind, values: Values) -> Values:
    """The values as this kind, FAILED where one cannot be. None of them is None; the same list where nothing is to be done."""
    types = set(map(type, values))
    if types <= _IS[kind]:
        return values
    if types == {str} and kind in ("integer", "number"):
        found = _read_together(values, _IS[kind])
        if found is not None:
            return found
    if types == {int} and kind == "string":
        return list(map(str, values))
    one = _ONE[kind]
    return [one(value) for value in values]


def _read_together(values: Any, kinds: frozenset[type]) -> Values | None:
    """Texts that are all plain numbers of these kinds, read as one array; None where they are not."""
    if max(map(len, values)) > _SAFE_DIGITS:
        return None
    try:
        found: list[Any] = orjson.loads(f"[{','.join(values)}]")
    except orjson.JSONDecodeError:
        return None
    return found if len(found) == len(values) and set(map(type, found)) <= kinds else None


def _integer(value: object) -> object:
    if isinstance(value, str) and _INTEGER.fullmatch(text := value.strip()):
        return int(text)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is int else FAILED


def _number(value: object) -> object:
    if isinstance(value, str):
        text = value.strip()
        if _INTEGER.fullmatch(text):
            return int(text)
        if _NUMBER.fullmatch(text) and isfinite(found := float(text)):
            return found
    return value if type(value) in (int, float) else FAILED


def _boolean(value: object) -> object:
    if isinstance(value, str):
        return BOOLEANS.get(value.strip().lower(), FAILED)
    if isinstance(value, (int, float)) and value in (0, 1):
        return bool(value)
    return FAILED


def _string(value: object) -> object:
    if isinstance(value, str) or (isinstance(value, float) and not isfinite(value)):
        return value if isinstance(value, str) else FAILED
    try:
        return msgspec.json.encode(value).decode()
    except RecursionError:
        return FAILED


_ONE: Mapping[str, Callable[[object], object]] = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "string": _string,
}
