"""Random programs of writers, rotations and crashes: every line is delivered exactly once, or its loss is counted."""

from __future__ import annotations

import random

import pytest

from shipper.source.reading import Limits
from tests.kit.tail_world import World

LIVE = "/var/log/app.log"
PROGRAMS = 1000
ACTIONS = 60


class Program:
    """One seeded program against one world: a writer that numbers its lines, a rotator, and the fortunes of the agent."""

    def __init__(self, seed: int) -> None:
        """The seed decides everything."""
        self.random = choose = random.Random(seed)
        limits = Limits(
            read_size_bytes=choose.choice([64, 200, 5000, 1 << 20]),
            open_files=choose.choice([1, 2, 512]),
            reconcile_s=choose.choice([1, 5]),
        )
        self.include = include = choose.choice([[LIVE], ["/var/log/app.log*"], ["/var/log/*"]])
        self.world = World(*include, limits=limits, poll=choose.random() < 0.2)
        self.fs = self.world.fs
        self.races = random.Random(seed) if choose.random() < 0.3 else None
        self.lines: list[str] = []
        self.partial = ""
        self.header = choose.choice(["", "", "h" * 1100]) if limits.read_size_bytes > 1200 else ""
        self.dated = choose.random() < 0.3
        self.trace: list[str] = []
        self.down = False
        self.paused = False
        self.backups = 0

    def run(self) -> None:
        """All actions, then time to come to an end."""
        self.world.start()
        self.write()
        self.world.advance(6)
        self.world.settle()
        self.world.races = self.races
        actions = [self.write] * 8 + [self.advance] * 8 + [self.rotate] * 4 + [self.copytruncate] * 2 + [
            self.write_partial, self.settle, self.settle, self.crash, self.start, self.start, self.pause, self.resume, self.resume,
            self.truncate, self.delete, self.notice, self.notice, self.short_reads,
        ]  # fmt: skip
        for _ in range(ACTIONS):
            action = self.random.choice(actions)
            self.trace.append(f"{self.fs.now:.2f} {action.__name__}")
            action()
        self.write()  # a file that came and was rotated away unseen is found when the next one lies at its path
        self.start()
        self.resume()
        self.world.advance(40)

    def write(self) -> None:
        self.complete()
        if LIVE not in self.fs.names and self.header:
            self.line(self.header)
        for _ in range(self.random.randrange(1, 6)):
            self.line("x" * self.random.choice([0, 10, 30]))

    def line(self, filler: str) -> None:
        text = f"{filler}:{len(self.lines)}"
        self.lines.append(text)
        self.fs.write(LIVE, f"{text}\n".encode())

    def write_partial(self) -> None:
        if not self.partial:
            self.partial = f"partial:{len(self.lines)}"
            self.fs.write(LIVE, self.partial.encode())

    def complete(self) -> None:
        if self.partial:
            self.fs.write(LIVE, b"\n")
            self.lines.append(self.partial)
            self.partial = ""

    def advance(self) -> None:
        self.world.advance(self.random.choice([0.01, 0.3, 1, 6, 12]))

    def later(self) -> None:
        """Rotations and what is written between them do not share a moment."""
        self.fs.now += 0.01

    def rotate(self) -> None:
        self.complete()
        if LIVE not in self.fs.names:
            return
        self.later()
        if self.dated:
            self.backups += 1
            self.fs.rename(LIVE, f"{LIVE}-2026{self.backups:04d}")
        else:
            self.shift()
            self.fs.rename(LIVE, f"{LIVE}.1")
        self.later()
        if self.random.random() < 0.7:
            self.fs.create(LIVE)
            self.later()
            self.write()

    def shift(self) -> None:
        number = 1
        while f"{LIVE}.{number}" in self.fs.names:
            number += 1
        for last in range(number, 1, -1):
            self.fs.rename(f"{LIVE}.{last - 1}", f"{LIVE}.{last}")

    def copytruncate(self) -> None:
        self.complete()
        if LIVE not in self.fs.names or not self.fs.names[LIVE].data:
            return
        self.later()
        if self.dated:
            self.backups += 1
            target = f"{LIVE}-2026{self.backups:04d}"
        else:
            self.shift()
            target = f"{LIVE}.1"
        self.fs.copy(LIVE, target)
        if not self.down and self.random.random() < 0.3:
            self.world.advance(6)
        self.later()
        self.fs.truncate(LIVE)
        self.later()
        if self.random.random() < 0.7:
            self.write()

    def delivered(self) -> bool:
        """All that was written is delivered and settled, so that nobody needs the files any more."""
        if self.down or self.partial or not set(self.lines) <= set(self.world.texts()):
            return False
        self.world.settle()
        live, states = self.fs.names[LIVE], self.world.saved()
        return any(state.ino == live.number and state.offset == len(live.data) for state in states)

    def truncate(self) -> None:
        """Without a copy: only what was delivered, or it would be gone for good."""
        if LIVE in self.fs.names and self.delivered():
            self.later()
            self.fs.truncate(LIVE)
            self.later()

    def delete(self) -> None:
        if LIVE in self.fs.names and self.delivered() and self.include != [LIVE]:
            self.fs.unlink(LIVE)
            self.later()

    def settle(self) -> None:
        if not self.down:
            self.world.settle()

    def crash(self) -> None:
        self.world.crash()
        self.down = True

    def start(self) -> None:
        if self.down:
            self.world.start()
            self.down = self.paused = False

    def pause(self) -> None:
        if not self.down:
            self.world.pause()

    def resume(self) -> None:
        if not self.down:
            self.world.resume()

    def notice(self) -> None:
        if not self.down:
            self.world.notice(LIVE, names=self.random.random() < 0.5)

    def short_reads(self) -> None:
        self.fs.short_reads = [self.random.choice([1, 7, 50, 70]) for _ in range(5)]


def verify(program: Program) -> None:
    """The law: each line once, no id with two texts, nothing else delivered."""
    world, texts = program.world, program.world.texts()
    story = "\n".join(program.trace)
    assert not world.conflicts, story
    missing = [line for line in program.lines if line not in set(texts)]
    assert not missing, f"missing {missing[:5]}, lost {world.lost}\n{story}"
    assert sorted(texts) == sorted(program.lines), f"twice or strange: {set(texts) - set(program.lines)}\n{story}"
    assert not sum(lost.bytes for lost in world.lost), story


@pytest.mark.parametrize("block", range(10))
def test_programs_deliver_every_line_exactly_once_when_files_rotate_and_the_agent_crashes(block: int) -> None:
    """A thousand seeded programs, in blocks."""
    for seed in range(block * PROGRAMS // 10, (block + 1) * PROGRAMS // 10):
        program = Program(seed)
        try:
            program.run()
            verify(program)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
