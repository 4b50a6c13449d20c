"""Saving: when checkpoints are written, and which is the last one on disk.

RULES
- What a payload depends on (a new identity, a new index name, a cut made by time) begins an epoch; a checkpoint of that epoch is
  written at once. Other progress is saved once a second.
- A checkpoint that cannot be written (disk full, read-only) is tried again with growing waits; meanwhile no epoch is told as
  durable, so that nothing that depends on it is sent and no progress is claimed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from shipper.edge import log, store
from shipper.model.errors import HostError

if TYPE_CHECKING:
    from pathlib import Path

SAVE_EVERY_S = 1.0
SAVE_RETRY_S_MAX = 30.0
_SAVE_RETRY_S = 0.25


class Owner(Protocol):
    """Whose progress it is."""

    def snapshot(self) -> bytes:
        """What the checkpoint says now."""
        ...

    async def sync(self) -> None:
        """Make durable what the checkpoint counts on. Raises HostError, OSError."""
        ...

    def saved(self, epoch: int) -> None:
        """The checkpoint of this epoch is on disk."""
        ...

    def broke(self, error: HostError) -> None:
        """The output cannot go on."""
        ...

    def wake(self) -> None:
        """Look again, now."""
        ...


class Saving:
    """Writes the checkpoint of one flow. Runs in its loop; at most one write is under way."""

    def __init__(self, owner: Owner, state: Path | None) -> None:
        """`state` is the directory of the checkpoint, None for outputs that keep none."""
        self.epoch = 1
        self._owner, self._state = owner, state
        self._durable, self._dirty = 0, True
        self.saved_at: float | None = None
        """When the last one was on disk; loop time."""
        self.failure = ""
        """Why the last one is not; empty when it is."""
        self._tried_since: float | None = None
        self._task: asyncio.Task[bool] | None = None
        self._next_at, self._wait_until, self._retry_s = 0.0, 0.0, _SAVE_RETRY_S
        self._loop = asyncio.get_running_loop()

    def begin(self) -> None:
        """Something new that documents depend on."""
        self.epoch += 1

    def touch(self) -> None:
        """Progress that is worth a checkpoint, in time."""
        self._dirty = True

    def expire(self, now: float) -> None:
        """Write one if it is due."""
        if self._task is not None and self._task.done():
            done, self._task = self._task, None
            done.result()  # a bug in saving ends the run: without checkpoints nothing may be claimed
        if self._task is not None or now < self._wait_until:
            return
        if self.epoch > self._durable or (self._dirty and now >= self._next_at):
            self._task = self._loop.create_task(self.save())
            self._task.add_done_callback(lambda _: self._owner.wake())

    def deadline(self) -> float | None:
        """When the next one is due; None while one is being written (its end wakes the loop), or nothing is new."""
        if self._task is not None or not (self._dirty or self.epoch > self._durable):
            return None
        return max(self._next_at if self.epoch == self._durable else 0.0, self._wait_until)

    @property
    def overdue_s(self) -> float:
        """How long it has been tried, in vain so far, to write one: 0 while all is well."""
        return 0.0 if self._tried_since is None else self._loop.time() - self._tried_since

    async def finish(self) -> None:
        """Wait for the one under way."""
        if self._task is not None:
            await self._task

    async def save(self) -> bool:
        """Write one; say whether it is on disk. A failure is retried later, unless the output cannot be mended."""
        epoch, self._dirty = self.epoch, False
        if self._tried_since is None:
            self._tried_since = self._loop.time()
        data = self._owner.snapshot()
        try:
            await self._owner.sync()
            if self._state is not None:
                await store.save(self._state / "checkpoint", data)
        except HostError as error:
            self.failure = "the output failed"
            self._owner.broke(error)
        except OSError as error:
            self.failure = error.strerror or type(error).__name__
            self._dirty = True
            self._retry_s = min(SAVE_RETRY_S_MAX, 2 * self._retry_s)
            self._wait_until = self._loop.time() + self._retry_s
            log.write("error", "the checkpoint cannot be written; nothing is claimed as done", reason=error.strerror)
        else:
            self._retry_s = _SAVE_RETRY_S
            self._durable = epoch
            self.saved_at, self.failure, self._tried_since = self._loop.time(), "", None
            self._next_at = self.saved_at + SAVE_EVERY_S
            self._owner.saved(epoch)
            return True
        return False
