"""Find: from a component's kind and name to its class. The only dynamic import of the project.

RULES
- A component `access_log` is the class `AccessLog` in the module `access_log.py` of its kind's package, and has a nested
  `Config`. There is no list of components and no registration.
- Others come from entry points of the group `shipper.<kind>s`, whose name is the component's and whose value is the class.
- Only the module asked for is imported. For the list of names in an error, files are read, not imported.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
import re
from collections.abc import Callable, Iterator
from typing import Any

PACKAGES = {
    "source": "shipper.source",
    "frame": "shipper.frame",
    "decode": "shipper.decode",
    "stage": "shipper.stages",
    "output": "shipper.edge.output",
}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
Find = Callable[[str, str], Any]


class UnknownComponentError(LookupError):
    """There is no component of this name; `names` are those that exist."""

    def __init__(self, kind: str, name: str, names: list[str]) -> None:
        """Take what was looked for and what there is."""
        super().__init__(f"there is no {kind} `{name}`")
        self.kind, self.name, self.names = kind, name, names


class BrokenComponentError(ImportError):
    """The component exists and cannot be imported, as something it needs is missing."""


def find(kind: str, name: str) -> Any:
    """Return the class of a component. Raises UnknownComponentError, BrokenComponentError."""
    if kind == "redact":
        return _imported("shipper.redact.settings", "RedactConfig")
    package = PACKAGES[kind]
    if _NAME.fullmatch(name) and importlib.util.find_spec(f"{package}.{name}") is not None:
        found = _imported(f"{package}.{name}", _class_name(name))
        if hasattr(found, "Config"):
            return found
    return _installed(kind, name)


def names(kind: str) -> list[str]:
    """Return the names of all components of a kind, sorted. Reads the files of its package."""
    own = [module.name for module in pkgutil.iter_modules(importlib.import_module(PACKAGES[kind]).__path__) if _declares(module)]
    return sorted({*own, *(point.name for point in _entry_points(kind))})


def _imported(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        needed = error.name or str(error)
        raise BrokenComponentError(f"{module} cannot be loaded: {needed} is missing", name=module) from error


def _installed(kind: str, name: str) -> Any:
    for point in _entry_points(kind):
        if point.name == name:
            try:
                found = point.load()
            except (ImportError, AttributeError) as error:
                raise BrokenComponentError(f"{point.value} cannot be loaded: {error}", name=point.value) from error
            if not hasattr(found, "Config"):
                raise BrokenComponentError(f"{point.value} is no component: it has no nested Config", name=point.value)
            return found
    raise UnknownComponentError(kind, name, names(kind))


def _entry_points(kind: str) -> Iterator[Any]:
    # Imported here: 20 ms that only a name which is not ours costs.
    from importlib.metadata import entry_points

    return iter(entry_points(group=f"shipper.{kind}s"))


def _declares(module: pkgutil.ModuleInfo) -> bool:
    """Whether a module's text has the component's class with a nested Config."""
    spec = module.module_finder.find_spec(module.name, None)
    if spec is None or spec.loader is None or not hasattr(spec.loader, "get_source"):
        return False
    tree = ast.parse(spec.loader.get_source(spec.name) or "")
    declared = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == _class_name(module.name))
    return any(isinstance(inner, ast.ClassDef) and inner.name == "Config" for node in declared for inner in node.body)


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
