"""A pipeline in motion, in virtual time: every record is accounted for, and what depends on a checkpoint waits for it."""

from __future__ import annotations

import asyncio
import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from shipper import flow as flows
from shipper.deliver.traffic import CourierSettings, Failed, Replied
from shipper.model.errors import HostError
from shipper.progress.checkpoint import Checkpoint
from tests.kit import virtual_loop
from tests.kit.fake_elastic import ModelElastic
from tests.kit.flow_world import WALL, FlowWorld
from tests.kit.site import Site

STAMP = "2026-02-05T14:30:45Z"


def write(site: Site, count: int, name: str = "app.log", first: int = 1, **more: Any) -> None:
    """Records that count."""
    site.write(({"timestamp": STAMP, "n": number, **more} for number in range(first, first + count)), name)


def numbers(world: FlowWorld) -> list[int]:
    """The numbers of all documents that arrived."""
    return sorted(document["n"] for document in world.output.model.documents.values() if "n" in document)


# --- Conservation


@pytest.mark.parametrize("seed", range(6))
def test_every_record_is_accounted_for_when_the_output_behaves_badly(site: Site, seed: int) -> None:
    """Law: unaccounted == 0 after every answer; read == created + duplicate + dropped + dead at the end, and each is there once.

    Answers come late, are lost after they were applied, cut, 429 for some; some documents are refused for good.
    """
    rng = random.Random(seed)
    for name in "abc":
        write(site, 200, f"{name}.log", level=name)

    async def scene() -> None:
        world = FlowWorld(site, settings=CourierSettings(in_flight_bytes_max=20_000, post_bytes_max=5_000, retry_wait_s_max=0.5))
        busy = {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": ""}}
        dead = {"status": 400, "error": {"type": "mapper_parsing_exception", "reason": "failed to parse field [n]"}}
        world.output.model.faults = [
            lambda _, __, document: dead if document["n"] % 50 == 0 else None,
            lambda _, __, ___: busy if rng.random() < 0.05 else None,
        ]
        world.output.latency = lambda: rng.uniform(0.0, 0.5)

        def fate(post: Any, answer: Any) -> Any:
            drawn = rng.random()
            if drawn < 0.1:
                return Failed(post.post_id, "cut")
            return Replied(post.post_id, 200, answer.body[:20]) if drawn < 0.2 else answer

        world.output.fate, world.output.on_answer = fate, world.check
        account = await world.run()
        world.check()
        assert (account.read, account.settled, world.flow.ledger.in_flight) == (600, 600, 0)
        assert account.dead == {"mapper_parsing_exception": 12}
        letters = {(letter.id, json.loads(letter.document)["n"]) for letter in world.letters.kept}
        assert sorted(number for _, number in letters) == [50, 50, 50, 100, 100, 100, 150, 150, 150, 200, 200, 200]
        assert account.created + account.duplicate == 588 == len(world.output.model.arrivals)
        assert numbers(world) == sorted(number for number in range(1, 201) for _ in "abc" if number % 50)
        assert not account.lost_bytes and not world.flow.lag_bytes()

    virtual_loop.run(scene())


def test_rows_held_by_a_throttle_settle_with_their_summary(site: Site) -> None:
    """What is held back is not settled before the summary that stands for it was delivered; then all of it is."""
    site.configure(stages=[{"throttle": {"key": ["service"], "rate": "1/s", "burst": 1}}])
    write(site, 100, service="api")

    async def scene() -> None:
        world = FlowWorld(site)
        world.output.latency = lambda: 1.0
        world.output.on_answer = world.check
        account = await world.run()
        [held] = account.dropped.values()
        assert account.dropped.keys() == {"throttled"}
        assert (account.read, account.created + held, account.generated) == (100, 100, 1)
        assert world.flow.held_rows == world.flow.ledger.in_flight == 0
        [summary] = [document for document in world.output.model.documents.values() if "n" not in document]
        assert str(held) in json.dumps(summary)

    virtual_loop.run(scene())


def test_blank_lines_alone_move_the_offset(site: Site) -> None:
    """Bytes that are no record are read past, counted and settled."""
    site.write(b"\n\n\n")

    async def scene() -> None:
        world = FlowWorld(site)
        account = await world.run()
        assert (account.read, account.skipped_bytes) == (0, {"blank": 3})
        assert list(world.flow.ledger.offsets().values()) in ([3], [])

    virtual_loop.run(scene())


def test_reading_waits_while_the_window_in_flight_is_full(site: Site) -> None:
    """An output that never answers holds no more in memory than its bound and one window: the files are the queue."""
    for name in range(20):
        write(site, 500, f"{name}.log", padding="x" * 1000)

    async def scene() -> None:
        world = FlowWorld(site, settings=CourierSettings(in_flight_bytes_max=1_000_000))
        world.output.latency = lambda: 1e9
        account = await world.run(patience_s=50.0)
        assert 0 < account.read_bytes < 1_000_000 + (1 << 20)
        assert world.flow.ledger.in_flight == account.read < 10_000
        world.check()

    virtual_loop.run(scene())


# --- Ends


def test_draining_gives_up_when_nothing_was_settled_for_so_long(site: Site) -> None:
    """As long as something is settled it goes on; then it waits `patience_s`, no grace beyond, and says so. Nothing is lost."""
    write(site, 100)

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        world = FlowWorld(site, settings=CourierSettings(post_bytes_max=2_000))
        began = loop.time()
        world.output.latency = lambda: 8.0 if loop.time() < began + 30 else 1e9
        account = await world.run(patience_s=10.0)
        assert 40 <= loop.time() - began <= 55
        assert world.flow.stop_reason == "the output took nothing for 10 s"
        assert 0 < account.created < 100 and account.created + world.flow.ledger.in_flight == 100
        assert world.output.closed and not account.lost_bytes

    virtual_loop.run(scene())


@pytest.mark.parametrize(("latency", "delivered"), [(flows.GRACE_S - 1, 100), (flows.GRACE_S + 1, 0)])
def test_stop_waits_for_what_is_in_flight_within_the_grace_time(site: Site, latency: float, delivered: int) -> None:
    """What is answered in time is settled and saved; the rest stays at its source."""
    write(site, 100)

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        world = FlowWorld(site, once=False)
        world.output.latency = lambda: latency
        loop.call_later(0.5, world.flow.stop, "SIGTERM")
        began = loop.time()
        account = await world.run()
        assert (account.created, world.flow.ledger.in_flight) == (delivered, 100 - delivered)
        assert loop.time() - began < flows.GRACE_S + 1
        assert world.output.closed and world.flow.stop_reason == "SIGTERM"

    virtual_loop.run(scene())


def test_flow_ends_when_its_output_cannot_go_on(site: Site) -> None:
    """A HostError of a post, or of making it durable, is kept for the agent; no checkpoint claims anything afterwards."""
    write(site, 10)

    async def scene(where: str) -> None:
        world = FlowWorld(site)
        error = HostError("the disk is gone")

        def broken(*_: object) -> Any:
            raise error

        if where == "post":
            world.output.fate = broken
        else:
            world.output.sync_error = lambda: error
        await world.run()
        assert world.flow.failure is error and world.flow.stop_reason == "output failed"
        assert world.flow.ledger.account.settled == 0 and world.output.closed
        assert where == "post" or len(world.output.syncs) == 1

    for where in ("post", "sync"):
        virtual_loop.run(scene(where))


def test_bug_in_an_output_ends_the_run(site: Site) -> None:
    """It does not go on without an answer for ever."""
    write(site, 10)

    async def scene() -> None:
        world = FlowWorld(site)
        world.output.latency = lambda: 1 / 0
        with pytest.raises(ZeroDivisionError):
            await world.run()

    virtual_loop.run(scene())


# --- Saving


def test_checkpoints_are_written_once_a_second_while_records_flow(site: Site) -> None:
    """And before anything is sent that depends on them: the first one comes first."""
    write(site, 50)

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        world = FlowWorld(site, once=False)
        posted: list[float] = []
        world.output.on_answer = lambda: posted.append(loop.time())
        for second in range(1, 60):
            loop.call_later(second / 3, write, site, 5, "app.log", 100 * second)
        loop.call_later(30, world.flow.stop, "done")
        began = loop.time()
        await world.run()
        times = world.output.syncs
        gaps = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
        assert times[0] <= posted[0]
        assert min(gaps[2:-1]) >= 0.99 and len(times) < 35
        assert len(numbers(world)) == 50 + 59 * 5 and loop.time() - began < 31

    virtual_loop.run(scene())


def test_idle_pipeline_neither_writes_nor_spins(site: Site) -> None:
    """An hour without a new byte: no checkpoint after the first, and the loop wakes only to look at the files."""
    write(site, 5)

    async def scene() -> None:
        loop: Any = asyncio.get_running_loop()
        world = FlowWorld(site, once=False)
        loop.call_later(3000, world.flow.stop, "done")
        await world.run()
        assert len(world.output.syncs) <= 4
        assert loop.wakeups < 3000 * 4

    virtual_loop.run(scene())


def test_nothing_is_sent_and_nothing_spins_while_the_checkpoint_cannot_be_written(site: Site) -> None:
    """It is tried again after growing waits of at most 30 s; with room again everything is delivered once."""
    write(site, 50)

    async def scene() -> None:
        loop: Any = asyncio.get_running_loop()
        world = FlowWorld(site)
        began = loop.time()
        world.output.sync_error = lambda: OSError(28, "No space left on device") if loop.time() < began + 200 else None
        answered: list[float] = []
        world.output.on_answer = lambda: answered.append(loop.time())
        account = await world.run(patience_s=400.0)
        waits = [later - earlier for earlier, later in zip(world.output.syncs, world.output.syncs[1:], strict=False)]
        tried = [wait for at, wait in zip(world.output.syncs, waits, strict=False) if at < began + 200]
        assert min(answered) >= began + 200
        assert tried == sorted(tried) and tried[0] < 1 and 29 < tried[-1] < 32
        assert loop.wakeups < 2000
        assert account.created == 50 and numbers(world) == list(range(1, 51))

    virtual_loop.run(scene())


def test_last_checkpoint_that_cannot_be_written_is_a_failure(site: Site) -> None:
    """Everything was delivered, but the progress is not on disk: the run must not say that all is well."""
    write(site, 50)

    async def scene() -> None:
        world = FlowWorld(site)
        world.output.sync_error = lambda: OSError(28, "No space left on device") if world.flow.ledger.account.created else None
        account = await world.run()
        assert account.created == 50
        assert "progress could not be saved" in str(world.flow.failure)

    virtual_loop.run(scene())


# --- Horizon


def test_horizon_moves_once_an_hour_and_only_when_nothing_is_in_flight(site: Site) -> None:
    """Reading pauses, what was judged by the old reference is settled, the reference moves, and reading goes on."""
    rng = random.Random(7)

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        world = FlowWorld(site, once=False)
        world.output.latency = lambda: rng.uniform(0.0, 20.0)
        judged: set[float] = set()

        def fate(_: object, answer: Any) -> Any:
            judged.add(world.horizon.reference)
            return answer

        world.output.fate, world.output.on_answer = fate, world.check
        for step in range(3 * 360):
            loop.call_later(10 * step, write, site, 2, "app.log", 2 * step + 1)
        loop.call_later(3 * 3600 + 60, world.flow.stop, "done")
        began = loop.time()
        account = await world.run()
        assert [in_flight for _, in_flight in world.moved] == [0, 0, 0]
        assert all(number * 3600 < at - began < number * 3600 + 120 for number, (at, _) in enumerate(world.moved, 1))
        assert len(judged) >= 3 and world.horizon.reference > WALL + 3 * 3600
        assert numbers(world) == list(range(1, 2 * 3 * 360 + 1)) and account.created == 2 * 3 * 360

    virtual_loop.run(scene())


def test_horizon_stays_while_the_output_does_not_answer(site: Site) -> None:
    """What is in flight was judged by the old reference: as long as it has no verdict, nothing is read and nothing moves."""
    write(site, 10)

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        world = FlowWorld(site, once=False)
        began = loop.time()
        world.output.latency = lambda: 2 * 3600.0 if loop.time() < began + 60 else 0.1
        loop.call_later(3600 + 300, write, site, 5, "app.log", 100)
        loop.call_later(2 * 3600 - 60, lambda: held.append((world.horizon.reference, world.flow.ledger.account.read)))
        loop.call_later(2 * 3600 + 60, world.flow.stop, "done")
        held: list[tuple[float, int]] = []
        account = await world.run()
        assert held == [(WALL, 10)]
        assert [in_flight for _, in_flight in world.moved] == [0] and world.moved[0][0] >= began + 2 * 3600
        assert account.created == 15

    virtual_loop.run(scene())


def test_horizon_waits_for_summaries_that_are_held(site: Site) -> None:
    """Rows that wait for their summary are unsettled: it is shipped early, so that the reference can move."""
    site.configure(stages=[{"throttle": {"key": ["service"], "rate": "1/h", "burst": 1, "period": "2h"}}])
    write(site, 100, service="api")

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        world = FlowWorld(site, once=False)
        loop.call_later(3600 + 60, world.flow.stop, "done")
        account = await world.run()
        assert [in_flight for _, in_flight in world.moved] == [0]
        assert account.settled == 100 and account.generated >= 1

    virtual_loop.run(scene())


def moment(seconds: float) -> str:
    """An event's time, so many seconds after WALL."""
    return datetime.fromtimestamp(WALL + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("downtime_s", [0.0, 2 * 3600.0])
def test_records_sent_before_a_crash_go_to_the_same_index_after_it(site: Site, downtime_s: float) -> None:
    """What lay outside the window by the old reference and would lie inside by a new one is judged by the old one again, and refused
    as the duplicate that it is. When that is settled the reference moves, and what comes then goes where it belongs."""
    site.configure(route=[{"index": "app"}])
    ahead = moment(86_400 + 1800)
    write(site, 20, timestamp=ahead)
    model = ModelElastic()

    async def crashed() -> Checkpoint:
        loop = asyncio.get_running_loop()
        world = FlowWorld(site, once=False)
        world.output.model = model
        found: list[Checkpoint] = []

        def fate(post: Any, _: object) -> Failed:
            found.append(world.checkpoint())
            return Failed(post.post_id, "cut")

        world.output.fate = fate
        loop.call_later(5, world.flow.stop, "crash")
        await world.run()
        return found[0]

    async def resumed(before: Checkpoint) -> None:
        loop = asyncio.get_running_loop()
        world = FlowWorld(site, before=before, once=False, later_s=downtime_s)
        world.output.model = model
        loop.call_later(60, lambda: write(site, 5, first=21, timestamp=ahead))
        loop.call_later(120, world.flow.stop, "done")
        account = await world.run()
        assert (account.duplicate, account.created) == (20, 5)
        assert len(world.moved) == (1 if downtime_s else 0)

    before = virtual_loop.run(crashed())
    assert not before.horizon["quiet"]
    virtual_loop.run(resumed(before))
    assert {index for index, _ in model.arrivals[:20]} == {"app-fallback"}
    assert {index for index, _ in model.arrivals[20:]} == (
        {f"app-{ahead[:10].replace('-', '.')}"} if downtime_s else {"app-fallback"}
    )


def test_reference_moves_at_once_after_a_run_that_ended_in_good_order(site: Site) -> None:
    """A run a day, by cron: today's records are judged by today's reference, not by yesterday's."""
    site.configure(route=[{"index": "app"}])
    write(site, 5)

    async def run(before: Checkpoint | None, later_s: float) -> tuple[Checkpoint, set[str]]:
        world = FlowWorld(site, before=before, later_s=later_s)
        await world.run()
        return world.checkpoint(), {index for index, _ in world.output.model.documents}

    first, _ = virtual_loop.run(run(None, 0.0))
    assert first.horizon["quiet"]
    write(site, 5, first=6, timestamp=moment(3 * 86_400))
    second, indices = virtual_loop.run(run(first, 3 * 86_400.0))
    assert indices == {f"app-{moment(3 * 86_400)[:10].replace('-', '.')}"} and second.horizon["quiet"]
