r"""Logfmt: lines of `key=value` pairs, as programs in Go and Heroku's router write them.

FORMAT
    time=2026-02-05T14:30:45Z level=info msg="request \"done\"" method=GET status=200 cached
- Pairs have blanks between them. A value in quotes has Go's escapes; another goes on to the next blank. A key alone is `true`.
- Numbers, `true` and `false` without quotes are those of JSON; all else is a text. Of two equal keys the last one counts.
- Of `time`, `ts`, `timestamp` the first one is the time, of `level`, `lvl` the level, of `msg`, `message` the message; what has no
  message is its own. Other keys stay. A key that is one of our members (`log.level`) moves to `shipper.record`.
- Not of the format is a line without a pair, with more keys alone than pairs, or with a quote that is not closed.

THEORY
As in `structlog_console.py`: a line is a model of others, whose values may be others. Digits apart, lines of one kind begin alike.
"""

from __future__ import annotations

import re
from itertools import compress, repeat
from typing import TYPE_CHECKING, Literal, NamedTuple

import orjson

from shipper.config.fields import ComponentConfig
from shipper.decode.layout import STAMP, Lazy, Lines, Member, Parsed, Quick, TextDecoder, texts
from shipper.decode.templates import Template, Templates
from shipper.decode.timestamp import Timeline
from shipper.model.localtime import Timezone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shipper.model.columns import Values

_ROLES = {
    **dict.fromkeys(("time", "ts", "timestamp"), STAMP),
    **dict.fromkeys(("level", "lvl"), "log.level"),
    **dict.fromkeys(("msg", "message"), "message"),
}
_TOKEN = re.compile(rb'([^ \t="]{1,256}+)(?:=(?:"([^"\\]*+(?:\\.[^"\\]*+)*+)"|([^ \t"][^ \t]*+)?))?(?=[ \t]|\Z)', re.DOTALL)
_GAP = re.compile(rb"[ \t]+")
_NUMBER = rb"-?(?:0|[1-9]\d{0,17}+)(?:\.\d{1,17}+)?"
_IS_NUMBER = re.compile(_NUMBER)
_ESCAPE = re.compile(rb"\\(?:([abfnrtv\\\"'/])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))")
_CHARACTERS = {b"a": "\a", b"b": "\b", b"f": "\f", b"n": "\n", b"r": "\r", b"t": "\t", b"v": "\v"}
_QUOTED = rb'"([^"\\\x00-\x1f]*+)"'
_BARE = rb'((?!(?:true|false|%b)(?:[ \n]|\Z))[^ "\\\x00-\x1f][^ "\\\x00-\x1f]*+)' % _NUMBER
_BARE_TEXT = rb'([^ "\\\x00-\x1f]++)'
_DIGITS = b"0123456789"
_BEGINNING = 48
"""So many characters of a line, digits apart, tell its kind."""


class Logfmt(TextDecoder):
    """Lines of `key=value` pairs, with ECS names for time, level and message.

    `level` goes to `log.level`, `msg` to `message`; other keys stay, numbers and booleans as such.
    """

    class Config(ComponentConfig):
        """Settings."""

        zone: Timezone = Timezone("UTC")
        """The zone of times that say none."""
        fold: Literal["auto", "first", "second"] = "auto"
        """Which one a time is that comes twice, as the clock goes back: `auto` is told by the records before it."""

    example = """
sources:
  - {type: file, include: [/var/log/gateway/*.log], decode: logfmt}
"""

    members = (Member("message"), Member("log.level"))
    begins = re.compile(rb"=")
    refusal = "no line of key=value pairs"

    def __init__(self, config: Config, reads: Sequence[str], adds: Sequence[str], spare: Sequence[str] = ()) -> None:
        """See `decoder.py` for the arguments."""
        super().__init__(config, reads, adds, spare)
        self.timeline = Timeline(zone=config.zone, fold=config.fold)
        self._ours = frozenset((*self._kinds, STAMP))
        self._templates = Templates()
        self._asked = frozenset(part for name in reads for part in (name, name.partition(".")[0]))
        self._names: set[str] = set()

    def parse(self, lines: Sequence[bytes]) -> Parsed:
        """Read each line by itself."""
        columns = {name: [b""] * len(lines) for name in (STAMP, *self._kinds)}
        extras, names = [b""] * len(lines), set[str]()
        refused: dict[int, str] = {}
        for row, line in enumerate(lines):
            pairs = read_line(line)
            if pairs is None:
                refused[row] = self.refusal
                continue
            columns["message"][row] = line
            found: dict[str, bytes] = {}
            roles = set[str]()
            for pair in pairs:
                role = _ROLES.get(pair.key)
                if role is not None and role not in roles:
                    roles.add(role)
                    columns[role][row] = pair.text
                else:
                    found[pair.key] = pair.value
            moved = {key: orjson.Fragment(found.pop(key)) for key in list(found) if key in self._ours}
            if moved:
                found["shipper"] = orjson.dumps({"record": moved})
            extras[row] = b"".join(b",%b:%b" % (orjson.dumps(key), value) for key, value in found.items())
            names.update(found)
        return Parsed(columns, refused, extras, names)

    def quick(self, lines: Sequence[bytes]) -> Quick | None:
        """Read the lines that templates take."""
        block = Lines.of(lines)
        if not _is_utf8(block.text):
            return None
        them = list(block)
        kinds = (line[:_BEGINNING] for line in map(bytes.translate, them, repeat(None), repeat(_DIGITS)))
        filled = self._templates.filled(them, kinds, self._template)
        left = [row for row, text in enumerate(filled.rows) if text is None] if None in filled.rows else []
        mask = [text is not None for text in filled.rows] if left else []
        rows: list[bytes] = list(compress(filled.rows, mask)) if left else filled.rows  # type: ignore[assignment,arg-type]
        times = list(compress(filled.times, mask)) if left else filled.times
        makers: dict[str, Callable[[], Values]] = {STAMP: lambda: texts(times)}
        return Quick(rows, Lazy(makers, self.decoded(rows, self._names)), left)

    def _template(self, line: bytes) -> Template | None:
        """A template of a line; None where it has no message, values that are no simple ones, or keys that are not usual."""
        pairs = read_line(line)
        keys = [] if pairs is None else [pair.key for pair in pairs]
        roles = [_ROLES[key] for key in keys if key in _ROLES]
        if pairs is None or "message" not in roles or len(set(roles)) < len(roles) or len(set(keys)) < len(keys):
            return None
        patterns, pieces = [], []
        for pair in pairs:
            role = _ROLES.get(pair.key)
            simple = _simple(pair, role) if role is not None or self._is_usual(pair.key) else None
            if simple is None:
                return None
            patterns.append(simple[0])
            pieces.append(simple[1])
        if b" ".join(pair.token for pair in pairs) != line:
            return None
        groups = [role for pair in pairs if (role := _ROLES.get(pair.key)) or pair.has_value]
        return Template(b" ".join(patterns), b"{%b" % _without_comma(pieces), {}, groups.index(STAMP) if STAMP in roles else None)

    def _is_usual(self, key: str) -> bool:
        if key in self._ours or self._clashes(key):
            return False
        if key in self._asked:
            self._names.add(key)
        return True


