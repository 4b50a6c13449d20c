"""State files of other agents, written as these agents write them, for tests."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

FLUENT_BIT_TABLE = (
    "CREATE TABLE IF NOT EXISTS in_tail_files (  id      INTEGER PRIMARY KEY,  name    TEXT NOT NULL,  offset  INTEGER,"
    "  inode   INTEGER,  created INTEGER,  rotated INTEGER DEFAULT 0);"
)
CRC64_POLYNOMIAL = 0x42F0E1EBA9EA3693
Writer = Callable[[Path, dict[Path, int]], Path]


def crc64_bit_by_bit(data: bytes) -> int:
    """CRC-64/ECMA-182 as its definition has it: a division of polynomials, one bit at a time."""
    value = 0
    for byte in data:
        for bit in range(7, -1, -1):
            out = (value >> 63) ^ (byte >> bit & 1)
            value = (value << 1) & (1 << 64) - 1
            value ^= CRC64_POLYNOMIAL if out else 0
    return value


def fluentd(folder: Path, offsets: dict[Path, int]) -> Path:
    """A pos_file."""
    state = folder / "app.pos"
    lines = [f"{path}\t{offset:016x}\t{path.stat().st_ino:016x}\n" for path, offset in offsets.items()]
    state.write_text("".join(lines))
    return state


def fluent_bit(folder: Path, offsets: dict[Path, int]) -> Path:
    """A database with a rollback journal."""
    return _database(folder / "tail.db", offsets)


def fluent_bit_skip(folder: Path, offsets: dict[Path, int]) -> Path:
    """A database as versions of 2026 have it."""
    state = _database(folder / "tail.db", offsets)
    with closing(sqlite3.connect(state)) as connection, connection:
        connection.execute("ALTER TABLE in_tail_files ADD COLUMN skip INTEGER DEFAULT 0;")
        connection.execute("ALTER TABLE in_tail_files ADD COLUMN anchor INTEGER DEFAULT 0;")
    return state


def fluent_bit_wal(folder: Path, offsets: dict[Path, int]) -> Path:
    """A database in WAL mode, copied while Fluent Bit runs: all rows are in the `-wal` alone."""
    running = folder / "running"
    running.mkdir()
    state = folder / "tail.db"
    with closing(sqlite3.connect(running / "tail.db")) as connection:
        connection.execute("PRAGMA journal_mode=WAL;")
        _fill(connection, offsets)
        for ending in ("", "-wal"):
            Path(f"{state}{ending}").write_bytes(Path(f"{running / 'tail.db'}{ending}").read_bytes())
    return state


def _database(state: Path, offsets: dict[Path, int]) -> Path:
    with closing(sqlite3.connect(state)) as connection:
        _fill(connection, offsets)
    return state


def _fill(connection: sqlite3.Connection, offsets: dict[Path, int]) -> None:
    connection.execute(FLUENT_BIT_TABLE)
    for path, offset in offsets.items():
        row = (str(path), offset, path.stat().st_ino, 1770300000)
        connection.execute("INSERT INTO in_tail_files (name, offset, inode, created)  VALUES (?, ?, ?, ?);", row)
    connection.commit()


def _log_entry(path: Path, offset: int) -> tuple[str, dict[str, object]]:
    """An entry of the input `log`."""
    status = path.stat()
    ident = f"native::{status.st_ino}-{status.st_dev}"
    return f"filebeat::logs::{ident}", {
        "id": ident, "prev_id": "", "source": str(path), "offset": offset, "timestamp": [2061887315913, 1770300000], "ttl": -1,
        "type": "log", "FileStateOS": {"inode": status.st_ino, "device": status.st_dev}, "identifier_name": "native",
    }  # fmt: skip


def _filestream_entry(path: Path, offset: int, identity: str) -> tuple[str, dict[str, object]]:
    """An entry of the input `filestream`."""
    status = path.stat()
    value = f"{status.st_ino}-{status.st_dev}"
    if identity == "fingerprint":
        value = hashlib.sha256(path.read_bytes()[:1024]).hexdigest()
    elif identity == "path":
        value = str(path)
    return f"filestream::my-logs::{identity}::{value}", {
        "ttl": 1800000000000, "updated": [507500968, 1770300000], "cursor": {"offset": offset},
        "meta": {"source": str(path), "identifier_name": identity},
    }  # fmt: skip


def store(folder: Path, snapshot: dict[str, dict[str, object]], entries: list[tuple[str, dict[str, object]]]) -> Path:
    """A registry: a snapshot with number 10 if there is one, and a log of what came after."""
    state = folder / "registry" / "filebeat"
    state.mkdir(parents=True)
    (state / "meta.json").write_text('{"version":"1"}')
    txid = 0
    if snapshot:
        txid = 10
        items = [json.dumps({"_key": key, **value}) for key, value in snapshot.items()]
        (state / "10.json").write_text("[" + ",\n".join(items) + "\n]")
        (state / "active.dat").write_text(str(state / "10.json"))
    lines = []
    for number, (key, value) in enumerate(entries, txid + 1):
        lines += [json.dumps({"op": "set", "id": number}), json.dumps({"k": key, "v": value})]
    (state / "log.json").write_text("".join(line + "\n" for line in lines))
    return state


def filebeat_log(folder: Path, offsets: dict[Path, int]) -> Path:
    """The registry of the input `log`, every file written twice, the first time with offset 0."""
    entries = [_log_entry(path, at) for path, offset in offsets.items() for at in (0, offset)]
    return store(folder, {}, entries) / "log.json"


def filebeat_filestream(folder: Path, offsets: dict[Path, int]) -> Path:
    """The registry of `filestream`: an old snapshot, and operations after it."""
    snapshot = dict(_filestream_entry(path, 0, "native") for path in offsets)
    return store(folder, snapshot, [_filestream_entry(path, offset, "native") for path, offset in offsets.items()])


def filebeat_fingerprint(folder: Path, offsets: dict[Path, int]) -> Path:
    """The registry of `filestream` with `file_identity.fingerprint`, all of it in a snapshot."""
    snapshot = dict(_filestream_entry(path, offset, "fingerprint") for path, offset in offsets.items())
    return store(folder, snapshot, []).parent


def filebeat_path(folder: Path, offsets: dict[Path, int]) -> Path:
    """The registry of `filestream` with `file_identity.path`; Filebeat's data directory is what is named."""
    return store(folder, {}, [_filestream_entry(path, offset, "path") for path, offset in offsets.items()]).parent.parent


