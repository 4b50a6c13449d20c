"""A world for the tail: a fake file system, an agent that cuts lines, an output that keeps ids, virtual time, crashes.

RULES
- The agent of this world delivers every record at once and settles it when told to: what a crash finds is delivered and not
  settled, the worst case for duplicates. The output keeps one text a (stream, start, end), as `create` with a deterministic id.
- A new identity and a cut are in the checkpoint before anything of them is delivered, as the design asks.
- What was said to be lost is booked in the checkpoint, as the agent's ledger is: a crash before the next one undoes the booking,
  and the loss is said again in the next run.
- `crash` drops the tail and its handles; `start` makes another one from the last checkpoint, in its serialised form.
"""

from __future__ import annotations

import random
from collections import deque
from itertools import count
from typing import TYPE_CHECKING

import msgspec

from shipper.config.fields import convert_scalar
from shipper.source.events import (
    Began,
    Close,
    Command,
    Consumed,
    Drain,
    Drained,
    Ended,
    Entry,
    Event,
    Feed,
    Got,
    Listed,
    ListSiblings,
    Lost,
    Note,
    Noticed,
    Open,
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
)  # fmt: skip
from shipper.source.file import File
from shipper.source.names import is_packed, is_related, split
from shipper.source.reading import Limits
from shipper.source.tail import Tail
from tests.kit.fake_fs import DEVICE, FakeFs, Inode

if TYPE_CHECKING:
    from collections.abc import Callable

Id = tuple[str, int, int]
_TURNS = 200_000
_AHEAD = 2000
"""A compressed file of less content is known in full when it is opened."""


