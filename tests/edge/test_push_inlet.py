"""Push inlet: a real spool between senders and a flow that does as told: durable before answered, held up, resumed, lost by cause."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from shipper.edge import push_inlet
from shipper.edge.push_inlet import PushInlet
from shipper.edge.spool import Limits, Spool
from shipper.intake import Taken
from shipper.model.batch import Stream, split_rows
from shipper.model.errors import HostError
from shipper.progress.spool import HEADER_BYTES
from shipper.source import events
from shipper.source.events import StreamState
from shipper.source.push import Delivery
from tests.edge.listening import until

WALL = 1_770_301_845.0
STAMP = "2026-02-05T14:30:45.000Z"
SMALL = Limits(size_max=4000, segment_max=1000, commit_bytes=1000, commit_seconds=0.001)


class Receiver:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def open(self) -> None:
        self.told.append("open")

    async def close(self) -> None:
        self.told.append("close")

    def __getattr__(self, name: str) -> Any:
        return lambda: self.told.append(name)


class Followed:
    """What the flow keeps of a stream."""

    def __init__(self, identity: str) -> None:
        self.stream = Stream(identity, b"", "push:test", WALL)


class Flow:
    """Notes batches and losses; the test says what is settled."""

    def __init__(self) -> None:
        self.begun: list[events.Began] = []
        self.batches: list[Any] = []
        self.spans: list[tuple[int, int]] = []
        self.losses: list[events.Lost] = []
        self.wakes = self.epochs = 0
        self.errors: list[HostError] = []

    def began(self, inlet: Any, began: events.Began) -> None:
        self.begun.append(began)

    def followed(self, stream_id: str) -> Followed:
        assert stream_id == self.begun[-1].stream.id
        return Followed(stream_id)

    def process(self, followed: Followed, taken: Taken, *, begin: int) -> int:
        self.spans.append((begin, taken.next_offset))
        if taken.batch is not None:
            self.batches.append(taken.batch)
        return len(self.spans)

    def lost(self, inlet: Any, lost: events.Lost) -> None:
        self.losses.append(lost)

    def broke(self, error: HostError) -> None:
        self.errors.append(error)

    def begin_epoch(self) -> None:
        self.epochs += 1

    def wake(self) -> None:
        self.wakes += 1

    @property
    def rows(self) -> list[bytes]:
        """All rows that came."""
        return [row for batch in self.batches for row in split_rows(batch.block, batch.ends)]


class World:
    """One life of an inlet, on a spool that may be there from a life before."""

    def __init__(self, directory: Path, limits: Limits = SMALL, *, receiver: bool = True, wall: float = WALL) -> None:
        self.flow, self.answers = Flow(), list[bool]()
        self.spool = Spool(directory, limits)
        numbers = iter(range(10**6))
        self.inlet = PushInlet("test", self.spool, self.flow, lambda: f"{os.urandom(4).hex()}{next(numbers):014}", lambda: wall)
        self.receiver = Receiver()
        if receiver:
            self.inlet.receiver = self.receiver

    def take(self, *rows: bytes, **more: Any) -> None:
        """Hand a delivery over."""
        self.inlet.take(Delivery(list(rows), **more), self.answers.append)

    async def stored(self, *rows: bytes, **more: Any) -> None:
        """Hand one over, and wait until it is answered."""
        count = len(self.answers)
        self.take(*rows, **more)
        await until(lambda: len(self.answers) > count)

    def read(self) -> list[bytes]:
        """Turn until nothing comes."""
        while self.inlet.turn():
            pass
        return self.flow.rows

    @property
    def stream(self) -> StreamState:
        """As the flow heard of it."""
        return self.flow.begun[-1].stream

    def settle(self, offset: int) -> StreamState:
        """All before `offset` is delivered; what the checkpoint says then."""
        [state] = self.inlet.states({self.stream.id: offset})
        return state


class Lives:
    """Worlds are made inside of their loop."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def live(self, script: Callable[[World], Awaitable[None]], before: StreamState | None = None, **options: Any) -> World:
        """One life."""

        async def scene() -> World:
            world = World(self.directory, **options)
            await world.inlet.open(before)
            try:
                await script(world)
            finally:
                await world.inlet.close()
            return world

        return asyncio.run(scene())


