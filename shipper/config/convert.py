"""Conversion: from nodes to the types that a component's `Config` declares, all mistakes noted, each at its place.

`msgspec.convert` stops at the first mistake and knows no places; so structs, lists and mappings are walked here, and only
what this module does not know is left to it.

RULES
- Every mistake is one fault; a node that was reported before (`broken`) is not reported again.
- Text is text and a number a number: nothing is guessed, except that a scalar that is wholly one `${...}` may become a number
  or a boolean. Where quotes or a unit are what is missing, the hint says so.
- The value of an interpolated scalar is never shown; messages show what was written.
"""

from __future__ import annotations

import enum
import math
import types
from collections.abc import Mapping as MappingABC
from collections.abc import Sequence
from pathlib import PurePath
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from shipper.config import document, scalars, suggest
from shipper.config.condition import Condition, problems
from shipper.config.fields import EXPECTED, Duration, FilePath, Rate, Size, convert_scalar
from shipper.model.errors import ComponentError, Fault, Place


class Unusable:
    """The outcome of a conversion that noted faults."""

    __slots__ = ()


BAD = Unusable()
_LISTS: dict[Any, Any] = {list: list, tuple: tuple, set: set, frozenset: frozenset, Sequence: list}
_MAPPINGS = (dict, MappingABC)
_NAMES: dict[Any, str] = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", type(None): "nothing"}
_YAML_11 = frozenset(("yes", "no", "on", "off", "y", "n"))


