"""SIGKILL at any moment, with rotation going on or behind the agent's back: nothing is missing, nothing is there twice."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator

import pytest

from tests.real.proxy import Proxy
from tests.real.world import Running, World, Writer, check_ids

SEED = int(os.environ.get("SHIPPER_TEST_SEED", "20260205"))
KILLS = 10


@pytest.fixture
def proxy(world: World) -> Iterator[Proxy]:
    """A proxy in front of the node, which the pipeline's output goes through."""
    made = Proxy(world.node.url)
    world.configure(made.url)
    yield made
    made.close()


def test_ids_are_exact_when_the_agent_is_killed_while_files_rotate(world: World, proxy: Proxy) -> None:
    """Ten kills at random moments, four of them with rotations while it is down: each id is there once, and resends were refused."""
    rng = random.Random(SEED)
    proxy.delay_s = 0.1  # so that kills also meet requests that then never arrive
    agent = world.start()
    world.wait_until(lambda: "pipeline started" in agent.log(), "the agent to start")
    writer = Writer(world.logs / "app.log", per_s=1_000, rotate_bytes=100_000)
    try:
        # Only what an agent has once seen under a name of its globs is followed when it is renamed: it must see the first file.
        world.wait_until(lambda: proxy.statuses.total() > 0, "the first answer")
        rotated_while_down = kill_often(world, proxy, writer, agent, rng)
        agent = world.start()
        time.sleep(rng.uniform(0.5, 1.5))
        proxy.delay_s = 0.0
    finally:
        written = writer.stop()
    world.wait_for_ids(written)
    ended = agent.stop()
    print(
        f"seed {SEED}: {written} written, {writer.rotations} rotations, {rotated_while_down} times while down; {proxy.statuses}"
    )
    assert ended.code == 0 and not ended.account["lost_bytes"] and not ended.account["dead"]
    assert rotated_while_down >= 3
    check_ids(world.documents(), written)
    assert proxy.statuses[409] > 0, proxy.statuses
    rest = world.once().account
    assert (rest["read"], rest["created"], rest["duplicate"]) == (0, 0, 0)


def kill_often(world: World, proxy: Proxy, writer: Writer, agent: Running, rng: random.Random) -> int:
    """Kill the agent ten times and start it nine times. Returns how often files rotated while it was down."""
    rotated_while_down = 0
    for number in range(KILLS):
        if number:
            agent = world.start()
        run_a_while(world, proxy, rng)
        agent.kill()
        before = writer.rotations
        wanted = before + (rng.randint(1, 3) if number % 3 == 0 else 0)
        time.sleep(rng.uniform(0.0, 0.3))
        world.wait_until(lambda: writer.rotations >= wanted, "rotations while the agent is down")  # noqa: B023
        rotated_while_down += writer.rotations > before
    return rotated_while_down


def run_a_while(world: World, proxy: Proxy, rng: random.Random) -> None:
    """Let the agent run for a random time, counted from its start, or from the first answer it gets."""
    if rng.random() < 0.5:
        time.sleep(rng.uniform(0.2, 1.5))
        return
    before = proxy.statuses.total()
    world.wait_until(lambda: proxy.statuses.total() > before, "the first answer")
    time.sleep(rng.uniform(0.0, 1.5))


def test_resend_is_refused_when_killed_between_storing_and_answer(world: World, proxy: Proxy) -> None:
    """Documents that were stored without the agent ever hearing of it are sent again, refused each, and stored once."""
    world.write({"timestamp": "2026-02-05T08:00:00Z", "level": "INFO", "n": number} for number in range(1, 2_001))
    proxy.muted = True
    agent = world.start()
    world.wait_until(lambda: world.count() == 2_000, "all documents to be stored")
    agent.kill()
    proxy.muted = False
    assert proxy.statuses[201] == 2_000
    account = world.once().account
    assert (account["read"], account["created"], account["duplicate"]) == (2_000, 0, 2_000)
    assert proxy.statuses[409] == 2_000
    check_ids(world.documents(), 2_000)
