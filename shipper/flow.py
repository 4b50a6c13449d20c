"""Flow: a pipeline in motion. Between the inlets and the outlet: intake, ledger, chain, summaries, and when to save.

RULES
- One loop, one thread: everything here runs in the event loop; posts and disk writes are awaited in tasks beside it.
- A payload names the epoch of the checkpoint it depends on (new identities, new index names, cuts made by time); the courier
  holds it until that checkpoint is durable (`edge/saving.py`).
- While the courier is full the inlets are paused: the files are the queue.
- The horizon (what windows count from) moves once an hour, and only after everything judged by the old one is settled: the
  inlets are paused, summaries are shipped, and when nothing is in flight the reference moves and reading goes on. After a crash
  it stays until what the former run may have sent is settled (`progress/resends.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from shipper.deliver import traffic
from shipper.edge import log, store
from shipper.edge.notices import NOTICES
from shipper.edge.saving import Saving
from shipper.encode import document
from shipper.frame.lines import as_utf8
from shipper.model import verdicts
from shipper.model.batch import Stream, merge_counts
from shipper.model.errors import HostError
from shipper.progress import checkpoint
from shipper.progress.ledger import Ledger
from shipper.progress.resends import Resends
from shipper.remainders import Followed, Remainders
from shipper.source import events

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from shipper.chain import Chain, Lap, Outcome
    from shipper.edge.inlet import Inflow
    from shipper.edge.outlet import Outlet
    from shipper.edge.tables import Tables
    from shipper.encode.index import Horizon, Router
    from shipper.intake import Intake, Taken
    from shipper.stages.stage import Summarising

MOVE_EVERY_S = 3600.0
GRACE_S = 10.0
"""How long a stop waits for what is in flight."""


class Parts(msgspec.Struct):
    """What a flow is made of; `assembly.py` makes them."""

    name: str
    chains: list[Chain]
    """One a source."""
    intakes: list[Callable[[Stream], Intake]]
    """One a source."""
    flushes: list[float | None]
    """One a source: after how many seconds its frame's unfinished records are taken as they are; None: it joins no lines."""
    router: Router
    horizon: Horizon
    summarising: list[Summarising]
    commons: list[Callable[[str], tuple[bytes, Mapping[str, object]]]]
    """One a source: from the redacted path of a stream to the fragment all its documents share, and what the path tells."""
    redact_text: Callable[[str], str]
    lap: Lap
    refresh: Callable[[], None]
    """Looks after lookup tables; called every few seconds."""
    tables: Tables
    """For what is said of them; `refresh` looks after them."""
    renamed: Callable[[bytes], bytes] = bytes
    """Gives documents of our own the names that those of records have."""
    wall: Callable[[], float] = time.time
    """Unix seconds, which the horizon follows; all else goes by the loop's monotonic clock."""


