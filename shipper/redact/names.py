r"""Names: which key rules cover the name of a field, and the screen that fires behind each name.

RULES
- Names are compared without case, `-`, `_` and blanks, whole or what stands behind a dot (`user.password`), exactly or by glob.
- A name in `but` does not count for its rule, though a glob of it covers it.
- The screen ends at the `:` or `=` behind a name (`"name": `, `name = `, `x[name]=`), or behind a `value` that belongs to it
  (`"name":"PASSWORD","value":`). It fires for more than the names; what stands before the sign is looked up.
- Letters beyond ASCII are looked for as UTF-8, in lower and upper case, and as JSON escapes.
"""

from __future__ import annotations

import re
from fnmatch import translate
from typing import TYPE_CHECKING

from shipper.redact.rule import SCREEN_LEFT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shipper.redact.rule import KeyRule

_CACHED = 4096
_SEPARATOR = b"[-_ ]?"
_CLOSED = rb"(?:[\"'`\\\])]|%5D){0,9}[ \t]{0,4}"
_TAIL = _CLOSED + rb"(?:[:=]|,?[ \t]{0,4}\\{0,7}[\"']?value" + _CLOSED + rb"[:=])"
_GLOB_SCREEN = {"*": rb"[\w.-]{0,64}", "?": rb"[\w.-]"}
_TOGETHER = 24
"""Names in one pattern; Hyperscan refuses patterns of hundreds."""
_SHORT = 3
"""An exact name of so few letters ends many other words; it is looked for where a word begins."""
_BEGINS = SCREEN_LEFT[:-1] + rb"|%5B)"
_IGNORED = str.maketrans("", "", "-_ ")
_ESCAPE = re.compile(r"\\+u([0-9a-fA-F]{4})")


class Names:
    """The names of all key rules."""

    def __init__(self, rules: Sequence[tuple[int, KeyRule]]) -> None:
        """Take (number, rule), in order of precedence. Raises ValueError for a name with no letter."""
        self._exact: dict[str, list[int]] = {}
        self._globs: list[tuple[re.Pattern[str], int]] = []
        self._but: dict[int, re.Pattern[str]] = {}
        self._known: dict[bytes, tuple[int, ...]] = {}
        for number, rule in rules:
            for name in rule.names:
                self._add(normal(name), number)
            if rule.but:
                self._but[number] = re.compile("|".join(translate(normal(name)) for name in rule.but))
        self.screens = _screens([rule for _, rule in rules])
        """Each fires behind some of the names."""

    def _add(self, name: str, number: int) -> None:
        if not any(letter.isalnum() for letter in name):
            raise ValueError("a name needs at least one letter or digit")
        if "*" in name or "?" in name:
            self._globs.append((re.compile(translate(name)), number))
        else:
            self._exact.setdefault(name, []).append(number)

    def rules_of(self, name: bytes) -> tuple[int, ...]:
        """The rules that cover `name`, in order of precedence. Cached; at most 4,096 names, then it starts over."""
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= _CACHED:
                self._known.clear()
            known = self._known[name] = self._look_up(_unescaped(name))
        return known

    def _look_up(self, name: str) -> tuple[int, ...]:
        text, dot = normal(name), "."
        found: set[int] = set()
        while dot:
            globs = (number for glob, number in self._globs if glob.match(text))
            numbers = (*self._exact.get(text, ()), *globs)
            found |= {one for one in numbers if one not in self._but or not self._but[one].match(text)}
            _, dot, text = text.partition(".")
        return tuple(sorted(found))


def normal(name: str) -> str:
    """A name as it is compared: lower case, no `-`, `_`, blank."""
    return name.lower().translate(_IGNORED)


def _unescaped(name: bytes) -> str:
    text = name.decode("utf-8", "replace")
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text) if "\\" in text else text


def _screens(rules: Sequence[KeyRule]) -> tuple[bytes, ...]:
    spelled: dict[str, str] = {}
    open_ones: set[str] = set()
    for rule in rules:
        for name in rule.names:
            plain = normal(name).lstrip("*")
            written = "_".join(plain) if rule.separated else name.lower().replace("-", "_").lstrip("*_")
            spelled[plain] = max(spelled.get(plain, ""), written, key=len)
            if "*" in name or len(plain) > _SHORT or not plain.isascii():
                open_ones.add(plain)
    others = {name: spelled[name] for name in open_ones}
    covered = {name for name, written in spelled.items() if _is_covered(name, written, others)}
    looked_for = [
        (b"" if plain in open_ones else _BEGINS) + _spelled(written) for plain, written in spelled.items() if plain not in covered
    ]
    parts = [sorted(looked_for)[start : start + _TOGETHER] for start in range(0, len(looked_for), _TOGETHER)]
    return tuple(rb"(?i)(?:" + b"|".join(part) + rb")" + _TAIL for part in parts)


def _is_covered(name: str, written: str, others: Mapping[str, str]) -> bool:
    """Whether the screen of another name fires at the end of this one, wherever that has separators."""
    gaps = _gaps(written)
    ends = [name[place:] for place in range(1, len(name)) if name[place:] in others]
    return any({gap for gap in gaps if gap < len(end)} <= _gaps(others[end]) for end in ends)


def _gaps(written: str) -> set[int]:
    """Where separators stand in a name: letters behind each."""
    return {len(written[place:].replace("_", "")) for place, letter in enumerate(written) if letter == "_"}


def _spelled(written: str) -> bytes:
    """A name with an optional separator wherever it is written with one."""
    return b"".join(_SEPARATOR if letter == "_" else _GLOB_SCREEN.get(letter) or _letter(letter) for letter in written)


def _letter(letter: str) -> bytes:
    if letter.isascii():
        return re.escape(letter.encode("ascii"))
    forms = sorted(form for form in {letter, letter.upper()} if len(form) == 1)
    return b"(?:%s)" % b"|".join(
        [*(re.escape(form.encode()) for form in forms), *(rb"\\{1,7}u%04x" % ord(form) for form in forms)]
    )
