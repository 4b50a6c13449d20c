"""Inlets: which source runs what, names of spools, streams of a checkpoint that find their source again; lives of a push inlet."""

from __future__ import annotations

import asyncio
import json
import os
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shipper import assembly
from shipper.config.pipeline import Pipeline
from shipper.edge import store
from shipper.edge.inlet import Inlet
from shipper.edge.journal import JournalInlet
from shipper.edge.listener import Listener
from shipper.edge.pipe import Pipe
from shipper.edge.push_inlet import PushInlet
from shipper.inlets import Inlets, known_streams, mint_identity
from shipper.model.batch import split_rows
from shipper.progress.checkpoint import Checkpoint
from shipper.source.events import StreamState
from shipper.source.push import Delivery
from tests.edge.test_push_inlet import SMALL, World
from tests.kit.site import Site, shipper

FILE = {"type": "file", "include": ["/var/log/app/*.log"]}
HTTP = {"type": "http", "listen": ["127.0.0.1:0"]}
SYSLOG = {"type": "syslog", "listen": ["127.0.0.1:0"]}


class Flow:
    """Whose inlets they are; nothing is asked of it here."""

    def noted(self, note: object) -> None: ...


def pipeline(site: Site, *sources: dict[str, Any], **sections: Any) -> Pipeline:
    """A checked pipeline with these sources."""
    site.configure(sources=list(sources), **sections)
    return assembly.read_pipeline(str(site.pipeline), os.environ)


def stream(path: str, number: int, **more: Any) -> dict[str, Any]:
    """A stream as a checkpoint has it."""
    state = StreamState(f"{number:022}", store.quoted(path), 0, 0, 100, 0, "f", "g", 0.0, **more)
    found: dict[str, Any] = msgspec.to_builtins(state)
    return found


def before(*sources: list[dict[str, Any]], machine: str | None = None, **more: Any) -> Checkpoint:
    """A checkpoint of these sources."""
    machine = store.machine_id() if machine is None else machine
    return Checkpoint(pipeline="app", destination="x", machine_id=machine, horizon={}, sources=list(sources), **more)


def ids(found: list[list[StreamState] | None]) -> list[list[int] | None]:
    """Numbers of the streams of each source."""
    return [None if streams is None else [int(state.id) for state in streams] for streams in found]


def test_each_kind_of_source_is_run_by_its_own(site: Site) -> None:
    """Files are followed, listeners, pipes and the journal have spool or cursor; under `--once` nothing listens."""
    made = pipeline(site, FILE, HTTP, {"type": "stdin"}, {"type": "journald"}, {"type": "docker"}, {"type": "kubernetes"})
    kinds = ["file", "listen", "pipe", "journal", "file", "file"]
    assert [source.component.inlet for source in made.sources] == kinds

    async def scene(*, once: bool) -> list[Any]:
        inlets = Inlets(Flow(), made, site.state, once=once)  # type: ignore[arg-type]
        inlets.stop()
        return inlets.all

    found = asyncio.run(scene(once=False))
    assert [type(inlet) for inlet in found] == [Inlet, PushInlet, PushInlet, JournalInlet, Inlet, Inlet]
    assert [type(found[at].receiver) for at in (1, 2)] == [Listener, Pipe]
    assert (found[1].is_endless, found[2].is_endless, found[3].follow) == (True, False, True)
    found = asyncio.run(scene(once=True))
    assert (found[1].receiver, type(found[2].receiver), found[3].follow) == (None, Pipe, False)


def test_spools_are_named_by_type_and_number_of_their_type(site: Site) -> None:
    """So that other sources may come and go before them; a file source has none."""
    made = pipeline(site, HTTP, FILE, SYSLOG, HTTP)

    async def scene() -> list[str]:
        inlets = Inlets(Flow(), made, site.state, once=True)  # type: ignore[arg-type]
        inlets.stop()
        return [inlet.name for inlet in inlets.all if isinstance(inlet, PushInlet)]

    assert asyncio.run(scene()) == ["http", "syslog", "http-2"]


def test_streams_go_to_the_source_of_their_name_wherever_it_stands_now(site: Site) -> None:
    """Files to a source that includes them; a source that is new among others knows that there is nothing of it."""
    checkpoint = before([stream("/var/log/app/a.log", 1)], [stream("push:http", 2)], [stream("push:http-2", 3)])
    assert ids(known_streams(checkpoint, pipeline(site, HTTP, HTTP, FILE))) == [[2], [3], [1]]
    assert ids(known_streams(checkpoint, pipeline(site, SYSLOG, FILE, HTTP, HTTP))) == [[], [1], [2], [3]]
    assert ids(known_streams(checkpoint, pipeline(site, FILE, HTTP, HTTP, SYSLOG))) == [[1], [2], [3], None]


