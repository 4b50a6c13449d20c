"""Dead letters: documents the output refuses for good, redacted as they were sent, on disk.

FORMAT: NDJSON in segments `dead-00000001.ndjson`, ..., one letter a line:

    {"_id":"...","index":"...","error":{"type":"...","field":"..."},"status":400,"time":"2026-02-05T14:30:45.123Z","document":{...}}

A document that is not valid JSON stands as a string under `document_text`. Of Elasticsearch's error only type and field are
kept: its reason quotes values.

RULES
- `append` returns when the letters are on disk: file fsynced, the directory too where the segment is new.
- A failed or torn write is cut off again, at once or at the next start; a letter is whole or not there.
- After a failed fsync the segment is not written to any more (see `output/bulk_files.py` on fsync).
- A letter may stand there twice (a crash between here and the checkpoint): `read` gives the first one of each (index, id).

BOUNDS: `bytes_max` over all segments. Overflow: `append` raises `FullError`, the courier waits and the source with it; nothing is
dropped. A segment ends at 16 MiB.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import aiofiles
import msgspec
import orjson

from shipper.edge.store import sync_directory
from shipper.model.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from shipper.deliver.traffic import Letter

MIB = 1 << 20
SEGMENT_BYTES_MAX = 16 * MIB
_SEGMENT = re.compile(r"dead-(\d{8})\.ndjson")


class FullError(Exception):
    """There is no room for these letters within `bytes_max`."""


class _Error(msgspec.Struct):
    type: str = ""
    field: str = ""


class DeadLetter(msgspec.Struct):
    """A letter as read back."""

    id: str = msgspec.field(name="_id")
    index: str
    error: _Error
    status: int
    time: str
    document: msgspec.Raw = msgspec.Raw(b"null")
    document_text: str | None = None


_decode = msgspec.json.Decoder(DeadLetter).decode


class DeadLetters:
    """The dead letters of one pipeline and destination."""

    def __init__(self, directory: Path, bytes_max: int = 256 * MIB, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives Unix seconds. Nothing is touched before the first letter."""
        self.directory = directory
        self._bytes_max = bytes_max
        self._clock = clock
        self._number = 0
        self._size = 0
        self._total = 0
        self._is_open = False
        self._spoiled = 0
        self._lock = asyncio.Lock()

    async def append(self, letters: Sequence[Letter]) -> None:
        """Write letters durably. Raises FullError, or HostError where the disk refuses; then none of them counts as written."""
        async with self._lock:
            try:
                if not self._is_open:
                    await asyncio.to_thread(self._open)
                await self._append(letters)
            except OSError as error:
                self._is_open = False
                raise HostError(f"{self.directory}: dead letters cannot be written: {error.strerror}") from None

    def read(self) -> Iterator[DeadLetter]:
        """All letters, oldest first, each (index, id) once. Torn and foreign lines are passed over. Blocking."""
        seen: set[tuple[str, str]] = set()
        for _, path in self._segments():
            with path.open("rb") as file:
                for line in file:
                    letter = _parse(line)
                    if letter is not None and (letter.index, letter.id) not in seen:
                        seen.add((letter.index, letter.id))
                        yield letter

    def _segments(self) -> list[tuple[int, Path]]:
        """The segments in order."""
        if not self.directory.is_dir():
            return []
        found = ((_SEGMENT.fullmatch(path.name), path) for path in self.directory.iterdir())
        return sorted((int(match[1]), path) for match, path in found if match)

    def _open(self) -> None:
        """Find what is there, and cut off a torn last line."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        segments = self._segments()
        self._number = segments[-1][0] if segments else 0
        self._size = _cut_torn(segments[-1][1]) if segments else 0
        self._total = sum(path.stat().st_size for _, path in segments)
        self._is_open = True

    async def _append(self, letters: Sequence[Letter]) -> None:
        """Write to the last segment, or a new one where it is full."""
        stamp = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        body = b"".join([_line(letter, stamp) for letter in letters])
        if self._total + len(body) > self._bytes_max:
            raise FullError
        is_new = self._size >= SEGMENT_BYTES_MAX or self._number in (0, self._spoiled)
        number, size = (self._number + 1, 0) if is_new else (self._number, self._size)
        path = self.directory / f"dead-{number:08}.ndjson"
        try:
            await _write(path, body)
            if is_new:
                await asyncio.to_thread(sync_directory, self.directory)
                await asyncio.to_thread(sync_directory, self.directory.parent)
        except BaseException:
            self._spoiled = number
            with contextlib.suppress(OSError):
                os.truncate(path, size)
            raise
        self._number, self._size = number, size + len(body)
        self._total += len(body)


async def _write(path: Path, body: bytes) -> None:
    """Append, all of it, and fsync."""
    async with aiofiles.open(path, "ab", buffering=0, opener=_opener) as file:
        rest = memoryview(body)
        while rest:
            written = await file.write(rest)
            rest = rest[written:]
        await asyncio.to_thread(os.fsync, file.fileno())


def _opener(path: str, flags: int) -> int:
    """Only the agent's user reads dead letters; links are not followed."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _line(letter: Letter, stamp: str) -> bytes:
    """One letter as a line."""
    head = orjson.dumps(
        {
            "_id": letter.id,
            "index": letter.index,
            "error": {"type": letter.error_type, "field": letter.error_field},
            "status": letter.status,
            "time": stamp,
        }
    )
    try:
        orjson.loads(letter.document)
    except ValueError:
        return b'%s,"document_text":%s}\n' % (head[:-1], orjson.dumps(letter.document.decode("utf-8", "replace")))
    return b'%s,"document":%s}\n' % (head[:-1], letter.document)


def _parse(line: bytes) -> DeadLetter | None:
    """Read a line; None for what is not a whole letter."""
    try:
        return _decode(line) if line.endswith(b"\n") else None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _cut_torn(path: Path) -> int:
    """Cut off what follows the last newline. Returns the length."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        end = size
        while end:
            start = max(0, end - MIB)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            end = start + found + 1 if found >= 0 else start
            if found >= 0:
                break
        if end < size:
            file.truncate(end)
    return end
