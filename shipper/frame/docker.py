"""Docker: the json-file log driver. A line is `{"log":"text\\n","stream":"stdout","time":"…","attrs":{…}}`.

RULES
- The record is the unescaped `log` without its newline. Docker splits a message longer than 16 KiB over several lines, of which
  only the last ends in a newline (moby daemon/logger/copier.go): parts are joined per stream, stdout and stderr apart.
- A record's origin is the first byte of its first part to the last byte of its last part.
- Parts whose end is not in the window yet are left, and everything from the earliest of them on with them: the window is given
  again with more behind it. Where the window is full or final, what is there goes on, flagged `partial`.
- `stream` goes into the document, `attrs` (docker's labels) as `container.labels`, `time` dates records that have no time.
- A line that is no such object is a record as it stands, flagged `not_docker`.

THEORY
A block of whole lines is decoded by one `decode_lines`, and the records are one join: no Python statement per record.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from operator import attrgetter

import msgspec

from shipper.config.fields import ComponentConfig, Size
from shipper.frame.frame import Cut
from shipper.frame.lines import as_utf8, is_utf8


class Line(msgspec.Struct):
    """What the driver writes. `attrs` is there with `--log-opt labels=…`."""

    log: str
    stream: str = ""
    time: str = ""
    attrs: dict[str, str] | None = None


_LOG, _STREAM, _TIME, _ATTRS = map(attrgetter, ("log", "stream", "time", "attrs"))


class _Part(msgspec.Struct):
    """An unfinished record of one stream: where it began and its text so far."""

    start: int
    first: Line
    texts: list[str]


class Docker:
    """Records of containers, from the files of Docker's json-file driver."""

    class Config(ComponentConfig):
        """Settings of the docker frame."""

        join_max: Size = Size(1 << 20)
        """Bytes after which a record in parts is taken as it is, flagged `partial`."""

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
        return self._cut_fast(block, base) or self._cut_carefully(block, base, final=final)

    def _cut_fast(self, block: bytes, base: int) -> Cut | None:
        """The common block: every line an object with a whole record. None where it is not."""
        raw = block.split(b"\n")
        if raw.pop() or b"\0" in block:
            return None
        try:
            lines = self._decoder.decode_lines(block)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
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
        rows = text.encode("utf-8", "surrogatepass")
        if not is_utf8(rows):
            return None
        return Cut(rows, len(lines), base + len(block), (bounds[:-1], bounds[1:]), extras=extras, times=list(map(_TIME, lines)))

    def _cut_carefully(self, block: bytes, base: int, *, final: bool) -> Cut:
        """Line by line, with parts joined."""
        joiner = _Joiner(self._config.join_max)
        ends = [base]
        for raw in block.split(b"\n"):
            ends.append(ends[-1] + len(raw) + 1)
        if block.endswith(b"\n"):
            ends.pop()
        ends[-1] = base + len(block)
        for raw, (start, stop) in zip(block.split(b"\n"), pairwise(ends), strict=False):
            joiner.take(raw, start, stop, self._line(raw))
        if final:
            joiner.flush(base + len(block))
        return joiner.result(base + len(block))

    def _line(self, raw: bytes) -> Line | None:
        try:
            return self._decoder.decode(as_utf8(raw.replace(b"\0", b"").strip()))
        except (msgspec.DecodeError, RecursionError):
            return None


class _Joiner:
    """Collects the records of one window."""

    def __init__(self, join_max: int) -> None:
        self._join_max = join_max
        self._parts: dict[str, _Part] = {}
        self._records: list[tuple[int, int, bytes, tuple[str, ...], Line]] = []
        self._skipped: dict[str, int] = {}

    def take(self, raw: bytes, start: int, stop: int, line: Line | None) -> None:
        """Take one line of the file at [start, stop)."""
        if line is None:
            row = as_utf8(raw.replace(b"\0", b"").removesuffix(b"\r"))
            if row.strip():
                self._records.append((start, stop, row, ("not_docker",), Line("")))
            else:
                self._skipped["blank"] = self._skipped.get("blank", 0) + stop - start
            return
        part = self._parts.setdefault(line.stream, _Part(start, line, []))
        part.texts.append(line.log)
        if line.log.endswith("\n"):
            self._finish(line.stream, stop, ())
        elif sum(map(len, part.texts)) >= self._join_max:
            self._finish(line.stream, stop, ("partial",))

    def _finish(self, stream: str, stop: int, marks: tuple[str, ...]) -> None:
        part = self._parts.pop(stream)
        text = "".join(part.texts).removesuffix("\n").removesuffix("\r").replace("\0", "")
        if "\n" in text:  # only a foreign writer does this; as JSON the newline stays content
            text = msgspec.json.encode({"message": text}).decode()
        if text.strip():
            row = text.encode("utf-8", "replace")
            self._records.append((part.start, stop, row, marks, part.first))
        else:
            self._skipped["blank"] = self._skipped.get("blank", 0) + stop - part.start

    def flush(self, stop: int) -> None:
        """Take unfinished records as they are."""
        for stream in list(self._parts):
            self._finish(stream, stop, ("partial",))

    def result(self, stop: int) -> Cut:
        """The records that end before the earliest unfinished one, in the order of their first byte."""
        limit = min((part.start for part in self._parts.values()), default=stop)
        records = sorted((r for r in self._records if r[1] <= limit), key=lambda record: record[0])
        extras = _Extras()
        return Cut(
            b"".join(row + b"\n" for _, _, row, _, _ in records),
            len(records),
            limit,
            ([r[0] for r in records], [r[1] for r in records]),
            {number: r[3] for number, r in enumerate(records) if r[3]},
            self._skipped,
            [extras[r[4].stream] + _labels(r[4]) for r in records],
            [r[4].time for r in records],
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
