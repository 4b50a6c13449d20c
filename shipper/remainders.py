"""Remainders: whole lines at the end of what is there that are no finished record yet. Pure: time is an argument.

A frame that `joins` (container parts, stack traces) leaves them unread, as more may follow. What becomes of them:
- More lines come: the frame gets all of them again.
- Nothing comes for `flush_after_s`: they are taken as they are. Such a cut is made by time, so it is in the checkpoint before its
  record is sent, and is made again at the same place when the lines are read again.
- A new file begins at the same path: it gets them in front of its first bytes, so that a record cut in two by the rotation is one
  again; its origin begins before byte 0. The old file's offset waits for its verdict (a hold in the ledger). The source feeds a new
  file only when the old one was read to its end, and who writes to the new file has left the old one.
- The old file is closed before a new one begins: they are carried over to it, or taken as they are after `flush_after_s`.
- The new file is a part of that record from its first byte to its last: both are handed on to the file that comes after it.

RULES
- A line without its end is never carried, nor cut by time: nobody can tell whether it is whole.
- What is kept of unfinished records is at most `KEPT_MAX` bytes together; beyond, the oldest are not joined but taken as they are.
- A resend joins as the first time did: the old files' ends are read again, as they are not settled, and before the new file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from shipper.source import events

if TYPE_CHECKING:
    from shipper.intake import Intake, Taken
    from shipper.model.batch import Stream
    from shipper.progress.ledger import Ledger

KEPT_MAX = 16 << 20
"""Bytes of unfinished records in memory, all streams together."""


class Followed(msgspec.Struct):
    """A stream of a flow."""

    source: int
    """Number of its source."""
    stream: Stream
    intake: Intake
    path: str
    """The live path, which names the file that comes next."""
    flush_after_s: float | None = None
    """Of a frame that joins; None for others."""


class Owner(Protocol):
    """Who runs what was taken."""

    ledger: Ledger

    def process(self, followed: Followed, taken: Taken, *, begin: int) -> int:
        """Begin and process what was taken of a stream, `begin` being where it starts. Returns the ledger's ticket, 0 for nothing."""
        ...

    def read_again(self, followed: Followed) -> None:
        """Have the unread bytes of a stream fed again."""
        ...

    def begin_epoch(self) -> None:
        """What is run from now on depends on a checkpoint that is still to be written."""
        ...


class _Wait(msgspec.Struct):
    """Lines at the end of a file that is open, for more."""

    followed: Followed
    start: int
    data: bytes
    until: float

    @property
    def end(self) -> int:
        """Offset behind them."""
        return self.start + len(self.data)


class _Carry(msgspec.Struct):
    """The unfinished end of a file for the next one at its path, behind what the files before it left for it."""

    followed: Followed
    start: int
    """Where it begins in its file; below 0 where it begins in one before."""
    data: bytes
    held: int
    until: float
    before: tuple[tuple[int, int], ...] = ()
    """(hold, end of file) of the files before its own."""
    adopter: Followed | None = None
    """Who has it in front."""
    more: bytes = b""
    """All of the adopter's file, where that is whole lines and the record goes on behind them."""

    def holds(self) -> tuple[tuple[int, int], ...]:
        """(hold, end of what is carried) of each file, in order."""
        return (*self.before, (self.held, self.start + len(self.data)))


