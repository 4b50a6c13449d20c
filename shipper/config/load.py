"""Load: the text of a pipeline to a `Pipeline`, or a `ConfigError` with every mistake in it.

RULES
- The order is: YAML to nodes, interpolation, conversion section by section. A section that is wrong does not keep the
  others from being read, so that one run shows all mistakes.
- In `tests`, `given`, `raw` and `fields` are taken as written, dollars and all: they are records.
- Nothing is opened and nothing is made here: a missing database is found by its component (`Component.fault`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from shipper.config import document, nodes, pipeline
from shipper.config.components import Components
from shipper.config.convert import BAD, Converter
from shipper.config.find import Find, find
from shipper.config.interpolate import Interpolation, Secrets
from shipper.config.pipeline import Component, Pipeline, PipelineTest, Route, RouteSpec, SourceSpec, Stamps, TestSpec
from shipper.model.errors import Fault, Place

if TYPE_CHECKING:
    from collections.abc import Mapping

_VERBATIM = frozenset(("given", "raw", "fields"))
_SECTIONS = ("sources", "redact", "stages", "route", "output", "tests")
_AGENT_KEYS = frozenset(("state_dir", "control", "memory", "log", "workers"))


def load(text: str, path: str, env: Mapping[str, str], secrets: Secrets, finder: Find = find) -> Pipeline:
    """Read a pipeline. `path` is what messages call the file, and where relative paths count from (its directory).

    `secrets` returns the secret of a name, or None; it may raise OSError. Raises ConfigError with all faults, in file order.
    """
    written = document.parse(text, path)
    interpolation = Interpolation(written, env, secrets)
    for key, (_, node) in written.root.entries.items():
        interpolation.apply(node, _VERBATIM if key == "tests" else frozenset())
    reader = _Reader(written, str(Path(path).absolute().parent), finder)
    found = reader.pipeline()
    written.refuse()
    assert found is not None
    return found


class _Reader:
    """Reads the sections of one pipeline."""

    def __init__(self, written: document.Document, directory: str, finder: Find) -> None:
        self._document = written
        self._root = written.root
        self._converter = Converter(written, directory)
        self._components = Components(self._converter, finder)
        self._start = written.span(0, 0)

    def pipeline(self) -> Pipeline | None:
        """Read everything. None where faults were noted."""
        self._misplaced()
        top = self._converter.struct(self._root, pipeline.Top, self._start, apart=_SECTIONS)
        name = top.name if top is not BAD else "?"
        sources, stages = self._sources(), self._stages()
        routes, tests = self._routes(name), self._tests(len(sources))
        redact, output = self._redact(), self._output()
        if self._document.faults or redact is None or output is None:
            return None
        return Pipeline(
            name=name,
            path=self._document.path,
            sources=sources,
            redact=redact,
            stages=stages,
            routes=routes,
            output=output,
            output_given="output" in self._root.entries,
            tests=tests,
            id=top.id,
            timestamp=top.timestamp if isinstance(top.timestamp, Stamps) else Stamps(fields=top.timestamp),
            ecs=top.ecs,
            max_record=top.max_record,
        )

    def _misplaced(self) -> None:
        """Keys of the agent's own file get a word of their own, and are taken out."""
        for key in _AGENT_KEYS & self._root.entries.keys():
            written, _ = self._root.entries.pop(key)
            self._document.fault(written, f"`{key}` is a setting of the agent", "it belongs in shipper.yaml")

    def _items(self, key: str, *, needed: bool = False) -> list[nodes.Node]:
        """The items of a section that is a list; [] where it is absent or wrong."""
        if key not in self._root.entries:
            if needed:
                self._document.note(Fault(self._start, f"`{key}` is missing", "a pipeline reads from at least one"))
            return []
        _, node = self._root.entries[key]
        if isinstance(node, nodes.Items) and (node.items or not needed):
            return node.items
        if not node.broken:
            self._converter.wrong(node, "a list, each item with a dash" if not needed else "a list of at least one", key)
        return []

    def _sources(self) -> list[SourceSpec]:
        return [spec for node in self._items("sources", needed=True) if (spec := self._source(node))]

    def _source(self, node: nodes.Node) -> SourceSpec | None:
        if not isinstance(node, nodes.Mapping):
            if not node.broken:
                self._converter.wrong(node, "a mapping such as {type: file, include: [...]}", "sources")
            return None
        place = self._document.place(node)
        component = self._components.typed("source", node, ("frame", "decode", "id"))
        if component is not None and "frame" in node.entries and component.inlet != "file":
            key, _ = node.entries["frame"]
            self._document.fault(key, f"the source {component.type} takes no frame: what it is handed are records already")
        frame = self._step("frame", getattr(component.factory, "frame", "lines") if component else "lines", node, place)
        decode = self._step("decode", "json", node, place)
        identity = self._converter.value(node.entries["id"][1], pipeline.IdOf, "id") if "id" in node.entries else None
        return SourceSpec(component, frame, decode, identity) if component and frame and decode and identity is not BAD else None

    def _step(self, kind: str, default: str, node: nodes.Mapping, place: Place) -> Component | None:
        if kind in node.entries:
            return self._components.named(kind, node.entries[kind][1])
        return self._components.default(kind, default, place)

    def _stages(self) -> list[Component]:
        return [stage for node in self._items("stages") if (stage := self._components.named("stage", node))]

    def _redact(self) -> Component | None:
        if "redact" not in self._root.entries:
            return self._components.settings("redact", None, self._start)
        key, node = self._root.entries["redact"]
        return self._components.settings("redact", node, self._document.place(key))

    def _output(self) -> Component | None:
        if "output" in self._root.entries:
            return self._components.named("output", self._root.entries["output"][1])
        return self._components.default("output", "local", self._start, directory="out")

    def _routes(self, name: str) -> list[RouteSpec]:
        items = self._items("route")
        if not items and "route" not in self._root.entries:
            return [RouteSpec(None, pipeline.IndexTemplate(name), pipeline.WINDOW)]
        found: list[RouteSpec] = []
        ended = 0
        for node in items:
            place = self._document.place(node)
            if ended:
                hint = f"the route in line {ended} has no `when` and takes everything"
                self._document.fault(node, "this route is never reached", hint)
            route = self._converter.value(node, Route, "route")
            if isinstance(node, nodes.Mapping) and "when" not in node.entries and not ended:
                ended = place.line
            if route is not BAD:
                found.append(RouteSpec(route.when, route.index, route.window if route.window != "none" else None))
        if items and not ended:
            hint = f"add a last route without `when`, such as - {{index: {name if name != '?' else 'app'}}}"
            self._document.fault(items[-1], "a record that matches no route would have nowhere to go", hint)
        return found

    def _tests(self, sources: int) -> list[TestSpec]:
        return [spec for node in self._items("tests") if (spec := self._test(node, sources))]

    def _test(self, node: nodes.Node, sources: int) -> TestSpec | None:
        test = self._converter.value(node, PipelineTest, "test")
        if not isinstance(test, PipelineTest):
            return None
        name = self._converter.shown(nodes.at(node, ("name",)))
        if bool(test.given) == bool(test.raw):
            self._document.fault(node, f"test {name}: expected one of `given` and `raw`")
        if test.source is not None and sources and not 0 <= test.source < sources:
            message = f"test {name}: there is no source {test.source}"
            self._document.fault(nodes.at(node, ("source",)), message, f"sources are counted from 0 to {sources - 1}")
        for number, expectation in enumerate(test.expect):
            if problem := expectation.problem():
                self._document.fault(nodes.at(node, ("expect", number)), f"test {name}: {problem}")
        return TestSpec(test.name, test.given, test.raw, test.source, test.path, test.expect, self._document.place(node))
