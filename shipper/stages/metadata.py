r"""Metadata: members that all records of a stream share: fixed ones, what the host is, and what the file's path tells.

RULES
- Names are written with dots, as one member each (`"service.name":"shop"`), so that they stand beside objects of the same
  beginning; Elasticsearch takes both alike.
- Ours win: a record's own value of the same name moves to `shipper.record`, see `encode/document.py`.
- Later stages and routes see them as columns.
- The path is the redacted one. A pattern is matched once a path; what it says is kept for PATHS_MAX of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import msgspec

from shipper.config.fields import ComponentConfig
from shipper.model.columns import OURS, meet
from shipper.model.errors import ComponentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shipper.model.columns import Columns
    from shipper.stages.stage import Resources

PATHS_MAX = 10_000
"""Paths whose members are remembered, some 0.5 kB each; when full all are forgotten."""
_NAME = re.compile(r"[^\s.\x00-\x1f\"\\{}]+(?:\.[^\s.\x00-\x1f\"\\{}]+)*")
_PARTS = re.compile(r"\{([^{}]*)\}|(\*\*)|(\*)|([{}])|([^{}*]+)")


class Metadata:
    """Add members to all records: fixed values, facts of the host, and parts of the file's path.

    Environment variables come in as fixed values, `pod.name: ${POD_NAME:-}`; one that is empty is left out. A record's own value
    of the same name moves to `shipper.record.<name>`. It costs next to nothing, as what is added is the same bytes for all records
    of a file; only records that have such a member themselves, or one that must become an object (`service` beside
    `service.name`), are taken apart, at some 3 yardsticks each.
    """

    class Config(ComponentConfig, frozen=True, kw_only=True):
        """Settings of `metadata`."""

        static: dict[str, str | int | float | bool] = msgspec.field(default_factory=dict)
        """Names, with dots for objects, and their values. `${VAR}` takes one from the environment; an empty text adds nothing."""
        host: list[Literal["os", "architecture", "ip"]] = msgspec.field(default_factory=list)
        """What to say of the host: `os` (`host.os.type`, `platform`, `name`, `version`, `kernel`), `architecture`, `ip` (the
        addresses it speaks from, asked once when the agent starts). `host.name` is in every document anyway."""
        path: str | None = None
        """A pattern for the file's path, whose parts become members: `/var/log/{service.name}/{instance}.log`. A part is one or
        more characters but `/`, as few as will do; `*` and `**` are any characters without and with `/`. Where the path does not
        match nothing is added. A rotated file may have another name: write `{instance}.log*`."""

    example = """
- metadata:
    static: {environment: production, service.version: "${VERSION:-}"}
    host: [os, ip]
    path: /var/log/{service.name}/{instance}.log*
"""

    def __init__(self, config: Config, resources: Resources) -> None:
        """Raises ComponentError for names that cannot be added and for a pattern that says nothing."""
        if not config.static and not config.host and config.path is None:
            raise ComponentError("it adds nothing", "", "set `static`, `host` or `path`")
        pattern, parts = (None, []) if config.path is None else _compiled(config.path)
        facts = resources.host() if config.host else {}
        told = {f"host.{name}": value for name, value in facts.items() if any(meet(name, wanted) for wanted in config.host)}
        for name in config.static:
            _check_name(name, f"static.{name}")
        for name in parts:
            _check_name(name, "path")
        _check_apart([*config.static, *told, *parts])
        fixed = {**{name: value for name, value in config.static.items() if value != ""}, **told}
        self.reads: Sequence[str] = ()
        self.adds: Sequence[str] = (*fixed, *parts)
        self.scalars: Sequence[str] = tuple(name for name in self.adds if "." not in name)
        self._of_paths = _OfPaths(fixed, pattern)

    def process(self, columns: Columns, now: float) -> None:  # noqa: ARG002  part of the contract
        """Splice one fragment for all rows, and set the columns that are asked for."""
        fragment, members = self._of_paths[columns.path]
        if fragment:
            columns.splice(fragment)
        for name, value in members.items():
            if name in columns.asked:
                columns.assign(name, [value] * columns.count)
                columns.beside.add(name)


class _OfPaths(dict[str, tuple[bytes, Mapping[str, object]]]):
    """A path -> the fragment of its records, and the members in it."""

    def __init__(self, fixed: Mapping[str, object], pattern: _Pattern | None) -> None:
        super().__init__()
        self._fixed, self._pattern = fixed, pattern

    def __missing__(self, path: str) -> tuple[bytes, Mapping[str, object]]:
        if len(self) >= PATHS_MAX:
            self.clear()
        members = {**self._fixed, **(self._pattern.members(path) if self._pattern is not None else {})}
        pairs = [(json.dumps(name), json.dumps(value)) for name, value in members.items()]
        self[path] = "".join([f",{name}:{value}" for name, value in pairs]).encode(), members
        return self[path]


class _Pattern:
    """A compiled pattern of paths."""

    def __init__(self, pattern: re.Pattern[str], names: Sequence[str]) -> None:
        self._pattern, self._names = pattern, names

    def members(self, path: str) -> Mapping[str, object]:
        """What a path tells; nothing where it does not match."""
        found = self._pattern.fullmatch(path)
        return dict(zip(self._names, found.groups(), strict=True)) if found else {}


def _compiled(written: str) -> tuple[_Pattern, list[str]]:
    """A pattern, and the names in it. Raises ComponentError."""
    names: list[str] = []
    parts: list[str] = []
    after_part = False
    for name, deep, flat, brace, literal in _PARTS.findall(written):
        if brace:
            raise ComponentError(f"`{brace}` stands alone in the pattern", "path", "a part is written {name}")
        is_part = not (deep or flat or literal)
        if after_part and is_part:
            raise ComponentError(f"nothing tells where `{names[-1]}` ends and `{name}` begins", "path", "write something between")
        after_part = is_part
        if is_part:
            names.append(name)
        parts.append("([^/]+?)" if is_part else ".*" if deep else "[^/]*" if flat else re.escape(literal))
    if not names:
        raise ComponentError("the pattern has no part such as {service.name}", "path", "leave it out, or name a part")
    if len(set(names)) < len(names):
        raise ComponentError("the pattern names a part twice", "path")
    return _Pattern(re.compile("".join(parts), re.DOTALL), names), names


def _check_name(name: str, field: str) -> None:
    """Raises ComponentError for what is no name of a member, or is one of ours."""
    if not _NAME.fullmatch(name):
        raise ComponentError(f"`{name}` is no name of a member", field, "such as service.name")
    if any(meet(name, ours) for ours in OURS):
        raise ComponentError(f"`{name}` is a member that every document gets from us", field, "choose another name")


def _check_apart(names: Sequence[str]) -> None:
    """Raises ComponentError where one name is another, or lies in it: a scalar cannot be an object, too."""
    for one, other in combinations(names, 2):
        if meet(one, other):
            raise ComponentError(f"`{one}` and `{other}` cannot stand in one document", "", "choose one of them")