class Pair(NamedTuple):
    """A pair, or a key alone."""

    token: bytes
    """As it stands."""
    key: str
    text: bytes
    """The value as a text."""
    value: bytes
    """The value as JSON."""
    has_value: bool
    """Whether it has one that others may have otherwise; `true` and `false` are not such ones."""


def read_line(line: bytes) -> list[Pair] | None:
    """Read a line; None for what is not of the format."""
    pairs: list[Pair] = []
    alone = 0
    at = gap.end() if (gap := _GAP.match(line)) else 0
    while at < len(line):
        token = _TOKEN.match(line, at)
        if token is None:
            return None
        pair = _pair(token)
        alone += b"=" not in pair.token
        pairs.append(pair)
        gap = _GAP.match(line, token.end())
        at = gap.end() if gap else len(line)
    return pairs if alone * 2 <= len(pairs) and pairs else None


def _pair(token: re.Match[bytes]) -> Pair:
    key, quoted, bare = token.groups()
    name = key.decode("utf-8", "replace")
    if quoted is not None:
        text = _unescaped(quoted) if b"\\" in quoted else quoted.decode("utf-8", "replace")
        return Pair(token[0], name, text.encode(), orjson.dumps(text), has_value=True)
    if bare is None:
        is_alone = b"=" not in token[0]
        return Pair(token[0], name, b"true" if is_alone else b"", b"true" if is_alone else b'""', has_value=False)
    if _IS_NUMBER.fullmatch(bare):
        return Pair(token[0], name, bare, bare, has_value=True)
    is_boolean = bare in (b"true", b"false")
    return Pair(
        token[0], name, bare, bare if is_boolean else orjson.dumps(bare.decode("utf-8", "replace")), has_value=not is_boolean
    )


def _unescaped(text: bytes) -> str:
    """A text without Go's escapes; those of bytes that are no characters become U+FFFD."""
    parts: list[str] = []
    at = 0
    for escape in _ESCAPE.finditer(text):
        parts += [text[at : escape.start()].decode("utf-8", "replace"), _character(escape)]
        at = escape.end()
    return "".join([*parts, text[at:].decode("utf-8", "replace")])


def _character(escape: re.Match[bytes]) -> str:
    if escape[1]:
        return _CHARACTERS.get(escape[1], escape[1].decode())
    code = int(escape[2] or escape[3] or escape[4], 16)
    is_character = code < 0x80 if escape[2] else code < 0xD800 or 0xDFFF < code <= 0x10FFFF
    return chr(code) if is_character else "\ufffd"


def _simple(pair: Pair, role: str | None) -> tuple[bytes, bytes] | None:
    """The expression of a pair and its piece of a row; None where its value is no simple one."""
    begin = re.escape(pair.token.partition(b"=")[0]) + b"="
    value = pair.token.partition(b"=")[2]
    name = orjson.dumps(role or pair.key).replace(b"%", b"%%")
    if role is None and not pair.has_value:
        return re.escape(pair.token), b"%b:%b," % (name, pair.value)
    bare = _BARE if role is None else _BARE_TEXT
    quoted = _QUOTED if role != "log.level" else _QUOTED.replace(b"]*+", b"]++")
    for expression, filled in ((b"(%b)" % _NUMBER, b"%b"), (bare, b'"%b"'), (quoted, b'"%b"')):
        if (role is None or filled != b"%b") and re.fullmatch(expression + b"\n", value + b"\n"):
            return begin + expression, b"%.0b" if role == STAMP else b"%b:%b," % (name, filled)
    return None


def _without_comma(pieces: Sequence[bytes]) -> bytes:
    """Pieces of a row; the comma goes from behind the last one that is no time."""
    last = max(at for at, piece in enumerate(pieces) if piece.endswith(b","))
    return b"".join([*pieces[:last], pieces[last][:-1], *pieces[last + 1 :]])


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
