"""Findings: what follows from an examination. A stream goes on, is minted, is found again, or has lost its file."""

from __future__ import annotations

from errno import EFBIG, EILSEQ, EMFILE, ENFILE, ENOENT, ESTALE
from typing import TYPE_CHECKING

from shipper.source.events import Began, Lost, Note
from shipper.source.examine import Finding, Verdict
from shipper.source.identity import Fingerprint
from shipper.source.known import Known, Phase, Stream
from shipper.source.names import family, is_rotated, is_temporary, split, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable

    from shipper.source.searches import Searches
    from shipper.source.situation import Situation


class Findings:
    """Acts on findings."""

    __slots__ = ("_acts", "_reused", "_searches", "_situation")

    def __init__(self, situation: Situation, searches: Searches) -> None:
        """Take what is shared."""
        self._situation, self._searches = situation, searches
        self._reused: set[str] = set()
        """Streams that are sought, whose inode another file was seen to have."""
        self._acts: dict[Verdict, Callable[[Finding], None]] = {
            Verdict.SAME: self._same,
            Verdict.REPLACED: lambda finding: self.replaced(finding.known, "replaced"),
            Verdict.RESUMED: self._found_again,
            Verdict.COPY: self._copy,
            Verdict.ORIGINAL: self._original,
            Verdict.TORN: self._torn,
            Verdict.COVERED: self._covered,
            Verdict.NEW: self._new,
            Verdict.EMPTY: self._empty,
            Verdict.LATER: self._later,
            Verdict.FAILED: self._failed,
        }

    def act(self, finding: Finding) -> None:
        """Do what follows."""
        self._situation.reading.note_deleted(finding.known)
        self._situation.blocked.discard(finding.known)
        if finding.verdict in (Verdict.NEW, Verdict.EMPTY, Verdict.RESUMED):
            self._look_beside(finding)
        self._acts[finding.verdict](finding)

    def _look_beside(self, finding: Finding) -> None:
        """Another file has the inode of a stream that is sought: list once what came after that."""
        table = self._situation.table
        self._reused &= table.orphans.keys()
        for stream in table.orphans_by_key.get(finding.known.key, ()):
            if stream is not finding.stream and stream.id not in self._reused:
                self._reused.add(stream.id)
                self._searches.list(stream.home, None, stream.mtime_s)

    def replaced(self, known: Known, cause: str) -> None:
        """A file does not show its stream's bytes any more: look for a copy that does, and examine the file as a new one."""
        situation, stream = self._situation, known.stream
        situation.say(Note(cause, known.path, {"bytes": known.size}))
        if stream is not None and stream.ended:
            known.stream = None
            self._searches.list(known.home, None, self._searches.since(known.home))
        elif stream is not None:
            self._searches.lose(known, cause)
            self._searches.list(known.home, None, stream.mtime_s)
        known.phase, known.begin, known.copied = Phase.NEW, 0, None
        known.rotated, known.final = known.rotated and known.path != known.home, False
        situation.reading.timers.disarm("grace", known)
        situation.examiner.add(known)

    def _same(self, finding: Finding) -> None:
        known, stream, reading = finding.known, finding.known.stream, self._situation.reading
        assert stream is not None
        known.backoff_s = 0.0
        stream.size, stream.state = max(stream.size, 0 if known.packed else known.size), None
        stream.mtime_s = stream.mtime_s if known.packed else known.mtime_s
        if stream.ended and stream.position < known.size and not stream.given_up:
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
        cause = situation.table.orphans[stream.id][1] if stream.id in situation.table.orphans else ""
        moved = self._take_over(known, stream)
        if moved is None:
            self._later(finding)
            return
        if cause in ("truncated", "replaced") and known.whole and known.size < stream.size and not stream.ended:
            situation.say(Lost(stream.id, stream.size - max(known.size, stream.next_offset), cause, stream.path))
        known.copied, known.home = None, stream.home
        stream.print, stream.first_end = Fingerprint(finding.head), finding.proof or stream.first_end
        situation.table.bind(known, stream)
        if situation.table.listed_at(family(known.path)) is not None:
            situation.table.stray(known, stream)
        if known.packed:
            stream.size = max(known.size if known.whole else stream.size, stream.position)
        else:
            stream.size, stream.mtime_s = known.size, known.mtime_s
        if stream.ended and (stream.position >= known.size or stream.given_up):
            situation.set_aside(known)
            return
        situation.say(Note("resumed" if moved else "copy", known.path, {"offset": stream.next_offset}))
        if stream.ended or not stream.begun:
            stream.begun, stream.ended = True, False
            situation.say(Began(stream.snapshot(stream.settled), minted=False))
        if last_path != known.path:
            known.rotated |= known.outside or not moved or is_rotated(split(last_path)[1], split(known.path)[1])
            known.final = not moved
            self._go_before(known, since_s if moved else None)
        situation.reading.turns.add(known)

    def _take_over(self, known: Known, stream: Stream) -> bool | None:
        """Take a stream from where it was. Returns whether its file moved, or was compressed, and was not copied; None: not now."""
        situation = self._situation
        holder = situation.table.files.get(stream.key)
        if holder is not None and holder.stream is stream:
            if situation.reading.current is holder:
                return None
            holder.stream = None
            situation.drop(holder)
        if stream.id in situation.table.orphans:
            return self._searches.adopt(stream) in ("vanished", "held_too_much") or known.packed
        return True

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
        if known.phase is Phase.HELD and known.copied is other.stream:
            self._situation.set_aside(known)
            return
        known.phase, known.copied = Phase.HELD, other.stream
        if finding.stream is not None:
            finding.stream.twin = known
            followers, known.followers = known.followers, None
            for follower in followers or ():
                follower.after = None
                self._searches.follow(other, follower)
                if follower.after is None and follower.phase is Phase.ACTIVE:
                    self._situation.reading.turns.add(follower)
        self._situation.say(Note("copy", known.path, {"of": other.path}))
        self._situation.set_aside(known)

    def _original(self, finding: Finding) -> None:
        """A scan missed the live file and showed its copy: the stream belongs to the live one, and the copy is held."""
        known, stream, situation = finding.known, finding.stream, self._situation
        assert stream is not None
        copy = situation.table.files[stream.key]
        if situation.reading.current is copy:
            self._later(finding)
            return
        copy.stream, copy.phase, copy.copied = None, Phase.HELD, stream
        situation.set_aside(copy)
        situation.table.strays.pop(known.path, None)
        situation.table.bind(known, stream)
        stream.size, stream.mtime_s = known.size, known.mtime_s
        situation.say(Note("original", known.path, {"copy": copy.path}))
        if stream.ended:
            stream.ended = False
            situation.say(Began(stream.snapshot(stream.settled), minted=False))
        situation.reading.turns.add(known)

    def _torn(self, finding: Finding) -> None:
        """Wait until it is whole; when its plain file is gone and it does not grow for a while, it is taken as it is."""
        known, situation = finding.known, self._situation
        if situation.table.lies_at(unpacked(known.path)):
            situation.torn.pop(known.key, None)
            known.phase = Phase.HELD
            situation.set_aside(known)
            return
        size, since = situation.torn.get(known.key, (-1, 0.0))
        known.phase = Phase.NEW
        situation.reading.close(known)
        if size != known.disk_size:
            situation.torn[known.key] = (known.disk_size, situation.now)
            situation.reading.timers.arm("retry", known, situation.now + situation.limits.grace_s)
        elif since + situation.limits.grace_s <= situation.now:
            situation.torn.pop(known.key)
            known.final = True
            situation.say(Note("torn", known.path, {"bytes": known.disk_size}))
            situation.examiner.add(known)
        elif not situation.reading.timers.armed("retry", known):
            situation.reading.timers.arm("retry", known, since + situation.limits.grace_s)

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
        if not known.mintable and known.key not in situation.table.listed:
            situation.drop(known)
            return
        if is_temporary(known.path) and known.path not in situation.config.include:
            known.phase = Phase.IGNORED
            situation.set_aside(known)
            return
        if known.backoff_s and known.path == known.home:
            self._searches.list(known.home, None, self._searches.since(known.home))
        begin = min(known.begin, known.size)
        situation.torn.pop(known.key, None)
        stream = Stream(situation.mint(), known.path, known.key, begin, situation.wall_s())
        stream.print, stream.first_end = Fingerprint(finding.head), finding.proof
        stream.size = known.size if known.whole else len(finding.head)
        stream.mtime_s, stream.begun = known.mtime_s, True
        situation.table.bind(known, stream)
        situation.table.stray(known, stream)
        situation.say(Began(stream.snapshot(begin), minted=True))
        situation.reading.wait(known)
        stream.ended = known.packed and begin > 0
        situation.reading.turns.add(known)

    def _empty(self, finding: Finding) -> None:
        finding.known.phase = Phase.EMPTY
        self._situation.set_aside(finding.known)

    def _later(self, finding: Finding) -> None:
        """Examine the file it looks like first, and this one again after the next scan."""
        situation, other = self._situation, finding.other
        if finding.known.phase is Phase.HELD:
            situation.reading.release(finding.known)
        if other is not None and other.stream is not None:
            situation.examiner.add(other, urgent=True)
        situation.later.add(finding.known)
        situation.hurry = True

    def _failed(self, finding: Finding) -> None:
        """It could not be opened or read: the name is stale, handles are short, or it may not be."""
        known, errno, situation = finding.known, finding.errno, self._situation
        if errno in (EFBIG, EILSEQ):
            self.give_up(known, errno, 0)
            return
        if errno in (ENOENT, ESTALE):
            situation.reading.close(known)
            known.stale = True
            known.phase = Phase.NEW if known.phase is Phase.HELD else known.phase
            situation.later.add(known)
            situation.hurry = True
            return
        if errno in (EMFILE, ENFILE):
            closed = situation.reading.shed()
            situation.say(Note("handles", known.path, {"errno": errno, "closed": closed}))
        situation.reading.hold_off(known, errno, situation.now, finding.reason)
        situation.blocked.add(known)  # also one with a stream: its inode may have been used again

    def give_up(self, known: Known, errno: int, left: int) -> None:
        """Nothing more can be read of a compressed file: it is a bomb, or cannot be decoded. `left`: bytes of it not decoded."""
        situation, stream = self._situation, known.stream
        cause = "bomb" if errno == EFBIG else "corrupt"
        situation.say(Note(cause, known.path, {"bytes": left or known.disk_size}))
        if stream is None:
            known.phase = Phase.IGNORED
            situation.set_aside(known)
            return
        stream.given_up, stream.state = cause, None
        if not stream.ended:
            situation.say(Lost(stream.id, left or known.disk_size, cause, stream.path))
        situation.reading.finish(known, cause)

    def free_the_disk(self) -> None:
        """Give up deleted files, the one deleted first at first, until they hold no more than `hold` allows."""
        situation = self._situation
        while (known := situation.reading.held_too_much(situation.config.hold)) is not None:
            stream, left = known.stream, 0
            if stream is not None and not stream.ended:
                left = max(0, known.size - stream.next_offset)
            if not left:
                situation.reading.finish(known)
                situation.drop(known)
                continue
            situation.say(Note("held_too_much", known.path, {"bytes": left}))
            assert stream is not None
            stream.size = max(stream.size, known.size)
            self._searches.lose(known, "held_too_much")
            self._searches.list(known.home, None, stream.mtime_s)
            situation.drop(known)
