"""JSON: columns from records that are JSON objects, decoded only as far as the configuration reads them.

RULES
- After decoding every row is one JSON object on one line, held without its last brace, so that a fragment can be appended.
- A row that is no JSON object becomes `{"message": TEXT, "shipper": {"parse_error": WHY}}` and is never lost. WHY never quotes
  the record.
- Fields are decoded as they are, whatever their type: a number where a string was expected is the stage's business.
- `name` reads the member `name`; `a.b` reads the member `a.b`, or else `b` inside the object `a`.
- Rows that have a member of a name that a document gets from us are `odd`: they are merged by value, not spliced
  (see `encode/document.py`), so that no document has a key twice.

THEORY
`msgspec`'s `decode_lines` into a Struct of the wanted fields reads a block in one call, but it is not about lines: blank rows
vanish, two objects on a line give two, a value may span lines. It is trusted where every row begins with `{` and ends with `}`
and the counts agree; two faults cannot cancel out then, since a value that goes on over a line end needs a comma or a colon
there. Otherwise the rows are decoded one by one, those that are no object are rewritten, and the block goes through again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import attrgetter, itemgetter
from typing import Any

import msgspec

from shipper.config.fields import ComponentConfig
from shipper.model.batch import SafeBatch
from shipper.model.columns import Columns, Values

RESERVED = ("log", "host", "shipper")
"""Members that every document gets from us."""
_FIRST, _LAST, _BUT_LAST = itemgetter(0), itemgetter(-1), itemgetter(slice(0, -1))
_OPEN, _CLOSE = ord("{"), ord("}")


class Json:
    """JSON records, one object each. What is no object is kept as text, flagged."""

    class Config(ComponentConfig):
        """No settings."""

    def __init__(self, config: Config, reads: Sequence[str], adds: Sequence[str]) -> None:
        """`reads` are the fields wanted as columns, `adds` the top-level members that stages and frames splice."""
        self._reads = tuple(dict.fromkeys(reads))
        self._clashing = tuple(dict.fromkeys((*RESERVED, *adds)))
        members = dict.fromkeys((*self._reads, *(name.split(".")[0] for name in self._reads), *self._clashing))
        self._names = {member: f"m{number}" for number, member in enumerate(members)}
        row = msgspec.defstruct(
            "Row",
            [(attribute, object, msgspec.UNSET if name in self._clashing else None) for name, attribute in self._names.items()],
            rename={attribute: member for member, attribute in self._names.items()},
            gc=False,
        )
        self._decoder = msgspec.json.Decoder(row)
        self._columns: list[tuple[str, Callable[[list[Any]], Values]]] = [(name, self._getter(name)) for name in self._reads]
        self._dotted = re.compile(rb'"(?:%b)' % b"|".join(_dotted(member) for member in self._clashing))
        self._clash_getters = [attrgetter(self._names[member]) for member in self._clashing]

    def _getter(self, name: str) -> Callable[[list[Any]], Values]:
        direct = attrgetter(self._names[name])
        if name in self._clashing:
            return lambda rows: [None if value is msgspec.UNSET else value for value in map(direct, rows)]
        if "." not in name:
            return lambda rows: list(map(direct, rows))
        outer, *path = name.split(".")
        whole = attrgetter(self._names[outer])

        def reach(rows: list[Any]) -> Values:
            return [dotted if (dotted := direct(row)) is not None else within(whole(row), path) for row in rows]

        return reach

    def decode(self, batch: SafeBatch) -> tuple[Columns, set[int]]:
        """Return the columns and the odd rows. Never raises for what a record holds."""
        rows, decoded, flags = self._decode_fast(batch.block, batch.count) if batch.ends is None else (None, [], {})
        if rows is None:
            rows, decoded, flags = self._decode_carefully(batch)
        columns = Columns(batch.stream.id, rows, {name: getter(decoded) for name, getter in self._columns})
        columns.flags = {row: (*batch.flags.get(row, ()), *flags.get(row, ())) for row in batch.flags.keys() | flags.keys()}
        return columns, self._odd(batch, rows, decoded)

    def _odd(self, batch: SafeBatch, rows: list[bytes], decoded: list[Any]) -> set[int]:
        """Rows that cannot take a splice: a member of ours is there already, also spelt with dots, or there is none at all."""
        odd: set[int] = set()
        for getter in self._clash_getters:
            values = list(map(getter, decoded))
            if values.count(msgspec.UNSET) != len(values):
                odd.update(row for row, value in enumerate(values) if value is not msgspec.UNSET)
        if "dotted" in batch.marks:
            odd.update(number for number, row in enumerate(rows) if self._dotted.search(row))
        if "spaced" in batch.marks or b"{" in rows:
            odd.update(number for number, row in enumerate(rows) if not row[1:].strip())
        return odd

    @property
    def guards(self) -> dict[str, bytes]:
        """Patterns the gate looks for on its way, so that `decode` need not: see `_odd`."""
        return {"dotted": self._dotted.pattern, "spaced": rb"\{[ \t\r]"}

    def _decode_fast(self, block: bytes, count: int) -> tuple[list[bytes] | None, list[Any], dict[int, tuple[str, ...]]]:
        """The whole block in one call; rows are None where it cannot be trusted."""
        rows = block.split(b"\n")
        rows.pop()
        try:
            if bytes(map(_FIRST, rows)).count(_OPEN) != count or bytes(map(_LAST, rows)).count(_CLOSE) != count:
                return None, [], {}
            decoded = self._decoder.decode_lines(block)
        except (IndexError, msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return None, [], {}
        return (list(map(_BUT_LAST, rows)), decoded, {}) if len(decoded) == count else (None, [], {})

    def _decode_carefully(self, batch: SafeBatch) -> tuple[list[bytes], list[Any], dict[int, tuple[str, ...]]]:
        """Row by row, with rows that are no object rewritten."""
        rows: list[bytes] = []
        decoded: list[Any] = []
        flags: dict[int, tuple[str, ...]] = {}
        for number, row in enumerate(split_rows(batch)):
            text = row.strip(b" \t\r\n")
            try:
                value = self._decoder.decode(text)
                if b"\n" in text:
                    text = text.replace(b"\n", b" ")  # between members only: inside a string it would not have decoded
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
                flags[number] = (f"parse_error:{reason(error)}",)
                text = msgspec.json.encode({"message": row.decode("utf-8", "replace")})
                value = self._decoder.decode(text)
            rows.append(text[:-1])
            decoded.append(value)
        return rows, decoded, flags


def _dotted(member: str) -> bytes:
    """The dotted spellings that would collide. `log.level` beside our object `log` does not (ECS loggers write it)."""
    ours = {"log": rb"log\.(?:offset|file)", "host": rb"host\.name"}
    return ours.get(member) or re.escape(member.encode()) + rb"\."


def split_rows(batch: SafeBatch) -> list[bytes]:
    """The rows of a block, without their newlines."""
    if batch.ends is None:
        return batch.block.split(b"\n")[:-1]
    starts = [0, *(end + 1 for end in batch.ends[:-1])]
    return [batch.block[start:end] for start, end in zip(starts, batch.ends, strict=True)]


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