@pytest.fixture
def lives(tmp_path: Path) -> Lives:
    """Lives on one spool."""
    return Lives(tmp_path / "spool")


def segments(directory: Path) -> list[str]:
    """Names of the segments."""
    return sorted(path.name for path in directory.glob("*.spool"))


def test_sender_is_answered_when_the_delivery_is_durable_and_not_before(lives: Lives) -> None:
    """What was answered is there in the next life, whatever happens to this one."""

    async def script(world: World) -> None:
        world.take(b'{"n":1}', b'{"n":2}')
        assert world.answers == []
        wakes = world.flow.wakes
        await until(lambda: world.answers == [True])
        assert world.flow.wakes > wakes
        assert world.read() == [b'{"n":1}', b'{"n":2}']

    assert lives.live(script).receiver.told == ["open", "close"]

    async def next_life(world: World) -> None:
        assert world.read() == [b'{"n":1}', b'{"n":2}']

    lives.live(next_life)


def test_rows_come_out_with_tags_ids_and_times(lives: Lives) -> None:
    """A row without a time of its own gets that of its arrival; one with keeps it."""

    async def script(world: World) -> None:
        await world.stored(b"a", b"b", tags=["app", ""], ids=[b"x-0", b""], times=["2026-01-01T00:00:00Z", ""])
        await world.stored(b"c")
        world.read()
        [batch] = world.flow.batches
        assert (batch.tags, batch.ids) == (["app", "", ""], [b"x-0", b"", b""])
        assert batch.times == ["2026-01-01T00:00:00Z", STAMP, STAMP]
        assert batch.starts[0] > 0 and batch.stops[-1] == world.flow.spans[-1][1]

    lives.live(script)


def test_time_of_arrival_is_the_same_after_a_restart(lives: Lives) -> None:
    """It is in the spool: what is read again goes to the same index, under the same id."""
    found = []

    async def first(world: World) -> None:
        await world.stored(b"a", b"b")
        world.read()
        found.append((world.flow.batches[0].times, list(world.flow.batches[0].starts), world.stream))

    async def second(world: World) -> None:
        world.read()
        found.append((world.flow.batches[0].times, list(world.flow.batches[0].starts), world.stream))

    lives.live(first)
    lives.live(second, found[0][2], wall=WALL + 3600)
    assert found[0][:2] == found[1][:2] and found[0][0] == [STAMP] * 2
    assert found[0][2].id == found[1][2].id


def test_delivery_is_refused_when_the_spool_is_full_and_nothing_of_it_is_kept(lives: Lives) -> None:
    """Its sender keeps it; what was taken before comes out."""

    async def script(world: World) -> None:
        while False not in world.answers:
            await world.stored(b"%03d" % len(world.answers) * 100)
        taken = world.answers.count(True)
        assert 5 < taken < 14
        assert world.read() == [b"%03d" % number * 100 for number in range(taken)]

    lives.live(script)


def test_delivery_that_never_fits_is_refused_and_that_is_said(lives: Lives, caplog: pytest.LogCaptureFixture) -> None:
    """With the size, without the content."""

    async def script(world: World) -> None:
        await world.stored(b"secret" * 1000)
        assert world.answers == [False]

    with caplog.at_level("ERROR", logger="shipper"):
        lives.live(script)
    [record] = caplog.records
    assert record.message == "the spool refused a delivery; its sender keeps it"
    assert "bytes" in record.fields["reason"]
    assert "secret" not in str(record.fields)


def test_receiver_is_paused_while_the_spool_is_full_and_resumed_when_there_is_room(lives: Lives) -> None:
    """Room comes of a durable checkpoint behind what was delivered; the flow is asked to look, as nobody wakes it."""

    async def script(world: World) -> None:
        while "pause" not in world.receiver.told:
            await world.stored(b"x" * 300)
        assert all(world.answers), "paused before anything had to be refused"
        assert world.inlet.deadline() is not None
        world.read()
        world.settle(world.spool.end)
        assert world.receiver.told == ["open", "pause"], "no checkpoint has said so"
        world.inlet.saved()
        await until(lambda: world.inlet.turn() or "resume" in world.receiver.told)
        assert world.receiver.told == ["open", "pause", "resume"]
        assert world.inlet.deadline() is None
        await world.stored(b"more")
        assert world.answers[-1]

    lives.live(script)


