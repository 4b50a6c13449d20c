r"""Syslog: records of files and pipes that hold syslog messages, one a line, or with their length before them.

RULES
- A record is the JSON object that `shipper.model.syslog` makes of a message; its origin is the message in the source, its length
  and its line end included.
- A line that begins with a length, a blank and a priority (`83 <34>1 …`, RFC 6587, 3.4.1) is so many bytes long, whatever they
  are; newlines in it are content. Where the source ends before (or `max_record` does), it was no length: the line is a record.
- Everything else is cut as `lines` does it: CR, blank lines, NUL runs, the byte order mark, bytes that are not UTF-8 and their
  flags. An unfinished last line is left, or flagged `unterminated` where the source ends.
- A frame knows no time, and what it makes of a file must be the same on every reading. So a date without a year (RFC 3164) takes
  the year from the setting; without it the record is left undated, its text in `event.original`, and the pipeline dates it by
  the records around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from shipper.config.fields import ComponentConfig
from shipper.frame.frame import Cut
from shipper.frame.lines import clean, is_utf8
from shipper.model.batch import merge_counts
from shipper.model.localtime import Timezone
from shipper.model.syslog import COUNTED, Reader

if TYPE_CHECKING:
    from collections.abc import Sequence


class Syslog:
    """Syslog messages in files, RFC 5424 or RFC 3164, with or without a priority, as JSON objects with ECS names."""

    class Config(ComponentConfig):
        """Settings of the syslog frame."""

        timezone: Timezone = Timezone("UTC")
        """Zone of times that have none, such as `Europe/Berlin`."""
        year: Annotated[int, msgspec.Meta(ge=1970, le=9999)] | None = None
        """Year of dates that have none. Left out, records with such dates keep them in `event.original` only."""

    adds: Sequence[str] = ()

    def __init__(self, config: Config | None = None) -> None:
        """Take the settings."""
        config = config or Syslog.Config()
        self._reader = Reader(config.timezone, config.year)

    def cut(self, data: bytes, base: int, *, final: bool) -> Cut:
        """Cut whole messages; see `Frame.cut`."""
        records = _Records(self._reader, base)
        at = 0
        while at < len(data):
            stop = _take(records, data, at, final=final)
            if stop == at:
                break
            at = stop
        return records.result(base + at)


def _take(records: _Records, data: bytes, at: int, *, final: bool) -> int:
    """Take the record that begins at `at`; where it ends, or `at` if it is not whole."""
    head = COUNTED.match(data, at)
    if head is not None:
        stop = head.end() + int(head[1])
        if stop <= len(data):
            records.message(data[head.end() : stop], at, stop)
            return stop
        if not final:
            return at
    stop = data.find(b"\n", at) + 1 or (len(data) if final else at)
    if stop > at:
        records.line(data[at:stop], at)
    return stop


class _Records:
    """Collects the records of one window, whose places count from `base` on."""

    def __init__(self, reader: Reader, base: int) -> None:
        self._reader = reader
        self._base = base
        self._rows: list[bytes] = []
        self._starts: list[int] = []
        self._stops: list[int] = []
        self._flags: dict[int, tuple[str, ...]] = {}
        self._skipped: dict[str, int] = {}

    def line(self, line: bytes, start: int) -> None:
        """Take a line, with its newline if it has one."""
        text, marks, nuls = clean(line, self._base + start)
        skipped = {"nul": nuls} if nuls else {}
        if text:
            self._put(text, marks, start, start + len(line))
        else:
            skipped["blank"] = len(line) - nuls
        merge_counts(self._skipped, skipped)

    def message(self, message: bytes, start: int, stop: int) -> None:
        """Take a message that stands with its length at [start, stop)."""
        self._put(message, () if is_utf8(message) else ("invalid_utf8",), start, stop)

    def _put(self, message: bytes, marks: tuple[str, ...], start: int, stop: int) -> None:
        if marks:
            self._flags[len(self._rows)] = marks
        self._rows.append(self._reader.row(message))
        self._starts.append(self._base + start)
        self._stops.append(self._base + stop)

    def result(self, next_offset: int) -> Cut:
        """The window's records, up to the source byte `next_offset`."""
        text = b"\n".join(self._rows) + b"\n" if self._rows else b""
        origin = self._starts, self._stops
        return Cut(text, len(self._rows), next_offset, origin, self._flags, self._skipped)
