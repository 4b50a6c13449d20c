"""Intake: from windows of source bytes to batches. One `Intake` per open stream: encoding, frame, overlong lines.

RULES
- The source hands in windows that start at the stream's next unread record; what was no whole record is handed in again.
  So an intake remembers nothing but an overlong line it is in the middle of: its first bytes (at most `max_record`).
- A line longer than `max_record` becomes one record: its first bytes, flagged `truncated`. The rest is read past, in constant
  memory, and counted as bytes cut; the record's origin is the whole line, so nothing is unaccounted.
- Offsets are bytes of the source. UTF-16 is transcoded per window; the rows' origins are computed back from their text.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

import msgspec

from shipper.frame.frame import Cut, Frame
from shipper.frame.lines import as_utf8, is_utf8
from shipper.model.batch import Batch, Stream

_WIDE = {"utf-16": 2, "utf-16-le": 2, "utf-16-be": 2}


class Taken(msgspec.Struct, frozen=True):
    """What became of a window."""

    batch: Batch | None
    next_offset: int
    """Where the next unread record starts; the batch settles up to here."""
    read_from: int
    """Where the next window must start; beyond `next_offset` inside an overlong line."""
    skipped: Mapping[str, int] = {}
    """Source bytes that are no record, by cause: `blank`, `nul`, `cut`."""


class Intake:
    """Cuts the windows of one stream into batches."""

    def __init__(self, stream: Stream, frame: Frame, *, encoding: str = "utf-8", max_record_bytes: int = 1 << 20) -> None:
        """`encoding` is a codec name; `utf-16` reads the byte order mark."""
        self.stream = stream
        self._frame = frame
        self._encoding = encoding
        self._max = max_record_bytes
        self._head: bytes | None = None
        self._head_offset = 0

    def take(self, data: bytes, base: int, *, final: bool) -> Taken:
        """Cut a window. `base` is the source offset of its first byte; `final` says that nothing follows."""
        if self._head is not None:
            return self._skim(data, base, final=final)
        cut = self._cut(data, base, final=final)
        if not cut.count and cut.next_offset == base and len(data) >= self._max:
            whole = data.rfind(b"\n") + 1
            if not whole:
                self._head, self._head_offset = data[: self._max], base
                return self._skim(data[self._max :], base + self._max, final=final)
            cut = self._cut(data[:whole], base, final=True)
        if self._max < len(cut.block):
            cut = _shorten(cut, base, self._max)
        return Taken(self._batch(cut, base), cut.next_offset, cut.next_offset, cut.skipped)

    def _cut(self, data: bytes, base: int, *, final: bool) -> Cut:
        if self._encoding == "utf-8":
            return self._frame.cut(data, base, final=final)
        return self._cut_transcoded(data, base, final=final)

    def _batch(self, cut: Cut, base: int) -> Batch | None:
        if not cut.count:
            return None
        batch = Batch(self.stream, cut.block, cut.count, base, cut.origin)
        batch.flags = dict(cut.flags)
        batch.extras, batch.times = cut.extras, cut.times
        return batch

    def _skim(self, data: bytes, base: int, *, final: bool) -> Taken:
        """Look for the end of an overlong line."""
        assert self._head is not None
        newline = data.find(b"\n")
        if newline < 0 and not final:
            return Taken(None, self._head_offset, base + len(data))
        stop = base + (newline + 1 if newline >= 0 else len(data))
        head, self._head = self._head, None
        text = head.decode(self._encoding, "replace").encode() if self._encoding != "utf-8" else _whole_characters(head)
        row = text.replace(b"\0", b"").replace(b"\n", b" ")
        marks = ("truncated",) if newline >= 0 else ("truncated", "unterminated")
        cut = Cut(row + b"\n", 1, stop, ([self._head_offset], [stop]), {0: marks}, {"cut": stop - self._head_offset - len(head)})
        return Taken(self._batch(cut, self._head_offset), stop, stop, cut.skipped)

    def _cut_transcoded(self, data: bytes, base: int, *, final: bool) -> Cut:
        """Cut a window of another encoding; the origins are computed from each record's text."""
        width = _WIDE.get(self._encoding, 1)
        if self._encoding == "utf-16":
            self._encoding = "utf-16-be" if _is_big_endian(data) else "utf-16-le"
        usable = len(data) - len(data) % width
        text = data[:usable].decode(self._encoding, "replace")
        end = len(text) if final else text.rfind("\n") + 1
        if not end:
            return Cut(b"", 0, base)
        lines = text[:end].split("\n")
        last = lines.pop()
        sizes = [len((line + "\n").encode(self._encoding, "surrogatepass")) for line in lines]
        if last:
            lines.append(last)
            sizes.append(len(last.encode(self._encoding, "surrogatepass")))
        bounds = list(accumulate(sizes, initial=base))
        rows, starts, stops = [], [], []
        flags: dict[int, tuple[str, ...]] = {}
        for line, start, stop in zip(lines, bounds, bounds[1:], strict=False):
            row = line.removeprefix("\ufeff").removesuffix("\r").replace("\0", "")
            if row:
                if "\ufffd" in row:
                    flags[len(rows)] = ("invalid_encoding",)
                rows.append(row)
                starts.append(start)
                stops.append(stop)
        if last and rows:
            flags[len(rows) - 1] = (*flags.get(len(rows) - 1, ()), "unterminated")
        block = "".join(row + "\n" for row in rows).encode("utf-8", "replace")
        return Cut(block, len(rows), bounds[-1] if not final else base + len(data), (starts, stops), flags)


def _is_big_endian(data: bytes) -> bool:
    """By the byte order mark; without one (a window further in), by where the zeros of Latin letters stand."""
    if data.startswith((b"\xfe\xff", b"\xff\xfe")):
        return data.startswith(b"\xfe\xff")
    return data[0::2].count(0) > data[1::2].count(0)


def _whole_characters(head: bytes) -> bytes:
    """`head` without the piece of a character that the cut left at its end."""
    for size in range(1, 4):
        if head[-size] >= 0xC0:
            head = head if is_utf8(head[-size:]) else head[:-size]
            break
        if head[-size] < 0x80:
            break
    return as_utf8(head)


def _shorten(cut: Cut, base: int, max_record_bytes: int) -> Cut:
    """Cut rows of a block that are longer than a small `max_record`."""
    rows = cut.block.split(b"\n")[:-1]
    if max(map(len, rows)) <= max_record_bytes:
        return cut
    origin = cut.origin
    if origin is None:
        bounds = list(accumulate((len(row) + 1 for row in rows), initial=base))
        origin = bounds[:-1], bounds[1:]
    flags, cut_bytes = dict(cut.flags), 0
    for number, row in enumerate(rows):
        if len(row) > max_record_bytes:
            rows[number] = _whole_characters(row[:max_record_bytes])
            flags[number] = (*flags.get(number, ()), "truncated")
            cut_bytes += len(row) - max_record_bytes
    return msgspec.structs.replace(
        cut, block=b"\n".join(rows) + b"\n", origin=origin, flags=flags, skipped={**cut.skipped, "cut": cut_bytes}
    )
