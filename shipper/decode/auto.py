r"""auto: several formats in one stream. Each record goes to the first of those named that does not refuse it.

RULES
- A record that none takes is a `message`, flagged `parse_error`; with `text` as the last of them it is one without a flag.
- Times are read as the format says that took the record, in the order of the stream (`Columns.timelines`).
- A record of several lines, which a frame put together, is JSON (`{"message":"line\nline"}`): formats of text behind `json` get
  it first, and `json` has it when they refuse it.

THEORY
All rows of a block go to the first format in one call; what it refuses goes to the next. Where one takes them all, as in most
blocks, its columns are the columns. Otherwise rows and columns are woven, a column when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from shipper.config.fields import ComponentConfig
from shipper.decode.decoder import RESERVED, Reading, as_columns, unwrapped
from shipper.decode.json import Json
from shipper.decode.text import Text
from shipper.model.batch import split_rows
from shipper.model.columns import Columns, Values
from shipper.model.errors import ComponentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shipper.decode.decoder import Decoder
    from shipper.decode.timestamp import Timeline
    from shipper.model.batch import SafeBatch

_WRAPPED = "wrapped"
"""A guard: there may be records of several lines, which frames put together so."""


class Auto:
    """Several formats in one stream: each record is read by the first of those named that takes it.

    A record that none of them takes is kept whole as `message`, flagged; with `text` as the last one it is not flagged.
    """

    example = """
