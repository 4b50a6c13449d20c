"""Key rules: find the value that belongs to a name, in JSON, in JSON inside a string at any depth, and in plain text.

RULES
- A name is the whole text between the quotes of a key, or the run of `[A-Za-z0-9_.-]` before `=` or `:` in plain text. It is
  compared without case, `-` and `_`, whole or what stands behind a dot (`user.password`), exactly or by glob.
- Quotes of JSON nested in a string carry backslashes: 0 at the outermost level, then 1, 3, 7. A quote preceded by k
  backslashes closes level n where k = n modulo 2(n + 1), since each character escaped at that level takes n + 1 more.
- A value is: a string (its content, escapes included), a number, true or false, or an array or object up to its closing bracket, never
  beyond the string it is nested in, nor the row; in plain text a quoted text, or a token, with a scheme (`Bearer`) before it.
- Values already masked, empty ones and null are left alone.
"""

from __future__ import annotations

import re
from fnmatch import translate
from typing import TYPE_CHECKING

import msgspec

from shipper.redact.rule import NESTED_ESCAPE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shipper.redact.rule import KeyRule

_NAME_MAX = 128
_CACHED_NAMES = 4096
_SEPARATOR = b"[-_]?"
_TAIL = rb"[\"'\\]{0,9}[ \t]{0,4}[:=]"
_GLOB_SCREEN = {"*": rb"[\w.-]{0,64}", "?": rb"[\w.-]"}

_NAME_CHARACTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
_GAP = re.compile(rb"(?:[\s>=:]|\\+[nrt])*")
_TEXT_GAP = re.compile(rb"(?:[ \t>=:]|\\+t)*")
_OPEN = re.compile(rb"(\\*)([\"'`])")
_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_QUOTES = re.compile(rb'(?<!\\)(\\*+)"')
_SINGLE_QUOTES = re.compile(rb"(?<!\\)(\\*+)('|\")")
_BRACKETS = re.compile(rb'(?<!\\)(\\*+)"|[\[\]{}]')
_LITERAL = re.compile(rb"-?[0-9][0-9.eE+-]*|true\b|false\b")
_NOTHING = re.compile(rb"(?i)(?:null|none|nil|undefined)\b")
MASKED = re.compile(rb"\[(?:REDACTED|HMAC):[^\]\"]*\]")
"""What a replacement looks like: it is not replaced again."""
_BRACKET_IN_TEXT = re.compile(rb"[\[({<]*")
_STOPS = rb"\s\"\x04\x05'`&;,<>)\]}"
_TOKEN = re.compile(
    rb"(?:(?:bearer|basic|digest|token|apikey|negotiate|ntlm|aws4-hmac-sha256)[ ]{1,3})?"
    rb"(?:[^" + _STOPS + rb"]|[;,<>)\]}](?![" + _STOPS + rb"]|\Z|[\w.\-]{1,64}[=:]))+",
    re.IGNORECASE,
)
_LINE = re.compile(rb"(?:(?! \x0c)[^\"\x05\r\n\x0c])+")


class Found(msgspec.Struct, gc=False):
    """The value that belongs to a name."""

    start: int
    end: int
    rule: int
    """Position of the key rule in the gate's list of rules."""
    literal: bool
    """Whether the value stands without quotes in JSON (number, true, array, object): it becomes null."""


