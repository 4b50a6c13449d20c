"""Pipe: standard input as a receiver of records, a line each. What is read is answered for before more than a little is read on.

RULES
- Blocking reads are in a thread of their own, as standard input may be a pipe, a terminal or a file; the loop never waits.
- At most `OPEN_DELIVERIES` windows are not durable yet; then nothing is read until one is, and the writer's pipe fills.
- A window that the spool refuses (full, broken disk) is offered again every `RETRY_S`: nobody else has it.
- A line longer than `max_record` is cut to it; what was cut is noted with its bytes. The last line may have no end.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

from shipper.edge import log
from shipper.source.push import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable

READ_BYTES = 1 << 18
OPEN_DELIVERIES = 4
RETRY_S = 1.0
_CLOSE_S = 5.0


class Pipe:
    """Reads a descriptor to its end."""

    def __init__(
        self,
        take: Callable[[Delivery, Callable[[bool], None]], None],
        ended: Callable[[], None],
        *,
        max_record: int,
        descriptor: int = 0,
    ) -> None:
        """`take` and `ended` are called in the loop."""
        self._take, self._ended = take, ended
        self._max, self._descriptor = max_record, descriptor
        self._loop = asyncio.get_running_loop()
        self._room = threading.Semaphore(OPEN_DELIVERIES)
        self._may_read = threading.Event()
        self._may_read.set()
        self._open = 0
        self._is_over = self._is_closed = False
        self._settled = asyncio.Event()
        self._rest = b""
        self._past = 0
        """Bytes left out so far of a line that is being read past."""

    async def open(self) -> None:
        """Begin to read."""
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    def pause(self) -> None:
        """Read nothing for now."""
        self._may_read.clear()

    def resume(self) -> None:
        """Read again."""
        self._may_read.set()

    async def close(self) -> None:
        """Read nothing more; wait a moment for what is not durable yet."""
        self._is_closed = True
        self._may_read.set()
        try:
            async with asyncio.timeout(_CLOSE_S):
                while self._open:
                    self._settled.clear()
                    await self._settled.wait()
        except TimeoutError:
            log.write("warning", "stdin: what was read last could not be kept", deliveries=self._open)

    def _read(self) -> None:
        """In the thread: read until the end."""
        data = b"."
        while data and not self._is_closed:
            self._may_read.wait()
            self._room.acquire()
            try:
                data = os.read(self._descriptor, READ_BYTES)
            except OSError:
                data = b""
            try:
                self._loop.call_soon_threadsafe(self._got, data)
            except RuntimeError:  # the loop is over
                return

    def _got(self, data: bytes) -> None:
        if not data:
            self._is_over = True
        rows = self._rows(data)
        if rows:
            self._open += 1
            self._offer(Delivery(rows))
        else:
            self._room.release()
            self._end_if_done()

    def _rows(self, data: bytes) -> list[bytes]:
        """The lines that are whole now; at the end of the input the last one too."""
        lines = (self._rest + data).split(b"\n")
        self._rest = b"" if not data else lines.pop()
        if self._past and (lines or not data):
            log.write("warning", "stdin: a line was cut", bytes=self._past + len(lines[0]))
            self._past, lines = 0, lines[1:]
        whole = [self._cut(line.removesuffix(b"\r")) for line in lines]
        if len(self._rest) > self._max:
            if not self._past:
                whole.append(self._rest[: self._max])
                self._past -= self._max
            self._past += len(self._rest)
            self._rest = b""
        return [row for row in whole if row]

    def _cut(self, line: bytes) -> bytes:
        if len(line) > self._max:
            log.write("warning", "stdin: a line was cut", bytes=len(line) - self._max)
        return line[: self._max]

    def _offer(self, delivery: Delivery) -> None:
        self._take(delivery, lambda durable: self._answered(delivery, durable=durable))

    def _answered(self, delivery: Delivery, *, durable: bool) -> None:
        if not durable and not self._is_closed:
            self._loop.call_later(RETRY_S, self._offer, delivery)
            return
        self._open -= 1
        self._room.release()
        self._settled.set()
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._is_over and not self._open:
            self._ended()
