"""Intake: from windows of source bytes to batches. One `Intake` per open stream: encoding, frame, overlong lines.

RULES
- The source hands in windows that start at the stream's next unread record; what was no whole record is handed in again.
  So an intake remembers nothing but an overlong line it is in the middle of: its first bytes (at most `max_record`).
- A window that is longer than `max_record` always leads further: records are taken from it, or an overlong line is read past.
- A line longer than `max_record` becomes one record: its first bytes, flagged `truncated`. The rest is read past, in constant
  memory, and counted as bytes cut; the record's origin is the whole line, so nothing is unaccounted. NULs are not counted: what
  a file system leaves after a power cut hides no record. A record that a frame joined is cut at `max_record` likewise.
- What is a record, and its text, depends on the source's bytes alone, not on how they are cut into windows.
- Offsets are bytes of the source. Other encodings are turned into UTF-8 line by line, and the records' origins back. Lines with
  bytes that are not of the encoding have U+FFFD in their place, and their record is flagged `invalid_encoding`.
"""

from __future__ import annotations

import codecs
from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING

import msgspec

from shipper.frame.frame import Cut, Frame
from shipper.frame.lines import split_keeping
from shipper.model.batch import Batch, Stream, line_bounds, merge_counts

if TYPE_CHECKING:
    from collections.abc import Sequence

_NEWLINES = {"utf-16-le": b"\n\0", "utf-16-be": b"\0\n"}


class Taken(msgspec.Struct, frozen=True):
    """What became of a window."""

    batch: Batch | None
    next_offset: int
    """Where the next unread record starts; the batch settles up to here."""
    read_from: int
    """Where the next window must start; beyond `next_offset` inside an overlong line."""
    skipped: dict[str, int] = {}
    """Source bytes that are no record, by cause: `blank`, `nul`, `cut` (this one measured in UTF-8)."""


