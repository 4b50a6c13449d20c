r"""Syslog: one message to one JSON object, RFC 5424 and the older form of RFC 3164, also as files hold it, without a priority.

RULES
- Keys are ECS names, dotted: `message`, `@timestamp`, `host.hostname`, `process.name`, `process.pid`, `log.level`,
  `log.syslog.*` (ECS 8, "Syslog fields"). So they stand beside the `log` and `host` objects of the agent without a clash.
- What a message does not say gets no key; nothing is invented, neither priority nor host nor time.
- Text that is no syslog is `message` as a whole, and so is what follows the last part that could be read.
- No text gets lost: where a part was read and could not be kept as it stands (a date without a year, a day that does not exist,
  digits below the nanosecond, an element given twice), the message is in `event.original` as it came. Not counted as lost
  are white space between parts, escapes, and the offset of a time, whose moment is kept.
- Bytes that are not UTF-8 become the characters of their number, as in files read by lines. NUL, CR and LF at the end belong to
  the transport (RFC 6587, 3.4.2); the byte order mark of RFC 5424, 6.4 is no part of the text.
- `process.pid` is a number; a PROCID that is none is `log.syslog.procid`, as an index types the field once for all.
- A date without a year takes the `year` it is told, or the one nearest to the time of arrival (which makes New Year and the hour
  that comes twice in autumn right), or stays out.

THEORY
RFC 3164 describes what was seen, not what is right. Three shapes are common after the date: `host tag[pid]: text` from the
network, `tag[pid]: text` on /dev/log (glibc has no host there), and `host text`. A first word that ends in a colon is a tag,
any other word is the host. Dates are `Feb  5 14:30:45`, the same with a fraction or with a year, or ISO 8601 as rsyslog writes.
All patterns are linear: their repetitions are possessive or cannot match in two ways.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import msgspec

from shipper.model.localtime import Timezone, nearest_years, readings

if TYPE_CHECKING:
    from datetime import tzinfo

FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("ntp", "security", "console", "clock", *(f"local{number}" for number in range(8))),
)
"""By code; RFC 5424, table 1, in the short words of syslog.conf."""
SEVERITIES = ("emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug")
"""By code; RFC 5424, table 2."""
COUNTED = re.compile(rb"([1-9][0-9]{0,8}) (?=<[0-9]{1,3}>)")
"""How a message begins whose length is told (RFC 6587, 3.4.1). A digit alone would take `17 files copied` for one."""
COUNTED_BEGUN = re.compile(rb"[1-9][0-9]{0,8}(?: (?:<[0-9]{0,3})?)?")
"""Bytes that may become such a beginning."""

_PRIORITY = re.compile(r"<(0|[1-9][0-9]{0,2})>")
_ISO = r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]++))?(Z|[+-][0-9]{2}:[0-9]{2})?"
_STAMP = re.compile(_ISO)
_HEADER = re.compile(r"([1-9][0-9]{0,2}) (-|[0-9]{4}-[^ ]++) ([^ ]++) ([^ ]++) ([^ ]++) ([^ ]++)(?: |\Z)")
_DATE = re.compile(r"([A-Z][a-z]{2}) {1,2}([0-9]{1,2})(?: ([0-9]{4}))? ([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]++))?(?: |\Z)")
_ISO_DATE = re.compile(_ISO + r"(?: |\Z)")
_TAG = re.compile(r"([^ :\[\]]{1,128}+)(?:\[([^ \]]{1,128}+)\])?:(?: |\Z)")
_HOST = re.compile(r"([^ \[\]]{0,254}[^ :\[\]])(?: |\Z)")
_ELEMENT = re.compile(r'\[([^ =\]"]++)((?: ++[^ =\]"]++="[^"\\]*+(?:\\.[^"\\]*+)*+")*+) *+\]', re.DOTALL)
_PARAMETER = re.compile(r' ++([^ =\]"]++)="([^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL)
_ESCAPE = re.compile(r'\\(["\\\]])')
_MONTHS = {
    name: 1 + number
    for number, name in enumerate(("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"))
}
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")
_STRAYS = {0xDC80 + byte: 0x80 + byte for byte in range(0x80)}
FRACTION_DIGITS = 9
_CACHED_TIMES = 4096
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Times(Protocol):
    """What becomes of the times of messages: the text of `@timestamp`, and whether nothing of it was lost."""

    def iso(self, found: re.Match[str]) -> tuple[str | None, bool]:
        """An ISO date: day and clock, fraction, offset."""
        ...

    def date(self, found: re.Match[str], arrival: float | None) -> tuple[str | None, bool]:
        """A date of RFC 3164: month, day, year, clock, fraction."""
        ...


class InUtc:
    """Times in UTC. Holds a cache of seconds."""

    def __init__(self, timezone: str, year: int | None) -> None:
        """`timezone` is that of dates without one, `year` that of dates without one, where it is known."""
        self._zone = Timezone(timezone).info
        self._year = year
        self._seconds: dict[tuple[str, str, int | None], str | None] = {}

    def iso(self, found: re.Match[str]) -> tuple[str | None, bool]:
        """See `Times`."""
        text, fraction, zone = found.groups()
        key = text, zone or "", None
        if key not in self._seconds:
            self._keep(key, _in_utc(text, zone, self._zone))
        return _with_fraction(self._seconds[key], fraction)

    def date(self, found: re.Match[str], arrival: float | None) -> tuple[str | None, bool]:
        """See `Times`."""
        month, day, year, clock, fraction = found.groups()
        key = f"{month} {day} {clock}", year or "", None if arrival is None else int(arrival)
        if key not in self._seconds:
            self._keep(key, _nearest(key[0], int(year) if year else self._year, key[2], self._zone))
        return _with_fraction(self._seconds[key], fraction)

    def _keep(self, key: tuple[str, str, int | None], seconds: str | None) -> None:
        if len(self._seconds) >= _CACHED_TIMES:
            self._seconds.clear()
        self._seconds[key] = seconds


class Reader:
    """Reads messages; one for a source or a frame, as it holds the caches of its times."""

    def __init__(self, timezone: str = "UTC", year: int | None = None, times: Times | None = None) -> None:
        """`timezone` and `year` are those of dates without one; or `times` makes of them what it likes."""
        self._times = times or InUtc(timezone, year)

    def row(self, message: bytes, arrival: float | None = None) -> bytes:
        """One message as a JSON object on one line, UTF-8. `arrival` is in Unix seconds. Never raises for what it holds."""
        return msgspec.json.encode(self.record(decoded(message), arrival))

    def record(self, text: str, arrival: float | None = None) -> dict[str, object]:
        """The fields of one message."""
        priority = _PRIORITY.match(text)
        if priority is None:
            return self._read(text, 0, {}, arrival)
        if int(priority[1]) >= len(PRIORITY_FIELDS):
            return {"message": text}
        fields = PRIORITY_FIELDS[int(priority[1])].copy()
        header = _HEADER.match(text, priority.end())
        if header is not None:
            return self._read_5424(text, header, fields)
        return self._read(text, priority.end(), fields, arrival)

    def _read_5424(self, text: str, header: re.Match[str], fields: dict[str, object]) -> dict[str, object]:
        version, stamp, host, name, process, kind = header.groups()
        fields["log.syslog.version"] = version
        told = {"host.hostname": host, "process.name": name, "log.syslog.msgid": kind}
        fields.update((key, value) for key, value in told.items() if value != "-")
        if process != "-":
            _put_process(fields, process)
        whole = True
        if stamp != "-":
            found = _STAMP.fullmatch(stamp)
            whole = found is not None and _put_time(fields, *self._times.iso(found))
        data, at, once = structured_data(text, header.end())
        if data:
            fields["log.syslog.structured_data"] = data
        fields["message"] = text[at:].removeprefix("\ufeff")
        if not (whole and once):
            fields["event.original"] = text
        return fields

    def _read(self, text: str, at: int, fields: dict[str, object], arrival: float | None) -> dict[str, object]:
        """RFC 3164 from its date on; without a date all of it is text."""
        whole = True
        if iso := _ISO_DATE.match(text, at):
            whole = _put_time(fields, *self._times.iso(iso))
            at = _put_origin(fields, text, iso.end())
        elif date := _DATE.match(text, at):
            whole = _put_time(fields, *self._times.date(date, arrival))
            at = _put_origin(fields, text, date.end())
        fields["message"] = text[at:]
        if not whole:
            fields["event.original"] = text
        return fields


def _put_time(fields: dict[str, object], stamp: str | None, whole: bool) -> bool:  # noqa: FBT001  of one call each
    if stamp is not None:
        fields["@timestamp"] = stamp
    return whole


def _with_fraction(seconds: str | None, fraction: str | None) -> tuple[str | None, bool]:
    if seconds is None:
        return None, False
    digits = fraction or "000"
    return f"{seconds}.{digits[:FRACTION_DIGITS]:0<3}Z", len(digits) <= FRACTION_DIGITS


def decoded(message: bytes) -> str:
    """The text of a message, without what the transport put behind it."""
    message = message.rstrip(b"\0\r\n")
    try:
        return message.decode()
    except UnicodeDecodeError:
        return message.decode("utf-8", "surrogateescape").translate(_STRAYS)


def structured_data(text: str, at: int) -> tuple[dict[str, dict[str, object]], int, bool]:
    """RFC 5424, 6.3: the elements, where the text begins, and whether each parameter of an element has one value.

    What is no structured data is text. Values given twice (6.3.3 allows it) are a list; of elements given twice, which must not
    be, the parameters are put together.
    """
    data: dict[str, dict[str, object]] = {}
    once, stop = True, at
    if text.startswith("-", at):
        return ({}, min(at + 2, len(text)), True) if text[at + 1 : at + 2] in ("", " ") else ({}, at, True)
    while element := _ELEMENT.match(text, stop):
        stop = element.end()
        once = once and element[1] not in data
        parameters = data.setdefault(element[1], {})
        for name, value in _PARAMETER.findall(element[2]):
            _add(parameters, name, _ESCAPE.sub(r"\1", value))
    if stop < len(text) and text[stop] != " ":
        return {}, at, True
    return data, min(stop + 1, len(text)) if stop > at else at, once


def _add(parameters: dict[str, object], name: str, value: str) -> None:
    there = parameters.get(name)
    if isinstance(there, list):
        there.append(value)
    else:
        parameters[name] = value if there is None else [there, value]


def _put_origin(fields: dict[str, object], text: str, at: int) -> int:
    """Put host and tag of RFC 3164, 4.1.2 and 4.1.3; return where the text begins."""
    tag = _TAG.match(text, at)
    if tag is None and (host := _HOST.match(text, at)):
        fields["host.hostname"] = host[1]
        at = host.end()
        tag = _TAG.match(text, at)
    if tag is None:
        return at
    fields["process.name"] = tag[1]
    if tag[2]:
        _put_process(fields, tag[2])
    return tag.end()


def _put_process(fields: dict[str, object], process: str) -> None:
    if _NUMBER.fullmatch(process):
        fields["process.pid"] = int(process)
    else:
        fields["log.syslog.procid"] = process


def _in_utc(text: str, zone: str | None, local: tzinfo) -> str | None:
    try:
        if zone:
            return datetime.fromisoformat(text + zone.replace("Z", "+00:00")).astimezone(UTC).isoformat()[:19]
        return _in_text(readings(datetime.fromisoformat(text), local).seconds[0])
    except (ValueError, OverflowError, IndexError):
        return None


def _nearest(text: str, year: int | None, arrival: int | None, zone: tzinfo) -> str | None:
    """The time of a date without a year, or with `year`; of those that exist the one nearest to `arrival`."""
    month, day, clock = text.split(" ")
    if month not in _MONTHS or (year is None and arrival is None):
        return None
    found: list[int] = []
    for one in [year] if year is not None else nearest_years(_MONTHS[month], int(day), arrival or 0):
        try:
            wall = datetime.fromisoformat(f"{one:04}-{_MONTHS[month]:02}-{int(day):02}T{clock}")
        except ValueError:
            continue
        found += readings(wall, zone).seconds
    if not found:
        return None
    return _in_text(found[0] if arrival is None else min(found, key=lambda seconds: abs(seconds - arrival)))


def _in_text(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]


def _fields_of(priority: int) -> dict[str, object]:
    facility, severity = divmod(priority, len(SEVERITIES))
    return {
        "log.level": SEVERITIES[severity],
        "log.syslog.priority": priority,
        "log.syslog.facility.code": facility,
        "log.syslog.facility.name": FACILITIES[facility],
        "log.syslog.severity.code": severity,
        "log.syslog.severity.name": SEVERITIES[severity],
    }


PRIORITY_FIELDS = [_fields_of(priority) for priority in range(len(FACILITIES) * len(SEVERITIES))]
"""What a priority says, by its number."""
