"""Capture: what `regex` and `grok` share. Patterns with groups are tried in order, and what the groups hold become members.

RULES
- A pattern is searched in a record's first line. The first pattern that is found counts; a line in which none is, is refused.
- Of several groups for one field the first that holds something counts. A group that holds nothing is not there.
- `@timestamp` is the time of the record. Where a pattern has no group for `message`, the whole line is the message, as in Logstash:
  nothing of it is lost. Otherwise what no group holds is gone.
- A field is a text unless it has a type. `integer` and `number` take numbers with leading zeros or a plus, too; `boolean` takes
  true, false, yes, no, on, off, 1, 0. A line whose value is not of its type is refused, and so kept as text.
"""

from __future__ import annotations

import re
from itertools import repeat
from typing import TYPE_CHECKING, Literal, NamedTuple

from shipper.decode.decoder import RESERVED
from shipper.decode.layout import STAMP, Member, Parsed, TextDecoder
from shipper.decode.matcher import Matcher
from shipper.decode.timestamp import Timeline
from shipper.model.errors import ComponentError
from shipper.model.localtime import Timezone

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, MutableSequence, Sequence

Type = Literal["text", "integer", "number", "boolean"]
Fold = Literal["auto", "first", "second"]
MESSAGE = "message"
TIMES = ("timestamp", "time", "ts", STAMP)
"""Groups of these names are the record's time."""
FIELD = re.compile(r"[A-Za-z0-9_@-]+(?:\.[A-Za-z0-9_@-]+)*")
_NUMBERS = ("integer", "number")
_WORDS = {b"true": True, b"yes": True, b"on": True, b"1": True, b"false": False, b"no": False, b"off": False, b"0": False}
_UNUSUAL = re.compile(rb"(?:^|,)(?:\+|-?0[0-9]|-?\.)|\.(?:[^0-9]|$)")
"""In numbers with commas between them: one that JSON would not take, but a reader does."""
_NUMBER = re.compile(rb"([+-]?)([0-9]*)(?:\.([0-9]*))?([eE][+-]?[0-9]+)?")
_FRACTION = re.compile(rb"[.eE]")


class Expression(NamedTuple):
    """A pattern and its fields."""

    pattern: str
    """In the syntax of RE2."""
    fields: Sequence[tuple[int, str]]
    """Numbers of groups, and the fields that they are for."""


class CapturingDecoder(TextDecoder):
    """Base of the two."""

    speaks_ecs = False  # fields are named by the user

    def __init__(
        self,
        expressions: Sequence[Expression],
        types: Mapping[str, Type],
        timeline: Timeline | None,
        asked: tuple[Sequence[str], Sequence[str], Sequence[str]],
    ) -> None:
        """`types` are those of fields; `asked` are the arguments `reads`, `adds`, `spare`, see `decoder.py`. Raises PatternError."""
        self._matchers = [
            (Matcher(one.pattern, [group for group, _ in one.fields]), [name for _, name in one.fields]) for one in expressions
        ]
        self._names = tuple(dict.fromkeys(name for _, names in self._matchers for name in names))
        self._types = {name: types.get(name, "text") for name in self._names if name != STAMP}
        self.members = (
            Member(MESSAGE),
            *(
                Member(name, "number" if kind in _NUMBERS else "text")
                for name, kind in self._types.items()
                if name != MESSAGE and kind != "boolean"
            ),
        )
        super().__init__(None, *asked)
        self.timeline = timeline

    def parse(self, lines: Sequence[bytes]) -> Parsed:
        """Find the groups of all lines, pattern after pattern."""
        columns, left = self._found(lines)
        refused = dict.fromkeys(left, "no pattern matches")
        truths: dict[str, list[bool | None]] = {}
        for name, kind in self._types.items():
            if kind == "integer" and _FRACTION.search(b",".join(columns[name])):
                whole = "a whole number was expected"
                refused.update((row, whole) for row, value in enumerate(columns[name]) if _FRACTION.search(value))
            if kind in _NUMBERS:
                columns[name] = as_numbers(columns[name])
            if kind == "boolean":
                values = columns.pop(name)
                truths[name] = [_WORDS.get(value.lower()) for value in values]
                said = zip(truths[name], values, strict=True)
                refused.update(
                    (row, "true or false was expected") for row, (truth, value) in enumerate(said) if value and truth is None
                )
        if not truths:
            return Parsed(columns, refused)
        return Parsed(columns, refused, _as_extras(truths, len(lines)), tuple(truths), truths.__getitem__)

    def _found(self, lines: Sequence[bytes]) -> tuple[dict[str, Sequence[bytes]], Sequence[int]]:
        """Columns by name, and the lines that no pattern matches."""
        columns: dict[str, Sequence[bytes]] = {}
        left: Sequence[int] = range(len(lines))
        for matcher, names in self._matchers:
            given = lines if len(left) == len(lines) else [lines[row] for row in left]
            groups, missed = matcher.find(given)
            found = [*zip(names, groups, strict=True), *([] if MESSAGE in names else [(MESSAGE, _without(given, missed))])]
            for name, values in found:
                if name in columns or given is not lines:
                    columns[name] = _filled(columns.get(name), left, values, len(lines))
                else:
                    columns[name] = values
            left = missed if given is lines else [left[row] for row in missed]
        for name in self._names:
            columns.setdefault(name, [b""] * len(lines))
        return columns, left


