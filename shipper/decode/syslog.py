r"""syslog: lines of RFC 3164 and RFC 5424 in files, with or without a priority.

RULES
- What a line says is what `shipper.model.syslog` reads in it; see there. Only its time is left to the timeline: one without a year
  takes the year nearest to the record before it.
- A line with neither a priority nor a date is refused: it has no syslog header.
- A date that does not exist, or digits below the nanosecond, leave the line in `event.original`, so that nothing of it is lost.

THEORY
Two regular expressions find the lines that programs mostly write, all at once: `date host tag[pid]: text`, and RFC 5424. What
they do not find is read line by line; both ways say the same, which the tests hold. What a priority stands for, and elements of
structured data, are fragments, each made once; whether there is such a date is looked at once for each.
"""

from __future__ import annotations

import re
from operator import add
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from shipper.config.fields import ComponentConfig
from shipper.decode.layout import Lines, Member, Parsed, TextDecoder
from shipper.decode.timestamp import Timeline
from shipper.model.localtime import Timezone  # noqa: TC001  msgspec reads the annotations
from shipper.model.syslog import FRACTION_DIGITS, PRIORITY_FIELDS, Reader, decoded, structured_data

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shipper.model.columns import Values

_LAYOUTS = ("%b %e %H:%M:%S", "iso8601", "%b %e %H:%M:%S.%f", "%b %e %Y %H:%M:%S", "%b %e %Y %H:%M:%S.%f")
_KEPT_MAX = 4096
_ISO = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9}+)?(?:Z|[+-]\d\d:\d\d)?"
_PID = rb"(?P<pid>0|[1-9]\d{0,17}+)"
_OLD = re.compile(
    rb"^(?:(?:<(?P<pri>\d{1,3}+)>)?(?P<stamp>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|%b)(?: |$)"
    rb"(?:(?P<host>[^ \[\]\0\r\n]{0,254}[^ :\[\]\0\r\n])(?: |$))?"
    rb"(?:(?P<name>[^ :\[\]\0\r\n]{1,128}+)(?:\[(?:%b|(?P<procid>[^ \]\0\r\n]{1,128}+))\])?:(?: |$))?(?P<text>[^\0\r\n]*+)$|.*+)"
    % (_ISO, _PID),
    re.MULTILINE,
)
"""RFC 3164, as files have it, too."""
_NEW = re.compile(
    rb"^(?:<(?P<pri>\d{1,3}+)>(?P<version>[1-9]\d{0,2}+) (?:-|(?P<stamp>%b)) (?:-|(?P<host>[^ \0\r\n]++)) (?:-|(?P<name>[^ \0\r\n]++)) "
    rb"(?:-|%b|(?P<procid>[^ \0\r\n]++)) (?:-|(?P<msgid>[^ \0\r\n]++)) "
    rb'(?:-|(?P<data>(?:\[[^ =\]"\0\r\n]++(?: ++[^ =\]"\0\r\n]++="[^"\\\0\r\n]*+")*+ *+\])++))'
    rb"(?: (?!\xef\xbb\xbf)(?P<text>[^\0\r\n]*+))?$|.*+)" % (_ISO, _PID),
    re.MULTILINE,
)
"""RFC 5424 without escapes in its structured data, and without a byte order mark."""
_SURE = {_OLD: "stamp", _NEW: "version"}
"""A group that is not empty where a line was found."""
_PARTS = ("pri", "version", "stamp", "host", "name", "pid", "procid", "msgid", "data", "text", "original")
_NAMES = {
    "text": "message", "version": "log.syslog.version", "host": "host.hostname", "name": "process.name", "pid": "process.pid",
    "procid": "log.syslog.procid", "msgid": "log.syslog.msgid", "stamp": "@timestamp", "original": "event.original",
}  # fmt: skip
_DATA = "log.syslog.structured_data"
_OF_PRIORITY = tuple(name for name in PRIORITY_FIELDS[0] if name != "log.level")
_LEVELS = {b"": b"", **{b"%d" % number: str(fields["log.level"]).encode() for number, fields in enumerate(PRIORITY_FIELDS)}}
_PRIORITIES = {
    b"": b"",
    **{
        b"%d" % number: b"," + msgspec.json.encode({name: fields[name] for name in _OF_PRIORITY})[1:-1]
        for number, fields in enumerate(PRIORITY_FIELDS)
    },
}
"""A priority as it is written -> what it stands for, as a fragment."""
_Parts = dict[str, list[bytes]]


