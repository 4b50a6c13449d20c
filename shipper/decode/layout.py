"""Layout: what text formats share. A format says what members a line has; here rows and columns are made of them, by the block.

A format is a class of its own (`AccessLog(TextDecoder)`) that has `members` and `parse`. `parse` gets the lines of a block and
answers with one list a member, the values as they stand in the text. This module escapes them, writes the rows, and decodes the
columns that are asked for.

RULES
- A member is `text` (any characters), `word` (the format vouches that it needs no escapes in JSON) or `number` (its text must be
  a JSON number, else the line is refused). The first member is there in every line.
- An empty value means that the member is not there.
- `@timestamp` is no member of a row: it is a column only, from which the chain makes the document's own. Its texts are read by the
  format's `timeline`.
- The lines behind the first of a record go where `rest` says: by default they are put to `message`, behind a newline. A trace goes
  to `error.stack_trace`.

THEORY
A column is checked for characters to escape in one search over its texts put together, and numbers are decoded as one JSON array,
which also proves that they are numbers. A row is one join of constants and columns. Members that are missing in some rows are
fragments, each made once and kept as long as there is room. No Python statement per row where lines are of the format.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from itertools import repeat
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import msgspec
import orjson

from shipper.decode.decoder import RESERVED, Reading, as_columns, unwrapped
from shipper.model.batch import split_rows
from shipper.model.columns import Columns, Values

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from shipper.decode.timestamp import Timeline
    from shipper.model.batch import SafeBatch

STAMP = "@timestamp"
_OURS = ("log.offset", "log.file", "host.name")
_ESCAPED = re.compile(rb'["\\\x00-\x09\x0b-\x1f]')
_KEPT_MAX = 4096
"""Fragments kept a member; then they are forgotten."""


class Member(NamedTuple):
    """One member of a format's rows."""

    name: str
    """After ECS, with dots."""
    kind: Literal["text", "word", "number"] = "text"


class Parsed(msgspec.Struct):
    """What a format found in some lines: one list a member, as long as there are lines."""

    columns: Mapping[str, Sequence[bytes]]
    """Values as they stand in the text, by name of the member and for `@timestamp`; empty for what is not there."""
    refused: dict[int, str] = msgspec.field(default_factory=dict)
    """Lines that are not of the format, and why; their values are not looked at, but must be there (empty)."""
    extras: Sequence[bytes] | None = None
    """Members whose names the lines themselves give, as fragments: empty, or `,"name":value` and more."""
    extra_names: Collection[str] = ()
    """All names in `extras`."""
    extra_fields: Callable[[str], Values] | None = None
    """The column of a name in `extras`."""


class TextDecoder(ABC):
    """Base of text formats; see the module."""

    members: ClassVar[Sequence[Member]]
    timeline: Timeline | None = None
    guards: Mapping[str, bytes] = {}
    rest = "message"
    """The member that takes the further lines of a record."""

    def __init__(self, _config: Any, reads: Sequence[str], adds: Sequence[str], _spare: Sequence[str] = ()) -> None:
        """See `decoder.py` for the arguments."""
        self._reads = frozenset(reads)
        self._adds = tuple(dict.fromkeys((*RESERVED, *_OURS, *adds)))
        self._clashing = frozenset(name.partition(".")[0] for name in self._adds)
        self._kinds = {member.name: member.kind for member in self.members}
        self._fragments = {member.name: _Fragments(member) for member in self.members}
        self._always_odd = any(self._clashes(member.name) for member in self.members)

    @abstractmethod
    def parse(self, lines: Sequence[bytes]) -> Parsed:
        """Read the lines, none of which has a newline. Never raises for what they say."""
        ...

    def decode(self, batch: SafeBatch) -> Columns:
        """Columns of a batch; see `Decoder.decode`."""
        lines = split_rows(batch.block, batch.ends)
        return as_columns(batch, lines, self.read(lines), tuple(self._clashing))

    def read(self, lines: Sequence[bytes]) -> Reading:
        """Read some lines by themselves; see `Decoder.read`."""
        heads, rests = _apart(lines)
        parsed = self.parse(heads)
        columns = dict(parsed.columns)
        if rests:
            columns[self.rest] = _with_rests(columns.get(self.rest), rests, len(lines))
        numbers = {name: _numbers(columns[name], parsed.refused) for name, kind in self._kinds.items() if kind == "number"}
        odd = set(range(len(lines))) if self._always_odd or any(map(self._clashes, parsed.extra_names)) else set()
        rows = self._rows(columns, parsed.extras, len(lines))
        return Reading(rows, _Fields(columns, numbers, parsed, len(lines)), parsed.refused, odd)

    def _clashes(self, name: str) -> bool:
        """Whether a member stands where documents have something from us, or would have to reach into it."""
        if name in self._clashing:
            return True
        reached = [ours for ours in self._adds if "." in ours or ours == "shipper"]
        return any(f"{ours}.".startswith(f"{name}.") or name.startswith(f"{ours}.") for ours in reached)

    def _rows(self, columns: Mapping[str, Sequence[bytes]], extras: Sequence[bytes] | None, count: int) -> list[bytes]:
        pieces: list[Iterable[bytes]] = []
        between = b"{"
        for member in self.members:
            values = columns[member.name]
            absent = values.count(b"")
            if pieces and absent == count:
                continue
            if member.kind == "text":
                values = escaped(values)
            if not absent or not pieces:
                quote = b"" if member.kind == "number" else b'"'
                pieces += [repeat(b'%b"%b":%b' % (between, member.name.encode(), quote)), values]
                between = quote + b","
            else:
                pieces += [repeat(between[:-1]), map(self._fragments[member.name].__getitem__, values)]
                between = b","
        pieces.append(repeat(between[:-1]))
        if extras is not None:
            pieces.append(extras)
        return list(map(b"".join, zip(*pieces, strict=False))) if count else []