def test_receiver_that_tells_senders_itself_is_never_paused(lives: Lives) -> None:
    """HTTP answers 429 instead of letting clients wait."""

    async def script(world: World) -> None:
        world.inlet.holds_up = False
        while False not in world.answers:
            await world.stored(b"x" * 300)
        world.inlet.turn()
        assert world.receiver.told == ["open"] and world.inlet.deadline() is None

    lives.live(script)


def test_next_life_goes_on_where_the_checkpoint_says(lives: Lives) -> None:
    """What is behind it is read again under the same places and the same stream; what is before is not."""
    kept: list[Any] = []

    async def first(world: World) -> None:
        for number in range(4):
            await world.stored(b"row %d" % number)
            world.read()
        assert world.flow.begun[0].minted
        kept.append((world.settle(world.flow.spans[1][1]), [list(batch.starts) for batch in world.flow.batches]))

    async def second(world: World) -> None:
        assert not world.flow.begun[0].minted
        assert world.read() == [b"row 2", b"row 3"]
        assert [start for batch in world.flow.batches for start in batch.starts] == [*kept[0][1][2], *kept[0][1][3]]

    lives.live(first)
    lives.live(second, kept[0][0])


def test_spool_of_another_than_the_checkpoints_identity_is_new(lives: Lives, tmp_path: Path) -> None:
    """All in it is shipped, under ids that nobody has used."""
    kept: list[StreamState] = []

    async def one_row(world: World) -> None:
        await world.stored(b"row")
        world.read()
        kept.append(world.settle(0))

    other = Lives(tmp_path / "other")
    other.live(one_row)
    lives.live(one_row)

    async def script(world: World) -> None:
        assert world.flow.begun[0].minted and world.stream.id not in {state.id for state in kept}
        assert world.read() == [b"row"]

    lives.live(script, kept[0])


@pytest.mark.parametrize("looked", [False, True])
def test_segments_go_only_when_a_checkpoint_behind_them_is_durable(lives: Lives, looked: bool) -> None:
    """Settled is not enough: after a crash all that no durable checkpoint has must be there. Whoever else looks changes nothing."""

    async def script(world: World) -> None:
        for _ in range(6):
            await world.stored(b"x" * 400)
        world.read()
        before = segments(lives.directory)
        assert len(before) > 2
        world.settle(0)
        world.inlet.offer(events.Settled(world.stream.id, world.spool.end))
        if looked:
            world.settle(world.spool.end)
        world.inlet.saved()
        assert segments(lives.directory) == before and world.flow.epochs == looked
        world.settle(world.spool.end)
        assert segments(lives.directory) == before
        world.inlet.saved()
        assert segments(lives.directory) == before[-1:] and world.flow.epochs == looked

    lives.live(script)


def test_damage_is_lost_with_its_cause_and_the_rest_goes_on(lives: Lives) -> None:
    """A flipped bit costs its entry, and its bytes stand in the account."""

    async def fill(world: World) -> None:
        for number in range(8):
            await world.stored(b"row %d " % number * 40)

    lives.live(fill)
    path = lives.directory / segments(lives.directory)[0]
    content = bytearray(path.read_bytes())
    content[content.index(b"row 1")] ^= 1
    path.write_bytes(content)

    async def script(world: World) -> None:
        rows = world.read()
        assert [row[:5] for row in rows] == [b"row %d" % number for number in (0, 2, 3, 4, 5, 6, 7)]
        [lost] = world.flow.losses
        assert lost.cause == "spool_checksum" and lost.bytes > 240
        assert world.flow.spans[0][0] <= HEADER_BYTES and world.flow.spans[-1][1] == world.spool.end
        assert all(stop == start for (_, stop), (start, _) in zip(world.flow.spans, world.flow.spans[1:]))

    lives.live(script)


def test_what_a_full_spool_dropped_is_lost_with_its_cause(lives: Lives) -> None:
    """`when_full: drop_oldest`: the sender is never refused nor held up, the account says what went."""

    async def script(world: World) -> None:
        for number in range(30):
            await world.stored(b"%03d" % number * 100)
        assert world.answers == [True] * 30 and world.receiver.told == ["open"]
        rows = world.read()
        assert rows == [b"%03d" % number * 100 for number in range(30 - len(rows), 30)]
        assert {lost.cause for lost in world.flow.losses} == {"spool_full"}
        assert sum(lost.bytes for lost in world.flow.losses) > 300 * (30 - len(rows))

    lives.live(script, limits=Limits(size_max=4000, segment_max=1000, commit_seconds=0.001, drop_oldest=True))


