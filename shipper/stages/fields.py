"""Fields: change the members of records: set, rename, remove, copy, convert, and bring them into a shape that a mapping can hold.

RULES
- Operations are done in order, each to the rows for which its `when` holds after those before it.
- Names are paths with dots, read as everywhere: the member of that spelling, or else the way through objects. Null counts as not
  there. What is written replaces what is there, or becomes a member of that spelling.
- Only the record's own members can be changed; what other stages add to documents cannot.
- `@timestamp` and what all documents get from us cannot be written; the time of a record is taken before stages run.
- How it is done is told in `rewriting.py`. Bounds: nothing is kept between batches.
"""

from __future__ import annotations

import re
from itertools import compress, repeat
from operator import is_not, ne
from typing import TYPE_CHECKING, Any

import msgspec

from shipper.config.condition import Condition  # noqa: TC001  msgspec reads the annotations
from shipper.config.fields import ComponentConfig
from shipper.model.columns import OURS, meet
from shipper.model.errors import ComponentError
from shipper.stages.converting import FAILED, Kind, converted
from shipper.stages.members import encode
from shipper.stages.reshaping import capped, flat, without_dots
from shipper.stages.rewriting import Rewriting, guards, picked, present

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from shipper.model.columns import Columns, Values
    from shipper.stages.members import Members
    from shipper.stages.stage import Resources

    Step = Callable[[Rewriting, Sequence[int]], None]
    """Does one thing to some rows."""

_DOTTED_NAME = re.compile(rb'\.[^"\\]*+(?:\\.[^"\\]*+)*+"\s*+:')
_ESCAPED_DOT = re.compile(rb"\\u002[eE]")
_TEMPLATE = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|([{}])")
_NULL = b"null"
_MEMBER_BYTES_MIN = 5
"""The shortest member: `"":0` and a comma."""


class Operation(ComponentConfig, frozen=True, kw_only=True):
    """One operation: one of these keys, and `when` if it is not for all records."""

    when: Condition | None = None
    """Which records; it sees what the operations before it did."""
    set: dict[str, Any] = msgspec.field(default_factory=dict)
    """Names and their values. In a text `{field}` stands for a field's value, and `{{` for a brace; where one of them is missing
    nothing is set."""
    rename: dict[str, str] = msgspec.field(default_factory=dict)
    """Old names and new ones. What had the new name is replaced."""
    remove: list[str] = msgspec.field(default_factory=list)
    """Members to take out."""
    copy: dict[str, str] = msgspec.field(default_factory=dict)
    """Names, and those under which their values stand a second time."""
    lower: list[str] = msgspec.field(default_factory=list)
    """Texts to write in lower case."""
    upper: list[str] = msgspec.field(default_factory=list)
    """Texts to write in upper case."""
    convert: dict[str, Kind] = msgspec.field(default_factory=dict)
    """Names and the types their values become. What cannot without loss stays, and is named in `shipper.unconverted`."""
    dedot: str | None = None
    """What takes the place of dots in all names, `_`. A name that would meet another one stays."""
    flatten: list[str] = msgspec.field(default_factory=list)
    """Top-level objects whose members are to stand beside them under dotted names; `*` for all. Arrays stay as they are."""
    max_depth: int | None = None
    """Levels of members that a record may have. What lies deeper is put into `shipper.overflow`, an object as a JSON text."""
    max_members: int | None = None
    """Members that a record may have, those in objects counted, objects themselves not. Those over it go to `shipper.overflow`."""


