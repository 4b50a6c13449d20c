"""Filebeat: the registry of its inputs `filestream`, `log` and `container`.

FORMAT (elastic/beats, libbeat/statestore/backend/memlog/doc.go; also what Elastic Agent keeps for its Filebeat)
    <data>/registry/filebeat/<txid>.json    all entries as of a transaction: a JSON array of objects, the key in `_key`
                             log.json       what came after: a line {"op": "set", "id": 7}, a line {"k": key, "v": {...}}; or `remove`
                             active.dat     the path of the snapshot; Filebeat itself goes by the highest number, and so do we
- `log` entries (`filebeat::logs::...`) have `source`, `offset`, `FileStateOS: {inode, device}`.
- `filestream` entries (`filestream::<id>::<identity>::<value>`) have `meta.source` and `cursor.offset`; the identity is `native`
  (`<inode>-<device>`), `fingerprint` (SHA-256 of the first 1024 bytes unless configured), `path`, or a marker file's.
- Versions before 7.9 kept an array of `log` entries in `registry/filebeat/data.json`, before 7.0 in `registry` itself.

RULES
- Operations at or below the snapshot's number are passed over. A gap in the numbers is an error; a last operation that is not
  whole is what a crash leaves, and passed over, as Filebeat does.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING, Any

import msgspec

from shipper.edge.takeover.position import HINT, Position, Print, StateFile, is_number
from shipper.model.errors import HostError

if TYPE_CHECKING:
    from pathlib import Path

NAME = "filebeat"
_FORM = "an array of entries, as in Filebeat's registry"
_ACTION = 'an operation {"op": "set" or "remove", "id": NUMBER}'
_ENTRY = 'the entry of the operation, {"k": KEY, "v": {...}}'
_SNAPSHOT = re.compile(r"[0-9]{1,20}\.json", re.ASCII)
_NATIVE = re.compile(r"([0-9]{1,20})-([0-9]{1,20})", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_PARTS = {"log.json", "active.dat", "meta.json", "data.json"}
_UNSIGNED_MAX = (1 << 64) - 1


class Sha256(msgspec.Struct, frozen=True):
    """The identity `fingerprint`: SHA-256 of the first `size` bytes; a shorter file has none."""

    size: int = 1024

    def values(self, head: bytes) -> list[str]:
        """The hash in hex."""
        return [hashlib.sha256(head[: self.size]).hexdigest()] if len(head) >= self.size else []


def recognises(path: Path, head: bytes) -> bool:
    """Whether a file that begins so is one, or a directory holds one."""
    if path.is_dir():
        return _store(path) is not None
    if path.name in _PARTS and _is_store(path.parent):
        return True
    start = head.lstrip()
    return start.startswith(b'{"op"') or (start.startswith(b"[") and (start[1:].strip() == b"]" or _has_entry(start)))


def _has_entry(start: bytes) -> bool:
    return any(word in start for word in (b'"_key"', b'"FileStateOS"', b'"source"'))


def read(path: Path) -> list[Position]:
    """Its positions. Raises HostError."""
    store = _store(path) if path.is_dir() else path.parent if _is_part(path) else None
    if store is None:
        return _array(path)
    if not (store / "log.json").is_file() and (store / "data.json").is_file():
        return _array(store / "data.json")
    entries: dict[str, Any] = {}
    txid = 0
    snapshots = sorted((int(name[:-5]), name) for name in os.listdir(store) if _SNAPSHOT.fullmatch(name))
    if snapshots:
        txid, name = snapshots[-1]
        items = _items(StateFile(store / name))
        entries = {item["_key"]: item for item in items if isinstance(item.get("_key"), str)}
    if (store / "log.json").is_file():
        _replay(StateFile(store / "log.json"), txid, entries, has_snapshot=bool(snapshots))
    return [_position(store, key, key, value) for key, value in entries.items()]


def _store(path: Path) -> Path | None:
    """The directory of the store in what was named: itself, the registry, or Filebeat's data."""
    places = (path, path / "filebeat", path / "registry" / "filebeat")
    return next((place for place in places if _is_store(place)), None)


def _is_store(path: Path) -> bool:
    try:
        names = set(os.listdir(path))
    except OSError:
        return False
    return bool(names & {"log.json", "data.json"}) or ("meta.json" in names and any(map(_SNAPSHOT.fullmatch, names)))


