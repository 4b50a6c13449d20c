r"""Access log: the common and the combined format of nginx and Apache, as they are written without settings of one's own.

FORMAT
    [vhost:port ]client ident user [time] "request" status size[ "referrer" "user agent"][ "forwarded"][ seconds]
- `-` and an empty text stand for what is not there; but a request is kept as it stands.
- Inside quotes a backslash takes the character behind it along: Apache writes `\"`, nginx `\x22`. Texts are kept as they are
  written; a request that is none (`\x16\x03\x01`, `-`, nothing) is a message without method and URL.
- `client` goes to `client.ip` where it is an address, else to `client.address` (a host's name, `unix:`).

THEORY
A usual line has its parts between single blanks up to the user agent, so one `split` a line finds them. What has few values
(method, status, user agent) is looked up with its piece of the row, made once; None stands for a value that `parse` would read
in another way. URLs are looked at in one piece for what JSON escapes, times by strides, sizes are decoded as one JSON array.
What does not fit is left to the expression in `parse`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from itertools import compress, repeat
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import orjson

from shipper.config.fields import ComponentConfig
from shipper.decode.layout import STAMP, Lazy, Member, Parsed, Quick, Remembered, TextDecoder
from shipper.decode.timestamp import Timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from shipper.model.columns import Values

_QUOTED = rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"'
_LINE = re.compile(
    rb"(?:([\w.-]{1,255}):(\d{1,5}) )?([^ ]+) ([^ ]+) (.{1,256}?) \[([^\[\]\"]{1,64})\] "
    + _QUOTED
    + rb" (\d{3}|-) (\d{1,18}|-)"
    + rb"(?: %b %b(?: %b)?)?(?: (\d{1,9}(?:\.\d{1,9})?|-))?" % (_QUOTED, _QUOTED, _QUOTED),
    re.DOTALL,
)
_REQUEST = re.compile(rb"([A-Za-z][A-Za-z_-]{0,31}) (?:([^ ](?:.*[^ ])?) HTTP/(\d(?:\.\d)?)|(/.*))", re.DOTALL)
_OCTET = rb"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = re.compile(rb"(?:%b\.){3}%b" % (_OCTET, _OCTET))
_ZONE = re.compile(rb"[+-]\d{4}\]")
_TIME = re.compile(rb'\[[^\[\]" ]{1,57}')
_SIMPLE = rb'([^"\\\x00-\x1f]+)'
_URL = re.compile(rb'[^"\\\x00-\x1f\x80-\xff]+')
_SECONDS = re.compile(rb"\d{1,9}(?:\.\d{1,9})?")
_FIRST = ("client", "ident", "user", "time", "zone", "method", "url", "version", "status", "size")
_WIDTH = len("[05/Feb/2026:14:30:45\n")
_DIGITS = {"s": 9, "ms": 6, "us": 3}
"""Of each unit, the digits by which it is longer than a nanosecond."""
_LOOKED_AT = 8
"""So many lines are looked at for the shape of all."""


class _Shape(NamedTuple):
    """Which of the optional parts a line has."""

    vhost: bool
    agent: bool
    forwarded: bool
    seconds: bool


class AccessLog(TextDecoder):
    """Access logs of nginx and Apache: `common`, `combined`, `vhost_combined`, also with `X-Forwarded-For` and the time taken behind.

    Members: `client.ip` or `client.address`, `user.name`, `http.request.method`, `url.original`, `http.version`,
    `http.response.status_code`, `http.response.body.bytes`, `http.request.referrer`, `user_agent.original`; where they are written
    `url.domain`, `url.port`, `client.user.name` (of identd), `http.request.header.x-forwarded-for`, `event.duration` (in
    nanoseconds). `message` is the request line.
    """

    class Config(ComponentConfig):
        """Settings."""

        duration: Literal["s", "ms", "us"] = "s"
        """The unit of the number at the end of the line: `s` is nginx's `$request_time` and Apache's `%T`, `us` Apache's `%D`."""

    example = """
sources:
  - {type: file, include: [/var/log/nginx/access.log], decode: access_log}
  - {type: file, include: [/var/log/apache2/*access.log], decode: {access_log: {duration: us}}}
"""

    members = (
        Member("message"),
        Member("client.ip", "word"),
        Member("client.address"),
        Member("client.user.name"),
        Member("user.name"),
        Member("url.domain"),
        Member("url.port", "number"),
        Member("http.request.method", "word"),
        Member("url.original"),
        Member("http.version", "word"),
        Member("http.response.status_code", "number"),
        Member("http.response.body.bytes", "number"),
        Member("http.request.referrer"),
        Member("user_agent.original"),
        Member("http.request.header.x-forwarded-for"),
        Member("event.duration", "number"),
    )

    begins = re.compile(rb'\] "')
    refusal = "no line of an access log"

    def __init__(self, config: Config, reads: Sequence[str], adds: Sequence[str], spare: Sequence[str] = ()) -> None:
        """See `decoder.py` for the arguments."""
        super().__init__(config, reads, adds, spare)
        self.timeline = Timeline(["%d/%b/%Y:%H:%M:%S %z"])
        self._digits = _DIGITS[config.duration]
        self._lookups = _Lookups(self._digits)

    def parse(self, lines: Sequence[bytes]) -> Parsed:
        """Read each line with one expression."""
        found = [line and line.groups(b"") for line in map(_LINE.fullmatch, lines)]
        refused = {row: self.refusal for row, parts in enumerate(found) if parts is None}
        whole = [parts or (b"",) * _LINE.groups for parts in found]
        domain, port, client, ident, user, time, request, status, size, referrer, agent, forwarded, seconds = zip(
            *whole, strict=True
        )
        split = [one.groups(b"") if one else (b"",) * _REQUEST.groups for one in map(_REQUEST.fullmatch, request)]
        addresses = list(map(self._lookups.ips.__getitem__, client))
        columns: dict[str, Sequence[bytes]] = {
            STAMP: time,
            "message": request,
            "client.ip": [value if is_address else b"" for value, is_address in zip(client, addresses, strict=True)],
            "client.address": [b"" if is_address else _said(value) for value, is_address in zip(client, addresses, strict=True)],
            "client.user.name": list(map(_said, ident)),
            "user.name": list(map(_said, user)),
            "url.domain": domain,
            "url.port": list(map(_number, port)),
            "http.request.method": [method for method, *_ in split],
            "url.original": [url or old for _, url, _, old in split],
            "http.version": [version for _, _, version, _ in split],
            "http.response.status_code": list(map(_number, status)),
            "http.response.body.bytes": list(map(_number, size)),
            "http.request.referrer": list(map(_said, referrer)),
            "user_agent.original": list(map(_said, agent)),
            "http.request.header.x-forwarded-for": list(map(_said, forwarded)),
            "event.duration": [nanoseconds(value, self._digits) for value in seconds],
        }
        return Parsed(columns, refused)

    def quick(self, lines: Sequence[bytes]) -> Quick | None:
        """Read the lines that have the shape of the first ones, by splitting them at blanks."""
        shape = _shape(lines[:_LOOKED_AT])
        cut = None if shape is None else _Cut(lines, shape)
        if cut is None or not cut.columns:
            return None
        cut.leave(self._lookups.misfits(cut))
        cut.leave(cut.misfits())
        pieces = self._lookups.pieces(cut)
        try:
            rows = _joined(pieces)
        except TypeError:  # None is no bytes: a value that a lookup does not take
            cut.leave({row for piece in pieces if not isinstance(piece, bytes) for row, one in enumerate(piece) if one is None})
            rows = _joined([piece if isinstance(piece, bytes) else list(compress(piece, cut.mask)) for piece in pieces])
        makers: dict[str, Callable[[], Values]] = {
            STAMP: cut.times,
            "client.ip": lambda: list(map(self._lookups.ips.__getitem__, cut["client"])),
            "http.response.status_code": lambda: list(map(self._lookups.codes.__getitem__, cut["status"])),
        }
        return Quick(rows, Lazy(makers, self.decoded(rows)), cut.left)