class Fields:
    """Change members of records: set, rename, remove, copy, lower, upper, convert, dedot, flatten, and cap what is too much.

    It works in the records' bytes. Records that an operation does not touch cost next to nothing. One that it touches costs, in
    yardsticks (see `docs/performance.md`): 0.15 to have a member set, 0.3 made of others, 0.4 to have one renamed, removed, copied or
    its value set anew, 0.5 for `lower`, `upper` and `dedot`, 0.8 for `convert`. `flatten` and the caps cost 0.1 where there is nothing to
    do. Members of objects, and texts written in an unusual way, need the record taken apart, 2 yardsticks.

    Put it before stages that add something: it changes records, not what they add.

    `max_depth` and `max_members` keep one record of ten thousand names from spoiling an index for all others (a mapping explosion).
    """

    class Config(ComponentConfig, frozen=True, kw_only=True):
        """Settings of `fields`."""

        operations: list[Operation]
        """What is done, in order. The list may stand alone: `- fields: [{remove: [debug]}]`."""

    example = """
- fields:
    - rename: {lvl: log.level, service: service.name}
    - set: {environment: "${ENVIRONMENT:-production}", url.full: "https://{host_name}{path}"}
    - set: {log.level: info}
      when: {not: {has: log.level}}
    - lower: [log.level]
    - convert: {status: integer, took: number}
    - remove: [debug, internal.trace]
    - {max_depth: 6, max_members: 500}
"""

    def __init__(self, config: Config, resources: Resources) -> None:  # noqa: ARG002  part of the contract
        """Raises ComponentError for an operation that says nothing or several things, and for names that cannot be changed."""
        if not config.operations:
            raise ComponentError("there is no operation", "operations", "such as {remove: [debug]}")
        plans = [_Plan(operation, f"operations.{number}") for number, operation in enumerate(config.operations)]
        self._plans = [(operation.when, plan.steps) for operation, plan in zip(config.operations, plans, strict=True)]
        conditions = [operation.when for operation in config.operations if operation.when is not None]
        names = [
            *(name for plan in plans for name in (*plan.read, *plan.changed)),
            *(name for one in conditions for name in one.reads),
        ]
        self.reads: Sequence[str] = tuple(dict.fromkeys(names))
        self.adds: Sequence[str] = ()
        self.changes: Sequence[str] = tuple(dict.fromkeys(name for plan in plans for name in plan.changed))
        self.guards: Mapping[str, bytes] = guards(dict.fromkeys(name for plan in plans for name in plan.written))

    def process(self, columns: Columns, now: float) -> None:  # noqa: ARG002  part of the contract
        """Exchange the rows, and set the columns that changed."""
        rewriting = Rewriting(columns, {*columns.asked, *self.reads})
        try:
            for when, steps in self._plans:
                numbers: Sequence[int] = range(columns.count)
                if when is not None:
                    mask = when.mask(columns)
                    numbers = numbers if all(mask) else list(compress(numbers, mask))
                for step in steps if numbers else ():
                    step(rewriting, numbers)
        except Exception:
            rewriting.undo()
            raise
        rewriting.finish()


