"""CRI: logs of containers as Kubernetes' runtimes write them, `2016-10-06T00:17:09.669794202Z stdout F The content`.

RULES
- A line is a time (RFC 3339), the stream, tags separated by `:`, and the content, one blank between them. The first tag is `F`,
  or `P` where the record goes on in the next line of its stream (Kubernetes, "CRI: Log management", `kubelet` kuberuntime/logs).
- Parts are joined per stream, stdout and stderr apart (kubernetes#107943, fluent-bit#4387), and left or given up as docker's are:
  see `docker.py`. A record that is not whole after `join_max` bytes, or where the file ends, is flagged `partial`.
- Runtimes cut at bytes: a character may begin in one part and end in the next. Whether a text is UTF-8 shows when it is joined.
- `stream` goes into the document, the container's time dates records that have none.
- A line that is none of these is a record as it stands, flagged `not_cri`. Contents without a byte are no records, as blank lines.
- NULs are taken out and counted; CR before the line end belongs to it; a last line without newline is flagged `unterminated`.

THEORY
The lines are split at blanks into four columns by C iterators, no Python statement per record. The columns prove what they are:
few distinct streams and tags, and the times, put together, match one pattern in linear time (RE2). Where they do not, lines are
read one by one by the same pattern. containerd leaves out zeros at the end of a time, so the columns have no fixed width.
"""

from __future__ import annotations

import re
from itertools import compress, count, repeat
from typing import TYPE_CHECKING

import msgspec
import re2

from shipper.config.fields import ComponentConfig, Duration, Size
from shipper.frame.frame import Cut
from shipper.frame.joining import Columns, Group, Late, Window, columns, join_parts, lined
from shipper.frame.lines import as_utf8, clean, is_utf8

if TYPE_CHECKING:
    from collections.abc import Sequence

_TIME = rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
_TIMES = re2.compile(rb"(?:%b )*" % _TIME)
_TAG = re.compile(rb"[FP](?::[^ ]*)?")
_LINE = re.compile(rb"(%b) (stdout|stderr) (%b)(?: (.*))?" % (_TIME, _TAG.pattern), re.DOTALL)
_STREAMS = {b"stdout": b',"stream":"stdout"', b"stderr": b',"stream":"stderr"'}
_FOREIGN = b""
"""Stream of lines that are no CRI lines."""
_EXTRAS = {**_STREAMS, _FOREIGN: b""}
_FIELDS = 4


class Fields(msgspec.Struct, frozen=True):
    """What stands in the lines, as columns."""

    times: Sequence[bytes]
    streams: Sequence[bytes]
    tags: Sequence[bytes]
    texts: Sequence[bytes]
    """Each with its newline."""


