"""JSON: columns from records that are JSON objects, decoded only as far as the configuration reads them.

RULES
- After decoding every row is one JSON object on one line, held without its last brace, so that a fragment can be appended.
- A row that is no JSON object becomes `{"message": TEXT}`, flagged `parse_error:WHY`, and is never lost. WHY never quotes the record.
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
there. Where some rows do not look so, the others are read so, and those are decoded one by one, as all are where the counts do
not agree. How rows begin and end the gate sees on its way (`guards`), at a tenth of what it costs to look at each.
"""

from __future__ import annotations

import json
import re
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from shipper.config.fields import ComponentConfig
from shipper.decode.decoder import RESERVED, Reading, as_columns
from shipper.decode.members import MemberFields, Members
from shipper.decode.nested import exchange, guard, unnest
from shipper.model.batch import split_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shipper.model.batch import SafeBatch
    from shipper.model.columns import Columns, Values

_OPEN = itemgetter(slice(0, -2))
"""A line without its last brace and newline."""
_STAMP = "@timestamp"
_PAIR = rb"u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPE = re.compile(rb"\\(?:%b|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)" % _PAIR, re.DOTALL)
"""An escape; the group is a lone surrogate."""
_FIRST = re.compile(rb"[ \t\r]*+\{")
_BEGUN = re.compile(rb"\n[ \t\r]*+\{")
"""Where an object may begin: first, or with a newline before it, by which it is found."""
_BEGINNINGS = b'{["-0123456789tfn'
"""How JSON begins."""
_DIGITS_MAX = 4300
"""Digits of an integer that Python reads."""