class Remainders:
    """What is unfinished in the streams of one flow."""

    def __init__(self, owner: Owner, cuts: dict[str, int]) -> None:
        """`cuts` are those of the checkpoint: where streams were cut by time."""
        self._owner = owner
        self._cuts = cuts
        self._waiting: dict[str, _Wait] = {}
        self._due: set[str] = set()
        self._carried: dict[str, _Carry] = {}
        """By path: of files that are closed, for one that comes."""
        self._adopted: dict[str, _Carry] = {}
        """By the stream that has it in front."""
        self._handed_on: dict[str, int] = {}
        """Of files that are still open: up to where the next file has them."""

    def cuts(self) -> dict[str, int]:
        """Cuts that are not settled: for the checkpoint."""
        offsets = self._owner.ledger.offsets()
        self._cuts = {stream: at for stream, at in self._cuts.items() if at > offsets.get(stream, -1)}
        return self._cuts

    def deadline(self) -> float | None:
        """When `expire` has something to do."""
        asked: dict[str, _Wait | _Carry] = {**self._waiting, **self._adopted}
        waits = [wait.until for stream_id, wait in asked.items() if stream_id not in self._due]
        return min([*waits, *(carry.until for carry in self._carried.values())], default=None)

    def is_done(self, now: float) -> bool:
        """Whether nothing is unfinished any more, once all files were fed to their end and nothing else comes."""
        carries = [*self._carried.values(), *self._adopted.values()]
        self._carried, self._adopted = {}, {}
        for carry in carries:
            self._take_as_it_is(carry)
        self.expire(now)
        return not carries

    def expire(self, now: float) -> None:
        """Take what waited long enough."""
        for stream_id, wait in list(self._waiting.items()):
            if wait.until <= now and stream_id not in self._due:
                self._due.add(stream_id)
                self._owner.read_again(wait.followed)
        for path, carry in list(self._carried.items()):
            if carry.until <= now:
                self._take_as_it_is(self._carried.pop(path))
        for stream_id, carry in list(self._adopted.items()):
            if carry.until <= now and stream_id not in self._due:
                if carry.more:
                    self._due.add(stream_id)
                else:
                    self._take_as_it_is(self._adopted.pop(stream_id))
                self._owner.read_again(_adopter(carry))

    def forget(self, stream_id: str) -> None:
        """A stream is over."""
        self._due.discard(stream_id)
        self._waiting.pop(stream_id, None)
        self._handed_on.pop(stream_id, None)
        if stream_id in self._adopted:
            self._adopted[stream_id].more = b""

    def feed(self, followed: Followed, feed: events.Feed, now: float) -> events.Consumed:
        """Cut a window of a frame that joins."""
        stream_id, end = feed.stream_id, feed.offset + len(feed.data)
        if (past := self._handed_on.get(stream_id, -1)) > feed.offset:
            return self._behind_handed_on(followed, feed, past, now)
        cut = self._cuts.get(stream_id, -1)
        if feed.offset < cut <= end:
            return self._cut_at(followed, feed, cut, now)
        if stream_id in self._due and not feed.final:
            self._stop_waiting(stream_id)
            usable = followed.intake.whole_lines(feed.data)
            if usable:
                self._cuts[stream_id] = feed.offset + usable
                self._owner.begin_epoch()
                return self._cut_at(followed, feed, feed.offset + usable, now)
        if not feed.offset and (carry := self._adopt(followed, now)) is not None:
            return self._join(followed, carry, feed, now)
        taken = followed.intake.take(feed.data, feed.offset, final=False)
        self._owner.process(followed, taken, begin=feed.offset)
        return self._left(followed, feed, taken, now)

    def _behind_handed_on(self, followed: Followed, feed: events.Feed, past: int, now: float) -> events.Consumed:
        """Pass over what the next file has; what came to the old one since is its own."""
        rest = feed.data[past - feed.offset :]
        if not rest:
            return events.Consumed(feed.stream_id, past if feed.final else feed.offset, unfinished=not feed.final)
        del self._handed_on[feed.stream_id]
        return self.feed(followed, events.Feed(feed.stream_id, rest, past, feed.final), now)

    def _left(self, followed: Followed, feed: events.Feed, taken: Taken, now: float) -> events.Consumed:
        """See to what was left of a window."""
        rest = feed.data[taken.next_offset - feed.offset :] if taken.read_from == taken.next_offset else b""
        whole = followed.intake.whole_lines(rest)
        if feed.final and rest:
            if whole == len(rest):
                self._carry(followed, taken.next_offset, rest, now)
                return events.Consumed(feed.stream_id, feed.offset + len(feed.data))
            remaining = msgspec.structs.replace(feed, data=rest, offset=taken.next_offset)
            return self._whole(followed, remaining)
        before = self._waiting.get(feed.stream_id)
        if not whole:
            self._stop_waiting(feed.stream_id)
        elif before is None or before.end != taken.next_offset + whole:  # every line that comes starts it anew
            self._wait(followed, taken.next_offset, rest[:whole], now)
        return events.Consumed(feed.stream_id, taken.next_offset, taken.read_from, unfinished=whole > 0)

    def _wait(self, followed: Followed, start: int, data: bytes, now: float) -> None:
        assert followed.flush_after_s is not None
        self._stop_waiting(followed.stream.id)
        self._waiting[followed.stream.id] = _Wait(followed, start, data, now + followed.flush_after_s)
        kept = sum(len(wait.data) for wait in self._waiting.values())
        for stream_id, wait in self._waiting.items():
            if kept > KEPT_MAX and stream_id not in self._due:
                kept -= len(wait.data)
                wait.until = now

    def _stop_waiting(self, stream_id: str) -> None:
        self._waiting.pop(stream_id, None)
        self._due.discard(stream_id)

    def _whole(self, followed: Followed, feed: events.Feed) -> events.Consumed:
        """Take all of it, the end as it is."""
        self._cuts[feed.stream_id] = feed.offset + len(feed.data)
        self._owner.begin_epoch()
        taken = followed.intake.take(feed.data, feed.offset, final=True)
        self._owner.process(followed, taken, begin=feed.offset)
        return events.Consumed(feed.stream_id, taken.next_offset, taken.read_from)

    def _cut_at(self, followed: Followed, feed: events.Feed, at: int, now: float) -> events.Consumed:
        """Take what is before `at` as it is, and go on behind it."""
        carry = None if feed.offset else self._adopt(followed, now)
        data, start = feed.data[: at - feed.offset], feed.offset
        if carry is not None:
            taken = followed.intake.take(carry.data + data, -len(carry.data), final=True)
            self._process_joined(followed, carry, taken)
        else:
            taken = followed.intake.take(data, start, final=True)
            self._owner.process(followed, taken, begin=start)
        rest = feed.data[at - feed.offset :]
        if feed.final and rest:  # it will not be read again
            return self.feed(followed, events.Feed(feed.stream_id, rest, at, final=True), now)
        return events.Consumed(feed.stream_id, at)

    def _carry(self, followed: Followed, start: int, rest: bytes, now: float) -> None:
        """Keep the end of a file that is closed for the one that comes."""
        assert followed.flush_after_s is not None
        held = self._owner.ledger.hold(followed.stream.id)
        self._keep(_Carry(followed, start, rest, held, now + followed.flush_after_s))

    def _keep(self, carry: _Carry) -> None:
        """Have it wait for the next file at its path."""
        path = carry.followed.path
        before = self._carried.pop(path, None)
        if before is not None:
            self._take_as_it_is(before)
        self._carried[path] = carry
        self._stop_waiting(carry.followed.stream.id)
        while sum(len(carry.data) for carry in self._carried.values()) > KEPT_MAX:
            self._take_as_it_is(self._carried.pop(next(iter(self._carried))))

    def _adopt(self, followed: Followed, now: float) -> _Carry | None:
        """What the file before left for the one that begins here."""
        stream_id = followed.stream.id
        if (carry := self._adopted.get(stream_id)) is not None:
            return carry
        carry = self._carried.get(followed.path)
        if carry is not None and _follows(followed, carry.followed):
            self._adopted[stream_id] = self._carried.pop(followed.path)
            carry.adopter = followed
            return carry
        assert followed.flush_after_s is not None
        passed = next((key for key, carry in self._adopted.items() if carry.more and _follows(followed, _adopter(carry))), None)
        if passed is not None:
            carry = self._adopted.pop(passed)
            self._handed_on[passed] = len(carry.more)
            self._adopted[stream_id] = self._grown(carry, carry.more, now)
            self._adopted[stream_id].adopter = followed
            return self._adopted[stream_id]
        wait = next((wait for wait in self._waiting.values() if _follows(followed, wait.followed)), None)
        if wait is None:
            return None
        held = self._owner.ledger.hold(wait.followed.stream.id)
        self._stop_waiting(wait.followed.stream.id)
        self._handed_on[wait.followed.stream.id] = wait.end
        until = now + followed.flush_after_s
        self._adopted[stream_id] = _Carry(wait.followed, wait.start, wait.data, held, until, adopter=followed)
        return self._adopted[stream_id]

    def _grown(self, carry: _Carry, data: bytes, now: float) -> _Carry:
        """What was carried with all of its adopter's file behind it, for the next one."""
        followed = _adopter(carry)
        assert followed.flush_after_s is not None
        held, until = self._owner.ledger.hold(followed.stream.id), now + followed.flush_after_s
        return _Carry(followed, -len(carry.data), carry.data + data, held, until, carry.holds())

    def _join(self, followed: Followed, carry: _Carry, feed: events.Feed, now: float) -> events.Consumed:
        """Put what was carried in front of the first bytes of the next file."""
        taken = followed.intake.take(carry.data + feed.data, -len(carry.data), final=False)
        if taken.next_offset > 0:
            self._process_joined(followed, carry, taken)
            return self._left(followed, feed, taken, now)
        is_whole = followed.intake.whole_lines(feed.data) == len(feed.data)
        if not feed.final:
            if is_whole and len(feed.data) > len(carry.more):  # every line that comes starts it anew
                assert followed.flush_after_s is not None
                carry.until = now + followed.flush_after_s
            carry.more = feed.data if is_whole else b""
            return events.Consumed(feed.stream_id, 0, unfinished=True)  # the record is not complete yet
        if is_whole:  # nor will it be in this file
            del self._adopted[feed.stream_id]
            self._keep(self._grown(carry, feed.data, now))
            return events.Consumed(feed.stream_id, len(feed.data))
        self._cuts[feed.stream_id] = len(feed.data)
        self._owner.begin_epoch()
        return self._cut_at(followed, feed, len(feed.data), now)

    def _process_joined(self, followed: Followed, carry: _Carry, taken: Taken) -> None:
        """Process what was taken of a file's beginning and what was carried to it. Its record is the verdict of all its files."""
        del self._adopted[followed.stream.id]
        ticket = self._owner.process(followed, taken, begin=0)
        for held, stop in carry.holds():
            self._owner.ledger.tie(ticket, held, stop)

    def _take_as_it_is(self, carry: _Carry) -> None:
        """Nothing follows: the end of the file is cut there by time."""
        followed, end = carry.followed, carry.start + len(carry.data)
        self._cuts[followed.stream.id] = end
        self._owner.begin_epoch()
        taken = followed.intake.take(carry.data, carry.start, final=True)
        ticket = self._owner.process(followed, taken, begin=max(carry.start, 0))
        for held, stop in carry.before:
            self._owner.ledger.tie(ticket, held, stop)
        self._owner.ledger.let_go(carry.held)


def _adopter(carry: _Carry) -> Followed:
    """Who has it in front."""
    assert carry.adopter is not None
    return carry.adopter


def _follows(followed: Followed, before: Followed) -> bool:
    """Whether a stream may go on with what another one left."""
    return (followed.source, followed.path) == (before.source, before.path) and followed.stream.id != before.stream.id
