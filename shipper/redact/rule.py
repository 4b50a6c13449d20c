r"""Rule: one thing the gate looks for, as data; and how its patterns are compiled.

RULES
- `pattern` is exact and decides. It runs with `re` on the shadow of one row (see `escapes.py`).
- `screen` only says where to look. It runs over the raw block, in Hyperscan or RE2, so it has no look-around. It must have a
  match that ends inside every match of the pattern, at most `reach` bytes after its start; the end should be fixed (`{36}`,
  not `{36,}`), or it reports every further byte. Left out, it is derived: the pattern without its outer boundaries, the last
  quantifier at its minimum.
- A leading `\b` means: no ASCII letter or digit before, or an escape (also a nested one) just ended. A closing `\b` means
  no ASCII letter or digit after. `_` counts as a boundary on both sides: `key_AKIA...` is found.
- `<sep>` is what stands between a name and its value: quotes, blanks, `=`, `:`, `=>`.
- `<quote>` is a quote at any depth of nesting, `<word>` a character of a word that ends at a blank or such a quote.
- `<uuid>` is a UUID in lower case (RFC 9562). `<numbers>` is the one screen that all rules for numbers without a literal share: a DFA
  costs a microsecond for a kilobyte whatever it looks for, two of them cost two.
- `unless` sees up to 64 bytes before a hit and the hit; where it matches up to the hit's end, it is none: `blk_` before a number.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from shipper.redact.validators import VALIDATORS

if TYPE_CHECKING:
    from collections.abc import Mapping

_ALNUM = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
NESTED_ESCAPE = re.compile(rb"\x02(?:[bfnrt]|u[0-9a-fA-F]{4})")
"""An escape nested in a string, on the shadow: 0x02 is the second of two backslashes."""
_NESTED_ESCAPE_BEFORE = re.compile(NESTED_ESCAPE.pattern + rb"\Z")
RIGHT = rb"(?![0-9A-Za-z])"
SCREEN_LEFT = rb"(?:\b|_|\\[bfnrt]|\\u[0-9a-fA-F]{4})"
r"""`\b` at the left of a screen, on the raw block."""
_UUID = rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_EXACT_PARTS = {
    b"<uuid>": _UUID,
    b"<sep>": rb"[\"'`\x01\x02\x04\x05]{0,8}\s{0,4}(?:=>|:=|[:=])\s{0,4}[\"'`\x01\x02\x04\x05]{0,8}",
    b"<quote>": rb"(?:\x01\x02)*(?:[\"'`]|\x04\x05)",
    b"<word>": rb"(?:[^\s\"'`\x01\x04\x05]|\x01(?!\x02(?:\x01\x02)*[\x04'`]))",
}
"""In patterns that run on the shadow of a row."""
_SCREEN_PARTS = {
    b"<uuid>": _UUID,
    b"<sep>": rb"[\"'`\\]{0,8}\s{0,4}(?:=>|:=|[:=])\s{0,4}[\"'`\\]{0,8}",
    b"<quote>": rb"\\{0,15}[\"'`]",
    b"<word>": rb"[^\s\"'`]",
}
"""In screens, on the raw block."""
_NUMBERS = b"|".join(
    (
        rb"[2-6][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{2}[ -]?[0-9]{2}[ -]?[0-9]",  # cards
        rb"[A-Z]{2}[0-9]{2}[ -]?[A-Za-z0-9]{4}[ -]?[A-Za-z0-9]{4}[ -]?[A-Za-z0-9]{3}",  # accounts
        rb"[0-9]{3}-[0-9]{2}-[0-9]{4}",  # social security numbers
        rb"[0-9]{10,17}:[0-9a-f]",  # tokens of Asana
    )
)
_LAST_QUANTIFIER = re.compile(r"(\{(\d+),\d*\}|\+)(\)?)\Z")
_OPTIONAL_END = re.compile(r"(?<=.)(?:\[[^\]]+\]|(?<!\\)[^\\()\[\]{}|*+?])(?:\{0,\d*\}|\*|\?)(?=\)?\Z)")
_CLOSING_LOOKAHEAD = re.compile(r"(?:\(\?![^()]*\)|\\b)\Z")
_LOOKAROUND = re.compile(r"\(\?(?:[=!>]|<[=!]|P=|\()|\\[1-9AZB]|[+*?}]\+")


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value rule: finds secrets by what they look like."""

    id: str
    title: str
    pattern: str
    screen: str = ""
    reach: int = -1
    """Furthest distance from the start of a match to the screen's end; -1: unknown, the row is searched from its start."""
    longest: int = 0
    """Bytes of the longest match and what is looked at behind it; 0: unknown, the row is searched to its end. With it a hit costs
    a search of its surroundings only, which matters where two rules share a screen."""
    group: int = 0
    before: str = ""
    """A class of characters, `A-Za-z0-9`: the hit begins with the 1 to 256 of them that stand before the match. Spares the search
    a run of characters that could begin anywhere."""
    validator: str = "none"
    unless: str = ""
    """What stands before a hit, and the hit, where it is no secret: `(?i)(?:isbn|ean)[ :]{1,3}[0-9]{13}`. The end is the hit's."""
    action: str = "mask"
    lane: int = 0
    """The database its screen is compiled into: 0 for screens with a literal to hold on to, 1 for runs of digits and the like, 3 for
    single characters (`@`, `+`), 2 for the rest (rules of the user's own among them), so that one bad pattern does not slow the
    others. Rules with the very same screen share one pattern."""
    match: list[str] = []
    no_match: list[str] = []

    def exact(self) -> tuple[re.Pattern[bytes], bool]:
        """Compile the deciding pattern; the second value says that `at_boundary` must hold where it starts.

        Raises re.error, or ValueError for what the gate does not support.
        """
        if self.validator not in VALIDATORS:
            raise ValueError(f"unknown validator {self.validator!r}, expected one of {', '.join(VALIDATORS)}")
        flags, body = _split_flags(self.pattern)
        single = not _alternates(body)
        left = single and body.startswith(r"\b")
        right = single and body.endswith(r"\b") and not body.endswith(r"\\b")
        middle = _filled(body[2 if left else 0 : -2 if right else None], _EXACT_PARTS)
        # Without a boundary in front, `re` finds the literal or the class the pattern begins with some ten times as fast.
        compiled = re.compile(flags.encode() + (b"(?:%s)%s" % (middle, RIGHT) if right else middle))
        if compiled.search(b""):
            raise ValueError("the pattern matches the empty text")
        if self.group > compiled.groups:
            raise ValueError(f"group {self.group} asked for, the pattern has {compiled.groups}")
        return compiled, left

    def exception(self) -> re.Pattern[bytes] | None:
        """Compile `unless`. Raises re.error."""
        flags, body = _split_flags(self.unless)
        return re.compile(flags.encode() + b"(?:%s)\\Z" % _filled(body, _EXACT_PARTS)) if self.unless else None

    def run_before(self) -> bytes:
        """The characters of `before`."""
        if not self.before:
            return b""
        kind = re.compile(b"[" + self.before.encode("ascii") + b"]")
        return bytes(byte for byte in range(256) if kind.match(bytes((byte,))))

    def screened(self) -> bytes:
        """The screen as bytes. Raises ValueError where none is given and none can be derived."""
        if self.screen == "<numbers>":
            return SCREEN_LEFT + b"(?:" + _NUMBERS + b")"
        flags, body = _split_flags(self.screen or self.pattern)
        left = body.startswith(r"\b") and not _alternates(body)
        body = body[2:] if left else body
        if not self.screen:
            while found := _CLOSING_LOOKAHEAD.search(body):
                body = body[: found.start()]
            body = _shortened(body)
        if _LOOKAROUND.search(body):
            raise ValueError("needs a `screen`: a wider pattern without look-around and back-references")
        text = _filled(body, _SCREEN_PARTS)
        return flags.encode() + (SCREEN_LEFT if left and self.screen else b"") + b"(?:" + text + b")"


