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
- The lines behind the first of a record go where `further` says: by default they are put to the member `rest`, behind a newline.
- A format that is read much has `quick` besides: it makes rows of the usual lines by the block, and leaves the others to `parse`.
  Both say the same of a line, so that it never depends on what stands beside it.

THEORY
A column is escaped in one piece, by the encoder that JSON has anyway, and numbers are decoded as one JSON array, which also proves
that they are numbers. A row is one join of constants and columns. Members that are missing in some rows are fragments, each made
once and kept as long as there is room. No Python statement per row where lines are of the format.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from itertools import compress, repeat
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self, TypeVar

import msgspec
import orjson

from shipper.decode.decoder import RESERVED, Reading, as_columns, unwrapped
from shipper.model.batch import split_rows
from shipper.model.columns import Columns, Values, within

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from shipper.decode.timestamp import Timeline
    from shipper.model.batch import SafeBatch

STAMP = "@timestamp"
_OURS = ("log.offset", "log.file", "host.name")
_WRAPPED = b'{"message":"'
_NUMERALS = b"+-.0123456789Ee,nul"
_KEPT_MAX, _KEPT_BYTES_MAX = 4096, 256
"""Values kept in a `Remembered`; and how long one of them may be."""
T = TypeVar("T")


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


class Quick(msgspec.Struct):
    """What a format made of the usual ones among some lines."""

    rows: list[bytes]
    """JSON objects without their last brace, of the lines that were taken."""
    fields: Mapping[str, Values]
    """Their columns by name, made when they are asked for (see `Lazy`)."""
    left: Sequence[int] = ()
    """The lines that were not taken, in order."""


class Lines(Sequence[bytes]):
    """The lines of a block, split when they are first looked at one by one; `text` has a newline behind each."""

    def __init__(self, text: bytes, count: int) -> None:
        self.text, self._count = text, count
        self._split: list[bytes] = []

    @classmethod
    def of(cls, lines: Sequence[bytes]) -> Self:
        """Any lines; those that are put together already stay so."""
        return lines if isinstance(lines, cls) else cls(b"\n".join([*lines, b""]), len(lines))

    def _lines(self) -> list[bytes]:
        if not self._split:
            self._split = split_rows(self.text, None)
        return self._split

    def __len__(self) -> int:
        """How many there are."""
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        """One after the other."""
        return iter(self._lines())

    def __getitem__(self, at: Any) -> Any:
        """One of them, or some."""
        return self._lines()[at]


class Lazy(dict[str, Values]):
    """Columns by name, each made when it is first asked for; `other` makes those that have no maker."""

    def __init__(self, makers: Mapping[str, Callable[[], Values]], other: Callable[[str], Values]) -> None:
        super().__init__()
        self._makers, self._other = makers, other

    def __missing__(self, name: str) -> Values:
        """Make the column; that of a name nobody knows is empty."""
        maker = self._makers.get(name)
        self[name] = maker() if maker is not None else self._other(name)
        return self[name]