class Json:
    """JSON records, one object each. What is no object is kept as text, flagged."""

    class Config(ComponentConfig):
        """Settings of json."""

        nested: list[str] = msgspec.field(default_factory=list)
        """Fields whose text may be a JSON object itself, such as `payload`: it becomes that object. Other texts stay as they are; an
        index takes a field as an object or as text, not both. Costs some microseconds for each such text."""

    timeline = None
    speaks_ecs = False

    def __init__(self, config: Config, reads: Sequence[str], adds: Sequence[str], spare: Sequence[str] = ()) -> None:
        """`reads` are the fields wanted as columns, `adds` the members that stages and frames splice (`client.geo`).

        `spare` are those of `reads` that are rarely asked for: they are decoded apart, when they are.
        """
        self._nested = tuple(dict.fromkeys(config.nested))
        self._clashing = tuple(dict.fromkeys((*RESERVED, *(name.partition(".")[0] for name in adds))))
        self._noticed = frozenset((*self._clashing, _STAMP))
        asked = dict.fromkeys((*reads, *self._nested))
        members = dict.fromkeys((*asked, *(name.split(".")[0] for name in asked), *self._clashing, _STAMP))
        self._names = {member: f"m{number}" for number, member in enumerate(members)}
        self._row = self._struct(members)
        self._decoder = msgspec.json.Decoder(self._row)
        often = [name for name in asked if name not in spare]
        wanted = {*often, *(name.split(".")[0] for name in often)}
        self._slim_decoder = msgspec.json.Decoder(self._struct([member for member in members if member in wanted]))
        self._rest_decoder = msgspec.json.Decoder(self._struct([member for member in members if member not in wanted]))
        self._dotted = re.compile(rb'"(?:%b)' % b"|".join(_dotted(member, adds) for member in self._clashing))
        self._nesting = f"nested:{','.join(self._nested)}"
        self._sought = [(name, re.compile(pattern)) for name, pattern in self.guards.items()]

    def _struct(self, members: Iterable[str]) -> Any:
        """A type that takes these members of a record and passes over the others."""
        return msgspec.defstruct(
            "Row",
            [(self._names[name], object, msgspec.UNSET if name in self._noticed else None) for name in members],
            rename={self._names[name]: name for name in members},
            gc=False,
        )

    @property
    def guards(self) -> dict[str, bytes]:
        """Patterns the gate looks for on its way, so that `decode` need not: see `_odd`.

        `escapes` stands for names that are written with escapes, which the other patterns do not see; `ragged` for rows that do
        not end as an object does, or that another follows which does not begin as one.
        """
        names = b"|".join(re.escape(member.encode()) for member in self._clashing)
        nested = {self._nesting: guard(self._nested)} if self._nested else {}
        return {
            "clash": rb'"(?:%b)"\s*:' % names,
            "dotted": self._dotted.pattern,
            "stamped": rb'"@timestamp"',
            "spaced": rb"\{[ \t\r\n]|\{\}\n",
            "escapes": rb"\\u00[0-7]",
            "ragged": rb"[^}]\n|\n[^{]",
            **nested,
        }

    def decode(self, batch: SafeBatch) -> Columns:
        """Return the columns, with the rows' origin, and the odd rows marked. Never raises for what a record holds."""
        reading = self.read_batch(batch)
        refused: dict[int, bytes] = {}
        if reading.refused:
            lines = _lines(batch)
            refused = {row: lines[row][:-1] for row in reading.refused}
            for row, line in refused.items():
                reading.refused[row] = reading.refused[row] or self._why(line)
        return as_columns(batch, refused, reading, self._clashing)

    def read_batch(self, batch: SafeBatch) -> Reading:
        """Read the lines of a batch; see `Decoder.read_batch`. What is plainly no object is refused without a word."""
        if batch.ends is None and not (_FIRST.match(batch.block) or _BEGUN.search(batch.block)):
            return _refusal(batch.count)
        lines = _lines(batch)
        marks = batch.marks | _marks_of_changes(batch.changed, lines) if batch.changed else batch.marks
        reading = self._read(lines, batch.block if batch.ends is None else None, marks)
        reading.marks, reading.changed = batch.marks, [*batch.changed, *reading.changed]
        return reading

    def read(self, lines: Sequence[bytes], marks: frozenset[str] | None = None) -> Reading:
        """Read some lines by themselves; see `Decoder.read`."""
        block = b"\n".join([*lines, b""])
        rows = split_lines(block, None)
        sought = frozenset(name for name, pattern in self._sought if pattern.search(block)) if marks is None else marks
        is_plain = len(rows) == len(lines)
        reading = self._read(rows if is_plain else [line + b"\n" for line in lines], block if is_plain else None, sought)
        reading.marks = marks
        return reading

    def _read(self, lines: list[bytes], block: bytes | None, marks: frozenset[str]) -> Reading:
        """Read lines, each with its newline; `block` is all of them, None where they hold newlines themselves."""
        found = self._read_fast(lines, block, marks)
        if found is None:
            found = self._read_mixed(lines, block)
            marks |= {"spaced"}  # what was around a row is gone, so that the guard did not see it as it is now
        raw = Members(found.decoded, self._names, lambda: self._decode_rest(lines, block))
        changed = [*found.flags, *found.refused]
        if self._nested and not marks.isdisjoint((self._nesting, "escapes")):
            changed += self._unnest(found.rows, raw)
        odd = self._odd(marks, found.rows, raw).difference(found.refused)
        stamped = not marks.isdisjoint(("stamped", "escapes"))
        fields = MemberFields(raw, self._noticed)
        return Reading(found.rows, fields, found.refused, odd, found.flags, stamped=stamped, changed=changed)

    def _read_fast(self, lines: list[bytes], block: bytes | None, marks: frozenset[str]) -> _Found | None:
        """The whole block in one call; None where it cannot be trusted."""
        if block is None or "ragged" in marks or not block.startswith(b"{"):
            return None
        decoded = _decoded_lines(self._slim_decoder, block, len(lines))
        return None if decoded is None else _Found(list(map(_OPEN, lines)), decoded, {}, {})

    def _decode_rest(self, lines: list[bytes], block: bytes | None) -> list[Any]:
        """The members that were passed over, of a block that was decoded in one call."""
        rest = None if block is None else _decoded_lines(self._rest_decoder, block, len(lines))
        return self._read_mixed(lines, None).decoded if rest is None else rest  # a number too large, say

    def _read_mixed(self, lines: list[bytes], block: bytes | None) -> _Found:
        """Those rows in one call that look like objects, and the others row by row, rewritten where they must be."""
        found = _Found([b""] * len(lines), [self._row()] * len(lines), {}, {})
        left = list(range(len(lines)))
        if block is not None:
            likely = [row for row, line in enumerate(lines) if line.startswith(b"{") and line.endswith(b"}\n")]
            decoded = _decoded_lines(self._decoder, b"".join([lines[row] for row in likely]), len(likely))
            for row, value in zip(likely, decoded or (), strict=decoded is not None):
                found.rows[row], found.decoded[row] = lines[row][:-2], value
            left = sorted({*left}.difference(likely)) if decoded is not None else left
        objects = [row for row in left if lines[row].lstrip(b" \t\r\n").startswith(b"{")]
        if len(objects) < len(left):
            found.refused.update(dict.fromkeys(sorted({*left}.difference(objects)), ""))
        for row in objects:
            self._read_alone(found, row, lines[row])
        return found

    def _read_alone(self, found: _Found, row: int, line: bytes) -> None:
        """One row that begins as an object does; it is refused where it is none."""
        text = line.strip(b" \t\r\n")
        try:
            value = self._decoder.decode(text)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            rewritten = None if isinstance(error, RecursionError) else self._rewritten(text)
            if rewritten is None:
                found.refused[row] = reason(error)
                return
            text, value, flags = rewritten
            if flags:
                found.flags[row] = flags
        # Line ends stand between members only: inside a text they would not have decoded.
        found.rows[row], found.decoded[row] = text.replace(b"\n", b" ")[:-1], value

    def _rewritten(self, text: bytes) -> tuple[bytes, Any, tuple[str, ...]] | None:
        """Text, members and flags of an object that `msgspec` refuses; None where it is no JSON."""
        sound = _ESCAPE.sub(lambda escape: rb"\ufffd" if escape[1] else escape[0], text)
        try:
            record = json.loads(sound.decode(), parse_int=_integer, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return None
        members = {attribute: record[name] for name, attribute in self._names.items() if name in record}
        return sound, self._row(**members), ("lone_surrogate",) if sound != text else ()

    def _why(self, line: bytes) -> str:
        """Why a line is refused that is plainly no object."""
        text = line.strip(b" \t\r\n")
        if text[:1] not in _BEGINNINGS:
            return "invalid character (byte 0)"
        try:
            self._decoder.decode(text)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            return reason(error)
        raise AssertionError("an object was refused")

    def _unnest(self, rows: list[bytes], raw: Members) -> list[int]:
        """Make objects of the texts that are some; the rows that were changed."""
        changed: list[int] = []
        for name in self._nested:
            objects = unnest(rows, MemberFields(raw, self._noticed)[name], name)
            exchange(raw, name, objects)
            changed += objects
        return changed

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


def _refusal(count: int) -> Reading:
    """Of so many lines of which none is an object."""
    refused = dict.fromkeys(range(count), "")
    return Reading([b""] * count, _Nothing(count), refused, changed=refused)


class _Nothing(dict[str, "Values"]):
    """Columns of lines of which none is an object."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count

    def __missing__(self, name: str) -> Values:
        self[name] = [None] * self._count
        return self[name]


class _Found(NamedTuple):
    """What became of some lines, one item a line."""

    rows: list[bytes]
    decoded: list[Any]
    """Structs, all of one type."""
    refused: dict[int, str]
    flags: dict[int, tuple[str, ...]]


def _lines(batch: SafeBatch) -> list[bytes]:
    """The rows with their newlines."""
    return batch.lines if batch.lines is not None else split_lines(batch.block, batch.ends)


def _decoded_lines(decoder: Any, block: bytes, count: int) -> list[Any] | None:
    """A struct for each of so many lines; None where it is not so."""
    try:
        decoded: list[Any] = decoder.decode_lines(block)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    return decoded if len(decoded) == count else None


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
