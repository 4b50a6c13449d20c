"""Components: from what is written to a class and its settings.

A component is named in one of these ways: `json`, `{multiline: python}`, `{docker: {join_max: 64KiB}}`, and
`{type: docker, join_max: 64KiB}`. A value that is no mapping stands for the first setting of the component.

A component may be made of others: its class says `nests = {"of": "decode"}`, and the setting `of` is a list of components, each named in
any of these ways, which the class gets as `Component`s. Where they stand is known to its faults as `of.0`, `of.0.zone`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from shipper.config import nodes, suggest
from shipper.config.convert import BAD, Converter
from shipper.config.find import BrokenComponentError, Find, UnknownComponentError
from shipper.config.pipeline import Component
from shipper.model.errors import Fault, Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class _Named(msgspec.Struct, frozen=True):
    """A component's name, and where it is named."""

    kind: str
    name: str
    place: Place
    written: str | None = None
    """What stands there, where the name was interpolated."""


class Components:
    """Reads the components of one document."""

    def __init__(self, converter: Converter, find: Find) -> None:
        """Take the converter (and its document, whose faults grow) and the way to find classes."""
        self._converter = converter
        self._document = converter.document
        self._find = find

    def named(self, kind: str, node: nodes.Node) -> Component | None:
        """Read a component in any of the ways it may be written. None where faults were noted."""
        if isinstance(node, nodes.Word) and isinstance(node.value, str) and not node.broken:
            return self._configured(kind, node, None)
        if isinstance(node, nodes.Mapping) and "type" in node.entries:
            return self.typed(kind, node)
        if isinstance(node, nodes.Mapping) and len(node.entries) == 1:
            ((key, value),) = node.entries.values()
            return self._configured(kind, key, value)
        if not node.broken:
            self._converter.wrong(node, f"the name of a {kind}, alone or with its settings", kind, _several_hint(node))
        return None

    def typed(self, kind: str, node: nodes.Mapping, apart: Sequence[str] = ()) -> Component | None:
        """Read `{type: NAME, ...}`; keys in `apart` belong to somebody else."""
        if "type" not in node.entries:
            self._document.fault(
                node, f"the `type` of this {kind} is missing", "such as `type: file`" if kind == "source" else ""
            )
            return None
        _, name = node.entries["type"]
        if not isinstance(name, nodes.Word) or not isinstance(name.value, str):
            if not name.broken:
                self._converter.wrong(name, f"the name of a {kind}", "type")
            return None
        return self._configured(kind, name, node, ("type", *apart))

    def default(self, kind: str, name: str, place: Place, **settings: str) -> Component | None:
        """Return a component nobody wrote, with text settings; it stands at `place`."""
        node = nodes.Mapping(0, 0)
        for key, text in settings.items():
            node.entries[key] = (nodes.Word(0, 0, key, plain=True), nodes.Word(0, 0, text, plain=False))
        named = _Named(kind, name, place)
        factory = self._class(named)
        return None if factory is None else self._made(named, factory, node)

    def settings(self, kind: str, node: nodes.Node | None, place: Place) -> Component | None:
        """Read a part that is no choice among several, such as `redact`; None for `node` means all defaults."""
        factory = self._class(_Named(kind, "settings", place))
        if factory is None or (node is not None and node.broken):
            return None
        if node is not None and not isinstance(node, nodes.Mapping):
            self._converter.wrong(node, "a mapping with its settings", kind)
            return None
        return self._made(_Named(kind, kind, place), factory, node or nodes.Mapping(0, 0))

    def _configured(self, kind: str, name: nodes.Word, value: nodes.Node | None, apart: Sequence[str] = ()) -> Component | None:
        """Find the class a word names, and read its settings. `apart` is as in `Converter.struct`."""
        named = _Named(kind, name.text, self._document.place(name), name.written)
        factory = self._class(named)
        if factory is None or (value is not None and value.broken):
            return None
        return self._made(named, factory, self._mapping(factory, value, name), apart)

    def _mapping(self, factory: Any, value: nodes.Node | None, name: nodes.Word) -> nodes.Mapping:
        """The settings as a mapping: none, as written, or a value that stands for the first setting."""
        if isinstance(value, nodes.Mapping):
            return value
        node = nodes.Mapping(name.start, name.stop)
        fields = msgspec.structs.fields(factory.Config)
        if value is None or (isinstance(value, nodes.Word) and value.value is None):
            return node
        if fields:
            node.entries[fields[0].encode_name] = (name, value)
        else:
            self._converter.wrong(value, "no settings", name.text)
        return node

    def _made(self, named: _Named, factory: Any, node: nodes.Mapping, apart: Sequence[str] = ()) -> Component | None:
        config = self._converter.struct(node, getattr(factory, "Config", factory), named.place, "", apart)
        nested = {key: self._nested(kind, nodes.at(node, (key,))) for key, kind in getattr(factory, "nests", {}).items()}
        if config is BAD or any(part is None for parts in nested.values() for part in parts):
            return None
        places = dict(self._places(node, ""))
        for key, parts in nested.items():
            for number, part in enumerate(parts):
                assert part is not None
                places[f"{key}.{number}"] = part.place
                places.update({f"{key}.{number}.{path}": place for path, place in part.places.items()})
        if nested:
            config = msgspec.structs.replace(config, **nested)
        return Component(named.kind, named.name, factory, config, named.place, places, nodes.masks(node))

    def _nested(self, kind: str, node: nodes.Node) -> list[Component | None]:
        """The components of a list; None for those with faults."""
        return [self.named(kind, item) for item in node.items] if isinstance(node, nodes.Items) else []

    def _places(self, node: nodes.Node, path: str) -> Iterator[tuple[str, Place]]:
        if isinstance(node, nodes.Mapping):
            parts = [(key, value) for key, (_, value) in node.entries.items()]
        elif isinstance(node, nodes.Items):
            parts = [(str(number), item) for number, item in enumerate(node.items)]
        else:
            return
        for key, value in parts:
            inner = f"{path}.{key}" if path else key
            yield inner, self._document.place(value)
            yield from self._places(value, inner)

    def _class(self, named: _Named) -> Any:
        """The class of a name, or None and a fault."""
        try:
            return self._find(named.kind, named.name)
        except UnknownComponentError as error:
            shown = named.name if named.written is None else named.written
            message = f"there is no {named.kind} {suggest.shown(shown)}"
            self._document.note(Fault(named.place, message, suggest.hint(shown, error.names)))
        except BrokenComponentError as error:
            self._document.note(Fault(named.place, str(error), "install what is missing"))
        return None


def _several_hint(node: nodes.Node) -> str:
    """What to do about a mapping of several keys where one component was expected."""
    if not isinstance(node, nodes.Mapping) or not node.entries:
        return ""
    name, (_, value) = next(iter(node.entries.items()))
    if isinstance(value, nodes.Word) and value.value is None:
        return f"indent the settings of `{name}` further than its name"
    return "one component an item, each with a dash of its own"