class TextDecoder(ABC):
    """Base of text formats; see the module."""

    members: Sequence[Member]
    timeline: Timeline | None = None
    speaks_ecs = True
    guards: Mapping[str, bytes] = {}
    rest: ClassVar[str] = "message"
    """The member that takes the further lines of a record."""
    begins: re.Pattern[bytes] | None = None
    """What all lines of the format have, at their beginning, behind a newline, or elsewhere: without it all are refused at a glance."""
    refusal: ClassVar[str] = "another format"
    """Why they are refused."""

    def __init__(self, _config: Any, reads: Sequence[str], adds: Sequence[str], _spare: Sequence[str] = ()) -> None:
        """See `decoder.py` for the arguments."""
        self._reads = frozenset(reads)
        self._typed = _Typed(self._reads)
        self._adds = tuple(dict.fromkeys((*RESERVED, *_OURS, *adds)))
        self._clashing = frozenset(name.partition(".")[0] for name in self._adds)
        self._kinds = {member.name: member.kind for member in self.members}
        self._fragments = {member.name: _fragments(member) for member in self.members}
        self._always_odd = any(self._clashes(member.name) for member in self.members)

    @abstractmethod
    def parse(self, lines: Sequence[bytes]) -> Parsed:
        """Read the lines, none of which has a newline. Never raises for what they say."""
        ...

    def quick(self, _lines: Sequence[bytes]) -> Quick | None:
        """Read the usual ones of the lines, at least one, as `parse` would; None where that is no gain."""
        return None

    def further(self, text: bytes) -> Mapping[str, bytes]:
        """What the further lines of a record say, by member.

        It is put behind what the first line says of the message, or of `rest`; elsewhere the first line counts.
        """
        return {self.rest: text}

    def decode(self, batch: SafeBatch) -> Columns:
        """Columns of a batch; see `Decoder.decode`."""
        lines = _lines(batch)
        return as_columns(batch, lines, self._read(lines), self._clashing)

    def read_batch(self, batch: SafeBatch) -> Reading:
        """Read the lines of a batch; see `Decoder.read_batch`."""
        return self._read(_lines(batch))

    def read(self, lines: Sequence[bytes], marks: frozenset[str] | None = None) -> Reading:  # noqa: ARG002
        """Read some lines by themselves; see `Decoder.read`."""
        return self._read(Lines.of(lines))

    def _read(self, lines: Lines) -> Reading:
        usual, wrapped = _apart(lines)
        if self.begins is not None and not self.begins.search(
            b"\n".join([b"", usual.text, *(head for head, _ in wrapped.values())])
        ):
            return _refusal(dict.fromkeys(range(len(lines)), self.refusal))
        quick = self.quick(usual) if len(usual) else None
        if quick is None:
            heads = list(lines)
            for row, (head, _) in wrapped.items():
                heads[row] = head
            return self._read_plainly(heads, {row: rest for row, (_, rest) in wrapped.items()})
        plain: Sequence[int] = list(wrapped)
        if quick.left:
            places = list(compress(range(len(lines)), _mask(len(lines), plain))) if plain else range(len(lines))
            plain = sorted([*plain, *(places[row] for row in quick.left)])
        if not plain:
            # Members are the format's own, none of them null: there is nothing for a guard to see.
            return Reading(quick.rows, quick.fields, {}, self._odd(len(lines), (), ()), marks=frozenset())
        heads = [wrapped[row][0] if row in wrapped else lines[row] for row in plain]
        left = self._read_plainly(heads, {place: wrapped[row][1] for place, row in enumerate(plain) if row in wrapped})
        rows = woven(quick.rows, left.rows, plain)
        fields = Lazy({}, lambda name: woven(quick.fields[name], left.fields[name], plain))
        odd = set(range(len(rows))) if self._always_odd else {plain[row] for row in left.odd}
        return Reading(rows, fields, {plain[row]: why for row, why in left.refused.items()}, odd)

    def _read_plainly(self, heads: Sequence[bytes], rests: Mapping[int, bytes]) -> Reading:
        """Read lines by `parse`. `rests` are the further lines of some."""
        parsed = self.parse(heads)
        if len(parsed.refused) == len(heads):  # nothing of them will be looked at
            return _refusal(parsed.refused)
        columns = dict(parsed.columns)
        if rests:
            self._put(columns, rests, len(heads))
        numbers = {name: _numbers(columns[name], parsed.refused) for name, kind in self._kinds.items() if kind == "number"}
        rows = self._rows(columns, parsed.extras, len(heads))
        odd = self._odd(len(heads), parsed.extras or (), parsed.extra_names)
        first = self.members[0].name  # there in every line, be it empty
        makers = {name: partial(_strings if name == first else texts, values) for name, values in columns.items()}
        fields = Lazy(makers, self._others(parsed, rows))
        fields.update(numbers)
        return Reading(rows, fields, parsed.refused, odd)

    def _others(self, parsed: Parsed, rows: Sequence[bytes]) -> Callable[[str], Values]:
        """The columns of what is no member of the format."""
        if parsed.extra_fields is not None:
            made, names = parsed.extra_fields, frozenset(parsed.extra_names)
            return lambda name: made(name) if name in names else [None] * len(rows)
        if parsed.extras is None:
            return lambda _name: [None] * len(rows)
        sound = [b"{" if row in parsed.refused else text for row, text in enumerate(rows)] if parsed.refused else rows
        return self.decoded(sound, parsed.extra_names)

    def decoded(self, rows: Sequence[bytes], names: Collection[str] | None = None) -> Callable[[str], Values]:
        """Columns from rows that are made already: all that are wanted at once, when the first is asked for.

        `names` are those that rows may have besides the format's members.
        """
        there = frozenset((*self._kinds, *(name.partition(".")[0] for name in names or ()), *(names or ())))
        found: dict[str, Values] = {}

        def column(name: str) -> Values:
            if name not in there and name.partition(".")[0] not in there:
                return [None] * len(rows)
            if name not in found:
                found.update((self._typed if name in self._reads else _Typed([name])).columns(rows))
            return found[name]

        return column

    def _put(self, columns: dict[str, Sequence[bytes]], rests: Mapping[int, bytes], count: int) -> None:
        """Put further lines to the values of their records."""
        changed: dict[str, list[bytes]] = {}
        for row, rest in rests.items():
            for name, text in self.further(rest).items():
                if name not in changed:
                    changed[name] = list(columns.get(name) or [b""] * count)
                    columns[name] = changed[name]
                value = changed[name][row]
                if not value or name in (self.rest, self.members[0].name):
                    changed[name][row] = b"%b\n%b" % (value, text) if value else text

    def _odd(self, count: int, extras: Sequence[bytes], names: Collection[str]) -> set[int]:
        """Rows that have a member where documents have something from us; `names` are those that the lines themselves give."""
        if self._always_odd:
            return set(range(count))
        marks = [b",%b:" % orjson.dumps(name) for name in names if self._clashes(name)]
        return {row for row, text in enumerate(extras) if any(mark in text for mark in marks)} if marks else set()

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
            if member.kind == "text":
                values = escaped(values)
            if not pieces or all(values):
                quote = b"" if member.kind == "number" else b'"'
                pieces += [repeat(b'%b"%b":%b' % (between, member.name.encode(), quote)), values]
                between = quote + b","
            elif any(values):
                pieces += [repeat(between[:-1]), map(self._fragments[member.name].__getitem__, values)]
                between = b","
        pieces.append(repeat(between[:-1]))
        if extras is not None:
            pieces.append(extras)
        return list(map(b"".join, zip(*pieces, strict=False))) if count else []