class _Fragments(dict[bytes, bytes]):
    """A value, escaped -> `,"name":"value"`; nothing for an empty one. Bounded; forgets everything when full."""

    def __init__(self, member: Member) -> None:
        super().__init__()
        self._pattern = b',"%b":%%b' if member.kind == "number" else b',"%b":"%%b"'
        self._pattern %= member.name.encode().replace(b"%", b"%%")

    def __missing__(self, value: bytes) -> bytes:
        if not value:
            return value
        if len(self) >= _KEPT_MAX:
            self.clear()
        self[value] = self._pattern % value
        return self[value]


class _Fields(dict[str, Values]):
    """Columns by name, each made when it is first asked for."""

    def __init__(self, columns: Mapping[str, Sequence[bytes]], numbers: Mapping[str, Values], parsed: Parsed, count: int) -> None:
        super().__init__(numbers)
        self._columns, self._parsed, self._count = columns, parsed, count

    def __missing__(self, name: str) -> Values:
        values = self._columns.get(name)
        if values is not None:
            self[name] = texts(values)
        elif self._parsed.extra_fields is not None and name in self._parsed.extra_names:
            self[name] = self._parsed.extra_fields(name)
        else:
            self[name] = [None] * self._count
        return self[name]


def texts(values: Sequence[bytes]) -> Values:
    """Texts of a column; None for what is empty."""
    found: list[str | None] = list(b"\n".join(values).decode("utf-8", "replace").split("\n")) if values else []
    if len(found) != len(values):  # further lines of a record were put to it
        found = [value.decode("utf-8", "replace") for value in values]
    return [text or None for text in found] if "" in found else found


def escaped(values: Sequence[bytes]) -> Sequence[bytes]:
    """The values as they stand between the quotes of a JSON string."""
    joined = b"\n".join(values)
    if not _ESCAPED.search(joined) and joined.count(b"\n") == max(len(values) - 1, 0):
        return values
    found = joined.decode("utf-8", "replace").split("\n")
    if len(found) != len(values):  # further lines of a record were put to it
        found = [value.decode("utf-8", "replace") for value in values]
    # Within a text a quote has a backslash before it, so that a comma between two quotes is one between two texts.
    return orjson.dumps(found)[2:-2].split(b'","')


def _numbers(values: Sequence[bytes], refused: dict[int, str]) -> Values:
    """A column of numbers; None for what is empty. Refuses lines whose value is no number."""
    some = b"" in values
    if some and not any(values):
        return [None] * len(values)
    try:
        found: list[Any] = orjson.loads(b"[%b]" % b",".join([value or b"null" for value in values] if some else values))
        if len(found) == len(values) and found.count(None) == values.count(b"") and set(map(type, found)) <= _NUMBERS:
            return found
    except orjson.JSONDecodeError:
        pass
    return [_number(row, value, refused) for row, value in enumerate(values)]


_NUMBERS = frozenset((int, float, type(None)))


def _number(row: int, value: bytes, refused: dict[int, str]) -> int | float | None:
    if not value or row in refused:
        return None
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        found = None
    if type(found) in (int, float):
        return found  # type: ignore[no-any-return]
    refused[row] = "a number was expected"
    return None


def _apart(lines: Sequence[bytes]) -> tuple[Sequence[bytes], dict[int, bytes]]:
    """First lines of records, and the further ones of those that have some."""
    rests: dict[int, bytes] = {}
    wrapped = [row for row, line in enumerate(lines) if line.startswith(b'{"message":"')]
    if not wrapped:
        return lines, rests
    heads = list(lines)
    for row in wrapped:
        head, *rest = unwrapped(lines[row])
        if rest:
            heads[row], rests[row] = head, rest[0]
    return heads, rests


def _with_rests(values: Sequence[bytes] | None, rests: Mapping[int, bytes], count: int) -> Sequence[bytes]:
    found = list(values) if values is not None else [b""] * count
    for row, rest in rests.items():
        found[row] = b"%b\n%b" % (found[row], rest) if found[row] else rest
    return found
