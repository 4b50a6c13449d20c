"""Remainders: records in parts across rotations, silence and crashes, in a whole flow over real files and in virtual time."""

from __future__ import annotations

import asyncio
import copy
import json
import random
import re
from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest

from shipper.progress.checkpoint import Checkpoint
from tests.kit import virtual_loop
from tests.kit.flow_world import FlowWorld
from tests.kit.site import Site


def docker(text: str, stream: str = "stdout") -> bytes:
    """A line of the json-file driver; a text without newline is a part."""
    return json.dumps({"log": text, "stream": stream, "time": "2026-02-05T14:30:45.1Z"}).encode() + b"\n"


def cri(text: str, stream: str = "stdout") -> bytes:
    """The same as a container runtime writes it."""
    tag = "F" if text.endswith("\n") else "P"
    return f"2026-02-05T14:30:45.100000000Z {stream} {tag} {text.rstrip(chr(10))}\n".encode()


FRAMES: list[tuple[Any, Callable[..., bytes]]] = [("docker", docker), ("cri", cri)]
KEEP = 60
"""Rotated files: more than any run makes, as inode numbers that are used again at once make files that cannot be told apart."""
PATIENT: list[tuple[Any, Callable[..., bytes]]] = [
    ({"docker": {"join_timeout": "30s"}}, docker),
    ({"cri": {"join_timeout": "30s"}}, cri),
]
TRACE = b"Traceback (most recent call last):\n", b'  File "a.py", line 1, in f\n', b"    g()\n", b"ValueError: no\n"


def messages(world: FlowWorld) -> list[str]:
    """The texts of all documents, as they are in the output, sorted."""
    return sorted(document["message"] for document in world.output.model.documents.values())


def run(site: Site, frame: Any, *acts: Callable[[], object], until: float = 60.0, every: float = 20.0) -> FlowWorld:
    """Run a flow, with an act `every` so many seconds; it stops at `until`."""
    site.configure(sources=[{"type": "file", "include": [f"{site.logs}/*.log"], "frame": frame}])

    async def scene() -> FlowWorld:
        loop = asyncio.get_running_loop()
        world = FlowWorld(site, once=False)
        for number, act in enumerate(acts):
            loop.call_later(every * number + 0.1, act)
        loop.call_later(until, world.flow.stop, "done")
        await world.run()
        world.check()
        return world

    return virtual_loop.run(scene())


def rotate(site: Site) -> None:
    """Rename the live file."""
    (site.logs / "app.log").rename(site.logs / "app.log.1")


def rotate_all(site: Site) -> None:
    """Rename the whole chain."""
    for number in range(KEEP, 0, -1):
        older = site.logs / (f"app.log.{number - 1}" if number > 1 else "app.log")
        if older.exists():
            older.rename(site.logs / f"app.log.{number}")


@pytest.mark.parametrize(("frame", "line"), FRAMES)
def test_a_record_cut_in_two_by_a_rotation_is_one_document(site: Site, frame: str, line: Callable[..., bytes]) -> None:
    """Its parts lie in two files; what lies between them and is whole is a record of its own. Offsets of both files are settled."""
    site.write(line("before\n") + line("one ") + line("aside\n", "stderr"))

    def turn() -> None:
        rotate(site)
        site.write(line("two ") + line("three\n") + line("after\n"))

    world = run(site, frame, turn, until=40.0)
    assert messages(world) == ["after", "aside", "before", "one two three"]
    assert not world.flow.ledger.in_flight and not world.flow.ledger.holds
    assert not world.flow.ledger.account.flagged["partial"]


@pytest.mark.parametrize(("frame", "line"), PATIENT)
@pytest.mark.parametrize("every", [0.2, 3.0, 12.0])
def test_a_record_over_three_files_or_more_is_one_document(
    site: Site, frame: Any, line: Callable[..., bytes], every: float
) -> None:
    """Whether the files between, which hold nothing but parts of it, are closed or still open; also when nothing follows."""
    site.write(line("before\n") + line("one "))

    def turn(*lines: bytes) -> Callable[[], None]:
        def act() -> None:
            rotate_all(site)
            site.write(b"".join(lines))

        return act

    acts = turn(line("two "), line("three ")), turn(line("four ")), turn(line("five\n"), line("six ")), turn(line("seven "))
    world = run(site, frame, *acts, until=120.0, every=every)
    assert [text.strip() for text in messages(world)] == ["before", "one two three four five", "six seven"]
    assert not world.flow.ledger.in_flight and not world.flow.ledger.holds
    assert world.flow.ledger.account.flagged["partial"] == 1
    assert world.flow.ledger.account.read_bytes == sum(path.stat().st_size for path in site.logs.iterdir())


