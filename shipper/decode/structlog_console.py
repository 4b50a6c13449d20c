r"""Structlog console: lines of structlog's `ConsoleRenderer`, with colours or without.

FORMAT
    2025-12-07 10:30:15 [info     ] workflow_built                 [epilot.flows] customer='Stadtwerke Bonn' phases_count=5
- The event is padded to 30 characters where anything follows (`pad_event`; `pad_event_to` in the renderer). A longer one, and one
  behind whose padding is no such run, ends where the longest run of `[logger] key=value …` up to the end of the line begins.
- Values are what `repr` writes (see `python_values.py`); a text without blanks, quotes and `=` stands without quotes, so that
  `24` is a number even if the program had a text.
- `error` goes to `error.message`, as documents have an object `error`. A key that is one of our members (`message`, `log.level`)
  moves to `shipper.record`. Of two equal keys the last one counts.
- The further lines of a record are a stack or a traceback.

THEORY
A program writes few kinds of lines, each from one place in its code: the same event, the same keys. So a line is a model of others,
colours and all (see `templates.py`). It is read by `read_line`, as are those that no template takes.
"""

from __future__ import annotations

import re
from functools import partial
from itertools import compress
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal

import orjson

from shipper.config.fields import ComponentConfig
from shipper.decode.console_line import BEGINS, COLOURS, LEVEL, TIME_OR_LEVEL, pairs_template, read_line, stripped, template_of
from shipper.decode.layout import STAMP, Lazy, Lines, Member, Parsed, Quick, Remembered, TextDecoder, texts
from shipper.decode.templates import Templates
from shipper.decode.timestamp import Timeline
from shipper.decode.traces import raised
from shipper.model.errors import ComponentError
from shipper.model.localtime import Timezone  # noqa: TC001  msgspec reads the annotations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shipper.model.columns import Values
_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_LOOKED_AT, _WORTH_MIN, _WIDTHS_MAX = 8, 8, 8
_UNCOLOURED, _COLOURED = 43, 64
"""So many bytes behind the time tell kinds of lines apart: the level, and the event with or without colours."""


