"""Ledger: what was read, and what became of it. The offset moves only behind the verdicts.

RULES
- Every record read is begun once and settled once: created, duplicate, dropped with a reason, or dead. `unaccounted` is what
  was read, less what is settled, less what is in flight; it is 0 at every moment, or there is a bug.
- A stream's committed offset is the end of its contiguous settled prefix: for all spans a before b, settling b does not move
  the committed offset past a.
- Bytes that could not be read any more are lost, with a cause; they were never begun.
- The unfinished end of a file whose record goes on in the next one is held: its stream stays where it is until the record,
  begun with the next file or a later one, has its verdict. Then all of them move, in one checkpoint.

THEORY
Spans of a stream are begun in order, so an entry a batch in a deque is enough: settling counts its rows down, and finished
entries leave from the left. In flight are few batches, each some hundred bytes here, whatever their size.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

import msgspec

from shipper.model import verdicts
from shipper.model.batch import merge_counts

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping


LOST_FILES_MAX = 1000
INDICES_MAX = 2000
OLDER = "(older)"


class _Entry(msgspec.Struct):
    stream_id: str
    stop: int
    pending: int
    last_seconds: int
    held: bool = False
    """The unfinished end of a stream: not a record yet, and not to be passed."""
    frees: tuple[tuple[int, int], ...] = ()
    """(ticket of a held end, the offset behind it) of each: let go with this batch."""


class Committed(msgspec.Struct, frozen=True):
    """How far a stream is settled."""

    offset: int
    last_seconds: int
    """Event time of the last record before `offset`; dates records without time that follow."""


class Account(msgspec.Struct):
    """Totals since the start of the run. Records, unless a name says bytes."""

    read: int = 0
    read_bytes: int = 0
    created: int = 0
    duplicate: int = 0
    dropped: Counter[str] = msgspec.field(default_factory=Counter)
    dead: Counter[str] = msgspec.field(default_factory=Counter)
    lost_bytes: Counter[str] = msgspec.field(default_factory=Counter)
    """By cause."""
    lost_files: Counter[str] = msgspec.field(default_factory=Counter)
    """The same bytes by file; at most `LOST_FILES_MAX` files, the others together under an empty name."""
    skipped_bytes: Counter[str] = msgspec.field(default_factory=Counter)
    """Source bytes that are no record: `blank`, `nul`, and the `cut` part of overlong lines."""
    generated: int = 0
    """Documents we made ourselves (throttle summaries) that the output took."""
    indices: Counter[str] = msgspec.field(default_factory=Counter)
    """Documents taken, by index; of more than `INDICES_MAX` those that came first together under `OLDER`."""
    masked: Counter[str] = msgspec.field(default_factory=Counter)
    """Redaction hits by rule."""
    flagged: Counter[str] = msgspec.field(default_factory=Counter)

    @property
    def settled(self) -> int:
        """Records that have their verdict."""
        return self.created + self.duplicate + self.dropped.total() + self.dead.total()


class Ledger:
    """Tickets for batches, committed offsets for streams."""

    def __init__(self) -> None:
        """Start with nothing read."""
        self.account = Account()
        self._entries: dict[int, _Entry] = {}
        self._order: dict[str, deque[int]] = {}
        self._committed: dict[str, Committed] = {}
        self._next = 1
        self._freed: list[str] = []

    def open(self, stream_id: str, offset: int, last_seconds: int) -> None:
        """Take up a stream at `offset`, as the checkpoint or its minting says."""
        self._committed[stream_id] = Committed(offset, last_seconds)
        self._order.setdefault(stream_id, deque())

    def lose(self, path: str, size_bytes: int, cause: str) -> None:
        """Count bytes that nobody can give any more."""
        files = self.account.lost_files
        self.account.lost_bytes[cause] += size_bytes
        files[path if path in files or len(files) < LOST_FILES_MAX else ""] += size_bytes

    def taken(self, indices: Mapping[str, int]) -> None:
        """Count documents taken, by index."""
        counts = self.account.indices
        merge_counts(counts, indices)
        while len(counts) > INDICES_MAX:
            oldest = next(name for name in counts if name != OLDER)
            counts[OLDER] += counts.pop(oldest)

    def keep(self, known: Container[str]) -> None:
        """Drop streams that are not known any more, unless they have something in flight."""
        for stream_id in [one for one in self._committed if one not in known and not self._order.get(one)]:
            del self._committed[stream_id]
            self._order.pop(stream_id, None)

    def begin(self, stream_id: str, stop: int, rows: int, size_bytes: int) -> int:
        """Begin a batch that ends at source byte `stop`; return its ticket. A batch without rows is settled at once."""
        ticket, self._next = self._next, self._next + 1
        self._entries[ticket] = _Entry(stream_id, stop, rows, self.last_seconds(stream_id))
        self._order[stream_id].append(ticket)
        self.account.read += rows
        self.account.read_bytes += size_bytes
        if not rows:
            self._advance(stream_id)
        return ticket

    def hold(self, stream_id: str) -> int:
        """Stop the offset of a stream at what was begun, whatever is settled behind it. Returns the ticket to let it go by."""
        ticket, self._next = self._next, self._next + 1
        self._entries[ticket] = _Entry(stream_id, self.begun(stream_id), 0, self.last_seconds(stream_id), held=True)
        self._order[stream_id].append(ticket)
        return ticket

    def let_go(self, held: int, stop: int | None = None) -> None:
        """End a hold; all up to `stop` is settled then, None: only what was begun before."""
        entry = self._entries[held]
        entry.held = False
        entry.stop = entry.stop if stop is None else stop
        if self._advance(entry.stream_id):
            self._freed.append(entry.stream_id)

    def tie(self, ticket: int, held: int, stop: int) -> None:
        """Let a held end go, up to `stop`, when this batch is settled; at once where it is, as it had no rows."""
        self.account.read_bytes += stop - self._entries[held].stop
        if ticket in self._entries:
            self._entries[ticket].frees += ((held, stop),)
        else:
            self.let_go(held, stop)

    def freed(self) -> list[str]:
        """Streams that moved as a hold on them ended, since the last call."""
        freed, self._freed = self._freed, []
        return freed

    def date(self, ticket: int, last_seconds: int) -> None:
        """Note the event time of a batch's last record."""
        self._entries[ticket].last_seconds = last_seconds

    def settle(self, ticket: int, verdict: int, rows: int, reason: str = "") -> str | None:
        """Settle `rows` records of a batch alike. Returns the stream whose committed offset moved, if one did.

        Settling a record twice is a bug: AssertionError, and nothing is counted.
        """
        entry = self._entries.get(ticket)
        assert entry is not None, "a batch was settled twice"
        assert 0 <= rows <= entry.pending, "a record was settled twice"
        entry.pending -= rows
        self._count(verdict, rows, reason)
        return self._advance(entry.stream_id) if not entry.pending else None

    def _count(self, verdict: int, rows: int, reason: str) -> None:
        account = self.account
        if verdict == verdicts.CREATED:
            account.created += rows
        elif verdict == verdicts.DUPLICATE:
            account.duplicate += rows
        elif verdict == verdicts.DROPPED:
            account.dropped[reason] += rows
        else:
            assert verdict == verdicts.DEAD
            account.dead[reason] += rows

    def _advance(self, stream_id: str) -> str | None:
        order = self._order[stream_id]
        moved = None
        while order and not (self._entries[order[0]].pending or self._entries[order[0]].held):
            entry = self._entries.pop(order.popleft())
            self._committed[stream_id] = Committed(entry.stop, entry.last_seconds)
            moved = stream_id
            for held, stop in entry.frees:
                self.let_go(held, stop)
        return moved

    def pending(self, ticket: int) -> int:
        """Records of a batch that have no verdict yet."""
        return self._entries[ticket].pending

    def begun(self, stream_id: str) -> int:
        """Source offset up to which records of a stream were begun."""
        order = self._order.get(stream_id)
        return self._entries[order[-1]].stop if order else self._committed[stream_id].offset

    def busy(self, stream_id: str) -> bool:
        """Whether a stream has batches in flight."""
        return bool(self._order.get(stream_id))

    def number(self) -> int:
        """A ticket number for what is not a batch: documents we make ourselves."""
        self._next += 1
        return self._next - 1

    def last_settled(self, stream_ids: Iterable[str]) -> dict[str, int]:
        """Event time of the last settled record of these streams, for the checkpoint."""
        return {stream_id: self._committed[stream_id].last_seconds for stream_id in stream_ids if stream_id in self._committed}

    def committed(self, stream_id: str) -> Committed:
        """How far a stream is settled."""
        return self._committed[stream_id]

    def offsets(self) -> dict[str, int]:
        """Committed offset of every stream."""
        return {stream_id: at.offset for stream_id, at in self._committed.items()}

    def last_seconds(self, stream_id: str) -> int:
        """Event time of the last record begun in a stream."""
        order = self._order.get(stream_id)
        return self._entries[order[-1]].last_seconds if order else self._committed[stream_id].last_seconds

    @property
    def holds(self) -> bool:
        """Whether the unfinished end of a stream is held."""
        return any(entry.held for entry in self._entries.values())

    @property
    def in_flight(self) -> int:
        """Records begun and not settled."""
        return sum(entry.pending for entry in self._entries.values())

    @property
    def unaccounted(self) -> int:
        """What was read, less what is settled, less what is in flight: 0."""
        return self.account.read - self.account.settled - self.in_flight
