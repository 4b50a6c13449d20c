"""JSON: columns from records that are JSON objects, decoded only as far as the configuration reads them.

RULES
- After decoding every row is one JSON object on one line, held without its last brace, so that a fragment can be appended.
- A row that is no JSON object becomes `{"message": TEXT, "shipper": {"parse_error": WHY}}` and is never lost. WHY never quotes
  the record.
- Fields are decoded as they are, whatever their type: a number where a string was expected is the stage's business.
- `name` reads the member `name`; `a.b` reads the member `a.b`, or else `b` inside the object `a`.
- Rows that have a member of a name that a document gets from us are `odd`: they are merged by value, not spliced
  (see `encode/document.py`), so that no document has a key twice.
- What JSON allows and `msgspec` refuses is taken all the same: numbers too large for it, and escapes of lone surrogates, as
  Python's `json` writes them. These become U+FFFD, as UTF-8 has no such characters; the row is flagged `lone_surrogate`.

THEORY
`msgspec`'s `decode_lines` into a Struct of the wanted fields reads a block in one call, but it is not about lines: blank rows
vanish, two objects on a line give two, a value may span lines. It is trusted where every row begins with `{` and ends with `}`
and the counts agree; two faults cannot cancel out then, since a value that goes on over a line end needs a comma or a colon
there. Otherwise the rows are decoded one by one, and those that are no object are rewritten. How rows begin and end the gate
sees on its way (`guards`), at a tenth of what it costs to look at each.
Structs become columns all at once, by one transposition: half the price of a getter for each.
"""

from __future__ import annotations

import json
import re
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec

from shipper.config.fields import ComponentConfig
from shipper.decode.decoder import RESERVED
from shipper.model.batch import split_lines
from shipper.model.columns import Columns, Values, within

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from shipper.model.batch import SafeBatch

_OPEN = itemgetter(slice(0, -2))
"""A line without its last brace and newline."""
_STAMP = "@timestamp"
_PAIR = rb"u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPE = re.compile(rb"\\(?:%b|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)" % _PAIR, re.DOTALL)
"""An escape; the group is a lone surrogate."""
_DIGITS_MAX = 4300
"""Digits of an integer that Python reads."""