def at_boundary(text: bytes, place: int) -> bool:
    r"""Whether a leading `\b` holds at `place` of a shadow: no ASCII letter or digit before, or a nested escape just ended."""
    if place == 0 or text[place - 1] not in _ALNUM:
        return True
    return _NESTED_ESCAPE_BEFORE.search(text, max(0, place - 6), place) is not None


class KeyRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key rule: masks the value of fields by their name, whatever it is (see `keys.py`)."""

    id: str
    title: str
    names: list[str]
    """Exact, or with `*` and `?`; compared without case, `-`, `_` and blanks. A separator is looked for where the name has one
    (`pass_word`)."""
    but: list[str] = []
    """Names that do not count, though one of `names` covers them."""
    separated: bool = False
    """Whether separators are looked for between any two letters, however the names are written: dearer to scan for."""
    form: str = ""
    """A pattern that the whole value matches, where the names alone say too little."""
    validator: str = "value"
    """What a value must be to count: `value`, any that is no placeholder, or another validator."""
    extent: str = "word"
    """How far a value without quotes goes in plain text: a `word`; `scheme`, a scheme and its parameters; `cookies`, pairs."""
    words: bool = False
    """Whether a plain word followed by others is a value, too (`password: changeme please`), not prose (`token: none was sent`)."""
    action: str = "mask"
    match: list[str] = []
    no_match: list[str] = []

    def whole_form(self) -> re.Pattern[bytes] | None:
        """Compile `form`."""
        return re.compile(_filled(self.form, _EXACT_PARTS)) if self.form else None


class Pack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pack as it stands in its YAML file."""

    title: str
    rules: list[Rule] = []
    keys: list[KeyRule] = []


def _filled(body: str, parts: Mapping[bytes, bytes]) -> bytes:
    """A pattern with what the names in angle brackets stand for."""
    text = body.encode("ascii")
    for name, part in parts.items():
        text = text.replace(name, part)
    return text


def _split_flags(pattern: str) -> tuple[str, str]:
    return ("(?i)", pattern[4:]) if pattern.startswith("(?i)") else ("", pattern)


def _shortened(body: str) -> str:
    """The pattern without an optional end, its last quantifier at the minimum: it ends at one place instead of at every further byte."""
    while found := _OPTIONAL_END.search(body):
        body = body[: found.start()] + body[found.end() :]
    found = _LAST_QUANTIFIER.search(body)
    if not found or found[2] == "0" or body[: found.start()].endswith("\\"):
        return body
    return body[: found.start()] + (f"{{{found[2]}}}" if found[2] else "") + found[3]


def _alternates(body: str) -> bool:
    """Whether the pattern has a `|` outside all groups: then a boundary at its edge belongs to one alternative only."""
    bare = re.sub(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", "", body)
    while (inner := re.sub(r"\([^()]*\)", "", bare)) != bare:
        bare = inner
    return "|" in bare