class _Plan:
    """One operation, checked: the steps it is made of, and the names they touch."""

    def __init__(self, operation: Operation, place: str) -> None:
        self.steps: list[Step] = []
        self.read: list[str] = []
        self.changed: list[str] = []
        """Names that it changes; `*` means any."""
        self.written: list[str] = []
        """Those that may be appended."""
        kinds = [name for name in _KINDS if getattr(operation, name) not in (None, [], {})]
        kinds = [name for name in kinds if not (name == "max_members" and "max_depth" in kinds)]
        if len(kinds) != 1:
            said = f"{' and '.join(kinds)} together" if kinds else "nothing"
            raise ComponentError(
                f"an operation is one thing, this says {said}", place, "write one item for each: they are done in order"
            )
        self._place = f"{place}.{kinds[0]}"
        getattr(self, f"_{kinds[0]}")(operation)

    def _set(self, operation: Operation) -> None:
        for name, value in operation.set.items():
            self._writes(name, f"{self._place}.{name}")
            self.steps.append(self._set_step(name, value))

    def _set_step(self, name: str, value: object) -> Step:
        where = f"{self._place}.{name}"
        if value is None:
            raise ComponentError(f"`{name}` cannot be set to nothing", where, "`remove` takes a member out")
        if isinstance(value, str):
            pattern, fields = _template(value, where)
            if fields:
                self.read += fields
                return lambda rewriting, numbers: _fill(rewriting, numbers, name, pattern, fields)
            value = pattern % ()
        tail = encode(value)
        if tail == _NULL:
            raise ComponentError(f"`{name}` cannot be set to a number that JSON does not have", where)
        plain = msgspec.json.decode(tail)
        return lambda rewriting, numbers: rewriting.write(name, numbers, [tail] * len(numbers), [plain] * len(numbers))

    def _rename(self, operation: Operation) -> None:
        for name, to in operation.rename.items():
            where = f"{self._place}.{name}"
            self._touches(name, where)
            self._writes(to, where)
            if name == to:
                raise ComponentError("both names are the same", where)
            self.steps.append(_renaming(name, to))

    def _copy(self, operation: Operation) -> None:
        for name, to in operation.copy.items():
            self.read.append(name)
            self._writes(to, f"{self._place}.{name}")
            self.steps.append(_copying(name, to))

    def _remove(self, operation: Operation) -> None:
        for number, name in enumerate(operation.remove):
            self._touches(name, f"{self._place}.{number}")
            self.steps.append(_removing(name))

    def _lower(self, operation: Operation) -> None:
        for number, name in enumerate(operation.lower):
            self._touches(name, f"{self._place}.{number}")
            self.steps.append(_recasing(name, str.lower))

    def _upper(self, operation: Operation) -> None:
        for number, name in enumerate(operation.upper):
            self._touches(name, f"{self._place}.{number}")
            self.steps.append(_recasing(name, str.upper))

    def _convert(self, operation: Operation) -> None:
        for name, kind in operation.convert.items():
            self._touches(name, f"{self._place}.{name}")
            self.steps.append(_converting(name, kind))

    def _dedot(self, operation: Operation) -> None:
        separator = operation.dedot or ""
        self.changed.append("*")
        if "." in separator:
            raise ComponentError("dots cannot take the place of dots", self._place, "such as _")
        self.steps.append(lambda rewriting, numbers: _dedot(rewriting, numbers, separator))

    def _flatten(self, operation: Operation) -> None:
        names = frozenset(operation.flatten)
        self.changed.append("*")
        self.steps.append(lambda rewriting, numbers: _flatten(rewriting, numbers, names))

    def _max_depth(self, operation: Operation) -> None:
        for name in ("max_depth", "max_members"):
            limit = getattr(operation, name)
            if limit is not None and limit < 1:
                raise ComponentError(f"{name} must be 1 or more", f"{self._place.rpartition('.')[0]}.{name}")
        self.changed.append("*")
        self.steps.append(lambda rewriting, numbers: _cap(rewriting, numbers, operation.max_depth, operation.max_members))

    _max_members = _max_depth

    def _touches(self, name: str, where: str) -> None:
        """Note a name. Raises ComponentError for one that nobody may change."""
        if not name or not all(name.split(".")):
            raise ComponentError(f"`{name}` is no name of a member", where, "such as service.name")
        if name == "@timestamp":
            raise ComponentError(
                "the time of a record is taken before stages run", where, "name its field under `timestamp` of the pipeline"
            )
        self.changed.append(name)

    def _writes(self, name: str, where: str) -> None:
        self._touches(name, where)
        if any(meet(name, ours) for ours in OURS):
            raise ComponentError(f"`{name}` is a member that every document gets from us", where, "choose another name")
        self.written.append(name)


_KINDS = ("set", "rename", "remove", "copy", "lower", "upper", "convert", "dedot", "flatten", "max_depth", "max_members")


def _template(written: str, where: str) -> tuple[str, list[str]]:
    """A text with `{field}` as a pattern for `%`, and the fields. Raises ComponentError for a brace that stands alone."""
    fields: list[str] = []

    def piece(found: re.Match[str]) -> str:
        if found[2]:
            raise ComponentError(f"`{found[2]}` stands alone in {written!r}", where, "a field is written {name}, a brace {{")
        if not found[1]:
            return found[0][0]
        fields.append(found[1])
        return "%s"

    return _TEMPLATE.sub(piece, written.replace("%", "%%")), fields


def _fill(rewriting: Rewriting, numbers: Sequence[int], name: str, pattern: str, fields: Sequence[str]) -> None:
    """Set a text made of fields, where all of them are there."""
    columns = rewriting.columns
    for field in fields:
        numbers = present(columns.column(field), numbers)
    texts = [_as_texts(picked(columns.column(field), numbers)) for field in fields]
    if any(None in column for column in texts):
        whole = [None not in row for row in zip(*texts, strict=True)]
        numbers, texts = list(compress(numbers, whole)), [list(compress(column, whole)) for column in texts]
    if numbers:
        values = list(map(pattern.__mod__, zip(*texts, strict=True)))
        rewriting.write(name, numbers, list(map(encode, values)), values)


def _as_texts(values: Values) -> Sequence[Any]:
    """Values as they stand in a text; None for what has no text: objects, lists, a number beyond all types."""
    if set(map(type, values)) <= {str}:
        return values
    plain = (value if isinstance(value, (str, bool, int, float)) else None for value in values)
    texts = [value if isinstance(value, str) else encode(value).decode() for value in plain]
    return [None if text == "null" and value != text else text for text, value in zip(texts, values, strict=True)]


