r"""Pattern paths: patterns that the standard library's `re` may run, as it can be proved that it needs linear time for them.

A backtracking engine is several times as fast as an automaton at finding groups, and its time may explode. It explores paths: ways
to read a beginning of the line. Where for any text at most `PATHS_MAX` paths read the same beginning, it takes at most so many
steps a character, whatever the line holds: that is what is proved here, by walking all texts at once.

RULES
- Positions are the letters of the pattern, counted repetitions written out; which position can follow which is known (Glushkov's
  automaton). What is walked are counts: how many paths have read a text and stand at which position. There are finitely many such
  counts where their sum is bounded; more than `STATES_MAX` of them, or a larger sum, and the pattern is not taken.
- A path is not counted any more once it can only succeed: then nothing is tried after it. That is behind the end, and in what takes
  the rest of the line whatever it is (`.*$`).
- Groups inside of repetitions, and repetitions of what may be nothing, are not taken: engines differ there.
- It is run at a line's start only. Where it does not match there, the caller asks RE2, which has the last word.

THEORY
Both engines take the leftmost match, and of those the first in order of preference: where this one matches at the line's start,
RE2 would have matched the same. The order in which paths are tried does not matter to their number, so lazy and greedy are one.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from shipper.decode.pattern_tree import LAST, Edge, Either, Group, Letter, Node, Ranges, Repeat, Series, Unsure, all_but, parse

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

PATHS_MAX = 64
STATES_MAX = 4000
POSITIONS_MAX = 1500
_NEWLINE: Ranges = ((10, 10),)
_START = -1
_WHOLE = "(?:{0}[^\\n]*\\n|([^\\n]*\\n))"


_State = frozenset[tuple[int, int]]
"""Positions, and how many paths stand at each."""


class _Part(NamedTuple):
    """What is known of a piece of a pattern: positions it can begin and end with, and whether it may be nothing."""

    firsts: Sequence[int]
    lasts: Sequence[int]
    may_be_nothing: bool


def in_linear_time(pattern: str, groups: Collection[int]) -> tuple[re.Pattern[bytes], re.Pattern[str]] | None:
    """Patterns for `findall` over lines that all end with a newline, of ASCII and of any characters; None where that is not proved.

    Each match is one line: its groups are those asked for, in order, and the whole line with its newline where it did not match.
    The pattern must be one that RE2 takes.
    """
    try:
        tree = parse(pattern)
        _Paths(tree).count()
    except (Unsure, RecursionError):
        return None
    ascii_text, text = _written(tree, groups, 127), _written(tree, groups, LAST)
    return re.compile(_WHOLE.format(ascii_text).encode(), re.ASCII), re.compile(_WHOLE.format(text), re.ASCII)


class _Paths:
    """Positions of a pattern, and how many paths can stand at them."""

    def __init__(self, tree: Node) -> None:
        """Number the positions. Raises Unsure."""
        self._ranges: list[Ranges] = []
        self._follow: list[list[int]] = []
        self._repeating = 0
        whole = self._part(tree, is_first=True)
        self._firsts, self._lasts = whole.firsts, frozenset(whole.lasts)

    def count(self) -> None:
        """Walk all texts. Raises Unsure where there may be too many paths."""
        moves = self._moves()
        seen: set[_State] = set()
        waiting: list[_State] = [frozenset(((_START, 1),))]
        while waiting:
            reached = set(_stepped(waiting.pop(), moves)) - seen
            seen |= reached
            waiting += reached
            if len(seen) > STATES_MAX or any(sum(paths for _, paths in state) > PATHS_MAX for state in reached):
                raise Unsure

    def _moves(self) -> dict[int, dict[int, list[int]]]:
        """From a position, with a letter (one that stands for all that no class tells apart), to which ones; safe ones left out."""
        classes = list(dict.fromkeys(self._ranges))
        bounds = {0, 10, *(bound for ranges in classes for first, last in ranges for bound in (first, last + 1))} - {LAST + 1}
        # One letter stands for all that are of the same classes.
        letters = list({tuple(_holds(ranges, letter) for ranges in classes): letter for letter in sorted(bounds)}.values())
        read_by = {ranges: frozenset(letter for letter in letters if _holds(ranges, letter)) for ranges in classes}
        read = [read_by[ranges] for ranges in self._ranges]
        any_letter = frozenset(letter for letter in letters if _holds(all_but([]), letter))
        follow = dict(enumerate(self._follow)) | {_START: list(self._firsts)}
        safe = {at for at in range(len(self._ranges)) if self._is_safe(at, read[at] == any_letter)}
        moves: dict[int, dict[int, list[int]]] = {at: {} for at in follow}
        for at, others in follow.items():
            for other in others:
                for letter in read[other] if other not in safe else ():
                    moves[at].setdefault(letter, []).append(other)
        return moves

    def _is_safe(self, at: int, takes_any: bool) -> bool:  # noqa: FBT001
        """Whether a path that stands there can only succeed; `takes_any` says that its class is all but the newline."""
        follow = self._follow[at]
        if at in self._lasts and set(follow) <= {at}:
            return True
        return takes_any and at in follow and any(self._ranges[other] == _NEWLINE for other in follow)

    def _part(self, node: Node, *, is_first: bool) -> _Part:
        """Number the positions of a piece, and link them. `is_first` says that nothing can have been read before it."""
        if isinstance(node, Letter):
            return self._position(node.ranges)
        if isinstance(node, Edge):
            if node.kind == "$":
                return self._position(_NEWLINE)
            if node.kind == "^" and not is_first:
                raise Unsure
            return _Part((), (), may_be_nothing=True)
        if isinstance(node, Group):
            if self._repeating:
                raise Unsure
            return self._part(node.item, is_first=is_first)
        if isinstance(node, Either):
            return self._either([self._part(item, is_first=is_first) for item in node.items])
        return self._series(node.items, is_first=is_first) if isinstance(node, Series) else self._repeat(node, is_first=is_first)

    def _position(self, ranges: Ranges) -> _Part:
        if not ranges or len(self._ranges) >= POSITIONS_MAX:
            raise Unsure
        self._ranges.append(ranges)
        self._follow.append([])
        only = (len(self._ranges) - 1,)
        return _Part(only, only, may_be_nothing=False)

    def _link(self, lasts: Iterable[int], firsts: Iterable[int]) -> None:
        """Let the ones follow the others. Raises Unsure for what would follow the line's end."""
        for last in lasts:
            if firsts and self._ranges[last] == _NEWLINE:
                raise Unsure
            self._follow[last] += firsts

    @staticmethod
    def _either(parts: Sequence[_Part]) -> _Part:
        if sum(part.may_be_nothing for part in parts) > 1:
            raise Unsure
        firsts = [at for part in parts for at in part.firsts]
        lasts = [at for part in parts for at in part.lasts]
        return _Part(firsts, lasts, any(part.may_be_nothing for part in parts))

    def _series(self, items: Sequence[Node], *, is_first: bool) -> _Part:
        firsts: list[int] = []
        lasts: list[int] = []
        may_be_nothing = True
        for item in items:
            part = self._part(item, is_first=is_first and not firsts)
            self._link(lasts, part.firsts)
            if may_be_nothing:
                firsts += part.firsts
            lasts = [*lasts, *part.lasts] if part.may_be_nothing else list(part.lasts)
            may_be_nothing = may_be_nothing and part.may_be_nothing
        return _Part(firsts, lasts, may_be_nothing)

    def _repeat(self, node: Repeat, *, is_first: bool) -> _Part:
        copies = node.most if node.most is not None else max(node.least, 1)
        once = copies == 1 and node.most is not None
        self._repeating += not once
        parts = [self._part(node.item, is_first=is_first and once) for _ in range(copies)]
        self._repeating -= not once
        if not parts or any(part.may_be_nothing for part in parts):
            raise Unsure
        for one, other in pairwise(parts):
            self._link(one.lasts, other.firsts)
        if node.most is None:
            self._link(parts[-1].lasts, parts[-1].firsts)
        lasts = [last for part in parts[max(node.least, 1) - 1 :] for last in part.lasts]
        return _Part(parts[0].firsts, lasts, node.least == 0)