def _without(lines: Sequence[bytes], rows: Sequence[int]) -> Sequence[bytes]:
    """The lines, empty in some rows."""
    found = list(lines) if rows else lines
    for row in rows:
        found[row] = b""  # type: ignore[index]
    return found


def timeline_of(layouts: Sequence[str], zone: str | None, fold: Fold) -> Timeline | None:
    """The timeline of a decoder's own settings; None where it has none."""
    return Timeline(layouts, zone or Timezone("UTC"), fold) if layouts or zone is not None or fold != "auto" else None


def refuse_field(field: str, all_fields: Collection[str], setting: str, naming: str) -> None:
    """Raises ComponentError for a name that no member may have. `naming` shows how a field is named, with `{}` for its name."""
    if not FIELD.fullmatch(field):
        raise ComponentError(f"`{field}` is no name of a field", setting, "letters, digits and _, with dots between: client.ip")
    if field in RESERVED:
        better = {"host": "host.hostname", "log": "log.logger"}.get(field, "labels.shipper")
        raise ComponentError(
            f"documents have an object `{field}` from us", setting, f"give it another name: {naming.format(better)}"
        )
    if other := next((other for other in all_fields if other.startswith(f"{field}.")), None):
        raise ComponentError(f"`{field}` is a value, and `{other}` makes it an object", setting, "give one of them another name")


def field_of(field: str) -> str:
    """The name that a field has: those that stand for the time are one."""
    return STAMP if field in TIMES else field


def _filled(column: Sequence[bytes] | None, rows: Sequence[int], values: Sequence[bytes], count: int) -> Sequence[bytes]:
    """A column with values put in some of its rows, where there is none yet."""
    found: MutableSequence[bytes] = list(column if column is not None else repeat(b"", count))
    for row, value in zip(rows, values, strict=True):
        found[row] = found[row] or value
    return found


def as_numbers(values: Sequence[bytes]) -> Sequence[bytes]:
    """Texts of numbers as JSON writes them; what is no number stays as it is."""
    return list(map(_as_number, values)) if _UNUSUAL.search(b",".join(values)) else values


def _as_number(value: bytes) -> bytes:
    found = _NUMBER.fullmatch(value)
    if not found or not (found[2] or found[3]):
        return value
    sign, whole, fraction, exponent = found.groups(b"")
    return (b"-" if sign == b"-" else b"") + (whole.lstrip(b"0") or b"0") + (b"." + fraction if fraction else b"") + exponent


def _as_extras(truths: Mapping[str, Sequence[bool | None]], size: int) -> list[bytes]:
    """Fragments with the members that are true or false."""
    texts = {name: {True: b',"%b":true' % name.encode(), False: b',"%b":false' % name.encode(), None: b""} for name in truths}
    pieces = [map(texts[name].__getitem__, values) for name, values in truths.items()]
    return list(map(b"".join, zip(*pieces, strict=True))) if size else []