def _lines(batch: SafeBatch) -> Lines:
    """The rows of a batch, those of several lines as frames write them."""
    if batch.ends is None:
        return Lines(batch.block, batch.count)
    rows = split_rows(batch.block, batch.ends)
    return Lines.of([orjson.dumps({"message": row.decode("utf-8", "replace")}) if b"\n" in row else row for row in rows])


def _refusal(refused: dict[int, str]) -> Reading:
    """Of lines none of which is of the format."""
    return Reading([b""] * len(refused), Lazy({}, lambda _name: [None] * len(refused)), refused)


class Remembered(dict[bytes, T]):
    """A value -> what `make` makes of it. Bounded: long values are not kept, and everything is forgotten when full (1 MiB)."""

    def __init__(self, make: Callable[[bytes], T]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, value: bytes) -> T:
        """Make it."""
        made = self._make(value)
        if len(value) <= _KEPT_BYTES_MAX:
            if len(self) >= _KEPT_MAX:
                self.clear()
            self[value] = made
        return made


def _fragments(member: Member) -> Remembered[bytes]:
    """A value, escaped -> `,"name":"value"`; nothing for an empty one."""
    pattern = (b',"%b":%%b' if member.kind == "number" else b',"%b":"%%b"') % member.name.encode().replace(b"%", b"%%")
    return Remembered(lambda value: pattern % value if value else value)


class _Typed:
    """Decodes the members of rows that are wanted, all in one pass.

    `a.b` is the member `a.b`, or else `b` in the object `a`.
    """

    def __init__(self, names: Collection[str]) -> None:
        self.names = tuple(names)
        self._members = tuple(dict.fromkeys((*names, *(name.partition(".")[0] for name in names))))
        kind = msgspec.defstruct(
            "Row",
            [(f"m{number}", object, None) for number in range(len(self._members))],
            rename={f"m{number}": member for number, member in enumerate(self._members)},
            gc=False,
        )
        self._decoder = msgspec.json.Decoder(kind)

    def columns(self, rows: Sequence[bytes]) -> dict[str, Values]:
        """All columns, by name."""
        if not rows:
            return dict.fromkeys(self.names, ())
        structs = self._decoder.decode_lines(b"}\n".join([*rows, b""]))
        found = dict(zip(self._members, zip(*map(msgspec.structs.astuple, structs), strict=True), strict=True))
        return {name: self._reached(found, name) for name in self.names}

    @staticmethod
    def _reached(found: Mapping[str, Values], name: str) -> Values:
        outer, dot, inner = name.partition(".")
        if not dot or dict not in set(map(type, found[outer])):
            return found[name]
        return [
            there if there is not None or type(around) is not dict else within(around, inner.split("."))
            for there, around in zip(found[name], found[outer], strict=True)
        ]