class Cri:
    """Records of containers, from the files that containerd and CRI-O write for Kubernetes."""

    class Config(ComponentConfig):
        """Settings of the cri frame."""

        join_max: Size = Size(1 << 20)
        """Bytes of the file after which a record in parts is taken as it is, flagged `partial`. At most `max_record`."""
        join_timeout: Duration = Duration(10)
        """Time after which parts that nothing follows are taken as they are, flagged `partial`."""

    adds = ("stream",)
    joins = True
    """Whole lines may be left at the end of a window."""

    def __init__(self, config: Config | None = None, *, blanks: bool = False) -> None:
        """Take the settings. With `blanks` records without text are records too, for a frame on top of this one."""
        config = config or Cri.Config()
        self.flush_after_s = float(config.join_timeout)
        self._join_max = int(config.join_max)
        self._blanks = blanks

    def cut(self, data: bytes, base: int, *, final: bool) -> Cut:
        """Cut whole records; see `Frame.cut`."""
        end = len(data) if final else data.rfind(b"\n") + 1
        if not end:
            return Cut(b"", 0, base)
        block = data if end == len(data) else data[:end]
        raw, starts, stops = lined(block, base)
        if not block.endswith(b"\n"):
            raw[-1] += b"\n"
        found = columns(starts, stops)
        fields = _fields_fast(block, raw) or _fields_carefully(raw, found, base + end)
        if not block.endswith(b"\n") and fields.streams[-1] != _FOREIGN:
            found.mark(len(raw) - 1, ("unterminated",))
        groups, taken = _groups_of(fields, found, Window(base + len(data), final, self._join_max))
        if taken < len(raw):
            end = starts[taken] - base
            found.leave(taken)
        found.skipped["nul"] = block.count(b"\0", 0, end) if b"\0" in block else 0
        found.extras = _extras(fields.streams[:taken])
        times = fields.times[:taken]
        found.times = Late(len(times), lambda: list(map(bytes.decode, times)))
        rows = self._rows(list(fields.texts[:taken]), groups, raw, found)
        return found.cut(b"".join(rows), base + end, rows)

    def _rows(self, texts: list[bytes], groups: Sequence[Group], raw: Sequence[bytes], found: Columns) -> list[bytes]:
        """The records' texts, each with its newline, and what is to be said of them."""
        for group in groups:
            joined = b"".join([texts[line][:-1] for line in group.lines])
            for line in group.lines:
                texts[line] = b"\n"
            texts[group.lines[0]] = joined + b"\n"
            found.join(group)
        text = b"".join(texts)
        if b"\r" in text:
            texts = [one[:-2] + b"\n" if one.endswith(b"\r\n") else one for one in texts]
        if not self._blanks and b"\n" in texts:
            for line in compress(count(), map(b"\n".__eq__, texts)):
                if line not in found.drop:
                    found.skip_blank(line, raw)
        if not is_utf8(text):
            for line in [line for line, row in enumerate(texts) if not is_utf8(row)]:
                texts[line] = as_utf8(texts[line])
                found.mark(line, ("invalid_utf8",))
        return list(found.kept(texts))


def _extras(streams: Sequence[bytes]) -> list[bytes] | bytes:
    """The fragment of each line, or the one of all."""
    if streams and streams.count(streams[0]) == len(streams):
        return _EXTRAS[streams[0]]
    return list(map(_EXTRAS.__getitem__, streams))


def _fields_fast(block: bytes, raw: list[bytes]) -> Fields | None:
    """The columns of a block all of whose lines are CRI lines; None where they may not be."""
    if b"\0" in block:
        return None
    try:
        times, streams, tags, texts = zip(*map(bytes.split, raw, repeat(b" "), repeat(_FIELDS - 1)), strict=False)
    except ValueError:  # a line of less than four fields
        return None
    if not set(streams) <= _STREAMS.keys() or not all(map(_TAG.fullmatch, set(tags))):
        return None
    return Fields(times, streams, tags, texts) if _TIMES.fullmatch(b" ".join(times) + b" ") else None


def _fields_carefully(raw: Sequence[bytes], found: Columns, stop: int) -> Fields:
    """Line by line, with NULs. What is no CRI line is marked, and stands as a whole record without a stream."""
    rows: list[tuple[bytes, bytes, bytes, bytes]] = []
    for number, line in enumerate(raw):
        start = found.starts[number]
        if fits := _LINE.fullmatch(line[:-1].replace(b"\0", b"")):
            rows.append((fits[1], fits[2], fits[3], (fits[4] or b"") + b"\n"))
            continue
        row, marks, _ = clean(line if start + len(line) <= stop else line[:-1], start)
        found.mark(number, ("not_cri", *marks))
        rows.append((b"", _FOREIGN, b"F", row + b"\r\n"))  # taken off again with that of the others
    times, streams, tags, texts = zip(*rows, strict=True)
    return Fields(times, streams, tags, texts)


def _groups_of(fields: Fields, found: Columns, window: Window) -> tuple[list[Group], int]:
    if not any(tag.startswith(b"P") for tag in set(fields.tags)):
        return [], len(fields.tags)
    parts = list(compress(count(), map(bytes.startswith, fields.tags, repeat(b"P"))))
    return join_parts(found, fields.streams, parts, window)