class Syslog(TextDecoder):
    """Lines of syslog, RFC 3164 and RFC 5424, with or without a priority, with ECS names.

    They become `message`, `host.hostname`, `process.name`, `process.pid`, `log.level` and `log.syslog.*`. A date without a year
    takes the year nearest to the record before it. For messages that come over a socket there is the source `syslog`; for files in
    which messages have their length before them, the frame `syslog`.
    """

    class Config(ComponentConfig):
        """Settings of syslog."""

        zone: Timezone | None = None
        """Zone of times that have none, such as `Europe/Berlin`: RFC 3164 is in local time.
        Left out: that of the pipeline's `timestamp`, or UTC."""
        fold: Literal["auto", "first", "second"] = "auto"
        """Which is meant by a time that comes twice, as the clock goes back; see `timestamp`."""

    members = (
        Member("message"),
        Member("log.level", "word"),
        Member("host.hostname"),
        Member("process.name"),
        Member("process.pid", "number"),
        Member("log.syslog.procid"),
        Member("log.syslog.msgid"),
        Member("log.syslog.version", "word"),
        Member("event.original"),
    )

    begins = re.compile(rb"\n(?:<\d|[A-Z][a-z]{2} {1,2}\d|\d{4}-\d\d-\d\dT)")
    refusal = "no syslog header"

    def __init__(self, config: Config, reads: Sequence[str], adds: Sequence[str], spare: Sequence[str] = ()) -> None:
        """See `decoder.py` for the arguments."""
        super().__init__(config, reads, adds, spare)
        self.timeline: Timeline = Timeline(_LAYOUTS, config.zone or "UTC", config.fold)
        self._stamps = _Stamps(self.timeline)
        self._data = _Data()
        self._reader = Reader(times=_AsWritten(self._stamps))

    def parse(self, lines: Sequence[bytes]) -> Parsed:
        """Find the parts of all lines at once, of the others one by one."""
        parts, left = _found(lines)
        data = list(map(self._data.__getitem__, parts["data"]))
        refused: dict[int, str] = {}
        if b"" in parts["name"]:  # how long names may be is said in characters
            left |= {row for row, name in enumerate(parts["name"]) if not (name or lines[row].isascii())}
        for row in sorted(left | self._doubtful(parts, data)):
            fields = self._reader.record(decoded(lines[row]))
            if not ("log.syslog.priority" in fields or "@timestamp" in fields):
                refused[row] = self.refusal
            data[row] = _put(parts, row, fields)
        columns: dict[str, Sequence[bytes]] = {name: parts[part] for part, name in _NAMES.items()}
        columns["log.level"] = list(map(_LEVELS.__getitem__, parts["pri"]))
        extras = list(map(_PRIORITIES.__getitem__, parts["pri"])) if any(parts["pri"]) else None
        names = () if extras is None else _OF_PRIORITY
        if any(data):
            found = map(_none_as_nothing, data)
            names, extras = (*names, _DATA), list(found if extras is None else map(add, extras, found))
        return Parsed(columns, refused, extras, names, _Extras(parts["pri"], data).column)

    def _doubtful(self, parts: _Parts, data: Sequence[bytes | None]) -> set[int]:
        """Rows with a priority, a date or structured data that is none."""
        rows = {row for row, found in enumerate(data) if found is None} if None in data else set()
        if not _LEVELS.keys() >= set(parts["pri"]):
            rows |= {row for row, priority in enumerate(parts["pri"]) if priority not in _LEVELS}
        stamps = list(map(self._stamps.__getitem__, parts["stamp"]))
        return rows | {row for row, is_time in enumerate(stamps) if not is_time} if False in stamps else rows