class _Cut:
    """Lines of one shape, split into columns by name; those that do not fit are left."""

    def __init__(self, lines: Sequence[bytes], shape: _Shape) -> None:
        more = ["referrer", "agent"] if shape.agent else ["seconds"] if shape.seconds else []
        names = [*(["vhost"] if shape.vhost else []), *_FIRST, *more]
        splits = len(names) - 1 if shape.agent else len(names)
        parts = list(map(bytes.split, lines, repeat(b" "), repeat(splits)))
        self.left: list[int] = []
        self.kept: Sequence[int] = range(len(lines))
        self.mask = bytearray()
        lengths = list(map(len, parts))
        if lengths.count(len(names)) != len(parts):
            self.mask = bytearray(map(len(names).__eq__, lengths))
            self.left = [row for row, fits in enumerate(self.mask) if not fits]
            self.kept = list(compress(self.kept, self.mask))
            parts = list(compress(parts, self.mask))
        self.columns: dict[str, Sequence[bytes]] = dict(zip(names, zip(*parts, strict=True), strict=False))
        if shape.agent and shape.seconds and parts:
            self._split_off("seconds", b" ")
        if shape.forwarded and parts:
            self._split_off("forwarded", b' "')

    def _split_off(self, name: str, separator: bytes) -> None:
        """What stands behind the user agent."""
        found = map(bytes.rpartition, self["agent"], repeat(separator))
        self.columns["agent"], _, self.columns[name] = zip(*found, strict=True)

    def __getitem__(self, name: str) -> Sequence[bytes]:
        return self.columns[name]

    def leave(self, rows: Collection[int]) -> None:
        """Take these of the rows out; `mask` says which they were."""
        if rows:
            self.mask = bytearray(b"\1") * len(self.kept)
            for row in rows:
                self.mask[row] = 0
            self.left = sorted([*self.left, *(self.kept[row] for row in rows)])
            self.kept = list(compress(self.kept, self.mask))
            self.columns = {name: list(compress(column, self.mask)) for name, column in self.columns.items()}

    def misfits(self) -> set[int]:
        """Rows whose URL JSON would escape, or whose time is not as usual."""
        found: set[int] = set()
        if not _are_plain(self["url"]):
            found.update(row for row, url in enumerate(self["url"]) if not _URL.fullmatch(url))
        if not _are_times(self["time"]):
            found.update(row for row, time in enumerate(self["time"]) if not _TIME.fullmatch(time))
        odd = {zone for zone in set(self["zone"]) if not _ZONE.fullmatch(zone)}
        if odd:
            found.update(row for row, zone in enumerate(self["zone"]) if zone in odd)
        return found

    def times(self) -> Values:
        """The column of times, without brackets."""
        zones = set(self["zone"])
        if len(zones) == 1:
            ending = b" %b\n" % zones.pop()[:-1]
            return (ending.join(self["time"]) + ending[:-1]).translate(None, b"[").decode().split("\n")
        return [(time[1:] + b" " + zone[:-1]).decode() for time, zone in zip(self["time"], self["zone"], strict=True)]


