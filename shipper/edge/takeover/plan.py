"""Plan: what becomes of each position of another agent. Reads files, writes nothing.

RULES
- An offset beyond the file's size is refused: the file was truncated since, and what it holds now was read by nobody.
- An offset inside a line goes back to the line's start: a line may come twice, but none is torn.
- Of several positions in one file the one furthest back counts.
- A file that has progress of ours already is left as it is, unless forced; then its stream is replaced.
- Every position has an outcome with a reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from shipper.edge.takeover.disk import Disk, Found, Measured, UnreadableError, is_left_alone
from shipper.source.events import StreamState
from shipper.source.identity import NOTHING, Fingerprint, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from shipper.edge.takeover.position import Position

Status = Literal["imported", "kept", "refused", "gone", "outside", "ignored"]


class Outcome(msgspec.Struct, kw_only=True):
    """What became of one position."""

    status: Status
    """`kept`: there was progress of ours. `refused`: it does not fit the file. `gone`: no file was found. `outside`: no source of the
    pipeline includes it. `ignored`: it is no position, or of another one's file."""
    path: str
    """As the agent knew it; where it did not, the file's path, or where in its state it stands."""
    reason: str = ""
    where: str = ""
    """Where in the state of the agent it stands."""
    file: str = ""
    """The file today."""
    stated: int = 0
    """The agent's offset, in bytes."""
    offset: int = 0
    """Where the next run begins, in bytes."""
    size: int = 0
    identity: str = ""


class Made(msgspec.Struct):
    """A stream to be written."""

    source: int
    state: StreamState
    replaces: str = ""
    """The identity of the stream that it takes the place of."""


class Planner:
    """Makes outcomes of positions, and the streams to write."""

    def __init__(self, disk: Disk, known: Iterable[StreamState], mint: Callable[[], str], record_bytes_max: int) -> None:
        """`known` are our streams with their paths unquoted; `mint` returns a new identity."""
        self._disk, self._mint, self._record_bytes_max = disk, mint, record_bytes_max
        self._known: dict[tuple[int, int], list[StreamState]] = {}
        for state in known:
            self._known.setdefault((state.dev, state.ino), []).append(state)
        self.made: list[Made] = []

    def plan(self, positions: Sequence[Position], now: float, *, force: bool = False) -> list[Outcome]:
        """The outcome of each position, in their order. `now` is Unix seconds."""
        found = [self._find(position) for position in positions]
        least: dict[tuple[int, int], int] = {}
        for number, one in enumerate(found):
            if isinstance(one, Found):
                key = (one.entry.dev, one.entry.ino)
                first = least.setdefault(key, number)
                if positions[number].offset < positions[first].offset:
                    least[key] = number
        chosen = set(least.values())
        outcomes = []
        for number, (position, one) in enumerate(zip(positions, found, strict=True)):
            if isinstance(one, Outcome):
                outcomes.append(one)
            elif number in chosen:
                outcomes.append(self._take(position, one, now, force=force))
            else:
                outcomes.append(_outcome("ignored", position, one, "another position in this file is further back"))
        return outcomes

    def _find(self, position: Position) -> Found | Outcome:
        if position.unusable:
            return _outcome("ignored", position, None, position.unusable)
        found, reason = self._disk.find(position)
        if found is None and position.path and self._disk.source_of(position.path) is None:
            return _outcome("outside", position, None, "no source of the pipeline includes it")
        if found is None:
            return _outcome("gone", position, None, reason)
        if is_left_alone(found):
            return _outcome("refused", position, found, "compressed: its offset is none of ours")
        return found

    def _take(self, position: Position, found: Found, now: float, *, force: bool) -> Outcome:
        if not found.entry.size:
            return _outcome("ignored", position, found, "empty: nothing to begin behind")
        try:
            if position.guard is not None and not self._disk.shows(found, position.guard):
                return _outcome("refused", position, found, "other bytes than when it was exported")
            measured = self._disk.measure(found, position.offset, self._record_bytes_max)
        except UnreadableError as error:
            return _outcome("refused", position, found, str(error))
        known = self.known(found, measured.head)
        if known is not None and not force:
            return _outcome("kept", position, found, f"has progress already, at {known.offset}")
        state = stream_of(found, measured, self._mint(), now)
        self.made.append(Made(found.source, state, known.id if known is not None else ""))
        back = f", {position.offset - state.offset} back" if state.offset < position.offset else ""
        outcome = _outcome("imported", position, found, f"at {state.offset} of {state.size}{back}")
        outcome.offset, outcome.size, outcome.identity = state.offset, state.size, state.id
        return outcome

    def known(self, found: Found, head: bytes) -> StreamState | None:
        """Our stream of a file: same inode, and it begins as that did."""
        for state in self._known.get((found.entry.dev, found.entry.ino), ()):
            if Fingerprint.known(state.fingerprint_length, bytes.fromhex(state.fingerprint)).matches(head):
                return state
        return None


def stream_of(found: Found, measured: Measured, identity: str, now: float) -> StreamState:
    """The stream of a file that begins at the measured offset."""
    entry, offset, size = found.entry, measured.offset, measured.size
    guard_offset, guard = offset, measured.guard
    if not offset:  # nothing is settled: the end of the file proves more than nothing, if it lies behind the fingerprint
        guard_offset, guard = (size, measured.end_guard) if size > len(measured.head) else (0, NOTHING)
    return StreamState(
        id=identity,
        path=entry.path,
        dev=entry.dev,
        ino=entry.ino,
        offset=offset,
        fingerprint_length=len(measured.head),
        fingerprint=digest(measured.head).hex(),
        guard=guard.hex(),
        first_seen=now,
        ended=not found.is_listed and offset == size,
        guard_offset=guard_offset,
        size=size,
        mtime_s=entry.mtime_s,
        home=found.home if found.home != entry.path else "",
    )


def _outcome(status: Status, position: Position, found: Found | None, reason: str) -> Outcome:
    file = found.entry.path if found is not None else ""
    return Outcome(
        status=status,
        path=position.path or file or position.where,
        reason=reason,
        where=position.where,
        file=file,
        stated=position.offset,
        size=found.entry.size if found is not None else 0,
    )
