r"""Templates: lines that differ in their values only, read by an expression that one of them was the model of.

RULES
- A template is made of a line by its format, which knows where values stand in it. It takes lines that read the same as the model
  but for values of the same simple kinds, and leaves all others.
- Lines are told apart by how they begin behind the time. Of each beginning there are at most four templates, and 256 in all; then
  they are made anew. In a block at most eight are made, each for four lines at least: what is rare is not worth one.

THEORY
An expression whose every other character is known finds values at the price of a few nanoseconds a byte, and its groups fill a row
in one `%`, whatever they hold: no value is looked up, so that it does not matter whether values come again. A match begins and
ends with its line. Where there are as many matches as lines, all fit; else each line is matched alone.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from itertools import repeat
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_OF_A_KIND_MAX, _ALL_MAX, _NEW_MAX, _WORTH_MIN = 4, 256, 8, 4


class Template:
    """What lines of one kind have in common."""

    def __init__(self, line: bytes, row: bytes, told: Mapping[str, str]) -> None:
        """Take an expression with a group for each value, a row to be filled with the groups by `%`, and members that are known."""
        self.told = told
        self._row = row
        self._all = re.compile(b"^%b$" % line, re.MULTILINE)
        self._some = re.compile(b"^(?:%b|(.+))$" % line, re.MULTILINE)
        self._is_mixed = False
        """Whether lines did not fit the last time: then one does not try whether all do."""

    def rows(self, lines: Sequence[bytes]) -> Iterable[bytes | None]:
        """A row for each of some lines, of which none is empty; None for those that do not fit."""
        text = b"\n".join(lines)
        if not self._is_mixed:
            found = self._all.findall(text)
            if len(found) == len(lines):
                return map(self._row.__mod__, found) if self._all.groups else repeat(self._row % (), len(lines))
        if not self._all.groups:
            return [None if rest else self._row % () for rest in self._some.findall(text)]
        groups = self._some.findall(text)
        rows = [None if rest else self._row % tuple(values) for *values, rest in groups]
        self._is_mixed = None in rows
        return rows


class Filled:
    """What was made of some lines."""

    def __init__(self, count: int) -> None:
        self.rows: list[bytes | None] = [None] * count
        """None for lines that are left."""
        self._parts: list[tuple[Sequence[int], Template]] = []

    def fill(self, lines: Sequence[bytes], places: Sequence[int], template: Template) -> Sequence[int]:
        """Fill in what a template takes of some lines; returns the places of the others."""
        some = itemgetter(*places)(lines) if len(places) > 1 else (lines[places[0]],)
        rows = template.rows(some)
        left: Sequence[int] = ()
        if isinstance(rows, list):
            left = [place for place, row in zip(places, rows, strict=True) if row is None]
            places = [place for place, row in zip(places, rows, strict=True) if row is not None]
            rows = filter(None, rows)
        deque(map(self.rows.__setitem__, places, rows), 0)
        self._parts.append((places, template))
        return left

    def told(self, name: str) -> list[str | None]:
        """What templates say of a member, for each line."""
        found: list[str | None] = [None] * len(self.rows)
        for places, template in self._parts:
            deque(map(found.__setitem__, places, repeat(template.told.get(name))), 0)
        return found


class Templates:
    """Makes rows of lines, and keeps templates. One for lines that are told apart in one way."""

    def __init__(self) -> None:
        """Start without any."""
        self._known: dict[bytes, list[Template]] = {}
        self._count = 0

    def filled(self, lines: Sequence[bytes], kinds: Iterable[bytes], make: Callable[[bytes], Template | None]) -> Filled:
        """Rows of lines.

        Args:
            lines: without newlines. Those whose kind is empty are left.
            kinds: of each line, what tells it apart.
            make: makes a template of a line; None where it is too odd.
        """
        made = Filled(len(lines))
        places_of: defaultdict[bytes, list[int]] = defaultdict(list)
        deque(map(list.append, map(places_of.__getitem__, kinds), range(len(lines))), 0)
        new = 0
        for kind, places in places_of.items():
            left: Sequence[int] = places if kind else ()
            templates = self._known.get(kind, [])
            for template in templates:
                left = made.fill(lines, left, template) if left else left
            while len(left) >= _WORTH_MIN and new < _NEW_MAX and len(templates) < _OF_A_KIND_MAX:
                new += 1
                made_new = make(lines[left[0]])
                if made_new is None:
                    break
                templates = self._kept(kind, made_new)
                left = made.fill(lines, left, made_new)
        return made

    def _kept(self, kind: bytes, template: Template) -> list[Template]:
        if self._count >= _ALL_MAX:
            self._known.clear()
            self._count = 0
        self._count += 1
        self._known.setdefault(kind, []).append(template)
        return self._known[kind]