def texts(values: Sequence[bytes]) -> Values:
    """Texts of a column; None for what is empty."""
    found = _strings(values)
    return [text or None for text in found] if "" in found else found


def _strings(values: Sequence[bytes]) -> list[str]:
    found = b"\n".join(values).decode("utf-8", "replace").split("\n") if values else []
    if len(found) != len(values):  # further lines of a record were put to it
        found = [value.decode("utf-8", "replace") for value in values]
    return found


def escaped(values: Sequence[bytes]) -> Sequence[bytes]:
    """The values as they stand between the quotes of a JSON string."""
    joined = b"\n".join(values)
    try:
        text, whole = joined.decode(), True
    except UnicodeDecodeError:
        text, whole = joined.decode("utf-8", "replace"), False
    dumped = orjson.dumps(text)
    if whole and len(dumped) == len(joined) + 1 + len(values):  # two quotes, and a backslash before each newline
        return values
    # A NUL stands for an escaped backslash meanwhile: JSON has none itself, and what is left of `\n` are newlines.
    found = dumped[1:-1].replace(rb"\\", b"\0").replace(rb"\n", b"\n").replace(b"\0", rb"\\").split(b"\n")
    if len(found) == len(values):
        return found
    return [orjson.dumps(value.decode("utf-8", "replace"))[1:-1] for value in values]  # further lines of a record were put to it


def woven(usual: Sequence[Any], others: Sequence[Any], places: Sequence[int]) -> list[Any]:
    """One list of both: `others` stand at `places` (in order), the usual ones between them."""
    found: list[Any] = []
    taken = 0
    for number, place in enumerate(places):
        found += usual[taken : place - number]
        taken = place - number
        found.append(others[number])
    found += usual[taken:]
    return found


def _mask(count: int, without: Sequence[int]) -> bytearray:
    """One byte a row, 0 for those in `without`: for `compress`."""
    mask = bytearray(b"\1") * count
    for row in without:
        mask[row] = 0
    return mask


def _numbers(values: Sequence[bytes], refused: dict[int, str]) -> Values:
    """A column of numbers; None for what is empty. Refuses lines whose value is no number."""
    if not any(values):
        return [None] * len(values)
    joined = b",".join(values if all(values) else [value or b"null" for value in values])
    try:
        found: list[Any] = [] if joined.translate(None, _NUMERALS) else orjson.loads(b"[%b]" % joined)
    except orjson.JSONDecodeError:
        found = []
    if len(found) == len(values) and found.count(None) == values.count(b""):
        return found
    return [_number(row, value, refused) for row, value in enumerate(values)]


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


def _apart(lines: Lines) -> tuple[Lines, dict[int, tuple[bytes, bytes]]]:
    """Records of one line, and by row (first line, further ones) of the others."""
    wrapped: dict[int, tuple[bytes, bytes]] = {}
    kept: list[bytes] = []
    text, row, counted, taken = lines.text, 0, 0, 0
    begin = 0 if text.startswith(_WRAPPED) else text.find(b"\n" + _WRAPPED) + 1 or -1
    while begin >= 0:
        row += text.count(b"\n", counted, begin)
        counted, end = begin, text.index(b"\n", begin)
        head, *rest = unwrapped(text[begin:end])
        if rest:
            wrapped[row] = head, rest[0]
            kept.append(text[taken:begin])
            taken = end + 1
        begin = text.find(b"\n" + _WRAPPED, begin) + 1 or -1
    if not wrapped:
        return lines, wrapped
    return Lines(b"".join([*kept, text[taken:]]), len(lines) - len(wrapped)), wrapped