sources:
  - type: file
    include: [/var/log/app/*.log]
    decode:
      auto: [json, klog, {syslog: {zone: Europe/Berlin}}]
"""
    nests = {"of": "decode"}  # noqa: RUF012  read by config/components.py

    class Config(ComponentConfig):
        """Settings of auto."""

        of: list[Any]
        """The formats, each as it would be written under `decode`, in the order in which they are tried."""

    timeline = None

    def __init__(self, config: Config, reads: Sequence[str], adds: Sequence[str], spare: Sequence[str] = ()) -> None:
        """See `decoder.py`. `config.of` are components. Raises ComponentError for what can never be reached."""
        names = [component.type for component in config.of]
        if not names:
            raise ComponentError("auto needs formats to choose from", "of", "such as `auto: [json, syslog]`")
        for number, name in enumerate(names):
            if name == "auto":
                raise ComponentError("auto stands in auto", f"of.{number}", "name its formats here")
            if name == "text" and number < len(names) - 1:
                message = f"{names[number + 1]} is never reached: text takes every record"
                raise ComponentError(message, f"of.{number + 1}", "put `text` last")
        self._decoders: list[Decoder] = [
            _made(number, component, reads, adds, spare) for number, component in enumerate(config.of)
        ]
        self.speaks_ecs = all(decoder.speaks_ecs for decoder in self._decoders)
        self._why = f"not {' or '.join(names)}"
        self._clashing = frozenset((*RESERVED, *(name.partition(".")[0] for name in adds)))

    @property
    def guards(self) -> Mapping[str, bytes]:
        """Those of all formats, and one of its own."""
        own = {_WRAPPED: rb'\{"message":"'}
        return own | {name: pattern for decoder in self._decoders for name, pattern in decoder.guards.items()}

    def decode(self, batch: SafeBatch) -> Columns:
        """Columns of a batch; see `Decoder.decode`."""
        parts, left = self._parts(batch)
        last = parts[-1]
        if len(last.rows) == batch.count and not last.reading.refused:
            columns = as_columns(batch, (), last.reading, self._clashing)
            columns.timelines = [(last.timeline, last.rows)]
            return columns
        woven = _Weave(parts, batch.count)
        reading = woven.reading(batch)
        reading.refused = dict.fromkeys(left, self._why)
        lines = split_rows(batch.block, batch.ends) if left else []
        columns = as_columns(batch, lines, reading, self._clashing)
        columns.timelines = [*woven.timelines(), *([(None, left)] if left else [])]
        return columns

    def _parts(self, batch: SafeBatch) -> tuple[list[_Part], list[int]]:
        """What each format read, as far as they were needed, and the rows that none took."""
        rows: Sequence[int] = range(batch.count)
        kept: set[int] = set()
        parts: list[_Part] = []
        for decoder in self._decoders:
            if isinstance(decoder, Text):  # which would take what json has
                rows = [row for row in rows if row not in kept]
            if not rows:
                break
            part = _Part(decoder.timeline, self._read(decoder, batch, rows), rows)
            parts.append(part)
            refused = _places(rows, part.reading.refused)
            kept.intersection_update(refused)
            if isinstance(decoder, Json) and _WRAPPED in batch.marks:
                lines = split_rows(batch.block, batch.ends)
                kept.update(row for row in set(rows).difference(refused) if len(unwrapped(lines[row])) > 1)
            rows = sorted({*refused, *kept}) if kept else refused
        return parts, [row for row in rows if row not in kept]

    def _read(self, decoder: Decoder, batch: SafeBatch, rows: Sequence[int]) -> Reading:
        if len(rows) == batch.count:
            return decoder.read_batch(batch)
        lines = split_rows(batch.block, batch.ends)
        marks = None if batch.changed else batch.marks  # the guards saw the rows before they were changed
        return decoder.read([lines[row] for row in rows], marks)


def _places(rows: Sequence[int], refused: Mapping[int, str]) -> Sequence[int]:
    """Those of the rows that were refused."""
    return rows if len(refused) == len(rows) else [rows[place] for place in sorted(refused)]


def _made(number: int, component: Any, reads: Sequence[str], adds: Sequence[str], spare: Sequence[str]) -> Decoder:
    try:
        found: Decoder = component.factory(component.config, reads, adds, spare)
    except ComponentError as error:
        field = f"of.{number}.{error.field}" if error.field else f"of.{number}"
        raise ComponentError(f"{component.type}: {error.message}", field, error.hint) from error
    return found


class _Part(NamedTuple):
    """What one format read."""

    timeline: Timeline | None
    reading: Reading
    rows: Sequence[int]
    """Those it was given; `reading` counts from the first of them."""


class _Weave:
    """Rows and columns of several parts, each row of the last part that did not refuse it."""

    def __init__(self, parts: Sequence[_Part], count: int) -> None:
        self._parts, self._count = parts, count
        owners = [-1] * count
        for number, part in enumerate(parts):
            for place, row in enumerate(part.rows):
                if place not in part.reading.refused:
                    owners[row] = number
        self._taken = [
            [(place, row) for place, row in enumerate(part.rows) if owners[row] == number] for number, part in enumerate(parts)
        ]
        """For each part the rows it has, as they are counted there and here."""

    def timelines(self) -> list[tuple[Timeline | None, Sequence[int]]]:
        """See `Columns.timelines`."""
        return [(part.timeline, [row for _, row in taken]) for part, taken in zip(self._parts, self._taken, strict=True) if taken]

    def reading(self, batch: SafeBatch) -> Reading:
        """All parts as one; what no part has is left empty."""
        found = Reading([b""] * self._count, _Fields(self), {})
        changed: list[int] = [*batch.changed]
        for part, taken in zip(self._parts, self._taken, strict=True):
            reading = part.reading
            odd, flags, others = reading.odd, reading.flags, set(reading.changed)
            for place, row in taken:
                found.rows[row] = reading.rows[place]
            found.odd.update([row for place, row in taken if place in odd] if odd else ())
            found.flags.update({row: flags[place] for place, row in taken if place in flags} if flags else {})
            found.stamped = found.stamped or reading.stamped
            if reading.marks is None:
                changed += [row for _, row in taken]
            elif taken:
                found.marks = batch.marks
                changed += [row for place, row in taken if place in others]
        found.changed = changed
        return found

    def column(self, name: str) -> Values:
        """A column, woven of those of the parts."""
        column: list[object] = [None] * self._count
        for part, taken in zip(self._parts, self._taken, strict=True):
            values = part.reading.fields[name] if taken else ()
            for place, row in taken:
                column[row] = values[place]
        return column


class _Fields(dict[str, Values]):
    """Columns by name, each woven when it is first asked for."""

    def __init__(self, weave: _Weave) -> None:
        super().__init__()
        self._weave = weave

    def __missing__(self, name: str) -> Values:
        self[name] = self._weave.column(name)
        return self[name]
