r"""Pattern tree: RE2's syntax read into a tree, as far as it can be said exactly what a pattern does to one line.

RULES
- The pattern is known to be one that RE2 takes: mistakes are not looked for. What is not read here raises `Unsure`: classes by
  Unicode property, octal escapes, `\Q`, `\C`, `(?U)`, folding of case outside of ASCII.
- It is about one line, which holds no newline: so `(?s)` and `(?m)` change nothing, `^` is the line's first place, `$` its last.
- A class is a tuple of ranges of code points, in order and apart from each other, without the newline.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LAST = 0x10FFFF
_NEWLINE = 10
Ranges = tuple[tuple[int, int], ...]


class Unsure(Exception):  # noqa: N818  it is no error: another engine runs the pattern
    """A pattern has something that is not read here, or is not known to be harmless."""


class Letter(NamedTuple):
    """One character of a class."""

    ranges: Ranges


class Edge(NamedTuple):
    r"""A place between characters: the line's start or end, `\b` or `\B`."""

    kind: Literal["^", "$", "b", "B"]


class Series(NamedTuple):
    """One after the other."""

    items: Sequence[Node]


class Either(NamedTuple):
    """The first of them that leads on."""

    items: Sequence[Node]


class Repeat(NamedTuple):
    """Several times; `most` is None for any number."""

    item: Node
    least: int
    most: int | None
    lazy: bool


class Group(NamedTuple):
    """A group that captures, with its number."""

    item: Node
    number: int


Node = Letter | Edge | Series | Either | Repeat | Group


def ranges_of(found: Iterable[tuple[int, int]]) -> Ranges:
    """Ranges put in order, joined where they touch, without the newline."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(found):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(joined[-1][1], last)
        else:
            joined.append((first, last))
    apart: list[tuple[int, int]] = []
    for first, last in joined:
        if first <= _NEWLINE <= last:
            apart += [(low, high) for low, high in ((first, _NEWLINE - 1), (_NEWLINE + 1, last)) if low <= high]
        else:
            apart.append((first, last))
    return tuple(apart)


def all_but(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The other characters."""
    found: list[tuple[int, int]] = []
    at = 0
    for first, last in sorted(ranges):
        if first > at:
            found.append((at, first - 1))
        at = max(at, last + 1)
    return ranges_of([*found, (at, LAST)] if at <= LAST else found)


def _span(text: str) -> list[tuple[int, int]]:
    """`a-z0-9_` as ranges."""
    return [(ord(found[0]), ord(found[-1])) for found in re.findall(r".-.|.", text, re.DOTALL)]


_DIGIT, _WORD, _SPACE = _span("0-9"), _span("0-9A-Z_a-z"), _span("\t\n\f\r ")
_PERL = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
_POSIX = {
    "alnum": _span("0-9A-Za-z"),
    "alpha": _span("A-Za-z"),
    "ascii": [(0, 127)],
    "blank": _span("\t "),
    "cntrl": [(0, 31), (127, 127)],
    "digit": _DIGIT,
    "graph": [(33, 126)],
    "lower": _span("a-z"),
    "print": [(32, 126)],
    "punct": [(33, 47), (58, 64), (91, 96), (123, 126)],
    "space": [(9, 13), (32, 32)],
    "upper": _span("A-Z"),
    "word": _WORD,
    "xdigit": _span("0-9A-Fa-f"),
}
_CONTROLS = {"a": 7, "f": 12, "t": 9, "n": 10, "r": 13, "v": 11}
_FOLDED = {"k": 0x212A, "s": 0x17F}
"""Letters outside of ASCII that are one of it where case is ignored: the sign of Kelvin, the long s."""
_TIMES = re.compile(r"\{(\d+)(?:(,)(\d*))?\}")
_HEX = re.compile(r"x(?:\{([0-9A-Fa-f]{1,6})\}|([0-9A-Fa-f]{2}))")
_FLAGS = re.compile(r"\?([ims]*)(?:-([ims]+))?([:)])")
_NAMED = re.compile(r"\?P?<[^>]*>")


def parse(pattern: str) -> Node:
    """The tree of a pattern. Raises Unsure."""
    try:
        parser = _Parser(pattern)
        node = parser.either(ignore_case=False)
    except (RecursionError, IndexError, ValueError):
        raise Unsure from None
    if parser.at < len(pattern):
        raise Unsure
    return node