def filebeat_6(folder: Path, offsets: dict[Path, int]) -> Path:
    """The `registry` of versions before 7.0: an array."""
    state = folder / "registry"
    items = [_log_entry(path, offset)[1] for path, offset in offsets.items()]
    old = [{name: item[name] for name in ("source", "offset", "ttl", "type", "FileStateOS")} for item in items]
    state.write_text(json.dumps([{**item, "timestamp": "2026-02-05T14:30:45.1Z", "meta": None} for item in old]))
    return state


def vector_checksum(folder: Path, offsets: dict[Path, int], lines: int = 1) -> Path:
    """`checkpoints.json` with fingerprints of the first lines."""
    prints = {}
    for path in offsets:
        head = b"".join(path.read_bytes().splitlines(keepends=True)[:lines])
        prints[path] = {"first_lines_checksum": crc64_bit_by_bit(head)}
    return _checkpoints(folder, offsets, prints)


def vector_two_lines(folder: Path, offsets: dict[Path, int]) -> Path:
    """The same with `fingerprint.lines: 2`."""
    return vector_checksum(folder, offsets, lines=2)


def vector_dev_inode(folder: Path, offsets: dict[Path, int]) -> Path:
    """`checkpoints.json` with device and inode."""
    return _checkpoints(folder, offsets, {path: {"dev_inode": [path.stat().st_dev, path.stat().st_ino]} for path in offsets})


def _checkpoints(folder: Path, offsets: dict[Path, int], prints: dict[Path, dict[str, object]]) -> Path:
    state = folder / "checkpoints.json"
    items = [
        {"fingerprint": prints[path], "position": offset, "modified": "2026-02-05T14:30:45.123456789Z"}
        for path, offset in offsets.items()
    ]
    state.write_text(json.dumps({"version": "1", "checkpoints": items}, separators=(",", ":")))
    return state


def promtail(folder: Path, offsets: dict[Path, int]) -> Path:
    """`positions.yaml` with a cursor of the journal beside the files."""
    state = folder / "positions.yaml"
    lines = [f'  {path}: "{offset}"\n' for path, offset in offsets.items()]
    state.write_text("positions:\n" + "".join(lines) + "  cursor-journal-1: s=8f0a;i=12\n")
    return state


def alloy(folder: Path, offsets: dict[Path, int]) -> Path:
    """`positions.yml` of Alloy, keys as mappings, each file under two label sets."""
    state = folder / "positions.yml"
    lines = [
        f'  ? path: {path}\n    labels: \'{{job="{job}"}}\'\n  : "{offset + more}"\n'
        for path, offset in offsets.items()
        for job, more in (("a", 1), ("b", 0))
    ]
    state.write_text("positions:\n" + "".join(lines))
    return state


WRITERS: dict[str, tuple[str, Writer]] = {
    "fluentd": ("fluentd", fluentd),
    "fluent-bit": ("fluent-bit", fluent_bit),
    "fluent-bit-2026": ("fluent-bit", fluent_bit_skip),
    "fluent-bit-wal": ("fluent-bit", fluent_bit_wal),
    "filebeat-log": ("filebeat", filebeat_log),
    "filebeat-filestream": ("filebeat", filebeat_filestream),
    "filebeat-fingerprint": ("filebeat", filebeat_fingerprint),
    "filebeat-path": ("filebeat", filebeat_path),
    "filebeat-6": ("filebeat", filebeat_6),
    "vector-first-line": ("vector", vector_checksum),
    "vector-two-lines": ("vector", vector_two_lines),
    "vector-dev-inode": ("vector", vector_dev_inode),
    "promtail": ("promtail", promtail),
    "alloy": ("promtail", alloy),
}
"""Each form of state: the agent's name, and what writes it."""
PATH_ALONE = {"filebeat-path", "promtail", "alloy"}


def looks(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """All files below a folder: size, time of change, content."""
    found = {}
    for base, _, names in os.walk(folder):
        for name in names:
            path = Path(base) / name
            found[str(path)] = (path.stat().st_size, path.stat().st_mtime_ns, path.read_bytes())
    return found
