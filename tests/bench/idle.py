"""What idle files cost: CPU share and memory a file, with 10,000 of them and 100 that are written to.

Run by `python -m tests.bench.idle`. The clock of the machine runs sixty times as fast as the wall, so a minute of idling is
measured in what it costs; a hundred active files are appended to meanwhile, and every line of theirs must come.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import time
import tracemalloc
from itertools import count
from pathlib import Path

import msgspec

from shipper.config.fields import FilePath
from shipper.edge.files import FileHands
from shipper.edge.inlet import Inlet
from shipper.source import events
from shipper.source.file import File
from shipper.source.tail import Tail

FILES = 10_000
ACTIVE = 100
MINUTES = 2
HOUR_S = 3600.0


class Result(msgspec.Struct):
    """What was measured."""

    cpu_percent: float
    """Of one core, with nothing but idle files."""
    bytes_a_file: float
    """Growth of the heap for each idle file, once all are read."""
    active_lines: int
    """Lines of the active files that came; all of them, or some starve."""
    active_written: int


class Lines:
    """An owner that counts lines and keeps nothing."""

    def __init__(self) -> None:
        """None yet."""
        self.count = 0

    def feed(self, _inlet: Inlet, feed: events.Feed) -> events.Consumed:
        """Cut at the last newline."""
        self.count += feed.data.count(b"\n")
        return events.Consumed(feed.stream_id, feed.offset + feed.data.rfind(b"\n") + 1)

    def began(self, inlet: Inlet, began: events.Began) -> None:
        """Nothing is kept."""

    def ended(self, inlet: Inlet, ended: events.Ended) -> None:
        """Nothing is kept."""

    def lost(self, inlet: Inlet, lost: events.Lost) -> None:
        """Nothing is kept."""

    def noted(self, note: events.Note) -> None:
        """Nothing is kept."""


class Clock:
    """Monotonic seconds that the measurement moves."""

    def __init__(self) -> None:
        """At 0."""
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def _advance(inlet: Inlet, clock: Clock, seconds: float) -> None:
    until = clock.now + seconds
    while True:
        while inlet.turn():
            pass
        due = inlet.deadline()
        if due is None or due > until:
            break
        clock.now = max(clock.now, due)
    clock.now = until


def _fill(directory: Path, files: int) -> None:
    """Files that were last changed an hour ago."""
    at = time.time() - HOUR_S
    for number in range(files):
        path = directory / f"pod-{number:06d}.log"
        path.write_bytes(b"2026-02-05T14:30:45.123Z the one line of file %d\n" % number * 4)
        os.utime(path, (at, at))
    os.utime(directory, (at, at))


def measure(directory: Path, files: int = FILES, minutes: float = MINUTES) -> Result:
    """Read `files` idle files, idle for some minutes of the machine's time, then append to a hundred of them."""
    _fill(directory, files)
    clock, owner, ids = Clock(), Lines(), count()
    config = File.Config(include=[FilePath(f"{directory}/*.log")], roots=[FilePath(str(directory))])
    tracemalloc.start()
    hands = FileHands(config)
    inlet = Inlet(Tail(config, lambda: f"{next(ids):022d}"), hands, owner, clock)
    before = tracemalloc.get_traced_memory()[0]
    inlet.offer(events.Resume(None))
    _advance(inlet, clock, 60)
    states = inlet.tail.snapshot({})
    for state in states:
        inlet.offer(events.Settled(state.id, state.size))
    inlet.tail.snapshot({})
    del states
    gc.collect()
    bytes_a_file = (tracemalloc.get_traced_memory()[0] - before) / files
    tracemalloc.stop()
    started = time.process_time()
    _advance(inlet, clock, 60 * minutes)
    cpu_percent = 100 * (time.process_time() - started) / (60 * minutes)
    seen, written = owner.count, 0
    active = [directory / f"pod-{number:06d}.log" for number in range(0, files, max(1, files // ACTIVE))][:ACTIVE]
    for turn in range(20):
        for path in active:
            with path.open("ab") as file:
                file.write(b"line of turn %d\n" % turn)
            written += 1
        inlet.offer(events.Noticed(frozenset(map(str, active))))
        _advance(inlet, clock, 1)
    lines = owner.count - seen
    hands.close()
    return Result(cpu_percent, bytes_a_file, lines, written)


def main() -> int:
    """Measure and print. Exits 1 when a bound is not held."""
    with tempfile.TemporaryDirectory() as directory:
        result = measure(Path(os.path.realpath(directory)))
    print(f"{FILES} idle files: {result.cpu_percent:.2f} % of a core, {result.bytes_a_file:.0f} bytes a file")
    print(f"{ACTIVE} active ones among them: {result.active_lines} of {result.active_written} lines at once")
    return int(result.cpu_percent > 0.5 or result.bytes_a_file > 2048 or result.active_lines < result.active_written)


if __name__ == "__main__":
    sys.exit(main())
