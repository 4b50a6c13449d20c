"""Tail: follows the files of one source through rotation. The machine; `edge/files.py` carries out what it asks for.

RULES
- The periodic scan is what is relied on; the watch only makes it quicker. Files are known by inode, and by what they show.
- An inode that is somewhere else was renamed; its stream goes on. What took its place is read from byte 0, after it and after
  the siblings that came between, in order of their last change.
- A stream whose file does not show its bytes any more is an orphan. Its siblings are listed and examined; when nobody is left to
  examine, it is given up, and what was seen of it and not read is lost, with the number of bytes.
- What to do next is decided in one place (`_next`): answers first, then examinations and reads in turn.
- While paused, nothing is fed, but files are still found and examined, so that no rotation is missed.

THEORY
Periodic reconciliation as the mechanism of correctness, the guard before the offset, and a replacement file that starts at 0
whatever `start` says: open-telemetry/otel-arrow, filelog receiver design. Copies by copytruncate: elastic/beats#40056.

The parts: `survey` compares scans, `siblings` takes what lies beside a path, `searches` looks for what is missing, `examine` says
who a file is and `findings` what follows, `reading` moves bytes. They share a `Situation`.
"""

from __future__ import annotations

from errno import EFBIG, EILSEQ
from typing import TYPE_CHECKING, Any

from shipper.source.arrivals import Arrivals
from shipper.source.events import (
    Command,
    Consumed,
    Drain,
    Drained,
    Event,
    Got,
    Listed,
    Note,
    Noticed,
    Opened,
    OpenFailed,
    Paused,
    Read,
    ReadFailed,
    Resume,
    Resumed,
    Scan,
    Settled,
    SiblingsListed,
    StreamState,
    WatchFailed,
)  # fmt: skip
from shipper.source.examine import Finding
from shipper.source.findings import Findings
from shipper.source.known import Phase, Stream
from shipper.source.reading import LIMITS, Limits
from shipper.source.searches import Searches
from shipper.source.siblings import Siblings
from shipper.source.situation import Situation
from shipper.source.survey import Survey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shipper.source.file import File

_SCAN_COST_S = 200e-6
"""Time between scans for each file known, so that scanning costs little however many there are."""