class Json:
    """JSON records, one object each. What is no object is kept as text, flagged."""

    class Config(ComponentConfig):
        """No settings."""

    def __init__(self, _config: Config, reads: Sequence[str], adds: Sequence[str], spare: Sequence[str] = ()) -> None:
        """`reads` are the fields wanted as columns, `adds` the members that stages and frames splice (`client.geo`).

        `spare` are those of `reads` that are rarely asked for: they are decoded apart, when they are.
        """
        self._reads = tuple(dict.fromkeys(reads))
        self._clashing = tuple(dict.fromkeys((*RESERVED, *(name.partition(".")[0] for name in adds))))
        self._noticed = frozenset((*self._clashing, _STAMP))
        members = dict.fromkeys((*self._reads, *(name.split(".")[0] for name in self._reads), *self._clashing, _STAMP))
        self._names = {member: f"m{number}" for number, member in enumerate(members)}
        self._row = self._struct(members)
        self._decoder = msgspec.json.Decoder(self._row)
        often = [name for name in self._reads if name not in spare]
        wanted = {*often, *(name.split(".")[0] for name in often)}
        self._slim_decoder = msgspec.json.Decoder(self._struct([member for member in members if member in wanted]))
        self._rest_decoder = msgspec.json.Decoder(self._struct([member for member in members if member not in wanted]))
        self._dotted = re.compile(rb'"(?:%b)' % b"|".join(_dotted(member, adds) for member in self._clashing))

    def _struct(self, members: Iterable[str]) -> Any:
        """A type that takes these members of a record and passes over the others."""
        return msgspec.defstruct(
            "Row",
            [(self._names[name], object, msgspec.UNSET if name in self._noticed else None) for name in members],
            rename={self._names[name]: name for name in members},
            gc=False,
        )

    timeline = None

    def decode(self, batch: SafeBatch) -> Columns:
        """Return the columns, with the rows' origin, and the odd rows marked. Never raises for what a record holds."""
        lines = batch.lines if batch.lines is not None else split_lines(batch.block, batch.ends)
        marks = batch.marks | _marks_of_changes(batch.changed, lines) if batch.changed else batch.marks
        decoded = self._decode_fast(batch, len(lines), marks)
        flags: dict[int, tuple[str, ...]] = {}
        if decoded is not None:
            rows = list(map(_OPEN, lines))
        else:
            rows, decoded, flags = self._decode_carefully(lines)
            marks |= {"spaced"}  # what was around a row is gone, so that the guard did not see it as it is now
        raw = _Members(decoded, self._names, lambda: self._decode_rest(batch))
        columns = Columns(batch.stream.id, rows, _Fields(raw, self._noticed))
        columns.starts, columns.stops = batch.starts, batch.stops
        columns.flags = {row: (*batch.flags.get(row, ()), *flags.get(row, ())) for row in batch.flags.keys() | flags.keys()}
        columns.odd, columns.stamped = self._odd(marks, rows, raw), not marks.isdisjoint(("stamped", "escapes"))
        return columns

    def _odd(self, marks: frozenset[str], rows: list[bytes], raw: Mapping[str, Values]) -> set[int]:
        """Rows that cannot take a splice: a member of ours is there already, also spelt with dots, or there is none at all."""
        odd: set[int] = set()
        if not marks.isdisjoint(("clash", "escapes")):
            for name in self._clashing:
                odd.update(row for row, value in enumerate(raw[name]) if value is not msgspec.UNSET)
        if not marks.isdisjoint(("stamped", "escapes")):
            # There, but null: the column cannot tell it from one that is not there.
            odd.update(row for row, value in enumerate(raw[_STAMP]) if value is None)
        if "dotted" in marks:
            odd.update(number for number, row in enumerate(rows) if self._dotted.search(row))
        if "spaced" in marks:
            odd.update(number for number, row in enumerate(rows) if not row[1:].strip())
        return odd

    @property
    def guards(self) -> dict[str, bytes]:
        """Patterns the gate looks for on its way, so that `decode` need not: see `_odd`.

        `escapes` stands for names that are written with escapes, which the other patterns do not see; `ragged` for rows that do
        not end as an object does, or that another follows which does not begin as one.
        """
        names = b"|".join(re.escape(member.encode()) for member in self._clashing)
        return {
            "clash": rb'"(?:%b)"\s*:' % names,
            "dotted": self._dotted.pattern,
            "stamped": rb'"@timestamp"',
            "spaced": rb"\{[ \t\r\n]|\{\}\n",
            "escapes": rb"\\u00[0-7]",
            "ragged": rb"[^}]\n|\n[^{]",
        }

    def _decode_fast(self, batch: SafeBatch, count: int, marks: frozenset[str]) -> list[Any] | None:
        """The whole block in one call; None where it cannot be trusted."""
        if batch.ends is not None or "ragged" in marks or not batch.block.startswith(b"{"):
            return None
        try:
            decoded: list[Any] = self._slim_decoder.decode_lines(batch.block)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return None
        return decoded if len(decoded) == count else None

    def _decode_rest(self, batch: SafeBatch) -> list[Any]:
        """The members that were passed over, of a block that was decoded in one call."""
        try:
            rest: list[Any] = self._rest_decoder.decode_lines(batch.block)
        except (msgspec.DecodeError, RecursionError):  # a number too large, say
            return self._decode_carefully(split_lines(batch.block, None))[1]
        return rest

    def _decode_carefully(self, lines: list[bytes]) -> tuple[list[bytes], list[Any], dict[int, tuple[str, ...]]]:
        """Row by row, with rows that are no object rewritten."""
        rows: list[bytes] = []
        decoded: list[Any] = []
        flags: dict[int, tuple[str, ...]] = {}
        for number, line in enumerate(lines):
            text = line.strip(b" \t\r\n")
            try:
                value = self._decoder.decode(text)
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
                text, value, marks = self._decode_refused(line[:-1], text, error)
                if marks:
                    flags[number] = marks
            if b"\n" in text:
                text = text.replace(b"\n", b" ")  # between members only: inside a string it would not have decoded
            rows.append(text[:-1])
            decoded.append(value)
        return rows, decoded, flags

    def _decode_refused(self, row: bytes, text: bytes, error: Exception) -> tuple[bytes, Any, tuple[str, ...]]:
        """The text, columns and flags of a row that `msgspec` refuses: taken all the same where it is JSON, else rewritten."""
        if text.startswith(b"{") and not isinstance(error, RecursionError):
            sound = _ESCAPE.sub(lambda escape: rb"\ufffd" if escape[1] else escape[0], text)
            try:
                record = json.loads(sound.decode(), parse_int=_integer, parse_constant=_no_constant)
            except (ValueError, RecursionError):
                pass
            else:
                members = {attribute: record[name] for name, attribute in self._names.items() if name in record}
                return sound, self._row(**members), ("lone_surrogate",) if sound != text else ()
        rewritten = msgspec.json.encode({"message": row.decode("utf-8", "replace")})
        return rewritten, self._decoder.decode(rewritten), (f"parse_error:{reason(error)}",)


