"""The inlet: one window of bytes at a time, and every answer of the file system back to the machine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from shipper.edge.inlet import Inlet
from shipper.source import events

ENTRY = events.Entry("/var/log/a.log", 1, 2, 10, 0.0)


class Machine:
    """Gives scripted commands for the next events, and remembers what it was told."""

    def __init__(self, *script: Sequence[events.Command]) -> None:
        self.script = list(script)
        self.told: list[events.Event] = []
        self.due: float | None = None
        self.expired: list[float] = []

    def handle(self, event: events.Event, now: float) -> Sequence[events.Command]:
        self.told.append(event)
        return self.script.pop(0) if self.script else ()

    def deadline(self) -> float | None:
        return self.due

    def expire(self, now: float) -> Sequence[events.Command]:
        self.expired.append(now)
        self.due = None
        return (events.Scan(),)


class Hands:
    """Answers commands as it is told to."""

    directories = frozenset(["/var/log"])

    def __init__(self, answers: dict[type, Iterable[events.Event]] | None = None) -> None:
        self.answers = answers or {}
        self.done: list[events.Command] = []
        self.closed = False

    def perform(self, command: events.Command) -> Iterable[events.Event]:
        self.done.append(command)
        return self.answers.get(type(command), ())

    def close(self) -> None:
        self.closed = True


class Owner:
    """Notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    def feed(self, inlet: Inlet, feed: events.Feed) -> events.Consumed:
        self.heard.append(("feed", feed.offset))
        return events.Consumed(feed.stream_id, feed.offset + len(feed.data))

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.heard.append((name, arguments[-1]))


class Watch:
    """A watch of the file system."""

    def __init__(self, mode: str) -> None:
        self.mode, self.reason = mode, "no more watches"
        self.followed: list[Iterable[str]] = []

    def follow(self, directories: Iterable[str]) -> None:
        self.followed.append(directories)


def made(machine: Machine, hands: Hands | None = None, now: float = 0.0) -> tuple[Inlet, Hands, Owner]:
    """An inlet around a scripted machine."""
    hands, owner = hands or Hands(), Owner()
    return Inlet(machine, hands, owner, lambda: now), hands, owner  # type: ignore[arg-type]


def feed(offset: int) -> events.Feed:
    """A window of four bytes."""
    return events.Feed("s", b"abc\n", offset, False)


def test_turn_feeds_one_window_and_says_that_there_is_more() -> None:
    """Other sources and the output get their turn between two windows; what was consumed goes back to the machine."""
    machine = Machine([feed(0)], [feed(4)], [])
    inlet, _, owner = made(machine)
    inlet.offer(events.Drain())
    assert [inlet.turn(), inlet.turn(), inlet.turn()] == [True, True, False]
    assert owner.heard == [("feed", 0), ("feed", 4)]
    assert machine.told[1:] == [events.Consumed("s", 4), events.Consumed("s", 8)]


def test_turn_carries_out_commands_in_order_until_none_is_left() -> None:
    """The answers of the hands go to the machine, and what it wants then is done in the same turn."""
    listed = events.Listed([ENTRY, ENTRY], [], 0.0)
    machine = Machine([events.Scan()], [events.Open(ENTRY.path, 1, 2)], [events.Close(1)])
    inlet, hands, _ = made(machine, Hands({events.Scan: [listed], events.Open: [events.OpenFailed(ENTRY.path, 13)]}))
    inlet.offer(events.Resume(None))
    assert inlet.turn() is False
    assert hands.done == [events.Scan(), events.Open(ENTRY.path, 1, 2), events.Close(1)]
    assert machine.told[1:] == [listed, events.OpenFailed(ENTRY.path, 13)]
    assert inlet.files == 2


def test_owner_hears_of_streams_losses_and_notes() -> None:
    """What the machine says to the pipeline is passed on; `Drained` is remembered."""
    lost, note = events.Lost("s", 5, "deleted"), events.Note("renamed", "/a", {})
    ended = events.Ended("s", "deleted")
    inlet, hands, owner = made(Machine([ended, lost, note, events.Drained()]))
    inlet.offer(events.Drain())
    assert not inlet.drained
    inlet.turn()
    assert owner.heard == [("ended", ended), ("lost", lost), ("noted", note)]
    assert inlet.drained and hands.done == []


def test_machine_expires_when_its_deadline_has_come_and_not_before() -> None:
    """Time is the caller's."""
    machine = Machine()
    machine.due = 5.0
    inlet, _, _ = made(machine, now=4.9)
    inlet.turn()
    assert (machine.expired, inlet.deadline()) == ([], 5.0)
    inlet, hands, _ = made(machine, now=5.0)
    inlet.turn()
    assert (machine.expired, inlet.deadline(), hands.done) == ([5.0], None, [events.Scan()])


def test_watch_follows_the_directories_of_each_scan() -> None:
    """New directories are watched as soon as they were listed."""
    inlet, _, _ = made(Machine([events.Scan()]))
    inlet.watch = watch = Watch("inotify")
    inlet.offer(events.Resume(None))
    inlet.turn()
    assert watch.followed == [Hands.directories]


def test_machine_looks_more_often_when_watching_fails() -> None:
    """A watch that fell back to polling is let go, and the machine told why."""
    machine = Machine([events.Scan()])
    inlet, _, _ = made(machine)
    inlet.watch = Watch("poll")
    inlet.offer(events.Resume(None))
    inlet.turn()
    assert inlet.watch is None
    assert machine.told[-1] == events.WatchFailed("no more watches")


def test_close_lets_the_files_go() -> None:
    """At the end of a run."""
    inlet, hands, _ = made(Machine())
    asyncio.run(inlet.close())
    assert hands.closed
