r"""Asctime: lines of Python's `logging`, read by the format that its `Formatter` has.

RULES
- What a field takes of a line is told in `percent_format.py`. Blanks around a field that has a width are not part of it.
- `[<uuid>] ` at the beginning of a message is a trace id: it goes to `trace.id`, and the message begins behind it.
- The further lines of a record are a traceback, or belong to the message (see `traces.py`).

THEORY
Everything between the time and the message (logger, level, file, line) is one text here, of which there are few: it is looked up
with its piece of the row. So a line is three groups of one expression, which runs over the whole block. It takes lines that do
not fit too, with all groups empty, so that none can be passed over; these are left to the expression of `parse`.
"""

from __future__ import annotations

import re
from functools import partial
from itertools import compress, repeat
from operator import add
from typing import TYPE_CHECKING, Any, Literal

import orjson

from shipper.config.fields import ComponentConfig
from shipper.decode.layout import STAMP, Lazy, Lines, Member, Parsed, Quick, Remembered, TextDecoder, escaped, texts
from shipper.decode.percent_format import MESSAGE, NUMBERS, read_format
from shipper.decode.timestamp import Timeline
from shipper.decode.traces import traced
from shipper.model.errors import ComponentError
from shipper.model.localtime import Timezone  # noqa: TC001  msgspec reads the annotations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from shipper.model.columns import Values

DEFAULT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"
_ERRORS = ("error.type", "error.message", "error.stack_trace")
_TRACE = "trace.id"
_ISO_SHAPE = b"0000-00-00 00:00:00,000"
_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_UUID = rb"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}"
_TRACED = re.compile(rb"\[(%b)\] (.*)" % _UUID, re.DOTALL)