_Piece = bytes | Sequence[bytes | None]
"""What rows are made of: the same in all, or one a row."""


class _Lookups:
    """Values of which there are few -> their piece of a row; None for those that are left to `parse`."""

    def __init__(self, digits: int) -> None:
        def seconds(value: bytes) -> bytes | None:
            if value == b"-":
                return b""
            return b',"event.duration":%b' % nanoseconds(value, digits) if _SECONDS.fullmatch(value) else None

        self.ips = Remembered(lambda value: value.decode() if is_address(value) else None)
        self.codes = Remembered(lambda value: None if value == b"-" else int(value))
        self._makers = {
            "vhost": _lookup(rb"([\w.-]{1,255}):([1-9]\d{0,4})", b',"url.domain":"%b","url.port":%b'),
            "client": Remembered(_client),
            "ident": _lookup(_SIMPLE, b',"client.user.name":"%b"'),
            "user": _lookup(_SIMPLE, b',"user.name":"%b"'),
            "method": _lookup(rb'"([A-Za-z][A-Za-z_-]{0,31})', b'{"http.request.method":"%b","message":"%b ', 2),
            "version": _lookup(rb'HTTP/(\d(?:\.\d)?)"', b' HTTP/%b","http.version":"%b","url.original":"', 2),
            "status": _lookup(rb"([1-9]\d\d)", b',"http.response.status_code":%b'),
            "size": _lookup(rb"(0|[1-9]\d{0,17})", b',"http.response.body.bytes":%b'),
            "referrer": _lookup(b'"%b"' % _SIMPLE, b',"http.request.referrer":"%b"'),
            "agent": _lookup(b'"%b"' % _SIMPLE, b',"user_agent.original":"%b"'),
            "forwarded": _lookup(_SIMPLE + b'"', b',"http.request.header.x-forwarded-for":"%b"'),
            "seconds": Remembered(seconds),
        }

    def misfits(self, cut: _Cut) -> set[int]:
        """Rows whose request is none, so that nothing behind it stands where it should."""
        found: set[int] = set()
        for name in ("method", "version"):
            made = self._made(name, cut)
            if None in made:
                found.update(row for row, piece in enumerate(made) if piece is None)
        return found

    def pieces(self, cut: _Cut) -> list[_Piece]:
        """The pieces of rows, in order."""
        more: list[str] = [name for name in ("referrer", "agent", "forwarded", "seconds", "vhost") if name in cut.columns]
        more += [name for name in ("ident", "user") if cut[name].count(b"-") != len(cut[name])]
        urls = cut["url"]
        return [
            self._made("method", cut),
            urls,
            self._made("version", cut),
            urls,
            b'"',
            self._made("status", cut),
            self._made("client", cut),
            *(self._made(name, cut) for name in more),
            *self._sizes(cut),
        ]

    def _sizes(self, cut: _Cut) -> list[_Piece]:
        """Sizes hardly ever come again, so they are not looked up where all are numbers, or not there."""
        sizes = cut["size"]
        some = sizes if b"-" not in sizes else [size for size in sizes if size != b"-"]
        if not some or not _are_sizes(some):
            return [self._made("size", cut)]
        if some is sizes:
            return [b',"http.response.body.bytes":', sizes]
        return [[b"" if size == b"-" else b',"http.response.body.bytes":' + size for size in sizes]]

    def _made(self, name: str, cut: _Cut) -> list[bytes | None]:
        return list(map(self._makers[name].__getitem__, cut[name]))


