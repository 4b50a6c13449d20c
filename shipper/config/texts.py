"""Texts: what a declaration says of itself, the same for manual pages and the schema.

Read from its source, as Python keeps no text under a field; so nothing of it costs a running agent anything.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator


class Setting(msgspec.Struct, frozen=True):
    """One setting of a component."""

    name: str
    """As it is written in YAML."""
    kind: Any
    """Its type, constraints included."""
    default: Any
    """The value where it is left out; `msgspec.NODEFAULT` where it must be there."""
    text: str
    """What it means, as one paragraph."""


def settings(config: type[Any]) -> list[Setting]:
    """The settings that a Struct declares, those it inherits first, in order."""
    texts: dict[str, str] = {}
    for owner in reversed(config.__mro__):
        if issubclass(owner, msgspec.Struct) and owner.__module__.partition(".")[0] != "msgspec":
            texts.update(_texts(owner))
    kinds = get_type_hints(config, include_extras=True)
    return [
        Setting(field.encode_name, kinds[field.name], _default(field), texts.get(field.name, ""))
        for field in msgspec.structs.fields(config)
    ]


def about(declared: Any) -> str:
    """The text of a class, its paragraphs apart."""
    return inspect.cleandoc(declared.__doc__ or "")


def summary(declared: Any) -> str:
    """Its first sentence."""
    first = " ".join(about(declared).partition("\n\n")[0].split())
    return first.partition(". ")[0].rstrip(".") + "."


def _default(field: Any) -> Any:
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default


def _texts(owner: type[Any]) -> Iterator[tuple[str, str]]:
    """(field, text) of the fields that a class declares itself."""
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
    except (OSError, TypeError, SyntaxError):  # a class without source, made by a library
        return
    assert isinstance(tree, ast.ClassDef)
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and _is_text(text):
            yield field.target.id, " ".join(text.value.value.split())  # type: ignore[attr-defined]


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