def test_a_stack_trace_cut_in_two_by_a_rotation_is_one_document(site: Site) -> None:
    """Multiline groups go on in the next file, too."""
    site.write(b"INFO all is well\n" + b"ERROR it broke\n" + TRACE[0] + TRACE[1])

    def turn() -> None:
        rotate(site)
        site.write(TRACE[2] + TRACE[3] + b"INFO well again\n")

    world = run(site, {"multiline": {"pack": "python", "timeout": "60s"}}, turn, until=100.0)
    assert messages(world) == ["ERROR it broke\n" + b"".join(TRACE).decode().rstrip("\n"), "INFO all is well", "INFO well again"]


@pytest.mark.parametrize(("frame", "line"), FRAMES)
def test_records_are_joined_in_order_when_a_file_was_seen_empty_and_rotated_at_once(
    site: Site, frame: str, line: Callable[..., bytes]
) -> None:
    """The file between was empty when it was first listed; it is read before the one that came after it."""
    site.write(line("before\n") + line("one "))

    def empty() -> None:
        rotate(site)
        site.write(b"")

    def turn() -> None:
        site.write(line("two\n") + line("three "))
        (site.logs / "app.log.1").rename(site.logs / "app.log.2")
        rotate(site)
        site.write(line("four\n"))

    world = run(site, frame, lambda: None, empty, turn, until=60.0, every=3.5)
    assert messages(world) == ["before", "one two", "three four"]


@pytest.mark.parametrize(("frame", "line"), FRAMES)
def test_parts_that_nothing_follows_are_taken_as_they_are(site: Site, frame: str, line: Callable[..., bytes]) -> None:
    """After its time a record in parts is shipped, flagged, whether its file was rotated away or not; later parts are another."""
    site.write(line("half "))
    world = run(site, frame, lambda: None, lambda: site.write(line("other\n")), until=60.0)
    assert messages(world) == ["half", "other"] or messages(world) == ["half ", "other"]
    assert world.flow.ledger.account.flagged["partial"] == 1
    assert not world.flow.ledger.in_flight


@pytest.mark.parametrize(("frame", "line"), FRAMES)
def test_parts_at_the_end_of_a_rotated_file_do_not_wait_for_ever(site: Site, frame: str, line: Callable[..., bytes]) -> None:
    """No file comes after it: they are a record of their own, and the old file is settled to its end."""
    site.write(line("whole\n") + line("half "))
    world = run(site, frame, lambda: rotate(site), until=60.0)
    assert [text.strip() for text in messages(world)] == ["half", "whole"]
    assert not world.flow.ledger.in_flight and not world.flow.ledger.holds


def test_the_last_lines_of_a_live_file_are_flushed_after_the_timeout(site: Site) -> None:
    """A trace at the end of the file is one document, some seconds after its last line."""
    site.write(b"ERROR it broke\n" + b"".join(TRACE))
    world = run(site, {"multiline": "python"}, until=12.0)
    assert messages(world) == ["ERROR it broke\n" + b"".join(TRACE).decode().rstrip("\n")]


def test_a_line_without_its_end_is_not_cut_by_time(site: Site) -> None:
    """Only whole lines are flushed; the half one is read when it is whole."""
    site.write(b"first\nsec")
    world = run(site, {"multiline": "python"}, lambda: None, lambda: site.write(b"ond\n"), until=60.0)
    assert messages(world) == ["first", "second"]


DEATHS = [
    [["before\n", "one "], ["two\n", "after\n", "late "]],
    [["before\n", "one "], ["two "], ["three\n", "late "]],
    [["before\n", "one "], ["two "], ["three "], ["four "]],
    [["before\n", "one "], ["two\n", "late "], ["er\n"]],
]
"""What is written into each file. The last record may end at no line of its own."""