class StructlogConsole(TextDecoder):
    """Lines of structlog's `ConsoleRenderer`, coloured or not: `2025-12-07 10:30:15 [info     ] built    steps_count=24`.

    The event goes to `message`, the level to `log.level`, the logger to `log.logger`; the pairs keep their keys, but for `error`,
    which goes to `error.message`. Numbers, `True`, `None`, lists and dicts become those of JSON. A traceback on further lines goes to
    `error.stack_trace`, `error.type` and `error.message`; a frame must put the lines of a record together.
    """

    class Config(ComponentConfig):
        """Settings: those of the program's renderer, and where its clock stands."""

        pad_event: int = 30
        """How wide the event is padded: `pad_event_to` of the renderer; 0 for not at all."""
        zone: Timezone | None = None
        """The zone of times that say none; structlog's own are UTC, unless `TimeStamper(utc=False)` made them.
        Left out: that of the pipeline's `timestamp`, or UTC."""
        fold: Literal["auto", "first", "second"] = "auto"
        """Which one a time is that comes twice, as the clock goes back: `auto` is told by the records before it."""

    example = r"""
sources:
  - type: file
    include: [/var/log/epilot/*.log]
    frame: {multiline: {start: '^(\x1b\[2m)?\d{4}-\d\d-\d\d'}}
    decode: structlog_console
"""

    members = tuple(map(Member, ("message", "log.level", "log.logger", "error.type", "error.message", "error.stack_trace")))
    rest = "error.stack_trace"
    begins = BEGINS
    refusal = "neither a time nor a level at its beginning"

    def __init__(self, config: Config, reads: Sequence[str], adds: Sequence[str], spare: Sequence[str] = ()) -> None:
        """Raises ComponentError for a width that is none."""
        super().__init__(config, reads, adds, spare)
        if not 0 <= config.pad_event <= 1000:
            raise ComponentError(
                "the event is padded to between 0 and 1000 characters", "pad_event", "the renderer's default is 30"
            )
        self.timeline = Timeline(zone=config.zone or "UTC", fold=config.fold)
        self._pad = config.pad_event
        self._outer = frozenset(part for member in self.members for part in (member.name, member.name.partition(".")[0]))
        self._whole: dict[int, Templates] = {}
        self._pairs = Templates()
        self._heads: Remembered[bytes | None] = Remembered(self._head)
        self._head_pattern = re.compile(
            rb"\[(%b) *\] (?:(.{%d}) \[([\w.:-]{1,255})\]|(.{0,%d})|(.{%d}[^ =][^=]*?)(?: \[([\w.:-]{1,255})\])?)"
            % (LEVEL.encode(), self._pad, self._pad, self._pad)
        )
        self._patterns: dict[int, re.Pattern[bytes]] = {}
        self._asked = frozenset(part for name in reads for part in (name, name.partition(".")[0]))
        self._names: set[str] = set()

    def further(self, text: bytes) -> Mapping[str, bytes]:
        """A stack, a traceback, or both."""
        plain = stripped(text)
        return {self.rest: plain, **raised(plain)}

    def parse(self, lines: Sequence[bytes]) -> Parsed:
        """Read each line by itself."""
        found = [read_line(stripped(line), self._pad) for line in lines]
        columns = {name: [b""] * len(lines) for name in (STAMP, *self._kinds)}
        extras = [b""] * len(lines)
        names: set[str] = set()
        for row, line in enumerate(found):
            if line is None:
                continue
            pairs = dict(line.pairs)
            columns["error.message"][row] = _as_text(pairs.pop("error", b"null"))
            moved = {key: orjson.Fragment(pairs.pop(key)) for key in list(pairs) if key in self._outer}
            if moved:
                pairs["shipper"] = orjson.dumps({"record": moved})
            for name, text in (
                (STAMP, line.time),
                ("message", line.event),
                ("log.level", line.level),
                ("log.logger", line.logger),
            ):
                columns[name][row] = text.encode()
            extras[row] = b"".join(b",%b:%b" % (orjson.dumps(key), value) for key, value in pairs.items())
            names.update(pairs)
        refused = {row: self.refusal for row, line in enumerate(found) if line is None}
        return Parsed(columns, refused, extras, names)

    def quick(self, lines: Sequence[bytes]) -> Quick | None:
        """Read the lines whose time has the shape of the first ones, and that templates take."""
        block = Lines.of(lines)
        begin = _first(TIME_OR_LEVEL, block.text)
        if begin is None or not _is_utf8(block.text):
            return None
        them, width, colour = list(block), len(begin[0]), len(begin[1] or b"")
        times = list(map(itemgetter(slice(width)), them))
        beginnings = map(itemgetter(slice(width, width + (_COLOURED if b"\x1b" in block.text else _UNCOLOURED))), them)
        whole = (
            self._whole.setdefault(width, Templates()) if len(self._whole) < _WIDTHS_MAX else self._whole.get(width, Templates())
        )
        filled = whole.filled(them, beginnings, lambda line: template_of(line, width, self._pad, self._is_usual))
        rows = filled.rows
        left = [row for row, text in enumerate(rows) if text is None] if None in rows else []
        by_parts = len(left) >= _WORTH_MIN
        if by_parts:
            made = self._by_parts([them[row] for row in left], width - colour)
            for row, text in zip(left, made, strict=True):
                rows[row] = text
            left = [row for row in left if rows[row] is None]
        left = _with_odd_times(left, times, begin[0].translate(_ZEROS))
        mask = bytearray(b"\1") * len(them)
        for row in left:
            mask[row] = 0

        def kept(values: Sequence[Any]) -> Sequence[Any]:
            return list(compress(values, mask)) if left else values

        taken: list[bytes] = kept(rows)  # type: ignore[assignment]
        makers: dict[str, Callable[[], Values]] = {
            STAMP: lambda: texts(kept([time[colour:] for time in times] if colour else times))
        }
        if not by_parts:
            makers.update(
                {name: partial(lambda name: kept(filled.told(name)), name) for name in ("message", "log.level", "log.logger")}
            )
        return Quick(taken, Lazy(makers, self.decoded(taken, self._names)), left)

    def _by_parts(self, lines: Sequence[bytes], width: int) -> list[bytes | None]:
        """Rows of lines with times of this width (without colours), of which each has an event of its own: head and pairs apart."""
        text = COLOURS.sub(b"", b"\n".join([b"", *lines, b""]))
        if b"\x1b" in text:
            return [None] * len(lines)
        parts = self._parts_of(width).split(text)
        heads, pairs = parts[1:-2:2], parts[2:-2:2]
        ends = [None if head is None else self._heads[head] for head in heads]
        bodies = self._pairs.filled(
            pairs, (part.partition(b"=")[0] for part in pairs), lambda part: pairs_template(part, self._is_usual)
        )
        return [
            None if end is None or (body is None and pair) else (body or b'{"') + end
            for body, end, pair in zip(bodies.rows, ends, pairs, strict=True)
        ]

    def _parts_of(self, width: int) -> re.Pattern[bytes]:
        """Splits a text into heads and pairs, where a time is so wide. Of other lines all stands where the pairs do."""
        if width not in self._patterns:
            time = b".{%d} " % width if width else b""
            usual = rb".{0,%d}+(?: \[[^\] \n]++\])?+(?= |\n)" % self._pad
            longer = rb".{%d}[^ \n][^=\n]*(?= [^ =\n]*=|\n)" % self._pad
            self._patterns[width] = re.compile(rb"\n(?:%b(\[\w*+ *+\] (?:%b|%b))(?: |(?=\n)))?+" % (time, usual, longer))
        return self._patterns[width]

    def _head(self, head: bytes) -> bytes | None:
        """What a head adds to a row, behind a quote; None where it is not usual."""
        found = self._head_pattern.fullmatch(head) if head.isascii() else None
        if found is None:
            return None
        level, padded, its_logger, alone, longer, logger = (part.decode() for part in found.groups(b""))
        told = {"message": (padded or alone or longer).rstrip(), "log.level": level, "log.logger": its_logger or logger}
        return orjson.dumps({name: text for name, text in told.items() if text or name == "message"})[2:-1]

    def _is_usual(self, key: str) -> bool:
        if key in self._outer - {"error"} or self._clashes(key):
            return False
        if key in self._asked:
            self._names.add(key)
        return True


def _first(pattern: re.Pattern[bytes], text: bytes) -> re.Match[bytes] | None:
    """The first match at the beginning of one of the first lines."""
    at = 0
    for _ in range(_LOOKED_AT):
        found = pattern.match(text, at)
        if found is not None:
            return found
        at = text.find(b"\n", at) + 1
    return None


def _with_odd_times(left: list[int], times: Sequence[bytes], shape: bytes) -> list[int]:
    """Lines that are left, and those whose time has another shape."""
    if b"".join(times).translate(_ZEROS) == shape * len(times):
        return left
    return sorted({*left, *(row for row, time in enumerate(times) if time.translate(_ZEROS) != shape)})


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _as_text(value: bytes) -> bytes:
    """What JSON says, as a text; nothing for null."""
    found = orjson.loads(value)
    return b"" if found is None else found.encode() if isinstance(found, str) else value