def _stepped(state: _State, moves: Mapping[int, Mapping[int, Sequence[int]]]) -> Iterable[_State]:
    """What the next letter makes of the counts, for each letter; the same position may be reached in several ways from one."""
    reached: dict[int, dict[int, int]] = {}
    for position, paths in state:
        for letter, others in moves[position].items():
            counts = reached.setdefault(letter, {})
            for other in others:
                counts[other] = counts.get(other, 0) + paths
    return [frozenset(counts.items()) for counts in reached.values()]


def _holds(ranges: Ranges, code: int) -> bool:
    return any(first <= code <= last for first, last in ranges)


def _written(node: Node, groups: Collection[int], last: int) -> str:
    """A piece as the standard library's `re` wants it, for texts of characters up to `last`."""
    if isinstance(node, Letter):
        return _class_of(node.ranges, last)
    if isinstance(node, Edge):
        return {"^": "", "$": r"(?=\n)", "b": r"\b", "B": r"\B"}[node.kind]
    if isinstance(node, Series):
        return "".join(_written(item, groups, last) for item in node.items)
    if isinstance(node, Either):
        return f"(?:{'|'.join(_written(item, groups, last) for item in node.items)})"
    inner = _written(node.item, groups, last)
    if isinstance(node, Group):
        return f"({inner})" if node.number in groups else f"(?:{inner})"
    least, most = node.least, node.most
    times = {(0, None): "*", (1, None): "+", (0, 1): "?"}.get((least, most)) or f"{{{least},{'' if most is None else most}}}"
    return f"{inner if isinstance(node.item, Letter) else f'(?:{inner})'}{times}{'?' * node.lazy}"


def _class_of(ranges: Ranges, last: int) -> str:
    """A class; one that goes to the last character is written as what it lacks."""
    if ranges == all_but([]):
        return "."
    negated = ranges[-1][1] == LAST
    if negated:
        bounds = [-1, *(code for one in ranges for code in one)]
        ranges = tuple((low + 1, high - 1) for low, high in zip(bounds[::2], bounds[1::2], strict=False) if low + 1 < high)
    shown = [_escaped(low) + (f"-{_escaped(min(high, last))}" if low < high else "") for low, high in ranges if low <= last]
    if len(ranges) == len(shown) == 1 and ranges[0][0] == ranges[0][1] and not negated:
        return shown[0]
    if not shown:
        return "." if negated else "(?!)"
    return f"[{'^' * negated}{''.join(shown)}]"


def _escaped(code: int) -> str:
    if code < 128 and chr(code).isalnum():
        return chr(code)
    return f"\\x{code:02x}" if code < 256 else f"\\U{code:08x}"
