"""The node goes away and comes back while the agent ships."""

from __future__ import annotations

import time

import pytest

from tests.real.node import Node
from tests.real.proxy import Proxy
from tests.real.world import World, Writer, check_ids

OUTAGE_S = 10.0


@pytest.mark.own_node
def test_ids_are_exact_when_the_node_is_stopped_and_started(node: Node, world: World) -> None:
    """Ten seconds without a node while files rotate: the agent goes on by itself, each id is there once."""
    writer = Writer(world.logs / "app.log", per_s=500, rotate_bytes=400_000)
    try:
        agent = world.start()
        world.wait_until(lambda: world.count() > 500, "the first documents")
        node.stop()
        stopped_at = writer.written
        time.sleep(OUTAGE_S)
        node.start()
        world.wait_until(lambda: world.count() > stopped_at, "documents written during the outage")
    finally:
        written = writer.stop()
    world.wait_for_ids(written)
    ended = agent.stop()
    print(f"{written} written, {writer.rotations} rotations; {ended.messages()}")
    assert ended.code == 0
    check_ids(world.documents(), written)
    account = ended.account
    assert account["read"] == written == account["created"] + account["duplicate"]
    assert not account["dead"] and not account["lost_bytes"] and account["unaccounted"] == account["in_flight"] == 0
    assert ended.messages()["delivery: retry"] > 0 and ended.messages()["delivery: recovered"] > 0


def test_run_once_gives_up_and_keeps_everything_when_there_is_no_node(world: World) -> None:
    """`--once` without a node ends with 1 after `--timeout`, loses nothing, and the next run delivers all."""
    proxy = Proxy(world.node.url)
    world.configure(proxy.url)
    world.write({"timestamp": "2026-02-05T08:00:00Z", "n": number} for number in range(1, 501))
    proxy.closed = True
    ended = world.once(1, "--timeout", "2s")
    assert ended.account["created"] == 0 and ended.account["in_flight"] == 500 == ended.account["read"]
    assert "took nothing" in ended.account["stopped"]
    proxy.closed = False
    assert world.once().account["created"] == 500
    check_ids(world.documents(), 500)
    proxy.close()