def test_stream_of_a_source_that_is_gone_goes_to_no_other(site: Site) -> None:
    """Its offset means nothing to another spool, and no file is named so; a file whose source is gone is no spool."""
    checkpoint = before([stream("push:http", 1)], [stream("push:syslog", 2)], [stream("/var/log/app/a.log", 3)])
    assert ids(known_streams(checkpoint, pipeline(site, SYSLOG))) == [[2]]
    assert ids(known_streams(checkpoint, pipeline(site, FILE, SYSLOG))) == [[3], [2]]
    assert ids(known_streams(checkpoint, pipeline(site, SYSLOG, SYSLOG, HTTP))) == [[2], [], [1]]


def test_file_that_no_source_includes_goes_to_the_same_number(site: Site) -> None:
    """A link leads to it."""
    checkpoint = before([stream("push:http", 1)], [stream("/mnt/real.log", 2)])
    assert ids(known_streams(checkpoint, pipeline(site, HTTP, FILE))) == [[1], [2]]
    assert ids(known_streams(checkpoint, pipeline(site, HTTP, SYSLOG))) == [[1], []]


def test_first_run_knows_no_streams_and_neither_does_one_from_the_start(site: Site) -> None:
    """None is "never seen", which is not "nothing there"."""
    made = pipeline(site, FILE, HTTP)
    assert known_streams(None, made) == [None, None]
    assert known_streams(before(), made) == [None, None]


def test_file_goes_to_its_source_by_its_live_path(site: Site) -> None:
    """A rotated one has a name that no source includes; a name that is no UTF-8 comes back as it was."""
    other = {"type": "file", "include": ["/srv/*.log"]}
    rotated = stream("/var/log/app/a.log.1", 1, home="/var/log/app/a.log")
    odd = stream("/srv/\udce9.log", 2)
    found = known_streams(before([rotated, odd]), pipeline(site, other, FILE))
    assert ids(found) == [[2], [1]]
    assert found[0] is not None and found[0][0].path == "/srv/\udce9.log"


def test_cloned_machine_gets_new_identities_and_keeps_offsets_and_dates(site: Site) -> None:
    """Else both would send the same ids; spools and cursors included."""
    checkpoint = before([stream("push:http", 1)], machine="another", last_seconds={f"{1:022}": 77})
    [found] = known_streams(checkpoint, pipeline(site, HTTP))
    assert found is not None and found[0].id != f"{1:022}" and (found[0].offset, found[0].fingerprint) == (100, "f")
    assert checkpoint.last_seconds[found[0].id] == 77


def test_identities_are_random_and_fit_a_document_id() -> None:
    """128 bits as 22 characters of base64url."""
    made = {mint_identity() for _ in range(1000)}
    assert len(made) == 1000 and all(len(one) == 22 and one.replace("-", "a").replace("_", "a").isalnum() for one in made)


