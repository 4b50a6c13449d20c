r"""Decoder: the contract of making columns from records. One decoder is one file in this package; its module name is its YAML type.

A decoder `access_log` is the class `AccessLog` in `access_log.py`, with a nested `Config(ComponentConfig)` and the constructor
`AccessLog(config, reads, adds, spare)`: `reads` are the fields wanted as columns, `adds` what stages and frames splice, `spare`
those of `reads` that are rarely asked for. It raises `model.errors.ComponentError` for settings that cannot work.

RULES
- After decoding every row is one JSON object on one line, held without its last brace, so that a fragment can be appended.
- Text formats name their members after ECS, written with dots (`"log.level":"ERROR"`, as the ECS loggers do), so that they stand
  beside the objects that documents get from us (`log`, `host`, `client`) without being merged with them.
- A row that is not of the format is never lost: it becomes `{"message": TEXT}`, flagged `parse_error:WHY`, and WHY quotes nothing
  of the record.
- A record of several lines comes from its frame as `{"message":"line\\nline"}`. A text format reads the first line and keeps the
  others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from shipper.model.columns import Columns, Values

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from shipper.decode.timestamp import Timeline
    from shipper.model.batch import SafeBatch

RESERVED = ("log", "host", "shipper")
"""Members that every document gets from us."""


class Reading(msgspec.Struct):
    """What a decoder makes of some lines, one item a line. Where a line is refused, what stands in its place means nothing."""

    rows: list[bytes]
    """JSON objects without their last brace."""
    fields: Mapping[str, Values]
    """The columns that were asked for, by name."""
    refused: dict[int, str]
    """Lines that are not of the format, and why, in words that quote nothing of them."""
    odd: set[int] = msgspec.field(default_factory=set)
    """See `Columns`, as for what follows."""
    flags: dict[int, tuple[str, ...]] = msgspec.field(default_factory=dict)
    stamped: bool = False
    marks: frozenset[str] | None = None
    changed: Collection[int] = ()


class Decoder(Protocol):
    """What the chain asks of a decoder, and `auto` of those it chooses among."""

    @property
    def timeline(self) -> Timeline | None:
        """Reads the column `@timestamp` of its records; None: as the pipeline says."""
        ...

    @property
    def speaks_ecs(self) -> bool:
        """Whether its rows have names of ECS; else `ecs: on` gives them some."""
        ...

    @property
    def guards(self) -> Mapping[str, bytes]:
        """Patterns the gate looks for on its way; those that fired in a block are named in `SafeBatch.marks`."""
        ...

    def decode(self, batch: SafeBatch) -> Columns:
        """Columns of a batch, with the origin of their rows and the odd ones marked. Never raises for what a record holds."""
        ...

    def read_batch(self, batch: SafeBatch) -> Reading:
        """Read the lines of a batch: for `auto`, whose first choice it is."""
        ...

    def read(self, lines: Sequence[bytes], marks: frozenset[str] | None = None) -> Reading:
        """Read some lines (without their newline) by themselves: for `auto`.

        `marks` are the guards that fired in the batch they are of; None: nobody knows.
        """
        ...


def as_columns(
    batch: SafeBatch, lines: Sequence[bytes] | Mapping[int, bytes], reading: Reading, clashing: Collection[str]
) -> Columns:
    """The columns of a batch whose rows, without newlines, are `lines`; those that were refused are kept as text.

    `lines` may be those that were refused alone. `clashing` are the top-level members that documents get from us.
    """
    fields: Mapping[str, Values] = reading.fields
    if reading.refused:
        messages = {row: as_message(lines[row]) for row in reading.refused}
        fields = _Patched(reading.fields, messages)
        for row, text in messages.items():
            reading.rows[row] = msgspec.json.encode({"message": text})[:-1]
        if "message" in clashing:
            reading.odd.update(reading.refused)
    columns = Columns(batch.stream.id, reading.rows, fields if isinstance(fields, dict) else dict(fields))
    columns.starts, columns.stops = batch.starts, batch.stops
    columns.odd, columns.stamped = reading.odd, reading.stamped
    columns.marks, columns.changed = reading.marks, reading.changed
    flags = {row: (*batch.flags.get(row, ()), *reading.flags.get(row, ())) for row in batch.flags.keys() | reading.flags.keys()}
    for row, why in reading.refused.items():
        flags[row] = (*flags.get(row, ()), f"parse_error:{why}")
    columns.flags = flags
    return columns


def as_message(line: bytes) -> str:
    """The text of a record that is kept as it is; several lines that a frame put together come apart again."""
    return "\n".join([part.decode("utf-8", "replace") for part in unwrapped(line)])


def unwrapped(line: bytes) -> tuple[bytes, bytes] | tuple[bytes]:
    """The first line of a record and, where a frame put several together, the others."""
    if line.startswith(b'{"message":"') and b"\\n" in line:
        try:
            (name, text), *more = msgspec.json.decode(line, type=dict[str, str]).items()
        except (msgspec.DecodeError, RecursionError):
            return (line,)
        if name == "message" and not more and "\n" in text:
            first, _, rest = text.partition("\n")
            return first.encode(), rest.encode()
    return (line,)


class _Patched(dict[str, Values]):
    """Columns in which refused rows are text: they have a `message` and nothing else."""

    def __init__(self, fields: Mapping[str, Values], messages: Mapping[int, str]) -> None:
        super().__init__()
        self._fields, self._messages = fields, messages

    def __missing__(self, name: str) -> Values:
        column = list(self._fields[name])
        for row, text in self._messages.items():
            column[row] = text if name == "message" else None
        self[name] = column
        return column
