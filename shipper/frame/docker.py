r"""Docker: the json-file log driver. A line is `{"log":"text\n","stream":"stdout","time":"…","attrs":{…}}`.

RULES
- The record is the unescaped `log` without its newline. Docker splits a message longer than 16 KiB over several lines, of which
  only the last ends in a newline (moby daemon/logger/copier.go): parts are joined per stream, stdout and stderr apart.
- A record's origin is the first byte of its first part to the last byte of its last part.
- Parts whose end is not in the window yet are left, and everything from the earliest of them on with them: the window is given
  again with more behind it. A record that is not whole `join_max` bytes of the file after its start, or where the file ends, goes
  on as it is, flagged `partial`. So what is a record depends on the file alone, not on the windows.
- `stream` goes into the document, `attrs` (docker's labels) as `container.labels`, `time` dates records that have no time.
- A line that is no such object is a record as it stands, flagged `not_docker`. Empty texts are no records (as blank lines).
- NULs, which a file system leaves after a power cut (moby#40584), are taken out of a line and counted.

THEORY
A block of whole lines is decoded by one `decode_lines`, and the records are one join: no Python statement per record. It is
trusted where every line begins with `{` and ends with `}` and the counts agree; see `decode/json.py`. Where it is not, the
lines are decoded one by one; what follows is the same. Only parts cost Python: `join_parts` says which lines make one record,
their text moves to the first of them, and the others drop out of all columns.
"""

from __future__ import annotations

from itertools import compress, count, repeat
from operator import is_, itemgetter
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from shipper.config.fields import ComponentConfig, Duration, Size
from shipper.frame.frame import Cut
from shipper.frame.joining import Columns, Group, Late, Window, columns, join_parts, lined
from shipper.frame.lines import as_utf8, clean
from shipper.model.batch import split_lines

if TYPE_CHECKING:
    from collections.abc import Sequence


_NO_LABELS = msgspec.Raw()


class Line(msgspec.Struct, gc=False):
    """What the driver writes. `attrs` is there with `--log-opt labels=…`, and checked by `_Labels`."""

    log: str
    stream: str = ""
    attrs: msgspec.Raw = _NO_LABELS


class _Usual(msgspec.Struct, gc=False):
    """The same with the streams there are, of which no text has to be made."""

    log: str
    stream: Literal["stdout", "stderr", ""] = ""
    attrs: msgspec.Raw = _NO_LABELS


class _Time(msgspec.Struct, gc=False):
    """Looked at only where a record has no time of its own, so a wrong one makes no line foreign."""

    time: object = ""


_FIRST, _LAST = itemgetter(0), itemgetter(-2)
_OPEN, _CLOSE = ord("{"), ord("}")
_BLANK, _CLEANED_BLANK = frozenset(("\n", "\r\n")), frozenset(("\n",))
_TAIL, _NEWLINE = itemgetter(slice(-1, None)), frozenset("\n")
_FOREIGN = "\ud800"
"""Stream of lines that are not the driver's; none of its lines can name it, as JSON has no such character here."""
_LABELS_MAX = 64
"""Fragments kept at a time."""
_INVERTED = bytes((1, *bytes(255)))


class Fields(NamedTuple):
    """Lines as columns."""

    logs: list[str]
    streams: list[str]
    attrs: list[msgspec.Raw]