class World:
    """One machine with one agent that has one file source."""

    def __init__(self, *include: str, limits: Limits = Limits(), **config: object) -> None:
        """The agent is down until `start`."""
        self.fs = FakeFs()
        self.config = msgspec.convert({"include": list(include), **config}, File.Config, dec_hook=convert_scalar)
        self.limits = limits
        self.tail: Tail | None = None
        self.delivered: dict[Id, bytes] = {}
        self.order: list[bytes] = []
        """Texts in the order of their first delivery."""
        self.resent = 0
        self.conflicts: list[tuple[Id, bytes, bytes]] = []
        """Ids that were delivered with two texts; there must be none."""
        self.lost: list[Lost] = []
        self._booked = 0
        """How many of these the last checkpoint has."""
        self.notes: list[Note] = []
        self.began: list[Began] = []
        self.ended: list[Ended] = []
        self.drained = False
        self.consumed: dict[str, int] = {}
        self.settled: dict[str, int] = {}
        self.checkpoint: bytes | None = None
        self.reads = 0
        self.most_handles = 0
        self.hold_feeds = False
        """Feeds are not answered, as by a slow chain."""
        self.failing: Callable[[Read], ReadFailed | None] | None = None
        """What reads give instead of bytes, if anything."""
        self.races: random.Random | None = None
        """Chance for listings that miss a file; never the same one several times in a row."""
        self.race_odds = 0.1
        self._missed: deque[int] = deque(maxlen=4)
        self._entries: dict[str, Entry] = {}
        self._held: Feed | None = None
        self._packed: set[int] = set()
        """Handles of compressed files."""
        self._turns = 0
        self._ids = count(1)

    # --- The agent's life ---

    def start(self) -> None:
        """Start the agent from its last checkpoint."""
        self.tail = Tail(self.config, self._mint, self.limits)
        states = self.saved() if self.checkpoint is not None else None
        self.consumed = {state.id: state.offset for state in states or ()}
        self.settled = dict(self.consumed)
        self.send(Resume(states))

    def crash(self) -> None:
        """Kill the agent."""
        self.tail, self._held = None, None
        del self.lost[self._booked :]
        for handle in tuple(self.fs.handles):
            self.fs.close(handle)

    def save(self) -> None:
        """Write a checkpoint."""
        assert self.tail is not None
        self.checkpoint = msgspec.json.encode(self.tail.snapshot(self.settled))
        self._booked = len(self.lost)

    def saved(self) -> list[StreamState]:
        """What the last checkpoint holds."""
        return msgspec.json.decode(self.checkpoint, type=list[StreamState]) if self.checkpoint is not None else []

    def settle(self) -> None:
        """All that was delivered has its verdict; a checkpoint is written."""
        for stream_id, offset in self.consumed.items():
            if self.settled.get(stream_id) != offset:
                self.settled[stream_id] = offset
                if self.tail is not None:
                    self.send(Settled(stream_id, offset))
        if self.tail is not None:
            self.save()

    def pause(self) -> None:
        """The output takes nothing."""
        self.send(Paused())

    def resume(self) -> None:
        """It does again."""
        self.send(Resumed())

    def notice(self, *paths: str, names: bool = False) -> None:
        """The watch saw something."""
        self.send(Noticed(frozenset(paths), names))

    def drain(self) -> None:
        """`--once`."""
        self.send(Drain())

    def answer_feed(self) -> None:
        """Answer the feed that was held back."""
        held, self._held = self._held, None
        self.hold_feeds = False
        if held is not None:
            self.send(self._take(held))

    def advance(self, seconds: float) -> None:
        """Let time pass; the agent does what is due."""
        until = self.fs.now + seconds
        for _ in range(_TURNS):
            due = self.tail.deadline() if self.tail is not None else None
            if self.tail is None or due is None or due > until:
                break
            self.fs.now = max(self.fs.now, due)
            self._run(deque(self.tail.expire(self.fs.now)))
        else:
            raise AssertionError("the machine does not come to rest")
        self.fs.now = until

    def send(self, event: Event) -> None:
        """Tell the tail, and do what it asks for until it asks for nothing more."""
        if self.tail is not None:
            self._run(deque(self.tail.handle(event, self.fs.now)))

    def _run(self, commands: deque[Command]) -> None:
        turns = 0
        while commands and self.tail is not None:
            turns += 1
            assert turns < _TURNS, "the machine does not come to rest"
            answer = self._perform(commands.popleft())
            if answer is not None:
                commands.extend(self.tail.handle(answer, self.fs.now))

    # --- The hands ---

    def _perform(self, command: Command) -> Event | None:
        match command:
            case Scan():
                paths = self.fs.glob(list(self.config.include), list(self.config.exclude))
                return Listed([self._entry(path) for path in self._seen(paths)], [], self.fs.wall())
            case ListSiblings(path):
                directory, name = split(path)
                beside = [p for p in sorted(self.fs.names) if split(p)[0] == directory and is_related(name, split(p)[1])]
                return SiblingsListed(path, [self._entry(p) for p in self._seen(beside)])
            case Open():
                return self._open(command)
            case Read():
                return self._read(command)
            case Close(handle):
                self.fs.close(handle)
            case Feed():
                return self._feed(command)
            case _:
                self._hear(command)
        return None

    def _seen(self, paths: list[str]) -> list[str]:
        """The paths, less one now and then: a file that is renamed while its directory is listed can be missed."""
        if not paths or self.races is None or self.races.random() > self.race_odds:
            return paths
        missed = self.races.choice(paths)
        number = self.fs.names[missed].number
        if number in self._missed:
            return paths
        self._missed.append(number)
        return [path for path in paths if path != missed]

    def _hear(self, command: Command) -> None:
        match command:
            case Began(stream, minted):
                self.began.append(command)
                self.consumed.setdefault(stream.id, stream.offset)
                if minted:
                    self.save()
            case Ended():
                self.ended.append(command)
            case Lost():
                self.lost.append(command)
            case Note():
                self.notes.append(command)
            case Drained():
                self.drained = True

    def _entry(self, path: str) -> Entry:
        """The same object as last time where nothing changed, as the real hands give it."""
        inode, last = self.fs.names[path], self._entries.get(path)
        entry = Entry(path, DEVICE, inode.number, len(inode.data), inode.mtime_s)
        if last != entry:
            self._entries[path] = last = entry
        return last

    def _open(self, command: Open) -> Event:
        try:
            handle, inode = self.fs.open(command.path, command.ino)
        except OSError as error:
            return OpenFailed(command.path, error.errno or 0, command.dev, command.ino)
        self.most_handles = max(self.most_handles, len(self.fs.handles))
        if is_packed(command.path):
            self._packed.add(handle)
            content = inode.content or b""
            whole = len(content) < _AHEAD and not inode.torn
            size = min(len(content), _AHEAD)
            return Opened(handle, command.path, command.dev, command.ino, size, content[:1024], whole, whole < (size < _AHEAD))
        return Opened(handle, command.path, command.dev, command.ino, len(inode.data), bytes(inode.data[:1024]))

    def _read(self, command: Read) -> Event:
        self.reads += 1
        if self.failing is not None and (failure := self.failing(command)) is not None:
            return failure
        try:
            data, inode = self.fs.read(command.handle, command.offset, command.size)
        except OSError as error:
            return ReadFailed(command.handle, error.errno or 0)
        if command.handle in self._packed:
            return self._inflate(command, inode)
        return Got(command.handle, command.offset, data, len(inode.data), inode.links)

    def _inflate(self, command: Read, inode: Inode) -> Got:
        """As `edge/inflate.py` does: the size is known when the end was reached, and now and then it takes several turns."""
        handle, offset, content = command.handle, command.offset, inode.content or b""
        data = content[offset : offset + command.size]
        reached = min(len(content), offset + len(data) + 1)
        ended = reached == len(content) and offset + len(data) >= reached
        self._turns += 1
        if self._turns % 7 == 0:
            return Got(handle, offset, b"", reached, inode.links, whole=False, underway=True)
        return Got(handle, offset, data, reached, inode.links, ended and not inode.torn, ended and inode.torn)

    # --- The chain and the output ---

    def _feed(self, feed: Feed) -> Event | None:
        if self.hold_feeds:
            self._held = feed
            return None
        return self._take(feed)

    def _take(self, feed: Feed) -> Consumed:
        """Cut lines and deliver them."""
        if feed.final:
            self.save()
        at = feed.offset
        for line in feed.data.splitlines(keepends=True):
            if not line.endswith(b"\n") and not feed.final:
                break
            self._deliver((feed.stream_id, at, at + len(line)), line)
            at += len(line)
        self.consumed[feed.stream_id] = max(at, self.consumed.get(feed.stream_id, 0))
        return Consumed(feed.stream_id, at)

    def _deliver(self, key: Id, text: bytes) -> None:
        known = self.delivered.get(key)
        if known is None:
            self.delivered[key] = text
            self.order.append(text)
        elif known != text:
            self.conflicts.append((key, known, text))
        else:
            self.resent += 1

    def _mint(self) -> str:
        return f"s{next(self._ids):021d}"

    # --- What tests ask ---

    def texts(self) -> list[str]:
        """All delivered lines in order of first delivery, without their ends."""
        return [text.decode().rstrip("\n") for text in self.order]

    def kinds(self) -> list[str]:
        """Kinds of the notes."""
        return [note.kind for note in self.notes]