class _Parser:
    """Reads from left to right; `at` is the place in the pattern."""

    def __init__(self, pattern: str) -> None:
        self.at = self.groups = 0
        self._pattern = pattern

    def either(self, *, ignore_case: bool) -> Node:
        """Branches up to the end of the group. Flags set in one hold in the next, too."""
        branches: list[Node] = []
        items: list[Node] = []
        while self.at < len(self._pattern) and self._pattern[self.at] != ")":
            if self._take("|"):
                branches.append(Series(items))
                items = []
            elif (
                self._pattern.startswith("(?", self.at)
                and (flags := _FLAGS.match(self._pattern, self.at + 1))
                and flags[3] == ")"
            ):
                self.at = flags.end()
                ignore_case = _case(flags, ignore_case)
            else:
                items.append(self._repeated(self._atom(ignore_case)))
        return Either([*branches, Series(items)]) if branches else Series(items)

    def _take(self, text: str) -> bool:
        taken = self._pattern.startswith(text, self.at)
        self.at += len(text) * taken
        return taken

    def _matched(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._pattern, self.at)
        self.at = found.end() if found else self.at
        return found

    def _atom(self, ignore_case: bool) -> Node:  # noqa: FBT001  passed on through the recursion
        character = self._pattern[self.at]
        self.at += 1
        if character == "(":
            return self._group(ignore_case)
        if character == "[":
            return Letter(self._class(ignore_case))
        if character == ".":
            return Letter(all_but([]))
        if character in "^$":
            return Edge(character)  # type: ignore[arg-type]
        if character == "\\":
            return self._escape(ignore_case)
        return Letter(_letter(ord(character), ignore_case))

    def _group(self, ignore_case: bool) -> Node:  # noqa: FBT001
        number = 0
        if flags := self._matched(_FLAGS):
            ignore_case = _case(flags, ignore_case)
        elif self._matched(_NAMED) or not self._pattern.startswith("?", self.at):
            self.groups += 1
            number = self.groups
        else:
            raise Unsure
        inner = self.either(ignore_case=ignore_case)
        if not self._take(")"):
            raise Unsure
        return Group(inner, number) if number else inner

    def _escape(self, ignore_case: bool) -> Node:  # noqa: FBT001
        character = self._pattern[self.at]
        if character in "bBAz":
            self.at += 1
            return Edge({"A": "^", "z": "$"}.get(character, character))  # type: ignore[arg-type]
        if character.lower() in _PERL:
            self.at += 1
            found = _PERL[character.lower()]
            return Letter(all_but(found) if character.isupper() else ranges_of(found))
        return Letter(_letter(self._escaped(), ignore_case))

    def _escaped(self) -> int:
        """The character behind a backslash."""
        if found := self._matched(_HEX):
            return int(found[1] or found[2], 16)
        character = self._pattern[self.at]
        self.at += 1
        if character in _CONTROLS:
            return _CONTROLS[character]
        if character.isalnum() or not character.isascii() or character == "_":
            raise Unsure
        return ord(character)

    def _class(self, ignore_case: bool) -> Ranges:  # noqa: FBT001
        negated = self._take("^")
        found: list[tuple[int, int]] = []
        begun = self.at
        while not self._pattern.startswith("]", self.at) or self.at == begun:
            found += self._class_item()
        self.at += 1
        if ignore_case:
            found = [part for ranges in found for part in _folded(*ranges)]
        return all_but(found) if negated else ranges_of(found)

    def _class_item(self) -> Iterable[tuple[int, int]]:
        if self._pattern.startswith("[:", self.at):
            name, _, _ = self._pattern[self.at + 2 :].partition(":]")
            self.at += len(name) + 4
            named = _POSIX.get(name.removeprefix("^"))
            if named is None:
                raise Unsure
            return _complement(named) if name.startswith("^") else named
        if self._pattern.startswith("\\", self.at) and self._pattern[self.at + 1].lower() in _PERL:
            name = self._pattern[self.at + 1]
            self.at += 2
            return _complement(_PERL[name.lower()]) if name.isupper() else _PERL[name]
        first = last = self._class_character()
        if self._pattern.startswith("-", self.at) and not self._pattern.startswith("-]", self.at):
            self.at += 1
            last = self._class_character()
        return [(first, last)]

    def _class_character(self) -> int:
        character = self._pattern[self.at]
        self.at += 1
        return self._escaped() if character == "\\" else ord(character)

    def _repeated(self, item: Node) -> Node:
        least: int = 1
        most: int | None = 1
        if self._take("*"):
            least, most = 0, None
        elif self._take("+"):
            least, most = 1, None
        elif self._take("?"):
            least, most = 0, 1
        elif times := self._matched(_TIMES):
            least = int(times[1])
            most = least if not times[2] else int(times[3]) if times[3] else None
        else:
            return item
        return Repeat(item, least, most, self._take("?"))


def _case(flags: re.Match[str], ignore_case: bool) -> bool:  # noqa: FBT001
    """Whether case is ignored behind these flags."""
    if "i" in (flags[2] or ""):
        return False
    return ignore_case or "i" in flags[1]


def _complement(ranges: Iterable[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """The others, the newline too if it is one of them: a class around may be negated."""
    at = 0
    for first, last in sorted(ranges):
        if first > at:
            yield at, first - 1
        at = last + 1
    yield at, LAST


def _letter(code: int, ignore_case: bool) -> Ranges:  # noqa: FBT001
    return ranges_of(_folded(code, code) if ignore_case else [(code, code)])


def _folded(first: int, last: int) -> Iterable[tuple[int, int]]:
    """A range and the other cases of its letters, as RE2 folds them. Raises Unsure beyond ASCII, but for what is all of it."""
    yield first, last
    if last > 127 and (first > 128 or last < LAST):
        raise Unsure
    for low, high, other in ((65, 90, 32), (97, 122, -32)):
        if first <= high and last >= low:
            yield max(first, low) + other, min(last, high) + other
    for letter, far in _FOLDED.items():
        if first <= ord(letter) <= last or first <= ord(letter.upper()) <= last:
            yield far, far
