"""Manual: the page of a component, made of its declaration. `shipper docs stage/geoip` prints it, docs/reference/ holds all.

A page is Markdown: what the class says of itself, an example, and each setting with its kind, its default and its text. A
component shows how it is used in `example`, a text of YAML as it stands in a pipeline (see `PLACES`).
"""

from __future__ import annotations

from typing import Any

import msgspec

from shipper.config import pipeline, suggest, texts, wanted
from shipper.config.agent import Top as AgentTop
from shipper.config.fields import Duration, Rate, Size
from shipper.config.find import PACKAGES, find, names
from shipper.model.errors import HostError

PLACES = {
    "source": "an item of `sources`",
    "frame": "`frame` of a source",
    "decode": "`decode` of a source",
    "stage": "an item of `stages`",
    "output": "`output`",
}
"""Where a component of a kind stands in a pipeline."""
_PARTS: dict[str, Any] = {
    "pipeline": pipeline.Top,
    "pipeline/route": pipeline.Route,
    "pipeline/test": pipeline.PipelineTest,
    "agent": AgentTop,
}
_DURATIONS = ((86_400.0, "d"), (3600.0, "h"), (60.0, "m"), (1.0, "s"), (0.001, "ms"))
_SIZES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def topics() -> dict[str, str]:
    """All pages, and what each is about in one sentence. Imports every component."""
    found = {name: texts.summary(part) for name, part in _PARTS.items()}
    found["redact"] = texts.summary(find("redact", "redact"))
    for kind in PACKAGES:
        found.update({f"{kind}/{name}": texts.summary(find(kind, name)) for name in names(kind)})
    return found


def page(topic: str) -> str:
    """The page of `stage/geoip`, or of `pipeline`, `pipeline/route`, `pipeline/test`, `redact`, `agent`. Raises HostError for others."""
    if topic in _PARTS:
        return _page(topic, _PARTS[topic], _PARTS[topic], "")
    if topic == "redact":
        declared = find("redact", "redact")
        return _page(topic, declared, declared, "It stands under `redact` in a pipeline.")
    kind, _, name = topic.partition("/")
    if kind not in PACKAGES or name not in names(kind):
        known = [*_PARTS, "redact", *(f"{kind}/{name}" for kind in PACKAGES for name in names(kind))]
        raise HostError(f"there is no page {topic!r}", suggest.hint(topic, known) or "`shipper docs` lists them.")
    declared = find(kind, name)
    return _page(topic, declared, declared.Config, f"It is {PLACES[kind]}.")


def _page(topic: str, declared: Any, config: Any, place: str) -> str:
    parts = [f"# {topic}", texts.about(declared), place]
    if example := getattr(declared, "example", ""):
        parts.append(f"```yaml\n{example.strip()}\n```")
    found = texts.settings(config)
    parts.append("## Settings" if found else "It has no settings.")
    parts += [_setting(setting) for setting in found]
    nested = {kind: None for setting in found for kind in _structs(setting.kind)}
    for kind in nested:
        parts += [f"## Each of `{_used_in(found, kind)}`", texts.about(kind), *map(_setting, texts.settings(kind))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _setting(setting: texts.Setting) -> str:
    required = setting.default is msgspec.NODEFAULT
    default = "required" if required else f"default {_written(setting.default)}"
    return f"### `{setting.name}`\n\n*{wanted.expected(setting.kind)}; {default}*\n\n{setting.text}"


def _written(value: Any) -> str:
    """A default as a user would write it."""
    if value is None:
        return "none"
    if isinstance(value, msgspec.Struct):
        return "as below"
    if isinstance(value, Duration):
        return f"`{_with_unit(float(value), _DURATIONS, 's')}`"
    if isinstance(value, Size):
        return f"`{_with_unit(int(value), _SIZES, '')}`"
    if isinstance(value, Rate):
        return f"`{value:g}/s`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, (list, tuple)):
        return f"`[{', '.join(map(str, value))}]`"
    if isinstance(value, dict):
        return "`{}`" if not value else f"`{value}`"
    return f"`{value}`" if str(value) else "an empty text"


def _with_unit(value: float, units: tuple[tuple[float, str], ...], least: str) -> str:
    """The largest unit in which the value is whole."""
    for size, unit in units:
        if value and not round(value / size, 6) % 1:
            return f"{round(value / size)}{unit}"
    return f"{value:g}{least}"


def _structs(kind: Any) -> list[type[Any]]:
    """Structs with settings of their own in a type."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and not hasattr(kind, "from_config"):
        return [kind]
    return [found for part in getattr(kind, "__args__", ()) for found in _structs(part)]


def _used_in(settings: list[texts.Setting], kind: type[Any]) -> str:
    return next(setting.name for setting in settings if kind in _structs(setting.kind))