class Intake:
    """Cuts the windows of one stream into batches."""

    def __init__(self, stream: Stream, frame: Frame, *, encoding: str = "utf-8", max_record_bytes: int = 1 << 20) -> None:
        """`encoding` is UTF-16 or a codec of one byte a character; `utf-16` goes by the byte order mark."""
        self.stream = stream
        self._frame = frame
        self._max = max_record_bytes
        self._overlong: _Overlong | None = None
        self._use(encoding)

    def _use(self, encoding: str) -> None:
        self._encoding = encoding
        self._newline = _NEWLINES.get(encoding, b"\n")

    def take(self, data: bytes, base: int, *, final: bool) -> Taken:
        """Cut a window. `base` is the source offset of its first byte; `final` says that nothing follows."""
        if self._encoding == "utf-16" and not self._tell_byte_order(data, base, final=final):
            return Taken(None, base, base)
        if self._overlong is not None or find_overlong(data, 0, self._max, self._newline) >= 0:
            return self._take_overlong(data, base, final=final)
        cut = self._cut(data, base, final=final)
        return Taken(self._batch(cut, base), cut.next_offset, cut.next_offset, dict(cut.skipped))

    def whole_lines(self, data: bytes) -> int:
        """How many bytes of `data`, which starts at a line's beginning, are lines with their end."""
        return _last_line_end(data, 0, len(data), self._newline)

    def _tell_byte_order(self, data: bytes, base: int, *, final: bool) -> bool:
        """Settle the byte order of UTF-16; False while there is too little to tell it by."""
        mark = data[:2] if base == 0 else b""
        if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            self._use("utf-16-le" if mark == codecs.BOM_UTF16_LE else "utf-16-be")
            return True
        little, big = (data.decode(encoding, "replace").count("\n") for encoding in _NEWLINES)
        if little == big:  # without lines, by where the zeros of Latin letters stand
            little, big = data[1::2].count(0), data[0::2].count(0)
        if little == big and not final and len(data) <= self._max:
            return False
        self._use("utf-16-be" if big > little else "utf-16-le")
        return True

    def _batch(self, cut: Cut, base: int) -> Batch | None:
        if not cut.count:
            return None
        origin = cut.origin if cut.origin is not None or cut.lines is None else line_bounds(cut.lines, base)
        batch = Batch(self.stream, cut.block, cut.count, base, origin)
        batch.lines, batch.is_contiguous = cut.lines, cut.origin is None
        batch.flags = dict(cut.flags)
        batch.extras, batch.times = cut.extras, cut.times
        return batch

    def _cut(self, data: bytes, base: int, *, final: bool) -> Cut:
        """Cut a window without overlong lines."""
        cut = self._frame_cut(data, base, final=final)
        if not cut.count and cut.next_offset == base and len(data) > self._max:
            # The frame waits for more of a record than a window may hold: it gets no more.
            end = _last_line_end(data, 0, self._max + len(self._newline), self._newline)
            cut = self._frame_cut(data[:end], base, final=True)
        if cut.origin is not None and find_overlong(cut.block, 0, self._max, b"\n") >= 0:
            return _shorten(cut, self._max)
        return cut

    def _frame_cut(self, data: bytes, base: int, *, final: bool) -> Cut:
        if self._encoding == "utf-8":
            return self._frame.cut(data, base, final=final)
        return self._cut_transcoded(data, base, final=final)

    def _cut_transcoded(self, data: bytes, base: int, *, final: bool) -> Cut:
        """Cut a window of another encoding; offsets go through a table of where the lines start, here and there."""
        lines = self._lines(data)
        if not final and lines and not lines[-1].endswith(self._newline):
            lines.pop()
        texts, broken = [], []
        for line in lines:
            try:
                texts.append(line.decode(self._encoding).encode())
            except UnicodeError:
                texts.append(line.decode(self._encoding, "replace").encode())
                broken.append(len(texts) - 1)
        source = list(accumulate(map(len, lines), initial=base))
        there = dict(zip(accumulate(map(len, texts), initial=base), source, strict=True))
        cut = self._frame.cut(b"".join(texts), base, final=final)
        starts, stops = cut.origin if cut.origin is not None else (list(there)[:-1], list(there)[1:])
        starts, stops = list(map(there.__getitem__, starts)), list(map(there.__getitem__, stops))
        rows = {start: row for row, start in enumerate(starts)}
        flags = dict(cut.flags)
        for start in (source[number] for number in broken):
            if start in rows:
                flags[rows[start]] = (*flags.get(rows[start], ()), "invalid_encoding")
        end = there[cut.next_offset]
        outside = end - base - sum(stops) + sum(starts)
        skipped = {"blank": outside} if outside > 0 else {}
        return msgspec.structs.replace(cut, next_offset=end, origin=(starts, stops), flags=flags, skipped=skipped)

    def _lines(self, data: bytes) -> list[bytes]:
        if len(self._newline) == 1:
            return split_keeping(data)
        lines, at = [], 0
        while at < len(data):
            end = _line_end(data, at, self._newline) or len(data)
            lines.append(data[at:end])
            at = end
        return lines

    def _take_overlong(self, data: bytes, base: int, *, final: bool) -> Taken:
        """Cut a window with overlong lines in it. No record of the frame goes on past one: it is left as it is, as at the end."""
        cuts: list[tuple[int, Cut]] = []
        at, next_offset = 0, base
        while at < len(data) or self._overlong is not None:
            if self._overlong is None:
                start = find_overlong(data, at, self._max, self._newline)
                cut = self._cut(data[at : None if start < 0 else start], base + at, final=final or start >= 0)
                cuts.append((base + at, cut))
                next_offset = cut.next_offset
                if start < 0:
                    break
                self._overlong, at = _Overlong(base + start, self._encoding, self._max + 1), start
            end = _line_end(data, at, self._newline)
            if not end and not final:
                usable = len(data) - (len(data) - at) % len(self._newline)
                self._overlong.add(data[at:usable])
                return self._taken(cuts, self._overlong.start, base + usable)
            self._overlong.add(data[at : end - len(self._newline) if end else None])
            at = end or len(data)
            next_offset = base + at
            cuts.append((self._overlong.start, self._ended(self._overlong, next_offset, terminated=end > 0)))
            self._overlong = None
        return self._taken(cuts, next_offset, next_offset)

    def _ended(self, line: _Overlong, stop: int, *, terminated: bool) -> Cut:
        """The record of an overlong line, if there is one: the frame reads what was kept of it."""
        row = bytes(line.head)
        if line.size == len(row):
            row = row.removesuffix(b"\r")
        truncated = len(row) > self._max
        if truncated:
            row = _whole_characters(row[: self._max])
        cut = self._frame.cut(row + b"\n", line.start, final=True)
        if cut.count and find_overlong(cut.block, 0, self._max, b"\n") >= 0:
            cut = _shorten(cut, self._max)
        marks = (*cut.flags.get(0, ()), *(("truncated",) if truncated else ()), *(() if terminated else ("unterminated",)))
        skipped = {"nul": line.nuls, "cut": cut.skipped.get("cut", 0) + (line.size - len(row) if truncated else 0)}
        if not cut.count:
            skipped = {"nul": line.nuls, "blank": stop - line.start - line.nuls}
        return msgspec.structs.replace(
            cut,
            next_offset=stop,
            origin=([line.start] * cut.count, [stop] * cut.count),
            flags={0: tuple(dict.fromkeys(marks))} if marks and cut.count else {},
            skipped={cause: size for cause, size in skipped.items() if size},
        )

    def _taken(self, cuts: Sequence[tuple[int, Cut]], next_offset: int, read_from: int) -> Taken:
        """The cuts of one window, each with the offset it begins at, as one."""
        starts: list[int] = []
        stops: list[int] = []
        flags: dict[int, tuple[str, ...]] = {}
        extras: list[bytes] = []
        times: list[str] = []
        skipped: Counter[str] = Counter()
        for base, cut in cuts:
            flags.update({len(starts) + row: marks for row, marks in cut.flags.items()})
            origin = cut.origin or _contiguous(cut, base)
            starts += origin[0]
            stops += origin[1]
            extras += [cut.extras or b""] * cut.count if cut.extras is None or isinstance(cut.extras, bytes) else cut.extras
            times += cut.times if cut.times is not None else [""] * cut.count
            merge_counts(skipped, cut.skipped)
        whole = Cut(b"".join(cut.block for _, cut in cuts), len(starts), next_offset, (starts, stops), flags)
        if any(cut.extras is not None for _, cut in cuts):
            whole = msgspec.structs.replace(whole, extras=extras, times=times)
        return Taken(self._batch(whole, cuts[0][0] if cuts else next_offset), next_offset, read_from, dict(skipped))