LIVE = "/var/log/app.log"
"""The live file of the scripts."""


def started(*include: str, text: bytes = b"a\nb\n", limits: Limits = Limits(), **config: object) -> World:
    """A world whose agent has read `text` in the live file."""
    world = World(*(include or (LIVE,)), limits=limits, **config)
    world.fs.write(LIVE, text)
    world.start()
    return world


def rotate(world: World, *texts: bytes) -> None:
    """Rotate by renaming, once for each text, which goes to the new file. Each in a moment of its own."""
    for text in texts:
        number = 1
        while f"{LIVE}.{number}" in world.fs.names:
            number += 1
        for last in range(number, 1, -1):
            world.fs.rename(f"{LIVE}.{last - 1}", f"{LIVE}.{last}")
        world.fs.rename(LIVE, f"{LIVE}.1")
        world.fs.now += 0.01
        world.fs.write(LIVE, text)
        world.fs.now += 0.01


def copytruncate(world: World, copy: str = f"{LIVE}.1") -> None:
    """Copy the live file away and truncate it."""
    world.fs.now += 0.01
    world.fs.copy(LIVE, copy)
    world.fs.truncate(LIVE)
    world.fs.now += 0.01


def restart(world: World) -> None:
    """Crash and start from the last checkpoint."""
    world.crash()
    world.start()
