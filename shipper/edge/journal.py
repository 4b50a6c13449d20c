"""Journal inlet: `journalctl` as a source of batches. The journal is the queue; its cursor is the progress.

RULES
- An entry's place is a running count of bytes handed on since the stream was minted; only the checkpoint's cursor means anything
  to the journal. Records are known by their cursor, so that what is read again is not stored twice.
- While the flow is paused nothing is read, and `journalctl` waits at its pipe.
- `journalctl` that ends although it should follow is started again behind the last entry that was read, after 1 to 30 s. Where it
  should not, and says that it failed, the run fails.
- An entry over `LINE_BYTES_MAX`, or that is no JSON, is passed over and counted as lost (`journal`).
- `start: end` means: behind the entry that was the last one on the very first run, however often the agent is started after it.
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
_SAID_CHARS = 300
"""Of what `journalctl` says of its troubles; it quotes no entries."""


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
        self._paused = self._draining = False
        self._program: Program | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self, before: events.StreamState | None) -> None:
        """Go on behind the checkpoint's cursor. Raises HostError where `journalctl` cannot be run."""
        state = before or events.StreamState(self._mint(), f"push:{self._name}", 0, 0, 0, 0, "", "", self._wall())
        if before is None and self._config.start == "end":
            state.fingerprint = await _last_cursor(self._config)
        self._state, self._read_to, self._at = state, state.fingerprint, state.offset
        self._program = await self._start()
        self._owner.began(self, events.Began(state, minted=before is None))
        self._task = asyncio.get_running_loop().create_task(self._run(self._program))
        self._task.add_done_callback(lambda _: self._owner.wake())

    async def _start(self) -> Program:
        return await Program.start(journald.arguments(self._config, self._read_to, follow=self.follow))

    async def _run(self, program: Program) -> None:
        """Read until told to stop, or once to the end."""
        wait_s = _RESTART_S[0]
        while True:
            has_read = await self._read_all(program)
            code, said = await program.end()
            if not self.follow:
                if code:
                    self._owner.broke(_failed(self._config, code, said))
                return
            wait_s = _RESTART_S[0] if has_read else min(2 * wait_s, _RESTART_S[1])
            log.write("warning", "journalctl ended, to be started again", code=code, said=said, wait_s=wait_s)
            await asyncio.sleep(wait_s)
            try:
                self._program = program = await self._start()
            except HostError as error:
                log.write("error", "journalctl cannot be started again", reason=str(error))

    async def _read_all(self, program: Program) -> bool:
        """Hand windows of entries on until the output ends. Returns whether there was one."""
        lines, has_read = Lines(LINE_BYTES_MAX), False
        while data := await program.read(_WINDOW_BYTES):
            window: list[Entry] = []
            whole, lost = lines.take(data)
            for line in whole:
                made = journald.entry(line)
                if made is None:
                    lost += len(line) + 1
                else:
                    window.append(made)
            if lost and self._state is not None:
                self._owner.lost(self, events.Lost(self._state.id, lost, "journal"))
            if window:
                has_read, self._read_to = True, window[-1].cursor
                await self._windows.put(window)
                self._owner.wake()
        return has_read

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
            if self._task is not None and self._task.done():
                self._task.result()
                self.drained = self._draining
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
        if self._program is not None:
            await self._program.end()


class Program:
    """A run of `journalctl`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Take one that runs."""
        self._process = process
        self._said = ""
        self._listening = asyncio.get_running_loop().create_task(self._listen())

    @classmethod
    async def start(cls, words: Sequence[str]) -> Program:
        """Run a command. Raises HostError where that cannot be."""
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *words, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, limit=_WINDOW_BYTES
            )
        except (OSError, ValueError) as error:
            hint = "Install systemd's journalctl, or name it with `program`."
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise HostError(f"{words[0]} cannot be run: {reason}", hint) from error
        return cls(process)

    async def _listen(self) -> None:
        """Keep the last that it says: it must not wait for somebody to hear it."""
        assert self._process.stderr is not None
        while said := await self._process.stderr.read(4096):
            self._said = (self._said + said.decode("utf-8", "replace"))[-_SAID_CHARS:]

    async def read(self, size: int) -> bytes:
        """At most so many bytes of its output; none at the end."""
        assert self._process.stdout is not None
        return await self._process.stdout.read(size)

    async def end(self) -> tuple[int, str]:
        """Have it end, if it has not: it only reads. Returns its code, and what it said."""
        assert self._process.stdout is not None
        if self._process.returncode is None and not self._process.stdout.at_eof():
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        while await self._process.stdout.read(_WINDOW_BYTES):  # what nobody read would keep asyncio waiting
            pass
        code = await self._process.wait()
        await self._listening
        return code, " ".join(self._said.split())


class Lines:
    """The lines in pieces of text, however it is cut; those of more than `limit` bytes are passed over."""

    def __init__(self, limit: int) -> None:
        """Hold at most `limit` bytes and a piece."""
        self._limit = limit
        self._rest = bytearray()
        self._past = 0
        """Bytes of the line that is being passed over."""

    def take(self, data: bytes) -> tuple[list[bytes], int]:
        """The lines that are whole now, and how many bytes were passed over."""
        end = data.rfind(b"\n") + 1
        if not end:
            self._rest += data
            if len(self._rest) > self._limit:
                self._past += len(self._rest)
                self._rest.clear()
            return [], 0
        lines = (bytes(self._rest) + data[: end - 1]).split(b"\n")
        self._rest = bytearray(data[end:])
        lost = self._past + len(lines.pop(0)) + 1 if self._past else 0
        self._past = 0
        return lines, lost


async def _last_cursor(config: Journald.Config) -> str:
    """The cursor of the last entry there is; an empty text where there is none. Raises HostError."""
    program = await Program.start(journald.last_entry(config))
    lines, cursor = Lines(LINE_BYTES_MAX), ""
    while data := await program.read(_WINDOW_BYTES):
        for made in map(journald.entry, lines.take(data)[0]):
            cursor = made.cursor if made is not None else cursor
    code, said = await program.end()
    if code:
        raise _failed(config, code, said)
    return cursor


def _failed(config: Journald.Config, code: int, said: str) -> HostError:
    return HostError(f"{config.program} failed with code {code}: {said or 'it does not say why'}")