class Flow:
    """Runs one pipeline. `connect` gives it its inlets and outlet, `run` runs it to its end."""

    def __init__(self, parts: Parts, state: Path | None, machine: str, before: checkpoint.Checkpoint | None) -> None:
        """`state` is where the checkpoint goes, None for outputs that keep none; `before` what was there."""
        self.ledger = Ledger()
        self.stop_reason = ""
        self.failure: HostError | None = None
        self.first_read_at: float | None = None
        self.stage_errors: Counter[str] = Counter()
        """Batches that a stage raised for, by stage."""
        self.stage_failed_at: float | None = None
        self._parts, self._machine, self._before = parts, machine, before
        self._resends = Resends.after(before)
        self._quiet = False
        self._streams: dict[str, Followed] = {}
        self._remainders = Remainders(self, dict(before.cuts) if before is not None else {})
        self._over: set[str] = set()
        self._unreadable: set[str] = set()
        self._inlets: list[Inflow] = []
        self._held: dict[int, tuple[Any, Counter[int]]] = {}
        self._generated: dict[int, dict[int, Any]] = {}
        self.saving = Saving(self, state)
        self._grace_s = GRACE_S
        self._paused = self._quiescing = self._stopping = self._draining = False
        self._wakeup = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.turned_at = self._loop.time()
        """When it last looked at what is to be done; it does so every 5 s at least, until it is told to stop."""
        self._refresh_at = self.turned_at + 5.0

    def connect(self, inlets: list[Inflow], outlet: Outlet) -> None:
        """Take the inlets, in the order of the sources, and the outlet."""
        self._inlets, self.outlet = inlets, outlet
        if self._before is not None:
            self._parts.horizon.changed = False

    @property
    def files(self) -> int:
        """Files that the sources found at their last look."""
        return sum(inlet.files for inlet in self._inlets)

    @property
    def unreadable(self) -> int:
        """Files that could not be opened or read."""
        return len(self._unreadable)

    @property
    def is_draining(self) -> bool:
        """Whether it reads what is there to the end, and then ends."""
        return self._draining

    @property
    def held_rows(self) -> int:
        """Records that wait for their summary."""
        return sum(tickets.total() for _, tickets in self._held.values())

    def lag_bytes(self) -> int:
        """Bytes on disk, as last seen, that have no verdict yet."""
        offsets = self.ledger.offsets()
        states = [state for inlet in self._inlets for state in inlet.states(offsets)]
        return sum(max(0, state.size - offsets.get(state.id, state.offset)) for state in states if not state.ended)

    # --- what inlets say

    def feed(self, _inlet: Inflow, feed: events.Feed) -> events.Consumed:
        """Cut a window into records, run them through the chain, queue the payload."""
        followed = self._streams[feed.stream_id]
        self._parts.lap("idle")
        if followed.flush_after_s is not None:
            return self._remainders.feed(followed, feed, self._loop.time())
        taken = followed.intake.take(feed.data, feed.offset, final=feed.final)
        if feed.final and taken.batch is not None:
            self.saving.begin()  # a record cut by time: the checkpoint says so before it is sent
        self.process(followed, taken, begin=feed.offset)
        return events.Consumed(feed.stream_id, taken.next_offset, taken.read_from)

    def process(self, followed: Followed, taken: Taken, *, begin: int) -> int:
        """Begin what was taken of a stream from `begin` on, run it through the chain, queue the payload. Returns its ticket."""
        self._parts.lap("frame")
        if self.first_read_at is None:
            self.first_read_at = self._loop.time()
        stream, ticket = followed.stream, 0
        merge_counts(self.ledger.account.skipped_bytes, taken.skipped)
        if taken.next_offset > begin or taken.batch is not None:
            rows = taken.batch.count if taken.batch is not None else 0
            before = self.ledger.last_seconds(stream.id)
            ticket = self.ledger.begin(stream.id, taken.next_offset, rows, taken.next_offset - self.ledger.begun(stream.id))
            self.saving.touch()
            if taken.batch is not None:
                chain = self._parts.chains[followed.source]
                self._take(stream, ticket, chain.run(taken.batch, ticket, float(before), self._loop.time(), self._parts.lap))
            else:
                self._moved(stream.id)
        self._parts.lap("progress")
        return ticket

    def followed(self, stream_id: str) -> Followed:
        """A stream that was begun and is not forgotten."""
        return self._streams[stream_id]

    def read_again(self, followed: Followed) -> None:
        """Have the source feed the unread end of a file again."""
        self._inlets[followed.source].offer(events.Noticed(frozenset({followed.path})))
        self.wake()

    def begin_epoch(self) -> None:
        """What comes depends on a checkpoint that is still to be written."""
        self.saving.begin()

    def _take(self, stream: Stream, ticket: int, outcome: Outcome) -> None:
        """Book what the chain decided, and queue what is to be sent."""
        account = self.ledger.account
        self.ledger.date(ticket, outcome.last_seconds)
        merge_counts(account.masked, outcome.masked)
        merge_counts(account.flagged, outcome.flagged)
        for stage, error in outcome.stage_errors:
            self.stage_errors[stage] += 1
            self.stage_failed_at = self._loop.time()
            log.write("error", "a stage failed; its rows went on without it", stage=stage, error=error, file=stream.path)
        if self._parts.horizon.changed:
            self._parts.horizon.changed = False
            self.saving.begin()
        for summary in outcome.held.values():
            self._held.setdefault(id(summary), (summary, Counter()))[1][ticket] += 1
        moved = None
        for reason, rows in Counter(outcome.dropped.values()).items():
            moved = self.ledger.settle(ticket, verdicts.DROPPED, rows, reason) or moved
        if moved:
            self._moved(moved)
        if outcome.payload.count:
            outcome.payload.durable = self.saving.epoch
            self.outlet.handle(traffic.Queued(outcome.payload))

    def began(self, inlet: Inflow, began: events.Began) -> None:
        """Take up a stream."""
        state = began.stream
        source = self._inlets.index(inlet)
        safe_path = self._safe(state.path)
        common, told = self._parts.commons[source](safe_path)
        stream = Stream(state.id, common, safe_path, state.first_seen, told)
        path, flush_after_s = state.home or state.path, self._parts.flushes[source]
        self._streams[state.id] = Followed(source, stream, self._parts.intakes[source](stream), path, flush_after_s)
        self._over.discard(state.id)
        known = self._before.last_seconds.get(state.id) if self._before is not None else None
        self.ledger.open(state.id, state.offset, int(state.first_seen) if known is None else known)
        if began.minted:
            self.saving.begin()
        self._resends.began(state.id, state.size)
        self.saving.touch()
        message = f"new {inlet.subject}" if began.minted else f"{inlet.subject} resumed"
        log.write("info", message, file=safe_path, offset=state.offset, stream=state.id)

    def ended(self, inlet: Inflow, ended: events.Ended) -> None:
        """A stream is read to its end; it is dropped here when it is settled."""
        del inlet
        self._over.add(ended.stream_id)
        self.saving.touch()
        if (known := self._streams.get(ended.stream_id)) is not None:
            log.write("info", "file read to its end", file=known.stream.path, stream=ended.stream_id, why=ended.reason)
        self._forget(ended.stream_id)

    def lost(self, inlet: Inflow, lost: events.Lost) -> None:
        """Bytes nobody can give any more."""
        del inlet
        known = self._streams.get(lost.stream_id)
        path = known.stream.path if known is not None else self._safe(lost.path)
        self.ledger.lose(path, lost.bytes, lost.cause)
        log.write("error", "bytes lost", file=path, stream=lost.stream_id, bytes=lost.bytes, cause=lost.cause)

    def noted(self, note: events.Note) -> None:
        """Log what the source noticed."""
        level, message = NOTICES.get(note.kind, ("info", note.kind))
        if note.kind == "unreadable":
            self._unreadable.add(note.path)
        fields = {name: self._safe(value) if isinstance(value, str) else value for name, value in note.fields.items()}
        log.write(level, message, file=self._safe(note.path), **fields)

    def _safe(self, text: str) -> str:
        """A path as documents and logs show it: redacted, bytes that are not UTF-8 as the frame makes text of them."""
        return self._parts.redact_text(as_utf8(text.encode("utf-8", "surrogateescape")).decode())

    # --- what the outlet says

    def settled(self, settle: traffic.Settle) -> None:
        """Book verdicts; move the offsets behind them."""
        self.ledger.taken(settle.indices)
        self.saving.touch()
        if settle.ticket in self._generated:
            self._settle_generated(settle)
            return
        rows = self._rows_of(settle)
        moved = self.ledger.settle(settle.ticket, settle.verdict, rows, settle.reason)
        if moved:
            self._moved(moved)

    def _rows_of(self, settle: traffic.Settle) -> int:
        return self.ledger.pending(settle.ticket) if settle.rows is None else len(settle.rows)

    def _settle_generated(self, settle: traffic.Settle) -> None:
        """A summary is delivered: the rows it stands for settle with it."""
        summaries = self._generated[settle.ticket]
        for number in list(summaries) if settle.rows is None else settle.rows:
            self.ledger.account.generated += 1
            summary = summaries.pop(number)
            _, tickets = self._held.pop(id(summary), (None, Counter[int]()))
            for ticket, rows in tickets.items():
                moved = self.ledger.settle(ticket, verdicts.DROPPED, rows, summary.reason)
                if moved:
                    self._moved(moved)
        if not summaries:
            del self._generated[settle.ticket]

    def _moved(self, stream_id: str) -> None:
        """The committed offset of a stream moved, and maybe of those that waited for it."""
        for moved in (stream_id, *self.ledger.freed()):
            if (followed := self._streams.get(moved)) is not None:
                self._inlets[followed.source].offer(events.Settled(moved, self.ledger.committed(moved).offset))
                self._forget(moved)

    def _forget(self, stream_id: str) -> None:
        """Drop an ended stream that has nothing in flight."""
        if stream_id in self._over and not self.ledger.busy(stream_id):
            self._streams.pop(stream_id, None)
            self._remainders.forget(stream_id)
            self._over.discard(stream_id)

    def informed(self, note: traffic.Note) -> None:
        """Log what the courier noticed."""
        level = "info" if note.kind in ("recovered", "split") else "warning"
        log.write(level, f"delivery: {note.kind.replace('_', ' ')}", **note.fields)

    def broke(self, error: HostError) -> None:
        """The output cannot go on."""
        log.write("error", "the output failed; its pipeline ends", pipeline=self._parts.name, reason=str(error))
        self.failure = self.failure or error
        self.stop("output failed")

    def wake(self) -> None:
        """Look again, now."""
        self._wakeup.set()

    # --- the loop

    def stop(self, reason: str) -> None:
        """Stop reading, deliver what is in flight within the grace time, save, end."""
        self.stop_reason = self.stop_reason or reason
        self._stopping = True
        self.wake()

    def drain(self) -> None:
        """Read what is there to its end, unfinished lines too, settle it, and end."""
        self._draining = True
        for inlet in self._inlets:
            inlet.offer(events.Drain())
        self.wake()

    async def run(self, *, patience_s: float = 300.0) -> None:
        """Run until stopped, or drained. Draining gives up when nothing was settled for `patience_s`; `stop_reason` says so."""
        self._parts.lap("start")
        settled, moved_at = 0, self._loop.time()
        while not self._stopping:
            now = self._loop.time()
            busy = self._turn(now)
            if self._draining and all(inlet.drained for inlet in self._inlets) and self._is_all_done(now):
                break
            if not self._draining and all(inlet.has_ended for inlet in self._inlets):
                self.drain()
            if self.ledger.account.settled != settled or not self._draining:
                settled, moved_at = self.ledger.account.settled, now
            elif now - moved_at > patience_s and self.ledger.in_flight:
                self._grace_s = 0.0
                self.stop(f"the output took nothing for {patience_s:.0f} s")
            await (asyncio.sleep(0) if busy else self._sleep(now))
        await self._finish()

    def _turn(self, now: float) -> bool:
        """Everything that is due, and one window of each inlet. Returns whether there is more to do at once."""
        self.turned_at = now
        if self.outlet.bug is not None:
            raise self.outlet.bug
        self.outlet.expire()
        for summarising in self._parts.summarising:
            self._ship(summarising.due(now))
        self._remainders.expire(now)
        self._move_horizon()
        self._pause(wanted=self.outlet.courier.is_full or self._quiescing)
        busy = [inlet.turn() for inlet in self._inlets]
        self.saving.expire(now)
        if now >= self._refresh_at:
            self._refresh_at = now + 5.0
            self._parts.refresh()
            self._settle_resends()
        return any(busy)

    async def _sleep(self, now: float) -> None:
        """Until something happens or is due."""
        self._parts.lap("work")
        deadlines = [inlet.deadline() for inlet in self._inlets]
        deadlines += [summarising.deadline() for summarising in self._parts.summarising]
        deadlines += [self.outlet.courier.deadline(), self._refresh_at, self.saving.deadline(), self._remainders.deadline()]
        wait = max(0.001, min(at for at in deadlines if at is not None) - now)
        try:
            await asyncio.wait_for(self._wakeup.wait(), wait)
        except TimeoutError:
            pass
        self._wakeup.clear()

    def _pause(self, *, wanted: bool) -> None:
        if wanted != self._paused:
            self._paused = wanted
            for inlet in self._inlets:
                inlet.offer(events.Paused() if wanted else events.Resumed())

    def _ship(self, summaries: Sequence[Any]) -> None:
        """Queue summaries as documents of our own."""
        if not summaries:
            return
        ticket = -self.ledger.number()
        self._generated[ticket] = dict(enumerate(summaries))
        payload = document.generated(ticket, [(s.index, s.id, self._parts.renamed(s.document())) for s in summaries])
        payload.durable = self.saving.epoch
        self.outlet.handle(traffic.Queued(payload))

    def _is_settled(self, *, flush: bool) -> bool:
        """Whether nothing is in flight any more; `flush` ships held summaries to get there."""
        if flush:
            for summarising in self._parts.summarising:
                self._ship(summarising.flush())
        return not self.ledger.in_flight and self.outlet.courier.idle

    def _is_all_done(self, now: float) -> bool:
        """Whether a drained flow is settled, once what nothing follows any more is taken as it is."""
        return self._remainders.is_done(now) and self._is_settled(flush=True)

    def _move_horizon(self) -> None:
        horizon = self._parts.horizon
        if not self._quiescing and self._parts.wall() - horizon.reference > MOVE_EVERY_S:
            self._quiescing = not self._resends.pending
        elif self._quiescing and self._is_settled(flush=True):
            horizon.move(self._parts.wall())
            self._parts.router.forget()
            horizon.changed = self._quiescing = False
            self.saving.begin()

    def _settle_resends(self) -> None:
        if self._resends.pending:
            offsets = self.ledger.offsets()
            states = [state for inlet in self._inlets for state in inlet.states(offsets)]
            self._resends.settle(offsets, {state.id for state in states if not state.ended})

    # --- saving

    async def sync(self) -> None:
        """Make durable what the output keeps. Raises HostError, OSError."""
        await self.outlet.output.sync()

    def saved(self, epoch: int) -> None:
        """A checkpoint is on disk: what waited for it may go."""
        for inlet in self._inlets:
            inlet.saved()
        self.outlet.handle(traffic.Durable(epoch))

    def snapshot(self) -> bytes:
        """What the checkpoint says now: offsets, horizon and output lengths of one moment."""
        offsets = self.ledger.offsets()
        sources = [[_written(state) for state in inlet.states(offsets)] for inlet in self._inlets]
        known = {state["id"] for states in sources for state in states}
        self.ledger.keep(known | self._streams.keys())
        state = checkpoint.Checkpoint(
            pipeline=str(self._parts.name),
            destination=self.outlet.output.destination,
            machine_id=self._machine,
            horizon={**msgspec.to_builtins(self._parts.horizon), "quiet": self._quiet},
            sources=sources,
            last_seconds=self.ledger.last_settled(known),
            cuts=self._remainders.cuts(),
            output=dict(self.outlet.output.state()),
        )
        return checkpoint.encode(state)

    async def _finish(self) -> None:
        """Deliver what is in flight, within the grace time, and save."""
        self._pause(wanted=True)
        until = self._loop.time() + (self._grace_s if self._stopping else 0.0)
        while not self._is_settled(flush=True) and self._loop.time() < until and self.failure is None:
            self.outlet.expire()
            self.saving.expire(self._loop.time())
            self._wakeup.clear()
            try:
                await asyncio.wait_for(self._wakeup.wait(), 0.05)
            except TimeoutError:
                pass
        self.outlet.handle(traffic.Stopping())
        await self.saving.finish()
        self._settle_resends()
        self._quiet = self._is_settled(flush=False) and not self._resends.pending
        if self.failure is None and not await self.saving.save():
            hint = "What was delivered since the last one that could will be read and sent again, and not stored twice."
            self.failure = self.failure or HostError("progress could not be saved: the last checkpoint was not written", hint)
        for inlet in self._inlets:
            await inlet.close()
        await self.outlet.close()


def _written(state: events.StreamState) -> dict[str, Any]:
    """A stream's state for the checkpoint."""
    return msgspec.to_builtins(msgspec.structs.replace(state, path=store.quoted(state.path), home=store.quoted(state.home)))  # type: ignore[no-any-return]