class _Overlong:
    """A line that is read past: its first `keep` bytes in UTF-8, NULs left out, and how much of it there was."""

    __slots__ = ("_decoder", "_keep", "head", "nuls", "size", "start")

    def __init__(self, start: int, encoding: str, keep: int) -> None:
        self.start = start
        self.head = bytearray()
        self.size = 0
        self.nuls = 0
        self._keep = keep
        self._decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)("replace")

    def add(self, piece: bytes) -> None:
        """Take the next piece of the line."""
        text = piece if self._decoder is None else self._decoder.decode(piece).encode()
        content = text.replace(b"\0", b"")
        self.size += len(content)
        self.nuls += len(text) - len(content)
        self.head += content[: self._keep - len(self.head)]


def find_overlong(data: bytes, at: int, limit: int, newline: bytes) -> int:
    """Where the first line of more than `limit` bytes starts, from the line at `at` on; -1 without one. One search per `limit`."""
    while len(data) - at > limit:
        end = _last_line_end(data, at, at + limit + len(newline), newline)
        if not end:
            return at
        at = end
    return -1


def _last_line_end(data: bytes, at: int, stop: int, newline: bytes) -> int:
    """Behind the last newline of data[at:stop], 0 without one; `at` is the start of a character."""
    found = data.rfind(newline, at, stop)
    while found >= 0 and (found - at) % len(newline):
        found = data.rfind(newline, at, found + len(newline) - 1)
    return found + len(newline) if found >= 0 else 0


def _line_end(data: bytes, at: int, newline: bytes) -> int:
    """Behind the first newline from `at` on, 0 without one; `at` is the start of a character."""
    found = data.find(newline, at)
    while found >= 0 and (found - at) % len(newline):
        found = data.find(newline, found + 1)
    return found + len(newline) if found >= 0 else 0


def _whole_characters(head: bytes) -> bytes:
    """`head` without the piece of a character that a cut left at its end; other bytes that are not UTF-8 stay."""
    return head[: codecs.utf_8_decode(head, "surrogateescape", False)[1]]


def _contiguous(cut: Cut, base: int) -> tuple[list[int], list[int]]:
    """The origin of lines that stand one after the other."""
    bounds = list(accumulate((len(row) + 1 for row in cut.block.split(b"\n")[:-1]), initial=base))
    return bounds[:-1], bounds[1:]


def _shorten(cut: Cut, max_record_bytes: int) -> Cut:
    """Cut rows that are longer than `max_record_bytes`."""
    rows = cut.block.split(b"\n")[:-1]
    flags, cut_bytes = dict(cut.flags), 0
    for number, row in enumerate(rows):
        if len(row) > max_record_bytes:
            rows[number] = _whole_characters(row[:max_record_bytes])
            flags[number] = (*flags.get(number, ()), "truncated")
            cut_bytes += len(row) - len(rows[number])
    skipped = {**cut.skipped, "cut": cut_bytes}
    return msgspec.structs.replace(cut, block=b"\n".join(rows) + b"\n", flags=flags, skipped=skipped)