class Converter:
    """Converts the nodes of one document; faults go to the document."""

    def __init__(self, written: document.Document, directory: str) -> None:
        """Take the document and the directory that relative paths count from, absolute."""
        self.document = written
        self._directory = directory

    def value(self, node: document.Node, kind: Any, name: str) -> Any:
        """Return the node as `kind`, or BAD. `name` is what messages call it, the dotted path within the component."""
        if node.broken:
            return BAD
        origin = get_origin(kind)
        if origin is Annotated:
            base, *marks = get_args(kind)
            found = self.value(node, base, name)
            return found if found is BAD else self._checked(node, found, marks, name)
        if origin is Union or origin is types.UnionType:
            return self._union(node, get_args(kind), name)
        if origin is Literal:
            return self._choice(node, get_args(kind), name)
        if kind is Any or kind is object:
            return plain(node)
        if (origin or kind) in _LISTS:
            return self._list(node, origin or kind, get_args(kind), name)
        if (origin or kind) in _MAPPINGS:
            return self._mapping(node, get_args(kind), name)
        return self._class(node, kind, name)

    def _class(self, node: document.Node, kind: Any, name: str) -> Any:
        if kind in _NAMES:
            return self._scalar(node, kind, name)
        if kind is Condition:
            return self.condition(node, name)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            if isinstance(node, document.Mapping):
                return self.struct(node, kind, self.document.place(node), name)
            return self.wrong(node, f"a mapping with {suggest.listed(keys(kind))}", name)
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            found = self._choice(node, tuple(item.value for item in kind), name)
            return found if found is BAD else kind(found)
        return self._typed(node, kind, name)

    def struct(
        self, node: document.Mapping, kind: type[Any], place: Place, name: str = "", apart: Sequence[str] = ()
    ) -> Any:
        """Return a Struct of a mapping's keys, or BAD. Keys in `apart` are somebody else's; missing ones are said at `place`."""
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        allowed = [*apart, *fields]
        faults = len(self.document.faults)
        values: dict[str, Any] = {}
        for key, (written, value) in node.entries.items():
            if key in fields:
                values[fields[key].name] = self.value(value, fields[key].type, _dotted(name, key))
            elif key not in apart:
                self.document.fault(written, f"`{_dotted(name, key)}` is not known here", suggest.hint(key, allowed))
        for key, field in fields.items():
            if field.required and key not in node.entries:
                self._note(place, f"`{_dotted(name, key)}` is missing", self._example(field.type))
        if len(self.document.faults) > faults or any(found is BAD for found in values.values()):
            return BAD
        return self._made(kind, values, place, node)

    def condition(self, node: document.Node, name: str) -> Any:
        """Return a compiled Condition, or BAD with every mistake in it noted."""
        written = plain(node, as_written=True)
        found = problems(written)
        for problem in found:
            self.document.fault(at(node, problem.path), f"{name}: {problem.message}", problem.hint)
        return BAD if found or _broken(node) else Condition(plain(node), repr(written))

    def wrong(self, node: document.Node, expected: str, name: str, hint: str = "") -> Unusable:
        """Note that a node is not what is expected."""
        self.document.fault(node, f"{name}: expected {expected}, got {self.shown(node)}", hint)
        return BAD

    def shown(self, node: document.Node) -> str:
        """Return a node as messages show it: what was written, never what was interpolated."""
        return suggest.shown(plain(node, as_written=True))

    def _made(self, kind: type[Any], values: dict[str, Any], place: Place, node: document.Mapping) -> Any:
        """Call the constructor, whose `__post_init__` may refuse the values together."""
        try:
            return kind(**values)
        except ComponentError as error:
            where = at(node, tuple(error.field.split("."))) if error.field else None
            self._note(self.document.place(where) if where else place, error.message, error.hint)
        except (ValueError, TypeError) as error:
            self._note(place, str(error))
        return BAD

    def _note(self, place: Place, message: str, hint: str = "") -> None:
        self.document.faults.append(Fault(place, message, hint))

    def _example(self, kind: Any) -> str:
        return f"it is {expected(kind)}"

    def _list(self, node: document.Node, origin: Any, parts: tuple[Any, ...], name: str) -> Any:
        if not isinstance(node, document.Items):
            hint = f"write it as a list: [{self.shown(node)}]" if isinstance(node, document.Word) and node.value is not None else ""
            return self.wrong(node, "a list", name, hint.replace("'", ""))
        kinds = [parts[0] if parts else Any] * len(node.items)
        if origin is tuple and parts and parts[-1] is not Ellipsis:
            if len(node.items) != len(parts):
                return self.wrong(node, f"a list of {len(parts)} values", name)
            kinds = list(parts)
        found = [self.value(item, kind, name) for item, kind in zip(node.items, kinds, strict=True)]
        if any(item is BAD for item in found):
            return BAD
        return _LISTS[origin](found)

    def _mapping(self, node: document.Node, parts: tuple[Any, ...], name: str) -> Any:
        if not isinstance(node, document.Mapping):
            return self.wrong(node, "a mapping, `key: value`", name)
        kind = parts[1] if parts else Any
        found = {key: self.value(value, kind, _dotted(name, key)) for key, (_, value) in node.entries.items()}
        return BAD if any(item is BAD for item in found.values()) else found

    def _union(self, node: document.Node, kinds: tuple[Any, ...], name: str) -> Any:
        """The first kind that fits; where only one can fit by its shape, its own faults are noted."""
        if isinstance(node, document.Word) and type(None) in kinds and (node.value is None or (node.loose and not node.text)):
            if node.value is None or str not in kinds:
                return None
        fitting = [kind for kind in kinds if kind is not type(None) and _fits(node, kind)]
        if len(fitting) == 1:
            return self.value(node, fitting[0], name)
        faults = len(self.document.faults)
        for kind in fitting:
            found = self.value(node, kind, name)
            if found is not BAD:
                return found
            del self.document.faults[faults:]
        return self.wrong(node, " or ".join(expected(kind) for kind in kinds if kind is not type(None)), name)

    def _choice(self, node: document.Node, allowed: tuple[Any, ...], name: str) -> Any:
        if isinstance(node, document.Word):
            for value in (node.value, *([scalars.resolve(node.text)] if node.loose else [])):
                if any(value == item and type(value) is type(item) for item in allowed):
                    return value
        words = [str(item).lower() if isinstance(item, bool) else str(item) for item in allowed]
        close = suggest.nearest(_text(node), words) if isinstance(node, document.Word) else None
        return self.wrong(node, f"one of {suggest.listed(words)}", name, f"did you mean `{close}`?" if close else "")

    def _scalar(self, node: document.Node, kind: Any, name: str) -> Any:
        if isinstance(node, document.Word):
            value = scalars.resolve(node.text) if node.loose and kind is not str else node.value
            if type(value) is kind:
                if kind is not float or math.isfinite(value):  # type: ignore[arg-type]
                    return value
            elif kind is float and type(value) is int:
                return float(value)
        return self.wrong(node, _NAMES[kind], name, self._scalar_hint(node, kind))

    def _scalar_hint(self, node: document.Node, kind: Any) -> str:
        if not isinstance(node, document.Word) or node.written is not None:
            return ""
        if kind is bool and node.text.lower() in _YAML_11:
            return "write true or false"
        if kind is str and node.value is not None:
            return f'put it in quotes: "{node.text}"'
        if kind in (int, float) and not node.plain and isinstance(scalars.resolve(node.text), (int, float)):
            return f"leave the quotes out: {node.text}"
        return ""

    def _typed(self, node: document.Node, kind: Any, name: str) -> Any:
        """A type with a conversion of its own, or one that only msgspec knows."""
        try:
            value = self._call(plain(node), kind)
        except (ValueError, msgspec.ValidationError) as error:
            self.document.fault(node, f"{name}: {self._safe(node, kind, error)}", _unit_hint(node, kind))
            return BAD
        if kind is FilePath:
            return self._path(node, value, name)
        return value

    def _call(self, value: object, kind: Any) -> Any:
        if hasattr(kind, "from_config") or kind in EXPECTED:
            return convert_scalar(kind, value)
        return msgspec.convert(value, kind, dec_hook=convert_scalar)

    def _safe(self, node: document.Node, kind: Any, error: Exception) -> str:
        """The text of an error that may show the value; where it was interpolated, that of an error about what was written."""
        if not _interpolated(node):
            return str(error)
        try:
            self._call(plain(node, as_written=True), kind)
        except (ValueError, msgspec.ValidationError) as about_written:
            return str(about_written)
        return f"expected {expected(kind)}, got the value of {self.shown(node)}, which is not shown"

    def _path(self, node: document.Node, path: str, name: str) -> Any:
        if path.startswith("~"):
            return self.wrong(node, "a path", name, "~ is not replaced; write ${HOME}")
        return FilePath(path if PurePath(path).is_absolute() else f"{self._directory.rstrip('/')}/{path.removeprefix('./')}")

    def _checked(self, node: document.Node, value: Any, marks: list[Any], name: str) -> Any:
        """Hold a value against the constraints of `Annotated[kind, msgspec.Meta(...)]`."""
        for mark in marks:
            for text, holds in _constraints(mark, value):
                if not holds:
                    return self.wrong(node, text, name)
        return value


