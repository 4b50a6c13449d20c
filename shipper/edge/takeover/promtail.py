r"""Promtail: `positions.yaml`; also `positions.yml` of Grafana Agent and Alloy, which continue its format.

FORMAT (grafana/loki, clients/pkg/promtail/positions/positions.go; grafana/alloy, internal/component/common/loki/positions)
    positions:
      /var/log/app.log: "12345"                       Promtail, Grafana Agent (static)
      ? {path: /var/log/app.log, labels: '{...}'}     Grafana Agent Flow and Alloy: the key is a mapping
      : "12345"
- Offsets are decimal texts. Keys that begin with `cursor-` or `journal-` hold a cursor of another source.
- There is no inode: a file is meant by its path alone, so one that was rotated since is not recognised.
- Of a path that stands there under several label sets the smallest offset counts: nothing is passed over.

The file is read as a stream of YAML events, not composed, so that nesting costs no stack.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import yaml

from shipper.edge.takeover.position import OFFSET_MAX, Position, StateFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "promtail"
_FORM = '`positions:` with one `path: "offset"` a file, as in Promtail\'s positions.yaml'
_BEGIN = re.compile(rb"(?m)\A(?:\s*(?:#[^\n]*|---|%[^\n]*)?\n)*\s*(?:---\s+)?[{\s]*[\"']?positions[\"']?\s*:")
_DIGITS = re.compile(r"[0-9]{1,19}", re.ASCII)
_CURSORS = ("cursor-", "journal-")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def recognises(path: Path, head: bytes) -> bool:
    """Whether a file that begins so is one."""
    del path
    return _BEGIN.match(head) is not None


def read(path: Path) -> list[Position]:
    """Its positions. Raises HostError."""
    file = StateFile(path)
    found: dict[str, Position] = {}
    try:
        for line, key, value in _items(file, yaml.parse(file.data, Loader=_LOADER)):
            position = _position(file, line, key, value)
            known = found.get(key)
            if known is None or position.offset < known.offset:
                found[key] = position
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise file.bad(mark.line + 1 if mark is not None else 1, f"{_FORM}; found no YAML") from None
    return list(found.values())


def _position(file: StateFile, line: int, key: str, value: str) -> Position:
    where = f"line {line}"
    if key.startswith(_CURSORS):
        return Position(where=where, path=key, unusable="a cursor, not a position in a file")
    if not _DIGITS.fullmatch(value) or int(value) > OFFSET_MAX:
        raise file.bad(line, "an offset in digits behind the path")
    return Position(where=where, path=os.fsdecode(key.encode("utf-8", "surrogatepass")), offset=int(value))


def _items(file: StateFile, events: Iterator[Any]) -> Iterator[tuple[int, str, str]]:
    """(line, path, value) of each entry. Raises HostError where the document has another form."""
    start = [yaml.StreamStartEvent, yaml.DocumentStartEvent, yaml.MappingStartEvent]
    for kind in start:
        event = next(events, None)
        if not isinstance(event, kind):
            raise _bad(file, event)
    if _scalar(file, next(events, None)) != "positions":
        raise file.bad(1, _FORM)
    event = next(events, None)
    if isinstance(event, yaml.ScalarEvent) and event.value in ("", "null", "~"):
        return
    if not isinstance(event, yaml.MappingStartEvent):
        raise _bad(file, event)
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        key = _key(file, events) if isinstance(event, yaml.MappingStartEvent) else _scalar(file, event)
        yield event.start_mark.line + 1, key, _scalar(file, next(events, None))
    if not isinstance(event := next(events, None), yaml.MappingEndEvent):
        raise _bad(file, event)


def _key(file: StateFile, events: Iterator[Any]) -> str:
    """The path of a key that is a mapping. Raises HostError."""
    path = ""
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        name, value = _scalar(file, event), _scalar(file, next(events, None))
        path = value if name == "path" else path
    return path


def _scalar(file: StateFile, event: Any) -> str:
    if not isinstance(event, yaml.ScalarEvent):
        raise _bad(file, event)
    return str(event.value)


def _bad(file: StateFile, event: Any) -> Exception:
    return file.bad(1 if event is None else event.start_mark.line + 1, _FORM)
