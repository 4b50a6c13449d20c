"""Nodes: the tree of a YAML text, each value with its position; and what is asked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shipper.config import scalars

if TYPE_CHECKING:
    from collections.abc import Sequence


class Node:
    """A value as written. `start` and `stop` are positions in the text, `size` counts the values in it, itself included."""

    __slots__ = ("broken", "size", "start", "stop")

    def __init__(self, start: int, stop: int) -> None:
        """Take where it stands."""
        self.start, self.stop, self.size = start, stop, 1
        self.broken = False
        """A fault about it was reported already: whoever converts it says nothing more."""


class Word(Node):
    """A scalar. `value` is what it means; `written` what stands there, where that is something else (interpolation)."""

    __slots__ = ("loose", "plain", "text", "value", "written")

    def __init__(self, start: int, stop: int, text: str, *, plain: bool) -> None:
        """Take the text; `plain` means without quotes, so that it may be a number or a boolean."""
        super().__init__(start, stop)
        self.text, self.plain = text, plain
        self.value: object = scalars.resolve(text) if plain else text
        self.written: str | None = None
        self.loose = False
        """Wholly one `${...}`: it becomes a number or boolean where the field wants one."""


class Items(Node):
    """A list."""

    __slots__ = ("items",)

    def __init__(self, start: int, stop: int) -> None:
        """Start empty."""
        super().__init__(start, stop)
        self.items: list[Node] = []


class Mapping(Node):
    """A mapping: key -> (key as written, value), in the order of the file."""

    __slots__ = ("entries",)

    def __init__(self, start: int, stop: int) -> None:
        """Start empty."""
        super().__init__(start, stop)
        self.entries: dict[str, tuple[Word, Node]] = {}


def plain(node: Node, *, as_written: bool = False) -> Any:
    """Return a node as plain Python data; `as_written` leaves `${...}` as it stands."""
    if isinstance(node, Word):
        return node.written if as_written and node.written is not None else node.value
    if isinstance(node, Items):
        return [plain(item, as_written=as_written) for item in node.items]
    assert isinstance(node, Mapping)
    return {key: plain(value, as_written=as_written) for key, (_, value) in node.entries.items()}


def at(node: Node, path: Sequence[str | int]) -> Node:
    """Return the node a path leads to, or the last one on the way that exists. List positions may be digits."""
    for part in path:
        if isinstance(node, Mapping) and str(part) in node.entries:
            node = node.entries[str(part)][1]
        elif isinstance(node, Items) and str(part).isdecimal() and int(part) < len(node.items):
            node = node.items[int(part)]
        else:
            break
    return node


def key_at(node: Node, path: Sequence[str | int]) -> Node:
    """Return the key that a path ends with."""
    holder = at(node, path[:-1])
    assert isinstance(holder, Mapping)
    return holder.entries[str(path[-1])][0]


def masks(node: Node) -> tuple[tuple[str, str], ...]:
    """Return (value, as written) of all interpolated scalars in a node."""
    if isinstance(node, Word):
        return ((node.text, node.written),) if node.written is not None else ()
    return tuple(pair for part in _parts(node) for pair in masks(part))


def interpolated(node: Node) -> bool:
    """Whether a value in the node came from outside of the file."""
    if isinstance(node, Word):
        return node.written is not None
    return any(map(interpolated, _parts(node)))


def broken(node: Node) -> bool:
    """Whether a fault about the node, or one in it, was noted already."""
    return node.broken or any(map(broken, _parts(node)))


def _parts(node: Node) -> list[Node]:
    if isinstance(node, Items):
        return node.items
    if isinstance(node, Mapping):
        return [value for _, value in node.entries.values()]
    return []
