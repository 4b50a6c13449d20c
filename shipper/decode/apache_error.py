r"""apache_error: the error log of Apache httpd, 2.4 and 2.2.

FORMAT (httpd, server/log.c, the default ErrorLogFormat)
    [Thu Feb 05 14:30:45.123456 2026] [core:error] [pid 7:tid 9] (2)No such file: [client 1.2.3.4:5678] AH00128: text, referer: http://…
    [Thu Feb 05 14:30:45 2026] [error] [client 1.2.3.4] text
- `message` is the text as it stands, the error of the system and the number of the message (`AH00128`) included, so that it reads
  as it is searched for; the number is `event.code` besides.
- A client of 2.4 is an address and a port, one colon between them for IPv6 too; one of 2.2 is an address.
- Other lines are refused: they have no header.

THEORY
One expression finds the parts of all lines of a block.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from shipper.config.fields import ComponentConfig
from shipper.decode.layout import Lines, Member, Parsed, TextDecoder
from shipper.decode.timestamp import Timeline
from shipper.model.localtime import Timezone  # noqa: TC001  msgspec reads the annotations

if TYPE_CHECKING:
    from collections.abc import Sequence

_NUMBER = rb"(0|[1-9]\d{0,17}+)"
_LINE = re.compile(
    rb"^(?:\[((?:[A-Z][a-z]{2}) [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d{1,9})? \d{4})\] "
    rb"\[(?:([a-z0-9_-]{0,64}):)?([a-z0-9]{1,16})\] "
    rb"(?:\[pid %b(?::tid %b)?\] )?(?:(\([^()\n]{1,16}\)[^\[\]\n]{1,256}: )?\[(?:client|remote) ([^\]\n ]{1,128}+)\] )?"
    rb"((?:(AH\d{5}): )?.*+)|.*+)$" % (_NUMBER, _NUMBER),
    re.MULTILINE,
)
_LAYOUTS = ("%a %b %d %H:%M:%S.%f %Y", "%a %b %d %H:%M:%S %Y")
_IP = re.compile(rb"[0-9a-fA-F.:]*[.:][0-9a-fA-F.:]*")
_REFERER = b", referer: "


class ApacheError(TextDecoder):
    """The error log of Apache httpd, 2.4 and 2.2, with ECS names.

    Lines become `message`, `log.level`, `apache.module`, `process.pid`, `process.thread.id`, `event.code` (`AH00128`); those that tell
    of a client have `client.ip` and `client.port` (or `client.address`), and `http.request.referrer` where there is one.
    """

    class Config(ComponentConfig):
        """Settings of apache_error."""

        zone: Timezone | None = None
        """Zone of the times, such as `Europe/Berlin`: Apache writes local time.
        Left out: that of the pipeline's `timestamp`, or UTC."""
        fold: Literal["auto", "first", "second"] = "auto"
        """Which is meant by a time that comes twice, as the clock goes back; see `timestamp`."""

    example = """
sources:
  - {type: file, include: [/var/log/apache2/error.log], decode: {apache_error: {zone: Europe/Berlin}}}
"""

    members = (
        Member("message"),
        Member("log.level", "word"),
        Member("apache.module", "word"),
        Member("process.pid", "number"),
        Member("process.thread.id", "number"),
        Member("event.code", "word"),
        Member("client.ip", "word"),
        Member("client.port", "number"),
        Member("client.address"),
        Member("http.request.referrer"),
    )

    begins = re.compile(rb"\n\[[A-Z][a-z]{2} [A-Z][a-z]{2} ")
    refusal = "no line of an Apache error log"

    def __init__(self, config: Config, reads: Sequence[str], adds: Sequence[str], spare: Sequence[str] = ()) -> None:
        """See `decoder.py` for the arguments."""
        super().__init__(config, reads, adds, spare)
        self.timeline = Timeline(_LAYOUTS, config.zone or "UTC", config.fold)

    def parse(self, lines: Sequence[bytes]) -> Parsed:
        """Find the parts of all lines at once."""
        found = _LINE.findall(Lines.of(lines).text[:-1]) if lines else []
        times, modules, levels, pids, threads, errors, clients, texts, codes = zip(*found, strict=True) if found else ((),) * 9
        addresses, ports, names = zip(*map(_client, clients, modules), strict=True) if found else ((),) * 3
        columns: dict[str, Sequence[bytes]] = {
            "message": [error + text for error, text in zip(errors, texts, strict=True)] if any(errors) else texts,
            "log.level": levels,
            "apache.module": modules,
            "process.pid": pids,
            "process.thread.id": threads,
            "event.code": codes,
            "client.ip": addresses,
            "client.port": ports,
            "client.address": names,
            "http.request.referrer": [text.rpartition(_REFERER)[2] if _REFERER in text else b"" for text in texts],
            "@timestamp": times,
        }
        refused = dict.fromkeys((row for row, time in enumerate(times) if not time), self.refusal) if b"" in times else {}
        return Parsed(columns, refused)


def _client(text: bytes, module: bytes) -> tuple[bytes, bytes, bytes]:
    """Address, port and name of a client; `module` tells which version wrote the line."""
    if not text:
        return b"", b"", b""
    address, colon, port = text.rpartition(b":") if module or text.count(b":") == 1 else (text, b"", b"")
    if colon and not (port.isdigit() and len(port) <= 5 and (port == b"0" or port[:1] != b"0")):
        address, port = text, b""
    return (address, port, b"") if _IP.fullmatch(address) else (b"", b"", text)