def test_segments_missing_behind_the_checkpoint_are_lost_and_said(lives: Lives) -> None:
    """Removed by hand, or dropped when an older checkpoint was the last: between it and the first segment rows are gone."""
    kept: list[StreamState] = []

    async def fill(world: World) -> None:
        for number in range(6):
            await world.stored(b"%03d" % number * 100)
        kept.append(world.settle(0))

    lives.live(fill)
    (lives.directory / segments(lives.directory)[0]).unlink()

    async def script(world: World) -> None:
        rows = world.read()
        assert 0 < len(rows) < 6 and rows[-1] == b"005" * 100
        assert [lost.cause for lost in world.flow.losses] == ["spool_missing"]

    lives.live(script, kept[0])


def test_disk_that_cannot_be_read_is_tried_again(lives: Lives, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flow goes on with its other sources; the rows come when the disk is there again."""
    monkeypatch.setattr(push_inlet, "RETRY_S", (0.02, 0.02))

    async def script(world: World) -> None:
        await world.stored(b"row")
        [path] = lives.directory.glob("*.spool")
        path.rename(path.with_suffix(".away"))
        path.symlink_to("elsewhere")
        assert world.read() == [] and world.inlet.deadline() is not None
        path.unlink()
        path.with_suffix(".away").rename(path)
        await until(world.inlet.turn)
        assert world.flow.rows == [b"row"] and world.flow.losses == []

    lives.live(script)


def test_disk_that_cannot_be_read_ends_a_run_that_is_to_end(lives: Lives) -> None:
    """`--once` must not wait for ever, nor say that all is done."""

    async def script(world: World) -> None:
        await world.stored(b"row")
        [path] = lives.directory.glob("*.spool")
        path.rename(path.with_suffix(".away"))
        path.symlink_to("elsewhere")
        world.inlet.offer(events.Drain())
        world.read()
        assert not world.inlet.drained
        [error] = world.flow.errors
        assert "cannot be read" in str(error)

    lives.live(script)


def test_paused_flow_reads_nothing_of_the_spool(lives: Lives) -> None:
    """It fills instead."""

    async def script(world: World) -> None:
        await world.stored(b"row")
        world.inlet.offer(events.Paused())
        assert world.inlet.turn() is False and world.flow.rows == []
        world.inlet.offer(events.Resumed())
        assert world.read() == [b"row"]

    lives.live(script)


def test_once_reads_the_spool_to_its_end_and_takes_nothing(lives: Lives) -> None:
    """Without a receiver it is drained when all is read."""

    async def fill(world: World) -> None:
        await world.stored(b"row")

    lives.live(fill)

    async def script(world: World) -> None:
        assert world.read() == [b"row"] and not world.inlet.drained
        world.inlet.offer(events.Drain())
        assert not world.inlet.turn() and world.inlet.drained

    assert lives.live(script, receiver=False).receiver.told == []


def test_pipe_is_drained_when_it_has_ended_and_all_is_answered_and_read(lives: Lives) -> None:
    """What is on its way to the disk counts."""

    async def script(world: World) -> None:
        world.inlet.offer(events.Drain())
        assert not world.read() and not world.inlet.drained
        world.take(b"row")
        world.inlet.ended()
        assert world.inlet.has_ended and not world.inlet.turn() and not world.inlet.drained
        await until(lambda: world.answers == [True])
        assert world.inlet.turn() and not world.inlet.drained
        assert not world.inlet.turn() and world.inlet.drained

    lives.live(script)


def test_listener_is_closed_once_to_drain_it(lives: Lives) -> None:
    """It never ends by itself."""

    async def script(world: World) -> None:
        world.inlet.is_endless = True
        world.inlet.offer(events.Drain())
        world.inlet.offer(events.Drain())
        await until(lambda: world.inlet.has_ended)
        world.read()
        assert world.inlet.drained

    assert lives.live(script).receiver.told == ["open", "close"]
