r"""Percent formats: what a `logging.Formatter` writes, as regular expressions, made of its own format.

RULES
- A text ends where what stands behind it begins for the first time, and is 256 bytes at most; a message is as long as it can be.
- The expression for blocks only finds where a head ends; whether a head is one, and what it says, the plain expression decides.
- No expression can be read in two ways but for the message, so that no line costs more than its length.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from shipper.model.errors import ComponentError

if TYPE_CHECKING:
    from collections.abc import Sequence

STAMP = "@timestamp"
MESSAGE = "message"
MEMBERS = {
    "name": "log.logger",
    "levelname": "log.level",
    "levelno": "event.severity",
    "process": "process.pid",
    "processName": "process.name",
    "thread": "process.thread.id",
    "threadName": "process.thread.name",
    "filename": "log.origin.file.name",
    "pathname": "log.origin.file.path",
    "lineno": "log.origin.file.line",
    "funcName": "log.origin.function",
    "module": "log.origin.module",
    "trace_id": "trace.id",
    "span_id": "span.id",
    "asctime": STAMP,
    "created": STAMP,
    "msecs": "",
    "relativeCreated": "",
}
"""Where the attributes that `logging` has go, and usual ones of programs; others are members by their own name."""
NUMBERS = frozenset(("event.severity", "process.pid", "process.thread.id", "log.origin.file.line"))
_DIRECTIVE = re.compile(r"%(?:(%)|\((\w+)\)([-0# +]*)(\d*)(?:\.\d+)?[a-zA-Z])?")
_ISO = rb"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
_ISO_WIDTH = len("2024-03-15 08:30:00,123")
_WIDTHS = {"Y": 4, "f": 6, "j": 3, **dict.fromkeys("mdHIMSy", 2)}
"""Of what `strftime` writes as digits."""
_NUMBER = rb"\d{1,18}(?:\.\d{1,9})?"
_EXAMPLE = "such as `%(asctime)s - %(name)s - %(levelname)s - %(message)s`"


class Field(NamedTuple):
    """One field of a format."""

    member: str
    """Where it goes; empty for what is passed over, `@timestamp` for the time."""
    before: bytes
    """What stands before it."""
    behind: bytes
    """What stands behind it."""
    plain: bytes
    """An expression without groups."""
    quick: bytes
    """A looser one, that ends in the same place."""
    is_padded: bool

    def group(self) -> bytes:
        """What stands before it, and the plain expression in a group."""
        return re.escape(self.before) + (rb" {0,256}(%b) {0,256}" if self.is_padded else rb"(%b)") % self.plain

    def shorter(self, *, careful: bool) -> bytes:
        """What stands before it, and the quick expression, without a group; a careful one stays on its line."""
        core = self.quick.replace(b"]*+", rb"\n]*+") if careful else self.quick
        return re.escape(self.before) + (rb" *%b *" if self.is_padded else rb"%b") % core


class Format(NamedTuple):
    """A format, read."""

    fields: Sequence[Field]
    time_layouts: Sequence[str]
    """How the text of the time is written; empty for ISO 8601 and Unix seconds."""
    is_iso: bool
    """Whether the time is an `asctime` without a format of its own."""

    def begins(self) -> re.Pattern[bytes]:
        """How lines begin, a newline before it."""
        first = self.fields[0]
        return re.compile(
            b"\n" + re.escape(first.before) + (first.plain if first.member == STAMP and not first.is_padded else b""), re.DOTALL
        )

    def line(self) -> re.Pattern[bytes]:
        """Of a whole line; a group for each of `fields`."""
        return re.compile(b"".join([*(field.group() for field in self.fields), re.escape(self.fields[-1].behind)]), re.DOTALL)

    def block(self, trace: bytes = b"", *, careful: bool = False) -> re.Pattern[bytes] | None:
        """Of a block, line by line: groups `time`, `head`, `message`; of a line that it does not take, all is `message`.

        `head` is what stands between time and message, `first` what stands before the time. `trace` is an expression that may
        stand before the message. A head may go on over the end of its line, so that there are fewer matches than lines; not so
        with a careful one, which is slower. None for a format whose message is not at the end, or has nothing before it but the time.
        """
        *others, message = self.fields
        if message.member != MESSAGE or message.behind or not others:
            return None
        first, time, second = self._apart()
        if not second and not message.before:
            return None
        begin = b""
        if time is not None:
            begin = b"".join([*(field.shorter(careful=careful) for field in first), re.escape(time.before)])
            begin = (b"(?P<first>%b)" % begin if first else begin) + b"(?P<time>%b)" % time.quick
        head = b"".join([*(field.shorter(careful=careful) for field in second), re.escape(message.before)])
        return re.compile(rb"(?:%b(?P<head>%b)%b)?+(?P<message>.*)\n" % (begin, head, trace))

    def head(self) -> re.Pattern[bytes]:
        """Of `first` and `head` in one; a group for each field of `told`."""
        first, time, second = self._apart()
        parts = [field.group() for field in first]
        if first and time is not None:
            parts.append(re.escape(time.before))
        return re.compile(b"".join([*parts, *(field.group() for field in second), re.escape(self.fields[-1].before)]), re.DOTALL)

    def told(self) -> list[Field]:
        """The fields of a head, in order."""
        first, _, second = self._apart()
        return [*first, *second]

    def _apart(self) -> tuple[Sequence[Field], Field | None, Sequence[Field]]:
        """The fields before the time, the time, and those between it and the message."""
        others = self.fields[:-1]
        for at, field in enumerate(others):
            if field.member == STAMP:
                return others[:at], field, others[at + 1 :]
        return (), None, others


class _Token(NamedTuple):
    """A field as it is written."""

    name: str
    before: bytes
    behind: bytes
    flags: str
    width: str


def read_format(layout: str, datefmt: str | None) -> Format:
    """Read a format. Raises ComponentError for one that no line can be read by."""
    tokens = _tokens(layout)
    names = [token.name for token in tokens]
    fields: list[Field] = []
    layouts = [datefmt] if datefmt is not None and "asctime" in names else []
    for number, token in enumerate(tokens):
        field = _field(token, datefmt, is_last=token is tokens[-1])
        if (
            token.name == "msecs"
            and datefmt is not None
            and names[number - 1 : number] == ["asctime"]
            and (token.flags, token.width) == ("0", "3")
        ):
            milliseconds = re.escape(token.before) + rb"\d{3}"
            time = fields.pop()
            field = time._replace(behind=token.behind, plain=time.plain + milliseconds, quick=time.quick + milliseconds)
            layouts = [datefmt + token.before.decode().replace("%", "%%") + "%f"]
        fields.append(field)
    members = [field.member for field in fields if field.member]
    doubled = next((member for member in members if members.count(member) > 1), None)
    if doubled is not None:
        raise ComponentError(f"two fields of the format go to `{doubled}`", "layout", "take one of them out")
    return Format(fields, layouts, "asctime" in names and datefmt is None)


def _tokens(layout: str) -> list[_Token]:
    parts: list[tuple[re.Match[str], str]] = []
    before, at = "", 0
    for found in _DIRECTIVE.finditer(layout):
        before += layout[at : found.start()] + (found[1] or "")
        at = found.end()
        if found[2]:
            parts.append((found, before))
            before = ""
        elif not found[1]:
            raise ComponentError(f"the `%` at column {found.start() + 1} of the format begins no field", "layout", _EXAMPLE)
    if "message" not in [found[2] for found, _ in parts]:
        raise ComponentError("there is no `%(message)s` in the format", "layout", _EXAMPLE)
    if "\n" in layout:
        raise ComponentError("the format has more than one line", "layout", "write its first line: the others are further lines")
    texts = [text.encode() for _, text in parts] + [(before + layout[at:]).encode()]
    return [_Token(found[2], texts[number], texts[number + 1], found[3], found[4]) for number, (found, _) in enumerate(parts)]


def _field(token: _Token, datefmt: str | None, *, is_last: bool) -> Field:
    member = MEMBERS.get(token.name, token.name)
    if not token.behind and not is_last and token.name not in ("asctime", "levelno", "msecs"):
        raise ComponentError(f"nothing stands between `%({token.name})s` and the next field", "layout", _EXAMPLE)
    plain = quick = _NUMBER
    if token.name == "asctime":
        plain, quick = _times(datefmt, token.behind)
    elif member == MESSAGE:
        plain = quick = b".*"
    elif member == "log.level":
        plain, quick = rb"Level -?\d{1,9}|(?!Level )[A-Za-z]\w{0,31}", rb"\w*+"
    elif member in NUMBERS:
        plain, quick = rb"\d{1,18}", rb"\d*+"
    elif member not in ("", STAMP):
        plain, quick = _text(token.behind, 256)
    return Field(member, token.before, token.behind, plain, quick, bool(token.width) and "0" not in token.flags)


def _times(datefmt: str | None, behind: bytes) -> tuple[bytes, bytes]:
    """The expressions of `asctime`."""
    if datefmt is None:
        return _ISO, b".{%d}" % _ISO_WIDTH
    directives = re.findall(r"%(.)", datefmt)
    if _WIDTHS.keys() >= set(directives):
        width = len(re.sub(r"%.", "", datefmt).encode()) + sum(_WIDTHS[one] for one in directives)
        return b".{%d}" % width, b".{%d}" % width
    text, _ = _text(behind, 64)
    return text, text


def _text(behind: bytes, most: int) -> tuple[bytes, bytes]:
    """The expressions of a text: up to what stands behind it; the quick one does not take the first character of that."""
    if not behind:
        return b".{0,%d}" % most, b".*"
    return b"(?:(?!%b).){0,%d}+" % (re.escape(behind), most), rb"[^%b]*+" % re.escape(behind[:1])
