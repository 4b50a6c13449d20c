"""Push inlet: from what senders push to batches, by way of the spool. One for each source that listens, or reads a pipe.

    sender -> receiver (listener, pipe) -> spool, durable -> the sender is told      `take`
    spool -> batch -> the flow -> verdicts -> the offset -> checkpoint -> the spool lets go   `turn`, `states`, `saved`

RULES
- A delivery is answered True after it is durable in the spool, False where the spool refused it: nothing is lost by an end of the
  agent at any moment, and nothing is told as taken that is not.
- The spool is read like a file that never rotates; what is delivered and in a durable checkpoint is deleted from it. What was
  settled while that was written is not in it: after a crash it is read again, and an output of files has cut it off again.
- Rows that have no time of their own get the time of their arrival here. It is in the spool, so that a resend has the same.
- While the flow is paused the spool fills; when the spool is full the receiver stops reading (`when_full: block`).
- What the spool lost (damage, dropped as it was full, gone between checkpoint and spool) is counted as lost, with its cause.
- A disk that cannot be read is tried again: the senders keep what is new, and other pipelines go on.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from shipper.edge import log
from shipper.edge.spool import FullError, Spool, TooLargeError
from shipper.intake import Taken
from shipper.model.batch import Batch
from shipper.model.errors import HostError
from shipper.progress.spool import encode
from shipper.source import events

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shipper.edge.inlet import Inflow
    from shipper.edge.spool_log import Window
    from shipper.model.batch import Stream
    from shipper.remainders import Followed
    from shipper.source.push import Delivery

READ_BYTES = 1 << 18
RETRY_S = (1.0, 30.0)
"""Pauses where the disk cannot be read."""
LOOK_S = 0.1
"""How often is looked whether there is room again in a full spool."""
_CAUSES = {"dropped": "spool_full", "missing": "spool_missing"}


class Receiver(Protocol):
    """What hands deliveries over: `Listener`, `Pipe`."""

    async def open(self) -> None:
        """Begin. Raises HostError."""
        ...

    def pause(self) -> None:
        """Read nothing for now."""
        ...

    def resume(self) -> None:
        """Read again."""
        ...

    async def close(self) -> None:
        """Take nothing more; wait for what is not answered yet, a moment."""
        ...


class Owner(Protocol):
    """Who wants the records: the run of a pipeline."""

    def began(self, inlet: Inflow, began: events.Began) -> None:
        """The spool is open."""
        ...

    def followed(self, stream_id: str) -> Followed:
        """A stream of the flow."""
        ...

    def process(self, followed: Followed, taken: Taken, *, begin: int) -> int:
        """Run a batch."""
        ...

    def lost(self, inlet: Inflow, lost: events.Lost) -> None:
        """Bytes nobody can give any more."""
        ...

    def broke(self, error: HostError) -> None:
        """The run cannot go on."""
        ...

    def begin_epoch(self) -> None:
        """Have another checkpoint written, soon."""
        ...

    def wake(self) -> None:
        """Look again, now."""
        ...


class PushInlet:
    """See the module. Lives in the event loop."""

    subject = "spool"

    def __init__(self, name: str, spool: Spool, owner: Owner, mint: Callable[[], str], wall: Callable[[], float]) -> None:
        """`name` tells the source from others of the pipeline (`forward`, `forward-2`); `wall` returns Unix seconds."""
        self.name = name
        self.files = 0
        self.drained = False
        self.receiver: Receiver | None = None
        """None: the spool is read to its end, and nothing is taken (`--once`)."""
        self.has_ended = False
        """The receiver has nothing more, ever: a pipe at its end."""
        self.is_endless = False
        """The receiver never ends by itself: to drain, it is closed."""
        self.holds_up = True
        """While the spool is full the receiver stops reading. False: it reads, and refuses what the spool does not take."""
        self._closing: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._retry_at, self._retry_s = 0.0, RETRY_S[0]
        self.spool = spool
        self._owner, self._mint, self._wall = owner, mint, wall
        self._state: events.StreamState | None = None
        self._at = self._saved = 0
        self._covered: int | None = None
        """What the next checkpoint says at least: the offset at the first look since the last one."""
        self._paused = self._held_up = self._draining = False
        self._answers: set[asyncio.Future[int]] = set()

    # --- The side of the sender

    async def open(self, before: events.StreamState | None) -> None:
        """Open the spool where the checkpoint says, and the receiver. Raises HostError."""
        state = before
        settled, expected = (before.offset, before.fingerprint) if before is not None else (0, "")
        opened = self.spool.open(self._mint(), settled, expected)
        if state is None or state.fingerprint != opened.identity or state.offset > opened.end:
            # Not the spool that the checkpoint knows: all that is in it is new, and so are its ids.
            place = f"push:{self.name}"
            state = events.StreamState(self._mint(), place, 0, 0, opened.first, 0, opened.identity, "", self._wall())
        self._state = state
        self._at = self._saved = state.offset
        if opened.torn_bytes:
            log.write("info", "the end of a spool was torn off, as it was never acknowledged", bytes=opened.torn_bytes)
        self._owner.began(self, events.Began(state, minted=state is not before))
        if self.receiver is not None:
            await self.receiver.open()

    def take(self, delivery: Delivery, answer: Callable[[bool], None]) -> None:
        """Keep a delivery; `answer` is called once, when it is durable or was refused."""
        if delivery.times is None or "" in delivery.times:
            stamp = datetime.fromtimestamp(self._wall(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            delivery.times = [time or stamp for time in delivery.times or [""] * len(delivery.rows)]
        future = self.spool.append(encode(delivery))
        self._answers.add(future)
        future.add_done_callback(lambda done: self._answered(done, answer))
        self._weigh()

    def _answered(self, done: asyncio.Future[int], answer: Callable[[bool], None]) -> None:
        self._answers.discard(done)
        error = None if done.cancelled() else done.exception()
        if error is not None and not isinstance(error, FullError):
            log.write("error", "the spool refused a delivery; its sender keeps it", spool=self.name, reason=_said(error))
        answer(error is None and not done.cancelled())
        self._weigh()
        self._owner.wake()

    def noted(self, kind: str, fields: Mapping[str, object]) -> None:
        """Log what the receiver noticed."""
        log.write("warning", f"listener: {kind.replace('_', ' ')}", source=self.name, **fields)

    def ended(self) -> None:
        """The receiver has nothing more, ever."""
        self.has_ended = True
        self._owner.wake()

    def _weigh(self) -> None:
        """Hold the receiver up while the spool is full."""
        if self.receiver is not None and self.holds_up and self.spool.is_full != self._held_up:
            self._held_up = not self._held_up
            (self.receiver.pause if self._held_up else self.receiver.resume)()

    # --- The side of the flow

    def offer(self, event: events.Event) -> None:
        """Hear of pauses and the wish to drain."""
        match event:
            case events.Paused():
                self._paused = True
            case events.Resumed():
                self._paused = False
            case events.Drain():
                self._draining = True
                if self.is_endless and self.receiver is not None and self._closing is None:
                    self._closing = asyncio.get_running_loop().create_task(self._drain(self.receiver))

    async def _drain(self, receiver: Receiver) -> None:
        """Take nothing more, and say so."""
        await receiver.close()
        self.ended()

    def turn(self) -> bool:
        """Run one window of the spool. Returns whether more is to be done at once."""
        self._weigh()
        window = None if self._paused or self._state is None else self._read()
        if window is None or self._state is None:
            return False
        if window.next_offset == self._at:
            at_end = self.has_ended or self.receiver is None
            self.drained = self._draining and at_end and not self._answers
            return False
        followed = self._owner.followed(self._state.id)
        for damage in window.damage:
            cause = _CAUSES.get(damage.cause, f"spool_{damage.cause}")
            self._owner.lost(self, events.Lost(self._state.id, damage.end - damage.start, cause))
        batch = _batch(followed.stream, window, self._at)
        begin, self._at = self._at, window.next_offset
        self._owner.process(followed, Taken(batch, window.next_offset, window.next_offset), begin=begin)
        return True

    def _read(self) -> Window | None:
        """What comes next; None while the disk cannot be read. A run that is to end (`--once`) fails then."""
        now = self._loop.time()
        if now < self._retry_at:
            return None
        try:
            window = self.spool.read(self._at, READ_BYTES)
        except HostError as error:
            if self._draining:
                self._owner.broke(error)
                return None
            log.write("error", "the spool cannot be read, and is tried again", spool=self.name, reason=str(error))
            self._retry_at = now + self._retry_s
            self._retry_s = min(RETRY_S[1], 2 * self._retry_s)
            return None
        self._retry_s = RETRY_S[0]
        return window

    def deadline(self) -> float | None:
        """Deliveries wake the flow; a disk that cannot be read, and a spool that makes room in a thread, do not."""
        now = self._loop.time()
        if self._retry_at > now:
            return self._retry_at
        return now + LOOK_S if self._held_up else None

    def states(self, settled: Mapping[str, int]) -> list[events.StreamState]:
        """What the checkpoint says of it."""
        if self._state is None:
            return []
        self._state.offset = max(self._state.offset, settled.get(self._state.id, 0))
        self._state.size = self.spool.end
        if self._covered is None:
            self._covered = self._state.offset
        return [self._state]

    def saved(self) -> None:
        """The last checkpoint is durable: what it says is delivered may go. What was settled since is not in it."""
        covered, self._covered = self._covered, None
        if self._state is None or covered is None:
            return
        if covered > self._saved:
            self._saved = covered
            self.spool.settle(covered)
            self._weigh()
        if self._state.offset > covered:  # somebody looked while it was written: the next one says it
            self._owner.begin_epoch()

    async def close(self) -> None:
        """Take nothing more, answer what is open, let the spool go."""
        if self._closing is not None:
            await self._closing
        elif self.receiver is not None:
            await self.receiver.close()
        await self.spool.close()


def _batch(stream: Stream, window: Window, at: int) -> Batch | None:
    spooled = window.spooled
    if spooled is None or not spooled.count:
        return None
    batch = Batch(stream, spooled.block, spooled.count, at, (spooled.starts, spooled.stops))
    batch.times, batch.tags, batch.ids = spooled.times, spooled.tags, spooled.ids
    return batch


def _said(error: BaseException) -> str:
    return str(error) if isinstance(error, (HostError, TooLargeError)) else type(error).__name__