def _lookup(pattern: bytes, template: bytes, times: int = 1) -> Remembered[bytes | None]:
    """Values of this form, filled into the template (so many times); nothing for `-`, None for others."""
    match = re.compile(pattern).fullmatch

    def made(value: bytes) -> bytes | None:
        found = match(value)
        if found is None or not (value.isascii() or _is_utf8(value)):
            return b"" if value == b'""' else None
        return b"" if found[1] == b"-" else template % (found.groups() * times)

    return Remembered(made)


def _client(value: bytes) -> bytes | None:
    if is_address(value):
        return b',"client.ip":"%b"' % value
    if not _URL.fullmatch(value):
        return None
    return b"" if value == b"-" else b',"client.address":"%b"' % value


def is_address(value: bytes) -> bool:
    """Whether a text is an IP address as Elasticsearch takes it."""
    if _IPV4.fullmatch(value):
        return True
    if b":" not in value or b"%" in value:
        return False
    try:
        ipaddress.IPv6Address(value.decode())
    except ValueError:
        return False
    return True


def nanoseconds(value: bytes, digits: int) -> bytes:
    """A number, with its point moved by so many digits; nothing for what is none."""
    whole, _, fraction = value.partition(b".")
    return b"%d" % int(whole + fraction[:digits].ljust(digits, b"0")) if whole.isdigit() else b""


def _shape(lines: Sequence[bytes]) -> _Shape | None:
    """The shape of the first line that is of the format and has a request."""
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is not None and _REQUEST.fullmatch(found[7]):
            return _Shape(*(found[group] is not None for group in (1, 11, 12, 13)))
    return None


def _joined(pieces: list[_Piece]) -> list[bytes]:
    """Rows of their pieces. Raises TypeError where one is None."""
    parts: Iterable[Any] = (repeat(piece) if isinstance(piece, bytes) else piece for piece in pieces)
    return list(map(b"".join, zip(*parts, strict=False)))


def _are_plain(urls: Sequence[bytes]) -> bool:
    """Whether they stand in JSON as they are, none of them empty."""
    joined = b"\n".join(urls)
    try:
        return all(urls) and len(orjson.dumps(joined.decode())) == len(joined) + 1 + len(urls)
    except UnicodeDecodeError:
        return False


def _are_times(times: Sequence[bytes]) -> bool:
    """Whether all begin with a bracket and are of the usual length: by strides."""
    joined = b"\n".join([*times, b""])
    count = len(times)
    return (
        len(joined) == _WIDTH * count
        and joined[::_WIDTH] == b"[" * count
        and joined[_WIDTH - 1 :: _WIDTH] == b"\n" * count
        and joined.count(b"[") == count
        and not any(mark in joined for mark in (b"]", b'"'))
    )


def _are_sizes(sizes: Sequence[bytes]) -> bool:
    """Whether all are numbers as JSON has them: decoded as one array."""
    joined = b",".join(sizes)
    try:
        return not joined.translate(None, b"0123456789,") and len(orjson.loads(b"[%b]" % joined)) == len(sizes)
    except orjson.JSONDecodeError:
        return False


def _said(value: bytes) -> bytes:
    """Nothing for what stands for nothing."""
    return b"" if value in (b"-", b'""') else value


def _number(value: bytes) -> bytes:
    """A number without leading zeros."""
    return b"%d" % int(value) if value.isdigit() else b""


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
