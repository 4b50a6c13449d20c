"""Wanted: what a type of a setting asks for, in words and as checks."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from shipper.config import nodes, scalars, suggest
from shipper.config.condition import Condition
from shipper.config.fields import EXPECTED, Duration, Rate, Size

LISTS: dict[Any, Any] = {list: list, tuple: tuple, set: set, frozenset: frozenset, Sequence: list}
"""Types written as a list, and what makes them of one."""
MAPPINGS = (dict, Mapping)
SCALARS: dict[Any, str] = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", type(None): "nothing"}
_YAML_11 = frozenset(("yes", "no", "on", "off", "y", "n"))
_SUFFIXES = ("k", "m", "g")


def expected(kind: Any) -> str:
    """Return how messages name a type."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return expected(parts[0])
    if hasattr(kind, "from_config"):
        return str(getattr(kind, "expected", f"a {kind.__name__.lower()}"))
    if origin is Literal:
        return ("one of " if len(parts) > 1 else "") + suggest.listed([str(part) for part in parts])
    if origin is Union or origin is types.UnionType:
        return " or ".join(expected(part) for part in parts if part is not type(None))
    if (origin or kind) in LISTS:
        return "a list"
    if (origin or kind) in MAPPINGS or (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return "a mapping"
    if kind is Condition:
        return "a condition such as {level: ERROR}"
    return SCALARS.get(kind) or EXPECTED.get(kind) or f"a {getattr(kind, '__name__', kind)}".lower()


def fits(node: nodes.Node, kind: Any) -> bool:
    """Whether a node of this shape can be of this kind at all."""
    base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    base = get_origin(base) or base
    if hasattr(base, "from_config"):
        return isinstance(node, nodes.Word)
    if base in LISTS:
        return isinstance(node, nodes.Items)
    if base in MAPPINGS or base is Condition or (isinstance(base, type) and issubclass(base, msgspec.Struct)):
        return isinstance(node, nodes.Mapping)
    return isinstance(node, nodes.Word) or base in (Any, object)


def constraints(mark: Any, value: Any) -> list[tuple[str, bool]]:
    """Pairs of what is expected and whether it holds."""
    if not isinstance(mark, msgspec.Meta):
        return []
    found: list[tuple[str, bool]] = []
    if mark.ge is not None:
        found.append((f"at least {mark.ge}", value >= mark.ge))
    if mark.gt is not None:
        found.append((f"more than {mark.gt}", value > mark.gt))
    if mark.le is not None:
        found.append((f"at most {mark.le}", value <= mark.le))
    if mark.lt is not None:
        found.append((f"less than {mark.lt}", value < mark.lt))
    return found + _length_constraints(mark, value)


def _length_constraints(mark: msgspec.Meta, value: Any) -> list[tuple[str, bool]]:
    unit = "characters" if isinstance(value, str) else "values"
    found: list[tuple[str, bool]] = []
    if mark.min_length is not None:
        found.append((f"at least {mark.min_length} {unit}", len(value) >= mark.min_length))
    if mark.max_length is not None:
        found.append((f"at most {mark.max_length} {unit}", len(value) <= mark.max_length))
    if mark.pattern is not None:
        found.append((f"a text that matches {mark.pattern}", bool(re.search(mark.pattern, value))))
    return found


def scalar_hint(node: nodes.Node, kind: Any) -> str:
    """Return what to do about a scalar of the wrong type, where that is plain to see."""
    if not isinstance(node, nodes.Word) or node.written is not None:
        return ""
    if kind is bool and node.text.lower() in _YAML_11:
        return "write true or false"
    if kind is str and node.value is not None:
        return f'put it in quotes: "{node.text}"'
    if kind in (int, float) and not node.plain and isinstance(scalars.resolve(node.text), (int, float)):
        return f"leave the quotes out: {node.text}"
    return ""


def unit_hint(node: nodes.Node, kind: Any) -> str:
    """Return the hint for a number without its unit."""
    if not isinstance(node, nodes.Word) or node.written is not None:
        return ""
    if isinstance(scalars.resolve(node.text), (int, float)):
        return {Duration: f"add the unit: {node.text}s", Rate: f"add the unit: {node.text}/s"}.get(kind, "")
    if kind is Size and node.text[-1:].lower() in _SUFFIXES:
        return f"add the unit in full: {node.text[:-1]}{node.text[-1].upper()}iB"
    return ""