class _Members(dict[str, Values]):
    """Member -> its values, with UNSET where one that is noticed was not there. Those decoded apart come when they are asked for."""

    def __init__(self, decoded: list[Any], names: Mapping[str, str], rest: Callable[[], list[Any]]) -> None:
        super().__init__()
        self._names, self._rest = names, rest
        self._take(decoded)

    def _take(self, decoded: list[Any]) -> None:
        """Transpose structs of one type."""
        if not decoded:
            self.update(dict.fromkeys(self._names, ()))
            return
        there = dict(zip(decoded[0].__struct_fields__, zip(*map(msgspec.structs.astuple, decoded), strict=True), strict=True))
        self.update({name: list(there[attribute]) for name, attribute in self._names.items() if attribute in there})

    def __missing__(self, name: str) -> Values:
        self._take(self._rest())
        return self[name]


class _Fields(dict[str, Values]):
    """Columns by name, each made of the members when it is first asked for."""

    def __init__(self, members: _Members, noticed: Collection[str]) -> None:
        super().__init__()
        self._members, self._noticed = members, noticed

    def __missing__(self, name: str) -> Values:
        column = self._plain(name)
        if "." in name:
            outer, *path = name.split(".")
            column = [
                own if own is not None else within(value, path) for own, value in zip(column, self._plain(outer), strict=True)
            ]
        self[name] = column
        return column

    def _plain(self, name: str) -> Values:
        values = self._members[name]
        return _none_for_unset(values) if name in self._noticed else values


def _marks_of_changes(changed: Sequence[int], lines: list[bytes]) -> frozenset[str]:
    """Marks of what the gate wrote: it looked for the guards before. Its marker has a member of ours; a row may be emptied."""
    marks = set()
    for number in changed:
        line = lines[number]
        if not (line.startswith(b"{") and line.endswith(b"}\n")):
            marks.add("ragged")
        elif line.startswith(b'{"shipper":'):
            marks.add("clash")
        elif not line[1:-2].strip():
            marks.add("spaced")
    return frozenset(marks)


def _none_for_unset(values: Values) -> Values:
    """What is not there reads as None."""
    absent = values.count(msgspec.UNSET)
    if absent == len(values):
        return [None] * absent
    return [None if value is msgspec.UNSET else value for value in values] if absent else values


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _DIGITS_MAX else float(digits)


def _no_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON


def _dotted(member: str, adds: Sequence[str]) -> bytes:
    """The dotted spellings that would collide with `adds`. `log.level` beside our object `log` does not (ECS loggers write it)."""
    ours = {"log": ("offset", "file"), "host": ("name",)}.get(member, ())
    inner = [*ours, *(name.removeprefix(f"{member}.") for name in adds if name.startswith(f"{member}."))]
    if member in adds or not inner:
        return re.escape(member.encode()) + rb"\."
    return re.escape(member.encode()) + rb"\.(?:%b)" % b"|".join(re.escape(name.partition(".")[0].encode()) for name in inner)


_PLACE = re.compile(r"\(byte \d+\)|`\w+`")


def reason(error: Exception) -> str:
    """Why a record is no JSON object, in words that quote nothing of it."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    text = str(error)
    if isinstance(error, msgspec.ValidationError):
        found = _PLACE.findall(text)
        return f"not an object but {found[1].strip('`')}" if len(found) > 1 else "not an object"
    return text.removeprefix("JSON is malformed: ")