@pytest.mark.parametrize(("frame", "line"), PATIENT)
@pytest.mark.parametrize("kept", range(4))
@pytest.mark.parametrize("texts", DEATHS)
@pytest.mark.parametrize("every", [0.2, 3.0, 12.0])
def test_every_record_is_there_once_when_the_agent_died_around_a_join(
    site: Site, frame: Any, line: Callable[..., bytes], texts: list[list[str]], every: float, kept: int
) -> None:
    """Whichever answer was the last before the crash: what is read again has the same ids, joined or flushed as before."""
    site.configure(sources=[{"type": "file", "include": [f"{site.logs}/*.log"], "frame": frame}])
    site.write(b"".join(map(line, texts[0])))

    def turn(number: int) -> None:
        rotate_all(site)
        site.write(b"".join(map(line, texts[number])))

    async def first() -> tuple[FlowWorld, list[tuple[Checkpoint, Any]]]:
        loop = asyncio.get_running_loop()
        world = FlowWorld(site, once=False)
        durable: list[Checkpoint] = []
        crashes: list[tuple[Checkpoint, Any]] = []
        told = world.flow.saved

        def saved(epoch: int) -> None:
            durable.append(world.checkpoint())
            told(epoch)

        world.flow.saved = saved  # type: ignore[method-assign]
        world.output.on_answer = lambda: crashes.append((durable[-1], copy.deepcopy(world.output.model)))
        for number in range(1, len(texts)):
            loop.call_later(every * number, turn, number)
        loop.call_later(120.0, world.flow.stop, "done")
        await world.run()
        return world, crashes

    async def again(before: Checkpoint, model: Any) -> FlowWorld:
        loop = asyncio.get_running_loop()
        world = FlowWorld(site, once=False, before=before)
        world.output.model = model
        loop.call_later(120.0, world.flow.stop, "done")
        await world.run()
        world.check()
        return world

    world, crashes = virtual_loop.run(first())
    expected = messages(world)
    assert [text.strip() for text in expected] == sorted(map(str.strip, "".join(chain(*texts)).splitlines()))
    resumed = virtual_loop.run(again(*crashes[min(kept, len(crashes) - 1)]))
    assert messages(resumed) == expected


class Container:
    """Writes numbered records in parts, and rotates at random moments; a record may lie in any number of files."""

    def __init__(self, site: Site, line: Callable[..., bytes], seed: int) -> None:
        self.site, self.plain, self.rng = site, line, random.Random(seed)
        self.count = 0
        self.written: list[str] = []
        self.parts = 0

    def line(self, text: str, stream: str = "stdout") -> bytes:
        """A line with a time of its own: files that begin alike under one inode could not be told apart."""
        self.count += 1
        return re.sub(rb"45\.[0-9]+Z", b"45.%09dZ" % self.count, self.plain(text, stream), count=1)

    def write(self) -> None:
        """Some lines: parts, whole records, those of the other stream between them."""
        for _ in range(self.rng.randrange(6)):
            number = len(self.written)
            if self.rng.random() < 0.3:
                self.written.append(f"e{number}")
                self.site.write(self.line(f"e{number}\n", "stderr"))
            elif self.parts < 4 and self.rng.random() < 0.4:
                self.parts += 1
                self.site.write(self.line("p"))
            else:
                self.written.append(f"{'p' * self.parts}o{number}")
                self.site.write(self.line(f"o{number}\n"))
                self.parts = 0

    def rotate(self) -> None:
        """Rename the chain, and begin a new file, sometimes with something in it at once."""
        rotate_all(self.site)
        self.site.write(b"")
        if self.rng.random() < 0.5:
            self.write()

    def act(self) -> None:
        """One of them."""
        self.rotate() if self.rng.random() < 0.25 else self.write()


@pytest.mark.parametrize(
    ("frame", "line"), [({"docker": {"join_timeout": "1h"}}, docker), ({"cri": {"join_timeout": "1h"}}, cri)]
)
@pytest.mark.parametrize("seed", range(25))
def test_every_record_is_whole_and_there_once_when_files_rotate_at_random(
    site: Site, frame: Any, line: Callable[..., bytes], seed: int
) -> None:
    """Law: what is delivered is what was written, whenever files rotate, several times between two looks at them too."""
    site.configure(sources=[{"type": "file", "include": [f"{site.logs}/*.log"], "frame": frame}])
    container = Container(site, line, seed)

    async def scene() -> FlowWorld:
        loop = asyncio.get_running_loop()
        world = FlowWorld(site, once=False)
        at = 0.1
        for _ in range(40):
            loop.call_later(at, container.act)
            at += container.rng.choice([0.01, 0.1, 0.5, 2.0, 6.0])
        loop.call_later(at + 30.0, world.flow.drain)
        await world.run()
        world.check()
        return world

    world = virtual_loop.run(scene())
    rest = ["p" * container.parts] if container.parts else []
    assert messages(world) == sorted([*container.written, *rest])
