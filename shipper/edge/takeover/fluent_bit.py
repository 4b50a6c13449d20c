"""Fluent Bit: the SQLite database of its `in_tail`.

FORMAT (fluent/fluent-bit, plugins/in_tail/tail_sql.h and tail_db.c)
    CREATE TABLE in_tail_files (id INTEGER PRIMARY KEY, name TEXT NOT NULL, offset INTEGER, inode INTEGER, created INTEGER,
                                rotated INTEGER DEFAULT 0);
- Versions of 2026 add `skip` and `anchor`; a `skip` other than 0 is a place inside a compressed file, whose offset is none of ours.
- Of an inode that has several rows the one with the highest id counts, as `SQL_GET_FILE` has it.
- Older versions count bytes that were read and not sent yet (fluent-bit#11265): the offset may lie inside a line, and moving back
  to its start, which the import does, brings it back.

RULES
- Nothing is changed, not even by SQLite's own recovery: a database in WAL mode, or one with a journal beside it, is copied with
  what lies beside it to a temporary directory and opened there; any other is opened with `mode=ro`.
- A copy during which the files changed is made again, three times at most.
- A query is stopped after `_STEPS` steps of SQLite's machine: the file is foreign, and a view in it may never end.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from shipper.edge.takeover.position import HINT, LIMIT_BYTES, Position, first_bytes, is_number, too_large
from shipper.model.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "fluent-bit"
_MAGIC = b"SQLite format 3\0"
_VERSIONS_AT = 18
"""Of the two bytes that say how the file is written and read; 2 is WAL (SQLite, "Database File Format", 1.3.3)."""
_WAL = b"\2\2"
_BESIDE = ("-wal", "-journal")
_COPIES = 3
_STEPS = 50_000_000
_ROWS_MAX = 1_000_000
_COLUMNS = ("id", "name", "offset", "inode")


def recognises(path: Path, head: bytes) -> bool:
    """Whether a file that begins so is one."""
    del path
    return head.startswith(_MAGIC)


def read(path: Path) -> list[Position]:
    """Its positions. Raises HostError."""
    head = first_bytes(path, _VERSIONS_AT + 2)
    if not head.startswith(_MAGIC):
        raise HostError(f"{path}:1: expected an SQLite database, as Fluent Bit's `DB` is", HINT)
    try:
        with _opened(path, is_wal=_WAL in head[_VERSIONS_AT:]) as connection:
            return _positions(path, connection)
    except (sqlite3.Error, OverflowError) as error:
        raise HostError(f"{path}: SQLite cannot read it: {error}", HINT) from error
    except OSError as error:
        raise HostError(f"{path} cannot be read: {error.strerror}", HINT) from error


@contextmanager
def _opened(path: Path, *, is_wal: bool) -> Iterator[sqlite3.Connection]:
    """A connection to the database, or to a copy of it. Raises OSError, sqlite3.Error, HostError."""
    beside = [Path(f"{path}{ending}") for ending in _BESIDE]
    if not is_wal and not any(other.exists() for other in beside):
        with closing(_connect(path, "ro")) as connection:
            yield connection
        return
    with tempfile.TemporaryDirectory(prefix="shipper-") as directory:
        copy = Path(directory) / "copy.db"
        _copy(path, copy)
        with closing(_connect(copy, "rw")) as connection:
            yield connection


def _copy(path: Path, copy: Path) -> None:
    """Copy a database and what lies beside it while nobody writes to them. Raises OSError, HostError."""
    for _ in range(_COPIES):
        before = _looks(path)
        for ending in before:
            shutil.copyfile(f"{path}{ending}", f"{copy}{ending}")
        if before == _looks(path):
            return
        for ending in before:
            os.unlink(f"{copy}{ending}")
    raise HostError(f"{path} changes while it is read", HINT)


def _looks(path: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of each file of a database, by its ending. Raises OSError, HostError."""
    found = {}
    for ending in ("", *_BESIDE):
        try:
            status = os.stat(f"{path}{ending}")
        except FileNotFoundError:
            continue
        if status.st_size > LIMIT_BYTES:
            raise too_large(Path(f"{path}{ending}"), status.st_size)
        found[ending] = (status.st_size, status.st_mtime_ns)
    return found


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode={mode}", uri=True, timeout=5.0)
    connection.text_factory = os.fsdecode
    connection.execute("PRAGMA trusted_schema=OFF")
    left = [_STEPS // 10_000]

    def is_too_long() -> bool:
        left[0] -= 1
        return left[0] < 0

    connection.set_progress_handler(is_too_long, 10_000)
    return connection


def _positions(path: Path, connection: sqlite3.Connection) -> list[Position]:
    """Read the table. Raises sqlite3.Error, HostError."""
    columns = {row[1] for row in connection.execute("PRAGMA table_info(in_tail_files)")}
    if not columns.issuperset(_COLUMNS):
        raise HostError(f"{path}: expected a table `in_tail_files` with {', '.join(_COLUMNS)}, as Fluent Bit makes it", HINT)
    skip = "skip" if "skip" in columns else "0"
    query = f"SELECT id, name, offset, inode, {skip} FROM in_tail_files ORDER BY id LIMIT {_ROWS_MAX + 1}"  # noqa: S608
    found: dict[int, Position] = {}
    for number, row in enumerate(connection.execute(query), 1):
        if number > _ROWS_MAX:
            raise HostError(f"{path}: `in_tail_files` has more than {_ROWS_MAX} rows", HINT)
        position = _position(path, row)
        found[position.ino or 0] = position
    return list(found.values())


def _position(path: Path, row: tuple[Any, ...]) -> Position:
    number, name, offset, inode, skip = row
    if isinstance(inode, int) and inode < 0:
        inode += 1 << 64  # SQLite's numbers are signed
    if not isinstance(name, str) or not is_number(offset) or not is_number(inode, (1 << 64) - 1):
        raise HostError(f"{path}: in_tail_files, id {number}: expected a name, an offset and an inode", HINT)
    if skip:
        return Position(where=f"id {number}", path=name, ino=inode, unusable="a place inside a compressed file")
    return Position(where=f"id {number}", path=name, ino=inode, offset=offset)