def _is_part(path: Path) -> bool:
    """Whether a file is part of a store, which is then read as a whole."""
    return (path.name in _PARTS or _SNAPSHOT.fullmatch(path.name) is not None) and _is_store(path.parent)


def _items(file: StateFile) -> list[dict[str, Any]]:
    """The objects of an array. Raises HostError."""
    found = file.json(_FORM)
    if isinstance(found, dict):  # Filebeat 1: by path
        found = list(found.values())
    if not isinstance(found, list):
        raise file.bad(1, _FORM)
    for number, item in enumerate(found, 1):
        if not isinstance(item, dict):
            raise HostError(f"{file.path}: item {number}: expected an object, as in Filebeat's registry", HINT)
    return found


def _array(path: Path) -> list[Position]:
    """The positions of an array. Raises HostError."""
    items = enumerate(_items(StateFile(path)), 1)
    return [_position(path, f"item {number}", str(item.get("_key", "")), item) for number, item in items]


def _replay(file: StateFile, txid: int, entries: dict[str, Any], *, has_snapshot: bool) -> None:
    """Apply the operations of the log. Raises HostError."""
    lines = [(number, line) for number, line in enumerate(file.data.split(b"\n"), 1) if line.strip()]
    known = txid if has_snapshot else None
    for at in range(0, len(lines) - 1, 2):
        (number, action), (below, line) = lines[at], lines[at + 1]
        operation, entry = _object(action), _object(line)
        if entry is None and at + 2 >= len(lines):
            return
        if operation is None or operation.get("op") not in ("set", "remove") or not is_number(operation.get("id"), _UNSIGNED_MAX):
            raise file.bad(number, _ACTION)
        key = None if entry is None else entry.get("k", entry.get("K"))
        if entry is None or not isinstance(key, str):
            raise file.bad(below, _ENTRY)
        if known is not None and operation["id"] <= txid:
            continue
        if known is not None and operation["id"] != known + 1:
            raise file.bad(number, f"operation {known + 1}, not {operation['id']}: operations are missing")
        known = operation["id"]
        entries.pop(key, None)
        if operation["op"] == "set":
            entries[key] = entry.get("v", entry.get("V"))


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _position(path: Path, where: str, key: str, value: Any) -> Position:
    """The position of an entry. Raises HostError where one of a file has no offset."""
    if not isinstance(value, dict):
        return Position(where=where, unusable="an entry without a value")
    filestream = key.startswith("filestream::")
    if key and not filestream and not key.startswith("filebeat::logs::"):
        return Position(where=where, unusable="an entry of another input")
    meta, cursor, system = value.get("meta"), value.get("cursor"), value.get("FileStateOS")
    source = (meta.get("source") if isinstance(meta, dict) else None) if filestream else value.get("source")
    name = source if isinstance(source, str) else ""
    if filestream and cursor is None:
        return Position(where=where, path=name, unusable="not begun by Filebeat")
    offset: Any = (cursor.get("offset") if isinstance(cursor, dict) else None) if filestream else value.get("offset")
    if not is_number(offset):
        raise HostError(f"{path}: {where}: expected an offset, a whole number of bytes", HINT)
    ino, dev, mark = _identity(key, system)
    if not name and ino is None and mark is None:
        raise HostError(f"{path}: {where}: expected a source, or the identity of a file", HINT)
    return Position(where=where, path=name, offset=offset, ino=ino, dev=dev, print=mark)


def _identity(key: str, system: Any) -> tuple[int | None, int | None, Print | None]:
    """Inode, device and fingerprint of an entry, as far as it has them."""
    if (
        isinstance(system, dict)
        and is_number(system.get("inode"), _UNSIGNED_MAX)
        and is_number(system.get("device"), _UNSIGNED_MAX)
    ):
        return system["inode"] or None, system["device"], None
    _, _, rest = key.rpartition("::")
    kind = key[: -len(rest) - 2].rpartition("::")[2] if rest else ""
    if kind == "native" and (match := _NATIVE.fullmatch(rest)):
        return int(match[1]), int(match[2]), None
    if kind == "fingerprint" and _HASH.fullmatch(rest):
        return None, None, Print(Sha256(), rest)
    return None, None, None
