"""A backtracking engine in the plainest way, which counts its steps: how `re` reads a tree, place by place."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shipper.decode.pattern_tree import Edge, Either, Group, Letter, Node, Repeat, Series


class Steps:
    """Counts looks at a character; gives up at a limit."""

    def __init__(self, limit: int) -> None:
        """Start at nothing."""
        self.taken, self._limit = 0, limit

    def step(self) -> None:
        """One more. Raises OverflowError when there were too many."""
        self.taken += 1
        if self.taken > self._limit:
            raise OverflowError


def steps_of(tree: Node, line: str, limit: int) -> int:
    """Steps until the pattern is found at the line's start, or is not. Raises OverflowError."""
    steps = Steps(limit)
    for _ in _ends(tree, line, 0, steps):
        break
    return steps.taken


def _ends(node: Node, line: str, at: int, steps: Steps) -> Iterator[int]:
    """Where a match of a piece may end, in order of preference."""
    if isinstance(node, Letter):
        steps.step()
        if at < len(line) and any(first <= ord(line[at]) <= last for first, last in node.ranges):
            yield at + 1
    elif isinstance(node, Edge):
        words = [0 <= place < len(line) and (line[place].isalnum() or line[place] == "_") for place in (at - 1, at)]
        holds = {"^": at == 0, "$": at == len(line), "b": words[0] != words[1], "B": words[0] == words[1]}
        if holds[node.kind]:
            yield at
    elif isinstance(node, Group):
        yield from _ends(node.item, line, at, steps)
    elif isinstance(node, Either):
        for item in node.items:
            yield from _ends(item, line, at, steps)
    elif isinstance(node, Series):
        yield from _chained([lambda here, item=item: _ends(item, line, here, steps) for item in node.items], at)
    else:
        yield from _repeated(node, line, at, steps)


def _chained(parts: list[Callable[[int], Iterator[int]]], at: int) -> Iterator[int]:
    if not parts:
        yield at
        return
    for end in parts[0](at):
        yield from _chained(parts[1:], end)


def _repeated(node: Repeat, line: str, at: int, steps: Steps, times: int = 0) -> Iterator[int]:
    may_stop, may_go_on = times >= node.least, node.most is None or times < node.most
    if may_stop and node.lazy:
        yield at
    if may_go_on:
        for end in _ends(node.item, line, at, steps):
            yield from _repeated(node, line, end, steps, times + 1)
    if may_stop and not node.lazy:
        yield at
