r"""nginx_error: nginx's error log.

FORMAT (nginx, src/core/ngx_log.c and src/http/ngx_http_request.c)
    2026/02/05 14:30:45 [error] 31#31: *1 text, client: 1.2.3.4, server: x, request: "GET / HTTP/1.1", upstream: "…", host: "…", referrer: "…"
- `*1` is the number of the connection. What stands behind the text, the request that was served, becomes members, and `message` is
  the text without it. nginx escapes nothing there, so that the parts are looked for from both ends; a client that writes such words
  into its request may confuse what is its own, never what other lines say.
- Other lines are refused: they have no header.

THEORY
One expression finds the headers of a whole block. Only lines that tell of a request cost Python.
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

_LINE = re.compile(
    rb"^(?:(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) \[([a-z]{4,6})\] (0|[1-9]\d{0,17}+)#(0|[1-9]\d{0,17}+): (?:\*(0|[1-9]\d{0,17}+) )?(.*+)|.*+)$",
    re.MULTILINE,
)
_ADDRESS = re.compile(rb"[0-9a-fA-F.:]*[.:][0-9a-fA-F.:]*")
_REQUEST = re.compile(rb"([A-Z]{1,32}) (.*) HTTP/(\d(?:\.\d)?)", re.DOTALL)
_QUOTED = (b"referrer", b"host", b"upstream", b"subrequest")
"""Parts behind the request, from the last one on."""
_MEMBERS = {
    b"client.ip": "client.ip",
    b"client.address": "client.address",
    b"server": "server.address",
    b"host": "url.domain",
    b"upstream": "nginx.upstream",
    b"subrequest": "nginx.subrequest",
    b"referrer": "http.request.referrer",
    b"method": "http.request.method",
    b"url": "url.original",
    b"version": "http.version",
}


class NginxError(TextDecoder):
    """nginx's error log, with ECS names.

    Lines become `message`, `log.level`, `process.pid`, `process.thread.id` and `nginx.connection`; those that tell of a request have
    `client.ip` (or `client.address`), `server.address`, `http.request.method`, `url.original`, `http.version`, `url.domain`,
    `http.request.referrer`, `nginx.upstream` and `nginx.subrequest` too.
    """

    class Config(ComponentConfig):
        """Settings of nginx_error."""

        zone: Timezone | None = None
        """Zone of the times, such as `Europe/Berlin`: nginx writes local time.
        Left out: that of the pipeline's `timestamp`, or UTC."""
        fold: Literal["auto", "first", "second"] = "auto"
        """Which is meant by a time that comes twice, as the clock goes back; see `timestamp`."""

    example = """
sources:
  - {type: file, include: [/var/log/nginx/error.log], decode: {nginx_error: {zone: Europe/Berlin}}}
"""

    members = (
        Member("message"),
        Member("log.level", "word"),
        Member("process.pid", "number"),
        Member("process.thread.id", "number"),
        Member("nginx.connection", "number"),
        *(Member(name) for name in _MEMBERS.values()),
    )

    begins = re.compile(rb"\n\d{4}/\d\d/\d\d ")
    refusal = "no line of an nginx error log"

    def __init__(self, config: Config, reads: Sequence[str], adds: Sequence[str], spare: Sequence[str] = ()) -> None:
        """See `decoder.py` for the arguments."""
        super().__init__(config, reads, adds, spare)
        self.timeline = Timeline(["%Y/%m/%d %H:%M:%S"], config.zone or "UTC", config.fold)

    def parse(self, lines: Sequence[bytes]) -> Parsed:
        """Find the headers of all lines at once."""
        found = _LINE.findall(Lines.of(lines).text[:-1]) if lines else []
        times, levels, pids, threads, connections, texts = zip(*found, strict=True) if found else ((),) * 6
        messages = list(texts)
        told: dict[str, list[bytes]] = {name: [b""] * len(lines) for name in _MEMBERS.values()}
        for row, text in enumerate(texts):
            if b", client: " in text:
                messages[row], parts = _apart(text)
                for name, value in parts.items():
                    told[_MEMBERS[name]][row] = value
        columns: dict[str, Sequence[bytes]] = {
            "message": messages,
            "log.level": levels,
            "process.pid": pids,
            "process.thread.id": threads,
            "nginx.connection": connections,
            "@timestamp": times,
            **told,
        }
        refused = dict.fromkeys((row for row, time in enumerate(times) if not time), self.refusal) if b"" in times else {}
        return Parsed(columns, refused)


def _apart(text: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """The text of a line, and what it tells of a request. In time linear in the line."""
    before, has_request, behind = text.partition(b', request: "')
    message, _, told = before.rpartition(b", client: ")
    client, *more = told.split(b", ")
    parts = {b"client.ip" if _ADDRESS.fullmatch(client) else b"client.address": client}
    servers = [one[len(b"server: ") :] for one in more if one.startswith(b"server: ")]
    if servers:
        parts[b"server"] = servers[0]
    if has_request:
        behind = behind.removesuffix(b'"')
        for name in _QUOTED:
            rest, found, value = behind.rpartition(b'", %b: "' % name)
            if found:
                behind, parts[name] = rest, value
        parts |= _requested(behind)
    return message, {name: value for name, value in parts.items() if value}


def _requested(line: bytes) -> dict[bytes, bytes]:
    """Method, URL and version of a request line; of one that is none the line as the URL."""
    found = _REQUEST.fullmatch(line)
    return {b"url": line} if found is None else {b"method": found[1], b"url": found[2], b"version": found[3]}
