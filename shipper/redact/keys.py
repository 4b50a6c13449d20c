r"""Key rules: find the value that belongs to a name, in JSON, in JSON inside a string at any depth, and in plain text.

RULES
- A name is the whole text between the quotes of a key, or in plain text the run of letters, digits and `_.-` before `=` or `:`, with up to
  two words before it (`API key: `); the last part in brackets (`user[password]=`); or what stands in a pair with `value`
  (`"name":"PASSWORD","value":`). See `names.py` for how names compare.
- Quotes of JSON nested in a string carry backslashes: 0 at the outermost level, then 1, 3, 7. A quote preceded by k
  backslashes closes level n where k = n modulo 2(n + 1), since each character escaped at that level takes n + 1 more.
- A value is: a string (its content, escapes included), a number, or an array or object up to its closing bracket, never
  beyond the string it is nested in, nor the row; in plain text a quoted text, or as far as the rule's `extent` goes.
- Left alone is what is empty, null, true or false, a placeholder or masked already, and in plain text words about the secret and
  source code (see `secrecy.py`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from shipper.redact.names import Names
from shipper.redact.rule import NESTED_ESCAPE, KeyRule
from shipper.redact.secrecy import begins_placeholder, is_code, is_state
from shipper.redact.validators import VALIDATORS, Validator

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAME_MAX = 128
_NAME_CHARACTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
_HIGH = bytes(range(0x80, 0x100))
_WORDS_BEFORE = re.compile(rb"([\w\x80-\xff]{1,24} )?([\w\x80-\xff]{1,24}) \Z")
"""Two words before a name, the nearer one as the second group."""
_IN_BRACKETS = re.compile(rb"(?:\[[\"']?|%5B)([\w.-]{1,64})(?:[\"']?\]|%5D)\Z", re.IGNORECASE)
_PAIRED = re.compile(rb"([\w.-]{1,64})\\*[\"'],?[ \t]{0,4}\\*[\"']?\Z")
_GAP = re.compile(rb"(?:[\s>=:]|\\+[nrt])*")
_TEXT_GAP = re.compile(rb"(?:[ \t>=:]|\\+t)*")
_OPEN = re.compile(rb"(\\*)([\"'`])")
_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_QUOTES = re.compile(rb'(?<!\\)(\\*+)"')
_SINGLE_QUOTES = re.compile(rb"(?<!\\)(\\*+)('|\")")
_BRACKETS = re.compile(rb'(?<!\\)(\\*+)"|[\[\]{}]')
_LITERAL = re.compile(rb"-?[0-9][0-9.eE+-]*")
_NOTHING = re.compile(rb"(?i)(?:null|none|nil|undefined|true|false)\b")
MASKED = re.compile(rb"\[(?:REDACTED|HMAC):[^\]\"]*\]")
"""What a replacement looks like: it is not replaced again."""
_BRACKET_IN_TEXT = re.compile(rb"[\[({<]*")
_STOPS = rb"\s\"\x04\x05'`&;,<>)\]}"
_NESTED_QUOTE = rb"(?:\x01\x02)+\x04"
_WORD = (
    rb"(?:[^" + _STOPS + rb"\x01]|\x01(?!\x02(?:\x01\x02)*\x04)|"
    rb"[;,<>)\]}](?![" + _STOPS + rb"]|\Z|" + _NESTED_QUOTE + rb"|[\w.\-]{1,64}[=:]))+"
)
_NAMED = rb"[^\s=;,\"\x04\x05]{1,128}=(?:[^\s;,\"\x04\x05]*)"
_QUOTED = rb"(?:\x01\x02)*(?:\"[^\"]*\"|\x04\x05[^\x04]*\x04\x05)"
_SETTING = rb"[\w-]{1,32}=(?:" + _QUOTED + rb"|[^\s,\"'\x01\x04]+)"
EXTENTS = {
    "word": re.compile(
        rb"(?i)(?:(?:bearer|basic|digest|token|apikey|negotiate|ntlm|aws4-hmac-sha256)[ ]{1,3})?" + _WORD,
    ),
    "scheme": re.compile(
        rb"(?i)[a-z][a-z0-9-]{2,24}[ ]{1,3}" + _SETTING + rb"(?:,[ ]{0,2}" + _SETTING + rb")*|"
        rb"(?:[a-z][a-z-]{2,24}[ ]{1,3})?" + _WORD,
    ),
    "cookies": re.compile(
        rb"(?i)" + _NAMED + rb"(?:[;,] ?(?:expires=[^;\"\x04\x05\r\n\x0c]{10,40}|httponly|secure|partitioned|" + _NAMED + rb"))*",
    ),
}
"""How far a value goes in plain text, on the shadow, by the name a rule writes."""


class Found(msgspec.Struct, gc=False):
    """The value that belongs to a name."""

    start: int
    end: int
    rule: int
    """Position of the key rule in the gate's list of rules."""
    literal: bool
    """Whether the value stands without quotes in JSON (number, true, array, object): it becomes null."""