class Asctime(TextDecoder):
    """Lines of Python's `logging`, such as `%(asctime)s - %(name)s - %(levelname)s - %(message)s`.

    `name` goes to `log.logger`, `levelname` to `log.level`, the other attributes to `process.*` and `log.origin.*`, fields of a
    program's own to members of their name. A traceback on further lines goes to `error.stack_trace`, `error.type` and
    `error.message`; a frame must put the lines of a record together.
    """

    class Config(ComponentConfig):
        """Settings: those of the program's `logging.Formatter`, and where its clock stands."""

        layout: str = DEFAULT
        """The format, in `%` style; `%(levelname)s:%(name)s:%(message)s` is that of `basicConfig()`."""
        datefmt: str | None = None
        """The format of `asctime`, such as `%Y-%m-%dT%H:%M:%S%z`, where the program has set one."""
        zone: Timezone | None = None
        """The zone of the program's clock, such as `Europe/Berlin`: `asctime` is local time, and does not say which.
        Left out: that of the pipeline's `timestamp`, or UTC."""
        fold: Literal["auto", "first", "second"] = "auto"
        """Which one a time is that comes twice, as the clock goes back: `auto` is told by the records before it."""

    example = r"""
sources:
  - type: file
    include: [/var/log/event-agent.log]
    frame: {multiline: {start: '^\d{4}-\d\d-\d\d '}}
    decode: {asctime: {layout: "%(asctime)s [%(levelname)s] %(name)s: %(message)s", zone: Europe/Berlin}}
"""

    refusal = "not in the format of the settings"

    def __init__(self, config: Config, reads: Sequence[str], adds: Sequence[str], spare: Sequence[str] = ()) -> None:
        """Raises ComponentError for a format that no line can be read by."""
        self._format = read_format(config.layout, config.datefmt)
        names = [field.member for field in self._format.fields if field.member not in ("", STAMP, MESSAGE)]
        self._finds_traces = _TRACE not in names
        more = [name for name in (_TRACE, *_ERRORS) if name not in names]
        kinds: list[Member] = [Member(name, "number" if name in NUMBERS else "text") for name in names]
        self.members = (Member(MESSAGE), *kinds, *map(Member, more))
        super().__init__(config, reads, adds, spare)
        try:
            self.timeline = Timeline(self._format.time_layouts, config.zone or "UTC", config.fold)
        except ValueError as error:
            raise ComponentError(str(error), "datefmt", "such as %Y-%m-%d %H:%M:%S") from error
        self.begins = self._format.begins()
        self._line, self._head = self._format.line(), self._format.head()
        trace = rb"(?:\[(?P<trace>%b)\] )?+" % _UUID
        self._blocks = [self._format.block(careful=careful) for careful in (False, True)]
        self._traced_blocks = [self._format.block(trace, careful=careful) for careful in (False, True)]
        self._traced_begin = self._format.fields[-1].before + b"["
        self._told = {field.member: number for number, field in enumerate(self._format.told(), 1) if field.member}
        self._padded = frozenset(field.member for field in self._format.fields if field.is_padded)
        self._pieces = Remembered(self._piece)
        self._values = {name: Remembered(partial(self._value, name)) for name in self._told}

    def further(self, text: bytes) -> Mapping[str, bytes]:
        """A traceback, or more of the message."""
        return traced(text)

    def parse(self, lines: Sequence[bytes]) -> Parsed:
        """Read each line with one expression."""
        found = list(map(self._line.fullmatch, lines))
        columns: dict[str, Sequence[bytes]] = dict.fromkeys((STAMP, *self._kinds), [b""] * len(lines))
        for number, field in enumerate(self._format.fields, 1):
            if field.member:
                values = [line[number] if line else b"" for line in found]
                if field.is_padded:
                    values = [value.strip(b" ") for value in values]
                columns[field.member] = list(map(_number, values)) if field.member in NUMBERS else values
        if self._finds_traces:
            split = list(map(_TRACED.fullmatch, columns[MESSAGE]))
            columns[_TRACE] = [message[1] if message else b"" for message in split]
            columns[MESSAGE] = [message[2] if message else whole for message, whole in zip(split, columns[MESSAGE], strict=True)]
        return Parsed(columns, {row: self.refusal for row, line in enumerate(found) if line is None})

    def quick(self, lines: Sequence[bytes]) -> Quick | None:
        """Read what the expression for blocks takes."""
        columns = self._found(Lines.of(lines))
        if columns is None:
            return None
        heads = list(map(self._pieces.__getitem__, columns["head"]))
        left = self._misfits(heads, columns.get("time", ()))
        if left:
            mask = bytearray(b"\1") * len(lines)
            for row in left:
                mask[row] = 0
            columns = {name: list(compress(column, mask)) for name, column in columns.items()}
            heads = list(compress(heads, mask))
        messages, traces = columns[MESSAGE], columns.get("trace", ())
        pieces: list[Iterable[Any]] = [repeat(b'{"message":"'), escaped(messages), heads]
        if any(traces):
            pieces.append([b',"trace.id":"%b"' % trace if trace else trace for trace in traces])
        rows = list(map(b"".join, zip(*pieces, strict=False)))
        makers: dict[str, Callable[[], Values]] = {name: partial(self._column, name, columns["head"]) for name in self._told}
        makers[MESSAGE] = lambda: b"\n".join(messages).decode("utf-8", "replace").split("\n")
        if "time" in columns:
            makers[STAMP] = partial(texts, columns["time"])
        if traces:
            makers[_TRACE] = partial(texts, traces)
        return Quick(rows, Lazy(makers, lambda _name: [None] * len(rows)), left)

    def _found(self, lines: Lines) -> dict[str, Sequence[bytes]] | None:
        """The groups of the expression for blocks, as columns; None where the format has none."""
        traced = self._finds_traces and self._traced_begin in lines.text
        for block in self._traced_blocks if traced else self._blocks:
            if block is None:
                return None
            found = block.findall(lines.text)
            if len(found) == len(lines):
                columns: dict[str, Sequence[bytes]] = dict(zip(block.groupindex, zip(*found, strict=True), strict=True))
                if "first" in columns:
                    columns["head"] = list(map(add, columns["first"], columns["head"]))
                return columns
        return None

    def _misfits(self, heads: Sequence[bytes | None], times: Sequence[bytes]) -> list[int]:
        """Lines whose head is none, or whose time is in no usual form."""
        odd = frozenset(row for row, head in enumerate(heads) if head is None) if None in heads else frozenset()
        if self._format.is_iso and b"".join(times).translate(_ZEROS) != _ISO_SHAPE * len(times):
            odd |= frozenset(row for row, time in enumerate(times) if time.translate(_ZEROS) != _ISO_SHAPE)
        return sorted(odd)

    def _column(self, name: str, heads: Sequence[bytes]) -> Values:
        return list(map(self._values[name].__getitem__, heads))

    def _value(self, name: str, head: bytes) -> str | int | None:
        """What a head says of a member."""
        found = self._head.fullmatch(head)
        if found is None:
            return None
        text = found[self._told[name]].strip(b" ") if name in self._padded else found[self._told[name]]
        return int(text) if name in NUMBERS else text.decode("utf-8", "replace") or None

    def _piece(self, head: bytes) -> bytes | None:
        """What a head adds to a row, from the quote on that ends the message; None for what is no head."""
        if not self._head.fullmatch(head):
            return None
        told = {name: self._value(name, head) for name in self._told}
        said = [b",%b:%b" % (orjson.dumps(name), orjson.dumps(value)) for name, value in told.items() if value is not None]
        return b"".join([b'"', *said])


def _number(value: bytes) -> bytes:
    """A number without leading zeros."""
    return b"%d" % int(value) if value else value
