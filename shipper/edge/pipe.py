"""Pipe: standard input as a receiver of records, a line each. What is read is answered for before more than a little is read on.

RULES
- Blocking reads are in a thread of their own, as standard input may be a pipe, a terminal or a file; the loop never waits.
- At most `WINDOWS_OPEN` windows are not durable yet; then nothing is read until one is, and the writer's pipe fills.
- What the spool refuses (full, broken disk) is offered again after `RETRY_S`, in its order: nobody else has it.
- A line longer than `max_record` is cut to it; what was cut is noted with its bytes. The last line may have no end.
- Bytes that are no UTF-8 become the characters of the same numbers, as in files.
- At the end of the agent the line that was begun is kept as it is: its writer will not write it again.
"""

from __future__ import annotations

import asyncio
import codecs
import os
import select
import sys
import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from shipper.edge import log
from shipper.frame.lines import as_utf8, is_utf8
from shipper.source.push import DELIVERY_ROWS_MAX, Delivery

if TYPE_CHECKING:
    from collections.abc import Callable

READ_BYTES = 1 << 18
WINDOWS_OPEN = 4
RETRY_S = 1.0
_CLOSE_S = 5.0
_POLL_MS = 500
"""How often the thread looks whether it is still wanted, while nothing comes."""


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
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._lines = Lines(max_record)
        self._room = threading.Semaphore(WINDOWS_OPEN)
        self._may_read = threading.Event()
        self._may_read.set()
        self._reading = threading.Lock()
        """Held while bytes are read and handed over: who has it knows that none are on their way."""
        self._queue: deque[tuple[int, Delivery]] = deque()
        """What is to be offered, with the number of its window."""
        self._refused: list[tuple[int, Delivery]] = []
        self._offered = 0
        """Of it, what is not answered."""
        self._is_probing = False
        """The last answer was no."""
        self._open: dict[int, int] = {}
        """Deliveries that are not durable, by window."""
        self._window = 0
        self._is_over = self._is_closed = False
        self._answered_one = asyncio.Event()

    async def open(self) -> None:
        """Begin to read."""
        if self._descriptor == 0 and sys.stdin is None:  # started without one: 0 is another file by now
            self._loop.call_soon(self._got, b"")
            return
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
        self._room.release()
        if self._reading.acquire(timeout=_CLOSE_S):
            self._reading.release()
        await asyncio.sleep(0)  # what was read last is handed over by now
        if not self._is_over:
            self._got(b"")
        try:
            async with asyncio.timeout(_CLOSE_S):
                while self._open:
                    self._answered_one.clear()
                    await self._answered_one.wait()
        except TimeoutError:
            log.write("error", "stdin: what was read last could not be kept", deliveries=sum(self._open.values()))

    # --- In the thread

    def _read(self) -> None:
        """Read until the end."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        is_more = True
        while is_more and not self._is_closed:
            self._may_read.wait()
            self._room.acquire()
            while not self._is_closed and not poll.poll(_POLL_MS):
                pass
            is_more = self._hand_over()

    def _hand_over(self) -> bool:
        """Read one window, and have the loop take it. Returns whether there is more."""
        with self._reading:
            if self._is_closed:
                return False
            try:
                data = os.read(self._descriptor, READ_BYTES)
            except BlockingIOError:  # another reader of the same pipe was faster
                self._room.release()
                return True
            except OSError as error:
                log.write("error", "stdin cannot be read; that is taken for its end", reason=error.strerror)
                data = b""
            try:
                self._loop.call_soon_threadsafe(self._got, data)
            except RuntimeError:  # the loop is over
                return False
        return bool(data)

    # --- In the loop

    def _got(self, data: bytes) -> None:
        if not data:
            self._is_over = True
        rows, self._window = self._lines.take(data), self._window + 1
        parts = [rows[at : at + DELIVERY_ROWS_MAX] for at in range(0, len(rows), DELIVERY_ROWS_MAX)]
        if not parts:
            self._room.release()
            self._end_if_done()
            return
        self._open[self._window] = len(parts)
        self._queue.extend((self._window, Delivery(part)) for part in parts)
        self._offer()

    def _offer(self) -> None:
        """Offer what waits; while things are refused, only the first of it: nothing that was read later overtakes it."""
        while self._queue and not (self._refused or (self._is_probing and self._offered)):
            at = self._queue.popleft()
            self._offered += 1
            self._take(at[1], partial(self._answered, at))

    def _again(self) -> None:
        self._queue.extendleft(reversed(self._refused))
        self._refused.clear()
        self._offer()

    def _answered(self, at: tuple[int, Delivery], durable: bool) -> None:  # noqa: FBT001  as the taker calls it
        self._offered -= 1
        self._is_probing = not durable
        if not durable and not self._is_closed:
            self._refused.append(at)
            if len(self._refused) == 1:
                self._loop.call_later(RETRY_S, self._again)
            return
        if not durable:
            log.write("error", "stdin: what was read last could not be kept", rows=len(at[1].rows))
        self._open[at[0]] -= 1
        if not self._open[at[0]]:
            del self._open[at[0]]
            self._room.release()
        self._answered_one.set()
        self._offer()
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._is_over and not self._open:
            self._ended()


class Lines:
    """The lines in pieces of text, however it is cut; holds at most `max_record` bytes and a piece."""

    def __init__(self, max_record: int) -> None:
        """`max_record` is in bytes."""
        self._max = max_record
        self._rest = b""
        self._past = 0
        """Bytes left out so far of a line that is being read past."""

    def take(self, data: bytes) -> list[bytes]:
        """The lines that are whole now, those that are not empty; no data is the end, which makes the last one whole."""
        text = self._rest + data
        lines = text.split(b"\n")
        self._rest = b"" if not data else lines.pop()
        if self._past and lines:
            log.write("warning", "stdin: a line was cut", bytes=self._past + len(lines[0]))
            self._past, lines = 0, lines[1:]
        rows = [line.removesuffix(b"\r") for line in lines]
        if len(self._rest) > self._max + 1:  # one more: it may be the CR of the line's end
            if not self._past:
                rows.append(whole_characters(self._rest[: self._max]))
                self._past -= self._max
            self._past += len(self._rest)
            self._rest = b""
        if not is_utf8(text):
            rows = list(map(as_utf8, rows))
        return [self._cut(row) for row in rows if row]

    def _cut(self, row: bytes) -> bytes:
        if len(row) <= self._max:
            return row
        log.write("warning", "stdin: a line was cut", bytes=len(row) - self._max)
        return whole_characters(row[: self._max])


def whole_characters(head: bytes) -> bytes:
    """The head of a text without the part of a character at its end; other bytes that are no UTF-8 stay."""
    return head[: codecs.utf_8_decode(head, "surrogateescape", False)[1]]