class _Taking(NamedTuple):
    """A key rule compiled: what it takes as a value."""

    extent: re.Pattern[bytes]
    form: re.Pattern[bytes] | None
    check: Validator
    words: bool


class KeyFinder:
    """All key rules together: their screens and the search at a place it found."""

    def __init__(self, rules: Sequence[tuple[int, KeyRule]]) -> None:
        """Take (position in the gate's list, rule), in order of precedence. Raises ValueError for a name with no letter."""
        self._names = Names(rules)
        self._taking = {number: _taking(rule) for number, rule in rules}
        self.screens = self._names.screens
        """Fire at the `:` or `=` behind each name."""
        self.rules_of = self._names.rules_of

    def find(self, row: bytes, text: bytes, end: int) -> Found | None:
        """Look at the `:` or `=` that ends at `end` of `row` (`text`: its shadow); return what belongs to the name, if any."""
        if row[end - 2 : end + 1] == b'":"' and row[end - 3] != 0x5C:
            begin, level, quote = row.rfind(b'"', 0, end - 2) + 1, 0, b'"'
            name = row[begin : end - 2]
        else:
            name, begin, level, quote = _name_before(row, text, end)
        rules = self.rules_of(name) if text[begin - 1 : begin] != b"\x02" else ()
        rules = rules or self._otherwise(row, text, (begin, begin + len(name)), quote)
        if not rules:
            return None
        if quote == b'"':
            bounds = _json_value(row, _behind(_GAP, row, end), level)
            if bounds is not None:
                return self._kept(row, text, bounds, rules)
        return self._in_text(row, text, end, rules)

    def _otherwise(self, row: bytes, text: bytes, name: tuple[int, int], quote: bytes) -> tuple[int, ...]:
        """The rules of a name that is written in another way than as a key or one word of ASCII."""
        begin, end = name
        if row[begin:end] == b"value":
            paired = _PAIRED.search(row, max(0, begin - _NAME_MAX), begin)
            return self.rules_of(paired[1]) if paired else ()
        if quote:
            return ()
        if text[begin - 1 : begin] == b"\x02":
            escape = NESTED_ESCAPE.match(text, begin - 1)
            rules = (*(self.rules_of(row[escape.end() : end]) if escape else ()), *self.rules_of(row[begin:end]))
            if rules:
                return rules
        window = text[max(0, begin - _NAME_MAX) : begin]
        begin += len(window.rstrip(_HIGH + _NAME_CHARACTERS)) - len(window)
        words = _WORDS_BEFORE.search(row, max(0, begin - _NAME_MAX), begin)
        starts = [begin, words.start(2), words.start()] if words else [begin]
        return next(filter(None, (self.rules_of(row[start:end]) for start in starts)), ())

    def _in_text(self, row: bytes, text: bytes, end: int, rules: tuple[int, ...]) -> Found | None:
        """The value in plain text behind the `:` or `=` at `end`."""
        start = _behind(_TEXT_GAP, row, end)
        if _NOTHING.match(row, start) or MASKED.match(row, start) or begins_placeholder(text, start):
            return None
        quoted = _quoted_value(row, text, start)
        if quoted:
            return self._kept(row, text, (*quoted, False), rules)
        bracket = _BRACKET_IN_TEXT.match(text, start)
        start = bracket.end() if bracket else start
        apart = row[start - 1 : start] in (b" ", b"\t")
        for rule in rules:
            plain = self._taking[rule].extent.match(text, start)
            if plain is None or is_code(text[start : plain.end() + 1]):
                continue
            if apart and (
                is_state(plain[0].partition(b" ")[0]) or (not self._taking[rule].words and _is_prose(text, start, plain.end()))
            ):
                continue
            found = self._kept(row, text, (start, plain.end(), False), (rule,))
            if found:
                return found
        return None

    def _kept(self, row: bytes, text: bytes, bounds: tuple[int, int, bool], rules: tuple[int, ...]) -> Found | None:
        """The value at `bounds` for the first rule that takes it."""
        start, end, literal = bounds
        masked = MASKED.match(row, start)
        if start >= end or (masked and masked.end() >= end - 1):
            return None
        value = text[start:end]
        for rule in rules:
            taking = self._taking[rule]
            if (taking.form is None or taking.form.fullmatch(value)) and taking.check(value):
                return Found(start, end, rule, literal)
        return None