class Docker:
    """Records of containers, from the files of Docker's json-file driver."""

    class Config(ComponentConfig):
        """Settings of the docker frame."""

        join_max: Size = Size(1 << 20)
        """Bytes of the file after which a record in parts is taken as it is, flagged `partial`. At most `max_record`."""
        join_timeout: Duration = Duration(10)
        """Time after which parts that nothing follows are taken as they are, flagged `partial`."""

    adds = ("stream", "container")
    joins = True
    """Whole lines may be left at the end of a window."""
    window_bytes = 5 << 16
    """A quarter of a line is the driver's: as many records as a quarter MiB of plain lines, over which a window's own cost spreads."""

    def __init__(self, config: Config | None = None, *, blanks: bool = False) -> None:
        """Take the settings. With `blanks` records without text are records too, for a frame on top of this one."""
        config = config or Docker.Config()
        self.flush_after_s = float(config.join_timeout)
        self._join_max = int(config.join_max)
        self._blanks = blanks
        self._decoder = msgspec.json.Decoder(Line)
        self._usual_decoder, self._time_decoder = msgspec.json.Decoder(_Usual), msgspec.json.Decoder(_Time)
        self._labels = _Labels()

    def cut(self, data: bytes, base: int, *, final: bool) -> Cut:
        """Cut whole records; see `Frame.cut`."""
        end = len(data) if final else data.rfind(b"\n") + 1
        if not end:
            return Cut(b"", 0, base)
        block = data if end == len(data) else data[:end]
        raw, starts, stops = lined(block, base)
        found = columns(starts, stops)
        fields = self._decode_fast(block, raw, found) or self._decode_carefully(raw, found)
        del raw  # made again where it is wanted: what it takes is free for what follows, and still in the core's cache
        window = Window(base + len(data), final, self._join_max)
        groups, taken = _groups_of(fields, found, window)
        logs = fields.logs
        if taken < len(logs):
            end = starts[taken] - base
            del logs[taken:]
            found.leave(taken)
        found.skipped["nul"] = block.count(b"\0", 0, end) if b"\0" in block else 0
        block, texts = self._texts(logs, groups, block, found)
        return found.cut(block, base + end, texts)

    def _decode_fast(self, block: bytes, raw: list[bytes], found: Columns) -> Fields | None:
        """All lines in one call, but for their times; None where that cannot be trusted."""
        if b"\0" in block:
            return None
        try:
            if bytes(map(_FIRST, raw)).count(_OPEN) != len(raw) or bytes(map(_LAST, raw)).count(_CLOSE) != len(raw):
                return None
            fields = _transposed(self._usual_decoder.decode_lines(block))
            found.extras = self._labels.fragments(fields)
        except (IndexError, msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return None
        if len(fields.logs) != len(raw):
            return None
        found.times = Late(len(raw), lambda: list(map(self._time, split_lines(block, None))))
        return fields

    def _time(self, line: bytes) -> str:
        """The time of a line; what is no text is none."""
        try:
            time = self._time_decoder.decode(line).time
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return ""
        return time if isinstance(time, str) else ""

    def _decode_carefully(self, raw: list[bytes], found: Columns) -> Fields:
        """Line by line, with NULs and bytes that are not UTF-8. What is no line of the driver is marked."""
        lines, times = [], []
        for number, text in enumerate(raw):
            content = text.replace(b"\0", b"").strip()
            line, marks = self._decode_one(content)
            times.append("" if line is None else self._time(content))
            if line is None:
                row, marks, _ = clean(text, found.starts[number])
                line, marks = Line(row.decode() + "\r\n", _FOREIGN), ("not_docker", *marks)
            lines.append(line)
            if marks:
                found.flags[number] = marks
        fields = _transposed(lines)
        found.extras = self._labels.fragments(fields)
        found.times = times
        return fields

    def _decode_one(self, text: bytes) -> tuple[Line | None, tuple[str, ...]]:
        marks: tuple[str, ...] = ()
        for _ in range(2):
            try:
                line = self._decoder.decode(text)
                self._labels.fragments(_transposed([line]))
            except UnicodeDecodeError:
                text, marks = as_utf8(text), ("invalid_utf8",)
            except (msgspec.DecodeError, RecursionError):
                return None, ()
            else:
                return line, marks
        return None, ()

    def _texts(self, logs: list[str], groups: Sequence[Group], source: bytes, found: Columns) -> tuple[bytes, list[bytes]]:
        """The records' texts, a newline behind each, and the same as a list; `source` is what they were read from."""
        for group in groups:
            joined = "".join([logs[line] for line in group.lines])
            for line in group.lines:
                logs[line] = ""
            logs[group.lines[0]] = joined if group.whole else f"{joined}\n"
            found.join(group)
        text, blank = "".join(logs), _BLANK
        block = text.encode()
        rows = split_lines(block, None)
        # Each text ends with a newline: where there are no more newlines than texts, none has one inside.
        if b"\0" in block or len(rows) != len(logs) - len(found.drop):
            logs, blank = list(map(_cleaned, logs)), _CLEANED_BLANK
        elif b"\r" not in block and (self._blanks or b"\n" not in rows):
            return block, rows
        if not self._blanks:
            raw = split_lines(source, None)
            for line in compress(count(), map(blank.__contains__, logs)):
                logs[line] = ""
                found.skip_blank(line, raw)
        block = "".join(logs).encode()
        if blank is _BLANK:
            block = block.replace(b"\r\n", b"\n")
        return block, split_lines(block, None)


def _transposed(lines: Sequence[Line] | Sequence[_Usual]) -> Fields:
    """Lines as columns. Comprehensions, as the interpreter reads a slot in 12 ns, and a C iterator over tuples takes 25."""
    return Fields([line.log for line in lines], [line.stream for line in lines], [line.attrs for line in lines])


def _groups_of(fields: Fields, found: Columns, window: Window) -> tuple[list[Group], int]:
    if set(map(_TAIL, fields.logs)) <= _NEWLINE:
        return [], len(fields.logs)
    ended = bytes(map(str.endswith, fields.logs, repeat("\n")))
    parts = list(compress(count(), ended.translate(_INVERTED)))
    return join_parts(found, fields.streams, parts, window)


def _cleaned(log: str) -> str:
    """A record's text on one line; nothing stays nothing."""
    if not log:
        return log
    text = log.removesuffix("\n").removesuffix("\r").replace("\0", "")
    if "\n" in text:  # only a foreign writer does this; as JSON the newline stays content
        text = msgspec.json.encode({"message": text}).decode()
    return f"{text}\n"


class _Labels:
    """Fragments of streams and labels, kept by what they are made of."""

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(dict[str, str] | None)
        self._known: dict[bytes, _Streams] = {}

    def fragments(self, fields: Fields) -> list[bytes] | bytes:
        """The fragment of each line, or the one of all. Raises what the decoder raises for labels that are none."""
        attrs = fields.attrs
        # Lines without labels share the default.
        distinct = {b""} if all(map(is_, attrs, repeat(_NO_LABELS))) else set(map(bytes, attrs))
        if len(self._known) > _LABELS_MAX:
            self._known.clear()
        for text in distinct - self._known.keys():
            labels = self._decoder.decode(text) if text else None
            end = b',"container":{"labels":%b}' % msgspec.json.encode(labels) if labels else b""
            self._known[text] = _Streams(end)
        if len(distinct) == 1:
            known, streams = self._known[distinct.pop()], fields.streams
            return known[streams[0]] if streams.count(streams[0]) == len(streams) else list(map(known.__getitem__, streams))
        return [self._known[bytes(text)][stream] for text, stream in zip(attrs, fields.streams, strict=True)]


class _Streams(dict[str, bytes]):
    """Stream name -> its fragment, with `end` behind it."""

    def __init__(self, end: bytes = b"") -> None:
        super().__init__({name: b',"stream":"%b"%b' % (name.encode(), end) for name in ("stdout", "stderr")})
        self._end = end

    def __missing__(self, _stream: str) -> bytes:
        return self._end  # foreign names are not kept: nothing unbounded