class Tail:
    """Follows the files of one source."""

    def __init__(self, config: File.Config, mint: Callable[[], str], limits: Limits = LIMITS) -> None:
        """`mint` returns a new identity: 128 random bits as 22 characters of base64url."""
        self._situation = situation = Situation(config, mint, limits)
        self._table, self._examiner, self._reading = situation.table, situation.examiner, situation.reading
        self._searches = searches = Searches(situation)
        arrivals = Arrivals(situation, searches)
        self._survey = Survey(situation, searches, arrivals)
        self._siblings = Siblings(situation, searches, arrivals)
        self._findings = Findings(situation, searches)
        self._question: Command | None = None
        """The last `Open` or `Read`."""
        self._again = False
        """It is to be asked again: a compressed file is being decompressed up to the offset."""
        self._asked = False
        """An `Open` or `Read` is outstanding."""
        self._examined_last = False
        self._scanning = False
        self._scan_at: float | None = None
        self._scanned_at = 0.0
        self._polling = config.poll
        self._drain_scan = 0
        """The number of the scan that must be done before all is drained."""
        self._drained = False
        self._take: dict[type, Callable[[Any], None]] = {
            Resume: self._resume, Listed: self._listed, SiblingsListed: self._siblings.listed, Opened: self._answered,
            OpenFailed: self._answered, Got: self._answered, ReadFailed: self._answered, Consumed: self._consumed,
            Noticed: self._noticed, WatchFailed: self._watch_failed, Settled: self._settled, Paused: self._paused,
            Resumed: self._resumed, Drain: self._drain,
        }  # fmt: skip

    def handle(self, event: Event, now: float) -> Sequence[Command]:
        """Take what happened, return what to do. `now` is monotonic seconds."""
        self._situation.now = now
        self._take[type(event)](event)
        return self._next()

    def deadline(self) -> float | None:
        """When `expire` is due next."""
        if self._again:
            return self._situation.now
        timer = self._reading.timers.deadline()
        scan = None if self._scanning else self._scan_at
        return min(timer, scan) if timer is not None and scan is not None else scan if timer is None else timer

    def expire(self, now: float) -> Sequence[Command]:
        """Scan, read what lingered, close what was quiet, try again what failed."""
        self._situation.now = now
        if self._again and self._question is not None:
            self._again = False
            self._situation.say(self._question)
        for purpose, known in list(self._reading.timers.due(now)):
            self._reading.fire(purpose, known)
        if self._scan_at is not None and self._scan_at <= now:
            self._scan()
        return self._next()

    def snapshot(self, settled: Mapping[str, int]) -> list[StreamState]:
        """States for a checkpoint; `settled` has the ledger's offset of every stream that moved. O(streams)."""
        return self._table.snapshot(settled)

    def states(self) -> list[StreamState]:
        """States as of the last `Settled` and `snapshot`."""
        return self.snapshot({})

    # --- What happened ---

    def _resume(self, event: Resume) -> None:
        self._situation.fresh = event.streams is None
        for state in event.streams or ():
            stream = Stream.restored(state)
            self._table.enlist(stream)
            self._table.orphan(stream, "vanished")
        self._scan()

    def _listed(self, event: Listed) -> None:
        now, limits = self._situation.now, self._situation.limits
        self._scanning, self._scanned_at = False, now
        self._situation.scans += 1
        self._scan_at = now + (limits.poll_s if self._polling else limits.reconcile_s)
        self._survey.listed(event)

    def _answered(self, event: Opened | OpenFailed | Got | ReadFailed) -> None:
        """An `Open` or `Read` is done: of the examination under way, or of the file that is being read."""
        if isinstance(event, Got) and event.underway:
            self._again = True
            return
        self._asked, self._reading.asked = False, None
        if isinstance(event, Opened):
            self._reading.opened()
        if self._examiner.known is not None:
            outcome = self._examiner.answer(event)
            if isinstance(outcome, Finding):
                self._findings.act(outcome)
            else:
                self._ask_for(outcome)
        elif isinstance(event, ReadFailed) and event.errno in (EFBIG, EILSEQ) and (known := self._reading.current) is not None:
            self._reading.current = None
            self._findings.give_up(known, event.errno, event.left)
        elif isinstance(event, ReadFailed):
            self._reading.read_failed(event, self._situation.now)
        elif isinstance(event, Got) and (known := self._reading.current) is not None:
            if not self._reading.got(event, self._situation.now):
                self._findings.replaced(known, "truncated")
            elif known.outside and not known.deleted:
                self._searches.seek(known)

    def _consumed(self, event: Consumed) -> None:
        self._reading.consumed(event, self._situation.now)

    def _paused(self, _event: Paused) -> None:
        self._reading.paused = True

    def _resumed(self, _event: Resumed) -> None:
        self._reading.paused = False

    def _noticed(self, event: Noticed) -> None:
        self._situation.hurry = self._situation.hurry or event.names
        for path in event.paths:
            known = self._table.paths.get(path)
            if known is not None and known.path == path:
                if known.stream is not None and not known.stream.ended:
                    self._reading.touch(known, self._situation.now)
                else:
                    self._situation.hurry = True

    def _watch_failed(self, event: WatchFailed) -> None:
        if not self._polling:
            self._situation.say(Note("polling", "", {"reason": event.reason}))
        self._polling = self._situation.hurry = True

    def _settled(self, event: Settled) -> None:
        stream = self._table.streams.get(event.stream_id)
        if stream is not None and event.offset > stream.settled:
            stream.settled, stream.state = event.offset, None
            stream.trail.prune(event.offset)

    def _drain(self, _event: Drain) -> None:
        self._reading.draining = True
        self._drain_scan = self._situation.scans + 1
        for known in self._table.files.values():
            stream = known.stream
            if known.phase is Phase.ACTIVE and stream is not None and not stream.ended and stream.next_offset < known.size:
                self._reading.turns.add(known)
        self._scan()

    # --- What to do next ---

    def _scan(self) -> None:
        if not self._scanning:
            self._scanning = True
            self._situation.say(Scan())

    def _next(self) -> Sequence[Command]:
        """Ask for one more thing, if none is outstanding; return all commands."""
        situation = self._situation
        if self._reading.deleted and self._examiner.known is None:
            self._findings.free_the_disk()
        if not self._asked and not self._searches.listings:
            self._ask()
        if situation.hurry and self._scan_at is not None:
            gap = max(situation.limits.scan_gap_s, _SCAN_COST_S * len(self._table.listed))
            self._scan_at = min(self._scan_at, max(situation.now, self._scanned_at + gap))
            situation.hurry = False
        out, situation.out[:] = situation.out[:], []
        return out

    def _ask(self) -> None:
        """Examine or read, in turn; while a stream is sought, examinations come first."""
        examiner, reading, orphans = self._examiner, self._reading, self._table.orphans
        situation = self._situation
        if orphans and not examiner and situation.whole and not situation.later and not situation.torn:
            self._searches.give_up()
            if self._searches.listings:
                return
        question: Command | None = None
        if not self._examined_last or orphans:
            question = examiner.start(reading.current)
        self._examined_last = question is not None
        if question is None and not (orphans and examiner):
            question = reading.start()
        if question is None:
            question = examiner.start(reading.current)
        if question is not None:
            self._ask_for(question)
        elif self._is_drained():
            self._drained = True
            self._situation.say(Drained())

    def _ask_for(self, question: Command) -> None:
        self._asked, self._question = True, question
        self._reading.asked = question.handle if isinstance(question, Read) else None
        self._situation.say(question)

    def _is_drained(self) -> bool:
        if self._drained or not self._reading.draining or self._scanning or self._situation.scans < self._drain_scan:
            return False
        if self._examiner or self._reading.turns or self._reading.current or self._situation.later or self._situation.torn:
            return False
        return self._searches.is_done()
