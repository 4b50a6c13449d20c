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
from itertools import compress, repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_OF_A_KIND_MAX, _ALL_MAX, _NEW_MAX, _WORTH_MIN = 4, 256, 8, 4


class Template:
    """What lines of one kind have in common."""

    def __init__(self, line: bytes, row: bytes, told: Mapping[str, str], time: int | None = None) -> None:
        """Take what a template is made of.

        Args:
            line: an expression with a group for each value, with newlines nowhere.
            row: a row to be filled with the groups by `%`.
            told: members that are known.
            time: the group that is the time, from 0 on, where one is.
        """
        self.told, self.time = told, time
        self._row = row
        self._all = re.compile(b"^%b$" % line, re.MULTILINE)
        self._some = re.compile(b"^(?:%b|(.+))$" % line, re.MULTILINE)
        self._is_mixed = False
        """Whether lines did not fit the last time: then one does not try whether all do."""

    def match(self, lines: Sequence[bytes]) -> tuple[list[Any], list[bool]]:
        """The groups of those that fit among some lines, of which none is empty; and which do, an empty list for all."""
        text = b"\n".join(lines)
        if not self._is_mixed:
            found = self._all.findall(text)
            if len(found) == len(lines):
                return (found if self._all.groups else [()] * len(lines)), []
        found = self._some.findall(text)
        if not self._all.groups:
            fits = [not rest for rest in found]
            return [()] * sum(fits), fits
        fits = [not groups[-1] for groups in found]
        self._is_mixed = not all(fits)
        return [groups[:-1] for groups in compress(found, fits)], fits

    def rows(self, groups: Sequence[Any]) -> Iterable[bytes]:
        """Rows of lines that were matched."""
        return map(self._row.__mod__, groups)

    def times(self, groups: Sequence[Any]) -> Iterable[bytes]:
        """Their times, where the template has them."""
        if self.time is None:
            return ()
        return groups if self._all.groups == 1 and groups and isinstance(groups[0], bytes) else map(itemgetter(self.time), groups)


class Filled:
    """What was made of some lines."""

    def __init__(self, count: int) -> None:
        self.rows: list[bytes | None] = [None] * count
        """None for lines that are left."""
        self.times: list[bytes] = [b""] * count
        """Where templates have them."""
        self._parts: list[tuple[Sequence[int], Template]] = []

    def fill(self, lines: Sequence[bytes], places: Sequence[int], template: Template) -> Sequence[int]:
        """Fill in what a template takes of some lines; returns the places of the others."""
        groups, fits = template.match(itemgetter(*places)(lines) if len(places) > 1 else (lines[places[0]],))
        left: Sequence[int] = ()
        if fits:
            left = [place for place, does in zip(places, fits, strict=True) if not does]
            places = list(compress(places, fits))
        deque(map(self.rows.__setitem__, places, template.rows(groups)), 0)
        deque(map(self.times.__setitem__, places, template.times(groups)), 0)
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
