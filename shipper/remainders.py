"""Remainders: whole lines at the end of what is there that are no finished record yet. Pure: time is an argument.

A frame that `joins` (container parts, stack traces) leaves them unread, as more may follow. What becomes of them:
- More lines come: the frame gets all of them again.
- Nothing comes for `flush_after_s`: they are taken as they are. Such a cut is made by time, so it is in the checkpoint before its
  record is sent, and is made again at the same place when the lines are read again.
- The file was rotated away: they are carried over. The next file at the same path gets them in front of its first bytes, so that
  a record cut in two by the rotation is one again; its origin begins before byte 0. The old file's offset waits for it (a hold in
  the ledger), and the new file waits until the old one is known to be at its end. Where no file comes for `flush_after_s`, they
  are taken as they are.

RULES
- A line without its end is never carried, nor cut by time: nobody can tell whether it is whole.
- The bytes carried are at most what a frame may leave unfinished, for each path, and `CARRIES_MAX` together.
- A resend joins as the first time did: the old file's end is read again, as it is not settled, and before the next file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from shipper.source import events

if TYPE_CHECKING:
    from shipper.intake import Intake, Taken
    from shipper.model.batch import Stream
    from shipper.progress.ledger import Ledger

CARRIES_MAX = 16 << 20
"""Bytes carried over, all paths together; beyond, the oldest are taken as they are."""


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


class _Carry(msgspec.Struct):
    """The unfinished end of a file that was rotated away."""

    followed: Followed
    start: int
    data: bytes
    held: int
    until: float


class Remainders:
    """What is unfinished in the streams of one flow."""

    def __init__(self, owner: Owner, cuts: dict[str, int]) -> None:
        """`cuts` are those of the checkpoint: where streams were cut by time."""
        self._owner = owner
        self._cuts = cuts
        self._waiting: dict[str, tuple[int, float, Followed]] = {}
        self._due: set[str] = set()
        self._behind: dict[str, Followed] = {}
        """By path: the new file that waits for what the old one leaves."""
        self._carried: dict[str, _Carry] = {}
        self._adopted: dict[str, _Carry] = {}

    def cuts(self) -> dict[str, int]:
        """Cuts that are not settled: for the checkpoint."""
        offsets = self._owner.ledger.offsets()
        self._cuts = {stream: at for stream, at in self._cuts.items() if at > offsets.get(stream, -1)}
        return self._cuts

    @property
    def pending(self) -> bool:
        """Whether an end is carried that no file has taken yet."""
        return bool(self._carried or self._adopted)

    def deadline(self) -> float | None:
        """When `expire` has something to do."""
        waits = [
            until
            for stream, (_, until, followed) in self._waiting.items()
            if stream not in self._due and followed.path not in self._behind
        ]
        carries = [carry.until for carry in (*self._carried.values(), *self._adopted.values())]
        return min([*waits, *carries], default=None)

    def expire(self, now: float, *, all_of_them: bool = False) -> None:
        """Take what waited long enough; or all that is carried, as nothing follows any more."""
        for stream_id, (_, until, followed) in list(self._waiting.items()):
            if until <= now and stream_id not in self._due and followed.path not in self._behind:
                self._due.add(stream_id)
                self._owner.read_again(followed)
        for carries in (self._carried, self._adopted):
            for key, carry in list(carries.items()):
                if carry.until <= now or all_of_them:
                    self._take_as_it_is(carries.pop(key))

    def forget(self, stream_id: str) -> None:
        """A stream is over."""
        self._due.discard(stream_id)
        if (waiting := self._waiting.pop(stream_id, None)) is not None:
            self._let_on(waiting[2])

    def feed(self, followed: Followed, feed: events.Feed, now: float) -> events.Consumed:
        """Cut a window of a frame that joins."""
        stream_id, end = feed.stream_id, feed.offset + len(feed.data)
        cut = self._cuts.get(stream_id, -1)
        if feed.offset < cut <= end:
            return self._cut_at(followed, feed, cut, now)
        if stream_id in self._due and not feed.final:
            self.forget(stream_id)
            usable = followed.intake.whole_lines(feed.data)
            if usable:
                self._cuts[stream_id] = feed.offset + usable
                self._owner.begin_epoch()
                return self._cut_at(followed, feed, feed.offset + usable, now)
        if not feed.offset and (carry := self._adopt(followed)) is not None:
            return self._join(followed, carry, feed, now)
        if not feed.offset and self._must_wait(followed):
            self._behind[followed.path] = followed
            return events.Consumed(stream_id, 0)
        taken = followed.intake.take(feed.data, feed.offset, final=False)
        self._owner.process(followed, taken, begin=feed.offset)
        return self._left(followed, feed, taken, now)

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
        if not whole:
            self.forget(feed.stream_id)
        elif self._waiting.get(feed.stream_id, (-1,))[0] != taken.next_offset + whole:  # every line that comes starts it anew
            assert followed.flush_after_s is not None
            self._waiting[feed.stream_id] = (taken.next_offset + whole, now + followed.flush_after_s, followed)
        return events.Consumed(feed.stream_id, taken.next_offset, taken.read_from)

    def _whole(self, followed: Followed, feed: events.Feed) -> events.Consumed:
        """Take all of it, the end as it is."""
        self._cuts[feed.stream_id] = feed.offset + len(feed.data)
        self._owner.begin_epoch()
        taken = followed.intake.take(feed.data, feed.offset, final=True)
        self._owner.process(followed, taken, begin=feed.offset)
        return events.Consumed(feed.stream_id, taken.next_offset, taken.read_from)

    def _cut_at(self, followed: Followed, feed: events.Feed, at: int, now: float) -> events.Consumed:
        """Take what is before `at` as it is, and go on behind it."""
        taken = followed.intake.take(feed.data[: at - feed.offset], feed.offset, final=True)
        self._owner.process(followed, taken, begin=feed.offset)
        rest = feed.data[at - feed.offset :]
        if feed.final and rest:  # it will not be read again
            return self.feed(followed, events.Feed(feed.stream_id, rest, at, final=True), now)
        return events.Consumed(feed.stream_id, at)

    def _carry(self, followed: Followed, start: int, rest: bytes, now: float) -> None:
        assert followed.flush_after_s is not None
        before = self._carried.pop(followed.path, None)
        if before is not None:
            self._take_as_it_is(before)
        held = self._owner.ledger.hold(followed.stream.id)
        self._carried[followed.path] = _Carry(followed, start, rest, held, now + followed.flush_after_s)
        self.forget(followed.stream.id)
        while sum(len(carry.data) for carry in self._carried.values()) > CARRIES_MAX:
            self._take_as_it_is(self._carried.pop(next(iter(self._carried))))

    def _must_wait(self, followed: Followed) -> bool:
        """Whether the file before it may still be written to, and has an unfinished end."""
        others = (other for _, _, other in self._waiting.values() if other is not followed)
        return any((other.source, other.path) == (followed.source, followed.path) for other in others)

    def _let_on(self, followed: Followed) -> None:
        """Have the next file at a path read, if it waits."""
        if (behind := self._behind.pop(followed.path, None)) is not None:
            self._owner.read_again(behind)

    def _adopt(self, followed: Followed) -> _Carry | None:
        """What the file before left for the one that begins here."""
        carry = self._adopted.get(followed.stream.id)
        if carry is None and (carry := self._carried.get(followed.path)) is not None:
            if carry.followed.source != followed.source or carry.followed.stream.id == followed.stream.id:
                return None
            self._adopted[followed.stream.id] = self._carried.pop(followed.path)
        return carry

    def _join(self, followed: Followed, carry: _Carry, feed: events.Feed, now: float) -> events.Consumed:
        """Put what was carried in front of the first bytes of the next file."""
        size = len(carry.data)
        taken = followed.intake.take(carry.data + feed.data, -size, final=False)
        if taken.next_offset <= 0 and not feed.final:
            return events.Consumed(feed.stream_id, 0)  # the record is not complete yet
        del self._adopted[feed.stream_id]
        if taken.next_offset <= 0:  # nor will it be in this file: each has its own
            self._take_as_it_is(carry)
            return self.feed(followed, feed, now)
        ticket = self._owner.process(followed, taken, begin=0)
        self._owner.ledger.tie(ticket, carry.held, carry.start + size)
        return self._left(followed, feed, taken, now)

    def _take_as_it_is(self, carry: _Carry) -> None:
        """Nothing follows: the end of the file is cut there by time."""
        followed, end = carry.followed, carry.start + len(carry.data)
        self._cuts[followed.stream.id] = end
        self._owner.begin_epoch()
        taken = followed.intake.take(carry.data, carry.start, final=True)
        self._owner.process(followed, taken, begin=carry.start)
        self._owner.ledger.let_go(carry.held)
