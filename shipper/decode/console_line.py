r"""Console lines: one line of structlog's `ConsoleRenderer` read by itself, and what of it is simple enough for a template.

See `structlog_console.py` for the format.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import orjson

from shipper.decode.python_values import NUMBER, as_json, end_of
from shipper.decode.templates import Template

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_COLOURS_MAX = 32
"""So often colours are taken out of a text that come together as others go."""
_TIME = (
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?: ?(?:Z|[+-]\d\d:?\d\d))?"
    r"|\d\d:\d\d:\d\d(?:[.,]\d{1,9})?|\d{9,10}(?:\.\d{1,9})?"
)
LEVEL = r"[A-Za-z]\w{0,31}"
_BEGIN = re.compile(rf"(?:({_TIME})(?: |\Z))?(?:\[({LEVEL}) *\](?: |\Z))?", re.ASCII)
_COLOUR = rb"(?:\x1b\[[0-9;]*m)*+"
COLOURS = re.compile(rb"\x1b\[[0-9;]*m")
TIME_OR_LEVEL = re.compile(rb"(%b)(?:%b)(?=%b \[)|(?=\[)()" % (_COLOUR, _TIME.encode(), _COLOUR))
BEGINS = re.compile(rb"\n[\d\[\x1b]")
_PAIR = re.compile(rb"(%b[A-Za-z_][\w.:/@$-]{0,255}%b=%b)([^\x1b]*+)(%b)" % (_COLOUR, _COLOUR, _COLOUR, _COLOUR))
_CONSTANTS = (b"True", b"False", b"None")
_KINDS = (
    ("number", rb"(-?(?:0|[1-9]\d{0,17}+)(?:\.\d{1,17}+)?)", b"%b"),
    (
        "word",
        rb"((?!(?=[TFN0-9])(?:True|False|None|%b)(?:[ \n\x1b]|\Z))[0-9A-Za-z_/][0-9A-Za-z_.,:;/+*~@$%%&?!#|^-]*+)"
        % NUMBER.pattern.encode(),
        b'"%b"',
    ),
    ("text", rb"'([^'\"\\\x00-\x1f]*+)'", b'"%b"'),
)
"""Values that are the same in JSON, but for their quotes: expression, and what stands for them in a row."""
_KEY = re.compile(r"([^\W\d][\w.:/@$-]{0,255})=")
_LOGGER = re.compile(r"\[([\w.:-]{1,255})\](?= |\Z)")
_BEGIN_OF_WORD = re.compile(r" (?=[^\W\d]|\[)")
_SEARCHES_MAX = 2
"""Values with open brackets, or quotes, that are looked through to the end of a line."""


class Line(NamedTuple):
    """A line, read."""

    time: str
    level: str
    event: str
    logger: str
    pairs: list[tuple[str, bytes]]
    """Keys, and values as JSON."""


def read_line(line: bytes, pad: int) -> Line | None:
    """Read a line without colours, its event padded to `pad` characters; None for what has neither a time nor a level."""
    text = line.decode("utf-8", "replace")
    begin = _BEGIN.match(text)
    if begin is None or not begin[0]:
        return None
    rest = text[begin.end() :]
    start, logger, pairs = _run(rest, pad + 1 if rest[pad : pad + 1] == " " else rest.find(" ", pad + 1) + 1)
    event = rest if start is None else rest[: start - 1]
    return Line(begin[1] or "", begin[2] or "", event.rstrip(), logger, pairs)


def _run(text: str, at: int) -> tuple[int | None, str, list[tuple[str, bytes]]]:
    """The longest run of `[logger] key=value …` that goes on to the end, from `at` (a word's first character; 0 for none) on.

    Where it begins (None for nowhere), the logger, and the pairs.
    """
    start: int | None = None
    logger, pairs, searches = "", [], 0
    while 0 < at < len(text):
        key = _KEY.match(text, at)
        named = None if key else _LOGGER.match(text, at)
        if key is not None:
            end = end_of(text, key.end()) if searches < _SEARCHES_MAX else -1
            if end < 0:
                searches += 1
                end = _blank(text, key.end())
            start = at if start is None else start
            pairs.append((key[1], as_json(text[key.end() : end])))
        elif named is not None:
            start, logger, pairs, end = at, named[1], [], named.end()
        else:
            start, logger, pairs = None, "", []
            begin = _BEGIN_OF_WORD.search(text, at)
            end = begin.start() if begin is not None else len(text)
        at = end + 1
    return start, logger, pairs


def _blank(text: str, at: int) -> int:
    """Where the next blank is, or the end."""
    found = text.find(" ", at)
    return len(text) if found < 0 else found


def stripped(text: bytes) -> bytes:
    """A text without colours, also those that come together as others go."""
    for _ in range(_COLOURS_MAX):
        if b"\x1b" not in text:
            break
        shorter = COLOURS.sub(b"", text)
        if shorter == text:
            break
        text = shorter
    return text


def _tokens(text: bytes) -> list[bytes] | None:
    """The text, split at blanks that do not stand in quotes; None where quotes are not even."""
    parts = text.split(b"'")
    if not len(parts) % 2:
        return None
    parts[1::2] = [part.replace(b" ", b"\0") for part in parts[1::2]]
    return [token.replace(b"\0", b" ") for token in b"'".join(parts).split(b" ")]


def template_of(line: bytes, width: int, pad: int, is_usual: Callable[[str], bool]) -> Template | None:
    """A template of a line, coloured maybe, whose time is so wide; None where it has no simple values, or keys that are not usual."""
    read = read_line(stripped(line), pad)
    if read is None or stripped(line[:width]) != read.time.encode():
        return None
    told = {"message": read.event, "log.level": read.level, "log.logger": read.logger}
    told = {name: text for name, text in told.items() if text or name == "message"}
    parts = _pairs_of(line[width:], read.pairs, is_usual)
    if parts is None:
        return None
    head, patterns, pieces = parts
    pattern = b".{%d}%b%b" % (width, re.escape(head), b"".join(b" " + one for one in patterns))
    return Template(pattern, b"{%b%b" % (orjson.dumps(told)[1:-1].replace(b"%", b"%%"), b"".join(pieces)), told)


def pairs_template(text: bytes, is_usual: Callable[[str], bool]) -> Template | None:
    """A template of the pairs of a line alone; its rows end with a comma and a quote, so that a head can follow."""
    start, logger, pairs = _run(" " + text.decode(), 1)
    parts = _pairs_of(b" " + text, pairs, is_usual) if start == 1 and not logger else None
    if parts is None or parts[0]:
        return None
    return Template(b" ".join(parts[1]), b'{%b,"' % b"".join(parts[2])[1:], {})


def _pairs_of(
    text: bytes, pairs: Sequence[tuple[str, bytes]], is_usual: Callable[[str], bool]
) -> tuple[bytes, list[bytes], list[bytes]] | None:
    """What stands before the pairs that were found in a text, expressions of them, and their pieces; None where some are not simple."""
    tokens = _tokens(text)
    if tokens is None or len(tokens) <= len(pairs) or len(dict(pairs)) < len(pairs):
        return None
    first = len(tokens) - len(pairs)
    patterns, pieces = [], []
    for token, (key, value) in zip(tokens[first:], pairs, strict=True):
        simple = _simple(token, key, value) if is_usual(key) else None
        if simple is None:
            return None
        patterns.append(simple[0])
        pieces.append(simple[1])
    return b" ".join(tokens[:first]), patterns, pieces


def _simple(token: bytes, key: str, value: bytes) -> tuple[bytes, bytes] | None:
    """The expression and the piece of a row of a pair (coloured maybe) that `read_line` found this in; None for no simple value."""
    found = _PAIR.fullmatch(token)
    if found is None or stripped(found[1]) != f"{key}=".encode() or as_json(found[2].decode("utf-8", "replace")) != value:
        return None
    name = orjson.dumps("error.message" if key == "error" else key).replace(b"%", b"%%")
    if found[2] in _CONSTANTS:
        if key == "error":
            return None
        return re.escape(token), b",%b:%b" % (name, value)
    for kind, expression, filled in _KINDS:
        if re.fullmatch(expression + b"\n", found[2] + b"\n") and (key != "error" or (kind != "number" and found[2] != b"''")):
            value_of = expression.replace(b"]*+)'", b"]++)'") if key == "error" else expression
            return re.escape(found[1]) + value_of + re.escape(found[3]), b",%b:%b" % (name, filled)
    return None
