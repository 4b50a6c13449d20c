"""Inlet: carries out what a file source's machine asks for, one window of bytes at a time."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from shipper.source import events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from shipper.source.tail import Tail


class Hands(Protocol):
    """What an inlet asks of `edge/files.py`."""

    directories: frozenset[str]

    @property
    def open_count(self) -> int:
        """Files that are open."""
        ...

    def perform(self, command: events.Command) -> Iterable[events.Event]:
        """Carry out one command of I/O and return what came of it."""
        ...

    def close(self) -> None:
        """Close every file."""
        ...


class Watching(Protocol):
    """What an inlet asks of `edge/watch.py`."""

    reason: str

    @property
    def mode(self) -> str:
        """`inotify` or `poll`."""
        ...

    def follow(self, directories: Iterable[str]) -> None:
        """Watch these directories."""
        ...


class Inflow(Protocol):
    """What a flow asks of its inlets: this one, and `edge/push_inlet.py`."""

    subject: str
    """What it follows, for the log: `file`, `spool`."""
    files: int
    drained: bool
    has_ended: bool
    """Nothing will ever come of it: a pipe at its end."""

    def offer(self, event: events.Event) -> None:
        """Hear what happened."""
        ...

    def turn(self) -> bool:
        """Do what is to be done, up to one window. Returns whether there is more at once."""
        ...

    def deadline(self) -> float | None:
        """When it wants to be looked at next."""
        ...

    def states(self, settled: Mapping[str, int]) -> Sequence[events.StreamState]:
        """Its streams, for a checkpoint; `settled` has the ledger's offsets."""
        ...

    def saved(self) -> None:
        """The checkpoint that the last `states` went into is durable."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...


class Owner(Protocol):
    """Who wants the bytes: the run of a pipeline."""

    def feed(self, inlet: Inlet, feed: events.Feed) -> events.Consumed:
        """Take a window; say how far it was cut into records."""
        ...

    def began(self, inlet: Inlet, began: events.Began) -> None:
        """A stream is followed from now on."""
        ...

    def ended(self, inlet: Inlet, ended: events.Ended) -> None:
        """A stream was fed to its end."""
        ...

    def lost(self, inlet: Inlet, lost: events.Lost) -> None:
        """Bytes nobody can give any more."""
        ...

    def noted(self, note: events.Note) -> None:
        """Something for the log."""
        ...


class Inlet:
    """Runs one `Tail`."""

    subject = "file"

    def __init__(self, tail: Tail, hands: Hands, owner: Owner, clock: Callable[[], float]) -> None:
        """Take the machine, its hands, who wants the bytes, and the monotonic clock."""
        self.tail = tail
        self.drained = self.has_ended = False
        self.files = 0
        """Files that the last listing found."""
        self.watch: Watching | None = None
        """Tells early that files changed; without one the source looks more often."""
        self._hands, self._owner, self._clock = hands, owner, clock
        self._commands: deque[events.Command] = deque()
        self._carry: dict[type, Callable[..., None]] = {
            events.Began: lambda command: owner.began(self, command),
            events.Ended: lambda command: owner.ended(self, command),
            events.Lost: lambda command: owner.lost(self, command),
            events.Note: owner.noted,
            events.Drained: self._mark_drained,
        }

    @property
    def open_files(self) -> int:
        """Files that are open."""
        return self._hands.open_count

    def offer(self, event: events.Event) -> None:
        """Hand an event to the machine. What it asks for is done in the next turns."""
        self._commands.extend(self.tail.handle(event, self._clock()))

    def turn(self) -> bool:
        """Carry out commands until a window was fed or none is left. Returns whether more is to be done at once."""
        deadline = self.tail.deadline()
        now = self._clock()
        if deadline is not None and deadline <= now:
            self._commands.extend(self.tail.expire(now))
        while self._commands:
            command = self._commands.popleft()
            if isinstance(command, events.Feed):
                self.offer(self._owner.feed(self, command))
                return True
            if (carry := self._carry.get(type(command))) is not None:
                carry(command)
                continue
            for event in self._hands.perform(command):
                if isinstance(event, events.Listed):
                    self.files = len(event.entries)
                self.offer(event)
            if self.watch is not None and isinstance(command, events.Scan):
                self._follow(self.watch)
        return False

    def _follow(self, watch: Watching) -> None:
        """Watch where the scan looked; where that cannot be done, tell the machine to look more often."""
        watch.follow(self._hands.directories)
        if watch.mode == "poll":
            self.watch = None
            self.offer(events.WatchFailed(watch.reason))

    def deadline(self) -> float | None:
        """When the machine wants to be looked at next."""
        return self.tail.deadline()

    def states(self, settled: Mapping[str, int]) -> Sequence[events.StreamState]:
        """The streams of the machine."""
        return self.tail.snapshot(settled)

    def saved(self) -> None:
        """Nothing waits for it: a file is read again only where it is not settled."""

    async def close(self) -> None:
        """Close every file."""
        self._hands.close()

    def _mark_drained(self, drained: events.Drained) -> None:
        del drained
        self.drained = True
