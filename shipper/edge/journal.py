"""Journal inlet: `journalctl` as a source of batches. The journal is the queue; its cursor is the progress.

RULES
- An entry's place is a running count of bytes handed on since the stream was minted; only the checkpoint's cursor means anything
  to the journal. Records are known by their cursor, so that what is read again is not stored twice.
- While the flow is paused nothing is read, and `journalctl` waits at its pipe.
- `journalctl` that ends although it should follow is started again behind the last entry that was read, after 1 to 30 s.
- An entry over `LINE_BYTES_MAX`, or that is no JSON, is passed over and counted as lost (`journal`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from itertools import accumulate
from typing import TYPE_CHECKING

from shipper.edge import log
from shipper.intake import Taken
from shipper.model.batch import Batch
from shipper.model.errors import HostError
from shipper.source import events, journald

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shipper.edge.push_inlet import Owner
    from shipper.source.journald import Entry, Journald

LINE_BYTES_MAX = 16 << 20
_WINDOW_BYTES = 1 << 18
_QUEUE = 4
_RESTART_S = (1.0, 30.0)


class JournalInlet:
    """Follows the journal for one source. Lives in the event loop."""

    subject = "journal"

    def __init__(
        self, name: str, config: Journald.Config, owner: Owner, mint: Callable[[], str], wall: Callable[[], float]
    ) -> None:
        """`wall` returns Unix seconds."""
        self.files = 0
        self.drained = self.has_ended = False
        self.follow = True
        """False: read what is there (`--once`)."""
        self._name, self._config, self._owner, self._mint, self._wall = name, config, owner, mint, wall
        self._state: events.StreamState | None = None
        self._windows: asyncio.Queue[list[Entry]] = asyncio.Queue(_QUEUE)
        self._read_to = ""
        """Cursor of the last entry that was read."""
        self._at = 0
        self._cursors: deque[tuple[int, str]] = deque()
        """(offset behind a window, its last cursor) of what is not settled."""
        self._paused = self._draining = self._is_over = False
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self, before: events.StreamState | None) -> None:
        """Go on behind the checkpoint's cursor. Raises HostError where `journalctl` cannot be run."""
        state = before or events.StreamState(self._mint(), f"push:{self._name}", 0, 0, 0, 0, "", "", self._wall())
        self._state, self._read_to, self._at = state, state.fingerprint, state.offset
        self._owner.began(self, events.Began(state, minted=before is None))
        await self._start()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _start(self) -> None:
        words = journald.arguments(self._config, self._read_to, follow=self.follow)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                limit=LINE_BYTES_MAX,
            )
        except OSError as error:
            hint = "Install systemd's journalctl, or name it with `program`."
            raise HostError(f"{words[0]} cannot be run: {error.strerror}", hint) from error

    async def _run(self) -> None:
        """Read until told to stop, or once to the end."""
        wait_s = _RESTART_S[0]
        while True:
            read = await self._read_all()
            assert self._process is not None
            code = await self._process.wait()
            if not self.follow:
                self._is_over = True
                self._owner.wake()
                return
            wait_s = _RESTART_S[0] if read else min(2 * wait_s, _RESTART_S[1])
            log.write("warning", "journalctl ended, to be started again", code=code, wait_s=wait_s)
            await asyncio.sleep(wait_s)
            with contextlib.suppress(HostError):
                await self._start()

    async def _read_all(self) -> int:
        """Hand windows of entries on until the output ends. Returns how many entries there were."""
        assert self._process is not None
        assert self._process.stdout is not None
        output, count = self._process.stdout, 0
        window: list[Entry] = []
        while line := await _line(output):
            made = journald.entry(line)
            if made is None:
                log.write("error", "an entry of the journal cannot be read", bytes=len(line))
                continue
            window.append(made)
            count += 1
            self._read_to = made.cursor
            if sum(len(one.row) for one in window[-64:]) * len(window) > 64 * _WINDOW_BYTES or not _has_more(output):
                await self._windows.put(window)
                window = []
                self._owner.wake()
        if window:
            await self._windows.put(window)
            self._owner.wake()
        return count

    def offer(self, event: events.Event) -> None:
        """Hear of pauses and the wish to drain."""
        match event:
            case events.Paused():
                self._paused = True
            case events.Resumed():
                self._paused = False
            case events.Drain():
                self._draining = True

    def turn(self) -> bool:
        """Run one window."""
        if self._paused or self._state is None:
            return False
        if self._windows.empty():
            self.drained = self._draining and self._is_over
            return False
        window = self._windows.get_nowait()
        followed = self._owner.followed(self._state.id)
        bounds = list(accumulate((len(one.row) + 1 for one in window), initial=self._at))
        block = b"\n".join([*(one.row for one in window), b""])
        batch = Batch(followed.stream, block, len(window), self._at, (bounds[:-1], bounds[1:]))
        batch.ids = [one.id for one in window]
        begin, self._at = self._at, bounds[-1]
        self._cursors.append((self._at, window[-1].cursor))
        self._owner.process(followed, Taken(batch, self._at, self._at), begin=begin)
        return True

    def deadline(self) -> float | None:
        """None: entries wake the flow."""
        return None

    def states(self, settled: Mapping[str, int]) -> Sequence[events.StreamState]:
        """The cursor behind what is settled."""
        if self._state is None:
            return []
        offset = settled.get(self._state.id, self._state.offset)
        while self._cursors and self._cursors[0][0] <= offset:
            self._state.offset, self._state.fingerprint = self._cursors.popleft()
        self._state.size = self._at
        return [self._state]

    def saved(self) -> None:
        """The journal keeps what it wants to."""

    async def close(self) -> None:
        """End `journalctl`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            await self._process.wait()


async def _line(output: asyncio.StreamReader) -> bytes:
    """The next line; one that is too long is passed over, with a note. Empty at the end."""
    try:
        return await output.readline()
    except ValueError:  # and it is dropped from the reader's buffer
        log.write("error", "an entry of the journal is too long", limit_bytes=LINE_BYTES_MAX)
        return b"{}\n"


def _has_more(output: asyncio.StreamReader) -> bool:
    """Whether a whole line is at hand: else the window goes on as it is."""
    return b"\n" in output._buffer  # type: ignore[attr-defined]  # noqa: SLF001  the reader has no other word for it