def _taking(rule: KeyRule) -> _Taking:
    return _Taking(EXTENTS[rule.extent], rule.whole_form(), VALIDATORS[rule.validator], rule.words)


def _is_prose(text: bytes, start: int, end: int) -> bool:
    """Whether a word, and words behind it, go on after a name: `invalid token: signature mismatch`."""
    word, after = text[start:end], text[end : end + 2]
    return word.isalpha() and (word[1:] or word).islower() and after[:1] == b" " and after[1:].isalpha()


def is_json(row: bytes) -> bool:
    """Whether the row looks like a JSON object or array. It need not be valid."""
    first = row[:1]
    return first in (b"{", b"[") or (first.isspace() and row.lstrip()[:1] in (b"{", b"["))


def in_string(text: bytes, place: int) -> bool:
    """Whether `place` of a shadow lies inside a string of a JSON row, whose closing quote then ends every value."""
    return is_json(text) and text.count(b'"', 0, place) % 2 == 1


def _behind(gap: re.Pattern[bytes], row: bytes, at: int) -> int:
    found = gap.match(row, at)
    return found.end() if found else at


def _name_before(row: bytes, text: bytes, end: int) -> tuple[bytes, int, int, bytes]:
    r"""The name before the separator that ends at `end`: (name, its start, backslashes before its quotes, quote or nothing)."""
    at = len(row[max(0, end - 6) : end - 1].rstrip()) + max(0, end - 6)
    quote = row[at - 1 : at] if at else b""
    if quote not in (b'"', b"'", b"`"):
        bracketed = _IN_BRACKETS.search(row, max(0, at - _NAME_MAX), at) if quote in (b"]", b"D", b"d") else None
        if bracketed:
            return bracketed[1], bracketed.start(1), 0, b"]"
        window = text[max(0, at - _NAME_MAX) : at]
        begin = len(window.rstrip(_NAME_CHARACTERS))
        if window.endswith((b"[HMAC:", b"[REDACTED:"), 0, begin):
            return b"", at, 0, b"["
        begin += at - len(window)
        return row[begin:at], begin, 0, b""
    stop = at - 1
    while stop > 0 and row[stop - 1] == 0x5C:
        stop -= 1
    level = at - 1 - stop
    begin = row.rfind(quote, max(0, stop - _NAME_MAX), stop) + 1
    return (row[begin:stop] if begin else b""), begin, level, quote


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


def _quoted_value(row: bytes, text: bytes, start: int) -> tuple[int, int] | None:
    """The content of a quoted text, brackets before it left out; None where none is quoted."""
    bracket = _BRACKET_IN_TEXT.match(row, start)
    start = bracket.end() if bracket else start
    opening = _OPEN.match(row, start)
    inside = opening is not None and in_string(text, start)
    if opening and not (inside and opening[2] == b'"' and not opening[1]):
        end = _quoted_end(row, opening, inside=inside)
        if end > opening.end():
            return opening.end(), end
    return None


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