def keys(kind: type[Any]) -> list[str]:
    """Return the keys a Struct is written with."""
    return [field.encode_name for field in msgspec.structs.fields(kind)]


def plain(node: document.Node, *, as_written: bool = False) -> Any:
    """Return a node as plain Python data; `as_written` leaves `${...}` as it stands."""
    if isinstance(node, document.Word):
        return node.written if as_written and node.written is not None else node.value
    if isinstance(node, document.Items):
        return [plain(item, as_written=as_written) for item in node.items]
    assert isinstance(node, document.Mapping)
    return {key: plain(value, as_written=as_written) for key, (_, value) in node.entries.items()}


def at(node: document.Node, path: Sequence[str | int]) -> document.Node:
    """Return the node a path leads to, or the last one on the way that exists. List positions may be digits."""
    for part in path:
        if isinstance(node, document.Mapping) and str(part) in node.entries:
            node = node.entries[str(part)][1]
        elif isinstance(node, document.Items) and str(part).isdecimal() and int(part) < len(node.items):
            node = node.items[int(part)]
        else:
            break
    return node


def expected(kind: Any) -> str:
    """Return how messages name a type."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return expected(parts[0])
    if origin is Literal:
        return f"one of {suggest.listed([str(part) for part in parts])}"
    if origin is Union or origin is types.UnionType:
        return " or ".join(expected(part) for part in parts if part is not type(None))
    if (origin or kind) in _LISTS:
        return "a list"
    if (origin or kind) in _MAPPINGS or (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return "a mapping"
    if kind is Condition:
        return "a condition such as {level: ERROR}"
    return _NAMES.get(kind) or EXPECTED.get(kind) or getattr(kind, "expected", None) or f"a {getattr(kind, '__name__', kind)}".lower()


def _fits(node: document.Node, kind: Any) -> bool:
    """Whether a node of this shape can be of this kind at all."""
    base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    base = get_origin(base) or base
    if base in _LISTS:
        return isinstance(node, document.Items)
    if base in _MAPPINGS or base is Condition or (isinstance(base, type) and issubclass(base, msgspec.Struct)):
        return isinstance(node, document.Mapping)
    return isinstance(node, document.Word) or base in (Any, object)


def _constraints(mark: Any, value: Any) -> list[tuple[str, bool]]:
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
        found.append((f"a text that matches {mark.pattern}", bool(_search(mark.pattern, value))))
    return found


def _search(pattern: str, value: str) -> object:
    import re

    return re.search(pattern, value)


def _unit_hint(node: document.Node, kind: Any) -> str:
    if not isinstance(node, document.Word) or node.written is not None:
        return ""
    if isinstance(scalars.resolve(node.text), (int, float)):
        return {Duration: f"add the unit: {node.text}s", Rate: f"add the unit: {node.text}/s"}.get(kind, "")
    if kind is Size and node.text[-1:].lower() in ("k", "m", "g"):
        return f"add the unit in full: {node.text[:-1]}{node.text[-1].upper()}iB"
    return ""


def _interpolated(node: document.Node) -> bool:
    if isinstance(node, document.Word):
        return node.written is not None
    return any(map(_interpolated, _parts(node)))


def _broken(node: document.Node) -> bool:
    return node.broken or any(map(_broken, _parts(node)))


def _parts(node: document.Node) -> list[document.Node]:
    if isinstance(node, document.Items):
        return node.items
    if isinstance(node, document.Mapping):
        return [value for _, value in node.entries.values()]
    return []


def _text(node: document.Word) -> str:
    return node.text if node.written is None else node.written


def _dotted(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key
