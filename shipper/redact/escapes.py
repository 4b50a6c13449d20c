r"""Escapes: how a rule sees through JSON escapes without changing a single position.

THEORY
A JSON escape hides a secret from a byte scan, breaks word boundaries and may be cut in half by a mask. Two remedies:
- `canonical` rewrites escapes of printable ASCII (`\u0040`, `\/`) to the character itself: the same JSON, other bytes. Only
  rows that have such escapes pay, and they are rare (a guard pattern of the block scan tells).
- `shadow` is a copy of the row of the same length in which every other escape is replaced by bytes a pattern reads rightly:

      \n \t \r \b \f    blank, CONTINUE_BLANK          a control character
      \u00fc             LETTER, 5 x CONTINUE_LETTER     a letter beyond ASCII (as its raw UTF-8 bytes would be)
      \u00a0 \u2028 ..   blank, 5 x CONTINUE_BLANK       white space and control characters
      \\                BACKSLASH, CONTINUE_BACKSLASH   a backslash, or the first half of a nested escape
      \"                QUOTE, CONTINUE_QUOTE           a quote inside a string; what is left as `"` delimits strings

  Positions in the shadow are positions in the row. `snap` moves a region's bounds out of the middle of an escape, or of a
  UTF-8 character.
"""

from __future__ import annotations

import re

BACKSLASH, CONTINUE_BACKSLASH = 0x01, 0x02
QUOTE, CONTINUE_QUOTE = 0x04, 0x05
CONTINUE_BLANK = 0x0C
LETTER, CONTINUE_LETTER = 0xF5, 0xFF

_INSIDE = frozenset({CONTINUE_BACKSLASH, CONTINUE_BLANK, CONTINUE_LETTER})
_ESCAPE = re.compile(
    rb'\\(?:["\\/bfnrt]|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4})',
)
_BLANKS = frozenset(
    {0x7F, 0x85, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x2060, 0x3000, 0xFEFF, *range(0x20), *range(0x2000, 0x2010)}
)
_KNOWN_MAX = 4096

CANONICAL_GUARD = rb"\\(?:/|u00[2-7])"
"""Fires where `canonical` may have something to do."""
ESCAPED = re.compile(CANONICAL_GUARD)
_REWRITE = re.compile(rb"(\\++)(?:u00([2-7][0-9a-fA-F])|(/)|)")


class _Shadows(dict[bytes, bytes]):
    """Escape -> its shadow, made once; forgets everything at `_KNOWN_MAX` entries (a text in a foreign script has many)."""

    def __missing__(self, escape: bytes) -> bytes:
        if len(self) >= _KNOWN_MAX:
            self.clear()
        made = self[escape] = _shadow_of(escape)
        return made


def _shadow_of(escape: bytes) -> bytes:
    kind = escape[1:2]
    if kind == b"\\":
        return bytes((BACKSLASH, CONTINUE_BACKSLASH))
    if kind == b'"':
        return bytes((QUOTE, CONTINUE_QUOTE))
    if kind == b"/":
        return bytes((BACKSLASH, 0x2F))
    if kind == b"u" and int(escape[2:6], 16) not in _BLANKS:
        return bytes((LETTER, *(CONTINUE_LETTER,) * (len(escape) - 1)))
    return bytes((0x20, *(CONTINUE_BLANK,) * (len(escape) - 1)))


_shadows = _Shadows()


def shadow(row: bytes) -> bytes:
    """Return the copy of `row` that exact patterns run on; the row itself where it has no backslash. Same length."""
    if b"\\" not in row:
        return row
    return _ESCAPE.sub(lambda found: _shadows[found[0]], row)


def snap(text: bytes, start: int, end: int) -> tuple[int, int]:
    """Widen [start, end) of a shadow so that no escape and no UTF-8 character is cut; a closing escaped quote stays out."""
    while start > 0 and (text[start] in _INSIDE or 0x80 <= text[start] < 0xC0):
        start -= 1
    if start > 0 and start < len(text) and text[start] == CONTINUE_QUOTE:
        start -= 1
    size = len(text)
    while end < size and (text[end] in _INSIDE or 0x80 <= text[end] < 0xC0):
        end += 1
    if end < size and text[end] == CONTINUE_QUOTE and text[end - 1] == QUOTE:
        end -= 1
    return start, end


def canonical(row: bytes) -> bytes:
    r"""Return `row` with escapes of printable ASCII written as the characters themselves.

    The same JSON, semantically. What reads as an escape of JSON nested in a string (`\\u0040`, `\\/`) is rewritten too, since a
    reader of the inner JSON would see the character: of k backslashes before the `u`, the escape has as many as the largest power of 2 that divides
    k, the others are backslashes that are escaped themselves.
    """
    return _REWRITE.sub(_rewritten, row)


def _rewritten(found: re.Match[bytes]) -> bytes:
    slashes, code = len(found[1]), found[2]
    if (code is None and found[3] is None) or code in (b"7f", b"7F"):
        return found[0]
    depth = slashes & -slashes
    character = b"/" if code is None else bytes((int(code, 16),))
    if character in b'"\\':
        return b"\\" * (slashes + depth - 1) + character
    return b"\\" * (slashes - depth) + character
