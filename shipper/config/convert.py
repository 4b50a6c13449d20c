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
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from shipper.config import document, nodes, scalars, suggest, wanted
from shipper.config.condition import Condition, problems
from shipper.config.fields import EXPECTED, FilePath, FilePattern, convert_scalar
from shipper.model.errors import ComponentError, Fault, Place

if TYPE_CHECKING:
    from collections.abc import Sequence


class Unusable:
    """The outcome of a conversion that noted faults."""

    __slots__ = ()


BAD = Unusable()


class Converter:
    """Converts the nodes of one document; faults go to the document."""

    def __init__(self, written: document.Document, directory: str) -> None:
        """Take the document and the directory that relative paths count from, absolute."""
        self.document = written
        self._directory = directory

    def value(self, node: nodes.Node, kind: Any, name: str) -> Any:
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
            return nodes.plain(node)
        if (origin or kind) in wanted.LISTS:
            return self._list(node, origin or kind, get_args(kind), name)
        if (origin or kind) in wanted.MAPPINGS:
            return self._mapping(node, get_args(kind), name)
        return self._class(node, kind, name)

    def _class(self, node: nodes.Node, kind: Any, name: str) -> Any:
        if kind in wanted.SCALARS:
            return self._scalar(node, kind, name)
        if kind is Condition:
            return self.condition(node, name)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and not hasattr(kind, "from_config"):
            if isinstance(node, nodes.Mapping):
                return self.struct(node, kind, self.document.place(node), name)
            return self.wrong(node, f"a mapping with {suggest.listed(keys(kind))}", name)
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            found = self._choice(node, tuple(item.value for item in kind), name)
            return found if found is BAD else kind(found)
        return self._typed(node, kind, name)

    def struct(self, node: nodes.Mapping, kind: type[Any], place: Place, name: str = "", apart: Sequence[str] = ()) -> Any:
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
                self._note(place, f"`{_dotted(name, key)}` is missing", f"it is {wanted.expected(field.type)}")
        if len(self.document.faults) > faults or any(found is BAD for found in values.values()):
            return BAD
        return self._made(kind, values, place, node)

    def condition(self, node: nodes.Node, name: str) -> Any:
        """Return a compiled Condition, or BAD with every mistake in it noted."""
        meant, written = nodes.plain(node), nodes.plain(node, as_written=True)
        found = problems(meant, written)
        for problem in found:
            place = nodes.key_at(node, problem.path) if problem.key else nodes.at(node, problem.path)
            self.document.fault(place, f"{name}: {problem.message}", problem.hint)
        return BAD if found or nodes.broken(node) else Condition(meant, repr(written))

    def wrong(self, node: nodes.Node, expected: str, name: str, hint: str = "") -> Unusable:
        """Note that a node is not what is expected."""
        self.document.fault(node, f"{name}: expected {expected}, got {self.shown(node)}", hint)
        return BAD

    def shown(self, node: nodes.Node) -> str:
        """Return a node as messages show it: what was written, never what was interpolated."""
        return suggest.shown(nodes.plain(node, as_written=True))

    def _made(self, kind: type[Any], values: dict[str, Any], place: Place, node: nodes.Mapping) -> Any:
        """Call the constructor, whose `__post_init__` may refuse the values together."""
        try:
            return kind(**values)
        except ComponentError as error:
            where = nodes.at(node, tuple(error.field.split("."))) if error.field else None
            self._note(
                self.document.place(where) if where else place, suggest.masked(error.message, nodes.masks(node)), error.hint
            )
        except (ValueError, TypeError) as error:
            self._note(place, suggest.masked(str(error), nodes.masks(node)))
        return BAD

    def _note(self, place: Place, message: str, hint: str = "") -> None:
        self.document.note(Fault(place, message, hint))

    def _list(self, node: nodes.Node, origin: Any, parts: tuple[Any, ...], name: str) -> Any:
        if isinstance(node, nodes.Word) and parts and getattr(parts[0], "stands_alone", False):
            found = self.value(node, parts[0], name)
            return BAD if found is BAD else wanted.LISTS[origin]([found])
        if not isinstance(node, nodes.Items):
            hint = f"write it as a list: [{self.shown(node)}]" if isinstance(node, nodes.Word) and node.value is not None else ""
            return self.wrong(node, "a list", name, hint.replace("'", ""))
        kinds = [parts[0] if parts else Any] * len(node.items)
        if origin is tuple and parts and parts[-1] is not Ellipsis:
            if len(node.items) != len(parts):
                return self.wrong(node, f"a list of {len(parts)} values", name)
            kinds = list(parts)
        found = [self.value(item, kind, name) for item, kind in zip(node.items, kinds, strict=True)]
        if any(item is BAD for item in found):
            return BAD
        return wanted.LISTS[origin](found)

    def _mapping(self, node: nodes.Node, parts: tuple[Any, ...], name: str) -> Any:
        if not isinstance(node, nodes.Mapping):
            return self.wrong(node, "a mapping, `key: value`", name)
        kind = parts[1] if parts else Any
        found = {key: self.value(value, kind, _dotted(name, key)) for key, (_, value) in node.entries.items()}
        return BAD if any(item is BAD for item in found.values()) else found

    def _union(self, node: nodes.Node, kinds: tuple[Any, ...], name: str) -> Any:
        """The first kind that fits; where only one can fit by its shape, its own faults are noted."""
        if type(None) in kinds and _is_nothing(node):
            return None
        fitting = [kind for kind in kinds if kind is not type(None) and wanted.fits(node, kind)]
        if len(fitting) == 1:
            return self.value(node, fitting[0], name)
        faults = len(self.document.faults)
        for kind in fitting:
            found = self.value(node, kind, name)
            if found is not BAD:
                return found
            del self.document.faults[faults:]
        return self.wrong(node, " or ".join(wanted.expected(kind) for kind in kinds if kind is not type(None)), name)

    def _choice(self, node: nodes.Node, allowed: tuple[Any, ...], name: str) -> Any:
        if isinstance(node, nodes.Word):
            for value in (node.value, *([scalars.resolve(node.text)] if node.loose else [])):
                if any(value == item and type(value) is type(item) for item in allowed):
                    return value
        words = [str(item).lower() if isinstance(item, bool) else str(item) for item in allowed]
        close = suggest.nearest(node.written or node.text, words) if isinstance(node, nodes.Word) else None
        return self.wrong(node, f"one of {suggest.listed(words)}", name, f"did you mean `{close}`?" if close else "")

    def _scalar(self, node: nodes.Node, kind: Any, name: str) -> Any:
        if isinstance(node, nodes.Word):
            value = scalars.resolve(node.text) if node.loose and kind is not str else node.value
            if type(value) is kind:
                if kind is not float or math.isfinite(value):  # type: ignore[arg-type]
                    return value
            elif kind is float and type(value) is int:
                return float(value)
        return self.wrong(node, wanted.SCALARS[kind], name, wanted.scalar_hint(node, kind))

    def _typed(self, node: nodes.Node, kind: Any, name: str) -> Any:
        """A type with a conversion of its own, or one that only msgspec knows."""
        try:
            value = self._call(nodes.plain(node), kind)
        except (ValueError, msgspec.ValidationError) as error:
            self.document.fault(node, f"{name}: {self._safe(node, kind, error)}", wanted.unit_hint(node, kind))
            return BAD
        return self._path(node, value, name) if isinstance(value, FilePath) else value

    def _call(self, value: object, kind: Any) -> Any:
        if hasattr(kind, "from_config") or kind in EXPECTED:
            return convert_scalar(kind, value)
        return msgspec.convert(value, kind, dec_hook=convert_scalar)

    def _safe(self, node: nodes.Node, kind: Any, error: Exception) -> str:
        """The text of an error that may show the value; where it was interpolated, that of an error about what was written."""
        if not nodes.interpolated(node):
            return str(error)
        try:
            self._call(nodes.plain(node, as_written=True), kind)
        except (ValueError, msgspec.ValidationError) as about_written:
            return str(about_written)
        return f"expected {wanted.expected(kind)}, got the value of {self.shown(node)}, which is not shown"

    def _path(self, node: nodes.Node, path: FilePath, name: str) -> Any:
        """A path that counts from the document's directory."""
        if path.startswith("~"):
            return self.wrong(node, "a path", name, "~ is not replaced; write ${HOME}")
        if PurePath(path).is_absolute() or (isinstance(path, FilePattern) and "/" not in path):
            return path
        return type(path)(f"{self._directory.rstrip('/')}/{path.removeprefix('./')}")

    def _checked(self, node: nodes.Node, value: Any, marks: list[Any], name: str) -> Any:
        """Hold a value against the constraints of `Annotated[kind, msgspec.Meta(...)]`."""
        for mark in marks:
            for text, holds in wanted.constraints(mark, value):
                if not holds:
                    return self.wrong(node, text, name)
        return value


def keys(kind: type[Any]) -> list[str]:
    """Return the keys a Struct is written with."""
    return [field.encode_name for field in msgspec.structs.fields(kind)]


def _is_nothing(node: nodes.Node) -> bool:
    """Whether a scalar says null; `${VAR:-}` does, too, where a setting may be left out: so `password: ${PASSWORD:-}` works."""
    return isinstance(node, nodes.Word) and (node.value is None or (node.loose and not node.text))


def _dotted(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key
