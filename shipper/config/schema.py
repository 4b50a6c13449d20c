"""Schema: a JSON Schema (draft 2020-12) of pipeline files, for editors. Made of the same declarations that the loader goes by.

It knows keys, kinds, choices, defaults and texts; what needs more than a look at one value (a database that is not there, a pattern
that does not compile) `shipper check` says. A scalar may be `${...}` anywhere, whatever its kind.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from shipper.config import pipeline, texts, wanted
from shipper.config.condition import Condition
from shipper.config.fields import EXPECTED, FilePath, Size
from shipper.config.find import find, names
from shipper.config.operators import COMPARISONS, OPERATORS

if TYPE_CHECKING:
    from collections.abc import Mapping

Schema = dict[str, Any]
_INTERPOLATED: Schema = {"type": "string", "pattern": r"\$\{"}
_TEXT: Schema = {"type": "string"}
_CONDITION: Schema = {"$ref": "#/$defs/condition"}
_SCALARS: Mapping[Any, Schema] = {
    str: _TEXT,
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
}


def schema() -> Schema:
    """The schema of a pipeline. Imports every component."""
    top = _struct(pipeline.Top)
    top["properties"] |= {
        "sources": {"type": "array", "minItems": 1, "items": _sources(), "description": "Where records come from."},
        "redact": _struct(find("redact", "redact")) | {"description": "What is redacted before anything else sees a record."},
        "stages": {"type": "array", "items": _named("stage"), "description": "What is done to records, in order."},
        "route": {
            "type": "array",
            "minItems": 1,
            "items": _struct(pipeline.Route),
            "description": "Which index takes a record: the first whose `when` holds; the last has none.",
        },
        "output": _named("output") | {"description": "Where documents go; files under `out` where it is left out."},
        "tests": {"type": "array", "items": _struct(pipeline.PipelineTest), "description": "Records, and what becomes of them."},
    }
    top["required"] = sorted({*top.get("required", ()), "sources"})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A pipeline of shipper",
        **top,
        "$defs": {"condition": _condition()},
    }


def _condition() -> Schema:
    """The language of `when`: keywords, and fields with a value, several, or what is asked of them."""
    value: Schema = {"type": ["string", "number", "boolean", "null"]}
    text, bound = {"anyOf": [_TEXT, _listed(_TEXT)]}, {"type": ["string", "number"]}
    asked = {name: bound if name in COMPARISONS else text for name in OPERATORS}
    operators: Schema = {"type": "object", "minProperties": 1, "additionalProperties": False, "properties": asked}
    return {
        "type": "object",
        "minProperties": 1,
        "description": "Which records; docs/conditions.md tells the language.",
        "properties": {
            "has": text | {"description": "Fields that are there and not null."},
            "not": _CONDITION,
            "any": _listed(_CONDITION),
            "all": _listed(_CONDITION),
        },
        "additionalProperties": {"anyOf": [value, _listed(value), operators]},
    }


def _listed(item: Schema) -> Schema:
    return {"type": "array", "minItems": 1, "items": item}


def _sources() -> Schema:
    """Sources name their type in a key, and have their frame and decoder beside their own settings."""
    apart = {"frame": _named("frame"), "decode": _named("decode"), "id": _kind(pipeline.IdOf)}
    return {"type": "object", "required": ["type"], "oneOf": [_typed("source", name, apart) for name in names("source")]}


def _named(kind: str) -> Schema:
    """A component in any of the ways it may be written; see `components.py`."""
    found = names(kind)
    alone = {"enum": found}
    short = {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
        "properties": {name: _settings(kind, name) for name in found if name != "type"},
        "not": {"required": ["type"]},
    }
    return {"anyOf": [alone, _INTERPOLATED, short, {"oneOf": [_typed(kind, name, {}) for name in found]}]}


def _typed(kind: str, name: str, apart: Mapping[str, Schema]) -> Schema:
    """`{type: NAME, ...}`."""
    found = _component(kind, name)
    found["properties"] = {"type": {"const": name, "description": found.pop("description")}, **apart, **found["properties"]}
    found["required"] = ["type", *found.get("required", ())]
    return found


def _settings(kind: str, name: str) -> Schema:
    """What may stand behind `NAME:`: the settings, the value of the first of them, or nothing."""
    found = _component(kind, name)
    first = next(iter(found["properties"].values()), None)
    return {
        "description": found.pop("description"),
        "anyOf": [found, *([{"allOf": [first, {"not": {"type": "object"}}]}] if first else []), {"type": "null"}],
    }


def _component(kind: str, name: str) -> Schema:
    declared = find(kind, name)
    found = _struct(declared.Config) | {"description": texts.summary(declared)}
    for key, inner in getattr(declared, "nests", {}).items():
        if key in found["properties"]:
            found["properties"][key] |= {
                "type": "array",
                "items": _named(inner) if inner != kind else {"type": ["string", "object"]},
            }
    return found


def _struct(config: type[Any]) -> Schema:
    """An object with the settings a Struct declares, and no others."""
    settings = texts.settings(config)
    found: Schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {setting.name: _setting(setting) for setting in settings},
    }
    if required := [setting.name for setting in settings if setting.default is msgspec.NODEFAULT]:
        found["required"] = required
    return found


def _setting(setting: texts.Setting) -> Schema:
    found = dict(_kind(setting.kind))
    found["description"] = setting.text
    return found


def _kind(kind: Any) -> Schema:
    """The schema of values of a type."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _kind(parts[0])
    if origin is Union or origin is types.UnionType:
        return {"anyOf": [_kind(part) for part in parts]}
    if origin is Literal:
        return {"anyOf": [{"enum": list(parts)}, _INTERPOLATED]}
    if kind is Any or kind is object:
        return {}
    if (origin or kind) in wanted.LISTS:
        item = _kind(parts[0]) if parts else {}
        listed: Schema = {"type": "array", "items": item}
        return {"anyOf": [listed, item]} if parts and getattr(parts[0], "stands_alone", False) else listed
    if (origin or kind) in wanted.MAPPINGS:
        return {"type": "object", "additionalProperties": _kind(parts[1]) if parts else {}}
    return _class(kind)


def _class(kind: Any) -> Schema:
    if kind is Condition:
        return _CONDITION
    if kind in _SCALARS:
        return _SCALARS[kind] if kind is str else {"anyOf": [_SCALARS[kind], _INTERPOLATED]}
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and not hasattr(kind, "from_config"):
        return _struct(kind)
    if kind is Size or (isinstance(kind, type) and issubclass(kind, int)):
        return {"type": ["string", "integer"]}
    if kind in EXPECTED or (isinstance(kind, type) and issubclass(kind, (str, FilePath))):
        return _TEXT
    return {"type": ["string", "number", "boolean", "object", "array"]}
