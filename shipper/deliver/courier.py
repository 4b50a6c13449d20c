"""Courier: carries payloads to the output and brings back one verdict for every row. A machine: no I/O, no clock, no dice.

RULES
- Documents go out in the order they were queued; a payload waits until the checkpoint it names is durable, and everything
  behind it waits too. Order is promised for first attempts.
- Every row is settled exactly once, and never before its verdict is certain: an unknown outcome (no answer, half an answer,
  an answer with another number of items) means that all its documents are sent again; ids are ours, so a resend is a 409.
- Nothing is given up because the destination is unwell: attempts have no end, only growing waits. Dead are documents that
  would be refused for ever, and they are settled only after their letters are on disk.
- Bounds: bodies held <= `in_flight_bytes_max` plus what is queued in spite of `is_full`; bodies in posts likewise, but one
  single post always may go; posts <= `posts_max`. Overflow: `is_full`, and the agent stops reading. Nothing is dropped.

THEORY
- Batching is natural: a post takes whatever is queued when a slot is free, up to `post_bytes_max`. An idle output gets small
  posts at once, a busy one large ones: beside a post in flight another goes when it is full, or has gathered for `gather_s`
  (as Nagle's algorithm has it, RFC 896). How many, and when after failures, is `pace.py`.
- Documents whose own index is blocked wait by themselves; the others go on.
- 413 and a 400 for a whole request are bisected: halves travel alone until the culprit is alone. A single document is dead
  by 400 only if the destination has understood some request before: else the fault may be ours, and alarms instead.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

import msgspec

from shipper.deliver import reply, verdict
from shipper.deliver.burials import Burials
from shipper.deliver.pace import Pace
from shipper.deliver.parcel import Held, Parcel, Piece
from shipper.deliver.reply import Judged
from shipper.deliver.traffic import (
    Accepted,
    BurialFailed,
    Buried,
    Command,
    CourierSettings,
    Durable,
    Event,
    Failed,
    Note,
    Post,
    Queued,
    Replied,
    Settle,
    Stopping,
)
from shipper.deliver.verdict import Answer, Outcome
from shipper.model import verdicts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shipper.model.payload import Payload

_POST_BYTES_MIN = 64 * 1024  # below this a lower limit learned from 413s would only cost round trips
_PAYLOAD_BYTES = 1024  # what a payload weighs beside its body, so that very small ones are bounded too
_SETTLED_AS = {Outcome.CREATED: verdicts.CREATED, Outcome.DUPLICATE: verdicts.DUPLICATE}


class _Flight(msgspec.Struct):
    """A post on its way."""

    parcel: Parcel
    size: int
    epoch: int


class _Sorted(msgspec.Struct):
    """What an answer makes of a parcel."""

    settled: list[tuple[Piece, int]] = []
    dead: list[tuple[Piece, Sequence[Judged]]] = []
    again: list[Piece] = []


class Courier:
    """See the module. One courier serves one output."""

    def __init__(self, settings: CourierSettings, random: Callable[[], float]) -> None:
        """`random` returns floats in [0, 1), for jitter."""
        self._settings = settings
        self._pace = Pace(settings, random)
        self._generation = 0
        self._fresh: deque[Piece] = deque()
        self._again: list[tuple[float, int, int, Parcel]] = []
        self._flights: dict[int, _Flight] = {}
        self._burials = Burials()
        self._ids = count(1)
        self._held_bytes = 0
        self._fresh_bytes = 0
        self._gathers_until: float | None = None
        self._flying_bytes = 0
        self._post_bytes_max = settings.post_bytes_max
        self._is_cramped = False
        self._is_understood = False
        self._is_stopping = False

    @property
    def queued_bytes(self) -> int:
        """Bodies held: queued, in flight, waiting, or being buried."""
        return self._held_bytes

    @property
    def in_flight_bytes(self) -> int:
        """Bodies in posts that were not answered yet."""
        return self._flying_bytes

    @property
    def in_flight_posts(self) -> int:
        """Posts that were not answered yet."""
        return len(self._flights)

    @property
    def is_full(self) -> bool:
        """Whether the agent should stop reading."""
        return self._held_bytes >= self._settings.in_flight_bytes_max

    @property
    def is_failing(self) -> bool:
        """Whether the destination refused, or did not answer, the last time."""
        return self._pace.failures > 0

    @property
    def idle(self) -> bool:
        """Nothing queued or in flight; once stopping, nothing in flight."""
        busy = bool(self._flights or self._burials)
        return not busy and (self._is_stopping or not (self._fresh or self._again))

    def handle(self, event: Event, now: float) -> Sequence[Command]:
        """Take an event, return what is to be done, in order."""
        commands: list[Command] = []
        match event:
            case Queued(payload):
                self._queue(payload)
            case Durable(generation):
                self._generation = max(self._generation, generation)
            case Replied():
                commands += self._replied(event, now)
            case Accepted(post_id):
                flight = self._land(post_id)
                commands += [*self._recover(flight), *self._settle_all(flight.parcel)]
            case Failed(post_id, kind):
                commands += self._fail(self._land(post_id), now, Note("retry", {"error": kind}))
            case Buried(burial_id):
                commands += [self._settle(piece, verdicts.DEAD, reason) for piece, reason in self._burials.end(burial_id)]
            case BurialFailed(burial_id, kind):
                wait_s = self._pace.wait_s(self._burials.attempts(burial_id))
                letters = self._burials.postpone(burial_id, now + wait_s)
                commands.append(Note("burial_failed", {"error": kind, "letters": letters, "wait_s": round(wait_s, 3)}))
            case Stopping():
                self._is_stopping = True
        self._send(now, commands)
        return commands

    def deadline(self) -> float | None:
        """When `expire` has something to do next; None while only an event can change anything."""
        burial_at = self._burials.deadline()
        due = [] if burial_at is None else [burial_at]
        if not (self._is_stopping or self._is_cramped) and len(self._flights) < self._pace.posts_max:
            if self._next_fresh() is not None:
                due.append(max(self._pace.resume_at, self._gathers_until or 0.0))
            elif self._again:
                due.append(max(self._pace.resume_at, self._again[0][0]))
        return min(due, default=None)

    def expire(self, now: float) -> Sequence[Command]:
        """Send what is due."""
        commands: list[Command] = [*self._burials.expire(now)]
        self._send(now, commands)
        return commands

    def _queue(self, payload: Payload) -> None:
        """Put a payload at the end of the queue."""
        assert payload.count > 0
        self._held_bytes += len(payload.body) + _PAYLOAD_BYTES
        self._fresh_bytes += len(payload.body)
        self._fresh.append(Piece(Held(payload, payload.count), range(payload.count)))

    def _next_fresh(self) -> Piece | None:
        """The head of the queue, if its checkpoint is durable."""
        head = self._fresh[0] if self._fresh else None
        return head if head is not None and head.held.payload.durable <= self._generation else None

    def _send(self, now: float, commands: list[Command]) -> None:
        """Post while there is a slot, room, and something due. What failed before goes first."""
        self._is_cramped = False
        while not self._is_stopping and now >= self._pace.resume_at and len(self._flights) < self._pace.posts_max:
            if self._again and self._again[0][0] <= now:
                if not self._has_room(self._again[0][3].size):
                    return
                parcel = heappop(self._again)[3]
            else:
                pieces = self._load() if self._is_worth_a_post(now) else []
                if not pieces:
                    return
                self._gathers_until = None
                parcel = Parcel(pieces, next(self._ids))
            commands.append(self._post(parcel))

    def _has_room(self, size: int) -> bool:
        """Whether `size` more bytes may fly. One post always may. If not, only an answer can change it."""
        has_room = not self._flights or self._flying_bytes + size <= self._settings.in_flight_bytes_max
        self._is_cramped = not has_room
        return has_room

    def _is_worth_a_post(self, now: float) -> bool:
        """Whether the queue goes now, or gathers for a while beside what is in flight."""
        if not self._flights or self._fresh_bytes >= self._post_bytes_max or not self._fresh:
            self._gathers_until = None
            return True
        if self._gathers_until is None:
            self._gathers_until = now + self._settings.gather_s
        return now >= self._gathers_until

    def _load(self) -> list[Piece]:
        """Take pieces from the queue for one post: whole ones, or as much of the first as goes into a post."""
        pieces: list[Piece] = []
        loaded = 0
        while (head := self._next_fresh()) is not None:
            if loaded + head.size > self._post_bytes_max:
                if pieces:
                    break
                head = self._cut_head(head)
            if not self._has_room(loaded + head.size):
                break
            self._fresh.popleft()
            pieces.append(head)
            loaded += head.size
        self._fresh_bytes -= loaded
        return pieces

    def _cut_head(self, head: Piece) -> Piece:
        """Cut the first piece of the queue to what goes into one post; one document at least. Returns it."""
        fitting = head.count_within(self._post_bytes_max)
        if fitting == len(head.numbers):
            return head
        first, self._fresh[0] = head.divide(fitting)
        self._fresh.appendleft(first)
        return first

    def _post(self, parcel: Parcel) -> Post:
        """Let a parcel fly."""
        post_id, size = next(self._ids), parcel.size
        self._flights[post_id] = _Flight(parcel, size, self._pace.epoch)
        self._flying_bytes += size
        return Post(post_id, parcel.parts(), parcel.documents, size)

    def _land(self, post_id: int) -> _Flight:
        """Take an answered post out of the air. A second answer to one post is a bug (KeyError)."""
        flight = self._flights.pop(post_id)
        self._flying_bytes -= flight.size
        return flight

    def _replied(self, event: Replied, now: float) -> list[Command]:
        """Act on an HTTP answer."""
        flight = self._land(event.post_id)
        parcel = flight.parcel
        answer = verdict.of_request(event.status, event.body)
        if answer is Answer.READ:
            return self._read(flight, event.body, now)
        if answer is Answer.SPLIT and (event.status == 413 or parcel.documents > 1 or self._is_understood):
            return self._split(parcel, event, now)
        fields: dict[str, str | int | float] = {"status": event.status}
        if error_type := verdict.request_error_type(event.body):
            fields["type"] = error_type
        kind = "retry" if answer is Answer.WAIT else "refused"
        return self._fail(flight, now, Note(kind, fields), event.retry_after_s or 0.0)

    def _read(self, flight: _Flight, body: bytes, now: float) -> list[Command]:
        """Believe the items, if there is one a document."""
        parcel = flight.parcel
        documents = parcel.documents
        if reply.all_created(body, documents):
            self._is_understood = True
            return [*self._recover(flight), *self._settle_all(parcel)]
        judged = reply.read(body, documents)
        if judged is None:
            return self._fail(flight, now, Note("unknown_outcome", {"documents": documents, "reply_bytes": len(body)}))
        self._is_understood = True
        return self._apply(flight, judged, now)

    def _apply(self, flight: _Flight, judged: Sequence[Judged], now: float) -> list[Command]:
        """Settle what is decided, bury what is dead, keep what must go again."""
        found = _sort(flight.parcel, judged)
        commands: list[Command] = [self._settle(piece, settled_as) for piece, settled_as in found.settled]
        if found.dead:
            commands += self._burials.begin(next(self._ids), found.dead)
        outcomes = {item.outcome for item in judged}
        if Outcome.WAIT not in outcomes:
            commands += self._recover(flight)
        if found.again:
            parcel = Parcel(found.again, flight.parcel.order, flight.parcel.attempts)
            note = _rejected(judged)
            if len(outcomes) == 1 and Outcome.WAIT in outcomes:
                return [*commands, *self._fail(_Flight(parcel, 0, flight.epoch), now, note)]
            if Outcome.WAIT in outcomes:
                self._pace.strain()
            self._put_back(parcel, now + self._pace.wait_s(parcel.attempts))
            parcel.attempts += 1
            commands.append(note)
        return commands

    def _put_back(self, parcel: Parcel, due_at: float) -> None:
        """Let a parcel wait for its next attempt."""
        heappush(self._again, (due_at, parcel.order, next(self._ids), parcel))

    def _fail(self, flight: _Flight, now: float, note: Note, retry_after_s: float = 0.0) -> list[Command]:
        """The whole request failed: all its documents again, after a pause of everything."""
        wait_s = self._pace.fail(flight.epoch, now, retry_after_s)
        flight.parcel.attempts += 1
        self._put_back(flight.parcel, now)
        fields: dict[str, str | int | float] = {"attempt": flight.parcel.attempts, "wait_s": round(wait_s, 3)}
        return [Note(note.kind, {**note.fields, **fields})]

    def _recover(self, flight: _Flight) -> list[Command]:
        """A clean answer."""
        failures = self._pace.recover(flight.epoch)
        return [Note("recovered", {"failures": failures})] if failures else []

    def _split(self, parcel: Parcel, event: Replied, now: float) -> list[Command]:
        """Halve a refused request; a single document is dead."""
        error_type = verdict.request_error_type(event.body) or ("content_too_large" if event.status == 413 else "")
        if parcel.documents == 1:
            judged = [Judged(Outcome.DEAD, event.status, error_type)]
            return [*self._burials.begin(next(self._ids), [(parcel.pieces[0], judged)])]
        if event.status == 413:
            learned = max(_POST_BYTES_MIN, parcel.size // 2)
            self._post_bytes_max = min(self._post_bytes_max, learned)
        for half in parcel.halves():
            self._put_back(half, now)
        return [Note("split", {"status": event.status, "type": error_type, "documents": parcel.documents, "bytes": parcel.size})]

    def _settle_all(self, parcel: Parcel) -> list[Command]:
        """Every document was created."""
        return [self._settle(piece, verdicts.CREATED) for piece in parcel.pieces]

    def _settle(self, piece: Piece, settled_as: int, reason: str = "") -> Settle:
        """Give a piece its verdict; the payload is let go with its last document."""
        held = piece.held
        held.undecided -= len(piece.numbers)
        assert held.undecided >= 0
        if held.undecided == 0:
            self._held_bytes -= len(held.payload.body) + _PAYLOAD_BYTES
        return piece.settle(settled_as, reason, stored=settled_as != verdicts.DEAD)


def _sort(parcel: Parcel, judged: Sequence[Judged]) -> _Sorted:
    """Divide a parcel by the outcomes of its documents, order kept."""
    found = _Sorted()
    first = 0
    for piece in parcel.pieces:
        part = judged[first : first + len(piece.numbers)]
        first += len(part)
        groups: defaultdict[Outcome, list[int]] = defaultdict(list)
        for number, item in zip(piece.numbers, part, strict=True):
            groups[item.outcome].append(number)
        for outcome, settled_as in _SETTLED_AS.items():
            if outcome in groups:
                found.settled.append((Piece(piece.held, groups[outcome]), settled_as))
        if Outcome.DEAD in groups:
            refused = [item for item in part if item.outcome is Outcome.DEAD]
            found.dead.append((Piece(piece.held, groups[Outcome.DEAD]), refused))
        if waiting := sorted(groups[Outcome.WAIT] + groups[Outcome.BLOCKED]):
            found.again.append(Piece(piece.held, waiting))
    return found


def _rejected(judged: Sequence[Judged]) -> Note:
    """Say how many documents were refused for now, and what for mostly."""
    waiting = [item for item in judged if item.outcome in (Outcome.WAIT, Outcome.BLOCKED)]
    (status, error_type), _ = Counter((item.status, item.error_type) for item in waiting).most_common(1)[0]
    return Note("rejected", {"documents": len(waiting), "status": status, "type": error_type})