class KeyFinder:
    """All key rules together: their screen and the search at a place it found."""

    def __init__(self, rules: Sequence[tuple[int, KeyRule]]) -> None:
        """Take (position in the gate's list, rule), in order of precedence. Raises ValueError for a name with no letter."""
        self._exact: dict[str, int] = {}
        self._globs: list[tuple[re.Pattern[str], int]] = []
        self._lines = {number for number, rule in rules if rule.whole_line}
        self._names: dict[bytes, int] = {}
        for number, rule in rules:
            for name in rule.names:
                self._add(normal(name), number)
        spelled: dict[str, str] = {}
        for _, rule in rules:
            for name in rule.names:
                plain = normal(name).lstrip("*")
                written = "_".join(plain) if rule.separated else name.lower().replace("-", "_").lstrip("*_")
                spelled[plain] = max(spelled.get(plain, ""), written, key=len)
        covered = {name for name in spelled for other in spelled if name != other and name.endswith(other)}
        screens = [_screen_of(written) for plain, written in spelled.items() if plain not in covered]
        self.screen = rb"(?i)(?:" + b"|".join(screens) + rb")" + _TAIL if screens else b""
        """Fires at the `:` or `=` behind each name."""

    def _add(self, name: str, number: int) -> None:
        if not any(letter.isalnum() for letter in name):
            raise ValueError("a name needs at least one letter or digit")
        if "*" in name or "?" in name:
            self._globs.append((re.compile(translate(name)), number))
        else:
            self._exact.setdefault(name, number)

    def rule_of(self, name: bytes) -> int:
        """The rule that covers `name`, or -1. Cached; at most 4,096 names, then it starts over."""
        known = self._names.get(name)
        if known is None:
            if len(self._names) >= _CACHED_NAMES:
                self._names.clear()
            known = self._names[name] = self._look_up(normal(name.decode("ascii", "replace")))
        return known

    def _look_up(self, name: str) -> int:
        text, dot = name, "."
        while dot:
            number = self._exact.get(text, -1)
            if number >= 0:
                return number
            for glob, number in self._globs:
                if glob.match(text):
                    return number
            _, dot, text = text.partition(".")
        return -1

    def find(self, row: bytes, text: bytes, end: int) -> Found | None:
        """Look at the `:` or `=` that ends at `end` of `row` (`text`: its shadow); return what belongs to the name, if any."""
        if row[end - 2 : end + 1] == b'":"' and row[end - 3] != 0x5C:
            name, level, quote = row[row.rfind(b'"', 0, end - 2) + 1 : end - 2], 0, b'"'
        else:
            name, level, quote = _name_before(row, text, end)
        rule = self.rule_of(name.lstrip(b"\x02"))
        if rule < 0 and (escape := NESTED_ESCAPE.match(name)):
            rule = self.rule_of(name[escape.end() :])
        if rule < 0:
            return None
        if quote == b'"':
            bounds = _json_value(row, _behind(_GAP, row, end), level)
            if bounds is not None:
                return _kept(row, Found(*bounds[:2], rule, bounds[2]))
        start = _behind(_TEXT_GAP, row, end)
        if _NOTHING.match(row, start) or MASKED.match(row, start):
            return None
        found = _text_value(row, text, start, _LINE if rule in self._lines else _TOKEN)
        return _kept(row, Found(*found, rule, False)) if found else None


def is_json(row: bytes) -> bool:
    """Whether the row looks like a JSON object or array. It need not be valid."""
    first = row[:1]
    return first in (b"{", b"[") or (first.isspace() and row.lstrip()[:1] in (b"{", b"["))


def in_string(text: bytes, place: int) -> bool:
    """Whether `place` of a shadow lies inside a string of a JSON row, whose closing quote then ends every value."""
    return is_json(text) and text.count(b'"', 0, place) % 2 == 1


def normal(name: str) -> str:
    """A name as it is compared: lower case, no `-`, no `_`."""
    return name.lower().replace("-", "").replace("_", "")


def _screen_of(written: str) -> bytes:
    """A name with an optional separator wherever it is written with one."""
    return b"".join(
        _SEPARATOR if letter == "_" else _GLOB_SCREEN.get(letter) or re.escape(letter.encode("ascii")) for letter in written
    )


def _behind(gap: re.Pattern[bytes], row: bytes, at: int) -> int:
    found = gap.match(row, at)
    return found.end() if found else at


def _kept(row: bytes, found: Found) -> Found | None:
    masked = MASKED.match(row, found.start)
    if found.start >= found.end or (masked and masked.end() >= found.end - 1):
        return None
    return found


