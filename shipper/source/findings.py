"""Findings: what follows from an examination. A stream goes on, is minted, is found again, or has lost its file."""

from __future__ import annotations

from errno import EMFILE, ENFILE, ENOENT, ESTALE
from typing import TYPE_CHECKING

from shipper.source.events import Began, Note
from shipper.source.examine import Finding, Verdict
from shipper.source.identity import Fingerprint
from shipper.source.known import Known, Phase, Stream
from shipper.source.names import is_rotated, split

if TYPE_CHECKING:
    from collections.abc import Callable

    from shipper.source.searches import Searches
    from shipper.source.situation import Situation


class Findings:
    """Acts on findings."""

    __slots__ = ("_acts", "_searches", "_situation")

    def __init__(self, situation: Situation, searches: Searches) -> None:
        """Take what is shared."""
        self._situation, self._searches = situation, searches
        self._acts: dict[Verdict, Callable[[Finding], None]] = {
            Verdict.SAME: self._same,
            Verdict.REPLACED: lambda finding: self.replaced(finding.known, "replaced"),
            Verdict.RESUMED: self._found_again,
            Verdict.COPY: self._copy,
            Verdict.COVERED: self._covered,
            Verdict.NEW: self._new,
            Verdict.EMPTY: self._empty,
            Verdict.LATER: self._later,
            Verdict.FAILED: self._failed,
        }

    def act(self, finding: Finding) -> None:
        """Do what follows."""
        self._acts[finding.verdict](finding)

    def replaced(self, known: Known, cause: str) -> None:
        """A file does not show its stream's bytes any more: look for a copy that does, and examine the file as a new one."""
        situation, stream = self._situation, known.stream
        situation.say(Note(cause, known.path, {"bytes": known.size}))
        if stream is not None and stream.ended:
            known.stream = None
        elif stream is not None:
            self._searches.lose(known, cause)
            self._searches.list(known.home, None, stream.mtime_s)
        known.phase, known.begin, known.copied = Phase.NEW, 0, None
        known.rotated = known.final = False
        situation.reading.timers.disarm("grace", known)
        situation.examiner.add(known)

    def _same(self, finding: Finding) -> None:
        known, stream, reading = finding.known, finding.known.stream, self._situation.reading
        assert stream is not None
        known.backoff_s = 0.0
        stream.size, stream.mtime_s, stream.state = max(stream.size, known.size), known.mtime_s, None
        if stream.ended and stream.position < known.size:
            stream.ended = False
            self._situation.say(Began(stream.snapshot(stream.settled), minted=False))
        if stream.ended:
            reading.close(known)
        else:
            reading.turns.add(known)

    def _found_again(self, finding: Finding) -> None:
        """A stream without a file is found in this one: under another name, as a copy, or after a restart."""
        known, stream, situation = finding.known, finding.stream, self._situation
        assert stream is not None
        last_path, since_s = stream.path, stream.mtime_s
        moved = self._searches.adopt(stream) == "vanished"
        known.copied, known.home = None, stream.home
        stream.print = Fingerprint(finding.head)
        situation.table.bind(known, stream)
        stream.size, stream.mtime_s = known.size, known.mtime_s
        situation.say(Note("resumed" if moved else "copy", known.path, {"offset": stream.next_offset}))
        if stream.ended and stream.position >= known.size:
            situation.set_aside(known)
            return
        stream.ended = False
        if not stream.begun:
            stream.begun = True
            situation.say(Began(stream.snapshot(stream.settled), minted=False))
        if last_path != known.path:
            known.rotated |= known.outside or not moved or is_rotated(split(last_path)[1], split(known.path)[1])
            known.final = not moved
            self._go_before(known, since_s if moved else None)
        situation.reading.turns.add(known)

    def _go_before(self, known: Known, since_s: float | None) -> None:
        """It is read before the file that lies at its live path now, and before what came between."""
        live = self._situation.table.paths.get(known.home)
        if since_s is not None and known.path != known.home:
            self._searches.list(known.home, known, since_s)
        if live is not None and live.stream is None:
            self._searches.follow(known, live)

    def _copy(self, finding: Finding) -> None:
        """Hold it until its original is truncated."""
        known, other = finding.known, finding.other
        assert other is not None
        known.phase, known.copied = Phase.HELD, other.stream
        self._situation.say(Note("copy", known.path, {"of": other.path}))
        self._situation.set_aside(known)

    def _covered(self, finding: Finding) -> None:
        """All of the copy was read in its original: give it a stream that has ended, so that a restart knows it."""
        known, situation = finding.known, self._situation
        stream = Stream(situation.mint(), known.path, known.key, known.size, situation.wall_s())
        stream.print, stream.size, stream.mtime_s = Fingerprint(finding.head), known.size, known.mtime_s
        stream.ended = True
        situation.table.bind(known, stream)
        situation.set_aside(known)

    def _new(self, finding: Finding) -> None:
        """Give it an identity."""
        known, situation = finding.known, self._situation
        if not known.mintable:
            situation.drop(known)
            return
        begin = min(known.begin, known.size)
        stream = Stream(situation.mint(), known.path, known.key, begin, situation.wall_s())
        stream.print, stream.first_end = Fingerprint(finding.head), finding.proof
        stream.size, stream.mtime_s, stream.begun = known.size, known.mtime_s, True
        situation.table.bind(known, stream)
        situation.say(Began(stream.snapshot(begin), minted=True))
        situation.reading.turns.add(known)

    def _empty(self, finding: Finding) -> None:
        finding.known.phase = Phase.EMPTY
        self._situation.set_aside(finding.known)

    def _later(self, finding: Finding) -> None:
        """Examine the file it looks like first, and this one again after the next scan."""
        situation, other = self._situation, finding.other
        if other is not None and other.stream is not None:
            situation.examiner.add(other, urgent=True)
        situation.later.add(finding.known)
        situation.hurry = True

    def _failed(self, finding: Finding) -> None:
        """It could not be opened or read: the name is stale, handles are short, or it may not be."""
        known, errno, situation = finding.known, finding.errno, self._situation
        if errno in (ENOENT, ESTALE):
            situation.reading.close(known)
            situation.later.add(known)
            situation.hurry = True
            return
        if errno in (EMFILE, ENFILE):
            closed = situation.reading.shed()
            situation.say(Note("handles", known.path, {"errno": errno, "closed": closed}))
        situation.reading.hold_off(known, errno, situation.now, finding.reason)
