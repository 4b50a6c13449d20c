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

THEORY
A block of whole lines is decoded by one `decode_lines`, and the records are one join: no Python statement per record. It is
trusted where every line begins with `{` and ends with `}` and the counts agree; see `decode/json.py`.
"""

from __future__ import annotations

from itertools import accumulate
from operator import attrgetter, itemgetter

import msgspec

from shipper.config.fields import ComponentConfig, Size
from shipper.frame.frame import Cut
from shipper.frame.lines import as_utf8, clean, split_keeping


class Line(msgspec.Struct):
    """What the driver writes. `attrs` is there with `--log-opt labels=…`."""

    log: str
    stream: str = ""
    time: str = ""
    attrs: dict[str, str] | None = None


_LOG, _STREAM, _TIME, _ATTRS = map(attrgetter, ("log", "stream", "time", "attrs"))
_FIRST, _LAST = itemgetter(0), itemgetter(-1)
_OPEN, _CLOSE = ord("{"), ord("}")


class _Record(msgspec.Struct):
    """A record of one stream, or the parts of it so far."""

    start: int
    first: Line
    stop: int = 0
    size: int = 0
    """Bytes of its lines, without what lies between them."""
    nuls: int = 0
    texts: list[str] = []
    marks: tuple[str, ...] = ()
    row: bytes = b""
    """Once it is finished; empty for what is no record."""


class Docker:
    """Records of containers, from the files of Docker's json-file driver."""

    class Config(ComponentConfig):
        """Settings of the docker frame."""

        join_max: Size = Size(1 << 20)
        """Bytes of the file after which a record in parts is taken as it is, flagged `partial`. At most `max_record`."""

    adds = ("stream", "container")

    def __init__(self, config: Config | None = None) -> None:
        """Take the settings."""
        self._config = config or Docker.Config()
        self._decoder = msgspec.json.Decoder(Line)
        self._extras: dict[str, bytes] = _Extras()

    def cut(self, data: bytes, base: int, *, final: bool) -> Cut:
        """Cut whole records; see `Frame.cut`."""
        end = len(data) if final else data.rfind(b"\n") + 1
        if not end:
            return Cut(b"", 0, base)
        block = data[:end]
        return self._cut_fast(block, base) or self._cut_carefully(block, base, base + len(data), final=final)

    def _cut_fast(self, block: bytes, base: int) -> Cut | None:
        """The common block: every line an object with a whole record. None where it is not."""
        raw = block.split(b"\n")
        if raw.pop() or b"\0" in block:
            return None
        try:
            if bytes(map(_FIRST, raw)).count(_OPEN) != len(raw) or bytes(map(_LAST, raw)).count(_CLOSE) != len(raw):
                return None
            lines = self._decoder.decode_lines(block)
        except (IndexError, msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return None
        logs = list(map(_LOG, lines))
        text = "".join(logs)
        # n texts, n newlines, each text ends with one and none is blank: then none has one inside.
        if len(lines) != len(raw) or text.count("\n") != len(logs) or not all(log.endswith("\n") for log in logs):
            return None
        if "\r\n" in text or "\n\n" in text or "\0" in text or text.startswith("\n") or any(map(_ATTRS, lines)):
            return None
        bounds = list(accumulate(map(len, raw), lambda at, size: at + size + 1, initial=base))
        extras = list(map(self._extras.__getitem__, map(_STREAM, lines)))
        origin = bounds[:-1], bounds[1:]
        return Cut(text.encode(), len(lines), base + len(block), origin, extras=extras, times=list(map(_TIME, lines)))

    def _cut_carefully(self, block: bytes, base: int, seen: int, *, final: bool) -> Cut:
        """Line by line, with parts joined. `seen` is the source offset up to which there are bytes, of an unfinished line too."""
        joiner = _Joiner(self._config.join_max)
        at = base
        for raw in split_keeping(block):
            start, at = at, at + len(raw)
            line, marks = self._line(raw)
            joiner.take(raw, start, line, marks)
        joiner.expire(at if final else seen + 1, final=final)
        return joiner.result(at)

    def _line(self, raw: bytes) -> tuple[Line | None, tuple[str, ...]]:
        text = raw.replace(b"\0", b"").strip()
        try:
            return self._decoder.decode(text), ()
        except (msgspec.DecodeError, RecursionError):
            return None, ()
        except UnicodeDecodeError:
            try:
                return self._decoder.decode(as_utf8(text)), ("invalid_utf8",)
            except (msgspec.DecodeError, RecursionError):
                return None, ()


class _Joiner:
    """Collects the records of one window."""

    def __init__(self, join_max: int) -> None:
        self._join_max = join_max
        self._parts: dict[str, _Record] = {}
        self._records: list[_Record] = []

    def take(self, raw: bytes, start: int, line: Line | None, marks: tuple[str, ...]) -> None:
        """Take one line of the file, its newline included."""
        stop = start + len(raw)
        self.expire(stop)
        if line is None:
            row, marks, nuls = clean(raw, start)
            self._records.append(_Record(start, Line(""), stop, len(raw), nuls, marks=("not_docker", *marks), row=row))
            return
        record = self._parts.setdefault(line.stream, _Record(start, line))
        record.stop = stop
        record.size += len(raw)
        record.nuls += raw.count(b"\0")
        record.texts.append(line.log)
        record.marks = (*record.marks, *(mark for mark in marks if mark not in record.marks))
        if line.log.endswith("\n"):
            self._finish(line.stream, ())

    def expire(self, stop: int, *, final: bool = False) -> None:
        """Take records in parts as they are that a line ending at `stop` is too far away for, or all of them."""
        while self._parts:
            stream, oldest = next(iter(self._parts.items()))
            if not final and stop <= oldest.start + self._join_max:
                break
            self._finish(stream, ("partial",))

    def _finish(self, stream: str, marks: tuple[str, ...]) -> None:
        record = self._parts.pop(stream)
        text = "".join(record.texts).removesuffix("\n").removesuffix("\r").replace("\0", "")
        if "\n" in text:  # only a foreign writer does this; as JSON the newline stays content
            text = msgspec.json.encode({"message": text}).decode()
        record.row, record.texts = text.encode(), []
        record.marks = (*record.marks, *marks)
        self._records.append(record)

    def result(self, stop: int) -> Cut:
        """The records that end before the earliest unfinished one, in the order of their first byte."""
        limit = min((part.start for part in self._parts.values()), default=stop)
        # A finished record that ends behind the limit is read again too, so that the limit moves to its start at least.
        for record in sorted(self._records, key=lambda record: -record.stop):
            if record.start < limit < record.stop:
                limit = record.start
        taken = sorted((record for record in self._records if record.stop <= limit), key=lambda record: record.start)
        records = [record for record in taken if record.row]
        nuls = sum(record.nuls for record in taken)
        blank = sum(record.size - record.nuls for record in taken if not record.row)
        extras = _Extras()
        return Cut(
            b"".join(record.row + b"\n" for record in records),
            len(records),
            limit,
            ([record.start for record in records], [record.stop for record in records]),
            {number: record.marks for number, record in enumerate(records) if record.marks},
            {cause: size for cause, size in (("blank", blank), ("nul", nuls)) if size},
            [extras[record.first.stream] + _labels(record.first) for record in records],
            [record.first.time for record in records],
        )


class _Extras(dict[str, bytes]):
    """Stream name -> its fragment."""

    def __missing__(self, stream: str) -> bytes:
        if stream not in ("stdout", "stderr"):
            return b""  # foreign names are not kept: nothing unbounded
        self[stream] = b',"stream":"' + stream.encode() + b'"'
        return self[stream]


def _labels(line: Line) -> bytes:
    if not line.attrs:
        return b""
    return b',"container":{"labels":' + msgspec.json.encode(line.attrs) + b"}"