def _found(lines: Sequence[bytes]) -> tuple[_Parts, set[int]]:
    """The parts of the lines that are of a common form, and the rows of those that are not."""
    parts: _Parts = {name: [b""] * len(lines) for name in _PARTS}
    left = list(range(len(lines)))
    first = _NEW.match(lines[0]) if lines else None
    for pattern in (_NEW, _OLD) if first is not None and first["version"] else (_OLD, _NEW):
        if not left:
            break
        text = Lines.of(lines if len(left) == len(lines) else [lines[row] for row in left]).text
        found = pattern.findall(text[:-1])
        columns = dict(zip(pattern.groupindex, map(list, zip(*found, strict=True)), strict=True))
        sure = columns[_SURE[pattern]]
        if len(left) == len(lines):
            parts.update(columns)
        else:
            for name, column in columns.items():
                parts[name] = _placed(parts[name], left, column)
        left = [row for row, value in zip(left, sure, strict=True) if not value] if b"" in sure else []
    return parts, set(left)


def _placed(column: list[bytes], rows: Sequence[int], values: Sequence[bytes]) -> list[bytes]:
    """The column with the values of some rows."""
    for row, value in zip(rows, values, strict=True):
        column[row] = value
    return column


def _put(parts: _Parts, row: int, fields: Mapping[str, Any]) -> bytes:
    """Take over what was read of one line; return its structured data."""
    for part, name in _NAMES.items():
        parts[part][row] = str(fields.get(name, "")).encode()
    parts["pri"][row] = str(fields.get("log.syslog.priority", "")).encode()
    return b',"%b":%b' % (_DATA.encode(), msgspec.json.encode(fields[_DATA])) if _DATA in fields else b""


def _none_as_nothing(fragment: bytes | None) -> bytes:
    return fragment or b""


class _Data(dict[bytes, "bytes | None"]):
    """Structured data -> its fragment; None where it is read with its line. Bounded; forgets everything when full."""

    def __missing__(self, text: bytes) -> bytes | None:
        """Read it."""
        if len(self) >= _KEPT_MAX:
            self.clear()
        whole = text.decode()
        data, at, once = structured_data(whole, 0)
        sound = at == len(whole) and once
        self[text] = (b',"%b":%b' % (_DATA.encode(), msgspec.json.encode(data)) if data else b"") if sound else None
        return self[text]


class _Stamps(dict[bytes, bool]):
    """A date as it is written -> whether there is such a time. Bounded; forgets everything when full."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__({b"": True})
        self._timeline = timeline

    def __missing__(self, text: bytes) -> bool:
        """Read it."""
        if len(self) >= _KEPT_MAX:
            self.clear()
        self[text] = not text or self._timeline.can_read(text.decode())
        return self[text]


class _AsWritten:
    """Times of messages as they stand in the text."""

    def __init__(self, stamps: _Stamps) -> None:
        self._stamps = stamps

    def iso(self, found: re.Match[str]) -> tuple[str | None, bool]:
        """See `model.syslog.Times`."""
        return self._written(found, found[2])

    def date(self, found: re.Match[str], _arrival: float | None) -> tuple[str | None, bool]:
        """See `model.syslog.Times`."""
        return self._written(found, found[5])

    def _written(self, found: re.Match[str], fraction: str | None) -> tuple[str, bool]:
        text = found[0].rstrip(" ")
        return text, len(fraction or "") <= FRACTION_DIGITS and self._stamps[text.encode()]


class _Extras:
    """Columns of what priorities and structured data say."""

    def __init__(self, priorities: Sequence[bytes], data: Sequence[bytes | None]) -> None:
        self._priorities, self._data = priorities, data

    def column(self, name: str) -> Values:
        """The column of a field."""
        if name == _DATA:
            return [msgspec.json.decode(b"{" + fragment[1:] + b"}")[_DATA] if fragment else None for fragment in self._data]
        return [PRIORITY_FIELDS[int(priority)][name] if priority else None for priority in self._priorities]