def test_spool_of_a_run_without_state_is_gone_after_it(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`--output console` keeps nothing longer than the run."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    site.configure(sources=[HTTP])
    told = shipper("run", "--once", "--output", "console", site.pipeline)
    assert told.code == 0 and list(temporary.iterdir()) == []


def test_record_of_standard_input_is_never_larger_than_a_delivery(site: Site) -> None:
    """`max_record` may be more: the spool might not take it, and nobody else has it."""
    made = pipeline(site, {"type": "stdin"}, max_record="64MiB")

    async def scene() -> int:
        inlets = Inlets(Flow(), made, site.state, once=True)  # type: ignore[arg-type]
        inlets.stop()
        [inlet] = inlets.all
        assert isinstance(inlet, PushInlet) and isinstance(inlet.receiver, Pipe)
        return inlet.receiver._lines._max

    assert asyncio.run(scene()) == 4 << 20
    assert json.loads(site.pipeline.read_text())["max_record"] == "64MiB"


# --- Lives: crashes at any moment, with an output that is cut back to the last checkpoint, as files are


class Saved(msgspec.Struct):
    """A checkpoint: what the inlet says, and how much of the output counts."""

    state: StreamState | None = None
    rows: int = 0


class Program:
    """Random lives of one push inlet on one directory."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.directory = directory
        self.limits = msgspec.structs.replace(SMALL, segment_max=self.rng.choice([300, 1000]))
        self.number = 0
        self.acknowledged: set[bytes] = set()
        self.output: list[bytes] = []
        self.durable = Saved()

    def run(self) -> None:
        """Some lives that crash, and one that reads to the end."""
        for _ in range(self.rng.randint(1, 5)):
            asyncio.run(self.life(crash=True))
        asyncio.run(self.life(crash=False))

    async def life(self, *, crash: bool) -> None:
        """Open where the checkpoint says, act, end somehow."""
        del self.output[self.durable.rows :]
        world = World(self.directory, self.limits)
        before = self.durable.state
        await world.inlet.open(None if before is None else msgspec.structs.replace(before))
        self.taken, self.pending = list[tuple[int, int]](), Saved()
        for _ in range(self.rng.randint(0, 40)):
            await self.act(world)
        if not crash:
            await self.to_the_end(world)
            await world.inlet.close()
            return
        if world.spool._task is not None:
            world.spool._task.cancel()
        await asyncio.gather(*filter(None, [world.spool._task]), return_exceptions=True)
        world.spool._log.close()

    async def act(self, world: World) -> None:
        """One thing that happens."""
        match self.rng.choice(["take", "take", "wait", "turn", "settle", "settle", "snapshot", "saved", "look"]):
            case "take":
                rows = [b"%d:" % (self.number + at) + b"x" * self.rng.randint(0, 60) for at in range(self.rng.randint(1, 5))]
                self.number += 10
                world.inlet.take(Delivery(rows), lambda durable: self.acknowledged.update(rows if durable else ()))
            case "wait":
                await asyncio.sleep(self.rng.choice([0, 0.003]))
            case "turn":
                world.inlet.turn()
            case "settle" if len(world.flow.spans) > len(self.taken):
                self.settle(world, self.rng.randint(len(self.taken) + 1, len(world.flow.spans)))
            case "snapshot":
                [state] = world.inlet.states(self.offsets(world))
                self.pending = Saved(msgspec.structs.replace(state), len(self.output))
            case "saved" if self.pending.state is not None:
                self.durable, self.pending = self.pending, Saved()
                world.inlet.saved()
            case "look":
                world.inlet.states(self.offsets(world))

    def settle(self, world: World, count: int) -> None:
        """The output takes the first `count` windows of this life."""
        for span in world.flow.spans[len(self.taken) : count]:
            self.taken.append(span)
            self.output += [
                row for batch in world.flow.batches if batch.base == span[0] for row in split_rows(batch.block, batch.ends)
            ]

    def offsets(self, world: World) -> dict[str, int]:
        """As the ledger has them."""
        return {world.stream.id: self.taken[-1][1]} if self.taken else {}

    async def to_the_end(self, world: World) -> None:
        """Answer what is open, read and settle all."""
        while world.inlet._answers:
            await asyncio.sleep(0.002)
        world.read()
        self.settle(world, len(world.flow.spans))
        assert world.flow.losses == []


@pytest.mark.parametrize("seed", range(60))
def test_acknowledged_rows_come_out_once_whatever_crashes_when(tmp_path: Path, seed: int) -> None:
    """Rows whose sender heard nothing may be there, once; checkpoints that are being written when others settle lose nothing."""
    program = Program(tmp_path / "spool", seed)
    program.run()
    assert len(program.output) == len(set(program.output))
    assert program.acknowledged <= set(program.output)


def test_an_input_that_only_one_source_can_have_is_refused_twice(site: Site) -> None:
    """Two sources on one address, or on standard input, in one pipeline or in two: said at the second."""
    listening = {"type": "syslog", "listen": "127.0.0.1:5514"}
    site.configure(sources=[listening, {**listening, "type": "http"}, {"type": "stdin"}, {"type": "stdin"}])
    told = shipper("check", site.pipeline)
    assert told.code == 78
    assert "another source has 127.0.0.1:5514 already" in told.err and "another source has standard input already" in told.err


def test_a_spool_of_a_source_that_is_gone_is_told_of(site: Site) -> None:
    """Its records wait for the source to come back, and the log says where."""
    site.configure(sources=[{"type": "syslog", "listen": "127.0.0.1:0"}])
    site.once()
    [place] = site.state.glob("app/*/spool")
    left = place / "http"
    left.mkdir()
    (left / "00000000000000000000.spool").write_bytes(b"")
    assert "a source that is gone left records in its spool; bring it back to have them" in site.once().messages()
