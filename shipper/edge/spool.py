"""Spool: the durable log of a push source, on disk. What senders hand over is written here before they are told that it is taken.

    <directory>/lock                            flock of the one that writes
    <directory>/00000000000000000000.spool ...  segments, named by their first offset; format in `docs/spool.md`
    <directory>/quarantine/<offset>-<bytes>     damaged bytes, as they were found

RULES
- `append` is a promise: it is kept when entry, file and file name are fsynced. One write and one fsync serve all that arrived
  within `commit_seconds` or `commit_bytes`, in a thread.
- A write that failed is cut off again, and the next one tries anew; no failure leaves a log that cannot be read.
- `read` gives durable entries only, so that an offset once read never stands for other bytes.
- Damage is a value, told where the reader meets it, and copied aside. Reading goes on behind it.
- Opening reads names, sizes and the last segment, whatever the backlog (vector#26035).

BOUNDS: `size_max` bytes of entries, and 56 for each segment; then `append` fails with FullError, or (`drop_oldest`) the oldest segments
go, told to the reader as damage `dropped` with their rows. `waiting_max` bytes wait for the disk; then FullError. Memory: those, what is
made of them for a write, and one window or entry.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from shipper.edge import spool_files
from shipper.edge.spool_log import Opened, SpoolLog, Window
from shipper.model.errors import HostError
from shipper.progress.spool import HEAD_BYTES, HEADER_BYTES, LENGTH_MAX, Header, seal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

MIB = 1 << 20
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class FullError(Exception):
    """There is no room now: the sender must keep it and may try again."""


class TooLargeError(Exception):
    """This entry will never fit."""


class Limits(msgspec.Struct, frozen=True):
    """The bounds of a spool, in bytes and seconds."""

    size_max: int = 256 * MIB
    segment_max: int = 16 * MIB
    """A quarter of `size_max` where that is less. An entry that is larger has a segment of its own."""
    entry_max: int = 32 * MIB
    commit_bytes: int = 4 * MIB
    commit_seconds: float = 0.010
    waiting_max: int = 64 * MIB
    drop_oldest: bool = False


class _Waiting(msgspec.Struct, frozen=True):
    """An entry on its way to the disk."""

    payload: bytes
    future: asyncio.Future[int]

    @property
    def size(self) -> int:
        return HEAD_BYTES + len(self.payload)


class Spool:
    """The spool of one source: its writers and its one reader live in one event loop."""

    def __init__(
        self,
        directory: Path,
        limits: Limits | None = None,
        in_thread: Callable[[Callable[[], Any]], Awaitable[Any]] = asyncio.to_thread,
    ) -> None:
        """Touch nothing. `in_thread` carries out a call that waits for the disk."""
        self.directory = directory
        self.limits = limits or Limits()
        self.waiting_bytes = 0
        """On their way to the disk."""
        self.dropped_bytes = 0
        """Dropped since `open` before the reader had them, as the spool was full; `dropped_rows` likewise."""
        self.dropped_rows = 0
        self._log = SpoolLog(directory)
        self._in_thread = in_thread
        self._segment_max = min(self.limits.segment_max, self.limits.size_max // 4)
        self._entry_max = min(self.limits.entry_max, LENGTH_MAX, self.limits.size_max - 2 * HEADER_BYTES - HEAD_BYTES)
        self._is_spoiled = self._must_roll = self._is_closed = False
        self._waiting: list[_Waiting] = []
        self._due = 0.0
        self._enough = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def identity(self) -> str:
        """The spool's own, once it is open: 22 characters, the same as long as a segment is there."""
        return self._log.identity

    @property
    def end(self) -> int:
        """The offset behind the last durable byte."""
        return self._log.end

    @property
    def size(self) -> int:
        """Bytes on disk, in segments."""
        return self._log.size

    @property
    def quarantined_bytes(self) -> int:
        """Copied aside since `open`."""
        return self._log.quarantined_bytes

    @property
    def is_full(self) -> bool:
        """Whether senders should wait: a delivery of usual size might be refused."""
        limits = self.limits
        if self.waiting_bytes >= limits.waiting_max // 2:
            return True
        room = limits.size_max - self.size - self.waiting_bytes
        return not limits.drop_oldest and room < min(limits.commit_bytes, limits.size_max // 4)

    def open(self, identity: str, settled: int = 0, expected: str = "") -> Opened:
        """Make the directory, or find what is in it. Blocking. `identity` is for a new spool.

        All before `settled` is delivered, if this is the spool with the identity `expected` (or nothing is expected).

        Raises HostError where another agent holds it, the disk refuses, or a newer version wrote it.
        """
        try:
            opened = self._log.open(identity, settled, expected)
        except BlockingIOError as error:
            self._log.close()
            raise HostError(f"another agent owns the spool {self.directory}", "Two agents need two state directories.") from error
        except OSError as error:
            self._log.close()
            raise self._refusal(error) from error
        except HostError:
            self._log.close()
            raise
        return opened

    def _refusal(self, error: OSError) -> HostError:
        return HostError(
            f"the spool {self.directory} cannot be used: {error.strerror}",
            "What senders hand over is kept there: make it writable, or free some space. Until then they are told to wait.",
        )

    async def close(self) -> None:
        """Write what waits, take nothing more, and let the directory go."""
        self._is_closed = True
        self._enough.set()
        try:
            if self._task is not None:
                await self._task
        finally:
            self._log.close()

    def append(self, payload: bytes) -> asyncio.Future[int]:
        """Keep the payload of an entry (`progress.spool.encode`). The result is the offset behind it, once it is durable.

        The future fails with FullError, TooLargeError, or HostError where the disk refuses; then nothing of it is there. Order is
        kept. It must be awaited, or asyncio tells its error.
        """
        loop = asyncio.get_running_loop()
        entry = _Waiting(payload, loop.create_future())
        refusal = self._why_not(entry)
        if refusal is not None:
            entry.future.set_exception(refusal)
            return entry.future
        if not self._waiting:
            self._due = loop.time() + self.limits.commit_seconds
        self._waiting.append(entry)
        self.waiting_bytes += entry.size
        self._wake()
        return entry.future

    def _why_not(self, entry: _Waiting) -> Exception | None:
        if self._is_closed:
            return HostError(f"the spool {self.directory} is closed")
        if len(entry.payload) > self._entry_max:
            return TooLargeError(f"an entry of {len(entry.payload)} bytes; {self._entry_max} are the most")
        if self.waiting_bytes and self.waiting_bytes + entry.size > self.limits.waiting_max:
            return FullError("too much waits for the disk")
        if not self.limits.drop_oldest and self.size + self.waiting_bytes + entry.size + HEADER_BYTES > self.limits.size_max:
            self._roll_if_delivered()
            return FullError("the spool is full")
        return None

    def settle(self, offset: int) -> None:
        """All before `offset` is delivered, and that is durable: segments that lie before it are deleted."""
        self._log.settle(offset)
        if self.is_full:
            self._roll_if_delivered()

    def _roll_if_delivered(self) -> None:
        """Where the spool is full of the last segment only, and that is delivered, begin another, so that it can go."""
        if self._log.is_delivered and not self._must_roll:
            self._must_roll = True
            self._wake()

    def read(self, offset: int, limit: int) -> Window:
        """What is durable from `offset` on: entries of at most `limit` bytes of one segment, or one entry that is larger.

        Damage stands before the rows. At the end of the log `next_offset` is `offset`. Blocking, as long as the disk is. Raises
        HostError where the disk cannot be read.
        """
        try:
            return self._log.read(offset, limit)
        except OSError as error:
            raise HostError(f"the spool {self.directory} cannot be read: {error.strerror}") from error

    def _wake(self) -> None:
        """Have the disk written to, by the task that does it."""
        if self.waiting_bytes >= self.limits.commit_bytes:
            self._enough.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._commit())

    async def _commit(self) -> None:
        """Write until nothing waits. Whatever ends it is told to who waits."""
        group: list[_Waiting] = []
        try:
            while self._waiting or self._must_roll:
                await self._collect()
                group, self._waiting = self._waiting, []
                await self._store(group)
        except BaseException as error:
            self._fail(group, error)
            self._fail(self._waiting, error)
            raise

    async def _collect(self) -> None:
        """Wait for more to write, as long as the first may wait."""
        if self._waiting and not self._is_closed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._due):
                    await self._enough.wait()
        self._enough.clear()

    async def _store(self, group: list[_Waiting]) -> None:
        """Make a group durable, segment by segment. Takes out of it what is done with."""
        if self._must_roll:
            self._must_roll = False
            with contextlib.suppress(OSError):  # the next settling or append tries again
                await self._roll()
                self._log.settle(0)
        while group:
            try:
                await self._store_some(group)
            except OSError as error:
                self._is_spoiled = self._is_spoiled or isinstance(error, spool_files.SpoiledError)
                if not await self._make_room_for(error):
                    self._fail(group, self._refusal(error))

    async def _store_some(self, group: list[_Waiting]) -> None:
        """Make those durable that go into one segment. Raises OSError; then none of them is."""
        active = self._log.active
        if self._is_spoiled or (not active.is_empty and active.size + group[0].size > self._segment_max):
            await self._roll()
        count, size = 1, group[0].size
        while count < len(group) and self._log.active.size + size + group[count].size <= self._segment_max:
            size += group[count].size
            count += 1
        if self.limits.drop_oldest:
            await self._make_room(size)
        part, active, offset = group[:count], self._log.active, self._log.end
        write = partial(_write, self._log.writer, (offset, active.size), [entry.payload for entry in part])
        await self._in_thread(write)
        self._log.grow(size)
        del group[:count]
        for entry in part:
            offset += entry.size
            self.waiting_bytes -= entry.size
            if not entry.future.done():
                entry.future.set_result(offset)

    def _fail(self, entries: list[_Waiting], error: BaseException) -> None:
        for entry in entries:
            self.waiting_bytes -= entry.size
            if not entry.future.done():
                entry.future.set_exception(error)
        entries.clear()

    async def _roll(self) -> None:
        """Go on in a new segment. Raises OSError; then nothing has changed."""
        header = Header(self.identity, self.end, self.end)
        self._log.begin(header, await self._in_thread(partial(self._log.files.create, header)))
        self._is_spoiled = False

    async def _make_room(self, size: int) -> None:
        """Drop the oldest segments until `size` bytes fit. Raises OSError."""
        while self.size + size > self.limits.size_max:
            if await self._drop_oldest():
                continue
            if self._log.active.is_empty:
                return
            await self._roll()

    async def _make_room_for(self, error: OSError) -> bool:
        """Where the disk is full, and the oldest may go: drop a segment. False: there is nothing to be done."""
        if not self.limits.drop_oldest or error.errno not in _NO_ROOM:
            return False
        try:
            return await self._drop_oldest()
        except OSError:
            return False

    async def _drop_oldest(self) -> bool:
        """Drop a segment, and count what the reader had not had of it. False: there is only one. Raises OSError."""
        doomed = self._log.doom()
        if doomed is None:
            return False
        try:
            rows = await self._in_thread(partial(self._log.files.count_rows, doomed.segment.base, doomed.start, doomed.stop))
        except BaseException:
            self._log.spare()
            raise
        self._log.drop(doomed, rows)
        self.dropped_rows += rows
        self.dropped_bytes += doomed.stop - doomed.start
        return True


def _write(writer: int, place: tuple[int, int], payloads: Sequence[bytes]) -> None:
    """Write entries at (offset in the log, position in the file), durably. Raises OSError."""
    offset, position = place
    parts: list[bytes] = []
    for payload in payloads:
        parts += (seal(payload, offset), payload)
        offset += HEAD_BYTES + len(payload)
    spool_files.append(writer, position, b"".join(parts))