def _renaming(name: str, to: str) -> Step:
    def step(rewriting: Rewriting, numbers: Sequence[int]) -> None:
        if there := present(rewriting.columns.column(name), numbers):
            rewriting.move(name, to, there)

    return step


def _removing(name: str) -> Step:
    def step(rewriting: Rewriting, numbers: Sequence[int]) -> None:
        if there := present(rewriting.columns.column(name), numbers):
            rewriting.remove(name, there)

    return step


def _copying(name: str, to: str) -> Step:
    def step(rewriting: Rewriting, numbers: Sequence[int]) -> None:
        there = present(rewriting.columns.column(name), numbers)
        values = picked(rewriting.columns.column(name), there)
        _write_known(rewriting, to, there, values)

    return step


def _recasing(name: str, recase: Callable[[str], str]) -> Step:
    def step(rewriting: Rewriting, numbers: Sequence[int]) -> None:
        values = picked(rewriting.columns.column(name), numbers)
        if not set(map(type, values)) <= {str}:
            texts = [isinstance(value, str) for value in values]
            numbers, values = list(compress(numbers, texts)), list(compress(values, texts))
        recased = list(map(recase, values))
        changed = list(map(ne, values, recased))
        if not all(changed):
            numbers, recased = list(compress(numbers, changed)), list(compress(recased, changed))
        _write_known(rewriting, name, numbers, recased)

    return step


def _converting(name: str, kind: Kind) -> Step:
    def step(rewriting: Rewriting, numbers: Sequence[int]) -> None:
        numbers = present(rewriting.columns.column(name), numbers)
        values = picked(rewriting.columns.column(name), numbers)
        found = converted(kind, values) if values else values
        if found is values:
            return
        if FAILED in found:
            rewriting.columns.flag(compress(numbers, map(_is_failed, found)), f"unconverted:{name}")
            found = [old if new is FAILED else new for new, old in zip(found, values, strict=True)]
        changed = list(map(is_not, found, values))
        if not all(changed):
            numbers, found = list(compress(numbers, changed)), list(compress(found, changed))
        _write_known(rewriting, name, numbers, found)

    return step


def _is_failed(value: object) -> bool:
    return value is FAILED


def _write_known(rewriting: Rewriting, name: str, numbers: Sequence[int], values: Values) -> None:
    """Write values of a column, but for those that JSON has no text for: a number beyond all types, an object without end."""
    if not numbers:
        return
    try:
        tails = list(map(encode, values))
    except RecursionError:
        return
    if _NULL in tails:
        finite = [tail != _NULL for tail in tails]
        numbers, values = list(compress(numbers, finite)), list(compress(values, finite))
        tails = list(compress(tails, finite))
    rewriting.write(name, numbers, tails, values)


def _flatten(rewriting: Rewriting, numbers: Sequence[int], names: Collection[str]) -> None:
    nested = map(bytes.rfind, picked(rewriting.rows(), numbers), repeat(b"{"))
    rewriting.reshape(list(compress(numbers, nested)), lambda members, _: flat(members, names) or None)


def _dedot(rewriting: Rewriting, numbers: Sequence[int], separator: str) -> None:
    rows = picked(rewriting.rows(), numbers)
    dotted = list(map(_DOTTED_NAME.search, rows))
    if rewriting.may_escape:
        dotted = [one or _ESCAPED_DOT.search(row) for one, row in zip(dotted, rows, strict=True)]
    rewriting.reshape(list(compress(numbers, dotted)), lambda members, _: without_dots(members, separator) or None)


def _cap(rewriting: Rewriting, numbers: Sequence[int], depth: int | None, count: int | None) -> None:
    """Set apart what is too deep or too much, where counting braces and colons does not rule it out."""
    rows = picked(rewriting.rows(), numbers)
    deep = [row.count(b"{") > depth for row in rows] if depth is not None and any(map(bytes.rfind, rows, repeat(b"{"))) else ()
    wide: Sequence[bool] = ()
    if count is not None and max(map(len, rows)) > _MEMBER_BYTES_MIN * count:
        wide = [row.count(b":") > count for row in rows]
    suspects = {*compress(numbers, deep), *compress(numbers, wide)}

    def change(members: Members, row: int) -> object:
        overflow = capped(members, depth, count)
        if not overflow:
            return None
        rewriting.columns.flag([row], f"overflow:{encode(overflow).decode()}")
        return overflow

    rewriting.reshape(sorted(suspects), change)