def _name_before(row: bytes, text: bytes, end: int) -> tuple[bytes, int, bytes]:
    r"""The name before the separator that ends at `end`: (name, backslashes before its quotes, quote or nothing).

    A bare name behind a nested escape (`\\npassword=`) begins with the 0x02 of its shadow.
    """
    at = len(row[max(0, end - 6) : end - 1].rstrip()) + max(0, end - 6)
    quote = row[at - 1 : at] if at else b""
    if quote not in (b'"', b"'"):
        window = text[max(0, at - _NAME_MAX) : at]
        begin = len(window.rstrip(_NAME_CHARACTERS))
        if window.endswith((b"[HMAC:", b"[REDACTED:"), 0, begin):
            return b"", 0, b""
        return window[begin - 1 if window[begin - 1 : begin] == b"\x02" else begin :], 0, b""
    stop = at - 1
    while stop > 0 and row[stop - 1] == 0x5C:
        stop -= 1
    level = at - 1 - stop
    begin = row.rfind(quote, max(0, stop - _NAME_MAX), stop) + 1
    return (row[begin:stop] if begin else b""), level, quote


def _json_value(row: bytes, start: int, level: int) -> tuple[int, int, bool] | None:
    """(start, end, literal) of a JSON value nested `level` backslashes deep; None where there is none."""
    opening = _OPEN.match(row, start)
    if opening and opening[2] == b'"':
        if len(opening[1]) != level:
            return (start, start, False) if len(opening[1]) < level else None
        begin = opening.end()
        return begin, closing(row, begin, level), False
    if row[start : start + 1] in (b"[", b"{"):
        return start, _bracketed(row, start, level), True
    literal = _LITERAL.match(row, start)
    return (start, literal.end(), True) if literal else None


def closing(row: bytes, start: int, level: int) -> int:
    """Where the content of a string ends that began at `start`, nested `level` backslashes deep; the row's end if unclosed."""
    if level == 0:
        found = _STRING.match(row, start)
        return found.end() if found else len(row)
    for quote in _QUOTES.finditer(row, start):
        slashes = len(quote[1])
        if ends := _closes(slashes, level):
            return quote.end() - ends
    return len(row)


def _closes(slashes: int, level: int) -> int:
    """Bytes of the delimiter, if a quote behind `slashes` backslashes closes a string of this level or one around it; else 0."""
    outer = 0
    while outer <= level:
        if slashes % (2 * (outer + 1)) == outer:
            return outer + 1
        outer = 2 * outer + 1
    return 0


def _bracketed(row: bytes, start: int, level: int) -> int:
    """The end of the array or object at `start`: behind its closing bracket, or where the string around it ends."""
    depth, at = 0, start
    while found := _BRACKETS.search(row, at):
        at = found.end()
        if found[1] is None:
            depth += 1 if found[0] in b"[{" else -1
            if depth == 0:
                return at
            continue
        ends = _closes(len(found[1]), level)
        if ends and ends <= level:
            return at - ends
        if ends:
            at = closing(row, at, level) + level + 1
    return len(row)


def _text_value(row: bytes, text: bytes, start: int, plain: re.Pattern[bytes]) -> tuple[int, int] | None:
    """The value in plain text: quoted, or else what `plain` matches."""
    bracket = _BRACKET_IN_TEXT.match(row, start)
    start = bracket.end() if bracket else start
    opening = _OPEN.match(row, start)
    inside = opening is not None and in_string(text, start)
    if opening and not (inside and opening[2] == b'"' and not opening[1]):
        end = _quoted_end(row, opening, inside=inside)
        if end > opening.end():
            return opening.end(), end
    found = plain.match(text, start)
    return (start, found.end()) if found else None


def _quoted_end(row: bytes, opening: re.Match[bytes], *, inside: bool) -> int:
    """The end of a text quoted by `opening`; -1 where the quote is not closed before the string around it ends."""
    level, quote = len(opening[1]), opening[2]
    if quote == b'"':
        return closing(row, opening.end(), level)
    if quote == b"`":
        return row.find(b"`", opening.end())
    for found in _SINGLE_QUOTES.finditer(row, opening.end()):
        if found[2] == b'"':
            if inside and len(found[1]) % 2 == 0:
                return -1
        elif len(found[1]) == level:
            return found.start()
    return -1
