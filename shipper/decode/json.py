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
there. Otherwise the rows are decoded one by one, and those that are no object are rewritten.
"""

from __future__ import annotations

import json
import re
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

import msgspec

from shipper.config.fields import ComponentConfig
from shipper.model.batch import row_bounds, split_rows
from shipper.model.columns import Columns, Values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from shipper.model.batch import SafeBatch

RESERVED = ("log", "host", "shipper")
"""Members that every document gets from us."""
_FIRST, _LAST, _BUT_LAST = itemgetter(0), itemgetter(-1), itemgetter(slice(0, -1))
_OPEN, _CLOSE = ord("{"), ord("}")
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

    def __init__(self, _config: Config, reads: Sequence[str], adds: Sequence[str]) -> None:
        """`reads` are the fields wanted as columns, `adds` the top-level members that stages and frames splice."""
        self._reads = tuple(dict.fromkeys(reads))
        self._clashing = tuple(dict.fromkeys((*RESERVED, *adds)))
        self._noticed = frozenset((*self._clashing, _STAMP))
        members = dict.fromkeys((*self._reads, *(name.split(".")[0] for name in self._reads), *self._clashing, _STAMP))
        self._names = {member: f"m{number}" for number, member in enumerate(members)}
        self._row = self._struct(members)
        self._decoder = msgspec.json.Decoder(self._row)
        wanted = {*self._reads, *(name.split(".")[0] for name in self._reads), _STAMP}
        self._slim_decoder = msgspec.json.Decoder(self._struct([member for member in members if member in wanted]))
        self._clash_decoder = msgspec.json.Decoder(self._struct(self._clashing, msgspec.Raw))
        self._getters: dict[str, Callable[[list[Any]], Values]] = {name: self._getter(name) for name in self._reads}
        self._dotted = re.compile(rb'"(?:%b)' % b"|".join(_dotted(member) for member in self._clashing))
        self._clash_getters = [attrgetter(self._names[member]) for member in self._clashing]
        self._stamp_getter = attrgetter(self._names[_STAMP])

    def _struct(self, members: Iterable[str], kind: type = object) -> Any:
        """A type that takes these members of a record and passes over the others."""
        return msgspec.defstruct(
            "Row",
            [(self._names[name], kind, msgspec.UNSET if name in self._noticed else None) for name in members],
            rename={self._names[name]: name for name in members},
            gc=False,
        )

    def _getter(self, name: str) -> Callable[[list[Any]], Values]:
        direct = attrgetter(self._names[name])
        if name in self._noticed:
            return lambda rows: _none_for_unset(list(map(direct, rows)))
        if "." not in name:
            return lambda rows: list(map(direct, rows))
        outer, *path = name.split(".")
        whole = attrgetter(self._names[outer])

        def reach(rows: list[Any]) -> Values:
            return [dotted if (dotted := direct(row)) is not None else within(whole(row), path) for row in rows]

        return reach

    def decode(self, batch: SafeBatch) -> tuple[Columns, set[int]]:
        """Return the columns, with the rows' origin, and the odd rows. Never raises for what a record holds."""
        rows = batch.rows if batch.rows is not None else split_rows(batch.block, batch.ends)
        decoded = self._decode_fast(batch, rows)
        flags: dict[int, tuple[str, ...]] = {}
        if decoded is not None:
            rows = list(map(_BUT_LAST, rows))
        else:
            rows, decoded, flags = self._decode_carefully(rows)
        columns = Columns(batch.stream.id, rows, _Fields(self._getters, decoded))
        columns.starts, columns.stops = batch.starts, batch.stops
        columns.flags = {row: (*batch.flags.get(row, ()), *flags.get(row, ())) for row in batch.flags.keys() | flags.keys()}
        return columns, self._odd(batch, rows, decoded)

    def _odd(self, batch: SafeBatch, rows: list[bytes], decoded: list[Any]) -> set[int]:
        """Rows that cannot take a splice: a member of ours is there already, also spelt with dots, or there is none at all."""
        odd: set[int] = set()
        marks = batch.marks | _marks_of_edits(batch) if batch.edits else batch.marks
        if not marks.isdisjoint(("clash", "escapes")):
            # The slim rows do not have these members; those of the careful way do.
            full = decoded if isinstance(decoded[0], self._row) else self._clash_decoder.decode_lines(batch.block)
            for getter in self._clash_getters:
                odd.update(row for row, value in enumerate(map(getter, full)) if value is not msgspec.UNSET)
        if not marks.isdisjoint(("stamped", "escapes")):
            # There, but null: the column cannot tell it from one that is not there.
            odd.update(row for row, value in enumerate(map(self._stamp_getter, decoded)) if value is None)
        if "dotted" in marks:
            odd.update(number for number, row in enumerate(rows) if self._dotted.search(row))
        if "spaced" in marks or b"{" in rows:
            odd.update(number for number, row in enumerate(rows) if not row[1:].strip())
        return odd

    @property
    def guards(self) -> dict[str, bytes]:
        """Patterns the gate looks for on its way, so that `decode` need not: see `_odd`.

        `escapes` stands for names that are written with escapes, which the other patterns do not see.
        """
        names = b"|".join(re.escape(member.encode()) for member in self._clashing)
        return {
            "clash": rb'"(?:%b)"\s*:' % names,
            "dotted": self._dotted.pattern,
            "stamped": rb'"@timestamp"',
            "spaced": rb"\{[ \t\r\n]",
            "escapes": rb"\\u00[0-7]",
        }

    def _decode_fast(self, batch: SafeBatch, rows: list[bytes]) -> list[Any] | None:
        """The whole block in one call; None where it cannot be trusted."""
        if batch.ends is not None:
            return None
        try:
            if bytes(map(_FIRST, rows)).count(_OPEN) != batch.count or bytes(map(_LAST, rows)).count(_CLOSE) != batch.count:
                return None
            decoded: list[Any] = self._slim_decoder.decode_lines(batch.block)
        except (IndexError, msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return None
        return decoded if len(decoded) == batch.count else None

    def _decode_carefully(self, split: list[bytes]) -> tuple[list[bytes], list[Any], dict[int, tuple[str, ...]]]:
        """Row by row, with rows that are no object rewritten."""
        rows: list[bytes] = []
        decoded: list[Any] = []
        flags: dict[int, tuple[str, ...]] = {}
        for number, row in enumerate(split):
            text = row.strip(b" \t\r\n")
            try:
                value = self._decoder.decode(text)
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
                text, value, marks = self._decode_refused(row, text, error)
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


class _Fields(dict[str, Values]):
    """Columns by name, each made when it is first asked for."""

    def __init__(self, getters: Mapping[str, Callable[[list[Any]], Values]], decoded: list[Any]) -> None:
        super().__init__()
        self._getters, self._decoded = getters, decoded

    def __missing__(self, name: str) -> Values:
        self[name] = self._getters[name](self._decoded)
        return self[name]


def _marks_of_edits(batch: SafeBatch) -> set[str]:
    """Marks of what the gate wrote: it looked for the guards before. Its marker has a member of ours; a row may be emptied."""
    marks = set()
    for position, gained in batch.edits:
        if batch.block.startswith(b'{"shipper":', position):
            marks.add("clash")
        if gained < 0:
            start, end = row_bounds(batch.block, batch.ends, position)
            if not batch.block[start + 1 : end - 1].strip():
                marks.add("spaced")
    return marks


def _none_for_unset(values: list[Any]) -> list[Any]:
    """What is not there reads as None."""
    absent = values.count(msgspec.UNSET)
    if absent == len(values):
        return [None] * absent
    return [None if value is msgspec.UNSET else value for value in values] if absent else values


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _DIGITS_MAX else float(digits)


def _no_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON


def _dotted(member: str) -> bytes:
    """The dotted spellings that would collide. `log.level` beside our object `log` does not (ECS loggers write it)."""
    ours = {"log": rb"log\.(?:offset|file)", "host": rb"host\.name"}
    return ours.get(member) or re.escape(member.encode()) + rb"\."


def within(value: object, path: Sequence[str]) -> object:
    """Reach into nested objects; None where the way ends."""
    for step in path:
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value


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
